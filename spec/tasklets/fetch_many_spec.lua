-- examples/fetch_many.lua, run as a program against a server that is slow, broken and fine by turns.

local server = require "spec.fetch.support"

local LUA = os.getenv("LUA") or "lua5.4"

describe("examples/fetch_many.lua", function()
  local target, files

  setup(function() target = server.target() end)
  teardown(function() server.stop(target) end)
  before_each(function() files = {} end)
  after_each(function()
    for _, path in ipairs(files) do os.remove(path) end
  end)

  local function file(text)
    local path = os.tmpname()
    files[#files + 1] = path
    local out = assert(io.open(path, "w"))
    out:write(text or "")
    out:close()
    return path
  end

  -- Runs it; returns its output, standard error and exit code.
  local function run(options, text)
    local errors = file()
    local list = text and file(text) or ""
    local command = ("timeout 60 %s -W examples/fetch_many.lua %s %s 2>%s"):format(LUA, options, list, errors)
    local pipe = assert(io.popen(command))
    local output = pipe:read("a")
    local _, _, code = pipe:close()
    return output, assert(io.open(errors)):read("a"), code
  end

  local function urls(...)
    local lines = {}
    for i, path in ipairs { ... } do lines[i] = target.url .. path end
    return table.concat(lines, "\n") .. "\n"
  end

  local function seen(name)
    local core = require "pipeline.core"
    local engine = core.open(":memory:")
    local value = tonumber(engine:fetch { url = target.url .. "/seen?" .. name }.body)
    engine:close()
    return value
  end

  -- The rows of the table by path: answer, tries, bytes.
  local function rows(output)
    local list = {}
    for line in output:gmatch("[^\n]+") do
      local answer, tries, bytes, path = line:match("^(%S.-)%s+(%d+)%s+(%d+)%s+[%d.]+%s+http://[^/]+(/%S*)$")
      if path then list[path] = { answer, tonumber(tries), tonumber(bytes) } end
    end
    return list
  end

  it("fetches what is fine, tries again what is not, and shows a table", function()
    local output, progress, code = run("--tries 3 --seconds 0.3 --back-off 0.01", "# a note\n\n" .. urls(
      "/after", "/slow?0.1", "/never", "/drop", "/half", "/garbage", "/status?500", "/status?404", "/status?302",
      "/flaky?2", "/big?100000", "/dribble"))
    assert.equal(1, code)
    assert.same({
      ["/after"] = { "200", 1, 9 }, ["/slow?0.1"] = { "200", 1, 4 }, ["/never"] = { "too late", 3, 0 },
      ["/drop"] = { "ECONNRESET", 3, 0 }, ["/half"] = { "ECONNRESET", 3, 0 }, ["/garbage"] = { "EPROTO", 3, 0 },
      ["/status?500"] = { "500", 3, 10 }, ["/status?404"] = { "404", 1, 10 }, ["/status?302"] = { "200", 1, 9 },
      ["/flaky?2"] = { "200", 3, 4 }, ["/big?100000"] = { "200", 1, 100000 }, ["/dribble"] = { "too late", 3, 0 },
    }, rows(output))
    assert.matches("\n5 done, 7 failed, 26 attempts, 100046 bytes\n$", output)
    assert.matches("^0 done, 0 failed, %d+ under way, %d+ to come; %d+ attempts, %d+ bytes\n", progress)
  end)

  it("has no more than N under way at once", function()
    local list = { "/reset" }
    run("--at-once 1 --quiet", urls("/reset"))
    for i = 1, 20 do list[i] = "/slow?0.0" .. i % 5 end
    local output, progress, code = run("--at-once 4 --quiet", urls(table.unpack(list)))
    assert.equal(0, code)
    assert.equal("", progress)
    assert.matches("\n20 done, 0 failed, 20 attempts, 80 bytes\n$", output)
    assert.equal(4, seen "most")
  end)

  it("a bad URL is not tried again; a server that is not there is", function()
    local output, _, code = run("--tries 2 --back-off 0.01 --quiet",
      "not a URL # for sure\r\nhttp://127.0.0.1:9/nobody\r\nhttp://\n  ftp://127.0.0.1/x#y\n")
    assert.equal(1, code)
    local list = {}
    for answer, tries, url in output:gmatch("([^\n]-) +(%d+) +0 +[%d.]+  ([^\n]*)") do
      list[#list + 1] = ("%s %s %s"):format(answer, tries, url)
    end
    assert.same({
      "bad URL 1 not a URL", "ECONNREFUSED 2 http://127.0.0.1:9/nobody", "bad URL 1 http://",
      "bad URL 1 ftp://127.0.0.1/x#y",
    }, list)
    assert.matches("\n0 done, 4 failed, 5 attempts, 0 bytes\n$", output)
  end)

  it("an empty list is done at once; a wrong call is told what is wrong", function()
    local output, _, code = run("--quiet", "# nothing\n")
    assert.equal(0, code)
    assert.matches("0 done, 0 failed", output)
    for options, text in pairs {
      [""] = "which file?", ["--tries no x"] = "--tries needs a number", ["--tries 0 x"] = "above 0",
      ["--what x"] = "what is --what?", ["/does/not/exist"] = "No such file", ["-x"] = "what is -x?",
      ["spec"] = "spec: Is a directory", ["--tries 1.5 x"] = "whole number", ["--at-once 2.5 x"] = "whole number",
      ["--at-once 1e30 x"] = "whole number",
    } do
      local _, problem, failed = run(options)
      assert.equal(2, failed)
      assert.truthy(problem:find(text, 1, true), problem)
      assert.matches("usage: ", problem)
    end
  end)
end)
