--- live.lua: the stream of server-sent events that tells open pages that something has changed.
--
-- An event says only that: its id is a count of changes, and the page asks for what it shows. So a page that was away
-- misses nothing, and it does not matter which events it has seen: with Last-Event-ID it hears at once whether there
-- was a change meanwhile. All streams of an engine share one look a second, which is made while there are any; while
-- the answers of the pages serve for longer than that (pace.lua), so do the looks.
--
-- What other processes on the store do is seen by the size and time of its write-ahead log. The clock of the file
-- system ticks: two commits within a tick look the same. So a log that was written to just now is looked at once more.

local core = require "pipeline.core"

local live = {}

local LOOK_SECONDS = 1
local BEAT_SECONDS = 20 -- a line of comment, so that nobody between takes the connection for dead
local TICK_SECONDS = 0.05
local STREAMS_MAX = 256

local Live = {}
local meta = { __name = "pipeline.PagesLive", __index = Live }

function live.new(site)
  -- boot tells one run of the engine from the next: counts begin anew with each.
  return setmetatable({ site = site, web = site.web, streams = {}, count = 0, looks = false,
    boot = core.sha1(tostring(site.web.core:now()) .. site.web.core:random(8)):sub(1, 8) }, meta)
end

--- What changes when the store does: a text made of the facts of an engine.
function live.state_of(facts)
  local time = facts.log_time or 0
  local is_new = math.abs(core.now() - time) < TICK_SECONDS
  return ("%d-%d-%.6f%s"):format(facts.changes, facts.log_size or 0, time, is_new and "~" or "")
end

local function id_of(self, facts)
  return self.boot .. "-" .. live.state_of(facts)
end

local function wake_all(self, facts, beat)
  local now = id_of(self, facts)
  for stream in pairs(self.streams) do
    if facts.stopping or beat or stream.seen ~= now then stream.token:wake(now, beat, facts.stopping) end
  end
end

local function look_on(self)
  local handle = self.web.core
  local beats, told = handle:steady(), handle:steady()
  while next(self.streams) do
    handle:sleep(LOOK_SECONDS)
    local facts, now = handle:facts(), handle:steady()
    if not facts then break end
    local beat = now - beats >= BEAT_SECONDS
    if beat then beats = now end
    if beat or facts.stopping or now - told >= self.site.shared.pace:period() - LOOK_SECONDS / 2 then
      told = now
      wake_all(self, facts, beat)
    end
  end
  self.looks = false
end

local Stream = { __name = "pipeline.PagesStream" }

-- The client has gone, or the engine ends. While it lasts a stream is no answer that somebody is still owed.
function Stream.__close(stream)
  stream.live.streams[stream] = nil
  stream.live.count = stream.live.count - 1
  stream.live.web.answering = stream.live.web.answering + 1
end

local function open(self, seen)
  local stream = setmetatable({ live = self, seen = seen, token = self.web.core:token() }, Stream)
  self.streams[stream] = true
  self.count = self.count + 1
  self.web.answering = self.web.answering - 1
  if not self.looks then
    self.looks = true
    self.web.core:spawn(look_on, self)
  end
  return stream
end

local HEADERS = {
  ["Content-Type"] = "text/event-stream", ["Cache-Control"] = "no-store", ["X-Accel-Buffering"] = "no",
  ["X-Content-Type-Options"] = "nosniff",
}

local function event(id)
  return ("id: %s\nevent: change\ndata: {}\n\n"):format(id)
end

--- Serves the stream of one page until it leaves.
function Live:serve(request)
  local who, status, why = self.site.access:who(request)
  if not who then return status, "text/plain; charset=utf-8", why .. "\n" end
  if self.count >= STREAMS_MAX then return 503, { ["retry-after"] = "10" }, "too many pages are open\n" end
  local handle = self.web.core
  local now = id_of(self, handle:facts())
  local ok = handle:stream(200, HEADERS)
  if not ok then return 501, "text/plain", "events are served over a socket only\n" end
  local stream <close> = open(self, now)
  local last = request.headers["last-event-id"]
  local first = "retry: 1000\n: open\n\n"
  local missed = last and last ~= now
  if not handle:send(first .. (missed and event(now) or ("id: %s\n\n"):format(now))) then return end
  while true do
    local id, beat, is_over = handle:suspend()
    stream.token = handle:token()
    if is_over then return end
    local piece = id ~= stream.seen and event(id) or beat and ": still there\n\n" or ""
    stream.seen = id
    if not handle:send(piece) then return end
  end
end

return live
