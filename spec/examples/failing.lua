-- failing.lua - loaded before a program (lua5.4 -l spec.examples.failing, or by LUA_INIT, which its children inherit):
-- the first attempt of all that the engine executes for the user fails: of each run, callback, finalized and deferred
-- call, and of each task that a route serves. It fails at its end, when it has had its effect and before it is
-- committed, as it does when a process is killed there. What fails by itself the first time does not fail once more.
--
-- Pauses between attempts are short, so that a program takes no longer than it would. Test mode, where errors come
-- straight out, is left as it is.

local class = require "pipeline.workflow.class"
local await = require "pipeline.support.await"
local deferred = require "pipeline.deferred"
local durable = require "pipeline.durable.info"
local web = require "pipeline.http.web"

local BACKOFF_SECONDS = 0.02
local INJECTED = "this attempt fails, by order of the spec"

local function give(is_first, ...)
  if is_first then error(INJECTED, 0) end
  return ...
end

-- What was begun in this process.
local begun = {}

local function is_first(key)
  local was_begun = begun[key]
  begun[key] = true
  return not was_begun
end

local function texts_of(params)
  local list = {}
  for name, value in pairs(params) do list[#list + 1] = ("%s=%s"):format(name, value) end
  table.sort(list)
  return table.concat(list, "&")
end

-- Whether it is the first attempt, by the name of the function. That of a run is counted in the store.
local judges = {
  run = function(self) return not self.test_mode and self.current_attempt == 1 end,
  finalized = function(self) return not self.test_mode and is_first("finalized " .. self.id) end,
  callback = function(self, params) return is_first(("callback %s %s"):format(self.id, texts_of(params))) end,
}

-- Of a durable function its steps are tried again, and not its run.
local bodies = require("pipeline.durable.body.methods").methods

for _, name in ipairs { "step", "start_step" } do
  local method = bodies[name]
  bodies[name] = function(self, given, fn, ...)
    return method(self, given, function(...)
      local step = durable.step()
      return give(step.attempt == 1 and step.max_attempts > 1, await.results(fn(...)))
    end, ...)
  end
end

local define = class.define

function class.define(name, definition)
  local changed = {}
  for field, value in pairs(definition) do
    local judge = not (field == "run" and definition.durable) and judges[field]
    changed[field] = judge and function(self, ...)
      return give(judge(self, ...), await.results(value(self, ...)))
    end or value
  end
  if definition.backoff_seconds or not definition.extends then changed.backoff_seconds = BACKOFF_SECONDS end
  return define(name, changed)
end

local claims = setmetatable({}, { __mode = "k" }) -- of deferred calls, by coroutine
local execute, run = deferred.execute, deferred.run

function deferred.execute(engine, claim, guard)
  claims[coroutine.running()] = claim
  return execute(engine, claim, guard)
end

function deferred.run(bytes)
  local claim = claims[coroutine.running()]
  return give(claim and claim.tries == 0, run(bytes))
end

local new = web.new
local serves

function web.new(face)
  local made = new(face)
  local methods = getmetatable(made).__index
  if not serves then
    serves = methods.handle_task
    function methods.handle_task(self, request)
      return give(request.headers["x-appengine-taskretrycount"] == "0", serves(self, request))
    end
  end
  return made
end
