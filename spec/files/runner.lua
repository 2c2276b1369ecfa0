-- runner.lua FILE LOG DIRECTORY - a process of locks_spec: works on the file until it is killed.

local pipeline = require "pipeline"
local processes = require "spec.crash.processes"

local log = assert(io.open(arg[2], "a"))

local function note(...)
  log:write(table.concat({ ... }, " "), "\n")
  log:flush()
end

local pid = processes.own_pid()

local engine = pipeline.open(arg[1], { log = function(level, text) note("log", level, (text:gsub("\n", " "))) end })

pipeline.define("files.Slow", {
  run = function()
    note("begin", pid)
    while not io.open(arg[3] .. "/go") do engine._core:sleep(0.02) end
    note("end", pid)
  end,
})
pipeline.define("files.Quick", { run = function() note("quick", pid) end })

note("ready", pid)
engine:run()
