-- self:spawn(child, { fallback = value }): a part of the tree that fails ends alone.

local check = require "spec.crash.check"
local pipeline = require "pipeline"
local helper = require "spec.support.helper"

local child, states = helper.child, helper.states

describe("a fallback", function()
  local engine, ended, ran

  local Fail = pipeline.define("fallback.Fail", {
    max_attempts = 2, backoff_seconds = 1, output_names = { "more" },
    run = function(self, how)
      ran = ran + 1
      if how == "fill" then self:fill("more", "own", { publish = true }) end
      if how == "abort" then error(pipeline.Abort "given up") end
      error("no", 0)
    end,
    finalized = function(self)
      table.insert(ended, ("%s %s"):format(tostring(self.was_aborted), tostring(self.outputs.default.value)))
    end,
  })
  local Give = pipeline.define("fallback.Give", { run = function(_, value) return value end })
  local List = pipeline.define("fallback.List", { run = function(_, ...) return { ... } end })
  local Deep = pipeline.define("fallback.Deep", {
    run = function(self, given)
      self:spawn(Give(1))
      return self:spawn(Fail(), given)
    end,
  })
  local Async = pipeline.define("fallback.Async", {
    async = true, run = function() end, try_cancel = function() return true end,
  })

  before_each(function()
    engine = helper.open()
    ended, ran = {}, 0
  end)
  after_each(function()
    local path = engine._path
    helper.finish()
    assert.same({}, check.file(path))
  end)
  teardown(helper.clean)

  local function root_of(run) return helper.define { max_attempts = 1, run = run }() end

  it("becomes the outputs that are not filled, once the child has failed for good; the parent goes on", function()
    for how, attempts in pairs { fail = 2, abort = 1 } do
      ended, ran = {}, 0
      local root = root_of(function(self)
        return self:spawn(List(self:spawn(Fail(how), { fallback = "instead" }), self:spawn(Give(2))))
      end)
      assert.same({ "instead", 2 }, helper.result(root))
      assert.equal(attempts, ran)
      assert.same({ "true instead" }, ended)
      assert.same({ done = 3, aborted = 1 }, states(root))
    end
  end)

  it("leaves outputs that are filled as they are", function()
    local root = root_of(function(self)
      local failed = self:spawn(Fail("fill"), { fallback = "instead" })
      return self:spawn(List(failed, failed.more))
    end)
    assert.same({ "instead", "own" }, helper.result(root))
  end)

  it("is shown by the status, beside the abort and its reason", function()
    local root = root_of(function(self) return self:spawn(Fail(), { fallback = { 1, 2 } }) end)
    assert.same({ 1, 2 }, helper.result(root))
    local entry = helper.find(root, Fail)
    assert.same({ "aborted", true }, { entry.status, entry.fallbackTaken })
    assert.equal("Aborting after 2 attempts. Error: no", entry.abortMessage)
    assert.same({ "done" }, { helper.entry(root).status, helper.entry(root).fallbackTaken })
    assert.is_nil(helper.entry(root).abortMessage)
    assert.equal(1, #helper.log(30) - 2)
    assert.truthy(table.concat(helper.log(30), "\n"):find("the fallback above fallback.Fail", 1, true))
  end)

  it("holds for all that is below the child", function()
    local root = root_of(function(self)
      return self:spawn(List(self:spawn(Deep(), { fallback = "outer" }), self:spawn(Give(3))))
    end)
    assert.same({ "outer", 3 }, helper.result(root))
    assert.same({ done = 4, aborted = 2 }, states(root))
  end)

  it("holds for the children of an earlier run of an async child, too", function()
    local runs = 0
    local Again = pipeline.define("fallback.Again", {
      async = true, max_attempts = 2, try_cancel = function() return true end,
      run = function(self)
        runs = runs + 1
        if runs > 1 then error("no", 0) end
        self:spawn(Async())
      end,
    })
    local root = root_of(function(self)
      return self:spawn(List(self:spawn(Again(), { fallback = "instead" })))
    end):start()
    engine:drain()
    assert.is_true(child(root, Again):retry("once more"))
    engine:drain { delayed = true }
    assert.same({ "instead" }, engine:wait(root).default.value)
    assert.same({ 2, { done = 2, aborted = 2 } }, { runs, states(root) })
  end)

  it("inside another one counts before that", function()
    local root = root_of(function(self)
      return self:spawn(Deep({ fallback = "inner" }), { fallback = "outer" })
    end)
    assert.equal("inner", helper.result(root))
    assert.equal("done", helper.entry(child(root, Deep)).status)
  end)

  it("lets the next ones of in_order and of after start", function()
    local root = root_of(function(self)
      local failed
      self:in_order(function()
        failed = self:spawn(Fail(), { fallback = 0 })
        self:spawn(Give(1))
      end)
      local last
      self:after({ failed }, function() last = self:spawn(Give("last")) end)
      return last
    end)
    assert.equal("last", helper.result(root))
    assert.same({ done = 3, aborted = 1 }, states(root))
  end)

  it("does not keep the tree from being aborted from outside, nor a failure elsewhere", function()
    local root = root_of(function(self)
      self:spawn(Async(), { fallback = 1 })
      return self:spawn(Give(1))
    end):start()
    engine:drain()
    assert.is_true(child(root, Async):abort("enough"))
    engine:drain { delayed = true }
    helper.raises(pipeline.AbortedError, engine.wait, engine, root)
    assert.is_nil(helper.find(root, Async).fallbackTaken)
    local other = root_of(function(self)
      self:spawn(Async(), { fallback = 1 })
      return self:spawn(Fail())
    end)
    helper.aborted(other)
  end)

  it("aborts an async child with what it has, too, and a value that comes late does not count", function()
    local Part = helper.define(function(self)
      self:spawn(Async())
      return self:spawn(Fail())
    end)
    local root = root_of(function(self) return self:spawn(Part(), { fallback = "instead" }) end)
    assert.equal("instead", helper.result(root))
    assert.same({ done = 1, aborted = 3 }, states(root))
    helper.raises(pipeline.UnexpectedPipelineError, function() child(root, Async):complete(5) end)
  end)

  it("is kept in the file: it is taken after the program has started again", function()
    local root = root_of(function(self) return self:spawn(Fail(), { fallback = ("x"):rep(5000) }) end):start()
    local id, path = root.id, engine._path
    engine:drain()
    assert.equal(1, ran)
    engine:close()
    engine = helper.open { path = path, virtual_start = 1700000100.0 }
    engine:drain { delayed = true }
    assert.equal(("x"):rep(5000), engine:wait(id, { timeout = 0 }).default.value)
    engine:from_id(id):cleanup()
    engine:drain()
  end)

  it("that was taken stays taken when the tree is resumed later", function()
    local broken = true
    local Fickle = helper.define { max_attempts = 1, run = function(_, value)
      if broken then error("no", 0) end
      return value
    end }
    local root = root_of(function(self)
      return self:spawn(List(self:spawn(Deep(), { fallback = "instead" }),
        self:spawn(Fickle(self:spawn(pipeline.common.Delay { seconds = 60 })))))
    end)
    helper.aborted(root)
    assert.equal(2, ran)
    broken = false
    assert.is_true(root:resume())
    engine:drain { delayed = true }
    assert.same({ "instead", 60 }, engine:wait(root, { timeout = 0 }).default.value)
    assert.equal(2, ran)
  end)

  it("may be any value that can be stored but a future, and is checked where it is given", function()
    local problems = {}
    local root = root_of(function(self)
      local given = self:spawn(Give(1))
      for _, value in ipairs { given, print and function() end, setmetatable({}, { __name = "x" }) } do
        local ok, problem = pcall(self.spawn, self, Give(2), { fallback = value })
        if not ok then problems[#problems + 1] = pipeline.is(problem, pipeline.SerializationError) end
      end
      helper.misuse("fallbck", self.spawn, self, Give(3), { fallbck = 1 })
      return self:spawn(List(self:spawn(Fail(), { fallback = false })))
    end)
    assert.same({ false }, helper.result(root))
    assert.same({ true, true }, { problems[1], problems[2] })
  end)

  it("is taken in start_test, at once or when all attempts have failed", function()
    local Root = helper.define(function(self)
      return self:spawn(List(self:spawn(Deep(), { fallback = "instead" }), self:spawn(Give(1))))
    end)
    assert.same({ "instead", 1 }, Root():start_test().outputs.default.value)
    assert.equal(1, ran)
    ran = 0
    assert.same({ "instead", 1 }, Root():start_test({ retry = true }).outputs.default.value)
    assert.equal(2, ran)
    local problem = select(2, pcall(function() Deep():start_test() end))
    assert.truthy(tostring(problem):find("no", 1, true))
  end)
end)
