-- durable/reach/check.lua: changed code is found against what a store has, before it is put to work.

local pipeline = require "pipeline"
local processes = require "spec.crash.processes"

local function nothing() return 1 end

local function old_bill(self)
  self:step("charge", nothing)
  self:wait_event("paid")
end

local Bill = pipeline.workflow("history.Bill", { run = old_bill })
local Child = pipeline.workflow("history.Child", { run = function(self) self:wait_event("never") end })
local Other = pipeline.workflow("history.Other", { run = function(self)
  self:spawn(Child())
  self:step("a", nothing)
  self:wait_event("go")
end })

local function dump(path)
  local tables = "pl_stage pl_task pl_slot pl_wait pl_flow pl_journal pl_mail pl_chunk pl_value"
  local pipe = assert(io.popen(("sqlite3 '%s' '.dump %s'"):format(path, tables)))
  local text = pipe:read("a")
  assert(pipe:close())
  return text
end

describe("check_history", function()
  local directory, path

  before_each(function()
    directory = processes.directory()
    path = directory .. "/a.db"
  end)
  after_each(function()
    Bill.run = old_bill
    os.execute("rm -rf " .. processes.quote(directory))
  end)

  local function fill()
    local engine <close> = pipeline.open(path, { log = function() end })
    local bills = {}
    for i = 1, 3 do bills[i] = Bill(i):start().id end
    Other():start()
    local over = Bill(4):start()
    engine:drain()
    engine:signal(over, "paid")
    engine:wait(over)
    return bills
  end

  it("W154 finds nothing where the code is as it was", function()
    fill()
    assert.same({}, pipeline.check_history(path))
  end)

  it("W154 finds each run that changed code does not go with, with both steps and lines, and writes nothing", function()
    local bills, called = fill(), false
    Bill.run = function(self)
      self:step("bill", function() called = true end)
      self:wait_event("paid")
    end
    local before = dump(path)
    local found = pipeline.check_history(path)
    assert.equal(before, dump(path))
    assert.is_false(called)
    assert.equal(3, #found)
    for i, one in ipairs(found) do
      assert.same({ bills[i], "history.Bill" }, { one.id, one.class })
      assert.is_true(pipeline.is(one.error, pipeline.NondeterminismError))
      assert.match('entry 1 of the journal is step "charge" %(.*history_spec.lua:%d+%), but the function now asks for '
        .. 'step "bill" %(.*history_spec.lua:%d+%)', one.error.message)
    end
    local engine <close> = pipeline.open(path, { log = function() end })
    assert.equal(3, #pipeline.check_history(engine))
    assert.equal(2, #pipeline.check_history(engine, { class = Bill, limit = 2 }))
    assert.same({}, pipeline.check_history(engine, { class = "history.Other" }))
    assert.equal("suspended", select(2, engine:get_journal(bills[1])).mode)
  end)

  it("W154 tells of a class that cannot be loaded; what is over is not looked at", function()
    local engine <close> = pipeline.open(path, { log = function() end })
    local lua = os.getenv("LUA") or "lua5.4"
    local file = assert(io.open(directory .. "/start.lua", "w"))
    file:write(([[
      local pipeline = require "pipeline"
      local engine <close> = pipeline.open(%q)
      local Gone = pipeline.workflow("history.Gone", { run = function(self) self:wait_event("e") end })
      Gone():start()
      engine:drain()
    ]]):format(path))
    file:close()
    assert(os.execute(("%s %s/start.lua"):format(lua, directory)))
    local found = pipeline.check_history(engine)
    assert.equal(1, #found)
    assert.match("class history.Gone cannot be loaded", found[1].error.message)
    for _, given in ipairs { { limit = 0 }, { class = 7 }, { klass = Bill } } do
      assert.is_false(pcall(pipeline.check_history, engine, given))
    end
    assert.is_false(pcall(pipeline.check_history, directory .. "/none.db"))
  end)
end)
