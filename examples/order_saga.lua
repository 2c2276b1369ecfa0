-- order_saga.lua - an order as a durable function: charge, wait, ship; if the shipping fails, the charge is undone by
-- its compensation, and the order is aborted. The bank is reached over HTTP, and fails often; any process may be killed
-- at any time.
--
--   order_saga.lua                     the whole story: a bank, three orders in memory
--   order_saga.lua --bank PORT FILE    the bank, on a port of this machine (0 picks one); FILE has its bookings
--   order_saga.lua --work DB URL N     starts N orders on the file DB, unless they are there, and works on them
--
-- The bank books each key once: `pipeline.step().key` is the same in every attempt, so a charge that is tried again,
-- because nobody heard of the first one, is no second charge.
local pipeline = require "pipeline"
local tasklets = require "pipeline.tasklets"

-- ---- the bank --------------------------------------------------------------------------------------------------

local function serve_bank(engine, port, keep)
  local bookings, asked = {}, 0
  engine:route("POST", "/book", function(request)
    asked = asked + 1
    if asked % 3 == 1 then return 503, "text/plain", "the bank is closed for a moment" end
    local booking = { key = request.params.key, what = request.params.what, cents = tonumber(request.params.cents) }
    if not bookings[booking.key] then
      bookings[booking.key] = true
      keep(booking)
    end
    if asked % 3 == 2 then return 500, "text/plain", "booked, but the answer is lost" end
    return 200, "text/plain", "receipt " .. booking.key:match("[^/]+/(.*)$")
  end)
  return engine:serve { port = port, admin_token = "not-for-strangers" }
end

-- ---- the order -------------------------------------------------------------------------------------------------

local bank_url

local function escaped(value)
  return (value:gsub("[^%w]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

-- Books an amount: what a step does. Whatever the bank says but 200 is an error, and the step is tried again.
local function book(what, cents)
  local response = tasklets.await(tasklets.fetch {
    url = bank_url .. "/book", method = "POST", headers = { ["Content-Type"] = "application/x-www-form-urlencoded" },
    body = ("key=%s&what=%s&cents=%d"):format(escaped(pipeline.step().key), what, cents),
  })
  if response.status ~= 200 then error(("the bank says %d: %s"):format(response.status, response.body), 0) end
  return response.body
end

-- Undoes a charge. outcome.ok is nil where nobody can say whether it was booked: a real bank would be asked.
local function refund(outcome, _, cents)
  if outcome.ok ~= false then return book("refund", -cents) end
end

local Ship = pipeline.define("saga.Ship", {
  run = function(_, item)
    if item == "piano" then error(pipeline.Abort("nobody can carry a piano")) end
    return "parcel with " .. item
  end,
})

local Order = pipeline.workflow("saga.Order", {
  max_attempts = 50, backoff_seconds = 0.01, backoff_factor = 1, -- of each step
  run = function(self, order)
    local receipt = self:step({ name = "charge", compensate = refund }, book, "charge", order.cents)
    self:sleep(0.02) -- a time to think it over
    local parcel = self:await(self:spawn(Ship(order.item))) -- an error that leaves run undoes the charge
    return ("%s, %s"):format(parcel, receipt)
  end,
})

local ITEMS = { "book", "piano", "lamp" }

local function start_orders(count)
  local stages = {}
  for i = 1, count do
    local key = "order-" .. i
    local item = ITEMS[(i - 1) % #ITEMS + 1]
    stages[i] = pipeline.from_id(key) or Order { item = item, cents = 100 * i }:start { idempotence_key = key }
  end
  return stages
end

-- ---- the program -----------------------------------------------------------------------------------------------

local function tell_of(engine, stages)
  for i, stage in ipairs(stages) do
    local ok, result = pcall(engine.wait, engine, stage)
    print(("order %d: %s"):format(i, ok and result.default.value or result.reason))
  end
end

local function run_bank(port, path)
  local engine <close> = pipeline.open(":memory:", { log = function() end })
  local book_of_bank <close> = assert(io.open(path, "a"))
  book_of_bank:setvbuf("no")
  local server = serve_bank(engine, port, function(booking)
    book_of_bank:write(("%s %d %s\n"):format(booking.what, booking.cents, booking.key))
  end)
  print("bank at " .. server.url)
  io.stdout:flush()
  engine:run()
end

local function work(path, url, count)
  bank_url = url
  local engine <close> = pipeline.open(path, { log = function() end })
  tell_of(engine, start_orders(count))
end

local function tell_all()
  local engine <close> = pipeline.open(":memory:", { log = function() end })
  local sum = 0
  bank_url = serve_bank(engine, 0, function(booking) sum = sum + booking.cents end).url
  tell_of(engine, start_orders(3))
  print("the bank has", sum)
end

if arg[1] == "--bank" then
  run_bank(tonumber(arg[2]), arg[3])
elseif arg[1] == "--work" then
  work(arg[2], arg[3], tonumber(arg[4]))
else
  tell_all()
end
