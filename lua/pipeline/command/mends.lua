--- mends.lua: what is to be done about what a check of a store has found.

local mends = {}

local RESTORE = "stop all programs on it and put a backup in its place (delete the logs beside it before); without a "
  .. "backup, the tools of the database save what can be read"
local ABORT = "'pipeline abort %s', let a worker end it, 'pipeline cleanup %s', and start it again; work in other "
  .. "pipelines is not touched"

-- By the beginning of what the check says.
local KNOWN = {
  { "schema:", "open it with the version of the library that wrote it last; what others have changed in its tables has "
    .. "to be changed back" },
  { "damage:", RESTORE },
  { "a row without the one it belongs to", RESTORE },
  { "a claim of a worker that is gone", "start a worker: it takes over what the dead one held" },
  { "a name taken by no task", "none is needed: no task of that name can be added until the name expires" },
  { "a task whose name is not taken", "none is needed: another task of that name could be added beside it" },
  { "a long body of no task", "none is needed: it only takes room" },
  { "an error of no dead task", "none is needed: it only takes room" },
  { "a dead task without its error", "'pipeline revive' or 'pipeline forget' it" },
  { "a task of no queue", "make the queue again: 'pipeline set QUEUE mode=push'" },
  { "a task whose long body is missing", "'pipeline forget' it when it is dead, and add it again" },
  { "a task without its stage", "'pipeline purge' its queue, or put a backup in the place of the store" },
}

--- What mends a finding, in one sentence; nil: the line is about others.
-- @tparam string finding as engine:check says it.
-- @tparam[opt] string root the pipeline that it is about, if it is about one.
function mends.of(finding, root)
  for _, pair in ipairs(KNOWN) do
    if finding:sub(1, #pair[1]) == pair[1] then return pair[2] end
  end
  if finding:find("^%.%.%. and more") then return nil end
  if root and (finding:find("^a stage") or finding:find("^a task") or finding:find("^a wait")
    or finding:find("^a tree") or finding:find("^a value")) then
    return ABORT:format(root, root)
  end
  return RESTORE
end

return mends
