--- init.lua: the module `pipeline`: durable workflows inside a Lua program.

local class = require "pipeline.workflow.class"
local common = require "pipeline.common"
local current = require "pipeline.current"
local core = require "pipeline.core"
local durable = require "pipeline.durable.definition"
local engine = require "pipeline.engine"
local errors = require "pipeline.support.errors"
local future = require "pipeline.workflow.future"
local instance = require "pipeline.workflow.instance"
local names = require "pipeline.support.names"
local status = require "pipeline.workflow.status"
local testing = require "pipeline.workflow.testing"
local bad_type = require("pipeline.support.place").bad_type

local pipeline = { common = common }

--- The version of this library.
pipeline.version = core.version

pipeline.open = engine.open
pipeline.define = class.define
pipeline.workflow = class.workflow
pipeline.alias = class.alias
pipeline.get_pipeline_names = class.names
pipeline.is = errors.is

for name, value in pairs(errors) do
  if type(value) == "table" then pipeline[name] = value end
end

--- The root of all pipeline classes.
pipeline.Pipeline = class.Base

rawset(class.Base, "start_test", testing.start_test)

--- Reads a pipeline back, of whatever class.
-- @tparam string id as `stage.id` gives it, or its idempotence key.
-- @tparam[opt] table given resolve_outputs (true; false: the outputs' values are not shown), engine (default: that of
--   the running task, else the default one).
-- @return an instance of its class, or nil if there is none. Inputs not filled yet are slots in `args`.
function pipeline.from_id(id, given)
  return class.read(class.Base, id, given)
end

--- The default engine, or inside a task the engine that executes it. Raises ConfigurationError if none is open.
function pipeline.default()
  return current.engine()
end

--- Makes a slot that belongs to no pipeline. In App Engine: Slot.
pipeline.Slot = future.new_slot

--- Whether `value` is a future, a slot, a pipeline instance, a pipeline class.
pipeline.is_future = future.is_future
pipeline.is_slot = future.is_slot
pipeline.is_pipeline = instance.is
pipeline.is_class = class.is

--- The status of a tree, by the id of any of its pipelines; without options the whole of it, of up to 5,000 stages.
-- @tparam[opt] table given asks for a page: parent (the id of a stage: it and what is below it), depth (levels below
--   it, 0 and up), limit (stages; 1000, at most 5000), cursor (of the page before). A page has `order` (ids), and
--   `cursor` if more follows; its entries have parentPipelineId and, with parent or depth, childCount.
-- Beside `status`, which has the words of App Engine, `state` of an entry tells what is so: "waiting" (with waitingFor,
-- the keys of up to 100 slots that are not filled), "delayed" (untilMs: for its eta, or the next attempt), "ready"
-- (placeInQueue, from 1 and counted up to 1,000: 1,001 is behind these; pausedQueue = true if the queue is paused or
-- has rate 0), "executing" (worker: "host:pid", and sinceMs, to the second), "open" (its run is committed:
-- childrenOpen, and of an async pipeline outputsOpen, how many), "finalizing", "aborting" (both with untilMs,
-- placeInQueue, or worker and sinceMs of their task), "done", "aborted".
-- Raises PipelineStatusError: there is none, or it is larger than that. In App Engine: get_status_tree.
function pipeline.get_status_tree(id, given)
  return status.tree(current.engine(), id, given)
end

--- The list of roots, newest first; options class_path, cursor, count (50). In App Engine: get_root_list.
function pipeline.get_root_list(given)
  return status.roots(current.engine(), given)
end

--- Whether status pages and rpc need an administrator (the default). In App Engine: set_enforce_auth.
function pipeline.set_enforce_auth(enforce)
  if type(enforce) ~= "boolean" then
    bad_type(1, "set_enforce_auth", "boolean", enforce)
  end
  current.set_enforce_auth(enforce)
end

--- Gives log lines of all engines without a `log` option to fn(level, text); nil: warnings to standard error.
-- Levels: 10 debug, 20 info, 30 warning, 40 error, 50 critical.
function pipeline.set_logger(fn)
  if fn ~= nil and type(fn) ~= "function" then
    bad_type(1, "set_logger", "function", fn)
  end
  current.set_logger(fn)
end

--- In the function of a step of a durable function: what it can know of that. `name`; `key` (a text that is the same in
-- every attempt and every life: the idempotency key to hand on); `attempt` (from 1); `max_attempts`. Raises
-- NotInStepError elsewhere.
function pipeline.step()
  return require("pipeline.durable.info").step()
end

--- Whether the code of now goes with the journals of the durable functions that have not returned: for a spec, or
-- before new code is put to work. Nothing is written.
-- @param of an engine, or the path of a store. @tparam[opt] table given class (a class or its path: this one alone),
--   limit (how many are replayed at most).
-- @return list of { id, class, error }, empty where all is well; see NondeterminismError. Raises StoreError.
function pipeline.check_history(of, given)
  return require("pipeline.durable.reach.check").history(of, given)
end

--- As pairs, but in an order that is the same in every process: numbers, then texts, then all else by its text. In the
-- body of a durable function this is the way to iterate a table whose keys are texts.
pipeline.sorted_pairs = require("pipeline.flow.order").sorted_pairs

durable.set_loader(function() return require("pipeline.durable.body.methods").methods end)

-- Mails are calls of the library's own; a process that never sends one has to know them, too.
names.register("pipeline.mail.deliver", function(post) return require("pipeline.mail").deliver(post) end)

return pipeline
