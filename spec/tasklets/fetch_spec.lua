-- tasklets.fetch: requests against a server in a process of its own, without an engine, beside one, and in what it
-- runs; and how they end.

local support = require "spec.tasklets.support"

local errors = require "pipeline.support.errors"
local eventloop = require "pipeline.eventloop"
local helper = require "spec.support.helper"
local pipeline = require "pipeline"
local server = require "spec.fetch.support"
local tasklets = require "pipeline.tasklets"

local await, sleep, fetch, go = tasklets.await, tasklets.sleep, tasklets.fetch, support.go
local raises = support.raises

local function nothing() end

local function active() return tasklets.fetch_facts().active end

local target

local function get(path, options)
  options = options or {}
  options.url = target.url .. path
  local future = fetch(options)
  return future
end

local function seen(name) return tonumber(get("/seen?" .. name):get_result().body) end

-- Runs the loop until the condition holds.
local function wait_until(condition)
  for _ = 1, 2000 do
    if condition() then return end
    await(sleep(0.005))
  end
  error("it did not happen", 2)
end

describe("fetch of tasklets", function()
  setup(function() target = server.target() end)
  teardown(function() server.stop(target) end)
  before_each(support.start_real)
  after_each(function() support.finish_real(nothing) end)

  it("gives a future of the response; any status is an answer", function()
    local future = get("/status?404")
    assert.is_true(tasklets.is_future(future))
    assert.is_false(future:done())
    local text = tostring(future)
    assert.truthy(text:find(" GET " .. target.url .. "/status?404 made at ", 1, true), text)
    assert.matches("^<Fetch 0x%x+ .*fetch_spec.lua:%d+: pending>$", text)
    local response = future:get_result()
    assert.equal(404, response.status)
    assert.equal("status 404", response.body)
    assert.equal(target.url .. "/status?404", response.url)
    response = await(get("/headers"))
    assert.equal("a=1, x, b=2", response.headers["set-cookie"])
    assert.same({ "x-one", "1" }, response.header_list[2])
  end)

  it("sends method, headers and body", function()
    local body = await(get("/echo", {
      method = "PUT", headers = { ["X-One"] = "1", ["X-Many"] = { "a", "b" } }, body = "\0bytes",
    })).body
    assert.matches("^PUT\n", body)
    assert.matches("X%-One: 1\n", body)
    assert.matches("X%-Many: a\n.*X%-Many: b", body)
    assert.equal("\0bytes", body:match("\n\n(.*)$"))
    assert.equal("GET after", await(get("/status?302", { follow = true })).body)
  end)

  it("lets many be under way at once, over connections that are kept", function()
    get("/reset"):wait()
    local list = {}
    for i = 1, 20 do list[i] = get("/slow?0.05") end
    tasklets.await_all(list)
    assert.equal(20, seen "most")
    local before = tasklets.fetch_facts().connections
    for _ = 1, 5 do await(get("/after")) end
    assert.equal(before, tasklets.fetch_facts().connections)
  end)

  it("fetch_limits bounds how many are under way", function()
    get("/reset"):wait()
    tasklets.fetch_limits { active = 2 }
    local list = {}
    for i = 1, 6 do list[i] = get("/slow?0.02") end
    tasklets.await_all(list)
    assert.equal(2, seen "most")
    tasklets.fetch_limits {}
    raises(nil, "did you mean 'active'", tasklets.fetch_limits, { activ = 1 })
  end)

  it("lets other tasklets go on, and keeps the loop alive", function()
    local ticks = 0
    local future = get("/slow?0.1")
    local ticker = go(function()
      while true do
        await(sleep(0.005))
        ticks = ticks + 1
      end
    end)
    assert.equal(200, await(future).status)
    assert.is_true(ticks > 3)
    ticker:cancel()
    local body
    get("/slow?0.05"):add_callback(function() body = "came" end)
    eventloop.run()
    assert.equal("came", body)
    local immediate, timers, idle, outside = eventloop.pending()
    assert.same({ 0, 0, 0, 0 }, { immediate, timers, idle, outside })
  end)

  it("a tasklet that is always busy does not keep the answer away", function()
    local future = get("/after")
    local busy = go(function()
      local turns = 0
      while not future:done() do
        await(sleep(0))
        turns = turns + 1
        assert(turns < 5000000, "the answer does not come")
      end
    end)
    busy:check_success()
    assert.equal("GET after", future:get_result().body)
    future = get("/after")
    go(function()
      while not future:done() do await(sleep(0)) end
    end)
    eventloop.run()
    assert.equal(200, future:get_result().status)
  end)

  it("fails with an error object that names the URL, without its password", function()
    local cases = {
      { "/drop", {}, "ECONNRESET" }, { "/half", {}, "ECONNRESET" }, { "/garbage", {}, "EPROTO" },
      { "/big?100000", { max_size = 1000 }, "ELIMIT" }, { "/loop", { follow = 3 }, "ELIMIT" },
    }
    for _, case in ipairs(cases) do
      local path, options, code = table.unpack(case)
      local problem = get(path, options):get_exception()
      assert.is_true(errors.is(problem, errors.FetchError))
      assert.equal(code, problem.code)
      assert.equal(target.url .. path, problem.url)
      assert.truthy(problem.message:find("GET " .. target.url .. path .. ": ", 1, true), problem.message)
    end
    local problem = fetch { url = "http://me:secret@127.0.0.1:1/", method = "POST" }:get_exception()
    assert.equal("ECONNREFUSED", problem.code)
    assert.matches("^POST http://127%.0%.0%.1:1/: ", problem.message)
    assert.is_nil(tostring(problem):find("secret", 1, true))
    problem = fetch { url = "ftp://127.0.0.1/" }:get_exception()
    assert.equal("EINVAL", problem.code)
    assert.is_true(pipeline.is(problem, pipeline.FetchError))
  end)

  it("the error of an await tells where it was awaited", function()
    local function wait() return (await(get("/drop"))) end
    local problem = go(wait):get_exception()
    assert.truthy(problem.traceback:find("fetch_spec.lua:" .. debug.getinfo(wait, "S").linedefined, 1, true))
  end)

  it("has a deadline", function()
    local problem = get("/never", { deadline = 0.05 }):get_exception()
    assert.is_true(errors.is(problem, errors.TimeoutError))
    assert.equal("ETIMEDOUT", problem.code)
    assert.matches("/never: no answer within 0.05 s", problem.message)
    assert.equal("TimeoutError", get("/dribble", { deadline = 0.05 }):get_exception().class)
  end)

  it("checks its options", function()
    for pattern, options in pairs {
      ["'url': string expected, got nil"] = {},
      ["unknown option 'ulr'; did you mean 'url'"] = { ulr = "x" },
      ["deadline"] = { url = "http://x/", deadline = -1 },
      ["headers: strings by name expected"] = { url = "http://x/", headers = { 1 } },
      ["body: a string or a function expected"] = { url = "http://x/", body = 5 },
      ["max_size: not an integer"] = { url = "http://x/", max_size = -1 },
    } do
      local problem = raises(nil, "bad argument #1 to 'fetch' %(", fetch, options)
      assert.matches(pattern, problem)
      assert.matches("fetch_spec.lua", (select(2, pcall(function() fetch(options) end))))
    end
    raises(nil, "bad argument #1 to 'fetch'", fetch, "http://x/")
    raises(nil, "bad argument #1 to 'fetch'", fetch)
    assert.equal("EINVAL", fetch { url = "http://x/", headers = { ["a\n"] = "b" } }:get_exception().code)
    assert.equal("EINVAL", fetch { url = "http://x/", headers = { a = "b\r\nc: d" } }:get_exception().code)
    assert.equal(0, active())
  end)
end)

