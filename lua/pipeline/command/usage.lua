--- usage.lua: how a command is called, in one line.

local usage = {}

--- The line for a command of the table.
-- @tparam[opt] boolean unicode whether it may have more than ASCII.
function usage.of(command, unicode)
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

return usage
