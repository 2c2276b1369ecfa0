--- copies.lua: consistent copies of a store at work.

local await = require "pipeline.support.await"
local current = require "pipeline.current"
local errors = require "pipeline.support.errors"
local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local bad_type = require("pipeline.support.place").bad_type

local methods = {} -- of the engine

local backup_kinds = { progress = "function", pages = "count", spare = "boolean" }
local BACKUP_PAGES = 256

local function copy(self, path, given)
  repeat
    local left, total, message = current.store(self, true):backup(path, given.pages or BACKUP_PAGES, given.spare)
    if not left then errors.raise_core(total, message) end
    if given.progress then await.results(given.progress(total - left, total)) end
  until left == 0
end

--- Copies the store, as it is now, into another file, while everybody works on. It is done in portions, by the thread
-- that reads; in a tasklet or a run the others go on meanwhile. The copy has its name only when it is whole and on
-- disk: what is interrupted leaves `path` as it was, and is simply begun again. It holds the secret of the store, too,
-- and is the owner's alone, as the store is (`file_mode`). What was being executed is executed again when the copy is
-- opened.
-- @tparam string path of the copy; a file of that name is replaced, unless a log (-wal, -journal) lies beside it: then
-- it is a database in use. Until the copy is whole it is `path` with ".part".
-- @tparam[opt] table given progress (function(copied, total), in pages, after each portion), pages (of a portion, 256),
-- spare (true: a file of that name that is no store is not replaced, but refused).
-- Raises StoreError.
function methods.backup(self, path, given)
  opened.check(self)
  if type(path) ~= "string" or path == "" or path:find("\0", 1, true) then
    bad_type(1, "backup", "path", path)
  end
  given = options.check(given, backup_kinds, 2, "backup")
  local ok, problem = pcall(copy, self, path, given)
  if ok then return end
  pcall(function() current.store(self, true):backup(path, 0) end) -- nothing stays behind
  error(problem, 0)
end

return methods
