--- grammar.lua: the table of commands, and the parser, manual page and completions that are made of it.
--
-- A command is { name =, summary =, details = (a paragraph for its help and the manual), arguments = list of
-- { name =, sign = (as it is shown), many = "?", "*" or "+", convert =, help = }, options = list of { "--name", sign =
-- (of its value; without one it is a switch), convert =, count = (may be repeated), help =, choices = }, examples =
-- list of texts, run = function(call) }. A call has `given` (the command line), `out` (what it says), `open` (see
-- store.lua) and `grammar` (this module); what run returns is the exit code, 0 if it returns nothing.

local argparse = require "argparse"

local grammar = {}

local GROUPS = {
  { "Working", "pipeline.command.group.working" },
  { "Looking at pipelines", "pipeline.command.group.pipelines" },
  { "Acting on pipelines", "pipeline.command.group.acts" },
  { "Durable functions", "pipeline.command.group.durable" },
  { "Queues", "pipeline.command.group.queues" },
  { "Tasks", "pipeline.command.group.tasks" },
  { "Schedules", "pipeline.command.group.schedules" },
  { "Processes", "pipeline.command.group.processes" },
  { "The store", "pipeline.command.group.keeping" },
  { "About", "pipeline.command.group.about" },
}

--- What may be given to every command, before or behind its name.
grammar.globals = {
  { "--db", sign = "URI", help = "the store: a file (default: PIPELINE_DB)" },
  { "--json", help = "one JSON document instead of lines; with --follow a document for each line" },
  { "--no-color", help = "no colours (as NO_COLOR does)" },
  { "-q", "--quiet", help = "says nothing that was not asked for" },
  { "-v", "--verbose", help = "says more: tracebacks of failures" },
}

--- All commands: a list of { title =, commands = list } in the order of the help.
function grammar.groups()
  local groups = {}
  for i, group in ipairs(GROUPS) do groups[i] = { title = group[1], commands = require(group[2]) } end
  return groups
end

--- The command of that name, or nil, and the names of all.
function grammar.find(name)
  local names, found = {}, nil
  for _, group in ipairs(grammar.groups()) do
    for _, command in ipairs(group.commands) do
      names[#names + 1] = command.name
      if command.name == name then found = command end
    end
  end
  return found, names
end

local function add_option(parser, option)
  local names = table.concat(option, " ")
  if not option.sign then return parser:flag(names, option.help) end
  local made = parser:option(names, option.help):argname(option.sign)
  if option.count then made:count(option.count) end
  if option.choices then made:choices(option.choices) end
  if option.convert then made:convert(option.convert) end
  return made
end

local function add_command(parser, command)
  local own = parser:command(command.name, command.summary)
  for _, argument in ipairs(command.arguments or {}) do
    local made = own:argument(argument.name, argument.help):argname(argument.sign)
    if argument.many then made:args(argument.many) end
    if argument.choices then made:choices(argument.choices) end
    if argument.convert then made:convert(argument.convert) end
  end
  for _, option in ipairs(command.options or {}) do add_option(own, option) end
end

--- The parser of the whole command line.
function grammar.parser()
  local parser = argparse("pipeline", "Runs, shows and acts on durable workflows and task queues.")
  parser:command_target("command"):require_command(false)
  for _, option in ipairs(grammar.globals) do add_option(parser, option) end
  for _, group in ipairs(grammar.groups()) do
    for _, command in ipairs(group.commands) do add_command(parser, command) end
  end
  return parser
end

return grammar
