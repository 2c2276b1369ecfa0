--- live.lua: the stream of server-sent events that tells open pages that something has changed.
--
-- An event says only that: its id is a count of changes, and the page asks for what it shows. So a page that was away
-- misses nothing, and it does not matter which events it has seen: with Last-Event-ID it hears at once whether there
-- was a change meanwhile. All streams of an engine share one look a second, which is made while there are any; what
-- other processes on the store do is not counted here, so with such the pages look for themselves every few seconds.

local core = require "pipeline.core"

local live = {}

local LOOK_SECONDS = 1
local BEAT_SECONDS = 20  -- a line of comment, so that nobody between takes the connection for dead
local OTHERS_SECONDS = 3 -- what other processes do is seen after that long
local STREAMS_MAX = 100

local Live = {}
local meta = { __name = "pipeline.PagesLive", __index = Live }

function live.new(site)
  -- boot tells one run of the engine from the next: counts begin anew with each.
  return setmetatable({ site = site, web = site.web, streams = {}, count = 0, looks = false,
    boot = core.sha1(tostring(site.web.core:now()) .. site.web.core:random(8)):sub(1, 8) }, meta)
end

-- What changes when the store does.
local function count_of(self, facts)
  local others = facts.other_workers ~= 0 or facts.no_worker
  local round = others and math.floor(self.web.core:steady() / OTHERS_SECONDS) or 0
  return ("%s-%d-%d"):format(self.boot, facts.changes, round)
end

local function look_on(self)
  local beats = self.web.core:steady()
  while next(self.streams) do
    self.web.core:sleep(LOOK_SECONDS)
    local facts = self.web.core:facts()
    if not facts then break end
    local now = count_of(self, facts)
    local beat = self.web.core:steady() - beats >= BEAT_SECONDS
    if beat then beats = self.web.core:steady() end
    for stream in pairs(self.streams) do
      if facts.stopping or beat or stream.seen ~= now then stream.token:wake(now, beat, facts.stopping) end
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
  local now = count_of(self, handle:facts())
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
