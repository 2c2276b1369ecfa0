--- pipelines.lua: the commands that show pipelines: list, show, why, logs.

local columns = require "pipeline.command.output.columns"
local errors = require "pipeline.support.errors"
local failure = require "pipeline.command.failure"
local filters = require "pipeline.command.filters"
local json = require "pipeline.http.json"
local letters = require "pipeline.command.output.letters"
local store = require "pipeline.command.store"
local text = require "pipeline.support.text"
local tree = require "pipeline.command.output.tree"
local values = require "pipeline.command.values"
local words = require "pipeline.command.output.words"

local commands = {}

local LIMIT = 50
local SHORT_ID = 16 -- as much as no other id begins with
local PAGES_MAX = 20 -- of engine:list, each of which looks through some thousands

-- ---- list ------------------------------------------------------------------------------------------------------

local function first_line(value)
  return value and value:match("^[^\r\n]*") or ""
end

-- What a line of the list says of a pipeline beside its columns.
local function remark_of(entry)
  if entry.state == "aborted" then return first_line(words.cause(entry.reason or entry.last_error or "")) end
  if entry.state == "done" then return first_line(entry.message) end
  return first_line(entry.message or entry.last_error or entry.state_words)
end

local function columns_of(out, now)
  return {
    { title = "ID", field = function(entry) return entry.id, "accent" end, least = SHORT_ID + 1 },
    { title = "STATE", field = function(entry)
      return words.sign(out, entry.state) .. " " .. entry.state, words.style(entry.state)
    end },
    { title = "CLASS", field = "class", least = 12, narrow = 8 },
    { title = "CREATED", field = function(entry) return words.away(entry.created, now) end, rank = 1 },
    { title = "TOOK", field = function(entry) return words.span(entry.took) end, right = true, rank = 2 },
    { title = "DONE", field = function(entry)
      local stages = entry.stages or entry.children
      if not stages or not stages.total or stages.total == 0 then return "" end
      return ("%d/%d"):format(stages.done, stages.total)
    end, right = true, rank = 4 },
    { title = "QUEUE", field = "queue", rank = 5 },
    { title = "", field = function(entry) return remark_of(entry), "faint" end, least = 12, rank = 3 },
  }
end

