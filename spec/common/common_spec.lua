-- The library's own pipelines: values, numbers, lists, texts (P233–P250, L25–L27, M1), each in test mode and on a
-- store, with values and with futures in every place.

local pipeline = require "pipeline"
local common = pipeline.common
local helper = require "spec.support.helper"
local support = require "spec.common.support"

local gives, fails = support.gives, support.fails

describe("pipeline.common", function()
  before_each(function() helper.open() end)
  after_each(helper.finish)
  teardown(helper.clean)

  it("M1 has every class of the original under its name, known by it to the store", function()
    for name in ([[Return Ignore Dict List AbortIfTrue All Any Complement Max Min Sum Multiply Negate Extend Append
        Concat Union Intersection Uniquify Format Log Delay EmailToContinue]]):gmatch("%a+") do
      assert.is_true(pipeline.is_class(common[name]), name)
      assert.equal("pipeline.common." .. name, common[name].class_path)
    end
  end)

  it("M1 can be extended, and the checks of arguments with it", function()
    local Double = helper.define { extends = common.Sum, run = function(_, a, b) return 2 * (a + b) end }
    assert.equal(6, Double(1, 2):start_test().outputs.default.value)
    helper.misuse("bad argument #1 to 'Sum'", Double)
  end)

  it("P233 Return gives its value, or nil", function()
    gives(5, "Return", 5)
    gives({ a = { 1, 2 } }, "Return", { a = { 1, 2 } })
    gives(nil, "Return")
    gives(false, "Return", false)
  end)

  it("P234 Ignore gives nil", function()
    gives(nil, "Ignore")
    gives(nil, "Ignore", 1, "b", {})
  end)

  it("P235 Dict gives the table, List a list; both may be empty", function()
    gives({ a = 1, b = "two" }, "Dict", { a = 1, b = "two" })
    gives({}, "Dict")
    gives({ 1, "two", { 3 } }, "List", 1, "two", { 3 })
    gives({}, "List")
    gives({ 1, nil, 3 }, "List", 1, nil, 3)
    helper.misuse("one table expected", common.Dict, 1)
    helper.misuse("one table expected", common.Dict, {}, {})
  end)

  it("P236 L16 AbortIfTrue aborts with the message if the value is true, as 0 and \"\" are, else gives nil", function()
    gives(nil, "AbortIfTrue", false)
    gives(nil, "AbortIfTrue", nil, { message = "unused" })
    for _, value in ipairs { true, 0, "" } do
      support.each_way("AbortIfTrue", function(stage, evaluate)
        local ok, problem = pcall(evaluate, stage)
        assert.is_false(ok)
        assert.truthy(tostring(problem):find("too dear", 1, true), tostring(problem))
        assert.is_true(pipeline.is(problem, pipeline.Abort) or pipeline.is(problem, pipeline.AbortedError))
      end, value, { message = "too dear" })
    end
    fails("enough", "AbortIfTrue", true, "enough")
    local stage = common.AbortIfTrue(true, { message = "now" })
    assert.equal("now", helper.aborted(stage).reason)
    assert.equal(1, helper.entry(stage).currentAttempt)
    helper.misuse("unknown option 'mesage'; did you mean 'message'", common.AbortIfTrue, true, { mesage = "x" })
    helper.misuse("bad arguments to 'AbortIfTrue'", common.AbortIfTrue)
  end)

  it("P237 All is true only if there are arguments and all are true", function()
    gives(false, "All")
    gives(true, "All", true, 1, 0, "")
    gives(false, "All", true, false)
    gives(false, "All", true, nil)
    gives(false, "All", nil)
  end)

  it("P238 Any is true if one argument is", function()
    gives(false, "Any")
    gives(true, "Any", false, nil, 0)
    gives(false, "Any", false, nil)
  end)

  it("P239 Complement negates one value, or gives a list of negations", function()
    gives(false, "Complement", 1)
    gives(true, "Complement", nil)
    gives({ false, true, true, false }, "Complement", true, false, nil, "")
    gives({}, "Complement")
  end)

  it("P240 L25 Max, Min, Sum, Multiply, Negate without arguments are refused when they are made", function()
    for _, name in ipairs { "Max", "Min", "Sum", "Multiply", "Negate" } do
      local text = helper.misuse(("bad argument #1 to '%s'"):format(name), function()
        local stage = common[name]()
        return stage
      end)
      assert.truthy(text:find("common_spec.lua", 1, true), text)
    end
  end)

  it("P241 Max, Min, Sum and Multiply of numbers of both kinds", function()
    gives(3, "Max", 1, 3, 2)
    gives(3.5, "Max", 1, 3.5)
    gives("pear", "Max", "apple", "pear")
    gives(1, "Min", 1, 3, 2)
    gives(-1.5, "Min", 1, -1.5)
    gives(7, "Max", 7)
    gives(7, "Min", 7)
    gives(6, "Sum", 1, 2, 3)
    gives(1.5, "Sum", 1, 0.5)
    gives(7, "Sum", 7)
    gives(24, "Multiply", 2, 3, 4)
    gives(7, "Multiply", 7)
    gives(0, "Multiply", 0, math.mininteger)
    gives(math.mininteger, "Sum", math.mininteger + 1, -1)
    local nan = common.Max(1, 0 / 0, 2):start_test().outputs.default.value
    assert.is_true(nan ~= nan)
  end)

  it("P241 what cannot be calculated fails and says which argument it is", function()
    fails("Sum: argument 2: number expected, got string", "Sum", 1, "2")
    fails("Multiply: argument 1: number expected, got nil", "Multiply", nil)
    fails("Max: argument 2: number expected as argument 1 is, got string", "Max", 1, "2")
    fails("Min: argument 1: number or string expected, got table", "Min", {})
    fails("Sum: the result is larger", "Sum", math.maxinteger, 1)
    fails("Sum: the result is larger", "Sum", math.mininteger, -1)
    fails("Multiply: the result is larger", "Multiply", math.mininteger, -1)
    fails("Multiply: the result is larger", "Multiply", -1, math.mininteger)
    fails("Multiply: the result is larger", "Multiply", 1 << 40, 1 << 40)
  end)

  it("P242 Negate gives -v, or a list of these", function()
    gives(-5, "Negate", 5)
    gives({ -1, 2.5 }, "Negate", 1, -2.5)
    fails("Negate: argument 1: number expected, got string", "Negate", "5")
    fails("Negate: the result is larger", "Negate", math.mininteger)
  end)

  it("P243 Extend joins lists and opens one level", function()
    gives({ 1, 2, { 3 }, 4 }, "Extend", { 1, 2 }, {}, { { 3 }, 4 })
    gives({}, "Extend")
    fails("Extend: argument 2: list expected, got number", "Extend", {}, 7)
    fails("Extend: argument 1: list expected, got table that is no list", "Extend", { a = 1 })
    fails("Extend: argument 1: list expected, got nil", "Extend", nil, {})
  end)

  it("P244 Append gives a list of its arguments as they are", function()
    gives({ { 1 }, 2, {} }, "Append", { 1 }, 2, {})
    gives({}, "Append")
  end)

  it("P245 Concat joins strings and numbers, with a separator if there is one", function()
    gives("ab1", "Concat", "a", "b", 1)
    gives("a, b", "Concat", "a", "b", { separator = ", " })
    gives("", "Concat")
    gives("", "Concat", { separator = "-" })
    fails("Concat: argument 2: string expected, got boolean", "Concat", "a", true)
    fails("Concat: argument 1: string expected, got nil", "Concat", nil, "a")
    helper.misuse("bad argument #2 to 'Concat'", common.Concat, "a", { seperator = "-" })
    helper.misuse("bad argument #1 to 'Concat'", common.Concat, { separator = "-" }, "a")
  end)

  it("P246 L26 Union gives distinct elements in the order first seen", function()
    gives({ 3, 1, 2 }, "Union", { 3, 1 }, { 1, 2, 3 })
    gives({ 1, "1", true, false }, "Union", { 1, "1" }, { 1.0, true, false })
    gives({}, "Union")
    fails("Union: argument 2[1] is a table: it cannot be compared", "Union", { 1 }, { { 1 } })
    fails("Union: argument 1: list expected, got string", "Union", "ab")
    local list = common.Union({ 0 / 0, 1 }, { 0 / 0, 1 }):start_test().outputs.default.value
    assert.equal(3, #list)
  end)

  it("P247 L26 Intersection gives what is in all, in the order of the first", function()
    gives({ 3, 1 }, "Intersection", { 3, 2, 1, 3 }, { 1, 3.0 }, { 3, 1, 9 })
    gives({ 2, 1 }, "Intersection", { 2, 1, 2 })
    gives({}, "Intersection", { 1 }, {})
    gives({}, "Intersection")
    fails("Intersection: argument 2[1] is a table", "Intersection", {}, { {} })
  end)

  it("P248 L26 Uniquify gives its arguments without doubles, in the order first seen", function()
    gives({ "b", "a", 1 }, "Uniquify", "b", "a", "b", 1, 1.0, "a")
    gives({ 1, false }, "Uniquify", nil, 1, nil, false)
    gives({}, "Uniquify")
    fails("Uniquify: argument 2 is a table", "Uniquify", 1, {})
  end)

  it("P249 L27 Format.tuple fills in places in order, Format.dict by name", function()
    gives("2 of 7 %, 3.50", "Format.tuple", "%d of %s %%, %.2f", 2, 7, 3.5)
    gives("plain", "Format.tuple", "plain")
    gives("nil {1, 2}", "Format.tuple", "%s %s", nil, { 1, 2 })
    gives("Ada has 3 (100%)", "Format.dict", "%(who)s has %(n)d (100%%)", { who = "Ada", n = 3 })
    gives("  7|a b", "Format.dict", "%(n)3d|%(a b)s", { n = 7, ["a b"] = "a b" })
    fails("format: 1 values for more places than that", "Format.tuple", "%d %d", 1)
    fails("format: 2 values for 1 places", "Format.tuple", "%d", 1, 2)
    fails("format: value 1 for %d: ", "Format.tuple", "%d", "x")
    fails("format: '%y' is no conversion", "Format.tuple", "%y", 1)
    fails("format: there is no value 'who'", "Format.dict", "%(who)s", { whom = 1 })
    fails("is no conversion", "Format.dict", "%s", {})
    fails("table of values expected, got number", "Format.dict", "%(a)s", 7)
    helper.misuse("bad argument #1 to 'tuple'", common.Format.tuple, 7)
    helper.misuse("bad argument #1 to 'dict'", common.Format.dict)
  end)

  it("P249 Format of another kind aborts", function()
    local problem = helper.aborted(common.Format("list", "%d", 1))
    assert.truthy(problem.reason:find("'list' is neither 'tuple' nor 'dict'", 1, true))
  end)

  it("P250 Log writes at its level when it runs, and gives nil", function()
    local given = { { "debug", 10 }, { "info", 20 }, { "warning", 30 }, { "error", 40 }, { "critical", 50 } }
    local lines = {}
    pipeline.default()._log_function = function(level, text) lines[#lines + 1] = level .. " " .. text end
    for _, pair in ipairs(given) do
      assert.is_nil(helper.result(common.Log[pair[1]]("%s and %d", "a", 2)))
      assert.equal(("%d a and 2"):format(pair[2]), lines[#lines])
    end
    assert.is_nil(helper.result(common.Log.log(-7, "any level, 100% as it is")))
    assert.equal("-7 any level, 100% as it is", lines[#lines])
    assert.is_nil(helper.result(common.Log.info({ 1, 2 })))
    assert.equal("20 {1, 2}", lines[#lines])
    helper.misuse("bad argument #1 to 'log'", common.Log.log, "info", "x")
  end)

  it("P250 Log in test mode writes to the log of the current engine", function()
    assert.is_nil(common.Log.warning("careful: %s", "x"):start_test().outputs.default.value)
    assert.same({ "careful: x" }, helper.log(30))
  end)

  it("P241 P243 thousands of arguments are no trouble", function()
    local args = {}
    for i = 1, 5000 do args[i] = i end
    assert.equal(12502500, common.Sum(table.unpack(args)):start_test().outputs.default.value)
    assert.equal(5000, common.Max(table.unpack(args)):start_test().outputs.default.value)
    assert.equal(5000, #common.Uniquify(table.unpack(args)):start_test().outputs.default.value)
  end)
end)
