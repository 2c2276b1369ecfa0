--- durable/reach/replay.lua: a durable function as far as its journal goes, outside of any claim: it can only read.
--
-- The body runs to where the journal ends, and is dropped afterwards. What it asks for beyond that is not begun, and
-- what it says is not written: this run has no claim, and its store no verb that writes.

local cancel = require "pipeline.durable.cancel"
local class = require "pipeline.workflow.class"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local execute = require "pipeline.workflow.execute"
local handlers = require "pipeline.durable.reach.handlers"
local machine = require "pipeline.flow.machine"
local shown = require "pipeline.durable.reach.shown"

local replay = {}

local PAGE_ENTRIES <const> = 500
local NONE <const> = require("pipeline.flow.entry").NONE

-- What a body may ask of the store: nothing of it is written.
local function reader_of(engine)
  local store = current.store(engine, true)
  return {
    now = function() return engine._core:now() end,
    new_id = function() return engine._core:new_id() end,
    stage_get = function(_, ...) return store:stage_get(...) end,
  }
end

local function read(engine, id)
  local store = current.store(engine, true)
  local flow, entries, message = store:journal_get(id, { after = 0, limit = PAGE_ENTRIES, mail_limit = 0 })
  if not flow and entries then errors.raise_core(entries, message) end
  while flow and flow.more do
    local _, more = errors.check(store:journal_get(id, {
      after = entries[#entries].seq, limit = PAGE_ENTRIES, mail_limit = 0,
    }))
    table.move(more, 1, #more, #entries + 1, entries)
  end
  return flow, entries
end

-- The values of slots among the arguments, as a claim has them.
local function inputs_of(engine)
  local store = current.store(engine, true)
  return {
    value = function(_, id)
      local _, slots = store:stage_get(id, true)
      local slot = slots and slots[id]
      return slot and slot.filled and slot.value or nil
    end,
  }
end

-- The run, for the methods of a body.
local Reading = {
  __name = "pipeline.DurableReading", reads_only = true, children = NONE, starts = NONE, publish = NONE, taken = NONE,
  branches = NONE, status = false, again = false, shown = shown.NOTHING, compensations = NONE,
  compensated = 0, uncompensated = NONE, publish_fill = function() end, bind_to_abort = function() end,
}
Reading.__index = Reading

local function run_of(engine, of, record, flow, stage, run_context, bracket)
  local run = setmetatable({
    engine = engine, core = reader_of(engine), self = stage, record = record, context = run_context, of = of,
    flow = flow, unseen = {},
  }, Reading)
  run.handlers = handlers.new(run, bracket)
  return run
end

--- Replays a durable function.
-- @param engine whose store has it. @param record its stage.
-- @return the run, its body replayed (see its `machine`: diverged, broken, ended), and its flow; nil and why not: a
--   text.
function replay.of(engine, record)
  local of, problem = class.find(record.class_path)
  if not of then return nil, ("class %s cannot be loaded: %s"):format(record.class_path, problem) end
  if record.state == "waiting" then return nil, "it waits for its arguments" end
  local flow, entries = read(engine, record.id)
  if not flow then return nil, "it has no journal" end
  if record.state == "done" and #entries == 0 and flow.next > flow.first then
    return nil, "its journal is deleted (journal_retention)"
  end
  local stage, run_context, bracket = execute.body(engine, of, record, inputs_of(engine))
  local run = run_of(engine, of, record, flow, stage, run_context, bracket)
  local era = flow.era > 0 and ("/~%d"):format(flow.era) or ""
  run.machine = machine.new {
    main = bracket.main, owner = run, seed = flow.seed .. era, entries = entries, next = flow.next,
    start = flow.era == 0 and flow.created or nil, clock = function() return engine._core:now() end,
    limit = of.journal_limit, enter = bracket.enter, leave = bracket.leave, cancelled = cancel.problem,
    late = bracket.late, passes_over = of.determinism == "by_name",
  }
  run_context.durable = run
  run.machine:start()
  return run, flow
end

return replay
