-- nightly_batch.lua [--db FILE] [--night] - invoices for all customers, every night at half past two in Berlin.
--
--   nightly_batch.lua            works until it is interrupted; start it twice, and each night is still done once
--   nightly_batch.lua --night    lets two nights go by in virtual time, and ends
--
-- The customers are divided into batches that run side by side, at most two at a time (the queue says so). An invoice
-- has the night in its key, so a batch that is repeated after a crash writes none twice.
local pipeline = require "pipeline"
local common = pipeline.common
local schedules = require "pipeline.schedules"

local BATCH = 100
local is_night, db = false, "invoices.db"
for i, word in ipairs(arg) do
  if word == "--night" then is_night, db = true, ":memory:" end
  if word == "--db" then db = arg[i + 1] end
end

local engine <close> = pipeline.open(db, {
  queues = { invoices = { max_concurrent_requests = 2 } },
  virtual_time = is_night, virtual_start = is_night and 1798761600 or nil, -- 2027-01-01T00:00:00Z
})

engine:transaction(function(tx)
  tx:execute "CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL)"
  tx:execute [[CREATE TABLE IF NOT EXISTS invoices (
    night TEXT, customer INTEGER, cents INTEGER, PRIMARY KEY (night, customer))]]
end)

-- [pipelines]
local Batch = pipeline.define("batch.Invoices", {
  queue_name = "invoices", max_attempts = 5, backoff_seconds = 60,
  run = function(_, night, from, to)
    return engine:transaction(function(tx) -- one batch, one commit
      tx:execute([[INSERT INTO invoices SELECT ?, id, cents FROM customers WHERE id BETWEEN ? AND ?
        ON CONFLICT DO NOTHING]], night, from, to)
      return tx:query("SELECT count(*) AS n FROM invoices WHERE night = ? AND customer BETWEEN ? AND ?", night, from,
        to)[1].n
    end)
  end,
})

local Report = pipeline.define("batch.Report", {
  run = function(_, night, count)
    print(("%s: %d invoices"):format(night, count))
    return count
  end,
})

local Night = pipeline.define("batch.Night", {
  run = function(self)
    local night = os.date("!%Y-%m-%d", self.schedule.nominal_time // 1 | 0) -- of the schedule, not of the clock
    local last = engine:transaction(function(tx) return tx:query("SELECT max(id) AS n FROM customers")[1].n or 0 end)
    local counts = {}
    for from = 1, last, BATCH do
      counts[#counts + 1] = self:spawn(Batch(night, from, math.min(from + BATCH - 1, last)))
    end
    local count = self:spawn(common.Sum(0, table.unpack(counts)))
    self:spawn(Report(night, count))
  end,
})

schedules.declare("nightly_batch", {
  invoices = {
    cron = "30 2 * * *", time_zone = "Europe/Berlin", start = Night(),
    overlap = "buffer_one",                           -- a night that takes longer than a day delays the next one
    catch_up = { policy = "all", window = 7 * 86400 }, -- nights at which nobody was there are made up for
  },
})
-- [/pipelines]

if is_night then
  engine:transaction(function(tx)
    for id = 1, 950 do tx:execute("INSERT INTO customers VALUES (?, ?)", id, id % 50 * 100) end
  end)
  for _ = 1, 48 do -- hour by hour
    engine:advance(3600)
    engine:drain()
  end
  print("next: " .. schedules.get("invoices"):status().next_local)
else
  print("next: " .. schedules.get("invoices"):status().next_local)
  engine:run()
end
