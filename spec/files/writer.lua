-- writer.lua FILE ACKS VISIT - a process of locks_spec: starts ten pipelines, each acknowledged in the file ACKS, does
-- the visit in between, and kills itself so that nothing is put in order at its end.

local path, acks, visit = arg[1], assert(io.open(arg[2], "w")), arg[3]

-- Something else in the program has the file open by SQLite, before or after the library is loaded.
local function open_by_sql()
  local connection = assert(require("luasql.sqlite3").sqlite3():connect(path))
  local cursor = assert(connection:execute("SELECT count(*) FROM sqlite_schema"))
  cursor:fetch()
  cursor:close()
  KEPT = connection -- luacheck: ignore
end

if visit == "the file opened first" then open_by_sql() end
local pipeline = require "pipeline"
if visit == "the library loaded first" then open_by_sql() end
local Nothing = pipeline.define("files.Nothing", { run = function() end })
local engine = pipeline.open(path, { no_worker = true })

local function start(i)
  Nothing():start()
  acks:write(i, "\n")
  acks:flush()
end

local function read_all(name)
  local file = io.open(name, "rb")
  if not file then return end
  file:read("a")
  file:close()
end

local visits = {}

function visits.none() end

-- The program reads, or only opens and closes, its own files.
visits["io.open"] = function()
  for _, suffix in ipairs { "", "-wal", "-shm", "-workers" } do io.open(path .. suffix):close() end
end

function visits.read()
  for _, suffix in ipairs { "", "-wal", "-shm" } do read_all(path .. suffix) end
end

function visits.copy()
  os.execute(("cp '%s' '%s-wal' '%s-shm' /tmp/ 2>/dev/null; cd /tmp && rm -f jobs.db jobs.db-wal jobs.db-shm"):format(
    path, path, path))
end

visits["another engine"] = function()
  for _ = 1, 2 do pipeline.open(path, { no_worker = true }):close() end
  visits.read()
end

visits["another library"] = function()
  local environment = require("luasql.sqlite3").sqlite3()
  for _ = 1, 2 do
    local connection = assert(environment:connect(path))
    local cursor = assert(connection:execute("SELECT count(*) FROM pl_stage"))
    cursor:fetch()
    cursor:close()
    connection:close()
  end
  environment:close()
  visits.read()
end

visits["another library stays"] = function()
  local environment = require("luasql.sqlite3").sqlite3()
  KEPT = assert(environment:connect(path)) -- luacheck: ignore
  visits.read()
end

visits["the file opened first"], visits["the library loaded first"] = visits.read, visits.read

visits["log deleted"] = function() os.remove(path .. "-wal") end

visits.fork = function() -- children come and go, with what they inherit
  for _ = 1, 3 do
    local pipe = assert(io.popen("cat '" .. path .. "' | wc -c"))
    pipe:read("a")
    pipe:close()
  end
end

for i = 1, 10 do
  start(i)
  if i == 1 or i == 6 then
    visits[visit]()
    if visit ~= "none" then -- the one that takes itself for the last
      for _, words in ipairs { ".tables", "'SELECT count(*) FROM pl_stage'" } do
        os.execute(("sqlite3 '%s' %s >/dev/null"):format(path, words))
      end
    end
  end
end
if arg[4] == "close" then
  engine:close()
  os.exit(true, true)
end
os.execute("kill -9 $PPID")
