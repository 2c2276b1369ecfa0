--- confirm.lua: asking before much is changed.

local failure = require "pipeline.command.failure"
local terminal = require "pipeline.command.output.terminal"

local confirm = {}

--- Asks whether to go on; --yes answers for itself. Ends the command with exit code 1 if the answer is no, with 2 if
-- nobody can be asked.
-- @tparam table call with given.yes.
-- @tparam string what will happen: "abort 37 pipelines".
function confirm.ask(call, what)
  if call.given.yes then return end
  if not terminal.is("in") then
    failure.usage("this would %s; say so with --yes, or look first with --dry-run", what)
  end
  io.stderr:write(("This will %s. Go on? [y/N] "):format(call.out:plain(what)))
  local answer = (io.read("l") or ""):lower()
  if answer ~= "y" and answer ~= "yes" then failure.no("nothing was done") end
end

--- The options of commands that ask.
confirm.options = {
  { "-y", "--yes", help = "does not ask" },
  { "--dry-run", help = "only says how many it would be" },
}

return confirm
