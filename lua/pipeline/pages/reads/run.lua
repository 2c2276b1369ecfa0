--- run.lua: what a durable function shows and answers to, as the pages get it.

local errors = require "pipeline.support.errors"
local json = require "pipeline.http.json"
local text = require "pipeline.support.text"

local run = {}

local VALUE_BYTES_MAX, PREVIEW_BYTES = 8192, 1000
local TAIL, TAIL_MAX = 10, 100
local CHUNK_BYTES_MAX = 1000 -- of a value of a stream, as a text

-- A value, or the beginning of one that is long, as a text.
local function short(value, size)
  if size <= VALUE_BYTES_MAX then return value end
  return ("%s... (%d bytes)"):format(text.of(value, PREVIEW_BYTES):sub(1, PREVIEW_BYTES), size)
end

local function values_of(engine, id)
  local list = json.array(engine:get_values(id))
  for _, item in ipairs(list) do
    if item.too_large then item.value = ("(%d bytes)"):format(item.size) end
    item.value = short(item.value, item.size)
  end
  return list
end

local function streams_of(engine, id, tail)
  local list = json.array(engine:get_streams(id, { tail = math.min(tail or TAIL, TAIL_MAX) }))
  for _, stream in ipairs(list) do
    json.array(stream.tail)
    for _, chunk in ipairs(stream.tail) do
      local shown = type(chunk.value) == "string" and chunk.value or text.of(chunk.value)
      chunk.value, chunk.text = nil, #shown > CHUNK_BYTES_MAX and shown:sub(1, CHUNK_BYTES_MAX) .. "..." or shown
    end
  end
  return list
end

--- What GET run answers.
function run.show(engine, id, given)
  return {
    id = id, values = values_of(engine, id), streams = streams_of(engine, id, given.tail), now = engine:now(),
  }
end

--- What GET handlers answers.
function run.handlers(engine, id)
  local found = engine:get_handlers(id)
  for _, list in pairs(found) do json.array(list) end
  return found
end

local OWN = {
  QueryError = true, UpdateRejectedError = true, NondeterminismError = true, WorkflowError = true, TimeoutError = true,
  AbortedError = true, LimitError = true, SerializationError = true, UnexpectedPipelineError = true,
}

--- What a handler of the function answers: the values of fn(...). What it raises is an answer, too.
function run.answer(what, fn, ...)
  local results = table.pack(xpcall(fn, errors.handler, ...))
  if results[1] then
    return { value = results[2], results = json.array { table.unpack(results, 2, results.n) } }
  end
  local name, message = errors.describe(results[2])
  local original = errors.original(results[2])
  if OWN[name] or type(original) == "string" and original:find("bad argument", 1, true) then error(original, 0) end
  errors.raise(errors.QueryError, "%s has raised %s: %s", what, name, message)
end

--- What GET query answers.
function run.query(engine, id, given)
  local args = given.args or {}
  return run.answer(("query %q"):format(given.name), engine.query, engine, id, given.name,
    table.unpack(args, 1, args.n or #args))
end

return run
