--- list, show, why, logs: looking at pipelines from the shell.

local schema = require "spec.command.schema"
local shapes = require "spec.command.shapes"
local support = require "spec.command.support"

describe("looking at pipelines", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)
  teardown(support.remove)

  local function start(...)
    return (scene:must { "start", "--module", "demo.lua", ... }):match("%S+")
  end

  local function finish(expected, ...)
    local _, err = scene:must({ "start", "--module", "demo.lua", "--wait", "-q", ... }, nil, expected)
    return err
  end

  local function is_as(shape, words)
    local value = scene:json(words)
    assert.equal("", schema.check(value, shapes[shape]))
    return value
  end

  -- A store with a tree in every state that can be had without a worker.
  local function fill()
    finish(0, "demo.Sum", "1", "2", "3", "--key", "sum")
    finish(1, "demo.Parent", "no stock", "--key", "failed")
    start("demo.Add", "1", "2", "--in", "1h", "--key", "later")
    start("demo.Add", "3", "4", "--key", "soon")
  end

  it("C6 list, show, why and logs are JSON with the names of their schemas", function()
    fill()
    local list = is_as("list", { "list" })
    assert.equal(4, #list.items)
    assert.equal("soon", list.items[1].key)
    for _, item in ipairs(list.items) do
      local tree = is_as("show", { "show", item.id, "--args", "--outputs" })
      assert.equal(item.state, tree.state)
      is_as("logs", { "logs", item.id })
      is_as("why", { "why", item.id })
    end
    assert.same({}, is_as("list", { "list", "--class", "no.Such" }).items)
  end)

  it("list says of what was aborted what went wrong, first", function()
    finish(1, "demo.Parent", "no stock", "--key", "failed")
    local out = scene:must { "list", "--state", "aborted" }
    assert.is_nil(out:find("Aborting after", 1, true), out)
    assert.truthy(out:find("no stock", 1, true), out)
  end)

  it("list takes the filters, and goes on at a cursor", function()
    fill()
    local function keys(...)
      local found = {}
      for i, item in ipairs(scene:json({ "list", ... }).items) do found[i] = item.key end
      return table.concat(found, " ")
    end
    assert.equal("failed", keys("--state", "aborted"))
    assert.equal("soon later", keys("--class", "demo.Add"))
    assert.equal("later", keys("--key", "later"))
    assert.equal("failed", keys("--error", "no stock"))
    assert.equal("failed", keys("--text", "Parent"))
    assert.equal("", keys("--until", "1h"))
    assert.equal("soon later failed sum", keys("--since", "1h"))
    local page = scene:json { "list", "--limit", "3" }
    assert.equal(3, #page.items)
    assert.equal("sum", keys("--limit", "3", "--cursor", page.cursor))
    local code, _, err = scene:run { "list", "--state", "aborte" }
    assert.equal(2, code)
    assert.truthy(err:find("did you mean 'aborted'", 1, true), err)
  end)

  it("show draws the tree with states, durations and errors", function()
    fill()
    local out = scene:must { "show", "key:failed" }
    assert.truthy(out:find("\u{2717} aborted   demo.Parent", 1, true), out)
    assert.truthy(out:find("\u{251c}\u{2500} \u{2713} done      demo.Add", 1, true), out)
    assert.truthy(out:find("\u{2514}\u{2500} \u{2717} aborted   demo.Bad", 1, true), out)
    assert.truthy(out:find("no stock", 1, true), out)
    out = scene:must { "show", "key:sum", "--args", "--outputs" }
    assert.truthy(out:find("args: 1, 2, 3", 1, true) and out:find("default: 6", 1, true), out)
    out = scene:must { "show", "key:sum", "--depth", "0" }
    assert.is_nil(out:find("demo.Add", 1, true), out)
  end)

  it("C2 show, list, logs and why are readable with 40 columns, in ASCII, and on a dumb terminal", function()
    fill()
    local commands = { { "show", "key:failed" }, { "list" }, { "logs", "key:failed" }, { "why", "key:later" } }
    for _, given in ipairs {
      { columns = 40 }, { columns = 40, env = { LC_ALL = "C" } }, { columns = 80, env = { TERM = "dumb" } },
      { columns = 80, env = { NO_COLOR = "1" } },
    } do
      given.lines = 500
      local env = given.env or {}
      for _, screen in ipairs(scene:screens(commands, given)) do
        if env.TERM or env.NO_COLOR then assert.is_nil(screen:find("\27", 1, true), screen) end
        if env.LC_ALL then assert.is_nil(screen:find("[\128-\255]"), screen) end
        for line in screen:gsub("\27%[[%d;]*m", ""):gmatch("[^\n]+") do
          local is_free = line:find("^    ") ~= nil -- of a traceback
          assert.is_true(is_free or utf8.len(line) <= given.columns, line)
        end
      end
    end
    local _, screen = scene:terminal({ "show", "key:failed" }, { env = { LC_ALL = "C" } })
    assert.truthy(screen:find("`- ", 1, true) and screen:find("|- ", 1, true), screen)
  end)

  it("C1 writes no colours and moves no cursor in a pipe", function()
    fill()
    for _, words in ipairs { { "list" }, { "show", "key:failed" }, { "show", "key:sum", "--follow" } } do
      local out, err = scene:must(words)
      assert.is_nil((out .. err):find("\27", 1, true), out)
      assert.is_nil((out .. err):find("\r", 1, true), out)
    end
    local _, screen = scene:terminal { "show", "key:failed" }
    assert.truthy(screen:find("\27[31m", 1, true), screen)
    _, screen = scene:terminal { "show", "key:failed", "--no-color" }
    assert.is_nil(screen:find("\27", 1, true), screen)
  end)

  it("C4 more than a screen goes through $PAGER, but only on a terminal", function()
    for i = 1, 12 do start("demo.Add", tostring(i), "1") end
    scene:write("pager", "#!/bin/sh\necho paged; cat\n")
    os.execute("chmod +x " .. scene.directory .. "/pager")
    local env = { PAGER = "./pager" }
    local _, screen = scene:terminal({ "list" }, { lines = 10, env = env })
    assert.truthy(screen:find("paged", 1, true), screen)
    _, screen = scene:terminal({ "list" }, { lines = 40, env = env })
    assert.is_nil(screen:find("paged", 1, true), screen)
    assert.is_nil((scene:must({ "list" }, { env = env })):find("paged", 1, true))
  end)

  it("shows texts of anybody as text: no name moves the cursor", function()
    finish(1, "demo.Bad", '"\\u001b[2J\\u202Ereversed\\r\\nsecond line"', "--key", "\27[31mred")
    for _, words in ipairs { { "list" }, { "show", "key:\27[31mred" }, { "logs", "key:\27[31mred" } } do
      local out = scene:must(words)
      assert.is_nil(out:find("[\27\r]"), out)
      assert.is_nil(out:find("\u{202e}", 1, true), out)
    end
  end)

  it("C8 names what is near when there is no such pipeline, and which when there are several", function()
    fill()
    local function fails(code, text, ...)
      local got, _, err = scene:run { "show", ... }
      assert.equal(code, got, err)
      assert.truthy(err:find(text, 1, true), err)
    end
    fails(3, "pipeline list", ("f"):rep(32))
    fails(3, "key 'nothing'", "key:nothing")
    fails(2, "too short", "abc")
  end)

  it("show --follow goes on until it is over: exit code 0 when done, 1 when aborted", function()
    local function follow(...)
      local id = start(...)
      local watcher = scene:spawn { "show", id, "--follow" }
      watcher.saw("ready")
      local worker = scene:worker()
      local code = scene.group:wait_for(watcher.pid, support.SECONDS)
      scene:stop(worker)
      return code, watcher.said()
    end
    local code, said = follow("demo.Sum", "1", "2", "3")
    assert.equal(0, code, said)
    assert.truthy(said:find("done demo.Sum", 1, true), said)
    assert.equal(1, (follow("demo.Parent")))
  end)

  it("show --follow redraws in place on a terminal, and prints a document for each change with --json", function()
    start("demo.Ask", "--key", "ask")
    local worker = scene:worker()
    local watcher = scene:spawn { "--json", "show", "key:ask", "--follow" }
    watcher.saw('"open"')
    local code, screen = scene:terminal({ "show", "key:ask", "--follow" }, { send = { { "asks somebody", "\\x03" } } })
    assert.equal(130, code, screen)
    assert.truthy(screen:find("0 of 1", 1, true), screen)
    assert.equal(0, scene:stop(worker))
    scene.group:signal(watcher.pid, "TERM")
    scene.group:wait_for(watcher.pid, support.SECONDS)
  end)
end)
