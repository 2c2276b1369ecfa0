--- Every command that shows something, in terminals of three widths, through a pipe, and with what spoils a picture.

local support = require "spec.command.support"

describe("what the commands show", function()
  local scene

  setup(function()
    scene = support.scene()
    scene:write("all.lua", [[
      local deferred, schedules = require "pipeline.deferred", require "pipeline.schedules"
      local pipeline, taskqueue = require "pipeline", require "pipeline.taskqueue"
      local all = { fails = function(why) error(why, 0) end }
      package.loaded.all = all
      local LONG = "a.class.with.quite.a.long.name.that.does.not.fit.into.forty.columns.Really"
      local Long = pipeline.define(LONG, { max_attempts = 1, run = function(_, why) if why then error(why, 0) end end })
      if os.getenv "FILL" then
        taskqueue.configure { ["a-queue-whose-name-is-longer-than-forty-columns-are"] = { rate = "7/h" } }
        local once = { retry_options = taskqueue.TaskRetryOptions { task_retry_limit = 0 } }
        deferred.with(once) (all.fails, ("no "):rep(60) .. "\27[2J")
        Long():start { countdown = 7200 }
        Long(("no "):rep(60)):start { idempotence_key = "failed" }
        schedules.declare("all", { nightly = { cron = "30 2 * * *", time_zone = "Europe/Berlin", start = Long() } })
      end
      return all
    ]])
    local worker = scene:spawn({ "worker", "all.lua", "-q" }, { env = { FILL = "1" } })
    assert(support.eventually(support.SECONDS, function()
      local code, out = scene:run { "--json", "dead" }
      local _, failed = scene:run { "--json", "show", "key:failed" }
      return code == 0 and out:find('"dead"', 1, true) and failed:find('"aborted"', 1, true)
    end), worker.said())
    scene:stop(worker)
  end)
  teardown(function()
    scene:close()
    support.remove()
  end)

  local commands = {
    { "list" }, { "show", "key:failed" }, { "show", "key:failed", "--args" }, { "logs", "key:failed" }, { "queues" },
    { "queue", "default" }, { "tasks", "default" }, { "dead" }, { "workers" }, { "schedules" },
    { "schedule", "nightly" }, { "stats", "--short" }, { "top", "--count", "1" }, { "help" }, { "help", "start" },
    { "version" },
  }
  for _, columns in ipairs { 40, 80, 200 } do
    it(("C1 C2 fits a terminal of %d columns, and no text of anybody moves the cursor"):format(columns), function()
      for _, screen in ipairs(scene:screens(commands, { columns = columns, lines = 500 })) do
        assert.is_nil(screen:find("\27[2J", 1, true), screen)
        for line in screen:gsub("\27%[[%d;]*m", ""):gmatch("[^\n]+") do
          local is_free = line:find("^    ") ~= nil -- of a traceback
          assert.is_true(is_free or utf8.len(line) <= columns, ("%d columns: %s"):format(columns, line))
        end
      end
    end)
  end

  it("C1 C2 top fits its screen, its line of keys as well, at 40 columns", function()
    local _, screen = scene:terminal({ "top" }, { columns = 40, lines = 20, send = { { "Failed last", "q" } } })
    local seen = 0
    for line in screen:gsub("\27%[[%d;?]*%a", ""):gmatch("[^\r\n]+") do
      seen = seen + 1
      assert.is_true(utf8.len(line) <= 40, line)
    end
    assert.is_true(seen >= 8 and screen:find("q quit", 1, true) ~= nil, screen)
    assert.is_nil(screen:find("Aborting after", 1, true), screen)
  end)

  it("C2 is readable without colours and in ASCII, with 40 columns", function()
    local env = { LC_ALL = "C", NO_COLOR = "1" }
    for _, screen in ipairs(scene:screens(commands, { columns = 40, lines = 500, env = env })) do
      assert.is_nil(screen:find("[\27\128-\255]"), screen)
    end
  end)

  it("C1 has no colours and moves no cursor in a pipe", function()
    for _, words in ipairs(commands) do
      local out, err = scene:must(words)
      assert.is_nil((out .. err):find("[\27\r]"), out .. err)
    end
  end)
end)
