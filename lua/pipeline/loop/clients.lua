--- clients.lua: the HTTP clients of a loop, which tasklet/fetch.lua makes: which of them a request goes through, and
-- how the loop hears of them.
--
-- A client is on a uv loop: on that of this Lua state (its `engine` is false), or on that of an engine. What it has to
-- say waits in it until the loop asks (csrc/binding/http/client.c): then the client is an entry of the loop's queue.

local clocks = require "pipeline.loop.clocks"

local clients = {}

--- Queues what the clients have to say, perhaps since others ran the uv loop. Returns whether there is anything.
function clients.heed(loop)
  local any = false
  for _, client in ipairs(loop.clients or {}) do
    if client.core:has_news() then
      loop:push(client)
      any = true
    end
  end
  return any
end

--- The client on the uv loop of the Lua state, if there is one, is told which engine runs that.
function clients.serve(loop)
  for _, client in ipairs(loop.clients or {}) do
    if not client.engine then client.core:serve(loop.lent and loop.lent._core) end
  end
end

-- The engine whose uv loop a request is to be on; false: that of this Lua state. An engine that is running now, and has
-- a loop of its own, is the only one sure to look after the request.
local function engine_to_fetch(loop)
  if not loop.is_common then return loop.engines[1] or false end
  for i = 1, #loop.engines do
    local engine = loop.engines[i]
    if engine ~= loop.lent and engine._core:running() then return engine end
  end
  return false
end

--- The client for a request that is made now: made, when it is first wanted, by make(what it is to be on).
function clients.of_request(loop, make)
  local engine = engine_to_fetch(loop)
  loop.clients = loop.clients or {}
  for _, client in ipairs(loop.clients) do
    if client.engine == engine then return client end
  end
  local client = make(engine and engine._core or clocks.uv())
  client.engine = engine
  table.insert(loop.clients, client)
  clients.serve(loop)
  return client
end

--- An engine is being closed: its client ends with its uv loop, and what others have under way for it fails.
function clients.leave(loop, engine)
  for i, client in ipairs(loop.clients or {}) do
    if client.engine == engine then
      table.remove(loop.clients, i)
      client:shut()
      break
    end
  end
  for _, client in ipairs(loop.clients or {}) do client:abandon(engine) end
end

return clients
