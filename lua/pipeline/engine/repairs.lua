--- repairs.lua: what is wrong in a store is mended, after a copy was made.
--
-- A mend of one rule may break another (a wait that is gone leaves a count that is wrong), so that all parts are looked
-- at again until a round has changed nothing.

local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local place = require "pipeline.support.place"
local bad_option, misuse = place.bad_option, place.misuse

local methods = {} -- of the engine

local ROUNDS_MAX = 10 -- each ends what the one before has left; three are enough for all that is known

local repair_kinds = { backup = "string", dry_run = "boolean" }

-- The title under which a line was found.
local function title_of(finding)
  return finding:match("^(.-): ") or finding
end

-- Raises while anybody works on the file: a mend takes nothing into account that is under way.
local function refuse_others(self)
  for _, worker in ipairs(self:workers()) do
    local works = not worker.serving or #worker.serving > 0
    if worker.is_self and works then
      misuse("repair: this engine executes tasks; open the store with no_worker = true for it")
    elseif not worker.is_self and not worker.gone then
      errors.raise(errors.StoreError, "repair: process %d on %s is at work on the store; end it first", worker.pid,
        worker.host)
    end
  end
end

-- Mends what one title stands for. Returns whether anything was changed.
local function mend(self, title, said)
  refuse_others(self)
  local changed, code, message = current.store(self, true):repair(title)
  if changed then
    said[title] = (said[title] or 0) + changed
    return changed > 0
  elseif code ~= "ENOTFOUND" and code ~= "ECORRUPT" and code ~= "ECONSTRAINT" then
    errors.raise_core(code, message, "repair")
  end
end

local function mend_all(self, found, said)
  local changed, done = false, {}
  for _, finding in ipairs(found) do
    local title = title_of(finding)
    if not done[title] then
      done[title] = true
      changed = mend(self, title, said) or changed
    end
  end
  return changed
end

--- Mends what `check` finds, as far as it can be mended, once a copy of the store is on disk. Counts, waits, tasks,
-- names and indexes are made right from the rows beside them; what cannot be done any more is aborted, or put among the
-- dead tasks, with a reason; rows go only if nothing could ever read them. What is left is named: for that a backup has
-- to be put in the place of the store. Close the engine afterwards, and let others open the file.
-- @tparam table given backup (path of the copy; needed unless dry_run), dry_run (only looks).
-- @return { found, left (lists of texts, as of check), mended (title -> rows changed), backup }. Raises StoreError when
-- another process is at work on the store, or the copy cannot be made; then nothing is changed.
function methods.repair(self, given)
  opened.check(self)
  given = options.check(given, repair_kinds, 1, "repair")
  opened.outside_transaction(self, "repair")
  if not given.dry_run and (not given.backup or given.backup == "") then
    bad_option(1, "repair", "backup", "path of a copy that is made before")
  end
  local found = self:check()
  local answer = { found = found, left = found, mended = {} }
  if given.dry_run or #found == 0 then return answer end
  refuse_others(self)
  self:backup(given.backup)
  answer.backup = given.backup
  for _ = 1, ROUNDS_MAX do
    local changed = mend_all(self, answer.left, answer.mended)
    answer.left = self:check()
    if #answer.left == 0 or not changed then break end
  end
  return answer
end

return methods
