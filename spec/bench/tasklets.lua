--- tasklets.lua: tasklets beside the same programs on cqueues and copas, in the same run.
--
-- Each program is written once for each library, with what that library has for it, and does the same work n times.
-- It runs in a process of its own. What is counted is the processor time of that process, for the machine may have
-- other things to do; for fetches, where the server works beside it, and for sleeping it is real time.
--
-- Where a library lacks what a program needs there is no figure. The copas of Debian is 1.1, which has threads and
-- sockets alone; a newer one (pause, queue, future) is measured if COPAS_PATH, in the form of LUA_PATH, leads to it.
-- lua-http is the HTTP client for cqueues.
--
--   lua5.4 spec/bench/tasklets.lua [--runs N]            all programs, N times each in turn, and the medians
--   lua5.4 spec/bench/tasklets.lua LIBRARY PROGRAM [n]   one figure

local bench = {}

local COUNT = 100    -- tasklets at once, items put in one go
local CONNECTIONS = 20
local WAITING = 100000
local BODY = ("x"):rep(200)

local function kib()
  collectgarbage()
  collectgarbage()
  return require("spec.support.memory").resident()
end

-- ---- pipeline --------------------------------------------------------------------------------------------------

local ours = {}

-- Two tasklets: each makes a future, completes that of the other and awaits its own.
function ours.awaits(n)
  local tasklets = require "pipeline.tasklets"
  local Future, await = tasklets.Future, tasklets.await
  local other
  local play = tasklets.tasklet(function()
    for i = 1, n // 2 do
      local mine, theirs = Future(), other
      other = mine
      if theirs then theirs:set_result(i) end
      if i < n // 2 then await(mine) end
    end
  end)
  play()
  play()
  require "pipeline.eventloop".run()
end