describe("a fetch ends early", function()
  setup(function() target = server.target() end)
  teardown(function() server.stop(target) end)
  before_each(support.start_real)
  after_each(function() support.finish_real(nothing) end)

  -- The server notices that the connection is gone.
  local function check_gone(fn)
    get("/reset"):wait()
    local before = seen "gone"
    fn()
    assert.equal(0, active())
    wait_until(function() return seen "gone" > before end)
  end

  it("when its future is cancelled", function()
    check_gone(function()
      local future = get("/dribble")
      await(sleep(0.02))
      assert.equal(1, active())
      assert.is_true(future:cancel("enough"))
      assert.is_false(future:cancel())
      local problem = future:get_exception()
      assert.is_true(errors.is(problem, errors.CancelledError))
      assert.equal("enough", problem.message)
    end)
    local waiting = get("/dribble")
    local other = get("/dribble")
    tasklets.fetch_limits { active = 1 }
    local queued = get("/dribble")
    assert.equal(1, tasklets.fetch_facts().queued)
    queued:cancel()
    assert.equal(0, tasklets.fetch_facts().queued)
    tasklets.fetch_limits {}
    waiting:cancel()
    other:cancel()
  end)

  it("when the only tasklet that waits is cancelled, and not when there is another", function()
    check_gone(function()
      local future = get("/dribble")
      local waiter = go(function() await(future) end)
      await(sleep(0.02))
      waiter:cancel()
      assert.is_true(errors.is(future:get_exception(), errors.CancelledError))
    end)
    local future = get("/slow?0.05")
    local one, two = go(function() return await(future) end), go(function() return await(future) end)
    await(sleep(0.01))
    one:cancel()
    assert.equal(200, await(two).status)
  end)

  it("when with_timeout has waited long enough", function()
    check_gone(function()
      local problem = tasklets.with_timeout(get("/dribble"), 0.05):get_exception()
      assert.is_true(errors.is(problem, errors.TimeoutError))
    end)
  end)

  it("when who waits for several, or through others, is cancelled", function()
    local waits = {
      function(future) await(future, sleep(60)) end,
      function(future) tasklets.await_all { sleep(60), { future } } end,
      function(future) tasklets.Future.wait_any { sleep(60), future } end,
      function(future) await(tasklets.with_timeout(go(function() return await(future) end), 60)) end,
    }
    for _, wait in ipairs(waits) do
      check_gone(function()
        local waiter = go(wait, get("/dribble"))
        await(sleep(0.02))
        assert.equal(1, active())
        waiter:cancel()
      end)
    end
  end)

  it("when its group ends", function()
    check_gone(function()
      raises(nil, "^Error: enough$", tasklets.group, function(g)
        for _ = 1, 3 do g:spawn(function() await(get("/dribble")) end) end
        await(sleep(0.02))
        assert(active() == 3)
        error("enough", 0)
      end)
    end)
  end)

  it("in any order, at any moment", function()
    local seed = os.time()
    math.randomseed(seed)
    local paths = { "/never", "/after", "/slow?0.01", "/drop", "/dribble", "/half", "/pieces?3" }
    for round = 1, 5 do
      local list = {}
      for i = 1, 20 do
        local options = { stream = math.random() < 0.3, deadline = math.random() * 0.1 + 0.001 }
        if math.random() < 0.3 then
          options.method, options.body = "POST", function()
            if math.random() < 0.2 then await(sleep(0.001)) end
            return math.random() < 0.9 and "piece" or nil
          end
        end
        local future = get(paths[math.random(#paths)], options)
        list[i] = future
        go(function()
          await(sleep(math.random() * 0.03))
          if math.random() < 0.5 and future:cancel() then return end
          local ok, response = pcall(await, future)
          if ok and options.stream then
            local _ <close> = response
            pcall(response.read, response)
          end
        end)
      end
      eventloop.run()
      for i = 1, 20 do
        assert(list[i]:done(), "seed " .. seed)
        list[i]:get_exception()
      end
      collectgarbage()
      eventloop.run()
      assert.equal(0, active(), ("seed %d, round %d"):format(seed, round))
    end
  end)

  it("and one that nobody waits for is finished, as a tasklet would be", function()
    get("/reset"):wait()
    local before = seen "requests"
    tasklets.toplevel(function() get("/sink", { method = "POST", body = "fire and forget" }) end)()
    assert.equal(2, seen "requests" - before)
  end)

  it("a failure that nobody has looked at is reported once (G55)", function()
    local list = {}
    eventloop.set_error_hook(function(problem, text) list[#list + 1] = { problem, text } end)
    get("/drop")
    eventloop.run()
    for _ = 1, 3 do
      collectgarbage()
      eventloop.run()
    end
    eventloop.set_error_hook(nil)
    assert.equal(1, #list)
    assert.equal("FetchError", list[1][1].class)
    assert.matches("unhandled failure of", list[1][2])
  end)
end)

describe("a fetch in pieces", function()
  setup(function() target = server.target() end)
  teardown(function() server.stop(target) end)
  before_each(support.start_real)
  after_each(function() support.finish_real(nothing) end)

  it("gives the answer as it comes, in a tasklet and outside", function()
    local function read()
      local response = await(get("/pieces?10", { stream = true }))
      assert.is_nil(response.body)
      assert.matches("^<Response: 200 http", tostring(response))
      local size = 0
      for piece in response:each() do size = size + #piece end
      assert.is_nil(response:read())
      return size
    end
    assert.equal(10 * 65536 + 11, read())
    assert.equal(10 * 65536 + 11, await(go(read)))
    assert.equal(0, active())
  end)

  it("makes the server wait for a reader who is slow", function()
    get("/reset"):wait()
    local response <close> = await(get("/flood", { stream = true }))
    response:read()
    await(sleep(0.1))
    assert.is_true(seen "flood" < 16 * 1024 * 1024)
    for _ = 1, 100 do assert(response:read()) end
  end)

  it("is closed by hand, at the end of a block, and when nobody holds it", function()
    local response = await(get("/stall", { stream = true }))
    assert.equal("first", response:read())
    response:close()
    response:close()
    local problem = raises(errors.FetchError, "the answer was closed", response.read, response)
    assert.equal("ECLOSED", problem.code)
    do
      local _ <close> = await(get("/stall", { stream = true }))
      assert.equal(1, active())
    end
    assert.equal(0, active())
    local function forget() assert(await(get("/stall", { stream = true })):read() == "first") end
    forget()
    collectgarbage()
    collectgarbage()
    assert.equal(0, active())
    -- Also when its tasklet was cancelled before it saw the answer.
    local future = get("/stall", { stream = true })
    local reader = go(function() await(future) error("not reached") end)
    future:add_immediate_callback(function() reader:cancel() end)
    assert.is_true(errors.is(reader:get_exception(), errors.CancelledError))
    assert.equal(0, active())
  end)

  it("an error comes after what was there, and every time", function()
    local response = await(get("/half", { stream = true }))
    local size, problem = 0, nil
    local ok = true
    while ok do
      local piece
      ok, piece = pcall(response.read, response)
      if ok then size = size + #piece else problem = piece end
    end
    assert.equal(500, size)
    assert.equal("ECONNRESET", problem.code)
    assert.equal(problem, (select(2, pcall(response.read, response))))
    response = await(get("/stall", { stream = true, deadline = 0.05 }))
    assert.equal("first", response:read())
    raises(errors.TimeoutError, "no more of the answer within 0.05 s", response.read, response)
  end)

  it("a reader that is cancelled leaves the answer to others; two at once are refused", function()
    local response <close> = await(get("/dribble", { stream = true }))
    while #response:read() > 1 do end
    local stalled <close> = await(get("/stall", { stream = true }))
    assert.equal("first", stalled:read())
    local reader = go(function() return stalled:read() end)
    await(sleep(0.01))
    raises(errors.TaskletError, "another tasklet is reading", stalled.read, stalled)
    reader:cancel()
    reader = go(function() return stalled:read() end)
    await(sleep(0.01))
    stalled:close()
    assert.equal("ECLOSED", reader:get_exception().code)
    raises(nil, "an answer in pieces expected", response.read, {})
  end)

  it("sends a body in pieces from a function that may await", function()
    local pieces, i = { "first", "", "second", ("x"):rep(300000), "\0" }, 0
    local body = await(get("/echo", { method = "POST", body = function()
      i = i + 1
      if i == 2 then await(sleep(0.005)) end
      return pieces[i]
    end })).body
    assert.equal(table.concat(pieces), body:match("\n\n(.*)$"))
    assert.equal(6, i)
  end)

  it("asks for no more of a body than the server takes", function()
    local piece, made = ("y"):rep(65536), 0
    local future = get("/sink?0.2", { method = "POST", body = function()
      made = made + 1
      if made <= 400 then return piece end
    end })
    await(sleep(0.1))
    assert.is_true(made > 0 and made < 300, tostring(made))
    assert.equal(tostring(400 * 65536), await(future).body)
  end)

  it("copies an answer into another request", function()
    local from <close> = await(get("/pieces?20", { stream = true }))
    local size = 0
    local to = await(get("/sink?0.02", { method = "POST", body = function()
      local piece = from:read()
      size = size + #(piece or "")
      return piece
    end }))
    assert.is_true(size > 20 * 65536)
    assert.equal(tostring(size), to.body)
  end)

  it("a body function that fails, or gives something else, fails the request", function()
    local ran = 0
    for i, bad in ipairs {
      function() error("no body", 0) end,
      function() return 5 end,
      function() await(sleep(0.001)) ran = ran + 1 return {} end,
    } do
      local problem = get("/sink", { method = "POST", body = bad }):get_exception()
      assert.matches(i == 1 and "^Error: no body$" or "must return a string or nil, got", support.unplaced(problem))
      assert.equal(0, active())
    end
    assert.equal(1, ran)
  end)

  it("a body function is closed when the request ends first", function()
    local closed = 0
    local function body()
      local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
      await(sleep(30))
    end
    local future = get("/sink", { method = "POST", body = body })
    await(sleep(0.02))
    future:cancel()
    assert.equal(1, closed)
    future = get("/sink", { method = "POST", body = body, deadline = 0.05 })
    assert.equal("TimeoutError", future:get_exception().class)
    assert.equal(2, closed)
  end)
end)

describe("fetch over TLS", function()
  local certificate, key, directory

  setup(function()
    certificate, key, directory = server.certificate()
    target = server.target(certificate, key)
  end)
  teardown(function()
    server.stop(target, { ca_file = certificate })
    os.execute("rm -r '" .. directory .. "'")
  end)
  before_each(support.start_real)
  after_each(function() support.finish_real(nothing) end)

  it("trusts only what the system, or the file, vouches for", function()
    local problem = get("/after"):get_exception()
    assert.equal("ETLS", problem.code)
    assert.matches("certificate", problem.message)
    assert.equal("GET after", await(get("/after", { ca_file = certificate })).body)
    assert.equal("GET after", await(get("/after", { verify = false })).body)
    assert.equal("ETLS", get("/after"):get_exception().code)
  end)
end)

describe("fetch and engines", function()
  setup(function() target = server.target() end)
  teardown(function()
    server.stop(target)
    helper.clean()
  end)
  before_each(support.start_real)
  after_each(function() support.finish_real(helper.finish) end)

  for _, virtual in ipairs { false, true } do
    local way = virtual and " (virtual time)" or " (real time)"

    it("works in a run, and its claim stays alive" .. way, function()
      local engine = helper.open { virtual_time = virtual }
      local Class = helper.define(function(_, path)
        local response = await(get(path))
        return response.body
      end)
      local stages = {}
      for i = 1, 5 do
        stages[i] = Class("/slow?0.02")
        stages[i]:start()
      end
      for i = 1, 5 do assert.equal("slow", engine:wait(stages[i]).default.value) end
    end)

    it("works in tasklets of a run, with engine:run and engine:drain" .. way, function()
      local engine = helper.open { virtual_time = virtual }
      local Class = helper.define(function(_, n)
        local list = {}
        for i = 1, n do list[i] = go(function() return await(get("/slow?0.01")).status end) end
        local sum = 0
        for _, status in ipairs(tasklets.await_all(list)) do sum = sum + status end
        return sum
      end)
      local stage = Class(4)
      stage:start()
      engine:drain()
      assert.equal(800, engine:wait(stage, { timeout = 0 }).default.value)
      local Last = helper.define(function(_)
        local response = await(get("/after"))
        engine:stop()
        return response.body
      end)
      stage = Last()
      stage:start()
      engine:run()
      assert.equal("GET after", engine:wait(stage, { timeout = 5 }).default.value)
    end)

    it("streams both ways in a run" .. way, function()
      local engine = helper.open { virtual_time = virtual }
      local Class = helper.define(function()
        local from <close> = await(get("/pieces?5", { stream = true }))
        local to = await(get("/sink", { method = "POST", body = function()
          await(sleep(0.001))
          return from:read()
        end }))
        return to.body
      end)
      local stage = Class()
      stage:start()
      assert.equal(tostring(5 * 65537), engine:wait(stage).default.value)
    end)

    it("a run that is out of time ends its request" .. way, function()
      local engine = helper.open { virtual_time = false }
      local Class = helper.define { max_attempts = 1, timeout = 0.05, run = function() await(get("/never")) end }
      local stage = Class()
      stage:start()
      local problem = helper.raises(pipeline.AbortedError, engine.wait, engine, stage)
      assert.matches("took longer", problem.message)
      assert.equal(0, active())
    end)
  end

  it("with virtual time the clock stands still while the server is waited for", function()
    local engine = helper.open { virtual_time = true }
    local Class = helper.define(function()
      local before = eventloop.now()
      local future = tasklets.with_timeout(get("/slow?0.05"), 10)
      local status = await(future).status
      local took = eventloop.now() - before
      await(sleep(3600))
      return { status, took }
    end)
    local stage = Class()
    stage:start()
    engine:drain { delayed = true }
    local result = engine:wait(stage).default.value
    assert.equal(200, result[1])
    assert.near(0, result[2], 0.001)
  end)

  it("goes on when an engine is opened or closed meanwhile", function()
    local future = get("/slow?0.05")
    local engine = helper.open { virtual_time = false }
    local inside
    go(function()
      inside = await(future).body
      engine:stop()
    end)
    engine:run()
    assert.equal("slow", inside)
    future = get("/slow?0.05")
    engine:drain()
    engine:close()
    assert.equal("slow", await(future).body)
  end)

  it("ends with the engine of virtual time it began in", function()
    local engine = helper.open { virtual_time = true }
    local future, response
    engine._core:spawn(function()
      future = get("/never")
      response = await(get("/stall", { stream = true }))
      engine:stop()
    end)
    engine:run()
    engine:close()
    local problem = future:get_exception()
    assert.equal("ECLOSED", problem.code)
    raises(errors.FetchError, "closed", response.read, response)
  end)

  it("works where several engines are open", function()
    local a, b = helper.open { virtual_time = false }, helper.open { virtual_time = false }
    local Class = helper.define(function(_, path) return await(get(path)).body end)
    local first, second = Class("/slow?0.02"), Class("/after")
    first:start { engine = a }
    second:start { engine = b }
    eventloop.run()
    assert.equal("slow", a:wait(first, { timeout = 0 }).default.value)
    assert.equal("GET after", b:wait(second, { timeout = 0 }).default.value)
  end)

  it("works in a run of the second engine, whose loop is its own, and ends with it", function()
    local a, b = helper.open { virtual_time = false }, helper.open { virtual_time = false }
    local plain
    local Class = helper.define(function(_, path)
      plain = go(function() return await(get("/after")).body end)
      return await(get(path)).body
    end)
    for _, engine in ipairs { b, a, b } do
      local stage = Class("/slow?0.02")
      stage:start { engine = engine }
      assert.equal("slow", engine:wait(stage, { timeout = 20 }).default.value)
      assert.equal("GET after", plain:get_result())
    end
    local future
    b._core:spawn(function()
      future = get("/never")
      b:stop()
    end)
    b:run()
    assert.equal(1, active())
    b:close()
    assert.equal("ECLOSED", future:get_exception().code)
  end)

  it("works when the engine left has a loop of its own", function()
    local a, b = helper.open { virtual_time = false }, helper.open { virtual_time = false }
    a:close()
    local Class = helper.define(function() return await(get("/slow?0.01")).body end)
    local stage = Class()
    stage:start { engine = b }
    assert.equal("GET after", await(get("/after")).body)
    assert.equal("slow", await(go(function() return b:wait(stage).default.value end)))
    get("/slow?0.02"):add_callback(function() a = "called" end)
    eventloop.run()
    assert.equal("called", a)
  end)

  -- Calls fn, which waits for what is done at once: whoever sleeps on after it is woken by a timer, but late.
  local function promptly(fn)
    local done = false
    local future = tasklets.with_timeout(go(fn), 20)
    future:add_immediate_callback(function() done = true end)
    local before = os.time()
    local value = await(future)
    assert.is_true(done)
    assert.is_true(os.time() - before < 10, "it was noticed too late")
    return value
  end

  it("an answer that comes while an engine is being closed is noticed", function()
    local engine = helper.open { virtual_time = false }
    local future = get("/slow?0.05")
    local before = seen "requests"
    await(sleep(0.01))
    assert.is_true(before > 0)
    os.execute("sleep 0.3") -- the answer is there, and nobody has read it
    engine:close()
    assert.equal("slow", await(future).body)
  end)

  it("an answer that came while others ran the uv loop is noticed by every way to run ours", function()
    for _, run in ipairs {
      function(future) future:wait() end,
      function() eventloop.run() end,
      function() while eventloop.run1() do end end,
      function() while eventloop.run0() == 0 do end end,
      function() eventloop.step() end,
    } do
      local future, uv = get("/after"), require("pipeline.core").loop()
      while uv:alive() do uv:poll(1) end
      assert.equal(0, eventloop.timeout())
      run(future)
      assert.is_true(future:done())
      assert.equal("GET after", future:get_result().body)
    end
    support.start() -- with a test's clock, while another request is under way
    local never, future, uv = get("/never"), get("/after"), require("pipeline.core").loop()
    while not future.exchange.client.core:has_news() do uv:poll(1) end
    assert.equal("GET after", await(future).body)
    never:cancel()
    support.finish()
  end)

  for count = 1, 2 do
    local way = (" (engines: %d)"):format(count)

    local function open()
      local list = {}
      for i = 1, count do list[i] = helper.open { virtual_time = false } end
      return list[1], list[count]
    end

    it("a future that is done inside the step of an engine is noticed" .. way, function()
      for pass = 1, 2 do
        local first, last = open()
        local request = pass == 1 and get("/never")
        for _, engine in ipairs { first, last } do
          local future, release = tasklets.Future(), nil
          engine._core:spawn(function()
            future:set_result("done")
            release = tasklets.Future() -- the engine stays busy
            await(release)
          end)
          local before = os.time()
          eventloop.queue_call(15, nothing) -- ends a sleep that would have no end
          assert.equal("done", await(future))
          assert.is_true(os.time() - before < 10, "it was noticed too late")
          release:set_result()
          eventloop.clear()
        end
        if request then request:cancel() end
        helper.finish()
      end
    end)

    it("a tasklet that ends inside the step of an engine is noticed" .. way, function()
      for _, engine in ipairs { open() } do
        local request = get("/never")
        assert.equal("done", promptly(function()
          local future = tasklets.Future()
          engine._core:spawn(function() future:set_result("done") end)
          return await(future)
        end))
        request:cancel()
      end
    end)

    it("a request made inside the step of an engine is waited for" .. way, function()
      for _, engine in ipairs { open() } do
        local future = tasklets.Future()
        local task = go(function()
          await(future)
          return await(get("/slow?0.02")).body
        end)
        engine._core:spawn(function() future:set_result() end)
        assert.equal("slow", await(task))
      end
    end)

    it("work given to another engine inside the step of one is done" .. way, function()
      local first, last = open()
      local Class = helper.define(function() return 7 end)
      for _, pair in ipairs { { first, last }, { last, first } } do
        assert.equal(7, promptly(function()
          local future = tasklets.Future()
          pair[1]._core:spawn(function() future:set_result() end)
          await(future)
          local stage = Class()
          stage:start { engine = pair[2] }
          return pair[2]:wait(stage).default.value
        end))
      end
    end)

    it("stop inside the step of an engine ends the run" .. way, function()
      for _, engine in ipairs { open() } do
        local request, stopped = get("/never"), false
        engine._core:spawn(function()
          eventloop.stop()
          stopped = true
        end)
        eventloop.run()
        assert.is_true(stopped)
        request:cancel()
      end
    end)
  end

  it("works with a test's clock", function()
    support.start()
    local body = await(get("/slow?0.02")).body
    assert.equal(0, support.time())
    await(sleep(5))
    support.finish()
    assert.equal("slow", body)
  end)

  it("a process of its own ends cleanly with requests under way", function()
    local program = os.tmpname()
    local out = assert(io.open(program, "w"))
    out:write(([[
      local tasklets = require "pipeline.tasklets"
      print(tasklets.fetch{ url = %q .. "/after" }:get_result().body)
      tasklets.fetch{ url = %q .. "/never" }
      tasklets.tasklet(function()
        local response = tasklets.await(tasklets.fetch{ url = %q .. "/stall", stream = true })
        print(response:read())
        os.exit(0, ...)
      end)()
      require("pipeline.eventloop").run()
    ]]):format(target.url, target.url, target.url))
    out:close()
    for _, how in ipairs { "", "true" } do
      local source = assert(io.open(program)):read("a"):gsub("%.%.%.%)", how == "" and "false)" or "true)")
      out = assert(io.open(program, "w"))
      out:write(source)
      out:close()
      local pipe = io.popen(("timeout 20 %s -W %s 2>&1"):format(os.getenv("LUA") or "lua5.4", program))
      local text = pipe:read("a")
      local ok, _, code = pipe:close()
      assert.equal("GET after\nfirst\n", text)
      assert.is_true(ok, tostring(code))
    end
    os.remove(program)
  end)
end)
