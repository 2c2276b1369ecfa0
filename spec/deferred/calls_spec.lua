-- calls_spec.lua: what can be deferred, what is refused, and run(): D1 to D14, with G40 and G41.

local pipeline = require "pipeline"
local deferred = require "pipeline.deferred"
local functions = require "spec.deferred.functions"
local helper = require "spec.support.helper"

local Account, Saved = functions.Account, functions.Saved

describe("a deferred call", function()
  local engine
  before_each(function()
    engine = helper.open()
    functions.forget()
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  local function account(balance)
    return setmetatable({ owner = "ann", balance = balance }, Account)
  end

  -- Defers, works off, and gives what functions noted of the one call.
  local function made(...)
    deferred.defer(...)
    assert.equal(0, #functions.calls)
    engine:drain { delayed = true }
    assert.equal(1, #functions.calls)
    return functions.calls[1]
  end

  local function refused(pattern, ...)
    local problem = helper.raises(pipeline.SerializationError, deferred.defer, ...)
    assert.matches(pattern, problem.message)
    assert.equal(0, engine:status().queues.default and engine:status().queues.default.ready or 0)
    engine:drain { delayed = true }
    assert.equal(0, #functions.calls)
  end

  it("D1 of a function of a module has equal arguments, nil included", function()
    local shared = { 1 }
    local call = made(functions.record, 1, 1.5, "a\0b", nil, { x = { y = shared }, z = shared }, false, nil)
    assert.same({ 1, 1.5, "a\0b", nil, { x = { y = { 1 } }, z = { 1 } }, false, nil, n = 7 }, call)
    assert.equal("integer", math.type(call[1]))
    assert.equal(call[5].x.y, call[5].z)
  end)

  it("D1 of a name, \"module.function\"", function()
    assert.same({ "x", n = 1 }, made("spec.deferred.functions.record", "x"))
  end)

  it("D1 carries functions of modules as arguments", function()
    assert.equal(functions.fail, made(functions.record, functions.fail)[1])
  end)

  it("D2 of a class constructs an object when it runs", function()
    local before = functions.constructions()
    deferred.defer(Account, "bob")
    assert.equal(before, functions.constructions())
    engine:drain()
    assert.same({ "constructed", "bob", n = 2 }, functions.calls[1])
    assert.equal(before + 1, functions.constructions())
  end)

  it("D3 of a callable object has its state, and its constructor is not called again", function()
    local before = functions.constructions()
    assert.same({ "called", "ann", 7, 3, n = 4 }, made(account(7), 3))
    assert.equal(before, functions.constructions())
  end)

  it("D3 of an object whose class has __defer has what that gives", function()
    local object = setmetatable({ kept = 1, handle = io.stdout }, Saved)
    assert.same({ "saved", 1, true, nil, n = 4 }, made(object, "show"))
  end)

  it("D3 of an object of a class with a throw-away metatable", function()
    local object = setmetatable({ owner = "eve", balance = 2 }, { __index = Account })
    assert.same({ "deposit", "eve", 2, 1, n = 4 }, made(object, "deposit", 1))
  end)

  it("D4 of a method is looked up by its name when it runs", function()
    local deposit = Account.deposit
    deferred.defer(account(10), "deposit", 5)
    Account.deposit = function(...) deposit(...) functions.record("the new one") end
    engine:drain()
    Account.deposit = deposit
    assert.same({ { "deposit", "ann", 10, 5, n = 4 }, { "the new one", n = 1 } }, functions.calls)
  end)

  it("D4 invoke_member is the same, and is there for objects that can be called too", function()
    assert.equal(15, deferred.invoke_member(account(10), "deposit", 5))
    functions.forget()
    assert.same({ "deposit", "ann", 10, 5, n = 4 }, made(deferred.invoke_member, account(10), "deposit", 5))
    functions.forget()
    assert.same({ "called", "ann", 1, "no method", n = 4 }, made(account(1), "no method"))
    helper.misuse("a table without method 'withdraw'", deferred.invoke_member, account(1), "withdraw")
    helper.misuse("a number without method 'x'", deferred.invoke_member, 5, "x")
  end)

  it("D5 of a method of a class has the class", function()
    assert.same({ "class method", true, 4, n = 3 }, made(Account, "class_method", 4))
  end)

  it("D6 of built-in functions", function()
    assert.equal("ababab", deferred.run(deferred.serialize(string.rep, "ab", 3)))
    assert.equal(3, deferred.run(deferred.serialize(math.max, 1, 3)))
    deferred.register("spec.date", os.date) -- of os only what the program itself has registered
    assert.equal("1970", deferred.run(deferred.serialize("spec.date", "!%Y", 0)))
    assert.equal("4", deferred.run(deferred.serialize(tostring, 4)))
    deferred.defer(string.rep, "ab", 3)
    engine:drain()
  end)

  it("D7 of a static method", function()
    assert.same({ "static", 1, n = 2 }, made(Account.static, 1))
    functions.forget()
    assert.same({ "static", 2, n = 2 }, made("spec.deferred.functions.Account.static", 2))
  end)

  it("D8 L21 of an anonymous function is refused, and the place is named", function()
    local up = 5
    refused("^defer: .*calls_spec.lua:%d+%)$", function() return up end)
    refused("^defer: argument 2, field \"x\": .*function", functions.record, 1, { x = function() end })
    refused("^defer: argument 1: .*function", account(1), "deposit", function() end)
    refused("^defer: argument 1: .*function", Account, "class_method", function() end)
  end)

  it("D8 of an object of a class nobody can find is refused", function()
    local Hidden = {}
    Hidden.__index = Hidden
    function Hidden.method() end
    refused("^defer: the object: .*metatable", setmetatable({}, Hidden), "method")
    refused("^defer: argument 1, field \"o\": .*metatable", functions.record, { o = setmetatable({}, Hidden) })
  end)

  it("D9 of what cannot be called is refused", function()
    for _, value in ipairs { 5, true, {} } do
      helper.misuse("calls_spec.lua:%d+: bad argument #1 to 'defer' %(function, name or callable object expected, got ",
        function() deferred.defer(value) end)
      helper.misuse("calls_spec.lua:%d+: bad argument #1 to 'serialize'", function()
        local bytes = deferred.serialize(value)
        return bytes
      end)
    end
    helper.misuse("got nil", deferred.defer)
    helper.misuse("has no method 'withdraw'", deferred.defer, setmetatable({}, Saved), "withdraw")
    refused("'nothing' is neither registered nor", "nothing")
    refused("'string.nothing' is not a field of module string", "string.nothing")
    refused("neither registered", "os.execute('x').y")
  end)

  it("D10 G41 of arguments that cannot be stored is refused, and the place is named", function()
    refused("^defer: argument 1, field \"a%[1%]\": .*coroutine", functions.record, { a = { coroutine.create(print) } })
    refused("^defer: argument 3: .*userdata", functions.record, 1, 2, io.stdout)
    refused("userdata", io.stdout, "write", "x")
    refused("key", functions.record, { [{}] = 1 })
  end)

  it("D10 G41 of futures and slots of pipelines is refused", function()
    local problem
    local Child = helper.define(function() return 1 end)
    local Parent = helper.define(function(self)
      local child = self:spawn(Child())
      problem = helper.raises(pipeline.SerializationError, deferred.defer, functions.record, { f = child })
    end)
    helper.outputs(Parent())
    assert.matches("argument 1, field \"f\": .*cannot wait for a future", problem.message)
    assert.equal(0, #functions.calls)
  end)

  it("D11 run returns the function's own results", function()
    assert.same({ "result", 1, nil, n = 3 }, table.pack(deferred.run(deferred.serialize(functions.record, 1, nil))))
    assert.equal(4, deferred.run(deferred.serialize(account(3), "deposit", 1)))
  end)

  it("D12 run of what cannot be read is a permanent failure", function()
    local core = require "pipeline.core"
    local good = deferred.serialize(functions.record, 1)
    local object = deferred.serialize(account(1), "deposit")
    local list = { "", "x", "\255", good:sub(1, -2), good .. "\0", (core.encode_value { "deferred/1 name" }),
      (core.encode_value {}), (core.encode_value { "deferred/2 name", "string.rep" }),
      (core.encode_value { "deferred/1 name", {} }), (core.encode_value { "deferred/1 other", "string.rep" }),
      (core.encode_value { "deferred/1 object", "string.rep" }), (core.encode_value { "deferred/1 object", 5 }),
      (core.encode_value { "deferred/1 object", { 5 } }), (core.encode_value { "deferred/1 method", { 5 }, "x" }),
      (core.encode_value { "deferred/1 static", "string", 5 }), (core.encode_value { 5, "string.rep" }),
      (core.encode_value { "deferred/1 name", "math.pi" }), (core.encode_value { "deferred/1 name", "no.such" }),
      object:sub(1, 20) }
    for _, bytes in ipairs(list) do
      local problem = helper.raises(deferred.PermanentTaskFailure, deferred.run, bytes)
      assert.matches("^the call cannot be ", problem.message)
    end
    assert.equal(0, #functions.calls)
    helper.misuse("bad argument #1 to 'run' %(string expected, got nil%)", deferred.run)
  end)

  it("D13 errors of the function come out of run unchanged", function()
    local problem = { "mine" }
    functions.raises = problem
    local ok, raised = pcall(deferred.run, deferred.serialize(functions.fail_once))
    assert.is_false(ok)
    assert.equal(problem, raised)
    ok, raised = pcall(deferred.run, deferred.serialize(functions.fail, "text"))
    assert.same({ false, "text" }, { ok, raised })
  end)

  it("D14 G40 has names and data in the store, neither code nor globals", function()
    local bytes = deferred.serialize(functions.record, "argument")
    assert.matches("spec%.deferred%.functions%.record", bytes)
    assert.is_nil(bytes:find("\27Lua", 1, true))
    assert.is_true(#bytes < 80)
    functions.extra = "before"
    deferred.defer(functions.record)
    functions.extra = "after"
    engine:drain()
    assert.equal("after", functions.extra)
    functions.extra = nil
  end)

  it("may await, and belongs to its engine", function()
    local other = helper.open()
    function functions.sleep()
      pipeline.default():sleep(30)
      functions.record(pipeline.default() == other)
    end
    local task = require("pipeline.taskqueue.task").new({ payload = deferred.serialize(functions.sleep) },
      { kind = "deferred" })
    local form = require("pipeline.taskqueue.task").form(task, other._core, "default")
    other._core:task_add({ form }, false)
    other:drain { delayed = true }
    assert.same({ { true, n = 1 } }, functions.calls)
    assert.is_true(other:now() >= 1700000030)
    functions.sleep = nil
  end)
end)

describe("a name", function()
  local engine
  before_each(function()
    engine = helper.open()
    functions.forget()
  end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("L21 can be registered for a function with upvalues", function()
    local seen = {}
    local fn = deferred.register("spec.closure", function(x) seen[#seen + 1] = x end)
    deferred.defer(fn, 1)
    deferred.defer("spec.closure", 2)
    engine:drain()
    assert.same({ 1, 2 }, seen)
    deferred.defer(functions.record, fn)
    engine:drain()
    assert.equal(fn, functions.calls[1][1])
  end)

  it("L21 can be registered for a class, whose objects are found by it", function()
    local Local = {}
    Local.__index = Local
    function Local.show(self, x) functions.record(self.value, x) end
    Local.__call = Local.show
    deferred.register("spec.a.b.Local", Local)
    deferred.defer(setmetatable({ value = 3 }, Local), "show", 4)
    deferred.defer(setmetatable({ value = 5 }, Local), 6)
    deferred.defer(functions.record, setmetatable({ value = 7 }, Local))
    engine:drain()
    assert.same({ 3, 4, n = 2 }, functions.calls[1])
    assert.same({ 5, 6, n = 2 }, functions.calls[2])
    assert.equal(Local, getmetatable(functions.calls[3][1]))
  end)

  it("is registered once", function()
    local fn = function() end
    deferred.register("spec.once", fn)
    assert.equal(fn, deferred.register("spec.once", fn))
    local problem = helper.raises(pipeline.ConfigurationError, deferred.register, "spec.once", function() end)
    assert.matches("'spec.once' is taken", problem.message)
    helper.misuse("bad argument #1 to 'register' %(name expected, got nil", deferred.register)
    helper.misuse("bad argument #1 to 'register' %(name expected, got an empty one", deferred.register, "", fn)
    helper.misuse("bad argument #2 to 'register' %(function or class expected, got number", deferred.register, "x", 5)
  end)

  it("G39 that leads nowhere any more is found by its alias", function()
    package.loaded["spec.old_module"] = { send = functions.record, inner = { send = functions.record } }
    local fn = function() end
    package.loaded["spec.old_module"].helper = fn
    local record, inner = functions.record, package.loaded["spec.old_module"].inner
    functions.record = nil -- so that the old name is the only one
    deferred.defer("spec.old_module.send", 1)
    deferred.defer("spec.old_module.inner.send", 2)
    deferred.defer(inner.send, fn)
    functions.record = record
    package.loaded["spec.old_module"] = nil
    functions.helper = fn
    deferred.alias("spec.old_module", "spec.older_module")
    deferred.alias("spec.older_module.send", "spec.deferred.functions.record")
    deferred.alias("spec.old_module.inner.send", "spec.deferred.functions.record")
    deferred.alias("spec.older_module.helper", "spec.deferred.functions.helper")
    engine:drain()
    assert.same({ 1, n = 1 }, functions.calls[1])
    assert.same({ 2, n = 1 }, functions.calls[2])
    assert.equal(fn, functions.calls[3][1])
    functions.helper = nil
  end)

  it("G39 of a class that moved is found by its alias, for its objects too", function()
    local Moved = { __index = false }
    Moved.__index = Moved
    function Moved.show(self) functions.record(self.x) end
    package.loaded["spec.before"] = { Moved = Moved }
    deferred.defer(setmetatable({ x = 1 }, Moved), "show")
    package.loaded["spec.before"] = nil
    functions.Moved = Moved
    deferred.alias("spec.before.Moved", "spec.deferred.functions.Moved")
    engine:drain()
    assert.same({ { 1, n = 1 } }, functions.calls)
    functions.Moved = nil
  end)

  it("has no alias that leads in a circle", function()
    deferred.alias("spec.circle.a", "spec.circle.b")
    for _, pair in ipairs { { "spec.circle.b", "spec.circle.a" }, { "spec.circle", "spec.circle" },
      { "spec.long", "spec.long.longer" } } do
      helper.raises(pipeline.ConfigurationError, deferred.alias, pair[1], pair[2])
    end
    helper.misuse("bad argument #2 to 'alias'", deferred.alias, "x")
  end)

  it("may be that of a module that only the worker has", function()
    deferred.defer("spec.only_there.go", 5)
    engine:close()
    package.preload["spec.only_there"] = function() return { go = functions.record } end
    local worker = helper.open { path = engine._path, modules = { "spec.only_there" } }
    worker:drain()
    assert.same({ { 5, n = 1 } }, functions.calls)
    package.preload["spec.only_there"] = nil
  end)
end)
