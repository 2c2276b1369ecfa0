--- durable/reach/check.lua: whether the code of now goes with the journals there are, before it is put to work.
--
-- Each durable function that has not returned is replayed in this process, as a query does it: to where its journal
-- ends, without a claim, and without anything being begun or written.

local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local replay = require "pipeline.durable.reach.replay"
local bad_option = require("pipeline.support.place").bad_option

local check = {}

local PAGE <const> = 100

local kinds = { class = "any", limit = "number" }

local OVER = { done = true, aborted = true }

-- What is wrong with one, or nil.
local function problem_of(engine, record)
  local run, why = replay.of(engine, record)
  if run then return run.machine.diverged or run.machine.broken end
  if not class.find(record.class_path) then return errors.WorkflowError(why, { where = false, traceback = "" }) end
end

-- The class path that is asked for, or nil: all.
local function path_of(given)
  local wanted = given.class
  if wanted == nil or type(wanted) == "string" then return wanted end
  if class.is(wanted) then return rawget(wanted, "class_path") end
  bad_option(2, "check_history", "class", "a class or its path expected, got %s", type(wanted))
end

local function check_all(engine, path, limit)
  local store, found, after = current.store(engine, true), {}, 0
  local left = limit or math.huge
  repeat
    local ids = errors.check(store:flows_list { after = after, limit = PAGE })
    for _, id in ipairs(ids) do
      after = id
      local record = errors.read(store:stage_get(id))
      local is_live = record and not OVER[record.state] and record.state ~= "waiting"
      if is_live and (not path or record.class_path == path) then
        if left <= 0 then return found end
        left = left - 1
        local problem = problem_of(engine, record)
        if problem then
          found[#found + 1] = { id = engine._core:id_text(id), class = record.class_path, error = problem }
        end
      end
    end
  until #ids < PAGE
  return found
end

--- Replays the durable functions of a store that have not returned against the code that is loaded (or loadable) here,
-- writes nothing, and lists those that it does not go with.
-- @param of an engine, or the path of a store, which is opened without a worker. @tparam[opt] table given class (a
--   class or its path: of this one alone), limit (how many are replayed at most; default: all).
-- @return list of { id, class, error }, in the order of their ids; error: NondeterminismError (what is recorded, what
--   is asked for now, with both lines), WorkflowError (the class cannot be loaded), LimitError. Raises StoreError.
function check.history(of, given)
  given = options.check(given, kinds, 2, "check_history")
  local path, limit = path_of(given), given.limit
  if limit and (math.tointeger(limit) or 0) < 1 then
    bad_option(2, "check_history", "limit", "a whole number of at least 1 expected")
  end
  if type(of) ~= "string" then
    opened.check(of)
    current.refuse_in_body("check_history")
    return check_all(of, path, limit)
  end
  local engine <close> = require("pipeline.engine").open(of, { no_worker = true, must_exist = true })
  return check_all(engine, path, limit)
end

return check
