-- cleaner.lua DIRECTORY [--db FILE] [--hours N] [--zone NAME] [--year] - deletes temporary files that are old.
--
--   cleaner.lua /var/tmp/mine          every night at 03:30, files of the directory itself that nobody has changed for
--                                      24 hours; works until it is interrupted
--   cleaner.lua DIRECTORY --year       the year 2027 in virtual time; files of that time really go
--
-- How old a file is is counted from the nominal time of the run, not from when it happens to run: a night that is made
-- up for in the morning, or tried again, takes what it would have taken. When nobody was there for several nights, the
-- last of them is made up for: one run takes everything. While one run is at it, no other begins.
local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"

local options, directory = { db = ":memory:", hours = "24", zone = "Europe/Berlin" }, nil
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%a+)$")
    if name == "year" then
      options.year = true
    elseif options[name] and arg[i + 1] then
      options[name], i = arg[i + 1], i + 1
    elseif not name and not directory then
      directory = arg[i]
    else
      directory = nil
      break
    end
    i = i + 1
  end
end
local hours = tonumber(options.hours)
if not directory or not hours or hours <= 0 then
  io.stderr:write("usage: cleaner.lua DIRECTORY [--db FILE] [--hours N] [--zone NAME] [--year]\n")
  os.exit(2)
end

local NEW_YEAR <const> = 1798761600 -- 2027-01-01T00:00:00Z
local changes = { ["2027-03-28"] = true, ["2027-10-31"] = true } -- days on which the clocks are changed in Europe

local engine <close> = pipeline.open(options.db, options.year and {
  virtual_time = true, virtual_start = NEW_YEAR,
} or {})

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- Deletes the files of a directory that were last changed before that time. To do it again is to do nothing.
local function delete_older(path, time)
  local command = ("find %s -maxdepth 1 -type f ! -newermt @%d -delete"):format(quote(path), math.floor(time))
  if not os.execute(command) then error("cannot clean " .. path, 0) end
end

local Clean = pipeline.define("example.Clean", {
  max_attempts = 3,
  run = function(self, path, seconds)
    local told = self.schedule
    local time = told.nominal_time - seconds
    delete_older(path, time)
    if not options.year or changes[told.local_time:sub(1, 10)] then
      print(("%s: none left from before %s"):format(told.local_time, os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(time))))
      io.stdout:flush()
    end
  end,
  finalized = function(self)
    if self.was_aborted then print(("%s: not cleaned"):format(self.schedule.local_time)) end
  end,
})

schedules.declare("cleaner", {
  temporary = { cron = "30 3 * * *", time_zone = options.zone, start = Clean(directory, hours * 3600),
    catch_up = { policy = "last" } },
})

local cleaner = schedules.get "temporary"
if options.year then
  engine:advance("2028-01-01T00:00:00[UTC]")
  engine:drain()
  local status = cleaner:status()
  print(("cleaned %d times, missed %d, skipped %d"):format(status.fired, status.missed, status.skipped))
else
  print("comes next at " .. cleaner:next(1)[1].local_time)
  io.stdout:flush()
  engine:run()
end
