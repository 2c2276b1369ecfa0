-- visitor.lua FILE SEED - opens and closes the files of a store all along, as a program, as another library and as the
-- command of SQLite, until it is killed. None of it may cost anybody else anything.

local path, seed = arg[1], tonumber(arg[2])
local processes = require "spec.crash.processes"

math.randomseed(seed)

local ok, library = pcall(require, "luasql.sqlite3")

local function exists()
  local file <close> = io.open(path, "rb")
  return file and file:seek("end") > 0
end

local visits = {}

function visits.close_all()
  for _, suffix in ipairs { "", "-wal", "-shm", "-workers" } do
    local file = io.open(path .. suffix, "rb")
    if file then file:close() end
  end
end

function visits.command()
  os.execute(("sqlite3 'file:%s?mode=rw' '.timeout 1000' .tables >/dev/null 2>&1"):format(path))
end

function visits.copy()
  os.execute(("cat '%s' '%s-wal' '%s-shm' >/dev/null 2>&1"):format(path, path, path))
end

function visits.library()
  if not ok then return end
  local environment = library.sqlite3()
  local connection = environment:connect(path)
  if connection then
    local cursor = connection:execute("SELECT count(*) FROM sqlite_schema")
    if cursor then
      cursor:fetch()
      cursor:close()
    end
    connection:close()
  end
  environment:close()
end

local names = { "close_all", "command", "copy", "library" }
while true do
  if exists() then visits[names[math.random(#names)]]() end
  processes.sleep(math.random() * 0.02)
end
