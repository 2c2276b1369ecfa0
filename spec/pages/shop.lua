-- shop.lua FILE TOKEN - a shop on a lively day, for the pictures of the guide (pictures.mjs): it has orders at work,
-- done, waiting for people and failed, mails that stand still, a schedule. Prints its port, and the ids to look at,
-- when all is as it should be; then it works on.

local json = require "pipeline.http.json"
local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"

local engine = pipeline.open(arg[1], {
  durability = "normal", stop_grace = 0.2, log = function() end,
  queues = { default = {}, cards = { rate = "20/s", max_concurrent_requests = 4 }, mail = { paused = true },
    warehouse = { mode = "pull" } },
})

local function pause(seconds) engine:sleep(seconds) end

local Charge = pipeline.define("shop.Charge", {
  output_names = { "receipt" }, queue_name = "cards", max_attempts = 3, backoff_seconds = 0.3, backoff_factor = 1.5,
  run = function(self, order)
    pause(0.4)
    if order.card == "expired" then error("the bank says: card expired 11/26 (code 54)", 0) end
    self:fill("receipt", "R-" .. order.id)
    return order.total
  end,
})
local Pack = pipeline.define("shop.Pack", { run = function(self, item, shelf)
  self:set_status { message = ("at shelf %s"):format(shelf) }
  pause(0.3 + 0.35 * (#item % 4))
  return item
end })
local Label = pipeline.define("shop.Label", { run = function(_, receipt)
  pause(0.3)
  return "label of " .. receipt
end })
local Approve = pipeline.define("shop.Approve", { async = true, public_callbacks = true,
  run = function(self, order) self:set_status { message = ("%d EUR: asked the shift lead"):format(order.total) } end })
local Ship = pipeline.define("shop.Ship", { run = function(self, parcel)
  self:set_status { message = "handed to the carrier", status_links = { carrier = "https://carrier.example/" } }
  pause(parcel.slow and 600 or 0.5)
  return ("%d items, %s"):format(#parcel.items, parcel.label)
end })
local Order = pipeline.define("shop.Order", { run = function(self, order)
  local paid = self:spawn(Charge(order))
  local approved = order.total > 1000 and self:spawn(Approve(order)) or nil
  local items = {}
  for i, item in ipairs(order.items) do
    items[i] = self:spawn(Pack(item, ("%s-%d"):format(("ABCD"):sub(i, i), 10 + i)))
  end
  self:after({ approved or paid }, function()
    self:spawn(Ship { items = items, label = self:spawn(Label(paid.receipt)), slow = order.slow })
  end)
end })
local Newsletter = pipeline.define("mail.Newsletter", { queue_name = "mail", run = function() end })
local Report = pipeline.define("reports.Daily", { run = function(self, region)
  self:set_status { message = "adding up " .. region }
  pause(0.2)
  return { region = region, orders = 128 }
end })

local ITEMS = { "oak desk", "desk lamp", "office chair", "book shelf", "plant", "wall clock" }
local function order(id, given)
  local items = {}
  for i = 1, 2 + id % 3 do items[i] = ITEMS[1 + (id + i) % #ITEMS] end
  local new = { id = id, items = items, total = 40 + id % 7 * 35, card = "valid" }
  for name, value in pairs(given or {}) do new[name] = value end
  local stage = Order(new)
  stage:start { idempotence_key = "order-" .. id }
  return stage
end

local server = engine:serve { port = 0, admin_token = arg[2] }
schedules.create("nightly", { cron = "30 2 * * *", time_zone = "Europe/Berlin", start = Report("europe") })
engine:wait(Report("europe"):start { idempotence_key = "report-europe" })
for id = 2001, 2014 do order(id) end
local failed = order(2015, { card = "expired", items = { "oak desk", "desk lamp" } }) -- fails
engine:drain { timeout = 30 }
local shown = order(2016, { slow = true, items = { "oak desk", "office chair", "book shelf", "desk lamp" } })
order(2017, { total = 2480 })
order(2018, { total = 1260 })
Newsletter("spring"):start()
taskqueue.Queue("warehouse"):add(taskqueue.Task { payload = "count shelf B", method = "PULL", countdown = 5 })
order(2019, { slow = true })
order(2020, { card = "expired" })

local function child(id, class)
  for _, entry in ipairs(engine:tree(id).items or engine:tree(id)) do
    if entry.class == class then return entry end
  end
end

local ready = pipeline.define("shop.Ready", { run = function()
  local ship
  repeat
    pause(0.1)
    ship = child(shown.id, "shop.Ship")
  until ship and ship.state == "executing" and engine:stage(engine:find("key:order-2020")).state == "aborted"
  local charge = child(failed.id, "shop.Charge")
  io.stdout:write(json.encode { port = server.port, pipeline = shown.id, stage = charge.id }, "\n")
  io.stdout:flush()
end })
ready():start()
engine:run()
