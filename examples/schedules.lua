-- schedules.lua [--db FILE] [--year] - reports where their readers live, a cleaner of temporary files, and a pulse.
--
--   schedules.lua          declares the schedules, shows when they come next, and fires each of them once by hand
--   schedules.lua --year   the year 2027 in virtual time, with both changes of the clock: what fired, and when
--
-- A schedule lives in the file: another process that works on it fires it as well, and each of its times once. What a
-- later version of this program does not declare any more is removed.
local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"

local path, year = ":memory:", false
do
  local i = 1
  while arg[i] do
    if arg[i] == "--db" and arg[i + 1] then
      path, i = arg[i + 1], i + 1
    elseif arg[i] == "--year" then
      year = true
    else
      io.stderr:write("usage: schedules.lua [--db FILE] [--year]\n")
      os.exit(2)
    end
    i = i + 1
  end
end

local START = 1798761600 -- 2027-01-01T00:00:00Z
local engine <close> = pipeline.open(path, year and { virtual_time = true, virtual_start = START } or {})

local fired, notable = {}, {}

-- Notes what fired; the days on which the clocks are changed are worth a line.
local function note(told)
  local name, when = told.name, told.local_time
  fired[name] = (fired[name] or 0) + 1
  local day = when:sub(1, 10)
  if day == "2027-03-28" or day == "2027-10-31" then notable[#notable + 1] = ("%s at %s"):format(name, when) end
end

-- The report is of the day before its nominal time, however late it is made.
local Report = pipeline.define("example.Report", {
  max_attempts = 4, timeout = 3600,
  run = function(self, region)
    note(self.schedule)
    local day = os.date("!%Y-%m-%d", math.floor(self.schedule.nominal_time) - 86400)
    return ("report of %s for %s"):format(day, region)
  end,
})

local Clean = pipeline.define("example.Clean", {
  run = function(self, age) -- a real one would look through a directory, and delete what is older than `age`
    note(self.schedule)
    return age
  end,
})

schedules.declare("example", {
  berlin = { cron = "30 2 * * *", time_zone = "Europe/Berlin", start = Report "eu", overlap = "buffer_one",
    catch_up = { policy = "last", window = "12h" }, pause_on_failure = 3 },
  tokyo = { cron = "0 6 * * MON-FRI", time_zone = "Asia/Tokyo", start = Report "jp", exclude = { "2027-01-01" } },
  month = { cron = "0 7 LW * *", time_zone = "America/New_York", start = Report "us" }, -- the last working day
  clean = { every = "12h", start = Clean(86400), catch_up = { policy = "none" } },
}, { version = 1 })

if year then
  engine:advance("2028-01-01T00:00:00[UTC]")
  for _, line in ipairs(notable) do print(line) end
  for _, schedule in ipairs(schedules.list()) do
    local status = schedule:status()
    print(("%s fired %d times, missed %d, skipped %d; next %s"):format(schedule.name, fired[schedule.name],
      status.missed, status.skipped, status.next_local))
  end
else
  for _, schedule in ipairs(schedules.list()) do
    for _, fire in ipairs(schedule:next(1)) do print(("%s comes next at %s"):format(schedule.name, fire.local_time)) end
    local state, id = schedule:trigger()
    print(("%s by hand: %s, %s"):format(schedule.name, state,
      engine:wait(pipeline.from_id(id), { timeout = 30 }).default.value))
  end
end
