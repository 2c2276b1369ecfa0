--- class.lua: pipeline classes: their definition, the registry by name, and finding a class by its stored name.
--
-- A class is a table whose fields are the definition; what it extends is reached through __index, so a subclass sees
-- later changes of its parent. The stored name (`class_path`) and the flags kept for the store are raw fields of each
-- class and are not inherited.
--
-- Invariants
--   1. One name, one class: the registry never changes what a name means.
--   2. Nothing is loaded but modules under the prefixes of the open engines.

local aliases = require "pipeline.support.aliases"
local core = require "pipeline.core"
local durable = require "pipeline.durable.definition"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local place = require "pipeline.support.place"
local usage = require "pipeline.workflow.usage"
local bad_argument, bad_type = place.bad_argument, place.bad_type

local rawget, select, setmetatable = rawget, select, setmetatable

local class = {
  registry = {}, -- class path -> class
  reserved = {}, -- names of the library's own methods and fields of an instance; filled by instance.lua
  read = nil, -- function(class, id, options) -> instance or nil; set by instance.lua
}

--- The root of all classes: has no class path of its own. Its fields are the library's methods and the defaults.
local Base = { max_attempts = 3, backoff_seconds = 15, backoff_factor = 2 }
class.Base = Base

local kinds = {
  run = "function", callback = "function", finalized = "function", try_cancel = "function",
  run_test = "function", finalized_test = "function",
  async = "boolean", durable = "boolean", public_callbacks = "boolean", admin_callbacks = "boolean",
  max_attempts = "count", max_losses = "count", backoff_seconds = "duration", backoff_factor = "duration",
  timeout = "duration", target = "string", queue_name = "string", output_names = "table",
}

local function fail(name, format, ...)
  errors.raise(errors.ConfigurationError, "definition of %s: " .. format, name, ...)
end

local function check_names(name, names)
  local set = {}
  for i = 1, #names do
    local output = names[i]
    if type(output) ~= "string" or output == "" then fail(name, "output_names must be a list of names") end
    if output == "default" then
      errors.raise(errors.UnexpectedPipelineError, "definition of %s: every pipeline has an output called default; "
        .. "it cannot be declared", name)
    end
    if set[output] then fail(name, "output '%s' is declared twice", output) end
    set[output] = true
  end
  for key in pairs(names) do
    if math.type(key) ~= "integer" or key < 1 or key > #names then fail(name, "output_names must be a list") end
  end
  return set
end

local function refuse_misspelt(name, key)
  fail(name, "field '%s' is one letter away from '%s', which is meant, it seems; rename it if it is your own", key,
    options.misspelt(key, kinds))
end

local nothing = {}

-- `others`: more functions that may use the fields, by whatever key; `later(key)` is told of functions that have a
-- suspicious name and may be used by what is to come, instead of refusing them.
local function check(name, definition, others, later)
  local more = definition.durable and durable.kinds or nothing
  for key, value in pairs(definition) do
    if type(key) ~= "string" then fail(name, "fields have names; got one at [%s]", tostring(key)) end
    local kind = kinds[key] or more[key]
    if kind then
      local ok, wanted = options.fits(value, kind)
      if not ok then fail(name, "field '%s': %s expected", key, wanted) end
    elseif key == "extends" then
      if not class.is(value) then fail(name, "extends must be a pipeline class") end
    elseif class.reserved[key] or key:sub(1, 1) == "_" then
      fail(name, "'%s' is a name of the library", key)
    elseif options.misspelt(key, kinds) and not usage.is_used(key, value, definition, others) then
      if not (later and type(value) == "function") then refuse_misspelt(name, key) end
      later(key)
    end
  end
end

--- Whether `value` is a pipeline class.
function class.is(value)
  if type(value) ~= "table" then return false end
  local meta = getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__pipeline_class") == true
end

local function class_text(self)
  return "pipeline class " .. tostring(rawget(self, "class_path") or "(base)")
end

-- What is wrong with a class is known when its first instance is made: until then fields may be added to it.
local function check_complete(self)
  local name = rawget(self, "class_path") or "(base)"
  for key in pairs(rawget(self, "_suspects") or {}) do
    if not usage.is_used(key, self[key], self, self.extends) then refuse_misspelt(name, key) end
  end
  rawset(self, "_suspects", nil)
  if self.run then return end
  local where = rawget(self, "_defined_at")
  errors.raise(errors.ConfigurationError, "%s%s has no run function, nor has what it extends", class_text(self),
    where and (" (defined at %s)"):format(where) or "")
