--- watched.lua: what open pages and a scraper cost the engine: processor time of roots started and done, without and
-- with ten pages open (home, list, one pipeline; watchers.py) and /metrics read each second, in alternating pairs.
--
--   lua5.4 spec/bench/watched.lua [ROOTS=100000] [PAIRS=5] [PAGES=10] [DIR=build/bench]
--   lua5.4 spec/bench/watched.lua --part ROOTS PAGES FILE

package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./build/lib/?.so;" .. package.cpath

local TOKEN = "token-of-the-bench"
local AT_ONCE = 5000 -- starts under way

local function clean(path)
  for _, suffix in ipairs { "", "-wal", "-shm", "-workers" } do os.remove(path .. suffix) end
end

-- ---- one run, in a process of its own ----------------------------------------------------------------------------

local function wait_for(engine, condition)
  while not condition() do engine:sleep(0.02) end
end

local function part(roots, pages, path)
  local pipeline = require "pipeline"
  local engine = pipeline.open(path, { durability = "normal", log = function() end })
  local Leaf = pipeline.define("bench.Leaf", { run = function(_, n) return n end })
  local server = engine:serve { port = 0, admin_token = TOKEN }
  local watchers
  engine._core:spawn(function()
    local stage = Leaf(0):start()
    engine:wait(stage)
    if pages > 0 then
      watchers = assert(io.popen(("python3 spec/bench/watchers.py %d %s %d >%s.seen"):format(server.port, TOKEN, pages,
        path), "w"))
      wait_for(engine, function() return engine._web.pages.live.count == pages end)
      engine:sleep(2) -- they have what they show
    end
    collectgarbage()
    local spent, asked = engine._web.pages.shared.pace.spent, (engine._requests.GET or {})["200"] or 0
    local clock, time, left = os.clock(), engine._core:steady(), roots
    local under_way = 0
    for i = 1, roots do
      if under_way >= AT_ONCE then wait_for(engine, function() return under_way < AT_ONCE // 2 end) end
      under_way = under_way + 1
      engine._core:spawn(function()
        engine:wait(Leaf(i):start())
        under_way, left = under_way - 1, left - 1
      end)
    end
    wait_for(engine, function() return left == 0 end)
    print(("cpu %.4f wall %.4f"):format(os.clock() - clock, engine._core:steady() - time))
    local its, of = engine._web.pages.shared.pace, engine._requests.GET or {}
    print(("spent %.4f requests %d"):format(its.spent - spent, (of["200"] or 0) - asked))
    engine:stop()
  end)
  engine:run()
  if watchers then watchers:close() end
  engine:close()
end

-- ---- the driver --------------------------------------------------------------------------------------------------

local function run(roots, pages, path)
  clean(path)
  local pipe <close> = assert(io.popen(("lua5.4 spec/bench/watched.lua --part %d %d '%s'"):format(roots, pages, path)))
  local text = pipe:read("a")
  local cpu, wall, spent, asked = text:match("cpu (%S+) wall (%S+)\nspent (%S+) requests (%S+)")
  assert(cpu, text)
  clean(path)
  local seen = pages > 0 and assert(io.open(path .. ".seen")):read("l") or ""
  os.remove(path .. ".seen")
  return tonumber(cpu), tonumber(wall), ("%s; %.1f ms in answers made, %s requests"):format(seen, spent * 1000, asked)
end

local median = require("spec.support.figures").median

local function main(roots, pairs_, pages, dir)
  local alone, watched, loss = {}, {}, {}
  for i = 1, pairs_ do
    local path = ("%s/watched.db"):format(dir)
    alone[i] = run(roots, 0, path)
    local wall, seen
    watched[i], wall, seen = run(roots, pages, path)
    loss[i] = (watched[i] / alone[i] - 1) * 100
    print(("pair %d: %.3f s alone, %.3f s watched (%.1f s by the clock): %+.1f %%; %s"):format(i, alone[i], watched[i],
      wall, loss[i], seen))
  end
  print(("%d roots, %d pages: %.3f s alone, %.3f s watched; median of the pairs %+.1f %%, aim <= 3"):format(roots,
    pages, median(alone), median(watched), median(loss)))
end

if arg[1] == "--part" then
  part(tonumber(arg[2]), tonumber(arg[3]), arg[4])
else
  main(tonumber(arg[1]) or 100000, tonumber(arg[2]) or 5, tonumber(arg[3]) or 10, arg[4] or "build/bench")
end
