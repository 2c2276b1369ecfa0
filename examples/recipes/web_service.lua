-- web_service.lua [--db FILE] [--port N] [--try] - an HTTP service that answers at once and does the work later.
--
--   web_service.lua                        serves on 127.0.0.1:8081 until it is interrupted
--   web_service.lua --try --db :memory:    asks itself, shows the answers and ends
--
-- POST /orders stores an order and starts its pipeline in one commit, and answers 202 with its address. A client that
-- does not know whether its request went through sends it again with the same Idempotency-Key, and gets the same order.
-- GET /orders/ID tells how far it is. Start a second one with another port on the same file, and both work on it.
local pipeline = require "pipeline"
local tasklets = require "pipeline.tasklets"

local options = { db = "orders.db", port = "8081" }
for i, word in ipairs(arg) do
  local name = word:match("^%-%-(%l+)$")
  if name then options[name] = arg[i + 1] or true end
end

-- [pipelines]
local Charge = pipeline.define("service.Charge", {
  max_attempts = 5, backoff_seconds = 1,
  run = function(_, order)
    -- A real one asks the bank here, with the id of the pipeline (self.id) as the key that makes it repeatable.
    if order.cents <= 0 then error(pipeline.Abort "there is nothing to pay") end
    return ("receipt %s: %d.%02d"):format(order.number, order.cents // 100, order.cents % 100)
  end,
})

local Ship = pipeline.define("service.Ship", {
  run = function(self, order, receipt)
    self:set_status { message = "shipped to " .. order.customer }
    return receipt
  end,
})

local Order = pipeline.define("service.Order", {
  run = function(self, order)
    local receipt = self:spawn(Charge(order))
    self:spawn(Ship(order, receipt))
  end,
})
-- [/pipelines]

local engine <close> = pipeline.open(options.db, { log = { format = "json" } })

engine:transaction(function(tx)
  tx:execute [[CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY, client_key TEXT UNIQUE NOT NULL, customer TEXT NOT NULL, cents INTEGER NOT NULL)]]
end)

-- [routes]
-- The number of the order that has this key; it is made if there is none.
local function place(client_key, customer, cents)
  return engine:transaction(function(tx)
    local known = tx:query("SELECT number FROM orders WHERE client_key = ?", client_key)[1]
    if known then return known.number end
    local _, number = tx:execute("INSERT INTO orders (client_key, customer, cents) VALUES (?, ?, ?)", client_key,
      customer, cents)
    Order({ number = number, customer = customer, cents = cents }):start { idempotence_key = "order-" .. number }
    return number
  end)
end

engine:route("POST", "/orders", function(request)
  local key, given = request.headers["idempotency-key"], request.json
  if not key or type(given.customer) ~= "string" or math.type(given.cents) ~= "integer" then
    return 400, nil, { error = "Idempotency-Key, customer and cents (an integer) are needed" }
  end
  local number = place(key, given.customer, given.cents)
  return 202, { Location = "/orders/" .. number }, { number = number }
end)

engine:route("GET", "/orders/:number", function(request)
  local id = engine:find("key:order-" .. request.path_params.number)
  if not id then return 404, nil, { error = "there is no such order" } end
  local stage = engine:stage(id)
  return 200, nil, { state = stage.state, receipt = stage.outputs[1].value, problem = stage.reason }
end)
-- [/routes]

local server = engine:serve { port = options.try and 0 or math.tointeger(tonumber(options.port)),
  admin_token = os.getenv("ADMIN_TOKEN") }

if not options.try then
  print("POST " .. server.url .. "/orders")
  engine:run()
  return
end

local function ask(method, path, body, key)
  local response = tasklets.await(tasklets.fetch { method = method, url = server.url .. path, body = body,
    headers = { ["Content-Type"] = body and "application/json", ["Idempotency-Key"] = key } })
  print(("%-4s %-9s %d %s"):format(method, path, response.status, response.headers.location or "-"))
  return response.body
end

for _ = 1, 2 do ask("POST", "/orders", '{"customer":"Ada","cents":1999}', "a1") end -- the second time changes nothing
ask("POST", "/orders", '{"customer":"Bob"}', "b1")
engine:drain { delayed = true }
print(ask("GET", "/orders/1", nil):match('"receipt":"(.-)"'))
ask("GET", "/orders/2", nil)
