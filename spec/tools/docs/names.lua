-- names.lua: what the guide calls by name must be there: functions, methods and classes of errors in the reference,
-- commands, metrics. So a page cannot go on to speak of what was renamed.

local source = require "spec.tools.docs.source"

local names = {}

-- Objects as the guide calls them, and the headings of the reference that their methods are under.
local OBJECTS = {
  ["engine:"] = { "engine:" }, ["self:"] = { "stage:", "self:" }, ["stage:"] = { "stage:" }, ["queue:"] = { "queue:" },
  ["tx:"] = { "tx:" }, ["pipeline."] = { "pipeline." }, ["taskqueue."] = { "taskqueue." },
  ["deferred."] = { "deferred." }, ["schedules."] = { "schedules." }, ["tasklets."] = { "tasklets." },
  ["mail."] = { "mail." },
}

-- Named in the guide, and no function of ours.
local OTHERS = {
  ["pipeline.h"] = true, ["pipeline.pc"] = true, ["pipeline.eventloop"] = true, ["pipeline.taskqueue"] = true,
  ["pipeline.tasklets"] = true, ["pipeline.deferred"] = true, ["pipeline.schedules"] = true, ["pipeline.mail"] = true,
  ["pipeline.common"] = true, ["pipeline.Pipeline"] = true, ["pipeline.After"] = true, ["pipeline.NAME"] = true,
  ["self:NAME"] = true, ["mail.example"] = true, ["mail.lua"] = true, ["mail.send_mail"] = true,
  ["schedules.lua"] = true, pipeline_id = true,
}

local function known_names()
  local known, text = {}, source.read("lua/API.md")
  for heading in text:gmatch("\n### `([%w_.:]+)") do known[heading] = true end
  for class in text:gmatch("\n%- `([%a_]+%.%u%w+)`") do known[class] = true end
  for constant in text:gmatch("`(taskqueue%.[%u_]+)`") do known[constant] = true end
  for command in text:gmatch("\n### `pipeline ([%l-]+)") do known["pipeline " .. command] = true end
  return known
end

-- Code in the text of a page, and its blocks of Lua.
local function code_of(text)
  local parts = {}
  local bare = text:gsub("\n```(%w*)[^\n]*\n(.-)\n```", function(lang, block)
    if lang == "lua" then parts[#parts + 1] = block end
    return "\n"
  end)
  for code in bare:gmatch("`([^`]+)`") do parts[#parts + 1] = code:gsub("\n", " ") end
  return parts
end

--- Calls complain(format, ...) for each name in the text of a page that is not there. `metrics`: the text of a scrape.
function names.check(path, text, metrics, complain)
  names.known = names.known or known_names()
  for _, code in ipairs(code_of(text)) do
    for object, prefixes in pairs(OBJECTS) do
      for name in code:gmatch("%f[%w_.:]" .. object:gsub("%p", "%%%0") .. "([%a_][%w_]*)") do
        local found = OTHERS[object .. name]
        for _, prefix in ipairs(prefixes) do found = found or names.known[prefix .. name] end
        if not found then complain("%s: there is no %s%s", path, object, name) end
      end
    end
    local command = code:match("^pipeline (%l[%l-]+)")
    if command and not names.known["pipeline " .. command] then
      complain("%s: there is no command '%s'", path, command)
    end
    for metric in code:gmatch("pipeline_%l[%l_]+") do
      local family = metric:gsub("_total$", ""):gsub("_bucket$", ""):gsub("_count$", ""):gsub("_sum$", "")
      if not OTHERS[metric] and not metrics:find("# TYPE " .. family .. " ", 1, true) then
        complain("%s: there is no metric %s", path, metric)
      end
    end
  end
end

return names
