-- support.lua: what specs of tasklets share: a loop with virtual time, a log of what happened, and a look at what a
-- test has left behind.

local leaks = require "spec.tasklets.leaks" -- first: see there

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local tasklets = require "pipeline.tasklets"

local support = {}

local START = 1000.0
local reported = {}

--- Before each test: virtual time from 1000 on, and reports are collected.
function support.start()
  eventloop.clear()
  support.clock = eventloop.virtual_clock(START)
  eventloop.set_clock(support.clock)
  reported = {}
  leaks.start()
  eventloop.set_error_hook(function(value, text) reported[#reported + 1] = { value = value, text = text } end)
end

--- After each test: nothing may be left behind, and nothing may have been reported but what the test has asked for.
function support.finish()
  eventloop.run()
  tasklets.set_context(nil)
  local ok, problem = pcall(leaks.check)
  eventloop.clear()
  eventloop.set_clock(nil)
  eventloop.set_error_hook(nil)
  if not ok then error(problem, 0) end
  if reported[1] then error("reported: " .. reported[1].text, 0) end
end

--- Before and after each test with real time and engines; `finish` closes the engines.
function support.start_real()
  leaks.start()
end

function support.finish_real(finish)
  finish()
  leaks.check()
end

--- The reports so far, which are forgotten.
function support.reports()
  local list = reported
  reported = {}
  return list
end

--- Seconds of virtual time since the test began.
function support.time()
  return support.clock.now() - START
end

--- A function that notes its arguments as one word, and the list of what was noted.
function support.log()
  local list = {}
  return function(...)
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    list[#list + 1] = table.concat(words, " ")
  end, list
end

--- Calls fn(...), which must raise an error of `class` whose text, with its place or without, has `pattern` in it;
-- returns it.
function support.raises(class, pattern, fn, ...)
  local ok, problem = pcall(fn, ...)
  assert(not ok, "nothing was raised")
  local text = errors.text(problem)
  if class and not errors.is(problem, class) then
    error(("%s expected, got: %s"):format(tostring(class), text), 2)
  end
  local plain = text:gsub("^[%w_./]*%.lua:%d+: ", "")
  if pattern and not text:find(pattern) and not plain:find(pattern) then
    error(("'%s' expected, got: %s"):format(pattern, text), 2)
  end
  return problem
end

--- The text of an error object that says where it was raised, without the place.
function support.unplaced(problem)
  local text = errors.text(problem)
  assert(text:find("^[%w_./]*_spec%.lua:%d+: ") or text:find("^[%w_./]*support%.lua:%d+: "), "no place: " .. text)
  return (text:gsub("^[^:]*:%d+: ", ""))
end

--- Starts fn(...) as a tasklet.
function support.go(fn, ...)
  return tasklets.tasklet(fn)(...)
end

--- A future that is done with the values given, or failed.
function support.done(...)
  local future = tasklets.Future()
  future:set_result(...)
  return future
end

function support.failed(value)
  local future = tasklets.Future()
  future:set_exception(value)
  future:get_exception()
  return future
end

return support
