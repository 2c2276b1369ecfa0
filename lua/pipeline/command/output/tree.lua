--- tree.lua: a tree of stages, drawn.
--
-- Each line is a stage: its state as a sign and a word, its class, how long it took or what it waits for, and its id's
-- beginning. Below one that failed is its error.

local letters = require "pipeline.command.output.letters"
local words = require "pipeline.command.output.words"

local tree = {}

local SHORT_ID = 16 -- as much as no other id of the store begins with; the first 8 are mostly the same: the time
local FIRST_LINE = "^[^\r\n]*"

-- Children by the id of their parent, and those that have none here.
local function by_parent(entries)
  local known, children, roots = {}, {}, {}
  for _, entry in ipairs(entries) do known[entry.id] = true end
  for _, entry in ipairs(entries) do
    if entry.parent and known[entry.parent] then
      children[entry.parent] = children[entry.parent] or {}
      table.insert(children[entry.parent], entry)
    else
      roots[#roots + 1] = entry
    end
  end
  return children, roots
end

-- What is worth a word beside state and class.
local function remark(entry, now)
  local parts = {}
  if entry.attempt and entry.attempt > 1 then
    parts[#parts + 1] = ("attempt %d of %d"):format(entry.attempt, entry.max_attempts or entry.attempt)
  end
  if entry.state == "executing" then
    if entry.worker then parts[#parts + 1] = "at " .. entry.worker end
    if entry.since then parts[#parts + 1] = "for " .. words.span(math.max(0, now - entry.since)) end
  elseif entry.state == "delayed" and entry["until"] then
    parts[#parts + 1] = words.away(entry["until"], now)
  elseif entry.state == "ready" and entry.place then
    parts[#parts + 1] = ("place %d in %s"):format(entry.place, entry.queue or "default")
    if entry.queue_paused then parts[#parts + 1] = "the queue is paused" end
  elseif (entry.state == "done" or entry.state == "aborted") and entry.took then
    parts[#parts + 1] = words.span(entry.took)
  end
  local children = entry.children
  if children and children.total and children.total > 0 then
    parts[#parts + 1] = ("%s of %s done"):format(words.count(children.done), words.count(children.total))
  end
  if entry.message and entry.message ~= "" then parts[#parts + 1] = entry.message end
  return table.concat(parts, ", ")
end

local function fit(out, text, used)
  if not out.width then return text end
  return letters.cut(text, math.max(0, out.width - used), out.mark)
end

-- The lines of an entry's own, below its line.
local function write_below(out, entry, prefix, given)
  local room = letters.width(prefix)
  local function below(name, text, style)
    local shown = fit(out, out:plain(name .. text), room)
    out:line(out:style("faint", prefix) .. out:style(style, shown))
  end
  if entry.held then -- all of it: what was recorded and what is asked for is at its end
    local text = out:plain("held: " .. entry.held:gsub("%s+", " "))
    for _, line in ipairs(out.width and letters.wrap(text, math.max(10, out.width - room)) or { text }) do
      below("", line, "warn")
    end
  elseif entry.suspended then
    below("it ", entry.suspended, "faint")
  end
  local problem = entry.state == "aborted" and entry.reason or entry.state ~= "done" and entry.last_error
  if problem and problem ~= "" then below("", words.cause(problem):match(FIRST_LINE), "bad") end
  for _, pair in ipairs(given.below and given.below(entry) or {}) do below(pair[1], pair[2], "faint") end
end

local function write_entry(out, entry, prefix, given)
  local style = words.style(entry.state)
  local head = ("%s %-9s "):format(words.sign(out, entry.state), entry.state or "?")
  local id = given.short_ids == false and "" or "  " .. entry.id:sub(1, SHORT_ID)
  local class = out:plain(entry.class or "?")
  local used = letters.width(prefix) + 12 -- of sign and state
  local name = fit(out, class, used)
  used = used + letters.width(name)
  local more = remark(entry, given.now)
  more = more ~= "" and fit(out, "  " .. out:plain(more), used) or ""
  used = used + letters.width(more)
  if out.width and used + #id > out.width then id = "" end
  out:line(out:style("faint", prefix) .. out:style(style, head) .. name .. more .. out:style("faint", out:plain(id)))
end

local function write(out, entry, prefix, children, given)
  local list = children[entry.id] or {}
  local bar = out:sign("\u{2502} ", "| ")
  local branch, last = out:sign("\u{251c}\u{2500} ", "|- "), out:sign("\u{2514}\u{2500} ", "`- ")
  write_below(out, entry, prefix .. (#list > 0 and bar .. " " or "   "), given)
  for i, child in ipairs(list) do
    local is_last = i == #list
    write_entry(out, child, prefix .. (is_last and last or branch), given)
    write(out, child, prefix .. (is_last and "   " or bar .. " "), children, given)
  end
  local hidden = entry.children and entry.children.total and entry.children.total - #list or 0
  if given.is_cut and hidden > 0 and (#list > 0 or given.depth) then
    out:line(out:style("faint", prefix .. last .. ("%s more below"):format(words.count(hidden))))
  end
end

--- Writes a tree.
-- @tparam table out the output.
-- @tparam table entries stages with parent, as engine:tree gives them.
-- @tparam table given now; below (function(entry) -> list of { name, text } for lines below it); is_cut: not all levels
-- are there.
function tree.write(out, entries, given)
  local children, roots = by_parent(entries)
  for _, root in ipairs(roots) do
    write_entry(out, root, "", given)
    write(out, root, "", children, given)
  end
end

return tree