-- A page that is looked through may have few that fit: several make one of the command.
local function read_list(engine, given)
  local chosen = filters.read(given, engine:now())
  local items, limit, pages, cursor = {}, given.limit or LIMIT, 0, given.cursor
  repeat
    chosen.limit, chosen.cursor = limit - #items, cursor
    local page = store.page(given, engine.list, engine, chosen)
    table.move(page.items, 1, #page.items, #items + 1, items)
    cursor, pages = page.cursor, pages + 1
  until #items >= limit or not cursor or pages >= PAGES_MAX
  return items, cursor
end

commands[#commands + 1] = {
  name = "list", summary = "lists pipelines, newest first",
  options = filters.of_pipelines {
    { "--limit", sign = "N", convert = values.count, help = "at most so many (50)" },
    { "--cursor", sign = "C", help = "goes on where the list before has ended" },
  },
  examples = { "pipeline list --state aborted --since 24h", "pipeline list --class shop.Order --text 'no stock'" },
  run = function(call)
    local engine = call.open()
    local items, cursor = read_list(engine, call.given)
    if call.out.as_json then return call.out:json { items = json.array(items), cursor = cursor } end
    if #items == 0 then
      if call.given.queue then store.queue(engine, call.given.queue) end
      call.out:note("no pipelines%s%s", cursor and " among those that were looked through" or "",
        filters.hint(engine, call.given))
    end
    if #items > 0 then columns.write(call.out, columns_of(call.out, engine:now()), items) end
    call.out:more(cursor)
  end,
}

-- ---- show ------------------------------------------------------------------------------------------------------

local FINAL = { done = true, aborted = true }
local PAGE, STAGES_MAX = 1000, 5000
local FOLLOW_SECONDS = 0.5

-- The entries of a stage and what is below it, of as many pages as are worth showing.
local function read_tree(engine, id, depth)
  local entries, cursor, is_cut = {}, nil
  repeat
    local page = engine:tree(id, { parent = id, depth = depth, cursor = cursor, limit = PAGE })
    table.move(page.items, 1, #page.items, #entries + 1, entries)
    cursor = page.cursor
    is_cut = cursor ~= nil and #entries >= STAGES_MAX
  until not cursor or is_cut
  return entries, is_cut
end

-- A value, or the slot that it comes from.
local function shown(item)
  if item.type == "slot" and not item.filled then return "(slot " .. item.slot .. ")" end
  return text.of(item.value)
end

local function below_of(engine, given)
  if not given.args and not given.outputs then return nil end
  return function(entry)
    local stage, lines, args = engine:stage(entry.id), {}, {}
    for i, item in ipairs(given.args and stage.args or {}) do args[i] = shown(item) end
    if #args > 0 then lines[1] = { "args: ", table.concat(args, ", ") } end
    for _, output in ipairs(given.outputs and stage.outputs or {}) do
      if output.filled then lines[#lines + 1] = { output.name .. ": ", text.of(output.value) } end
    end
    return lines
  end
end

local function write_tree(call, engine, id, entries, is_cut)
  local root = entries[1]
  local out, now = call.out, engine:now()
  out:say("%s", id)
  if root.key and root.key ~= id then out:say("key %s", root.key) end
  tree.write(out, entries, {
    now = now, below = below_of(engine, call.given), is_cut = is_cut or call.given.depth ~= nil,
    depth = call.given.depth,
  })
  if is_cut then
    out:line(out:style("faint", ("the first %s stages; --depth N shows the upper levels"):format(
      words.count(#entries))))
  end
end

-- One JSON document for each change, until it is final.
local function follow_json(call, engine, id)
  local last
  while true do
    local entries = read_tree(engine, id, call.given.depth)
    local line = json.encode { id = id, state = entries[1].state, stages = json.array(entries) }
    if line ~= last then call.out:write(line .. "\n") end
    last = line
    if FINAL[entries[1].state] then return entries[1].state end
    engine:sleep(FOLLOW_SECONDS)
  end
end

-- In a pipe: a line for each stage whose state has changed.
local function follow_lines(call, engine, id)
  local said, out = {}, call.out
  out:live()
  while true do
    local entries = read_tree(engine, id, call.given.depth)
    for _, entry in ipairs(entries) do
      if said[entry.id] ~= entry.state then
        said[entry.id] = entry.state
        out:say("%s %s %s %s", os.date("%H:%M:%S"), entry.id, entry.state, entry.class)
      end
    end
    if FINAL[entries[1].state] then return entries[1].state end
    engine:sleep(FOLLOW_SECONDS)
  end
end

-- How far it is: "[#####.....] 12 of 24".
local function progress(out, entries)
  local total, done = #entries, 0
  for _, entry in ipairs(entries) do
    if FINAL[entry.state] then done = done + 1 end
  end
  local room = math.max(10, math.min(40, (out.width or 80) - 20))
  local full = total > 0 and done * room // total or 0
  return ("[%s%s] %d of %d"):format(out:sign("\u{2588}", "#"):rep(full), out:sign("\u{b7}", "."):rep(room - full), done,
    total)
end

-- On a terminal: what changes is drawn over what was there.
local function follow_screen(call, engine, id)
  local out, drawn = call.out, 0
  while true do
    local entries, is_cut = read_tree(engine, id, call.given.depth)
    write_tree(call, engine, id, entries, is_cut)
    out:line(progress(out, entries))
    local lines = out.lines
    out.lines = {}
    local is_over = FINAL[entries[1].state]
    if not is_over then
      while #lines > out.height - 1 do table.remove(lines, #lines - 1) end
    end
    if drawn > 0 then io.stdout:write(("\27[%dA\r\27[J"):format(drawn)) end
    io.stdout:write(table.concat(lines, "\n"), "\n")
    io.stdout:flush()
    drawn = #lines
    if is_over then return entries[1].state end
    engine:sleep(FOLLOW_SECONDS)
    out:measure()
  end
end

local function follow(call, engine, id)
  local state
  if call.out.as_json then
    state = follow_json(call, engine, id)
  elseif call.out:can_redraw() then
    state = follow_screen(call, engine, id)
  else
    state = follow_lines(call, engine, id)
  end
  if state == "aborted" then return failure.NO end
end

commands[#commands + 1] = {
  name = "show", summary = "shows a pipeline with everything below it",
  arguments = { { name = "id", sign = "ID", help = "the pipeline" } },
  options = {
    { "--follow", help = "goes on until it is done or aborted (then the exit code is 1)" },
    { "--depth", sign = "N", convert = values.depth, help = "so many levels below it (default: all)" },
    { "--args", help = "with the arguments" },
    { "--outputs", help = "with the outputs" },
  },
  examples = { "pipeline show 4fb1c2 --follow" },
  run = function(call)
    local engine = call.open()
    local id = store.find(engine, call.given.id)
    if call.given.follow then return follow(call, engine, id) end
    local entries, is_cut = read_tree(engine, id, call.given.depth)
    if call.out.as_json then
      if call.given.args or call.given.outputs then
        for _, entry in ipairs(entries) do
          local stage = engine:stage(entry.id)
          entry.args = call.given.args and json.array(stage.args) or nil
          entry.outputs = call.given.outputs and json.array(stage.outputs) or nil
        end
      end
      return call.out:json { id = id, state = entries[1].state, stages = json.array(entries), cut = is_cut or nil }
    end
    write_tree(call, engine, id, entries, is_cut)
  end,
}

-- ---- why ------------------------------------------------------------------------------------------------------

local function why_task(engine, address)
  store.queue(engine, address:match("^[^/]*"))
  local ok, reasons = pcall(engine.why, engine, address)
  if ok then return reasons end
  if not errors.is(reasons, errors.PipelineStatusError) then error(reasons, 0) end
  failure.not_found("%s; see 'pipeline tasks %s'", reasons.message, address:match("^[^/]*"))
end

commands[#commands + 1] = {
  name = "why", summary = "says why a pipeline is not running, or not done, and what would change that",
  arguments = { { name = "id", sign = "ID", help = "the pipeline, or a task: QUEUE/NAME" } },
  run = function(call)
    local engine = call.open()
    local is_task = call.given.id:find("/", 1, true) and not call.given.id:find("^key:")
    local id = is_task and call.given.id or store.find(engine, call.given.id)
    local reasons = is_task and why_task(engine, id) or engine:why(id)
    if call.out.as_json then return call.out:json { id = id, reasons = json.array(reasons) } end
    if #reasons == 0 and is_task then return call.out:say("nothing holds it up") end
    if #reasons == 0 then
      local entry = read_tree(engine, id, 0)[1]
      return call.out:say("nothing holds it up: it is %s", entry.state_words or entry.state)
    end
    for i, reason in ipairs(reasons) do
      call.out:paragraph(reason.text, i > 1 and 2 or 0)
      if reason.command then call.out:line("  " .. call.out:style("accent", "$ " .. call.out:plain(reason.command))) end
    end
  end,
}

-- ---- logs -------------------------------------------------------------------------------------------------------

local ID_FROM = 60 -- columns of a terminal that has room for it
local LEVELS = { error = "bad", warning = "warn", info = "faint" }

-- One line where there is room for it, else the text below.
local function write_log(out, line, now)
  local stage = not out.width or out.width >= ID_FROM
  local head = ("%s %-7s %s%s"):format(words.instant(line.time, now), line.level, out:plain(line.class or line.stage),
    stage and " " .. out:plain(line.stage:sub(1, SHORT_ID)) or "")
  local said = out:plain(first_line(line.text))
  local is_long = out.width and letters.width(head) + 2 + letters.width(said) > out.width
  if out.width then head = letters.cut(head, out.width, out.mark) end
  out:line(out:style(LEVELS[line.level], head) .. (is_long and "" or "  " .. said))
  if is_long then out:paragraph(said, 4) end
  for piece in (line.traceback or ""):gmatch("[^\r\n]+") do
    out:line("    " .. out:style("faint", out:plain((piece:gsub("\t", "  ")))))
  end
end

commands[#commands + 1] = {
  name = "logs", summary = "shows failures with their tracebacks, and messages, in the order of time",
  arguments = { { name = "id", sign = "ID", help = "the pipeline" } },
  run = function(call)
    local engine = call.open()
    local out = call.out
    local id = store.find(engine, call.given.id)
    local lines = engine:logs(id)
    if out.as_json then return out:json { id = id, lines = json.array(lines) } end
    if #lines == 0 then return out:note("nothing has been said, and nothing has failed") end
    for _, line in ipairs(lines) do write_log(out, line, engine:now()) end
  end,
}

return commands
