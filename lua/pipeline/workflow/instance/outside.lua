--- workflow/instance/outside.lua: what a pipeline shows and does outside of its tree: callback, status, mail, cleanup.

local core = require "pipeline.core"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local facts = require "pipeline.workflow.instance.facts"
local options = require "pipeline.support.options"
local task = require "pipeline.workflow.task"
local text = require "pipeline.support.text"
local bad_argument = require("pipeline.support.place").bad_argument

local methods, class_of = facts.methods, facts.class_of
local refuse_self, require_stored = facts.refuse_self, facts.require_stored

local function callback_params(self, params, name)
  local of = class_of(self)
  if not (of.async or of.durable) then
    errors.raise(errors.UnexpectedPipelineError, "%s of %s: it is neither async nor durable", name, tostring(self))
  end
  require_stored(self, name)
  local flat = {}
  for key, value in pairs(params or {}) do
    local kind = type(value)
    if type(key) ~= "string" or not (kind == "string" or kind == "number" or kind == "boolean") then
      bad_argument(1, name, "parameters are named strings, numbers or booleans")
    end
    flat[key] = tostring(value)
  end
  flat.pipeline_id = self.id
  return flat
end

--- The relative URL that calls this pipeline's callback.
-- @tparam[opt] table params names and values that reach the callback.
-- @treturn string parameters sorted by name, URL-encoded. In App Engine: get_callback_url.
function methods.get_callback_url(self, params)
  refuse_self(self, "get_callback_url")
  if params ~= nil and type(params) ~= "table" then
    bad_argument(1, "get_callback_url", "table expected")
  end
  local flat = callback_params(self, params, "get_callback_url")
  return self.base_path .. "/callback?" .. text.query(flat)
end

local callback_kinds = {
  params = "table", name = "string", countdown = "number", eta = "time", method = "string", priority = "integer",
  headers = "table", retry_options = "table",
}

--- A task that calls this pipeline's callback; the caller adds it with task:add([queue_name]) or queue:add(task).
-- @tparam[opt] table given params, name, countdown or eta, priority, headers (of the task; callback() does not see
--   them), retry_options (TaskRetryOptions: how often it is tried again when callback() fails; without them for ever,
--   with growing delays); `method` is accepted and ignored.
-- @return a taskqueue.Task. In App Engine: get_callback_task.
function methods.get_callback_task(self, given)
  refuse_self(self, "get_callback_task")
  given = options.check(given, callback_kinds, 1, "get_callback_task")
  local flat = callback_params(self, given.params, "get_callback_task")
  return task.of_callback(self, flat, {
    name = given.name, eta = facts.eta_of(self._engine, given), priority = given.priority, headers = given.headers,
    retry_options = given.retry_options, url = self.base_path .. "/callback",
  })
end

local status_kinds = { message = "string", console_url = "string", status_links = "table" }

local function store_status(self, given)
  local links = {}
  for name, url in pairs(given.status_links or {}) do
    if type(name) ~= "string" or type(url) ~= "string" then
      error("status_links: a table of URLs by name expected", 0)
    end
    links[name] = url
  end
  local store = current.store(self._engine)
  local bytes, code, message = core.encode_value(links, "status_links")
  if not bytes then errors.raise_core(code, message) end
  errors.check(store:status(self._id, {
    message = given.message, console_url = given.console_url, links = bytes, time = store:now(),
  }))
end

methods.log = require("pipeline.telemetry.log").method

--- Replaces what the status pages say about this pipeline, at once; what is left out becomes empty.
-- @tparam[opt] table given message, console_url, status_links (name -> URL).
-- Raises PipelineRuntimeError if it cannot be stored. In test mode it is only logged. In App Engine: set_status.
function methods.set_status(self, given)
  refuse_self(self, "set_status")
  given = options.check(given, status_kinds, 1, "set_status")
  require_stored(self, "set_status")
  if self.test_mode then
    self._engine:_log(core.LOG_INFO, ("status of %s: %s"):format(tostring(self), given.message or ""))
    return
  end
  local ok, problem = xpcall(store_status, errors.handler, self, given)
  if not ok then
    local name, message = errors.describe(problem)
    errors.raise(errors.PipelineRuntimeError, "set_status of %s: %s: %s", tostring(self), name, message)
  end
end

local email_kinds = { sender = "string", to = "any" }

--- Sends a mail that says how this pipeline ended, with a link to its status page; called in finalized(). A root of a
-- class without that function sends it by itself if the engine's option `mail` has `to` (and `results` lets it).
-- @tparam[opt] table given sender (default: `from` of the option `mail`), to (an address or a list; default: `to` of
--   that option). What is wrong with them is a warning in the log. In App Engine: send_result_email.
function methods.send_result_email(self, given)
  refuse_self(self, "send_result_email")
  given = options.check(given, email_kinds, 1, "send_result_email")
  require_stored(self, "send_result_email")
  if not self.id then
    errors.raise(errors.UnexpectedPipelineError, "send_result_email of %s: its engine is closed", tostring(self))
  end
  require("pipeline.mail.result").send(self._engine, self, given)
end

-- For a root whose finalized() asks for its cleanup: a task that waits until the whole tree is final.
-- A test leaves nothing behind anyway, and its outputs are to be read.
local function cleanup_later(self)
  if self.test_mode then return end
  errors.check(current.store(self._engine):task_add({
    { id = self._engine._core:new_id(), kind = "callback", queue = self.queue_name, stage = self._id },
  }, false))
end

--- Deletes all records of a finished tree. Does nothing on a child. In finalized() of the root: deletes them as soon as
-- all of the tree is final.
-- Raises UnexpectedPipelineError before start and while the tree still runs. In App Engine: cleanup.
function methods.cleanup(self)
  refuse_self(self, "cleanup")
  require_stored(self, "cleanup")
  if not self.is_root then return end
  if rawget(self, "_finalizing") then return cleanup_later(self) end
  local deleted, code, message = current.store(self._engine):cleanup(self._id)
  if deleted or code == "ENOTFOUND" then return end
  if code == "ELIVE" then
    errors.raise(errors.UnexpectedPipelineError, "cleanup of %s: it still runs; abort it first", tostring(self))
  end
  errors.raise_core(code, message, "cleanup of " .. tostring(self))
end

return methods
