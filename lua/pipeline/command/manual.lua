--- manual.lua: help on the commands and the manual page, from the table of commands.

local letters = require "pipeline.command.output.letters"
local pipeline = require "pipeline"

local manual = {}

local ABOUT = "Runs, shows and acts on the durable workflows (pipelines) and task queues in a store."
local WORDS = {
  { "Addresses", "A pipeline is given by its id, by at least 6 characters of its beginning, or by key:KEY, its "
    .. "idempotence key. A task is given by QUEUE/NAME." },
  { "Values", "Durations: 90, 90s, 5m, 2h, 7d. Times: now, 2026-11-28T18:25:09Z, 2026-11-28 18:25 (local time), or a "
    .. "duration: so long ago." },
  { "Exit codes", "0 done; 1 the answer is no (aborted, refused, something found by check); 2 the command line is "
    .. "wrong; 3 what it names is not there; 4 the store cannot be opened; 130 interrupted." },
}

--- How a command is called, in one line.
-- @tparam[opt] boolean unicode whether it may have more than ASCII.
function manual.usage(command, unicode)
  local parts, dots = { "pipeline", command.name }, unicode and "\u{2026}" or "..."
  for _, argument in ipairs(command.arguments or {}) do
    local many = argument.many
    local shown = argument.sign .. ((many == "*" or many == "+") and dots or "")
    parts[#parts + 1] = (many == "?" or many == "*") and "[" .. shown .. "]" or shown
  end
  for _, option in ipairs(command.options or {}) do
    parts[#parts + 1] = ("[%s%s]"):format(option[#option], option.sign and " " .. option.sign or "")
  end
  return table.concat(parts, " ")
end

-- Names on the left, what they are on the right.
local function list(out, pairs_of)
  local widest = 0
  for _, pair in ipairs(pairs_of) do widest = math.max(widest, letters.width(pair[1])) end
  widest = math.min(widest, 26)
  local room = (out.width or 100) - widest - 4
  for _, pair in ipairs(pairs_of) do
    if room < 24 or letters.width(pair[1]) > widest then
      out:line("  " .. out:style("strong", pair[1]))
      out:paragraph(pair[2], 6)
    else
      for i, line in ipairs(letters.wrap(pair[2], room)) do
        local head = letters.pad(i == 1 and pair[1] or "", widest)
        out:line("  " .. out:style("strong", head) .. "  " .. line)
      end
    end
  end
end

local function option_pairs(options)
  local pairs_of = {}
  for i, option in ipairs(options) do
    pairs_of[i] = { table.concat(option, ", ") .. (option.sign and " " .. option.sign or ""), option.help }
  end
  return pairs_of
end

local function title(out, text)
  out:line()
  out:line(out:style("title", text))
end

--- Says what all commands are.
function manual.overview(out, groups, globals)
  out:line("usage: pipeline [--db URI] COMMAND ...")
  out:line()
  out:paragraph(ABOUT)
  for _, group in ipairs(groups) do
    title(out, group.title)
    local pairs_of = {}
    for i, command in ipairs(group.commands) do pairs_of[i] = { command.name, command.summary } end
    list(out, pairs_of)
  end
  title(out, "For every command")
  list(out, option_pairs(globals))
  for _, pair in ipairs(WORDS) do
    title(out, pair[1])
    out:paragraph(pair[2], 2)
  end
end

--- Says how a command is used.
function manual.of(out, command, globals)
  for i, line in ipairs(letters.wrap("usage: " .. manual.usage(command, out.unicode), (out.width or 102) - 2)) do
    out:line((i > 1 and "  " or "") .. line)
  end
  out:line()
  out:paragraph(command.summary:sub(1, 1):upper() .. command.summary:sub(2) .. ".")
  if command.details then
    out:line()
    out:paragraph(command.details)
  end
  if command.arguments then
    title(out, "Arguments")
    local pairs_of = {}
    for i, argument in ipairs(command.arguments) do pairs_of[i] = { argument.sign, argument.help } end
    list(out, pairs_of)
  end
  if command.options then
    title(out, "Options")
    list(out, option_pairs(command.options))
  end
  title(out, "For every command")
  list(out, option_pairs(globals))
  if command.examples then
    title(out, "Examples")
    for _, example in ipairs(command.examples) do out:paragraph(example, 2) end
  end
end

-- ---- the manual page -------------------------------------------------------------------------------------------

local function troff(text)
  return (text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("\n%.", "\n\\&."):gsub("^%.", "\\&."):gsub("^'", "\\&'"))
end

local function troff_options(lines, options)
  for _, pair in ipairs(option_pairs(options)) do
    lines[#lines + 1] = ".TP\n.B " .. troff(pair[1])
    lines[#lines + 1] = troff(pair[2])
  end
end

--- The manual page of the command, for man(7).
function manual.page(groups, globals)
  local lines = {
    (".TH PIPELINE 1 \"\" \"pipeline %s\" \"User Commands\""):format(pipeline.version), ".SH NAME",
    "pipeline \\- " .. troff("durable workflows and task queues in a file"), ".SH SYNOPSIS",
    ".B pipeline\n[\\-\\-db URI] COMMAND ...", ".SH DESCRIPTION", troff(ABOUT),
  }
  for _, group in ipairs(groups) do
    lines[#lines + 1] = ".SH " .. group.title:upper()
    for _, command in ipairs(group.commands) do
      lines[#lines + 1] = ".SS " .. troff(manual.usage(command))
      lines[#lines + 1] = troff(command.summary:sub(1, 1):upper() .. command.summary:sub(2) .. ".")
      if command.details then lines[#lines + 1] = troff(command.details) end
      for _, argument in ipairs(command.arguments or {}) do
        lines[#lines + 1] = (".TP\n.I %s\n%s"):format(troff(argument.sign), troff(argument.help))
      end
      troff_options(lines, command.options or {})
      for _, example in ipairs(command.examples or {}) do
        lines[#lines + 1] = ".PP\n.nf\n.RS\n" .. troff(example) .. "\n.RE\n.fi"
      end
    end
  end
  lines[#lines + 1] = ".SH OPTIONS\nFor every command, before or behind its name:"
  troff_options(lines, globals)
  for _, pair in ipairs(WORDS) do
    lines[#lines + 1] = ".SH " .. pair[1]:upper() .. "\n" .. troff(pair[2])
  end
  lines[#lines + 1] = ".SH ENVIRONMENT"
  for _, pair in ipairs { { "PIPELINE_DB", "The store, where \\-\\-db is not given." },
    { "PIPELINE_ADMIN_TOKEN", "The administrator's token of what serve and worker serve; without it one is made." },
    { "NO_COLOR", "If it is set, there are no colours." },
    { "PAGER", "What shows more than a screen, on a terminal only (default: less \\-FRX; empty: nothing)." } } do
    lines[#lines + 1] = (".TP\n.B %s\n%s"):format(pair[1], pair[2])
  end
  return table.concat(lines, "\n") .. "\n"
end

return manual
