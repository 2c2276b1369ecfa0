-- release_spec.lua: a file that a released version has written opens in this one: older/release-0.1.tar.gz is what
-- version 0.1 left when it was killed at work (older/make.lua made it), with finished and pending work of all kinds.

local pipeline = require "pipeline"
local helper = require "spec.support.helper"
local classes = require "spec.store.older.classes"

-- Some seconds after the program was killed.
local LATER = 1795904640.0

-- The file, as a crash has left it: its last commits are in the log beside it.
local function unpacked()
  local path = helper.path()
  local folder = path .. ".d"
  assert(os.execute(("mkdir '%s' && tar -xzf spec/store/older/release-0.1.tar.gz -C '%s'"):format(folder, folder)))
  return folder .. "/release-0.1.db"
end

local function value_of(key)
  return pipeline.from_id(key).outputs.default.value
end

describe("N3 a file of version 0.1", function()
  local engine

  before_each(function()
    classes.is_mended, classes.ran = true, {}
    engine = helper.open { path = unpacked(), virtual_start = LATER }
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function state(key) return engine:stage(engine:find("key:" .. key)).state end

  it("opens; it has no faults, and what is in it is shown in the words of today", function()
    assert.same({}, engine:check())
    local seen = {}
    for _, key in ipairs { "done", "aborted", "tree", "asked", "retry", "delayed", "ready", "held" } do
      seen[key] = state(key)
    end
    assert.same({ done = "done", aborted = "aborted", tree = "open", asked = "open", retry = "delayed",
      delayed = "delayed", ready = "ready", held = "ready" }, seen)
  end)

  it("gives what was finished: values, failures, and keys that are taken", function()
    assert.equal(3, value_of "done")
    local failed = helper.raises(pipeline.AbortedError, engine.wait, engine, pipeline.from_id("aborted"))
    assert.truthy(failed.message:find("broken in 0.1", 1, true), failed.message)
    helper.raises(pipeline.PipelineExistsError, function() classes.Give(1):start { idempotence_key = "done" } end)
    assert.same({}, classes.ran)
  end)

  it("is worked off: what its process held, what waits for time, for others, for an answer", function()
    local asked = pipeline.from_id("asked")
    engine:drain()
    assert.equal("ready", value_of "ready")
    assert.equal("held", value_of "held")
    assert.same({}, engine:check())
    engine:callback("key:asked", { answer = "yes" })
    engine:drain { delayed = true }
    assert.equal("yes", engine:wait(asked).default.value)
    assert.equal("attempt 2", value_of "retry")
    assert.equal("later", value_of "delayed")
    assert.equal(42, value_of "tree")
    assert.same({ callback = 2, Give = 3, Hold = 1, Retry = 1 }, classes.ran)
    assert.same({}, engine:check())
  end)

  it("lets its aborted tree go on from where it failed", function()
    pipeline.from_id("aborted"):resume()
    engine:drain()
    assert.equal("works now", value_of "aborted")
    assert.same({}, engine:check())
  end)
end)
