--- texts.lua: pipelines that make texts and write to the log. See common.lua.

local class = require "pipeline.workflow.class"
local errors = require "pipeline.support.errors"
local format = require "pipeline.support.format"
local text = require "pipeline.support.text"
local bad_type = require("pipeline.support.place").bad_type
require "pipeline.workflow.instance"

local texts = {}

local makers = {}

function makers.tuple(template, ...)
  return format.positional(template, { ... }, select("#", ...))
end

function makers.dict(template, values)
  if values == nil then values = {} end
  if type(values) ~= "table" then error("Format.dict: table of values expected, got " .. type(values), 0) end
  return format.named(template, values)
end

--- Format.tuple(template, ...) and Format.dict(template, { name = value }): the text made of them, see format.lua.
-- Format(kind, template, ...) is what both make; a kind that is neither "tuple" nor "dict" aborts. In App Engine:
-- common.Format.
texts.Format = class.define("pipeline.common.Format", {
  run = function(_, kind, template, ...)
    local make = makers[kind]
    if not make then
      errors.raise(errors.Abort, "Format: kind '%s' is neither 'tuple' nor 'dict'", errors.text(kind))
    end
    return make(template, ...)
  end,
})

local function check_template(template, name)
  if type(template) == "string" or type(template) == "table" and getmetatable(template) then return end
  bad_type(1, name, "string", template)
end

--- A text with places for values in order.
function texts.Format.tuple(template, ...)
  check_template(template, "tuple")
  return texts.Format("tuple", template, ...)
end

--- A text with places for values by name.
function texts.Format.dict(template, values)
  check_template(template, "dict")
  return texts.Format("dict", template, values)
end

local levels = { debug = 10, info = 20, warning = 30, error = 40, critical = 50 }

--- Log.log(level, template, ...): writes to the log of the engine when it runs, and gives nil. The level may be any
-- integer; Log.debug, info, warning, error and critical stand for 10, 20, 30, 40 and 50. Without values the template is
-- the text as it is. In App Engine: common.Log.
texts.Log = class.define("pipeline.common.Log", {
  run = function(self, level, template, ...)
    if math.type(level) ~= "integer" then error("Log: level: integer expected, got " .. text.of(level, 100), 0) end
    local count = select("#", ...)
    local line = type(template) == "string" and template or text.of(template)
    if count > 0 then line = format.positional(template, { ... }, count) end
    self._engine:_log(level, line)
  end,
})

--- A line at any level.
function texts.Log.log(level, template, ...)
  if math.type(level) ~= "integer" and not (type(level) == "table" and getmetatable(level)) then
    bad_type(1, "log", "level as an integer", level)
  end
  return texts.Log(level, template, ...)
end

for name, level in pairs(levels) do
  texts.Log[name] = function(template, ...) return texts.Log(level, template, ...) end
end

return texts
