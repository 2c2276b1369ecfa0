-- fragments.lua: what the parts of programs in the guide take for granted, and what comes of them.
--
-- A part is found by a text that it alone has. `before` and `after` make it a program, `change` is made to the part
-- itself (pairs of a pattern and its replacement), `expect` is the last line that the program prints: as it is, and
-- with a failure of the first attempt of everything (not so with `once`).

-- What stands before the blocks that are no program of their own.
local OPEN = [[
local pipeline = require "pipeline"
local common = pipeline.common
local engine <close> = pipeline.open(":memory:")
local function done(stage) return engine:wait(stage, { timeout = 30 }).default.value end
]]

-- A local server that answers everything with "hello", in place of those of the world.
local WORLD = [[
local pipeline = require "pipeline"
local engine <close> = pipeline.open(":memory:")
engine:route("GET", "/", function() return 200, "text/plain", "hello" end)
local server = engine:serve { port = 0, admin_token = "not-for-strangers" }
]]

-- By a text that only this block has: what comes before and after it, and what the program says at last. `change` is
-- made to the block itself.
return {
  { 'Charge(order):start { idempotence_key', expect = "true", before = OPEN .. [[
      local Charge = pipeline.define("guide.Charge", { run = function() return true end })
      local order = {}
    ]],
    change = { "countdown = 5", "countdown = 0.05" },
    after = [[
      assert(not pcall(function() Charge(order):start { idempotence_key = "order-17" } end))
      print(done("order-17"))]] },
  { 'op = "resume", filters', expect = "2 2 0", before = OPEN .. [[
      local is_down, yesterday = true, os.time() - 86400
      local Order = pipeline.define("shop.Order", { max_attempts = 2, backoff_seconds = 0.01,
        run = function() if is_down then error("no") end end })
      for _ = 1, 2 do pcall(done, Order():start()) end
      is_down = false
    ]] },
  { 'pipeline.define("shop.Charge"', expect = "true receipt of 17",
    before = OPEN .. 'local function charge(order) return "receipt of " .. order.number end\n',
    after = [[
      local stage = Charge { number = 17 }
      stage:start { idempotence_key = "order-17", countdown = 0.05 }
      assert(not pcall(function() Charge { number = 17 }:start { idempotence_key = "order-17" } end))
      assert(pipeline.from_id("order-17").id == stage.id)
      print(done(stage), pipeline.from_id(stage.id).outputs.receipt.value)]] },
  { "self:in_order(function()", expect = "packed charged shipped mailed archived",
    before = OPEN .. [[
      local said, order_of = {}, { "packed", "charged", "shipped", "mailed", "archived" }
      local function stage_that(what)
        return pipeline.define("readme." .. what, { output_names = what == "charged" and { "receipt" } or nil,
          run = function(self, given)
            if what == "charged" then self:fill("receipt", "r") end
            if what == "shipped" then assert(given.receipt == "r" and said.packed and said.charged) end
            if what == "archived" then assert(said.mailed) end
            said[what] = true
          end })
      end
      local Charge, Pack, Ship = stage_that "charged", stage_that "packed", stage_that "shipped"
      local Mail, Archive = stage_that "mailed", stage_that "archived"
      local Order = pipeline.define("readme.Order", {
    ]],
    after = [[})
      done(Order({ number = 17 }):start())
      for i, what in ipairs(order_of) do order_of[i] = said[what] and what or "-" end
      print(table.concat(order_of, " "))]] },
  { 'schedules.declare("reports"', expect = "started eu active 300",
    before = OPEN .. [[
      local schedules = require "pipeline.schedules"
      local Report = pipeline.define("readme.Report", { backoff_seconds = 0.01, run = function(self, region)
        assert(self.schedule.nominal_time)
        return region
      end })
    ]],
    after = [[
      local state, id = schedules.get("berlin"):trigger()
      local region, next_times = done(pipeline.from_id(id)), schedules.get("pulse"):next(2)
      print(state, region, schedules.get("berlin"):status().state,
        math.tointeger(next_times[2].nominal_time - next_times[1].nominal_time))]],
    change = { '"monitor%.check"', "print" } },
  { 'pipeline.define("shop.Approve"', expect = "true false",
    before = OPEN .. [[
      local server = engine:serve { port = 0, admin_token = "not-for-strangers" }
      local tasklets = require "pipeline.tasklets"
      local function notify(order, url)
        if not order.is_answered then return end
        tasklets.tasklet(function() -- a person, who comes back after an error
          repeat
            local answer = tasklets.await(tasklets.fetch { url = url })
            assert(answer.status ~= 200 or answer.body == "<h1>Thank you</h1>")
          until answer.status == 200 or answer.status == 409
        end)()
      end
    ]],
    change = { "86400", "0.2" },
    after = [[print(done(Approve({ is_answered = true }):start()), done(Approve({}):start()))]] },
  { 'engine:route("POST", "/orders/:id/*rest"', expect = '201 17 2 400',
    before = OPEN,
    after = [[
      local answer = engine:handle { method = "POST", path = "/orders/17/items", body = '{"items":[1,2]}',
        headers = { ["Content-Type"] = "application/json" } }
      local id, items = answer.body:match('"id":"(%d+)"'), answer.body:match('"items":(%d+)')
      local damaged = engine:handle { method = "POST", path = "/orders/17/items", body = '{"items":[1,2' }
      print(answer.status, id, items, damaged.status)]] },
  { "common.Sum(a, b, c)", expect = "an hour later: 6",
    before = OPEN:gsub('":memory:"', '":memory:", { log = function(_, text) '
      .. 'if text:find("^an hour") then print(text) end end }') .. [[
      local Hour = pipeline.define("readme.Hour", { run = function(self, a, b, c)
    ]],
    change = { "3600", "0.05" },
    after = [[end })
      local Wanted = pipeline.define("readme.Wanted", { run = function(self) self:spawn(Hour(1, 2, 3)) end })
      done(Wanted():start())]] },
  { 'engine:route("POST", "/task_do"', expect = "original text->new text bytes 0",
    before = [[
      local pipeline = require "pipeline"
      local engine <close> = pipeline.open(":memory:", { queues = { default = {}, work = { mode = "pull" } } })
      local rows, handled = {}, {}
      local function insert_row(old, new) rows[old] = new end
      local function handle(payload) handled[#handled + 1] = payload end
    ]],
    change = { "countdown = 60", "countdown = 0.05" },
    after = [[
      assert(engine:handle { method = "POST", path = "/task_do" }.status == 403)
      engine:drain { delayed = true, timeout = 30 }
      for old, new in pairs(rows) do print(old .. "->" .. new, handled[1], queue:fetch_statistics().tasks) end]] },
  { "mail = { rate =", expect = "1 dead",
    before = 'local pipeline = require "pipeline"\n',
    after = [[
      local taskqueue = require "pipeline.taskqueue"
      engine:route("POST", "/never", function() return 500 end)
      taskqueue.add { queue_name = "mail", url = "/never",
        retry_options = { task_retry_limit = 1, min_backoff_seconds = 0.01 } }
      engine:drain { delayed = true, timeout = 30 }
      print(#taskqueue.Queue("mail"):dead_tasks(), "dead")]] },
  { "INSERT INTO orders", expect = "true 1 receipt",
    before = OPEN .. [[
      local deferred = require "pipeline.deferred"
      local sent = {}
      local send_receipt = deferred.register("readme.send_receipt", function(id) sent[id] = "receipt" end)
      engine:transaction(function(tx) tx:execute "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer, cents)" end)
      local Ship = pipeline.define("readme.Ship", { run = function() return true end })
    ]],
    after = [[
      engine:drain { delayed = true, timeout = 30 }
      print(done("order-" .. order), order, sent[order])]] },
  { 'fetch{ url = url, deadline = 10', expect = "5 5",
    before = WORLD, change = { '"https://example.%a+/"', "server.url" }, after = "print(one, other)" },
}
