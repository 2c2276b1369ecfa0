-- examples/approval.lua with a real mail server, killed between every two of its steps.

local free_port = require "spec.support.free_port"
local http = require "socket.http"
local ltn12 = require "ltn12"
local socket = require "socket"
local parse = require "spec.mail.parsed"
local support = require "spec.mail.support"

local LUA = os.getenv("LUA") or "lua5.4"
local STARTS_MAX, WAIT_SECONDS = 10, 60

local function read(path)
  local file <close> = io.open(path)
  return file and file:read("a")
end

-- Starts the program; it ends by itself, or is killed by killer.lua.
local function start(run, environment)
  os.remove(run.directory .. "/status")
  local command = ("cd '%s' && (%s timeout %d %s -l spec.mail.killer examples/approval.lua --db %s/a.db --mail %s "
    .. "--port %d --seconds %g >>%s/out 2>&1; echo $? >%s/status.new; mv %s/status.new %s/status) &"):format(
    run.here, environment or "", WAIT_SECONDS, LUA, run.directory, run.box.url, run.port, run.seconds, run.directory,
    run.directory, run.directory, run.directory)
  os.execute(command)
end

local function post(url)
  local out = {}
  local ok, status = http.request { url = url, method = "POST", sink = ltn12.sink.table(out),
    headers = { ["content-length"] = "0" } }
  return ok and status or nil
end

-- The mails in the box by subject, each Message-ID once; asserts that those with one id are the same.
local function mails(box)
  local by_id, list = {}, {}
  for _, kept in ipairs(box:messages()) do
    local got = parse(kept.message)
    if by_id[got.message_id] then
      assert.equal(by_id[got.message_id], kept.message)
    else
      by_id[got.message_id] = kept.message
      list[#list + 1] = got
    end
  end
  return list
end

-- Answers, as soon as the mail is there and somebody listens.
local function answer(run)
  if run.answered or not run.choice then return end
  local kept = run.box:messages()[1]
  local got = kept and parse(kept.message)
  local url = got and got.body:match("http%S+choice=" .. run.choice .. "%S+")
  run.answered = url and post(url) == 200
end

-- Starts the program again and again until it ends well. The first start is killed as told.
local function finish(run, environment)
  local limit = socket.gettime() + WAIT_SECONDS
  for attempt = 1, STARTS_MAX do
    start(run, attempt == 1 and environment or nil)
    local status
    repeat
      answer(run)
      socket.sleep(0.02)
      status = read(run.directory .. "/status")
    until status or socket.gettime() > limit
    if status == "0\n" then return attempt end
    assert(status == "137\n" and attempt == 1, ("%s: %s"):format(status, read(run.directory .. "/out")))
  end
end

local function with_run(fields, fn)
  -- one port for each of its starts, so that links in mails stay good
  local run = { directory = support.directory(), box = support.mailbox(), port = free_port(), seconds = 300 }
  for name, value in pairs(fields) do run[name] = value end
  local pipe <close> = assert(io.popen("pwd"))
  run.here = pipe:read("l")
  local ok, problem = pcall(fn, run)
  run.box:close()
  support.remove(run.directory)
  if not ok then error(problem, 0) end
end

-- Asserts that one question and one report went out, and what the report says.
local function check(run, verdict, note)
  local list = mails(run.box)
  assert.equal(2, #list, note)
  assert.equal("Purchase purchase-1", list[1].subject, note)
  assert.truthy(list[1].body:find("Shall we buy chair, desk, lamp for 52400 cents?", 1, true))
  assert.equal("purchase-1: " .. verdict, list[2].subject, note)
  assert.truthy(list[2].body:find("The purchase of 524.00 is " .. verdict, 1, true))
  assert.truthy(read(run.directory .. "/out"):find("\npurchase-1: " .. verdict .. "\n", 1, true)
    or read(run.directory .. "/out"):find("^purchase%-1: " .. verdict:gsub("%p", "%%%0") .. "\n"))
end

describe("example approval", function()
  it("asks by mail, is answered, and reports; or gives up in time", function()
    with_run({ choice = "approve" }, function(run)
      assert.equal(1, finish(run))
      check(run, "approved")
    end)
    with_run({ choice = "disapprove" }, function(run)
      finish(run)
      check(run, "not approved")
    end)
    with_run({ seconds = 0.3 }, function(run)
      finish(run)
      check(run, "given up: nobody has answered in time")
    end)
  end)

  it("M5 M8 is killed before and after each of its steps, and asks, decides and reports once all the same", function()
    for _, when in ipairs { "before", "after" } do
      for at = 1, 100 do
        local starts
        with_run({ choice = "approve" }, function(run)
          local note = ("KILL_AT=%d KILL_WHEN=%s"):format(at, when)
          starts = finish(run, note)
          check(run, "approved", note)
        end)
        if starts == 1 then
          assert.is_true(at > 8, "steps: " .. at)
          break
        end
      end
    end
  end)
end)
