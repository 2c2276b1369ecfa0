--- report.lua: acting on one or many, and telling what came of it: the same for pipelines and for tasks.

local confirm = require "pipeline.command.confirm"
local failure = require "pipeline.command.failure"
local json = require "pipeline.http.json"
local words = require "pipeline.command.output.words"

local report = {}

--- Acts, after a confirmation where there are many; says how many were done, and what was refused why.
-- @tparam table call of the command.
-- @tparam function act function(dry_run) -> { matched, done, refused = list of { id, why }, refused_more }.
-- @tparam table how done ("aborted"), noun ("pipeline"), is_many (whether it asks), verb (default: the command), hint
--   (function() -> what is added where nothing was found).
-- @return the exit code: 1 if something was refused.
function report.act(call, act, how)
  local given, out = call.given, call.out
  if how.is_many or given.dry_run then
    local looked = act(true)
    local what = ("%s %s"):format(how.verb or given.command, words.of(looked.done, how.noun))
    if looked.matched == 0 and how.hint then what = what .. how.hint() end
    local others = looked.matched - looked.done
    if others > 0 then what = ("%s (%s more would be refused)"):format(what, words.count(others)) end
    if given.dry_run then
      out:json {
        matched = looked.matched, done = 0, refused = json.array(looked.refused), refused_more = looked.refused_more,
      }
      return out:say("this would %s", what)
    end
    if looked.done > 0 then confirm.ask(call, what) end
  end
  local result = act(nil)
  out:json {
    matched = result.matched, done = result.done, refused = json.array(result.refused),
    refused_more = result.refused_more,
  }
  if result.done > 0 or #result.refused == 0 then out:note("%s %s", how.done, words.of(result.done, how.noun)) end
  for _, one in ipairs(result.refused) do out:say("%s was refused: %s", one.id, one.why) end
  if result.refused_more then out:say("%s more were refused", words.count(result.refused_more)) end
  if #result.refused > 0 then return failure.NO end
end

return report
