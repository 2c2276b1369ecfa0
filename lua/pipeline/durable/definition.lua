--- durable/definition.lua: what the definition of a durable class may say, beyond that of any pipeline class.

local errors = require "pipeline.support.errors"

local definition = {}

--- Fields of their own, with the kinds of support/options.lua.
definition.kinds = {
  durable = "boolean", version = "count", journal_limit = "table", max_parallel_steps = "count", on_error = "string",
  run_timeout = "duration", versions = "table", cancel_timeout = "duration", determinism = "string",
}

-- Gives the methods that a body has, by name: see durable/body.lua. They are reserved in durable classes only, and
-- loaded with the first one.
local load_methods

--- Says how the methods of a body are loaded.
function definition.set_loader(fn)
  load_methods = fn
end

--- Methods that a body will have: their names are reserved already.
local later = {
}

local function fail(name, format, ...)
  errors.raise(errors.ConfigurationError, "definition of %s: " .. format, name, ...)
end

local function check_limit(name, limit)
  for key, value in pairs(limit) do
    if key ~= "entries" and key ~= "bytes" then
      fail(name, "journal_limit has entries and bytes, no '%s'", tostring(key))
    end
    if math.type(value) ~= "integer" or value < 1 then fail(name, "journal_limit.%s: a whole number expected", key) end
  end
end

local function check_versions(name, given)
  for version, fn in pairs(given) do
    if math.type(version) ~= "integer" or type(fn) ~= "function" then
      fail(name, "versions has functions by the number of their version")
    end
  end
end

--- Whether that is the name of a method that only durable functions have.
function definition.is_method(name)
  return later[name] or name ~= "await" and load_methods()[name] ~= nil
end

--- Raises ConfigurationError where a field of a durable class has a name of the library.
function definition.check_field(name, key)
  if load_methods()[key] or later[key] then fail(name, "'%s' is a method of durable functions", key) end
end

--- Raises ConfigurationError where a definition of a durable class, or of one that is none, cannot be so.
-- @tparam string name of the class; given: its definition; parent: what it extends, or nil.
function definition.check(name, given, parent)
  if parent and parent.durable and not given.durable then
    fail(name, "it extends %s, which is durable, and is not durable itself", tostring(parent))
  end
  if not given.durable then return end
  if given.async or parent and parent.async then
    fail(name, "'durable' and 'async' exclude each other: a durable function waits in its run")
  end
  for key in pairs(given) do
    if key ~= "version" then definition.check_field(name, key) end
  end
  if given.journal_limit then check_limit(name, given.journal_limit) end
  if given.versions then check_versions(name, given.versions) end
  local on_error = given.on_error
  if on_error and on_error ~= "abort" and on_error ~= "hold" then
    fail(name, "on_error is \"abort\" or \"hold\", not %q", on_error)
  end
  local determinism = given.determinism
  if determinism and determinism ~= "strict" and determinism ~= "by_name" then
    fail(name, "determinism is \"strict\" or \"by_name\", not %q", determinism)
  end
end

--- Gives a durable class the methods of a body.
-- @return what it inherits instead of `parent`: those methods, and all of that.
function definition.install(class, parent)
  rawset(class, "_version", rawget(class, "version") or false)
  local above = {}
  for name, method in pairs(load_methods()) do above[name] = method end
  return setmetatable(above, { __index = parent, __call = getmetatable(parent).__call })
end

return definition
