--- store.lua: the store that a command is about, and the things in it that it names.
--
-- Every command but those that execute opens it with no_worker: it claims nothing, deletes nothing, and goes by the
-- same locks and limits as any other process on the file.

local errors = require "pipeline.support.errors"
local failure = require "pipeline.command.failure"
local letters = require "pipeline.command.output.letters"
local pipeline = require "pipeline"
local terminal = require "pipeline.command.output.terminal"

local store = {}

local ID_LENGTH = 32
local WARNING = 30

-- The name of the store: of --db or PIPELINE_DB.
local function name_of(given)
  local name = given.db or os.getenv("PIPELINE_DB")
  if name and name ~= "" then return name end
  failure.usage("which store? Give --db FILE, or set PIPELINE_DB")
end

-- `makes`: it may be made.
local function refuse_missing(name, makes)
  local file, why = io.open(name, "rb")
  if file then return file:close() end
  if not why:find("No such file", 1, true) then failure.store("%s; is the path right, and may you read it?", why) end
  if makes then return end
  failure.store("there is no store %s; 'pipeline --db %s worker FILE.lua' makes one, and so does 'start'", name, name)
end

-- What the engine warns of, as a line of the command.
local function logger(given)
  return function(level, text)
    if level < WARNING or given.quiet then return end
    io.stderr:write("pipeline: ", letters.plain(text, terminal.has_unicode()), "\n")
  end
end

local REMEDIES = {
  { "file is not a database", "it is another kind of file; is the path right?" },
  { "no store: it has none", "is the path right? 'worker' and 'start' make one in it" },
  { "Is a directory", "name a file in it" },
  { "No such file or directory", "make its directory first" },
  { "Permission denied", "may you read and write it, and its directory?" },
  { "readonly", "may you write it, and its directory?" },
  { "Read-only", "may you write it, and its directory?" },
}

-- `why` with what to do about it, where that can be said.
local function with_remedy(why)
  for _, pair in ipairs(REMEDIES) do
    if why:find(pair[1], 1, true) then return why .. "; " .. pair[2] end
  end
  return why
end

local function refuse_scheme(name)
  local scheme = name:match("^(%a[%w+.-]*)://")
  if scheme and scheme ~= "file" then failure.store("there are no stores of the kind %s://; name a file", scheme) end
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
  options.log = options.log or logger(given)
  refuse_scheme(name)
  if name ~= ":memory:" and not name:find("^file:") then
    refuse_missing(name, works or makes)
    options.must_exist = not (works or makes) or nil
  end
  local ok, engine = pcall(pipeline.open, name, options)
  if ok then return engine end
  if errors.is(engine, errors.StoreError) then
    local why = engine.message:gsub("^" .. name:gsub("%p", "%%%0") .. ": ", "")
    failure.store("the store %s cannot be opened: %s", name, with_remedy(why))
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

--- The page of a list; exit code 2 where the cursor of the command line is none.
function store.page(given, read, ...)
  local ok, page = pcall(read, ...)
  if ok then return page end
  if errors.is(page, errors.PipelineStatusError) and given.cursor and page.message:find("cursor", 1, true) then
    failure.usage("'%s' is no cursor; it is what stands behind 'more: --cursor' below a list", given.cursor)
  end
  error(page, 0)
end

--- Says where a queue that is to be used is not there yet, but one with a similar name is.
function store.hint_queue(call, engine, name)
  local names = {}
  for _, queue in ipairs(engine:queues()) do
    if queue.name == name then return end
    names[#names + 1] = queue.name
  end
  local near = failure.nearest(name, names)
  if near then call.out:note("queue '%s' is a new one; did you mean '%s'?", name, near) end
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
