--- plan.lua: what is started in a crash run, and what must come of it. Everything follows from the seed, so that the
-- workers that start a root and the driver that checks it need not talk to each other.

local plan = {}

local function sum_to(n)
  return n * (n + 1) // 2
end

local function tree_stages(depth, width)
  if depth == 0 then return 1 end
  return 2 + width * tree_stages(depth - 1, width)
end

-- Each kind: arguments made from a random function; the value and the number of stages of a tree that is done.
local kinds = {
  { "Fan", function(random) return { random(1, 40) } end, function(n) return sum_to(n), n + 2 end },
  { "Fan", function(random) return { random(100, 200) } end, function(n) return sum_to(n), n + 2 end },
  { "Tree", function(random) return { random(1, 3), random(1, 3) } end,
    function(depth, width) return width ^ depth // 1 | 0, tree_stages(depth, width) end },
  { "Order", function(random, key) return { key, random(2, 6) } end, function(_, n) return n + 1, n + 2 end },
  { "Flakies", function(random) return { random(1, 5) } end, function(n) return sum_to(n), n + 2 end },
  { "Asyncs", function(random) return { random(1, 6) } end, function(n) return 3 * sum_to(n), n + 2 end },
  { "Doomed", function(random) return { random(3, 9) } end, function() return "aborted" end },
  { "Hopeless", function() return {} end, function() return "aborted" end },
  { "Starter", function(random, key) return { key, random(1, 3) } end, function(_, n) return n, 1 end },
}

-- A small generator of its own: the same in every process, whatever else uses math.random.
local function generator(seed)
  local state = seed & 0x7fffffff
  return function(low, high)
    state = (state * 1103515245 + 12345) & 0x7fffffff
    return low + (state >> 8) % (high - low + 1)
  end
end

--- The roots of batch `number`: list of { key, class, args, may_abort }.
function plan.batch(seed, number)
  local random = generator(seed * 7919 + number * 104729)
  for _ = 1, 3 do random(0, 1) end
  local list = {}
  for i = 1, random(2, 6) do
    local kind = kinds[random(1, #kinds)]
    local key = ("k%d-%d"):format(number, i)
    list[i] = { key = key, class = kind[1], args = kind[2](random, key), kind = kind, may_abort = random(1, 8) == 1 }
  end
  return list
end

--- What must come of a root: its value, or "aborted", and the number of stages of its tree if it is done.
function plan.expected(item)
  return item.kind[3](table.unpack(item.args))
end

--- What must come of a root that a Starter started, by its key k<batch>-<i>-<n>.
function plan.expected_of_started(n)
  return sum_to(n), n + 2
end

return plan
