--- store.lua: the store that a command is about, and the things in it that it names.
--
-- Every command but those that execute opens it with no_worker: it claims nothing, deletes nothing, and goes by the
-- same locks and limits as any other process on the file.

local errors = require "pipeline.support.errors"
local failure = require "pipeline.command.failure"
local pipeline = require "pipeline"

local store = {}

local ID_LENGTH = 32

-- The name of the store: of --db or PIPELINE_DB.
local function name_of(given)
  local name = given.db or os.getenv("PIPELINE_DB")
  if name and name ~= "" then return name end
  failure.usage("which store? Give --db FILE, or set PIPELINE_DB")
end

local function refuse_missing(name)
  local file, why = io.open(name, "rb")
  if file then return file:close() end
  if not why:find("No such file", 1, true) then failure.store("%s; is the path right, and may you read it?", why) end
  failure.store("there is no store %s; 'pipeline --db %s worker FILE.lua' makes one, and so does 'start'", name, name)
end

--- Opens the store.
-- @tparam table given the command line: db.
-- @tparam[opt] table how options of pipeline.open; works = true: it is a worker; makes = true: it may be made.
-- @return the engine. Ends the command with exit code 4 where that cannot be.
function store.open(given, how)
  local name, options = name_of(given), {}
  for key, value in pairs(how or {}) do options[key] = value end
  local works, makes = options.works, options.makes
  options.works, options.makes = nil, nil
  options.no_worker = not works or nil
  if name ~= ":memory:" and not name:find("^%a[%w+.-]*://") and not (works or makes) then refuse_missing(name) end
  local ok, engine = pcall(pipeline.open, name, options)
  if ok then return engine end
  if errors.is(engine, errors.StoreError) then
    local why = engine.message:gsub("^" .. name:gsub("%p", "%%%0") .. ": ", "")
    failure.store("the store %s cannot be opened: %s", name, why)
  end
  error(engine, 0)
end

--- The id of the pipeline that an address means: an id, the beginning of one, or key:KEY. Exit code 3 where there is
-- none, 2 where it could be several.
function store.find(engine, address)
  local ok, id = pcall(engine.find, engine, address)
  if not ok then
    if not errors.is(id) then error(id, 0) end
    failure.usage("%s", id.message)
  end
  if id then return id end
  if address:find("^key:") then
    failure.not_found("there is no pipeline with the key '%s'; see 'pipeline list --text %s'", address:sub(5),
      address:sub(5))
  end
  if #address < 6 and address:find("^%x+$") then
    failure.usage("'%s' is too short: an id, at least 6 characters of its beginning, or key:KEY", address)
  end
  local wanted = "; write an id, at least 6 characters of its beginning, or key:KEY"
  if #address == ID_LENGTH or address:find("^%x+$") then wanted = "; see 'pipeline list'" end
  failure.not_found("there is no pipeline '%s'%s", address, wanted)
end

--- The name of a queue that is there; exit code 3 where there is none, with the nearest known one.
function store.queue(engine, name)
  local names = {}
  for _, queue in ipairs(engine:queues()) do
    if queue.name == name then return name end
    names[#names + 1] = queue.name
  end
  failure.unknown("queue", name, names, "see 'pipeline queues'")
end

return store
