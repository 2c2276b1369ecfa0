--- durable/body/handling.lua: what a body answers with, while it waits: to queries, signals and updates.

local address = require "pipeline.durable.reach.address"
local calls = require "pipeline.durable.body.calls"
local options = require "pipeline.support.options"
local bad_type = require("pipeline.support.place").bad_type

local handling = {}

local methods = {}

local function check(name, fn, position, what)
  address.check_name(name, 1, what)
  options.check_function(fn, position, what)
end

--- Answers queries of that name (engine:query) with what fn(...) returns. It has to answer at once, may be called in
-- any process, at any time and also when the run is over, and changes nothing: what it changes is lost.
-- @tparam string name of 1 to 200 bytes. @tparam function fn gets the arguments of the query.
function methods.on_query(self, name, fn)
  local run = calls.run_of(self, "on_query")
  check(name, fn, 2, "on_query")
  run.handlers:answer(name, fn)
end

--- Takes the signals of that name that no wait takes: for each, in the order in which they came, fn(payload) runs as a
-- branch of the body, when that waits. Those that came before are taken, too. The run ends when all handlers have
-- ended; an error of one fails it then.
-- @tparam string name of 1 to 200 bytes. @tparam function fn
function methods.on_signal(self, name, fn)
  local run = calls.run_of(self, "on_signal")
  check(name, fn, 2, "on_signal")
  run.handlers:register(run, "signal", name, fn)
end

--- Takes updates of that name (engine:update): fn(payload) runs as a branch of the body, when that waits, and its
-- result, or its error, is the answer. An update that comes when the body waits first, and has no handler then, is
-- refused.
-- @tparam string name of 1 to 200 bytes.
-- @param validator nil, or function(payload), which raises where the update is to be refused: then it leaves no trace
--   in the journal. It records nothing, and does not wait.
-- @tparam function fn
function methods.on_update(self, name, validator, fn)
  local run = calls.run_of(self, "on_update")
  check(name, fn, 3, "on_update")
  if validator ~= nil and not options.is_callable(validator) then
    bad_type(2, "on_update", "function or nil", validator)
  end
  run.handlers:register(run, "update", name, fn, validator)
end

handling.methods = methods

return handling
