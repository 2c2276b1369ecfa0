-- chains_spec.lua: long chains: of futures that complete one another, of tasklets that await one another, of
-- cancellations. Neither the C stack nor traces grow with their length.

local support = require "spec.tasklets.support" -- first: see leaks.lua

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local tasklets = require "pipeline.tasklets"
local pace = require "spec.support.pace"
local await, sleep, Future = tasklets.await, tasklets.sleep, tasklets.Future
local go = support.go

describe("a chain of futures", function()
  before_each(support.start)
  after_each(support.finish)

  it("of 1,000,000 links is completed by its first, one immediate callback after the other", function()
    local left = 1000000
    local function link(before)
      left = left - 1
      if left == 0 then return end
      local next_one = Future()
      next_one:add_immediate_callback(link, next_one)
      next_one:set_result(before:get_result() + 1)
    end
    local first = Future()
    first:add_immediate_callback(link, first)
    first:set_result(0)
    assert.equal(0, left)
  end)

  it("that was there before is completed by its first", function()
    local first = Future()
    local last = first
    for _ = 1, 100000 do
      local one, before = Future(), last
      before:add_immediate_callback(function() one:set_result(before:get_result() + 1) end)
      last = one
    end
    first:set_result(0)
    assert.equal(100000, last:get_result())
  end)

  it("of with_timeout gives the result, or the error", function()
    for _, fails in ipairs { false, true } do
      local first = Future()
      local last = first
      for _ = 1, 20000 do last = tasklets.with_timeout(last, 10) end
      if fails then first:set_exception("broken") else first:set_result("whole") end
      assert.is_true(last:done())
      assert.equal(fails and "Error: broken" or "whole", tostring(fails and last:get_exception() or last:get_result()))
    end
    assert.equal(0, support.time())
    assert.same({ 0, 0, 0, 0 }, { eventloop.pending() })
  end)

  it("of MultiFutures is completed by its first", function()
    local first = Future()
    local last = first
    for _ = 1, 20000 do
      local multi = tasklets.MultiFuture()
      multi:add_dependent(last)
      multi:complete()
      last = multi
    end
    first:set_result(1)
    assert.is_true(last:done())
  end)

  it("ends when the time of its last is up", function()
    local tail = go(function() await(sleep(100)) end)
    local last = tail
    for _ = 1, 20000 do last = tasklets.with_timeout(last, 50) end
    last = tasklets.with_timeout(last, 1)
    assert.is_true(errors.is(last:get_exception(), errors.TimeoutError))
    eventloop.run()
    assert.is_true(errors.is(tail:get_exception(), errors.CancelledError))
    assert.equal(1, support.time())
  end)

  it("immediate callbacks come before all others, in the order in which their futures were completed", function()
    local note, list = support.log()
    local a, b = Future(), Future()
    a:add_callback(note, "a later")
    a:add_immediate_callback(function()
      note("a first")
      b:set_result()
      note("a goes on")
    end)
    a:add_immediate_callback(note, "a second")
    b:add_callback(note, "b later")
    b:add_immediate_callback(note, "b")
    a:set_result()
    assert.same({ "a first", "a goes on", "a second", "b" }, list)
    eventloop.run()
    assert.same({ "a later", "b later" }, { table.unpack(list, 5) })
  end)

  it("an immediate callback cannot wait, in a tasklet neither, and others are called all the same", function()
    local note, list = support.log()
    local a, b = Future(), Future()
    a:add_immediate_callback(function() await(sleep(1)) end)
    a:add_immediate_callback(note, "second")
    b:add_immediate_callback(note, "b")
    go(function()
      a:set_result()
      b:set_result()
      note("set")
    end):get_result()
    assert.same({ "second", "b", "set" }, list)
    local reports = support.reports()
    assert.equal(1, #reports)
    assert.matches("await cannot wait here", reports[1].text)
  end)
end)

describe("a chain of tasklets", function()
  before_each(support.start)
  after_each(support.finish)

  local DEEP = 8000

  local function level(n, bottom)
    if n == 0 then return bottom() end
    return (await(tasklets.tasklet(level)(n - 1, bottom)))
  end

  it("passes an error up in time and memory that grow with its length alone, and says what its trace leaves out",
    function()
      local started = os.clock()
      local deep = go(level, DEEP, function() error("no stock") end):get_exception()
      local seconds = os.clock() - started
      assert.matches("chains_spec.lua:%d+: no stock$", deep.message)
      assert.is_true(#deep.traceback < 16384, #deep.traceback)
      local count = deep.traceback:match("%.%.%. %((%d+) lines left out%)")
      assert.is_true(tonumber(count) > DEEP)
      assert.is_nil(deep.traceback:match("left out.*left out"))
      assert.matches("^[^\n]*chains_spec.lua:%d+: in ", deep.traceback) -- where it was raised
      assert.matches("awaited in Tasklet[^\n]*\n[^\n]*\n?[^\n]*chains_spec.lua:%d+: in [^\n]*\n[^\n]*$", deep.traceback)
      assert.is_true(seconds < 30 * pace, seconds)
      local shallow = go(level, 3, function() error("no stock") end):get_exception()
      assert.is_nil(shallow.traceback:match("left out"))
      assert.equal(3, select(2, shallow.traceback:gsub("awaited in", "")))
    end)

  it("is cancelled as a whole, what is waited for before who waits for it", function()
    local note, list = support.log()
    local function closing(n)
      return setmetatable({}, { __close = function() note(n) end })
    end
    local function nested(n)
      local _ <close> = closing(n)
      if n == 0 then await(sleep(100)) else await(tasklets.tasklet(nested)(n - 1)) end
    end
    local outer = go(nested, 5)
    eventloop.queue_call(1, outer.cancel, outer)
    eventloop.run()
    assert.same({ "0", "1", "2", "3", "4", "5" }, list)
    assert.equal(1, support.time())
    local long = go(level, DEEP, function() await(sleep(100)) end)
    eventloop.queue_call(1, long.cancel, long)
    eventloop.run()
    assert.is_true(errors.is(long:get_exception(), errors.CancelledError))
    assert.equal(2, support.time())
  end)
end)
