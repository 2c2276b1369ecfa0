--- durable/reach/fork.lua: a new run with the first entries of the journal of another one.
--
-- What it keeps is replayed, so its effects are not had again; all from the chosen entry on is done anew. The original
-- is left as it is. Both have the same random numbers; keys of steps are of the run that has them.

local address = require "pipeline.durable.reach.address"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local entry = require "pipeline.flow.entry"
local errors = require "pipeline.support.errors"
local instance = require "pipeline.workflow.instance"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local bad_option = require("pipeline.support.place").bad_option

local methods = {} -- of the engine

local PAGE_ENTRIES <const> = 500

local kinds = {
  from = "any", args = "table", version = "count", idempotence_key = "string", children = "string", mail = "boolean",
}

local function read(store, id)
  local flow
  local list = {}
  repeat
    local found, page, message = store:journal_get(id, {
      after = list[1] and list[#list].seq or 0, limit = PAGE_ENTRIES, mail_limit = 0,
    })
    if not found then errors.raise_core(page, message) end
    flow = found
    table.move(page, 1, #page, #list + 1, list)
  until not flow.more
  return flow, list
end

local function is_called(item, name)
  return item.name == name or item.nth > 0 and ("%s#%d"):format(item.name, item.nth) == name or
    item.nth == 0 and item.name:match("^(.-)@") == name
end

-- The seq of the entry from which on all is done anew.
local function find(record, list, from)
  if math.type(from) == "integer" then
    if list[from] then return list[from].seq end
    bad_option(2, "fork", "from", "the journal of %s has %d entries, not %d", record.class_path, #list, from)
  end
  for _, item in ipairs(list) do
    if is_called(item, from) then return item.seq end
  end
  bad_option(2, "fork", "from", "no entry of the journal of %s is called %q", record.class_path, from)
end

-- Children that are kept are not waited for anew, so they have to be final. Returns the seq from which on all is done
-- anew.
local function check_children(store, record, list, before, rerun)
  for _, item in ipairs(list) do
    if item.seq >= before then break end
    local child = item.kind == "child" and item.state == "open" and errors.read(store:stage_get(item.ref))
    if child and child.state ~= "done" and child.state ~= "aborted" then
      if rerun then return item.seq end
      errors.raise(errors.WorkflowError, "fork of %s: %s, which it would keep, is not final; wait for that, or give " ..
        "children = \"rerun\", so that it and all behind it is done anew", record.class_path, entry.words {
          kind = item.kind, name = item.name, nth = item.nth, path = item.path or "", line = item.line,
        })
    end
  end
  return before
end

local function stage_of(self, of, record, flow, given)
  local args = given.args
  local stage = instance.root_stage(args and of(table.unpack(args, 1, args.n or #args)) or of(), self, {
    idempotence_key = given.idempotence_key, base_path = record.base_path, queue_name = record.queue,
  })
  if not args then stage.args, stage.inputs = record.args, record.inputs end
  stage.version = given.version or flow.version
  stage.target = record.target
  return stage
end

--- Starts a new run with what another one had done before a certain entry of its journal; from there on it is done
-- anew. The original is left as it is, whatever its state, and effects that it had before are not had again. What was
-- stopped when the original was cancelled is done anew; a fork from behind that is aborted as the original was.
-- @param ref id, idempotence key or instance of the original.
-- @tparam table given from (the entry from which on all is done anew: its name, as in "charge", "charge#2" for the
-- second
--   one, or its position in the journal), args (list of arguments; default: those of the original), version (default:
--   that of the original), idempotence_key, children ("rerun": should a child that is kept not be final, it and all
--   behind it is done anew; default: an error), mail (true: with a copy of the signals that were not taken).
-- @return the new instance. Raises PipelineExistsError, WorkflowError (its journal is gone; a child is not final).
function methods.fork(self, ref, given)
  opened.check(self)
  current.refuse_in_body("a fork")
  given = options.check(given, kinds, 2, "fork")
  if type(given.from) ~= "string" and math.type(given.from) ~= "integer" then
    bad_option(2, "fork", "from", "name or position of an entry expected, got %s", type(given.from))
  end
  if given.children and given.children ~= "rerun" then
    bad_option(2, "fork", "children", "\"rerun\" expected, got %q", given.children)
  end
  local record = address.record(self, ref, "fork")
  local of, problem = class.find(record.class_path)
  if not of then
    errors.raise(errors.ConfigurationError, "fork: class %s cannot be loaded: %s", record.class_path, problem)
  end
  local store = current.store(self)
  local flow, list = read(store, record.id)
  if not list[1] and flow.next > flow.first then
    errors.raise(errors.WorkflowError, "fork of %s: its journal is deleted (journal_retention)", record.class_path)
  end
  local before = check_children(store, record, list, find(record, list, given.from), given.children == "rerun")
  local stage = stage_of(self, of, record, flow, given)
  local ok, code, message = store:fork(record.id, { before = before, mails = given.mail or false, start = { stage } })
  if not ok then
    if code == "EEXISTS" then
      errors.raise(errors.PipelineExistsError, "a pipeline with the idempotence key '%s' exists already", stage.key)
    end
    errors.raise_core(code, message, "fork of " .. record.class_path)
  end
  return self:from_id(self:_id_text(stage.id))
end

return methods
