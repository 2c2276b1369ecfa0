--- lists.lua: methods of the engine that find pipelines: by an address, and in lists of roots.

local address = require "pipeline.view.address"
local context = require "pipeline.context"
local entries = require "pipeline.view.entries"
local errors = require "pipeline.support.errors"
local filters = require "pipeline.view.filters"
local opened = require "pipeline.engine.opened"
local slices = require "pipeline.support.slices"
local words = require "pipeline.view.words"

local methods = {} -- of the engine

local PAGE, PAGE_MAX = 50, 1000
local PIECE = 25 -- roots read at a time
local SCANNED_MAX = 5000

--- The id of the pipeline that an address means; nil: there is none.
-- @tparam string given an id, "key:" with an idempotence key, or the beginning of an id: 6 characters or more. A
-- beginning that a single root has means that root; else it must be that of a single pipeline.
-- Raises PipelineStatusError, naming some, if several may be meant.
function methods.find(self, given)
  opened.check(self)
  return (address.find(self, given, "find"))
end

local function has(text, part)
  return text and text:lower():find(part, 1, true) ~= nil
end

local function fits_text(entry, wanted)
  local part = wanted:lower()
  return has(entry.class, part) or has(entry.key, part) or has(entry.message, part) or has(entry.last_error, part)
    or has(entry.reason, part)
end

local function fits_error(entry, wanted)
  if wanted == true then return entry.last_error ~= nil or entry.reason ~= nil end
  return has(entry.last_error, wanted:lower()) or has(entry.reason, wanted:lower())
end

local function fits(entry, wanted)
  return not (wanted.states and not wanted.states[entry.state] or wanted.queue and entry.queue ~= wanted.queue
    or wanted.key and entry.key ~= wanted.key or wanted.since and (entry.created or 0) < wanted.since
    or wanted["until"] and (entry.created or 0) > wanted["until"] or wanted.text and not fits_text(entry, wanted.text)
    or wanted.error and not fits_error(entry, wanted.error))
end

-- Calls fn(entry) for roots, newest first, until it returns true or enough were looked at. Returns where to go on.
local function each_root(engine, wanted, before, fn)
  local scanned = 0
  local pause <close> = slices.new(engine)
  repeat
    local stages, slots, following = context.store(engine, true):roots_list {
      class_path = wanted.class, before = before, limit = PIECE,
    }
    if not stages then errors.raise_core(slots, following, "list") end
    for i, record in ipairs(stages) do
      local entry = entries.readable(engine, record, entries.id_text(engine, record))
      if fits(entry, wanted) and fn(entry) then
        return (following or i < #stages) and record.id or nil
      end
      pause()
    end
    before, scanned = following, scanned + #stages
  until not before or scanned >= SCANNED_MAX
  return before
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
  local wanted, limit = filters.read(given, "list"), math.min(given.limit or PAGE, PAGE_MAX)
  local items = {}
  local following = each_root(self, wanted, read_cursor(self, given.cursor), function(entry)
    items[#items + 1] = entry
    return #items == limit
  end)
  return { items = items, cursor = following and self:_id_text(following) or nil }
end

--- How many roots there are in each state, of those that the filters of `list` choose: a table with a number for each
-- word of view/words.lua, `total`, and `more` = true if counting stopped before the end.
function methods.list_counts(self, given)
  opened.check(self)
  given = filters.check(given, {}, "list_counts")
  local counts = { total = 0 }
  for _, word in ipairs(words.STATES) do counts[word] = 0 end
  local following = each_root(self, filters.read(given, "list_counts"), nil, function(entry)
    counts[entry.state] = (counts[entry.state] or 0) + 1
    counts.total = counts.total + 1
  end)
  counts.more = following and true or nil
  return counts
end

return methods
