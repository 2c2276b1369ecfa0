-- million.lua: how long lists take in a store with many roots. Fills a file, then prints for each question the longest
-- of five in milliseconds, the processor time of that, and how many items came.
--
--   lua5.4 spec/bench/million.lua [ROOTS=1000000] [FILE]
--
-- The rows are written by SQL as the engine would leave them: most roots are done, one in a thousand is aborted, a few
-- are open, and ten thousand tasks wait in a queue that is paused. FILE is kept, and used again if it is there.

package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./build/lib/?.so;" .. package.cpath

local core = require "pipeline.core"
local pipeline = require "pipeline"

local roots = tonumber(arg[1]) or 1000000
local path = arg[2] or os.tmpname() .. ".db"

local FILL = [[
BEGIN;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
INSERT INTO pl_stage (id, root, state, flags, missing, open, queue, class_path, args, created, started, finalized, key,
  abort_message)
SELECT i << 22, i << 22, CASE WHEN i %% 1000 = 0 THEN 6 WHEN i %% 100000 = 7 THEN 2 ELSE 4 END, 0, 0,
  CASE WHEN i %% 1000 <> 0 AND i %% 100000 = 7 THEN 1 ELSE 0 END, 1, 'shop.Order' || (i %% 10), x'80',
  (1700000000 + i) * 1000000, 0,
  CASE WHEN i %% 1000 <> 0 AND i %% 100000 = 7 THEN NULL ELSE (1700000000 + i) * 1000000 END,
  CASE WHEN i %% 2 THEN 'order-' || i END, CASE WHEN i %% 1000 = 0 THEN 'no paper in tray ' || (i %% 7) END FROM n;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
INSERT INTO pl_task (id, kind, state, queue, priority, eta, request, name)
SELECT (%d + i) << 22, 4, 0, 1, 0, 1700000000000000 + i, x'a0', 'mail-' || i FROM n;
INSERT INTO pl_wait (slot, stage, kind) SELECT id, id, 1 FROM pl_stage WHERE state = 2;
COMMIT;
]]

local function fill()
  local existing = io.open(path)
  if existing then return existing:close() end
  pipeline.open(path, { no_worker = true, queues = { default = { paused = true } } }):close()
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write(FILL:format(roots, roots))
  file:close()
  assert(os.execute(("sqlite3 -batch '%s' <%s"):format(path, script)))
  os.remove(script)
end

local function measure(name, fn)
  local longest, busy, items = 0, 0, nil
  for _ = 1, 5 do
    local began, clock = core.now(), os.clock()
    items = fn()
    longest, busy = math.max(longest, (core.now() - began) * 1000), math.max(busy, (os.clock() - clock) * 1000)
  end
  print(("%-44s %8.1f ms  (processor %7.1f)  %s"):format(name, longest, busy, items))
end

local function items(page)
  return #page.items .. (page.cursor and " and more" or "")
end

fill()
local engine = pipeline.open(path, { no_worker = true })
local questions = {
  { "list", {} }, { "list class", { class = "shop.Order3" } }, { "list class that is none", { class = "shop.None" } },
  { "list aborted", { state = "aborted" } }, { "list open", { state = "open" } },
  { "list executing", { state = "executing" } }, { "list ready", { state = "ready" } },
  { "list key", { key = "order-500001" } }, { "list text that is nowhere", { text = "nowhere" } },
  { "list error", { error = "paper" } }, { "list queue that is none", { queue = "none" } },
  { "list until the middle", { ["until"] = 1700000000.0 + roots // 2 } },
  { "list since the middle, until a bit later", {
    since = 1700000000.0 + roots // 2, ["until"] = 1700000000.0 + roots // 2 + 100,
  } },
}
for _, question in ipairs(questions) do
  measure(question[1], function() return items(engine:list(question[2])) end)
end
local deep = engine:list({ ["until"] = 1700000000.0 + roots // 10 }).cursor
measure("list, a page deep in", function() return items(engine:list { cursor = deep }) end)
measure("list_counts", function()
  local counts = engine:list_counts()
  return ("%d done, %d aborted%s"):format(counts.done, counts.aborted, counts.more and " and more" or "")
end)
local some = engine:list().items[1].id
measure("stage", function() return engine:stage(some).state end)
measure("find by the beginning of an id", function() return engine:find(some:sub(1, 12)) and 1 or 0 end)
measure("why", function() return #engine:why(some) end)
measure("tasks", function() return items(engine:tasks()) end)
measure("tasks of a queue by text", function() return items(engine:tasks { queue = "default", text = "mail-9999" }) end)
measure("queues", function() return #engine:queues() end)
engine:close()
if not arg[2] then os.execute(("rm -f '%s' '%s'-*"):format(path, path)) end