end

local function construct(self, ...)
  if not self.run or rawget(self, "_suspects") then check_complete(self) end
  return setmetatable({
    _args = { ... }, _n = select("#", ...), _params = false, _record = false, _id = false, _run = false,
    _spawned = false, _engine = false,
  }, self._meta)
end

--- Lets `prepare(...)` look at the arguments of every new instance of a class of the library, and of classes that
-- extend it: it raises, or returns the arguments to keep.
function class.prepare_arguments(of, prepare)
  getmetatable(of).__call = function(self, ...) return construct(self, prepare(...)) end
end

-- What the store must know of the class without loading it.
local function flags_of(self)
  return (self.async and core.ASYNC or 0) | (self.durable and core.DURABLE or 0)
    | (self.finalized and core.HAS_FINALIZED or 0)
    | (self.try_cancel and core.HAS_TRY_CANCEL or 0) | (self._declared and core.STRICT or 0)
end

-- What is derived from the fields of a class.
local function derive(self)
  local names = self.output_names
  local strict = names and next(names) ~= nil
  rawset(self, "_declared", strict and names or false)
  rawset(self, "_declared_set", strict and check_names(self.class_path or "(base)", names) or false)
  local flags = flags_of(self)
  rawset(self, "_flags", flags)
  rawset(self, "_flags_test", flags | ((self.finalized_test or self.finalized) and core.HAS_FINALIZED or 0))
end

-- A field added later, as in `function Order:finalized() ... end`, counts like one of the definition.
local function add_field(self, key, value)
  check(rawget(self, "class_path") or "(base)", { [key] = value }, self, function(suspect)
    rawset(self, "_suspects", rawget(self, "_suspects") or {})
    self._suspects[suspect] = true
  end)
  if self.durable then durable.check_field(rawget(self, "class_path"), key) end
  rawset(self, key, value)
  derive(self)
end

local function set_up(self, parent)
  self._meta = class.new_meta(self)
  --- Reads a pipeline of this class back; see pipeline.from_id.
  self.from_id = function(id, given) return class.read(self, id, given) end
  setmetatable(self, {
    __index = parent, __call = parent and getmetatable(parent).__call or construct, __newindex = add_field,
    __tostring = class_text, __name = "pipeline.Class", __pipeline_class = true,
  })
  derive(self)
  return self
end

local function same(a, b)
  for key, value in pairs(a) do
    if b[key] ~= value then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

--- Defines a pipeline class under the name that the store keeps, such as "shop.Order".
-- @tparam string name a worker finds the class by it: in the registry, else in the module before the last dot.
-- @tparam table definition run (function(self, ...)), callback (function(self, params)), finalized (function(self)),
--   try_cancel (function(self) -> whether it may be aborted), run_test and finalized_test (used in tests instead),
--   async (outputs come from outside), output_names (list), public_callbacks (anybody may call back),
--   admin_callbacks (administrators may), max_attempts (3), backoff_seconds (15), backoff_factor (2), timeout (seconds
--   of one attempt), max_losses (an attempt whose worker died so often in a row has failed; default: as its queue
--   says, else 5), target, queue_name, extends (a class whose fields this one has, too), durable (run may wait: see
--   pipeline.workflow). Other fields are yours.
-- @return the class; calling it makes an instance. The same name with an equal definition gives the same class.
-- Raises ConfigurationError, and UnexpectedPipelineError for an output called "default".
-- In App Engine: a subclass of pipeline.Pipeline.
function class.define(name, definition)
  if type(name) == "table" and name.define == class.define then
    bad_argument(1, "define", "name expected, got the module: it is called with a dot, pipeline.define")
  end
  if type(name) ~= "string" or name == "" or #name > 500 then
    bad_argument(1, "define", "name of 1 to 500 bytes expected")
  end
  if type(definition) ~= "table" then
    bad_type(2, "define", "table", definition)
  end
  check(name, definition, definition.extends)
  durable.check(name, definition, definition.extends)
  local known = class.registry[name]
  if known then
    if same(known._definition, definition) then return known end
    fail(name, "the name is taken by another definition")
  end
  local self = { class_path = name, _definition = {}, _defined_at = place.here() or false }
  for key, value in pairs(definition) do
    self._definition[key] = value
    if key ~= "extends" then self[key] = value end
  end
  self.extends = definition.extends or nil
  local parent = definition.extends or Base
  set_up(self, definition.durable and durable.install(self, parent) or parent)
  class.registry[name] = self
  return self
