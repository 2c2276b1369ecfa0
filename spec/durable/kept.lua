--- kept.lua: a durable function whose journals are kept, as each version has written them: see kept_spec.lua.
--
--   lua kept.lua     prints a journal of this version as a module, to be kept in spec/durable/journals/
--
-- It must stay as it is: what it asks for is what the journals have.

local pipeline = require "pipeline"
local order = require "pipeline.flow.order"

local kept = { live = false } -- live: the functions of its steps may be called

local function called(...)
  assert(kept.live, "a step that is recorded was called")
  return ...
end

local function text(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for key, inner in order.sorted_pairs(value) do parts[#parts + 1] = tostring(key) .. "=" .. text(inner) end
  return "{" .. table.concat(parts, ",") .. "}"
end

kept.text = text

local Child = pipeline.define("kept.Child", { output_names = { "twice" }, run = function(self, n)
  self:fill("twice", 2 * n)
  return n + 1
end })

local Bad = pipeline.define("kept.Bad", { max_attempts = 1, run = function() error("bad child", 0) end })

kept.class = pipeline.workflow("kept.All", {
  backoff_seconds = 0.5,
  run = function(self)
    local got = {}
    local function add(...)
      for i = 1, select("#", ...) do got[#got + 1] = text((select(i, ...))) end
    end
    add(self:step("results", called, 1, "two", nil, { three = 3.5 }, true))
    add(self:step({ name = "keyed", key = "k@1" }, called, "keyed"))
    for i = 1, 3 do add(self:step("loop", called, i)) end
    local ok, problem = pcall(self.step, self, { name = "fails", max_attempts = 2 }, function()
      called()
      error(pipeline.FetchError("gone", { url = "http://x/" }))
    end)
    add(ok, problem.class, problem.message, problem.url)
    add(pcall(self.step, self, { name = "raises", max_attempts = 1 }, function() called() error("a text", 0) end))
    add(self:step({ name = "once", at_most_once = true }, called, "once"))
    self:sleep(10)
    local child = self:spawn(Child(20))
    add(self:await(child.twice), self:await(child))
    ok, problem = pcall(self.await, self, self:spawn(Bad()))
    add(ok, problem.class, problem.reason)
    local a = self:go("side", function() return self:step("loop", called, "in a branch") end)
    add(self:await(a))
    add(self:select { late = self:timer(100), soon = 5 })
    add(self:random(1000000), self:uuid(), self:now())
    local large = self:step("large", called, ("x"):rep(1500))
    add(#large)
    self:sleep(1000)
    return table.concat(got, "|")
  end,
})

-- A float stays one.
local function number(value)
  local shown = ("%.17g"):format(value)
  return math.type(value) == "float" and not shown:find("[.e]") and shown .. ".0" or shown
end

-- Prints the journal of a run that sleeps for the last time.
local function print_journal()
  kept.live = true
  local engine <close> = pipeline.open(":memory:", { virtual_time = true, virtual_start = 1e9, log = function() end })
  local stage = kept.class():start()
  engine:drain()
  for _ = 1, 20 do
    engine:advance(10)
    engine:drain()
  end
  local flow, entries = engine._core:journal_get(stage._record.id, { after = 0, limit = 1000 })
  print("-- A journal as this version has written it: see spec/durable/kept.lua. Values are CBOR, in hexadecimal.\n")
  local function hex(bytes) return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)) end
  print(("return {\n  seed = %q, next = %d, created = %s,\n  entries = {"):format(hex(flow.seed), flow.next,
    number(flow.created)))
  for _, item in ipairs(entries) do
    local line = "    {"
    for name, value in order.sorted_pairs(item) do
      if name == "value" then value = hex(value) end
      local field = ("%s = %s,"):format(name, type(value) == "string" and ("%q"):format(value) or number(value))
      field = name == "value" and field:gsub(("%x"):rep(100), "%0\\z\n      ") or field
      if name ~= "line" then
        local last = line:match("[^\n]*$")
        line = line .. (#last + #field:match("^[^\n]*") > 110 and "\n      " or " ") .. field
      end
    end
    print(line:gsub(",$", "") .. " },")
  end
  print("  },")
  local output = engine:wait(stage).default.value
  print("  output = " .. ("%q"):format(output):gsub(("[^\n]"):rep(100), "%0\\z\n    ") .. ",")
  print("}")
end

if arg and arg[0] and arg[0]:find("kept%.lua$") then print_journal() end

return kept
