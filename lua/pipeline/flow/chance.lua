--- flow/chance.lua: random numbers of a durable function, the same in every life of a run.
--
-- Each branch has a sequence of its own, so that what one draws does not disturb another: xoshiro256**, seeded by the
-- seed of the run and the path of the branch. It is written out here, because math.random of another build may be
-- another generator.

local chance = {}
chance.__index = chance

local GOLDEN <const> = 0x9E3779B97F4A7C15
local FNV_BASIS <const>, FNV_PRIME <const> = 0xCBF29CE484222325, 0x100000001B3

local function hash(bytes)
  local sum = FNV_BASIS
  for i = 1, #bytes do sum = (sum ~ bytes:byte(i)) * FNV_PRIME end
  return sum
end

-- splitmix64: spreads a seed over the state.
local function spread(seed)
  seed = seed + GOLDEN
  local z = seed
  z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
  z = (z ~ (z >> 27)) * 0x94D049BB133111EB
  return seed, z ~ (z >> 31)
end

--- The sequence of the branch `path` of a run with this `seed` (any bytes).
function chance.new(seed, path)
  local self, at = setmetatable({}, chance), hash(seed .. "\0" .. path)
  for i = 1, 4 do at, self[i] = spread(at) end
  return self
end

local function rotate(x, n)
  return (x << n) | (x >> (64 - n))
end

--- The next 64 bits.
function chance.bits(self)
  local s1, s2, s3, s4 = self[1], self[2], self[3], self[4]
  local result = rotate(s2 * 5, 7) * 9
  s3, s4 = s3 ~ s1, s4 ~ s2
  self[2], self[1] = s2 ~ s3, s1 ~ s4
  self[3], self[4] = s3 ~ (s2 << 17), rotate(s4, 45)
  return result
end

--- As math.random: a float in [0, 1); an integer of 1..m; of m..n. Raises for an empty interval.
function chance.number(self, m, n)
  local bits = self:bits()
  if m == nil then return (bits >> 11) * 2.0 ^ -53 end
  local low, high = 1, m
  if n ~= nil then low, high = m, n end
  if math.type(low) ~= "integer" or math.type(high) ~= "integer" or low > high then
    error("bad arguments to 'random' (two integers, the lower first, expected)", 0)
  end
  local last, mask = high - low, high - low -- unsigned
  for shift = 0, 5 do mask = mask | (mask >> (1 << shift)) end
  bits = bits & mask
  while math.ult(last, bits) do bits = self:bits() & mask end -- the same chance for each
  return low + bits
end

--- A random UUID (version 4) as text of 36 characters.
function chance.uuid(self)
  local a, b = self:bits(), self:bits()
  a = (a & ~0xF000) | 0x4000
  b = (b & ~(3 << 62)) | (1 << 63)
  return ("%08x-%04x-%04x-%04x-%012x"):format(a >> 32, (a >> 16) & 0xFFFF, a & 0xFFFF, b >> 48, b & 0xFFFFFFFFFFFF)
end

return chance
