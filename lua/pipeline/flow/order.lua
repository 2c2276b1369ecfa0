--- flow/order.lua: iterates a table in an order that is the same in every process.

local place = require "pipeline.support.place"
local bad_type = place.bad_type

local order = {}

local ranks = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local kind_a, kind_b = type(a), type(b)
  if kind_a ~= kind_b then return (ranks[kind_a] or 4) < (ranks[kind_b] or 4) end
  if kind_a == "number" or kind_a == "string" then return a < b end
  return tostring(a) < tostring(b)
end

--- As pairs: numbers first, then texts, then all else by its text.
function order.sorted_pairs(t)
  if type(t) ~= "table" then
    bad_type(1, "sorted_pairs", "table", t)
  end
  local keys, i = {}, 0
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, before)
  return function()
    i = i + 1
    local key = keys[i]
    if key ~= nil then return key, t[key] end
  end
end

return order
