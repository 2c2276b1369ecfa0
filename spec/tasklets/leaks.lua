-- leaks.lua: what a test of tasklets may leave behind: nothing. To be loaded before the tasklets are: it notes every
-- coroutine they make.

assert(not package.loaded["pipeline.tasklet.task"], "spec.tasklets.leaks must be loaded before the tasklets")

local leaks = {}

local core = require "pipeline.core"
local eventloop = require "pipeline.eventloop"

local threads = setmetatable({}, { __mode = "k" })
core.note_workers(threads)

-- The main function of a tasklet's coroutine is in C. When it has nothing to do there is nothing above it.
local function is_stuck(co)
  if coroutine.status(co) ~= "suspended" or not debug.getinfo(co, 1, "l") then return false end
  local level = 1
  while debug.getinfo(co, level + 1, "l") do level = level + 1 end
  return debug.getinfo(co, level, "S").what == "C"
end

local function stuck()
  local list = {}
  for co in pairs(threads) do
    if is_stuck(co) then list[#list + 1] = debug.traceback(co) end
  end
  return list
end

local function references()
  local count = 0
  for key, value in pairs(debug.getregistry()) do
    if math.type(key) == "integer" and key > 2 and type(value) ~= "number" then count = count + 1 end
  end
  return count
end

local function clients() return eventloop.current().clients or {} end

-- Handles on the uv loop, without those its HTTP client has for as long as it lives.
local function handles()
  local count = core.loop():handles()
  for _, client in ipairs(clients()) do
    if not client.engine then count = count - 2 end
  end
  return count
end

local before

--- Before a test.
function leaks.start()
  core.loop()
  before = { handles = handles(), references = references() }
end

-- First of all, for the loop waits for requests.
local function check_requests()
  collectgarbage()
  collectgarbage()
  for _, client in ipairs(clients()) do
    local facts = client.core:facts()
    if facts.active + facts.queued > 0 then
      for _, exchange in pairs(client.waiting) do exchange.request:cancel() end
      for _, exchange in pairs(client.streams) do exchange.request:cancel() end
      error("requests are left", 0)
    end
  end
end

--- After a test, when its engines are closed and its loop has nothing left to do: raises when something is left.
function leaks.check()
  check_requests()
  for _ = 1, 3 do
    collectgarbage()
    eventloop.run()
  end
  core.loop():poll(0) -- what was closed is gone then
  local list = stuck()
  if list[1] then error(("%d coroutines are left; one of them at %s"):format(#list, list[1]), 0) end
  for _, client in ipairs(clients()) do
    assert(next(client.waiting) == nil, "requests are still waited for")
    assert(next(client.streams) == nil, "answers in pieces are left")
  end
  assert(handles() <= before.handles, ("%d handles are left"):format(handles() - before.handles))
  assert(references() <= before.references, "references are left in the registry")
  local immediate, timers, idle, outside = eventloop.pending()
  assert(immediate == 0, "immediate callbacks are left")
  assert(timers == 0, "timers are left")
  assert(idle == 0, "idle callbacks are left")
  assert(outside == 0, "waits for something outside are left")
end

return leaks