-- A tasklet that calls another n times and awaits what it returns.
function ours.calls(n)
  local tasklets = require "pipeline.tasklets"
  local await, sum = tasklets.await, 0
  local callee = tasklets.tasklet(function(i) return i end)
  tasklets.synctasklet(function()
    for i = 1, n do sum = sum + await(callee(i)) end
  end)()
  assert(sum == n * (n + 1) // 2)
end

-- Tasklets that end without waiting, a thousand at a time.
function ours.starts(n)
  local eventloop, count = require "pipeline.eventloop", 0
  local start = require "pipeline.tasklets".tasklet(function() count = count + 1 end)
  for _ = 1, n // 1000 do
    for _ = 1, 1000 do start() end
    eventloop.run()
  end
  assert(count == n)
end

-- Tasklets that let the others go first, again and again.
function ours.turns(n)
  local tasklets = require "pipeline.tasklets"
  local await, sleep = tasklets.await, tasklets.sleep
  local start = tasklets.tasklet(function()
    for _ = 1, n // COUNT do await(sleep(0)) end
  end)
  for _ = 1, COUNT do start() end
  require "pipeline.eventloop".run()
end

-- A producer that lets the others go first after every COUNT items, and a consumer.
local function items(new, n)
  local tasklets = require "pipeline.tasklets"
  local await, sleep = tasklets.await, tasklets.sleep
  local queue, sum = tasklets[new](), 0
  tasklets.tasklet(function()
    for i = 1, n do
      queue:putq(i)
      if i % COUNT == 0 then await(sleep(0)) end
    end
    queue:complete()
  end)()
  tasklets.tasklet(function()
    for item in queue:each() do sum = sum + item end
  end)()
  require "pipeline.eventloop".run()
  assert(sum == n * (n + 1) // 2)
end

function ours.items(n)
  items("SerialQueueFuture", n)
end

function ours.items_unordered(n)
  items("QueueFuture", n)
end

-- A producer that waits for room, as soon as COUNT items are in the queue, and a consumer.
function ours.bounded(n)
  local tasklets = require "pipeline.tasklets"
  local queue, sum = tasklets.SerialQueueFuture { limit = COUNT }, 0
  tasklets.tasklet(function()
    for i = 1, n do
      local room = queue:putq(i)
      if not room:done() then room:wait() end
    end
    queue:complete()
  end)()
  tasklets.tasklet(function()
    for item in queue:each() do sum = sum + item end
  end)()
  require "pipeline.eventloop".run()
  assert(sum == n * (n + 1) // 2)
end

-- Bytes of memory for each of WAITING tasklets that wait for one that has not come yet.
function ours.waiting()
  local tasklets = require "pipeline.tasklets"
  local eventloop, await, gate = require "pipeline.eventloop", tasklets.await, tasklets.Future()
  local start = tasklets.tasklet(function() await(gate) end)
  local before = kib()
  for _ = 1, WAITING do start() end
  while eventloop.run0() do end
  local after = kib()
  gate:set_result()
  eventloop.run()
  return (after - before) * 1024 / WAITING
end

-- Real seconds beyond the second that n tasklets sleep.
function ours.sleepers(n)
  local tasklets = require "pipeline.tasklets"
  local start = tasklets.tasklet(function() tasklets.sleep(1):wait() end)
  for _ = 1, n do start() end
  require "pipeline.eventloop".run()
end

-- CONNECTIONS tasklets, each with one request after the other; connections are kept.
function ours.fetches(n, url)
  local tasklets, left = require "pipeline.tasklets", n
  local start = tasklets.tasklet(function()
    while left > 0 do
      left = left - 1
      assert(tasklets.fetch { url = url }:get_result().body == BODY)
    end
  end)
  for _ = 1, CONNECTIONS do start() end
  require "pipeline.eventloop".run()
end

-- ---- cqueues ---------------------------------------------------------------------------------------------------

local cqueues = {}

local function cqueues_run(...)
  local controller = require "cqueues".new()
  for _, fn in ipairs { ... } do controller:wrap(fn) end
  assert(controller:loop())
end

function cqueues.awaits(n)
  local promise = require "cqueues.promise"
  local other
  local function play()
    for i = 1, n // 2 do
      local mine, theirs = promise.new(), other
      other = mine
      if theirs then theirs:set(true, i) end
      if i < n // 2 then mine:get() end
    end
  end
  cqueues_run(play, play)
end

function cqueues.calls(n)
  local promise, sum = require "cqueues.promise", 0
  local function callee(i) return i end
  cqueues_run(function()
    for i = 1, n do sum = sum + promise.new(callee, i):get() end
  end)
  assert(sum == n * (n + 1) // 2)
end

function cqueues.starts(n)
  local controller, count = require "cqueues".new(), 0
  local function body() count = count + 1 end
  for _ = 1, n // 1000 do
    for _ = 1, 1000 do controller:wrap(body) end
    assert(controller:loop())
  end
  assert(count == n)
end

function cqueues.turns(n)
  local library = require "cqueues"
  local controller, sleep = library.new(), library.sleep
  for _ = 1, COUNT do
    controller:wrap(function()
      for _ = 1, n // COUNT do sleep(0) end
    end)
  end
  assert(controller:loop())
end

-- It has no queue: this is the usual one, a list and a condition.
local function cqueues_queue(limit)
  local condition = require "cqueues.condition"
  local list, first, last = {}, 1, 0
  local filled, emptied = condition.new(), limit and condition.new()
  local function put(item)
    while limit and last - first + 1 >= limit do emptied:wait() end
    last = last + 1
    list[last] = item
    if last == first then filled:signal() end
  end
  local function get()
    while last < first do filled:wait() end
    local item = list[first]
    list[first] = nil
    first = first + 1
    if limit and last - first + 2 == limit then emptied:signal() end
    return item
  end
  return put, get
end

function cqueues.items(n)
  local put, get = cqueues_queue()
  local sleep, sum = require "cqueues".sleep, 0
  cqueues_run(function()
    for i = 1, n do
      put(i)
      if i % COUNT == 0 then sleep(0) end
    end
    put(false)
  end, function()
    for item in get do
      if not item then break end
      sum = sum + item
    end
  end)
  assert(sum == n * (n + 1) // 2)
end

cqueues.items_unordered = cqueues.items

function cqueues.bounded(n)
  local put, get = cqueues_queue(COUNT)
  local sum = 0
  cqueues_run(function()
    for i = 1, n do put(i) end
    put(false)
  end, function()
    for item in get do
      if not item then break end
      sum = sum + item
    end
  end)
  assert(sum == n * (n + 1) // 2)
end

function cqueues.waiting()
  local controller, gate = require "cqueues".new(), require "cqueues.condition".new()
  local function body() gate:wait() end
  local before = kib()
  for _ = 1, WAITING do controller:wrap(body) end
  assert(controller:step(0))
  local after = kib()
  gate:signal()
  assert(controller:loop())
  return (after - before) * 1024 / WAITING
end

function cqueues.sleepers(n)
  local library = require "cqueues"
  local controller = library.new()
  for _ = 1, n do controller:wrap(library.sleep, 1) end
  assert(controller:loop())
end

-- With one connection for each, kept, as nobody else shares them; its request objects make a new one every time.
function cqueues.fetches(n, url)
  package.path = package.path .. ";/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua"
  local is_there, client = pcall(require, "http.client")
  if not is_there then
    io.stderr:write "fetches of cqueues are left out: lua-http is not installed\n"
    return false
  end
  local headers = require "http.headers"
  local host, port = url:match("^http://([^:/]+):(%d+)/$")
  local left = n
  local function fetch()
    local connection = assert(client.connect({ host = host, port = tonumber(port), tls = false }, 10))
    while left > 0 do
      left = left - 1
      local given = headers.new()
      given:append(":method", "GET")
      given:append(":authority", host .. ":" .. port)
      given:append(":path", "/")
      given:append(":scheme", "http")
      local stream = connection:new_stream()
      assert(stream:write_headers(given, true))
      assert(stream:get_headers())
      assert(stream:get_body_as_string() == BODY)
    end
    connection:close()
  end
  local controller = require "cqueues".new()
  for _ = 1, CONNECTIONS do controller:wrap(fetch) end
  assert(controller:loop())
end

-- ---- copas -----------------------------------------------------------------------------------------------------

local copas = {}

local function copas_library()
  local newer = os.getenv("COPAS_PATH")
  package.path = (newer and newer .. ";" or "") .. package.path .. ";/usr/share/lua/5.2/?.lua"
  return require "copas"
end

-- It has no future that somebody else completes: its threads wake each other.
function copas.awaits(n)
  local library = copas_library()
  if not library.pauseforever then return false end
  local other, value
  local function play()
    for i = 1, n // 2 do
      local mine, theirs = coroutine.running(), other
      other, value = mine, i
      if theirs then library.wakeup(theirs) end
      if i < n // 2 then library.pauseforever() end
    end
  end
  library.addthread(play)
  library.addthread(play)
  library.loop()
  assert(value)
end

function copas.calls(n)
  local library, sum = copas_library(), 0
  if not library.pauseforever then return false end
  local future = require "copas.future"
  local function callee(i) return i end
  library.addthread(function()
    for i = 1, n do
      local _, result = future.addthread(callee, i):get()
      sum = sum + result
    end
  end)
  library.loop()
  assert(sum == n * (n + 1) // 2)
end

-- In 1.1 a thread that does not wait has ended when addthread returns: there is no loop to run.
function copas.starts(n)
  local library, count = copas_library(), 0
  local function body() count = count + 1 end
  for _ = 1, n // 1000 do
    for _ = 1, 1000 do library.addthread(body) end
    if library.pause then library.loop() end
  end
  assert(count == n)
end

function copas.turns(n)
  local library = copas_library()
  if not library.pause then return false end
  for _ = 1, COUNT do
    library.addthread(function()
      for _ = 1, n // COUNT do library.pause(0) end
    end)
  end
  library.loop()
end

function copas.items(n)
  local library, sum = copas_library(), 0
  if not library.pause then return false end
  local queue = require "copas.queue".new()
  library.addthread(function()
    for i = 1, n do
      queue:push(i)
      if i % COUNT == 0 then library.pause(0) end
    end
    queue:push(false)
  end)
  library.addthread(function()
    for item in queue.pop, queue, math.huge do
      if not item then break end
      sum = sum + item
    end
  end)
  library.loop()
  assert(sum == n * (n + 1) // 2)
end

copas.items_unordered = copas.items

function copas.waiting()
  local library = copas_library()
  if not library.pauseforever then return false end
  local threads = {}
  local before = kib()
  for i = 1, WAITING do threads[i] = library.addthread(library.pauseforever) end
  library.step(0)
  local after = kib()
  for i = 1, WAITING do library.wakeup(threads[i]) end
  library.loop()
  return (after - before) * 1024 / WAITING
end

function copas.sleepers(n)
  local library = copas_library()
  if not library.pause then return false end
  for _ = 1, n do library.addthread(library.pause, 1) end
  library.loop()
end

-- What copas 1.1 wraps can neither connect nor close nor receive behind a prefix; its connect takes the second look at
-- a connection for an error.
local function copas_socket(library, socket)
  if library.pause then return library.wrap(socket.tcp()) end
  local raw = assert(socket.tcp())
  return {
    connect = function(_, host, port)
      local ok, problem = library.connect(raw, host, port)
      return (ok or problem == "already connected") and 1, problem
    end,
    settimeout = function() return 1 end,
    send = function(_, ...) return library.send(raw, ...) end,
    receive = function(_, ...) return library.receive(raw, ...) end,
    close = function() return raw:close() end,
  }
end

-- LuaSocket's client on sockets of copas. It makes a new connection every time.
function copas.fetches(n, url)
  local library = copas_library()
  local http, ltn12, socket = require "socket.http", require "ltn12", require "socket"
  local left, running = n, CONNECTIONS
  local function create() return copas_socket(library, socket) end
  local function fetch()
    while left > 0 do
      left = left - 1
      local pieces = {}
      assert(http.request { url = url, create = create, sink = ltn12.sink.table(pieces) })
      assert(table.concat(pieces) == BODY)
    end
    running = running - 1
  end
  for _ = 1, CONNECTIONS do library.addthread(fetch) end
  while running > 0 do library.step(1) end
end

-- ---- the server of the fetches ---------------------------------------------------------------------------------

-- Answers what looks like a GET, on luv, until its standard input ends. Prints its port.
local function serve()
  local uv = require "luv"
  local head = ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"):format(#BODY)
  local function answer(client, request)
    local is_last = request:lower():find("\nconnection: [^\r]*close")
    local text = head .. (is_last and "Connection: close\r\n\r\n" or "\r\n") .. BODY
    client:write(text, is_last and function()
      if not client:is_closing() then client:close() end
    end or nil)
  end
  local server = uv.new_tcp()
  server:bind("127.0.0.1", 0)
  server:listen(128, function()
    local client, text = uv.new_tcp(), ""
    server:accept(client)
    client:nodelay(true)
    client:read_start(function(_, bytes)
      if not bytes then return client:is_closing() or client:close() end
      text = text .. bytes
      local at = text:find("\r\n\r\n", 1, true)
      while at do
        answer(client, text:sub(1, at))
        text = text:sub(at + 4)
        at = text:find("\r\n\r\n", 1, true)
      end
    end)
  end)
  local input = uv.new_pipe()
  input:open(0)
  input:read_start(function(_, bytes)
    if not bytes then os.exit(0) end
  end)
  io.stdout:write(server:getsockname().port, "\n")
  io.stdout:flush()
  uv.run()
end

-- Starts it. Returns its address, and what ends it.
local function start_server()
  local name = os.tmpname()
  local pipe = assert(io.popen("exec lua5.4 spec/bench/tasklets.lua serve >" .. name, "w"))
  local port
  for _ = 1, 500 do
    local file <close> = io.open(name)
    port = file:read("n", "L") and io.lines(name)()
    if port then break end
    os.execute("sleep 0.02")
  end
  os.remove(name)
  return ("http://127.0.0.1:%s/"):format(assert(port, "the server did not start")), function() pipe:close() end
end

-- ---- one figure ------------------------------------------------------------------------------------------------

local LIBRARIES = { "pipeline", "cqueues", "copas" }
local libraries = { pipeline = ours, cqueues = cqueues, copas = copas }
for _, library in pairs(libraries) do library.fetches_cost = library.fetches end

-- name, n, what it is called, unit, aim, and how its figure is made of n and seconds; default: per second of processor.
local PROGRAMS = {
  { "awaits", 400000, "awaits of futures that another completes", "/s" },
  { "calls", 200000, "tasklets started, awaited and ended", "/s" },
  { "starts", 400000, "tasklets started and ended", "/s" },
  { "turns", 400000, "sleeps of no time", "/s" },
  { "items", 1000000, "items through a queue", "/s" },
  { "items_unordered", 1000000, "items through a queue of results", "/s" },
  { "bounded", 1000000, "items through a queue with a limit", "/s" },
  { "fetches", 5000, "fetches from a local server", "/s", real = true },
  { "fetches_cost", 5000, "fetches, processor time of the client", "/s" },
  { "sleepers", 10000, "10,000 tasklets that sleep a second", "s", real = true, seconds = true },
  { "waiting", 1, "memory of a waiting tasklet", "bytes", result = true },
}

local function real_time()
  return require "socket".gettime()
end

local function run_one(library, program, n)
  local of
  for _, each in ipairs(PROGRAMS) do
    if each[1] == program then of = each end
  end
  local fn, clock = libraries[library][of[1]], of.real and real_time or os.clock
  n = n or of[2]
  if not fn then return end
  local url, stop
  if fn == libraries[library].fetches then url, stop = start_server() end
  local is_there, result, start, took = of.result or fn(n // 10 // 1000 * 1000, url) ~= false -- caches are filled
  if is_there then
    start = clock()
    result = fn(n, url)
    took = clock() - start
  end
  if stop then stop() end
  if not is_there or result == false then return end
  print(("%s %.6g"):format(program, of.result and result or of.seconds and took or n / took))
end

-- ---- all of them -----------------------------------------------------------------------------------------------

local function capture(library, program)
  local pipe = assert(io.popen(("lua5.4 spec/bench/tasklets.lua %s %s"):format(library, program)))
  local text = pipe:read("a")
  assert(pipe:close(), ("failed: %s %s"):format(library, program))
  return tonumber(text:match("^%S+ (%S+)"))
end

local median = require("spec.support.figures").median

local function measure(program, runs)
  local values, found = { pipeline = {}, cqueues = {}, copas = {} }, {}
  for _ = 1, runs do
    for _, library in ipairs(LIBRARIES) do table.insert(values[library], capture(library, program)) end
  end
  for _, library in ipairs(LIBRARIES) do found[library] = median(values[library]) end
  return found
end

-- How much better `ours` is than the other: above 1 is better.
local function ratio(of, value, other)
  if not other then return nil end
  return of[4] == "/s" and value / other or other / value
end

local function text_of(of, value, other)
  if not other then return "-" end
  return ("%.4g (x%.2f)"):format(other, ratio(of, value, other))
end

local function report(out, of, found)
  local value, line = found.pipeline, {}
  for _, library in ipairs { "cqueues", "copas" } do
    local other = found[library]
    if other then line[#line + 1] = (',"%s":%.6g,"ratio_%s":%.4g'):format(library, other, library,
      ratio(of, value, other)) end
  end
  out:write(('{"name":"%s","value":%.6g,"unit":"%s"%s}\n'):format(of[3], value, of[4], table.concat(line)))
  print(("%-44s %12.4g %-6s %-22s %s"):format(of[3], value, of[4], text_of(of, value, found.cqueues),
    text_of(of, value, found.copas)))
end

--- Measures everything and adds the figures to build/bench.jsonl. `options` may have runs, the number of times.
function bench.main(options)
  local out <close> = assert(io.open("build/bench.jsonl", "a"))
  print(("\n%-44s %12s %-6s %-22s %s"):format("tasklets", "pipeline", "", "cqueues (how much better)", "copas"))
  for _, of in ipairs(PROGRAMS) do
    report(out, of, measure(of[1], of.result and 1 or tonumber(options.runs) or 5))
  end
end

if arg[0]:find("tasklets.lua", 1, true) then
  if arg[1] == "serve" then
    serve()
  elseif libraries[arg[1]] then
    run_one(arg[1], arg[2], tonumber(arg[3]))
  else
    bench.main { runs = arg[1] == "--runs" and arg[2] }
  end
end

return bench
