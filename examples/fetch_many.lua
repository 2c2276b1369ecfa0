-- fetch_many.lua [OPTIONS] FILE - fetches the URLs that FILE lists, one to a line, many at once. A # at the beginning
-- of a line, or after a space, begins a note.
--
--   --at-once N       requests under way at once (8)
--   --tries N         attempts for each URL (3); an answer of 500 and above, or none, is tried again
--   --seconds S       time limit of an attempt (10)
--   --back-off S      pause after the first failed attempt, doubled after each further one (0.5)
--   --quiet           no progress while it runs
--
-- While it runs, a line on standard error says how far it is; at the end there is a table on standard output. The exit
-- code is 0 when every URL has given an answer below 400.
local tasklets = require "pipeline.tasklets"
local eventloop = require "pipeline.eventloop"

local await, sleep = tasklets.await, tasklets.sleep

local settings = { ["at-once"] = 8, tries = 3, seconds = 10, ["back-off"] = 0.5 }
local whole = { ["at-once"] = true, tries = true }
local quiet, path = false, nil

local USAGE = "usage: fetch_many.lua [--at-once N] [--tries N] [--seconds S] [--back-off S] [--quiet] FILE"

local function usage(problem)
  io.stderr:write(problem, "\n", USAGE, "\n")
  os.exit(2)
end

do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(.+)$")
    if name == "quiet" then
      quiet = true
    elseif name and settings[name] then
      i = i + 1
      settings[name] = tonumber(arg[i]) or usage(("--%s needs a number"):format(name))
      if settings[name] <= 0 then usage(("--%s needs a number above 0"):format(name)) end
      if whole[name] then
        settings[name] = math.tointeger(settings[name]) or usage(("--%s needs a whole number"):format(name))
      end
    elseif arg[i]:find("^%-") or path then
      usage("what is " .. arg[i] .. "?")
    else
      path = arg[i]
    end
    i = i + 1
  end
  if not path then usage("which file?") end
end

-- ---- one URL -------------------------------------------------------------------------------------------------------

local counts = { waiting = 0, running = 0, done = 0, failed = 0, tries = 0, bytes = 0 }

-- Returns whether there is nothing to be gained by another attempt.
local function attempt(job)
  job.tries = job.tries + 1
  counts.tries = counts.tries + 1
  local ok, response = pcall(await, tasklets.fetch { url = job.url, deadline = settings.seconds, follow = true })
  if not ok then
    job.outcome = response.class == "TimeoutError" and "too late" or response.code or response.class
    if response.code == "EINVAL" then job.outcome = "bad URL" end
    return job.outcome == "bad URL"
  end
  job.outcome, job.bytes = response.status, #response.body
  return response.status < 500
end

local function work(job)
  local began, pause = eventloop.now(), settings["back-off"]
  while not attempt(job) and job.tries < settings.tries do
    await(sleep(pause))
    pause = pause * 2
  end
  job.seconds = eventloop.now() - began
  job.ok = type(job.outcome) == "number" and job.outcome < 400
end

-- ---- all of them ---------------------------------------------------------------------------------------------------

local function read_jobs()
  local file, problem = io.open(path)
  local text
  if file then text, problem = file:read("a") end
  if not text then usage(problem:find(path, 1, true) and problem or ("%s: %s"):format(path, problem)) end
  file:close()
  local jobs = {}
  for line in text:gmatch("[^\r\n]+") do
    local url = (" " .. line):gsub("%s#.*", ""):match("^%s*(.-)%s*$")
    if url ~= "" then jobs[#jobs + 1] = { url = url, tries = 0, bytes = 0, outcome = "", seconds = 0 } end
  end
  return jobs
end

local function progress()
  while true do
    io.stderr:write(("%d done, %d failed, %d under way, %d to come; %d attempts, %d bytes\n"):format(counts.done,
      counts.failed, counts.running, counts.waiting, counts.tries, counts.bytes))
    await(sleep(1))
  end
end

local function fetch_all(jobs)
  local places = tasklets.Semaphore(settings["at-once"])
  counts.waiting = #jobs
  local reporter = not quiet and tasklets.tasklet(progress)()
  tasklets.group(function(group)
    for _, job in ipairs(jobs) do
      local place = places:acquire() -- waits until one of those before has ended
      group:spawn(function()
        local _ <close> = place
        counts.waiting, counts.running = counts.waiting - 1, counts.running + 1
        work(job)
        counts.running = counts.running - 1
        local which = job.ok and "done" or "failed"
        counts[which] = counts[which] + 1
        counts.bytes = counts.bytes + job.bytes
      end)
    end
  end)
  if reporter then reporter:cancel() end
end

local function show(jobs)
  print(("%-8s %5s %10s %9s  %s"):format("answer", "tries", "bytes", "seconds", "URL"))
  for _, job in ipairs(jobs) do
    print(("%-8s %5d %10d %9.3f  %s"):format(job.outcome, job.tries, job.bytes, job.seconds, job.url))
  end
  print(("%d done, %d failed, %d attempts, %d bytes"):format(counts.done, counts.failed, counts.tries, counts.bytes))
end

local jobs = read_jobs()
tasklets.synctasklet(fetch_all)(jobs)
show(jobs)
os.exit(counts.failed == 0, true)
