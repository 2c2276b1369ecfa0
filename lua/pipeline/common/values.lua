--- values.lua: pipelines that pass values on, and that judge whether they are true. See common.lua.

local class = require "pipeline.workflow.class"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local misuse = require("pipeline.support.place").misuse
require "pipeline.workflow.instance" -- gives classes their instances

local values = {}

--- Return(v): gives v; Return() gives nil. Useful as the last child, and what the engine adds by itself when a run that
-- spawned children returns a value with futures in it. In App Engine: common.Return.
values.Return = class.define("pipeline.common.Return", {
  run = function(_, value) return value end,
})

--- Ignore(...): gives nil, when all its arguments are there. In App Engine: common.Ignore, which marks outputs as used.
values.Ignore = class.define("pipeline.common.Ignore", {
  run = function() end,
})

--- Dict{ name = value, ... }: gives the table; Dict() an empty one. In App Engine: common.Dict.
values.Dict = class.define("pipeline.common.Dict", {
  run = function(_, map) return map or {} end,
})

class.prepare_arguments(values.Dict, function(map, ...)
  if select("#", ...) > 0 or map ~= nil and type(map) ~= "table" then
    misuse("bad arguments to 'Dict' (one table expected)")
  end
  return map
end)

--- List(...): gives its arguments as a list. In App Engine: common.List.
values.List = class.define("pipeline.common.List", {
  run = function(_, ...) return { ... } end,
})

--- AbortIfTrue(v, { message = "why" }): aborts the tree with that message if v is true, else gives nil. The message may
-- also be the second argument itself; default "". In App Engine: common.AbortIfTrue.
values.AbortIfTrue = class.define("pipeline.common.AbortIfTrue", {
  run = function(_, value, message)
    if not value then return end
    if type(message) == "table" then message = message.message end
    error(errors.Abort(message), 0)
  end,
})

class.prepare_arguments(values.AbortIfTrue, function(...)
  local count, message = select("#", ...), (select(2, ...))
  if count < 1 or count > 2 then
    misuse("bad arguments to 'AbortIfTrue' (a value, and a message or none, expected)")
  end
  if type(message) == "table" and getmetatable(message) == nil then
    options.check(message, { message = "any" }, 2, "AbortIfTrue")
  end
  return ...
end)

--- All(...): whether all its arguments are true; false if there are none. In App Engine: common.All.
values.All = class.define("pipeline.common.All", {
  run = function(_, ...)
    local list, count = { ... }, select("#", ...)
    for i = 1, count do
      if not list[i] then return false end
    end
    return count > 0
  end,
})

--- Any(...): whether one of its arguments is true; false if there are none. In App Engine: common.Any.
values.Any = class.define("pipeline.common.Any", {
  run = function(_, ...)
    local list = { ... }
    for i = 1, select("#", ...) do
      if list[i] then return true end
    end
    return false
  end,
})

--- Complement(v): gives `not v`; of several values a list of these; of none an empty list. In App Engine:
-- common.Complement.
values.Complement = class.define("pipeline.common.Complement", {
  run = function(_, ...)
    local count, list = select("#", ...), { ... }
    if count == 1 then return not list[1] end
    for i = 1, count do list[i] = not list[i] end
    return list
  end,
})

return values