end

--- Defines a durable function: a pipeline class whose run may wait for days, and survives the end of its process. Each
-- step that it takes is recorded in a journal; its run is called again from the first line when it goes on, and the
-- journal answers for what was done before. So between its calls of self:step, self:await, self:sleep ... run only
-- computes; what touches the world is done in the functions of steps.
-- @tparam string name as for define.
-- @tparam table definition as for define; durable is true. max_attempts, backoff_seconds, backoff_factor and timeout
--   are those of each step: run itself is not tried again. More fields: version (whole number, 1; kept with each run),
--   on_error ("abort"; "hold": an error that leaves run holds it, until engine:resume), max_parallel_steps (64),
--   journal_limit ({ entries = 10000, bytes = 52428800 }), determinism ("strict": a run whose journal has what changed
--   code does not ask for is held; "by_name": that is passed over, and named in the log at the end).
-- @return the class. Raises ConfigurationError.
function class.workflow(name, definition)
  if type(definition) ~= "table" then
    bad_type(2, "workflow", "table", definition)
  end
  local given = {}
  for key, value in pairs(definition) do given[key] = value end
  if given.durable == nil then given.durable = true end
  return class.define(name, given)
end

--- Takes what is made a floor above: new_meta(class), the metatable of its instances; read(class, id, given), one that
-- is stored.
function class.provide(functions)
  for name, value in pairs(functions) do class[name] = value end
end

--- Makes Base usable; called once, when the methods of instances are known.
function class.set_up_base()
  set_up(Base, nil)
end

local prefixes = {} -- prefix -> number of open engines that have it

local function publish_prefixes()
  local list = {}
  for prefix in pairs(prefixes) do list[#list + 1] = prefix end
  table.sort(list)
  core.set_module_prefixes(list)
end

--- Lets modules under `list` be loaded to find classes and functions.
function class.allow_modules(list)
  for _, prefix in ipairs(list) do prefixes[prefix] = (prefixes[prefix] or 0) + 1 end
  publish_prefixes()
end

--- Takes back one allow_modules of the same list.
function class.forbid_modules(list)
  for _, prefix in ipairs(list) do
    local left = (prefixes[prefix] or 1) - 1
    prefixes[prefix] = left > 0 and left or nil
  end
  publish_prefixes()
end

local moved = aliases.new()

--- Lets pipelines stored under an old class name find the class, or the module of classes, that has another name now.
-- Counts only where the old name leads nowhere: call it in every process that executes them. Raises ConfigurationError
-- if aliases would lead in a circle.
-- @tparam string old the name in the store, such as "shop.Order", or a part of it up to a dot.
-- @tparam string new where it leads.
function class.alias(old, new)
  for position = 1, 2 do
    local name = position == 1 and old or position == 2 and new
    if type(name) ~= "string" or name == "" then
      bad_argument(position, "alias", "name of a class expected")
    end
  end
  if not moved:add(old, new) then
    errors.raise(errors.ConfigurationError, "alias: '%s' and '%s' lead in a circle", old, new)
  end
end

local function find(path)
  local found = class.registry[path]
  if found then return found end
  local module = path:match("^(.+)%.[^.]*$")
  if not module then return nil, ("class %s is not defined"):format(path) end
  if package.loaded[module] == nil and not core.may_require(module) then
    return nil, ("class %s is not defined, and module %s is not under the prefixes of `modules`"):format(path, module)
  end
  local ok, problem = pcall(require, module)
  found = class.registry[path]
  if found then return found end
  if not ok then
    return nil, ("class %s is not defined, and module %s cannot be loaded: %s"):format(path, module,
      errors.text(problem):match("[^\n]*"))
  end
  return nil, ("module %s does not define class %s"):format(module, path)
end

--- Finds a class by its stored name. Returns it, or nil and why not.
function class.find(path)
  local known = class.registry[path]
  if known then return known end
  local found, why = find(path)
  local name = not found and moved:next(path)
  while name do
    found = find(name)
    if found then return found end
    name = moved:next(name)
  end
  return found, why
end

--- The class paths of every class defined in this process, sorted, the library's own included.
-- In App Engine: pipeline.get_pipeline_names.
function class.names()
  local names = {}
  for name in pairs(class.registry) do names[#names + 1] = name end
  table.sort(names)
  return names
end

return class
