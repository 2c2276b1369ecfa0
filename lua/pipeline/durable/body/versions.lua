--- durable/body/versions.lua: code that has changed while runs of it are under way: guards, and functions by version.

local calls = require "pipeline.durable.body.calls"
local errors = require "pipeline.support.errors"
local options = require "pipeline.support.options"
local patch = require "pipeline.flow.patch"
local bad_argument = require("pipeline.support.place").bad_argument

local versions = {}

local methods = {}

local patched_kinds = { deprecated = "boolean" }

--- Guards changed code: `if self:patched("id") then new() else old() end`. True in runs that reach it for the first
-- time with this code, false in those that have passed it before; the same all through a run.
-- @tparam string id of the change (1 to 200 bytes).
-- @tparam[opt] table given deprecated = true: true always; the old way is gone, and runs that went the new way still
-- say
--   so in their journals. When there are none any more the call can go, too.
function methods.patched(self, id, given)
  local run = calls.run_of(self, "patched")
  given = options.check(given, patched_kinds, 2, "patched")
  if type(id) ~= "string" or id == "" or #id > 200 then
    bad_argument(1, "patched", "a text of 1 to 200 bytes expected")
  end
  return patch.ask(run.machine, id, given.deprecated)
end

--- The function of a run that was started under `version`: `current` for that of the class, and where the class has no
-- `versions`.
function versions.pick(of, version, current)
  local own = rawget(of, "versions")
  if not own or version == (rawget(of, "_version") or 1) then return current end
  return own[version]
end

--- The error of a run for whose version there is no function; nil: there is one.
function versions.problem(of, version, path)
  if versions.pick(of, version, true) then return nil end
  return errors.ConfigurationError(("%s has no function for runs that were started under version %d: the class has " ..
    "version %d, and versions has none of that number"):format(path, version, rawget(of, "_version") or 1), {
    where = false, traceback = "",
  })
end

versions.methods = methods

return versions
