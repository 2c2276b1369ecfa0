-- log_spec.lua - lines of log as text and as JSON, with the fields of what they are about.

local cjson = require "cjson"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

local number = 0

local function define(definition)
  number = number + 1
  local name = "log_spec.Class" .. number
  return pipeline.define(name, definition), name
end

describe("log", function()
  local engine, lines

  local function open(options)
    lines = {}
    options = options or {}
    options.virtual_time, options.virtual_start = true, 1e9
    options.log = options.log or function(level, line, fields)
      lines[#lines + 1] = { level = level, text = line, fields = fields }
    end
    engine = pipeline.open(":memory:", options)
    return engine
  end

  local function line_with(part)
    for _, line in ipairs(lines) do
      if line.text:find(part, 1, true) then return line end
    end
    error("no line with: " .. part)
  end

  after_each(function()
    if engine then engine:close() end
  end)

  it("O3 a function gets the fields of what a line is about: self:log in a run", function()
    local Class, name = define { run = function(self)
      self:log("info", "half of %d done", 10)
      self:log(30, "100 % sure")
    end }
    open()
    local stage = Class():start { queue_name = "default" }
    engine:wait(stage)
    local line = line_with "half of 10 done"
    assert.equal(20, line.level)
    assert.same({ stage.id, stage.id, name, "default", 1, ":memory:", 1e9 }, {
      line.fields.pipeline_id, line.fields.root_id, line.fields.class, line.fields.queue, line.fields.attempt,
      line.fields.engine, line.fields.time,
    })
    assert.equal("integer", math.type(line.fields.worker))
    assert.equal(30, line_with("100 % sure").level)
  end)

  it("O3 a class may have a field log of its own", function()
    local Class = define { log = "mine", run = function(self) return self.log end }
    open()
    assert.equal("mine", engine:wait(Class():start()).default.value)
  end)

  it("O3 failures of attempts and aborts have the fields of their pipeline, the child's not the root's", function()
    local Child, child_name = define { max_attempts = 2, run = function() error("it broke") end }
    local Class = define { run = function(self) self:spawn(Child()) end }
    open()
    local stage = Class():start()
    engine:drain { delayed = true }
    local line = line_with "it broke"
    assert.same({ child_name, 1, stage.id }, { line.fields.class, line.fields.attempt, line.fields.root_id })
    assert.not_equal(stage.id, line.fields.pipeline_id)
    assert.equal(2, line_with("is aborted").fields.attempt)
  end)

  it("O3 a task of a queue that fails has queue, name, kind and try", function()
    open()
    engine:route("POST", "/fails", function() return 404 end)
    taskqueue.add { url = "/fails", name = "t1", retry_options = { task_retry_limit = 0 } }
    engine:drain { delayed = true }
    local fields = line_with("failed, try 1").fields
    assert.same({ "default", "t1", "push", 1 }, { fields.queue, fields.task, fields.kind, fields.attempt })
  end)

  it("O3 a level or a format that there is not is refused, and so is an unknown level of self:log", function()
    for _, given in ipairs { { format = "xml" }, { level = "loud" }, { levl = "info" }, 7 } do
      local ok, problem = pcall(pipeline.open, ":memory:", { log = given, virtual_time = true })
      assert.is_false(ok)
      assert.matches("log", tostring(problem))
    end
    local said
    local Class = define { run = function(self) said = select(2, pcall(self.log, self, "loud", "x")) end }
    open()
    engine:wait(Class():start())
    assert.matches("level expected", tostring(said))
  end)

  it("O3 a function that raises loses nothing: warnings go to standard error, work goes on", function()
    local Class = define { run = function(self)
      self:log("info", "x")
      return 1
    end }
    open { log = function() error("no room") end }
    assert.equal(1, engine:wait(Class():start()).default.value)
  end)

  -- What a program of its own writes to standard error.
  local function written(log)
    local program = ([[
      local pipeline = require "pipeline"
      local engine = pipeline.open(":memory:", { virtual_time = true, virtual_start = 1e9, log = %s })
      local C = pipeline.define("shop.C", { max_attempts = 1, run = function(self)
        self:log("debug", "too small")
        self:log("info", 'a "quoted" word, \255, and\na second line\27[2J')
        error("broken")
      end })
      C():start()
      engine:drain()
      engine:close()
    ]]):format(log)
    local path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    file:write(program)
    file:close()
    local pipe <close> = assert(io.popen(("lua5.4 %s 2>&1 >/dev/null"):format(path)))
    local out = {}
    for line in pipe:lines() do out[#out + 1] = line end
    os.remove(path)
    return out
  end

  it("O3 as JSON each line is one object, whatever is in it", function()
    local out = written '{ format = "json" }'
    local first = cjson.decode(out[1])
    assert.same({ "2001-09-09T01:46:40.000Z", "info", "shop.C", ":memory:", 1 },
      { first.time, first.level, first.class, first.engine, first.attempt })
    assert.equal('a "quoted" word, \u{FFFD}, and\na second line\27[2J', first.message)
    assert.equal(32, #first.pipeline_id)
    local levels = {}
    for i, line in ipairs(out) do levels[i] = cjson.decode(line).level end
    assert.same({ "info", "warning", "error" }, levels)
  end)

  it("O3 as text a line begins with time and level, and goes on indented; the level is the least that is written",
    function()
      local out = written '{ format = "text", level = "info" }'
      assert.matches('^2001%-09%-09T01:46:40%.000Z INFO a "quoted" word', out[1])
      assert.matches("^    a second line\\27%[2J engine=:memory: pipeline_id=%x+", out[2])
      assert.matches(" WARNING .*class=shop.C.* attempt=1", table.concat(out, "\n"))
      for _, line in ipairs(written '{ level = "error" }') do
        assert.is_nil(line:find("INFO", 1, true) or line:find("WARNING", 1, true))
      end
    end)
end)
