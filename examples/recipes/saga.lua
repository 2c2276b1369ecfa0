-- saga.lua [CITY] - books a flight, a hotel and a car; if one of them cannot be had, what was booked is cancelled.
--
--   saga.lua Lima     all three can be had
--   saga.lua Oslo     there is no car in Oslo: hotel and flight are cancelled, in this order
--
-- The steps are below a pipeline that has a fallback: when one of them fails for good, that part of the tree is aborted
-- and the trip goes on with `false`. Then it undoes, in reverse order, whatever was done. Each booking has a key, so
-- that booking and cancelling can be repeated, and so that what was never booked can be cancelled without harm.
local pipeline = require "pipeline"

local engine <close> = pipeline.open(":memory:", { log = function() end })

-- ---- the world outside: an agency that keeps bookings by key -----------------------------------------------------

local agency = { booked = {} }

function agency.book(key, what, city)
  if what == "car" and city == "Oslo" then error("there is no car in " .. city, 0) end
  if not agency.booked[key] then print("booked    " .. key) end -- a second time the same booking
  agency.booked[key] = true
  return "booking " .. key
end

function agency.cancel(key)
  if agency.booked[key] then print("cancelled " .. key) end -- what is not there needs no cancelling
  agency.booked[key] = nil
end

-- ---- the pipelines ---------------------------------------------------------------------------------------------

-- [saga]
local STEPS = { "flight", "hotel", "car" }

local Book = pipeline.define("trip.Book", {
  max_attempts = 3, backoff_seconds = 0.01,
  run = function(_, trip, what) return agency.book(trip.id .. "-" .. what, what, trip.city) end,
})

local Cancel = pipeline.define("trip.Cancel", {
  max_attempts = 1000, backoff_seconds = 0.01, -- this must succeed in the end
  run = function(_, trip, what) agency.cancel(trip.id .. "-" .. what) end,
})

local BookAll = pipeline.define("trip.BookAll", {
  run = function(self, trip)
    self:in_order(function()
      for _, what in ipairs(STEPS) do self:spawn(Book(trip, what)) end
    end)
  end,
})

local Settle = pipeline.define("trip.Settle", {
  run = function(self, trip, booked)
    if booked then return "booked" end
    self:in_order(function()
      for i = #STEPS, 1, -1 do self:spawn(Cancel(trip, STEPS[i])) end
      self:spawn(pipeline.common.Return("cancelled"))
    end)
  end,
})

local Trip = pipeline.define("trip.Trip", {
  run = function(self, trip)
    local booked = self:spawn(BookAll(trip), { fallback = false })
    self:spawn(Settle(trip, booked))
  end,
})
-- [/saga]

local city = arg[1] or "Oslo"
local trip = Trip({ id = "trip-17", city = city })
trip:start { idempotence_key = "trip-17" }
print(city .. ": " .. engine:wait(trip).default.value)
