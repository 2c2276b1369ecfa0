-- recipes_spec.lua: the programs of examples/recipes/ end well also when the first attempt of everything fails, after
-- its effect; and the configuration of nginx leads to the service.

local processes = require "spec.crash.processes"
local free_port = require "spec.support.free_port"
local http = require "socket.http"

local LUA = os.getenv("LUA") or "lua5.4"
local FAILING = "LUA_INIT='require \"spec.examples.failing\"'"

local function run(command)
  local pipe = assert(io.popen("2>/dev/null timeout 120 " .. command))
  local text = pipe:read("a")
  assert(pipe:close(), command .. "\n" .. text)
  return text
end

-- Lines, sorted, without those that are there twice: an effect that is repeated is said twice.
local function said(text)
  local seen, lines = {}, {}
  for line in text:gmatch("[^\n]+") do
    if not seen[line] then lines[#lines + 1] = line end
    seen[line] = true
  end
  table.sort(lines)
  return lines
end

describe("a recipe", function()
  for _, program in ipairs {
    "saga.lua Oslo", "saga.lua Lima", "nightly_batch.lua --night", "crawler.lua --db :memory:",
    "web_service.lua --try --db :memory:",
  } do
    it(program .. ": ends as well when everything fails once, and has said the same", function()
      local command = LUA .. " examples/recipes/" .. program
      local plain = run("env " .. command)
      assert.truthy(plain:find("\n"), plain)
      assert.same(said(plain), said(run("env " .. FAILING .. " " .. command)))
    end)
  end

  local directory, group
  before_each(function()
    directory = processes.directory()
    group = processes.group(directory)
  end)
  after_each(function()
    group:close()
    os.execute("rm -rf " .. processes.quote(directory))
  end)

  local function start(pattern, ...)
    local output = directory .. "/output"
    os.remove(output)
    local pid = group:spawn(output, ...)
    local found
    assert(processes.eventually(60, function()
      local file <close> = io.open(output)
      found = file and file:read("a"):match(pattern)
      return found
    end), "it does not say " .. pattern)
    return pid, found
  end

  it("crawler: what it has found stays in the file", function()
    local db = processes.quote(directory .. "/crawl.db")
    run("env " .. LUA .. " examples/recipes/crawler.lua --db " .. db)
    assert.equal("25|25\n", run("sqlite3 " .. db .. " 'SELECT count(*), count(status) FROM pages'"))
  end)

  it("web_service: serves until it is told to stop, and knows its orders after a restart", function()
    local command = { "examples/recipes/web_service.lua", "--db", directory .. "/orders.db", "--port", "0" }
    for times = 1, 2 do
      local pid, url = start("POST (http://%S+)", table.unpack(command))
      local ltn12 = require "ltn12"
      local body, answer = '{"customer":"Ada","cents":1999}', {}
      local _, code, headers = http.request {
        url = url, method = "POST", source = ltn12.source.string(body), sink = ltn12.sink.table(answer),
        headers = { ["Idempotency-Key"] = "a1", ["Content-Type"] = "application/json", ["Content-Length"] = #body },
      }
      assert.equal(202, code)
      assert.equal("/orders/1", headers.location, "start " .. times)
      local order = url:gsub("/orders$", headers.location)
      assert(processes.eventually(60, function()
        return (http.request(order) or ""):find('"state":"done"', 1, true)
      end))
      group:signal(pid, "TERM")
      assert.equal(0, group:wait_for(pid, 60))
    end
  end)

  it("nginx.conf leads to the service and its pages, and keeps the metrics to itself", function()
    local pipe <close> = assert(io.popen("command -v nginx || ls /usr/sbin/nginx 2>/dev/null"))
    local nginx = pipe:read("l")
    if not nginx then return pending("no nginx") end
    local port = free_port()
    group.environment = "ADMIN_TOKEN=not-for-strangers"
    local _, service = start("POST http://127.0.0.1:(%d+)", "examples/recipes/web_service.lua", "--db",
      directory .. "/orders.db", "--port", "0")
    local file <close> = assert(io.open("examples/recipes/nginx.conf"))
    local changed = file:read("a"):gsub("127.0.0.1:8081", "127.0.0.1:" .. service):gsub("127.0.0.1:8080",
      "127.0.0.1:" .. math.tointeger(port))
    local copy <close> = assert(io.open(directory .. "/nginx.conf", "w"))
    copy:write(changed)
    copy:close()
    group:shell(directory .. "/nginx.log", ("%s -p %s -c nginx.conf -g 'master_process off;'"):format(nginx,
      processes.quote(directory)))
    local base = ("http://127.0.0.1:%d"):format(port)
    assert(processes.eventually(30, function() return select(2, http.request(base .. "/healthz")) == 200 end))
    assert.equal(404, select(2, http.request(base .. "/orders/7")))
    assert.equal(404, select(2, http.request(base .. "/metrics")))
    local page, code = http.request(base .. "/_ah/pipeline/")
    assert.equal(200, code)
    assert.truthy(page:find("<!DOCTYPE html>", 1, true) or page:find("<!doctype html>", 1, true))
  end)
end)
