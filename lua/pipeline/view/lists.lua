--- lists.lua: methods of the engine that find pipelines: by an address, and in lists of roots.

local address = require "pipeline.view.address"
local current = require "pipeline.current"
local entries = require "pipeline.view.entries"
local errors = require "pipeline.support.errors"
local filters = require "pipeline.view.filters"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local slices = require "pipeline.support.slices"
local words = require "pipeline.view.words"

local methods = {} -- of the engine

local PAGE, PAGE_MAX = 50, 1000
local FAR = 9e12 -- seconds: behind all times there are
local HELD_MAX, OVER_MAX = 1000, 1000000 -- that are counted

--- The id of the pipeline that an address means; nil: there is none.
-- @tparam string given an id, "key:" with an idempotence key, or the beginning of an id: 6 characters or more. A
-- beginning that a single root has means that root; else it must be that of a single pipeline.
-- Raises PipelineStatusError, naming some, if several may be meant.
function methods.find(self, given)
  opened.check(self)
  return (address.find(self, given, "find"))
end

-- The form in which the store takes filters.
local function to_store(wanted)
  local form = {
    class = wanted.class, queue = wanted.queue, key = wanted.key, text = wanted.text, since = wanted.since,
    ["until"] = wanted["until"], error = type(wanted.error) == "string" and wanted.error or nil,
    any_error = wanted.error == true,
  }
  for word in pairs(wanted.states or {}) do form[word] = true end
  return form
end

local function ask(engine, form, name)
  local found, following, message = current.store(engine, true):roots_find(form)
  if not found then errors.raise_core(following, message, name) end
  return found, following
end

local list_kinds = { limit = "count", cursor = "string" }

local function read_cursor(engine, cursor)
  if not cursor then return nil end
  return engine._core:id_parse(cursor) or errors.raise(errors.PipelineStatusError, "bad cursor")
end

--- Roots, newest first: { items = list of entries (see view/entries.lua), cursor = text, if there may be more }.
-- @tparam[opt] table given filters: state (a word of view/words.lua, several with commas, or a list), class, queue,
--   key, text (found in class, key, message or error), since and until (when it was created, seconds since the epoch),
--   error (found in its last error or the reason of its abort; true: any); and limit (default 50, at most 1000), cursor
--   (of the page before). A page may have fewer items than `limit`, or none, and a cursor all the same: what is looked
--   through for one page is bounded.
-- Raises PipelineStatusError for a bad cursor.
function methods.list(self, given)
  opened.check(self)
  given = filters.check(given, list_kinds, "list")
  local form = to_store(filters.read(given, "list"))
  form.before, form.limit = read_cursor(self, given.cursor), math.min(given.limit or PAGE, PAGE_MAX)
  local records, following = ask(self, form, "list")
  local items = {}
  local pause <close> = slices.new(self)
  for i, record in ipairs(records) do
    items[i] = entries.readable(self, record, entries.id_text(self, record))
    pause()
  end
  return { items = items, cursor = following and self:_id_text(following) or nil }
end

--- How many roots there are in each state, of those that the filters of `list` choose: a table with a number for each
-- word of view/words.lua, `total`, and `more` = true if counting stopped before the end.
function methods.list_counts(self, given)
  opened.check(self)
  given = filters.check(given, {}, "list_counts")
  local form = to_store(filters.read(given, "list_counts"))
  form.counts = true
  local counts = ask(self, form, "list_counts")
  counts.total = 0
  for _, word in ipairs(words.STATES) do counts.total = counts.total + counts[word] end
  return counts
end

-- ---- durable functions that are held -------------------------------------------------------------------------------

-- The entry of a stage at any depth; nil: it was deleted meanwhile.
local function entry_of(engine, id)
  local store = current.store(engine, true)
  local record = errors.read(store:stage_get(id, false, true))
  if not record then return nil end
  local root = record.parent and errors.read(store:stage_get(record.root)) or record
  local parent = record.parent and { parent = engine:_id_text(record.parent) } or nil
  return entries.readable(engine, record, entries.id_text(engine, root), parent)
end

local held_kinds = { limit = "count" }

--- Durable functions that are held: they go no further until somebody resumes them. Roots and others, the newest first.
-- @tparam[opt] table given limit (how many are told, default 50, at most 1000).
-- @return { items = list of entries (see view/entries.lua), count (how many there are), more = true where that is a
--   thousand, and there may be more }
function methods.list_held(self, given)
  opened.check(self)
  given = options.check(given, held_kinds, 2, "list_held")
  local ids = errors.check(current.store(self, true):flows_list { held = true, limit = HELD_MAX })
  local items, limit = {}, math.min(given.limit or PAGE, PAGE_MAX)
  for i = 1, math.min(#ids, limit) do items[#items + 1] = entry_of(self, ids[i]) end
  return { items = items, count = #ids, more = #ids == HELD_MAX or nil }
end

-- ---- roots by when they ended --------------------------------------------------------------------------------------

local over_kinds = { since = "number", before = "number", limit = "count" }

--- How many roots have ended within a time, of those whose records are still kept.
-- @tparam table given since, before (seconds since the epoch: from, and up to but not including; default: ever), limit
--   (how many of a kind are counted, default 1,000,000).
-- @return { done, aborted, more = true where a number is the limit, and there may be more }
function methods.count_over(self, given)
  opened.check(self)
  given = options.check(given, over_kinds, 2, "count_over")
  local limit = math.min(given.limit or OVER_MAX, OVER_MAX)
  local done, aborted, message = current.store(self, true):roots_over {
    since = given.since or 0, before = given.before or FAR, limit = limit,
  }
  if not done then errors.raise_core(aborted, message, "count_over") end
  return { done = done, aborted = aborted, more = (done == limit or aborted == limit) or nil }
end

return methods
