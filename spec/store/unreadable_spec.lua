-- unreadable_spec.lua: what cannot be read is an error that says why, never an answer such as "was deleted"; and a
-- process without descriptors left can still read what it has written.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local Echo = pipeline.define("store.unreadable.Echo", { run = function(_, value) return value end })
local Wait = pipeline.define("store.unreadable.Wait", {
  async = true, public_callbacks = true, output_names = { "other" }, run = function() end,
  try_cancel = function() return true end, callback = function() return 200, "text/plain", "done" end,
})
local Fail = pipeline.define("store.unreadable.Fail", {
  max_attempts = 1, run = function() error(pipeline.Abort "no") end,
})

describe("what cannot be read", function()
  local engine, core, broken

  before_each(function()
    engine = helper.open()
    core, broken = engine._core, {}
    -- The same engine of the core, whose reads fail for as long as their names are in `broken`.
    engine._core = setmetatable({}, {
      __index = function(_, name)
        return function(_, ...)
          if broken[name] then return nil, "EIO", "cannot be read (for the spec)" end
          return core[name](core, ...)
        end
      end,
    })
  end)
  after_each(function()
    engine._core = core
    helper.finish()
  end)
  teardown(helper.clean)

  local CALLS = {
    { "wait", { "stage_get" }, function(stages) return engine:wait(stages.done) end },
    { "wait for an id", { "stage_get" }, function(stages) return engine:wait(stages.done.id) end },
    { "wait for one that failed, and its errors", { "failures_get" },
      function(stages) return engine:wait(stages.failed) end },
    { "from_id", { "stage_get" }, function(stages) return pipeline.from_id(stages.done.id) end },
    { "from_id by key", { "stage_get" }, function() return pipeline.from_id("key") end },
    { "get_status_tree", { "stage_get" }, function(stages) return pipeline.get_status_tree(stages.done.id) end },
    { "get_status_tree, the tree", { "tree_page" }, function(stages)
      return pipeline.get_status_tree(stages.done.id)
    end },
    { "get_root_list", { "roots_list" }, function() return pipeline.get_root_list() end },
    { "status", { "counts_get" }, function() return engine:status() end },
    { "check", { "check" }, function() return engine:check() end },
    { "retry", { "stage_get" }, function(stages) return stages.open:retry("again") end },
    { "complete", { "stage_get" }, function(stages) return stages.open:complete(1, { strict = true }) end },
    { "fill of a slot", { "stage_get" }, function(stages) return stages.done:fill(stages.open.outputs.other, 1) end },
    { "the key of the root", { "stage_get" }, function(stages) return stages.child.root_id end },
    { "the callback URL", { "stage_get", "claim_check" }, function(stages)
      local answer = engine:handle { method = "GET", path = "/_ah/pipeline/callback",
        query = "pipeline_id=" .. stages.open.id }
      assert.equal(500, answer.status)
      error(pipeline.StoreError "cannot be read (for the spec)", 0)
    end },
  }

  for _, row in ipairs(CALLS) do
    it("is an error that says why: " .. row[1], function()
      local Parent = helper.define(function(self) return self:spawn(Echo(2)) end)
      local stages = { open = Wait(), done = Echo(1), failed = Fail(), parent = Parent() }
      for name, stage in pairs(stages) do stage:start { idempotence_key = name == "done" and "key" or nil } end
      engine:drain()
      local _, child = helper.find(stages.parent, Echo)
      stages.child = pipeline.from_id(child)
      for _, name in ipairs(row[2]) do broken[name] = true end
      local problem = helper.raises(pipeline.StoreError, row[3], stages)
      assert.truthy(problem.message:find("cannot be read (for the spec)", 1, true), problem.message)
    end)
  end
end)

-- ---- descriptors -------------------------------------------------------------------------------------------------

-- Runs a program that may have `limit` descriptors; gives the lines that it prints.
local function run(limit, program)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write([[
    local pipeline = require "pipeline"
    local function exhaust(but)
      local list = {}
      repeat
        local file = io.open("/dev/null")
        list[#list + 1] = file
      until not file
      for _ = 1, but or 0 do table.remove(list):close() end
      return list
    end
    local Echo = pipeline.define("spec.Echo", { run = function(_, value) return value end })
  ]], program)
  file:close()
  local pipe = io.popen(("ulimit -n %d; %s %s 2>&1"):format(limit, os.getenv("LUA") or "lua5.4", name))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  local ok = pipe:close()
  os.remove(name)
  assert(ok, table.concat(lines, "\n"))
  return lines
end

describe("a process without descriptors left", function()
  after_each(helper.finish)
  teardown(helper.clean)

  it("reads what it has written, and works", function()
    local path = helper.path()
    assert.same({ "7", "done", "8", "0" }, run(80, ([[
      local engine = pipeline.open(%q, { log = function() end })
      local stage = Echo(7)
      stage:start()
      local held = exhaust()
      print(engine:wait(stage).default.value)
      print(pipeline.get_status_tree(stage.id).pipelines[stage.id].status)
      print(engine:wait(Echo(8):start()).default.value)
      print(#engine:check())
      for _, file in ipairs(held) do file:close() end
      engine:close()
    ]]):format(path)))
  end)

  -- With none left, one, two, … until there are enough: an engine is there and whole, or there is a reason.
  it("opens an engine that can do everything, or says why not", function()
    local path = helper.path()
    local lines = run(100, ([[
      local works = 0
      pipeline.open(%q .. "0"):close()
      for left = 0, 60 do
        local held = exhaust(left)
        local ok, engine = pcall(pipeline.open, %q, { log = function() end })
        if ok then
          works = works + 1
          local more = exhaust()
          assert(engine:wait(Echo(left):start()).default.value == left)
          for _, file in ipairs(more) do file:close() end
          engine:close()
        else
          assert(works == 0, "fewer were enough")
          assert(pipeline.is(engine, pipeline.StoreError), tostring(engine))
          assert(tostring(engine):find("Too many open files"), left .. ": " .. tostring(engine))
        end
        for _, file in ipairs(held) do file:close() end
        collectgarbage()
      end
      print(works > 20)
    ]]):format(path, path))
    assert.same({ "true" }, lines)
  end)
end)
