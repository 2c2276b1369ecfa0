--- mends.lua: what is to be done about what a check of a store has found.

local mends = {}

local RESTORE = "stop all programs on it and put a backup in its place (delete the logs beside it before); without a "
  .. "backup, the tools of the database save what can be read"
local REPAIR = "'pipeline check --repair', while nobody works on it: %s"
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
  { "a body of no task", "none is needed: it only takes room" },
  { "a long value of no entry", "none is needed: it only takes room" },
  { "an error of no dead task", "none is needed: it only takes room" },
  { "a dead task without its error", "'pipeline revive' or 'pipeline forget' it" },
  { "a task of no queue", "make the queue again: 'pipeline set QUEUE mode=push'" },
  { "a task whose body is missing", "'pipeline forget' it when it is dead, and add it again" },
  { "a task without its stage", "'pipeline purge' its queue, or put a backup in the place of the store" },
}

-- What --repair does about a title.
local RECOUNTED = "it is counted again, waits that are missing are made again, and what waits for nothing goes on"
local GOES = "what could never be read goes"
local STOPPED = "it is aborted, as the rest of its tree"
local REPAIRS = {
  ["a claim of a worker that is gone"] = "the task is ready again",
  ["a task without its stage"] = GOES,
  ["a task that does not fit the state of its stage"] = "it becomes what its stage needs, or goes",
  ["a stage without its task"] = "it gets a task, due now or when its retry is",
  ["a stage that does not wait for as many inputs as it says"] = RECOUNTED,
  ["a stage that does not wait for as many children and outputs as it says"] = RECOUNTED,
  ["a stage that has begun but still waits for an input"] = "the wait goes",
  ["a wait for a value that is there"] = "the wait goes, and what it held up goes on",
  ["a wait without its stage"] = GOES,
  ["a wait that the stage it waits for does not know"] = "the stage is told of it",
  ["a tree to be aborted with a stage that goes on"] = STOPPED,
  ["a stage that goes on below one that was aborted"] = STOPPED,
  ["a stage whose parent is not in its tree"] = "what is left of the tree is aborted, with that as the reason",
  ["a durable function that waits, and has news nobody has seen"] = "it is woken",
  ["a durable function that waits for a child that is final"] = "it is woken",
  ["a mailbox that holds not as many mails as it says"] = "they are counted again",
  ["a long value of no entry"] = GOES,
  ["a fallback of no stage, or of one that does not know it"] = "the stage is told of it; one of no stage goes",
  ["a task whose name is not taken"] = "the name is taken",
  ["a name taken by no task"] = "the name is free",
  ["a body of no task"] = GOES,
  ["a task whose body is missing"] = "it is put among the dead tasks, with that as the reason",
  ["a stage whose arguments are missing"] = "its attempts fail, and its tree is aborted",
  ["an error of no dead task"] = GOES,
  ["a dead task without its error"] = "it says that its error is lost",
  ["a task of no queue"] = "the queue of its stage takes it, or a new one, 'lost-' and its number",
  ["a value of a stage that is not done"] = "it is kept beside the stage; one that has not run makes it again",
  ["a value without the stage that filled it"] = "a stage of its time is noted for it",
  ["damage"] = "indexes are made anew from their tables; damage of tables stays",
  ["a row without the one it belongs to, in table"] = GOES,
}

--- What `check --repair` does about a finding, in one sentence; nil: nothing.
function mends.repair_of(finding)
  return REPAIRS[finding:match("^(.-): ") or finding]
end

--- What mends a finding, in one sentence; nil: the line is about others.
-- @tparam string finding as engine:check says it.
-- @tparam[opt] string root the pipeline that it is about, if it is about one.
function mends.of(finding, root)
  for _, pair in ipairs(KNOWN) do
    if finding:sub(1, #pair[1]) == pair[1] then return pair[2] end
  end
  if finding:find("^%.%.%. and more") then return nil end
  local repair = mends.repair_of(finding)
  if repair and not root then return REPAIR:format(repair) end
  if repair then return REPAIR:format(repair) .. "; or " .. ABORT:format(root, root) end
  if root and (finding:find("^a stage") or finding:find("^a task") or finding:find("^a wait")
    or finding:find("^a tree") or finding:find("^a value") or finding:find("^a durable function")
    or finding:find("^an entry") or finding:find("^two entries") or finding:find("^a scope")) then
    return ABORT:format(root, root)
  end
  return RESTORE
end

return mends
