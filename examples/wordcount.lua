-- wordcount.lua [DIR] --db FILE [--approve] [--crash] [--seed N] - counts the words below a directory, durably.
--
-- A pipeline walks DIR and spawns one child per file; a sum waits for all of them; then the work waits for somebody
-- to approve it by visiting a URL, and is done. The total equals what `LC_ALL=C wc -w` says of the same files.
--
--   DIR         default: the licence texts every Debian system has, else the sources of this project
--   --db FILE   where the work is kept; a run that was interrupted goes on when the same FILE is given again
--   --approve   the example visits the URL itself
--   --crash     the example kills itself (SIGKILL) at random moments and starts again, until the work is done
--   --seed N    for --crash: makes the moments of death the same again
--
-- Run it from a built tree: eval "$(make -s env)"; lua5.4 examples/wordcount.lua --db /tmp/words.db --approve
local pipeline = require "pipeline"

io.stdout:setvbuf("line")

local here = arg[0]:match("^(.*)/[^/]*$") or "."

-- ---- the command line ------------------------------------------------------------------------------------------

local usage = "usage: wordcount.lua [DIR] --db FILE [--approve] [--crash] [--seed N]\n"

-- "--worker" and "--die-after" are for --crash: what the supervisor tells the process it watches.
local takes_value = { db = true, seed = true, ["die-after"] = true }
local is_flag = { approve = true, crash = true, worker = true }

local function parse(args)
  local options, i = {}, 1
  while args[i] do
    local name = args[i]:match("^%-%-(.+)")
    if name and takes_value[name] and args[i + 1] then
      options[name] = args[i + 1]
      i = i + 1
    elseif name and is_flag[name] then
      options[name] = true
    elseif not name and not options.dir then
      options.dir = args[i]
    else
      return nil
    end
    i = i + 1
  end
  return options.db and options
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- ---- counting ----------------------------------------------------------------------------------------------------

