--- words.lua: states, times and figures in words.

local words = {}

local STYLES = {
  done = "good", aborted = "bad", executing = "busy", ready = "accent", delayed = "warn", waiting = "faint",
  open = "busy", finalizing = "busy", aborting = "bad", dead = "bad", active = "good", paused = "warn",
  finished = "faint",
}
local SIGNS = {
  done = { "\u{2713}", "+" }, aborted = { "\u{2717}", "x" }, executing = { "\u{25b6}", ">" },
  ready = { "\u{25cb}", "o" },
  delayed = { "\u{25d4}", "~" }, waiting = { "\u{b7}", "." }, open = { "\u{25d0}", "*" },
  finalizing = { "\u{25d1}", "*" }, aborting = { "\u{2717}", "x" },
}

--- The style of a state, see output.lua.
function words.style(state)
  return STYLES[state]
end

--- The sign of a state: a shape beside its colour.
function words.sign(out, state)
  local pair = SIGNS[state]
  return pair and out:sign(pair[1], pair[2]) or "?"
end

--- A stretch of seconds: "0.18 s", "42 s", "3m 05s", "2h 05m", "3d 04h".
function words.span(seconds)
  if not seconds then return "" end
  if seconds < 0 then return "-" .. words.span(-seconds) end
  if seconds < 0.0995 then return ("%d ms"):format(math.floor(seconds * 1000 + 0.5)) end
  if seconds < 9.95 then return ("%.1f s"):format(seconds) end
  local whole = math.floor(seconds + 0.5)
  if whole < 60 then return ("%d s"):format(whole) end
  if whole < 3600 then return ("%dm %02ds"):format(whole // 60, whole % 60) end
  if whole < 86400 then return ("%dh %02dm"):format(whole // 3600, whole % 3600 // 60) end
  return ("%dd %02dh"):format(whole // 86400, whole % 86400 // 3600)
end

--- How long ago, or in how long: "3m 05s ago", "in 42 s".
function words.away(time, now)
  if not time then return "" end
  if math.abs(time - now) < 0.0005 then return "now" end
  return time > now and "in " .. words.span(time - now) or words.span(now - time) .. " ago"
end

--- An instant in the local zone: "18:25:09" of the day of `now`, else "2026-11-28 18:25:09".
function words.instant(time, now)
  if not time then return "" end
  local whole = math.floor(time)
  local date, day = os.date("%Y-%m-%d", whole), os.date("%Y-%m-%d", math.floor(now))
  return (date == day and "" or date .. " ") .. os.date("%H:%M:%S", whole)
end

--- An instant in UTC, as RFC 3339 has it.
function words.utc(time)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(time))
end

--- A figure with its thousands grouped.
function words.count(n)
  local digits = ("%d"):format(n)
  local grouped = digits:reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (grouped:gsub("^,", ""):gsub("^%-,", "-"))
end

--- What went wrong, without the words that stand before each: a line has room for the rest only.
function words.cause(reason)
  return (reason:gsub("^Aborting after %d+ attempts?%. ", ""):gsub("^Error: ", ""))
end

local UNITS = { "KiB", "MiB", "GiB", "TiB" }

--- Bytes: "512 B", "1.5 MiB".
function words.bytes(n)
  if not n then return "" end
  if n < 1024 then return ("%d B"):format(n) end
  local unit
  for _, name in ipairs(UNITS) do
    n, unit = n / 1024, name
    if n < 1024 then break end
  end
  return ("%.1f %s"):format(n, unit)
end

--- "1 task", "3 tasks".
function words.of(n, noun)
  return ("%s %s%s"):format(words.count(n), noun, n == 1 and "" or "s")
end

return words
