-- live_spec.lua - the stream that tells pages of changes.

local pipeline = require "pipeline"
local http = require "spec.http.support"
local pace = require "spec.support.pace"
local support = require "spec.pages.support"

describe("the stream of the pages", function()
  local engine, server

  before_each(function()
    engine = http.open()
    server = engine:serve { port = 0, admin_token = support.ADMIN, viewer_token = support.VIEWER }
  end)

  after_each(function()
    engine:close()
    pipeline.set_logger(nil)
  end)

  local Work = pipeline.define("pages.live.Work", { run = function() return 1 end })

  local function listen(last)
    local lines = {
      "GET /_ah/pipeline/api/live HTTP/1.1", "Host: 127.0.0.1:" .. server.port,
      "Authorization: Bearer " .. support.VIEWER,
    }
    if last then lines[#lines + 1] = "Last-Event-ID: " .. last end
    return http.connect(engine, server):send(table.concat(lines, "\r\n") .. "\r\n\r\n")
  end

  local function last_id(client)
    local last
    for id in client.text:gmatch("id: ([^\n]+)\n") do last = id end
    return last
  end

  it("U7 tells of a change, and of one that was missed by Last-Event-ID", function()
    local client = listen()
    assert.is_true(client:expect("id: "))
    assert.truthy(client.text:find("Content-Type: text/event-stream", 1, true))
    assert.is_nil(client.text:find("event: change", 1, true))
    local first = last_id(client)
    local stage = Work()
    stage:start()
    engine:wait(stage)
    assert.is_true(client:expect("event: change"))
    local second = last_id(client)
    assert.not_equal(first, second)
    client:close()
    local again = listen(first)
    assert.is_true(again:expect("event: change"))
    again:close()
    local current = listen(last_id(again))
    assert.is_true(current:expect("id: "))
    assert.is_nil(current.text:find("event: change", 1, true))
    current:close()
  end)

  it("U7 shares one look a second among all pages, and costs nothing when they have gone", function()
    local clients = {}
    for i = 1, 20 do clients[i] = listen() end
    for i = 1, 20 do assert.is_true(clients[i]:expect("id: ")) end
    local pages = engine._web.pages
    assert.equal(20, pages.live.count)
    assert.equal(0, engine._web.answering)
    local stage = Work()
    stage:start()
    engine:wait(stage)
    for i = 1, 20 do assert.is_true(clients[i]:expect("event: change")) end
    for _, client in ipairs(clients) do client:close() end
    local probe = http.connect(engine, server)
    assert.is_true(probe:until_(function() return pages.live.count == 0 and not pages.live.looks end))
    probe:close()
    assert.equal(0, engine._web.answering)
  end)

  it("U7 wakes the engine less than twice a second at rest, and a hundred pages take less than 1 % of its time",
    function()
      engine:close()
      local path = os.tmpname()
      os.remove(path)
      engine = pipeline.open(path)
      server = engine:serve { port = 0, admin_token = support.ADMIN, viewer_token = support.VIEWER }
      local clients, seconds = {}, 8
      for i = 1, 100 do clients[i] = listen() end
      for i = 1, 100 do assert.is_true(clients[i]:expect("id: ")) end
      engine._core:run("forever", 2) -- what opening them has left to do is done
      local before, clock = engine._core:facts(), os.clock()
      engine._core:run("forever", seconds)
      local after = engine._core:facts()
      local used = os.clock() - clock
      local wakeups = after.loop_wakeups - before.loop_wakeups + after.store_wakeups - before.store_wakeups
      assert.is_true(wakeups < 2 * seconds + 2, wakeups .. " wake-ups") -- run itself begins and ends
      assert.is_true(used < 0.01 * seconds * pace, used .. " s")
      for _, client in ipairs(clients) do client:close() end
      engine:close()
      for _, ending in ipairs { "", "-wal", "-shm", "-workers" } do os.remove(path .. ending) end
    end)

  it("U7 tells of what another process does to the store, at its next look", function()
    engine:close()
    local path = os.tmpname()
    os.remove(path)
    engine = pipeline.open(path)
    server = engine:serve { port = 0, admin_token = support.ADMIN, viewer_token = support.VIEWER }
    Work():start() -- there is a log to look at
    engine:drain()
    engine:sleep(0.1)
    local client = listen()
    assert.is_true(client:expect("id: "))
    local program = ([[
      local pipeline = require 'pipeline'
      local engine = pipeline.open('%s', { no_worker = true, log = function() end })
      pipeline.define('pages.live.Other', { run = function() end })():start { countdown = 3600 }
      engine:close()
    ]]):format(path)
    assert(os.execute(("${LUA:-lua5.4} -e \"%s\""):format(program)))
    local before = engine._web.pages.live
    assert.is_true(client:expect("event: change"))
    assert.equal(1, before.count)
    client:close()
    engine:close()
    for _, ending in ipairs { "", "-wal", "-shm", "-workers" } do os.remove(path .. ending) end
  end)

  it("U7 is only for those who may see the pages, and ends with the engine", function()
    local refused = http.connect(engine, server)
      :send("GET /_ah/pipeline/api/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"):finish()
    assert.truthy(refused:find("^HTTP/1.1 401 "))
    local headers = { authorization = "Bearer " .. support.VIEWER }
    assert.equal(501, support.ask(engine, { path = "api/live", headers = headers }).status)
    local client = listen()
    assert.is_true(client:expect("id: "))
    local before = os.time()
    engine:close()
    assert.is_true(os.time() - before < 5 * pace)
    client:close()
  end)
end)
