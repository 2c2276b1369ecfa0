--- stores.lua: whose an id, a pipeline, a future or a task is, when a program has several engines.
--
-- Ids mean something in one store only. Wherever one leaves an instance, a future, a slot or a task, the engine of that
-- goes with it: what is asked of another engine is done by the one it belongs to, or refused with the names of both.
-- Engines on the same file share a store, and may take each other's ids.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"

local stores = {}

--- Whether two engines work on the same store.
function stores.same(a, b)
  return a == b or a._transactions == b._transactions
end

--- The engine that stands for `engine`: itself; or when that is closed, an open one on the same file, if there is one.
function stores.live(engine)
  if not engine._closed then return engine end
  for _, other in ipairs(current.engines) do
    if stores.same(engine, other) then return other end
  end
  return engine
end

--- Raises UnexpectedPipelineError: `what` is of the engine `of`, and cannot be used by the engine `by`.
-- @tparam[opt] string remedy what to do instead.
function stores.refuse(what, of, by, remedy)
  errors.raise(errors.UnexpectedPipelineError, "%s: it belongs to the %s, not to the %s%s", what, tostring(of),
    tostring(by), remedy and "; " .. remedy or "")
end

--- Raises UnexpectedPipelineError unless `of`, an engine or false, has the store of `by`.
function stores.check(what, of, by, remedy)
  if of and by and not stores.same(of, by) then stores.refuse(what, of, by, remedy) end
end

--- Whether a text has the form of an id of some store.
function stores.is_id(text)
  return #text == 32 and not text:find("[^0-9a-f]")
end

--- The open engine that made the id that users see as `text`, if it is of another store than that of `engine`; or nil.
function stores.find(engine, text)
  if not stores.is_id(text) then return nil end
  for _, other in ipairs(current.engines) do
    if not stores.same(engine, other) and other._core:id_parse(text) then return other end
  end
end

return stores
