--- attempts.lua: how often a wrong token may be tried, without shutting out whoever has the right one.
--
-- Wrong tokens are counted by whom they come from, in windows of a minute: by the address (of IPv6 the /64 network,
-- which is what one visitor has), or, in a browser that has signed in before, by the mark it was given then. So a flood
-- from one address shuts out nobody elsewhere, and none of those who have a session or a mark; a scraper whose address
-- has sent a right token within a day has more patience to spend. While many addresses are wrong at once, each that
-- nobody knows has one try a minute: the first, which the right token needs.
--
-- Who is over the limit is refused without a look at the token, else the limit would limit nothing; but for one try in
-- three seconds, so that nobody is shut out for ever by others who share an address.

local attempts = {}

local WINDOW_SECONDS, TRICKLE_SECONDS = 60, 3
local WRONG_MAX, WRONG_MAX_KNOWN, WRONG_MAX_FLOODED = 10, 100, 1
local FLOOD = 200 -- wrong ones in a window, of all
local KNOWN_SECONDS, KNOWN_MAX, SENDERS_MAX = 86400, 10000, 10000
local WARNING = 30

local Attempts = {}
local meta = { __name = "pipeline.PagesAttempts", __index = Attempts }

--- Makes the counts of a web object.
function attempts.new(web)
  return setmetatable({ web = web, since = -math.huge, count = 0, by_sender = {}, senders = 0, known = {},
    known_count = 0 }, meta)
end

--- Who sends a request, as far as wrong tokens are concerned. `mark`: of its browser, or nil.
function attempts.sender(request, mark)
  if mark then return "mark " .. mark end
  local address = request.remote_address
  if not address:find(":", 1, true) or address:find("^::ffff:%d+%.") then return address end
  local groups = {}
  for group in (address:match("^(.-)::") or address):gmatch("%x+") do groups[#groups + 1] = group end
  for i = #groups + 1, 4 do groups[i] = "0" end
  return table.concat(groups, ":", 1, 4) .. "::"
end

local function window(self)
  local now = self.web.core:now()
  if math.abs(now - self.since) >= WINDOW_SECONDS then
    if self.count > 1 then
      self.web.log(WARNING, ("pages: %d wrong tokens within a minute"):format(self.count))
    end
    self.since, self.count, self.by_sender, self.senders = now, 0, {}, 0
  end
  return now
end

local function is_known(self, sender, now)
  local time = self.known[sender]
  return time ~= nil and math.abs(now - time) < KNOWN_SECONDS
end

local function limit(self, sender, now)
  if sender:find("^mark ") then return WRONG_MAX end
  if is_known(self, sender, now) then return WRONG_MAX_KNOWN end
  return self.count < FLOOD and WRONG_MAX or WRONG_MAX_FLOODED
end

--- Seconds until the sender may try again; nil: now.
function Attempts:must_wait(sender)
  local now = window(self)
  local of = self.by_sender[sender]
  if not of or of.count < limit(self, sender, now) then return nil end
  if math.abs(now - of.tried) >= TRICKLE_SECONDS then
    of.tried = now
    return nil
  end
  return math.ceil(self.since + WINDOW_SECONDS - now)
end

--- A token was wrong.
function Attempts:wrong(sender, request)
  local now = window(self)
  if self.count == 0 then
    self.web.log(WARNING, ("pages: a wrong token from %s"):format(request.remote_address))
  end
  self.count = self.count + 1
  local of = self.by_sender[sender]
  if not of then
    if self.senders >= SENDERS_MAX then self.by_sender, self.senders = {}, 0 end -- so that memory is bounded
    of = { count = 0, tried = now }
    self.by_sender[sender], self.senders = of, self.senders + 1
  end
  of.count, of.tried = of.count + 1, now
end

--- A token was right.
function Attempts:right(sender)
  if not self.known[sender] then
    if self.known_count >= KNOWN_MAX then self.known, self.known_count = {}, 0 end
    self.known_count = self.known_count + 1
  end
  self.known[sender] = self.web.core:now()
end

return attempts
