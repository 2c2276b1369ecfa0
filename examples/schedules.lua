-- schedules.lua [--db FILE] [--port N] [--year] [--broken DAY] - reports where their readers live, and a page on them.
--
--   schedules.lua               declares the schedules, makes up for the last week of Tokyo, and works until it is
--                               interrupted; http://127.0.0.1:8080/schedules tells how they are getting on
--   schedules.lua --year        the year 2027 in virtual time, with both changes of the clock: what was due, and when
--   --broken 2027-05-06         the reports for that day cannot be made: somebody is told of each
--
-- A schedule lives in the file: another process that works on it fires it as well, and each of its times once. What a
-- later version of this program does not declare any more is removed.
local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"

local options = { db = ":memory:", port = "8080" }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%a+)$")
    if name == "year" then
      options.year = true
    elseif (name == "db" or name == "port" or name == "broken") and arg[i + 1] then
      options[name], i = arg[i + 1], i + 1
    else
      io.stderr:write("usage: schedules.lua [--db FILE] [--port N] [--year] [--broken DAY]\n")
      os.exit(2)
    end
    i = i + 1
  end
end

local DAY <const>, VERSION <const> = 86400, 12
local NEW_YEAR <const> = 1798761600 -- 2027-01-01T00:00:00Z

local engine <close> = pipeline.open(options.db, options.year and {
  virtual_time = true, virtual_start = NEW_YEAR,
} or {})

local changes = { ["2027-03-28"] = true, ["2027-10-31"] = true } -- days on which the clocks of Berlin are changed
local reports, made = {}, 0

-- Stands for what fetches the figures and lays them out. To make a report again is to make the same.
local function render(region, day)
  if day == options.broken then error("there are no figures for " .. day, 0) end
  local text = ("report of %s for %s"):format(region, day)
  if not reports[text] then made = made + 1 end
  reports[text] = true
  return text
end

-- Stands for what wakes somebody.
local function alert(text, told)
  print(("%s, due at %s"):format(text, told and told.local_time or "no time"))
end

local BuildReport = pipeline.define("example.BuildReport", {
  run = function(_, what) return render(what.region, what.day) end,
})

-- The day before, where the readers live, however late it is made.
local function day_before(told)
  local year, month, day = (told and told.local_time or os.date("!%Y-%m-%d")):match("^(%d+)-(%d+)-(%d+)")
  return os.date("%Y-%m-%d", os.time { year = year, month = month, day = day - 1, hour = 12 })
end

local Report = pipeline.define("example.Report", {
  max_attempts = 4, timeout = 3600,
  run = function(self, region)
    local told = self.schedule
    if options.year and told and changes[told.local_time:sub(1, 10)] and told.name ~= "pulse" then
      print(("%s at %s"):format(told.name, told.local_time))
    end
    return self:spawn(BuildReport { region = region, day = day_before(told) })
  end,
  finalized = function(self)
    if self.was_aborted then alert("no report", self.schedule) end
  end,
})

schedules.declare("reports", {
  -- 28 March 2027: 03:00, once, for there is no 02:30; 31 October: the first of the two 02:30
  berlin = { cron = "30 2 * * *", time_zone = "Europe/Berlin", start = Report "eu", overlap = "buffer_one", jitter = 60,
    catch_up = { policy = "last", window = 12 * 3600 }, pause_on_failure = 3 },
  tokyo = { cron = "0 6 * * MON-FRI", time_zone = "Asia/Tokyo", start = Report "jp", exclude = { "2027-01-01" } },
  month = { cron = "0 7 LW * *", time_zone = "America/New_York", start = Report "us" }, -- the last working day
  pulse = { every = "5m", start = Report "probe", overlap = "skip", catch_up = { policy = "none" } },
}, { version = VERSION })

-- One line for each schedule.
local function page()
  local lines = {}
  for i, schedule in ipairs(schedules.list()) do
    local status = schedule:status()
    lines[i] = ("%s next %s fired %d missed %d skipped %d"):format(schedule.name, status.next_local,
      status.fired + status.caught_up, status.missed, status.skipped)
  end
  return table.concat(lines, "\n") .. "\n"
end

-- The year goes by. The pulse rests but for the two days of change: each has as many of them as any other day, for
-- what comes every five minutes knows no clock on a wall.
local function play()
  local pulse = schedules.get "pulse"
  pulse:pause "not worth a hundred thousand runs"
  for _, day in ipairs { "2027-03-28", "2027-10-31" } do
    engine:advance(day .. "T00:00:00[UTC]")
    pulse:resume()
    engine:advance(DAY)
    pulse:pause()
  end
  engine:advance("2028-01-01T00:00:00[UTC]")
  engine:drain()
  print(("%d reports"):format(made))
  io.write(page())
end

-- The database was down last week: make up for it, one after the other, without touching tomorrow's run.
local function make_up()
  local now = engine:now()
  local done = schedules.get("tokyo"):backfill { from = now - 7 * DAY, to = now }
  print(("tokyo: started %d, buffered %d, fired before %d"):format(done.started, done.buffered, done.already_fired))
end

if options.year then
  play()
else
  for _, fire in ipairs(schedules.get("berlin"):next(3)) do
    print(("berlin is due at %s, fires at %s"):format(fire.local_time, os.date("!%Y-%m-%dT%H:%M:%SZ",
      math.floor(fire.fire_time))))
  end
  make_up()
  engine:route("GET", "/schedules", function() return 200, "text/plain", page() end)
  local server = engine:serve { port = assert(math.tointeger(tonumber(options.port)), "--port is no number") }
  print("see " .. server.url .. "/schedules")
  io.stdout:flush()
  engine:run()
end
