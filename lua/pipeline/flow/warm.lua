--- flow/warm.lua: runs of durable functions whose bodies are kept in memory while they are suspended.
--
-- A run that is claimed again in the process that has suspended it need not be replayed: its coroutine stands where it
-- waits. What is kept is bounded by number and by bytes; what has waited longest goes first. A body that goes is
-- dropped, never closed: no code of the user runs because of that, and the next claim replays the journal.
--
-- Whether a kept run is still what the store has is for the one who takes it to see: here nothing is known of stores.
--
-- Fields: runs (id -> node: id, run, bytes, older, newer), oldest and newest (nodes, or false), count, bytes, most,
-- most_bytes.

local warm = {}

local Warm = {}
local meta = { __name = "pipeline.WarmRuns", __index = Warm }

--- Makes an empty one, for `most` runs of `most_bytes` in all.
function warm.new(most, most_bytes)
  return setmetatable({
    runs = {}, oldest = false, newest = false, count = 0, bytes = 0, most = most, most_bytes = most_bytes,
  }, meta)
end

local function remove(self, node)
  if node.older then node.older.newer = node.newer else self.oldest = node.newer end
  if node.newer then node.newer.older = node.older else self.newest = node.older end
  self.runs[node.id] = nil
  self.count, self.bytes = self.count - 1, self.bytes - node.bytes
end

--- Takes a run out: nil, there is none.
function Warm.take(self, id)
  local node = self.runs[id]
  if not node then return nil end
  remove(self, node)
  return node.run
end

--- Keeps a run of so many bytes, in the place of an older one of that id. Others go where that is too much.
function Warm.keep(self, id, run, bytes)
  self:take(id)
  local node = { id = id, run = run, bytes = bytes, older = self.newest, newer = false }
  if self.newest then self.newest.newer = node else self.oldest = node end
  self.newest, self.runs[id] = node, node
  self.count, self.bytes = self.count + 1, self.bytes + bytes
  while self.oldest and (self.count > self.most or self.bytes > self.most_bytes) do remove(self, self.oldest) end
end

return warm
