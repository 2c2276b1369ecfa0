-- fence_spec.lua: what a name in a file may lead to. Whoever can write the file can write names, so each of these
-- payloads is made by hand, as an attacker would.

local core = require "pipeline.core"
local deferred = require "pipeline.deferred"
local functions = require "spec.deferred.functions"
local helper = require "spec.support.helper"
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"

local fence = require "spec.deferred.fenced"

describe("a stored name", function()
  local engine, directory

  before_each(function()
    engine = helper.open()
    functions.forget()
    fence.reached = false
  end)
  after_each(helper.finish)

  local function payload(form, ...)
    return assert(core.encode({ "deferred/1 " .. form, ... }, select("#", ...) + 1))
  end

  local function refused(bytes, pattern)
    local object = helper.raises(deferred.PermanentTaskFailure, deferred.run, bytes)
    assert.matches(pattern, object.message)
    assert.is_false(fence.reached)
  end

  -- A function as an argument, named by module and path, as the codec writes it.
  local function named(module, path)
    local function text(s) return string.char(0x78, #s) .. s end
    return "\xd8\x1b\x83" .. text("lua-function") .. text(module) .. text(path)
  end

  local dangerous = {
    "os.execute", "os.remove", "os.exit", "os.getenv", "os.date", "io.open", "io.popen", "io.write", "io.lines",
    "debug.sethook", "debug.getregistry", "debug.setmetatable", "package.loadlib", "package.searchpath",
    "_G.load", "_G.loadfile", "_G.dofile", "_G.require", "_G.setmetatable", "_G.rawset", "_G.collectgarbage",
    "_G.os.execute", "_G.io.popen", "_G.package.loadlib", "package.loaded.os.execute", "_G.package.loaded.os.execute",
    "spec.deferred.fenced.run", "spec.deferred.fenced.deep.run", "spec.deferred.fenced.os.execute",
    "spec.deferred.fenced.os", "os", "io", "debug", "package",
  }
  for _, name in ipairs(dangerous) do
    it("never leads out of the program: " .. name, function()
      refused(payload("name", name, "true"), "cannot be made")
      refused(payload("static", name, "execute", "true"), "cannot be made")
      helper.raises(pipeline.SerializationError, deferred.serialize, name, "true")
    end)
  end

  it("of a function outside of `modules` leads nowhere, though the module is loaded", function()
    local outside = { fn = function() fence.reached = true end, Class = {} }
    outside.Class.__index, outside.Class.go = outside.Class, outside.fn
    package.loaded["fence_outside"] = outside
    finally(function() package.loaded["fence_outside"] = nil end)
    refused(payload("name", "fence_outside.fn"), "fence_outside.fn.*modules")
    refused(payload("static", "fence_outside.Class", "go"), "modules")
    fence.other = outside -- a field of a permitted module is no way into another module
    refused(payload("name", "spec.deferred.fenced.other.fn"), "neither registered")
    fence.other = nil
    helper.raises(pipeline.SerializationError, deferred.serialize, outside.fn)
    helper.raises(pipeline.SerializationError, deferred.serialize, setmetatable({}, outside.Class), "go")
    deferred.register("fence.fn", outside.fn)
    deferred.run(payload("name", "fence.fn"))
    assert.is_true(fence.reached)
  end)

  it("among the arguments of a stored call is bound as well", function()
    local list = payload("name", "spec.deferred.functions.record", "x")
    local at = list:find("\x61x", 1, true)
    for _, pair in ipairs { { "os", "execute" }, { "io", "popen" }, { "_G", "load" }, { "spec.deferred.fenced", "run" },
      { "socket", "tcp" }, { "pipeline", "open" } } do
      if pair[1] == "socket" then require "socket" end
      refused(list:sub(1, at - 1) .. named(pair[1], pair[2]), "cannot be read")
    end
    deferred.run(list:sub(1, at - 1) .. named("string", "rep"))
    assert.equal(string.rep, functions.calls[#functions.calls][1])
  end)

  it("as a value of a pipeline never leads out of the program", function()
    for _, pair in ipairs { { "os", "execute" }, { "io", "popen" }, { "_G", "dofile" }, { "debug", "sethook" } } do
      local value, code, message = core.decode(named(pair[1], pair[2]))
      assert.is_nil(value)
      assert.equal("ESERIALIZE", code)
      assert.matches("reaches out of the program", message)
    end
    helper.raises(pipeline.SerializationError, function()
      helper.define(function() end)(os.execute):start()
    end)
  end)

  it("is given to require only with the grammar of a module name", function()
    local pipe = assert(io.popen("mktemp -d"))
    directory = pipe:read("l")
    pipe:close()
    finally(function() os.execute("rm -rf '" .. directory .. "'") end)
    local file <close> = assert(io.open(directory .. "/evil.lua", "w"))
    file:write("FENCE_BROKEN = true return { X = function() end }")
    file:close()
    for _, module in ipairs { "spec.;" .. directory .. "/evil", "spec.?;" .. directory .. "/evil", "spec./evil",
      "spec..evil", "spec.\0evil", "spec. evil", "spec.", ".spec", "spec/../evil", "spec.-evil", "spec.9evil",
      "spec.%evil" } do
      assert.is_false(core.may_require(module), module)
      refused(payload("name", module .. ".X"), "cannot be made")
      assert.is_nil(core.decode(named(module, "X")))
      -- a class path in the file
      local found, why = require("pipeline.workflow.class").find(module .. ".X")
      assert.is_nil(found)
      assert.matches("not under the prefixes", why)
    end
    assert.is_nil(rawget(_G, "FENCE_BROKEN"))
    for _, module in ipairs { "spec.a", "spec.a_b.c9", "spec.a-b", "spec" } do
      assert.is_true(core.may_require(module), module)
    end
    assert.is_false(core.may_require("special"))
  end)

  it("is found up to four fields deep, and the error says how deep", function()
    functions.tree = { a = { b = { fn = function(x) functions.record(x) end, c = { fn = function() end } } } }
    finally(function() functions.tree = nil end)
    deferred.defer(functions.tree.a.b.fn, 7)
    deferred.defer("spec.deferred.functions.tree.a.b.fn", 8)
    engine:drain()
    assert.equal(2, #functions.calls)
    local object = helper.raises(pipeline.SerializationError, deferred.defer, functions.tree.a.b.c.fn)
    assert.matches("four fields deep", object.message)
  end)

  it("of a dangerous function that the program has registered is the program's own decision", function()
    deferred.register("fence.getenv", os.getenv)
    assert.equal(os.getenv("HOME"), deferred.run(deferred.serialize(os.getenv, "HOME")))
    assert.equal(os.getenv("HOME"), deferred.run(payload("name", "fence.getenv", "HOME")))
  end)

  it("that may not be called is kept among the dead tasks with what to do", function()
    local task = taskqueue.Task { payload = payload("name", "os.execute", "true"), url = "/_ah/queue/deferred" }
    task._kind = "deferred"
    task:add()
    engine:drain { delayed = true }
    local dead = taskqueue.Queue("default"):dead_tasks()
    assert.equal(1, #dead)
    assert.matches("os.execute.*deferred.register", dead[1].message)
  end)
end)
