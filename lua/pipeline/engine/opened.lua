--- opened.lua: what every method of an engine asks first: whether it is one, and still open.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local misuse = require("pipeline.support.place").misuse

local opened = {}

--- Raises unless `self` is an engine.
function opened.is_engine(self)
  if type(self) ~= "table" or not rawget(self, "_core") then
    misuse("bad self: an engine expected (its methods are called with a colon)")
  end
end

--- Raises unless `self` is an engine that has not been closed.
function opened.check(self)
  opened.is_engine(self)
  if self._closed then errors.raise_core("ECLOSED", "the engine is closed") end
end

--- Raises inside a transaction on the engine's file: what is started in one cannot run before its end.
-- @tparam string name of the method.
function opened.outside_transaction(self, name)
  local tx = current.transaction()
  if tx and tx:_is_open() and tx._engine._transactions == self._transactions then
    errors.raise(errors.TransactionError, "%s cannot be called inside a transaction: nothing runs before its end", name)
  end
end

return opened
