--- missed.lua: a stretch of times at which nobody was there: how many they are, and which of them are made up for.
--
-- A stretch may be years, and have a time for each second of them. So what walks it does so a few milliseconds at a
-- time, and calls `pause`, which lets the loop go on with other things; and what is made up for is made in portions.

local missed = {}

local SLICE_SECONDS, SLICE_SECONDS_MAX = 3600, 1e9
local QUICK, SLOW, TURN = 0.0005, 0.002, 0.004 -- seconds of processor time: of a slice, and until the next pause

--- How many times lie after the one and not after the other.
-- @tparam[opt] function pause called every few milliseconds; it may yield.
function missed.count(compiled, after, upto, pause)
  local total, slice, busy, clock = 0, SLICE_SECONDS, 0, os.clock
  if not pause then return compiled:count(after, upto) end
  while after < upto do
    local began, to = clock(), math.min(upto, after + slice)
    total, after = total + compiled:count(after, to), to
    local took = clock() - began
    busy = busy + took
    if took < QUICK then slice = math.min(slice * 4, SLICE_SECONDS_MAX) elseif took > SLOW then slice = slice / 4 end
    if busy > TURN then
      pause()
      busy = 0
    end
  end
  return total
end

-- A time after which there are `limit` times up to `upto`; or `after`, if there are no more than that after it.
local function start_of_last(compiled, after, upto, limit)
  local from, step = upto, 60
  while from > after and compiled:count(from, upto) < limit do
    from, step = math.max(after, from - step), step * 2
  end
  local low, high = from, upto -- as many as that, or more, after low; fewer after high
  for _ = 1, 64 do
    local n = compiled:count(low, upto)
    if n <= limit then return low end
    local middle = low + (high - low) / 2
    if compiled:count(middle, upto) < limit then high = middle else low = middle end
  end
  return low
end

-- Where a missed stretch ends: a time that has come, but whose fire has not yet, for its jitter, was not missed.
local function end_of(row, compiled, now)
  local last = compiled:last(row.next_nominal - 1e-6, now)
  if last and last > row.next_nominal and compiled:fire_at(row.name, last) > now then return last - 1e-6 end
  return now
end

-- What is made up for of the times up to `upto`: all after this.
local function start_of(row, compiled, upto)
  local how = compiled.fields.catch_up
  if how.policy == "none" then return upto end
  local after = math.max(row.next_nominal - 1e-6, upto - how.window - 1e-6)
  if how.policy == "all" then return start_of_last(compiled, after, upto, how.limit) end
  local last = compiled:last(after, upto)
  return last and last - 1e-6 or upto
end

--- The stretch that is missed of a row by now: upto (its end), last (its last time), after (what lies after this is
-- made up for), missed (how many are not).
function missed.stretch(row, compiled, now, pause)
  local upto = end_of(row, compiled, now)
  local after = start_of(row, compiled, upto)
  return {
    upto = upto, after = after, last = compiled:last(row.next_nominal - 1e-6, upto) or row.next_nominal,
    missed = missed.count(compiled, row.next_nominal - 1e-6, after, pause),
  }
end

--- The next n times after `after`, up to `upto`, and whether there are more.
function missed.portion(compiled, after, upto, n)
  local list, nominal = {}, compiled:next(after)
  while nominal and nominal <= upto do
    if #list == n then return list, true end
    list[#list + 1] = nominal
    nominal = compiled:next(nominal)
  end
  return list, false
end

return missed
