-- transaction.lua [--db FILE] - orders: a row of one's own, a pipeline and a deferred call in one commit.
--
--   transaction.lua                 on a fresh store in memory
--   transaction.lua --db shop.db    on a file: run it again, and there are more orders
--
-- Every order is placed in a transaction: the row says what is owed, the pipeline ships, the deferred call sends the
-- receipt. The order that fails leaves none of the three.
local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"

local db = ":memory:"
if arg[1] then
  assert(arg[1] == "--db" and arg[2] and not arg[3], "usage: transaction.lua [--db FILE]")
  db = arg[2]
end

local engine <close> = pipeline.open(db)

engine:transaction(function(tx)
  tx:execute [[
    CREATE TABLE IF NOT EXISTS orders (
      id INTEGER PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL CHECK (cents > 0), shipped INTEGER)]]
end)

local Ship = pipeline.define("shop.Ship", {
  run = function(_, id)
    -- May run twice, as any run may: what it does to the row can be repeated.
    engine:transaction(function(tx) tx:execute("UPDATE orders SET shipped = ? WHERE id = ?", true, id) end)
    return id
  end,
})

local function send_receipt(customer, cents)
  print(("receipt to %s: %d.%02d"):format(customer, cents // 100, cents % 100))
end
deferred.register("shop.send_receipt", send_receipt)

-- Returns the number of the order; all of it is on disk then, or an error is raised and nothing is.
local function place(customer, cents)
  return engine:transaction(function(tx)
    local _, id = tx:execute("INSERT INTO orders (customer, cents) VALUES (?, ?)", customer, cents)
    Ship(id):start { idempotence_key = "order-" .. id }
    deferred.defer(send_receipt, customer, cents)
    if cents > 100000 then error("nobody lends us that much") end
    return id
  end)
end

place("Ada", 1999)
place("Grace", 250)
for _, cents in ipairs { 200000, -5 } do
  local ok, problem = pcall(place, "Mallory", cents)
  assert(not ok)
  print("refused: " .. tostring(problem):gsub("^.-:%d+: ", ""))
end

engine:drain()

engine:transaction(function(tx)
  for _, order in ipairs(tx:query("SELECT id, customer, shipped FROM orders ORDER BY id")) do
    print(("order %d of %s: %s"):format(order.id, order.customer, order.shipped == 1 and "shipped" or "waits"))
  end
end)
