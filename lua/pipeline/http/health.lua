--- http/health.lua: what a supervisor or a load balancer asks an engine.
--
--   /healthz   the process is alive: its loop turns and its HTTP side answers. Always 200 when it comes at all.
--   /readyz    work may be sent here: the store takes a commit, which renews the worker's lease, and the engine is not
--              stopping. 200 or 503.
--
-- Everybody is told that much; facts, and what is wrong, whoever has a token.
--
-- A commit is made at most once a second, however often it is asked, and everybody who asks meanwhile shares it.

local health = {}

local SHARED_SECONDS = 1

--- Whether the process lives, and, for whoever may know, facts about the engine.
function health.alive(self, may_know)
  if not may_know then return 200, { status = "ok" } end
  local facts = self.core:facts()
  return 200, {
    status = "ok", version = facts.version, durability = facts.durability, executing = facts.executing,
    executed = facts.executed, other_workers = facts.other_workers,
  }
end

-- What the store says to a commit: "ok", or why not.
local function try_store(self)
  local now, last = self.core:now(), self.last_probe
  if last and now >= last.at and now - last.at < SHARED_SECONDS then return last.store end
  local _, code, message = self.core:meta("probe", ("%d"):format(math.floor(now)))
  local store = code and ("%s (%s)"):format(message or "unexpected failure", code) or "ok"
  self.last_probe = { at = now, store = store }
  return store
end

--- Whether work may be sent here; status and what to say.
function health.ready(self, may_know)
  local store = try_store(self)
  local facts = self.core:facts()
  local lease = facts.no_worker and "not a worker" or (facts.worker ~= 0 and "held" or "lost")
  local is_ready = store == "ok" and lease ~= "lost" and not facts.stopping
  local response = { status = is_ready and "ready" or "not ready" }
  if may_know then
    response.store, response.lease, response.stopping = store, lease, facts.stopping
    response.unreachable_since = facts.unreachable_since
  end
  return is_ready and 200 or 503, response
end

return health
