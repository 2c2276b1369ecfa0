--- main.lua: the command `pipeline`: reads the command line, does what it says, and gives an exit code.

local errors = require "pipeline.support.errors"
local failure = require "pipeline.command.failure"
local grammar = require "pipeline.command.grammar"
local letters = require "pipeline.command.output.letters"
local output = require "pipeline.command.output.output"
local store = require "pipeline.command.store"
local terminal = require "pipeline.command.output.terminal"

local main = {}

local function complain(text)
  io.stdout:flush()
  io.stderr:write("pipeline: ", letters.plain(text, terminal.has_unicode()), "\n")
end

-- What the parser says takes several lines.
local function one_line(problem)
  local text = problem:gsub("\nDid you mean one of these: ", "; did you mean one of these: ")
    :gsub("\nDid you mean ", "; did you mean "):gsub("\n", " ")
  local number = text:match("^unknown option '(%-%d[^']*)'")
  if number then text = ("unknown option '%s'; write -- before what begins with a dash"):format(number) end
  return text
end

-- The help on the command that was meant, if one is named.
local function help_on(arguments)
  for _, word in ipairs(arguments) do
    if grammar.find(word) then return "pipeline help " .. word end
  end
  return "pipeline help"
end

local function parse(arguments)
  local ok, given = grammar.parser():pparse(arguments)
  if not ok then failure.usage("%s (see '%s')", one_line(given), help_on(arguments)) end
  if not given.command then failure.usage("a command is missing (see 'pipeline help')") end
  return given
end

-- Opens the store for a command, once: it is closed when the command ends.
local function opener(given, opened)
  return function(how)
    local engine = store.open(given, how)
    opened[#opened + 1] = engine
    return engine
  end
end

local function is_interrupted(problem)
  if errors.is(problem) then return errors.is(problem, errors.Interrupted) end
  return type(problem) == "string" and problem:find("interrupted!", 1, true) ~= nil
end

-- What has gone wrong, in one line, and the exit code.
local function report(caught, is_verbose)
  local problem = errors.original(caught)
  if failure.is(problem) then
    complain(problem.message)
    return problem.code
  end
  if is_interrupted(problem) then return failure.INTERRUPTED end
  local name, message, trace = errors.describe(caught)
  complain((name == "Error" and "" or name .. ": ") .. message)
  if is_verbose or not errors.is(problem) then
    io.stderr:write(trace, "\n")
  end
  return failure.NO
end

local function execute(arguments, opened)
  local given = parse(arguments)
  opened.is_verbose = given.verbose
  local command = grammar.find(given.command)
  local out = output.new(given)
  local code = command.run({ given = given, out = out, open = opener(given, opened), grammar = grammar })
  out:flush()
  return code or 0
end

--- Does what a command line says.
-- @tparam table arguments its words, without the name of the program.
-- @return the exit code: 0 done, 1 the answer is no, 2 usage, 3 not found, 4 the store cannot be opened, 130
-- interrupted.
function main.run(arguments)
  local opened = {}
  local ok, code = xpcall(execute, errors.handler, arguments, opened)
  terminal.restore()
  if not ok then code = report(code, opened.is_verbose) end
  for _, engine in ipairs(opened) do pcall(engine.close, engine) end
  return code
end

return main