-- All regular files below `dir`, sorted; symbolic links are left out, so that no text is counted under two names.
local function list_files(dir)
  if dir:find("^%-") then dir = "./" .. dir end
  local pipe <close> = assert(io.popen("find -H " .. quote(dir) .. " -type f -print0"))
  local files = {}
  for path in pipe:read("a"):gmatch("[^\0]+") do files[#files + 1] = path end
  table.sort(files)
  return files
end

-- Words as `wc -w` counts them in the C locale: stretches without white space that have a printable character.
local function count_words(path)
  local file <close> = assert(io.open(path, "rb"))
  local words = 0
  for line in file:lines() do
    for stretch in line:gmatch("%S+") do
      if stretch:find("%g") then words = words + 1 end
    end
  end
  return words
end

-- ---- the pipelines -----------------------------------------------------------------------------------------------

local announce -- function(stage, total): prints where to approve it, set below
local slow = false -- --crash needs time to die in

local Count = pipeline.define("wordcount.Count", {
  max_attempts = 3,
  backoff_seconds = 1,
  run = function(_, path, number, of)
    if slow then pipeline.default():sleep(0.03) end
    local words = count_words(path)
    print(("[%d/%d] %s: %d words"):format(number, of, path, words))
    return words
  end,
})

-- Gets { path =, words = } for every file, with each child's count in its place. It runs when the last is there.
local Sum = pipeline.define("wordcount.Sum", {
  run = function(_, counts)
    local words, seen = 0, {}
    for _, count in ipairs(counts) do
      if seen[count.path] then error(pipeline.Abort("counted twice: " .. count.path)) end
      seen[count.path] = true
      words = words + count.words
    end
    return { words = words, files = #counts }
  end,
})

local Approve = pipeline.define("wordcount.Approve", {
  async = true,
  public_callbacks = true,
  run = function(self, total) announce(self, total) end,
  callback = function(self, params)
    if params.choice ~= "approve" then return 400, "text/plain", "Nothing was chosen.\n" end
    self:complete(true)
    return 200, "text/html", "<h1>Thank you</h1>\n"
  end,
})

local WordCount = pipeline.define("wordcount.WordCount", {
  run = function(self, dir)
    local files, counts = list_files(dir), {}
    for i, path in ipairs(files) do
      counts[i] = { path = path, words = self:spawn(Count(path, i, #files)) }
    end
    local total = self:spawn(Sum(counts))
    self:spawn(Approve(total)) -- runs when the total is known
    return total
  end,
})

-- ---- one process -------------------------------------------------------------------------------------------------

-- A process that is killed while approval is awaited has forgotten its port; its successor gives out a new URL.
local function announce_again(root_id)
  for id, record in pairs(pipeline.get_status_tree(root_id).pipelines) do
    if record.classPath == "wordcount.Approve" and record.status == "run" then
      local stage = pipeline.from_id(id)
      announce(stage, stage.args[1])
    end
  end
end

-- Returns the pipeline that counts `dir` in this file: a new one, or the one an earlier process has begun.
local function start_or_resume(dir)
  local key = "wordcount-" .. dir:gsub("[^%w]", "_")
  local stage = WordCount(dir)
  local ok, err = pcall(stage.start, stage, { idempotence_key = key })
  if ok then return stage end
  if not pipeline.is(err, pipeline.PipelineExistsError) then error(err, 0) end
  print("going on with what the file has")
  announce_again(key)
  return pipeline.from_id(key)
end

local function work(options)
  local engine <close> = pipeline.open(options.db, { concurrency = options.worker and 2 or 8 })
  local server = engine:serve { port = 0 }

  function announce(stage, total)
    local url = server.url .. stage:get_callback_url { choice = "approve" }
    print(("counted %d words in %d files; to approve, visit\n  %s"):format(total.words, total.files, url))
    if options.approve then
      os.execute(("lua5.4 %s %s >/dev/null 2>&1 </dev/null &"):format(quote(here .. "/visit.lua"), quote(url)))
    end
  end

  local outputs = engine:wait(start_or_resume(options.dir))
  local total = outputs.default.value
  print(("total: %d words in %d files"):format(total.words, total.files))
  engine:sleep(0.05) -- the answer to whoever visited the URL is still on its way
end

-- ---- many deaths -------------------------------------------------------------------------------------------------

-- Asks a shell in the background to kill this process (its parent) after a while: in the middle of whatever it does.
local function die_after(seconds)
  local kill = "sleep %s; grep -qs wordcount /proc/$PPID/cmdline && kill -9 $PPID"
  os.execute("(" .. kill:format(seconds) .. ") >/dev/null 2>&1 </dev/null &")
end

-- Starts this program on the same file again and again, until it ends by itself.
local function supervise(options)
  local seed = math.tointeger(options.seed) or os.time()
  math.randomseed(seed)
  print(("crash mode: seed %d"):format(seed))
  local deaths = 0
  while true do
    -- A little longer each time, so that it ends even on a machine that is slow to start a process.
    local moment = 0.02 + math.random() * (0.12 + 0.02 * deaths)
    local command = ("lua5.4 %s %s --db %s --worker --die-after %.3f%s"):format(
      quote(arg[0]), quote(options.dir), quote(options.db), moment, options.approve and " --approve" or "")
    local ok, _, code = os.execute(command)
    if ok then break end
    if code ~= 9 and code ~= 137 then error("the worker failed with exit code " .. code, 0) end
    deaths = deaths + 1
    print(("-- killed after %d ms, starting again"):format(moment * 1000 // 1))
  end
  print(("done after %d kills (seed %d)"):format(deaths, seed))
end

-- ---- main --------------------------------------------------------------------------------------------------------

local function default_dir()
  local licences = "/usr/share/common-licenses"
  if #list_files(licences) > 0 then return licences end
  return here .. "/../lua"
end

local options = parse(arg)
if not options then
  io.stderr:write(usage)
  os.exit(2)
end
options.dir = options.dir or default_dir()
if options.crash then
  supervise(options)
else
  if options["die-after"] then die_after(options["die-after"]) end
  slow = options.worker
  work(options)
end
