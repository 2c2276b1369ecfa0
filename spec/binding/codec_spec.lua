-- The value codec: exact round trips, errors that name the place, limits, hostile input.

local core = require "pipeline.core"

local SEED = tonumber(os.getenv("CODEC_SEED")) or os.time()
local MODULE = "codec_spec.jobs"

local function bytes(hex)
  return (hex:gsub("%s+", ""):gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function hex(text)
  return (text:gsub(".", function(char)
    return ("%02x"):format(char:byte())
  end))
end

-- Whether two values are the same to the last bit, with the same tables shared in the same places.
local function same(a, b, seen)
  seen = seen or {}
  if type(a) ~= "table" or type(b) ~= "table" then
    return math.type(a) == math.type(b) and (rawequal(a, b) and (a ~= 0 or 1 / a == 1 / b) or (a ~= a and b ~= b))
  end
  if seen[a] or seen[b] then
    return seen[a] == b and seen[b] == a
  end
  seen[a], seen[b] = b, a
  if getmetatable(a) ~= getmetatable(b) then
    return false
  end
  for key, value in next, a do
    if not same(value, rawget(b, key), seen) then
      return false
    end
  end
  for key in next, b do
    if rawget(a, key) == nil then
      return false
    end
  end
  return true
end

local function round_trip(value)
  local encoded, inputs, message = core.encode_value(value)
  assert(encoded and not inputs, message)
  local decoded, code, reason = core.decode(encoded)
  assert(code == nil, reason)
  return decoded, encoded
end

local function assert_same(value)
  local decoded, encoded = round_trip(value)
  if not same(value, decoded) then
    error("changed by the round trip: " .. hex(encoded:sub(1, 200)))
  end
  assert(encoded == core.encode_value(decoded), "not encoded the same again")
  return encoded
end

local function encode_error(...)
  local list = table.pack(...)
  local encoded, code, message = core.encode(list, list.n)
  assert.is_nil(encoded)
  assert.equal("ESERIALIZE", code)
  return message
end

local function decode_error(input, resolver)
  local value, code, message = core.decode(input, resolver)
  assert.is_nil(value)
  assert.equal("ESERIALIZE", code)
  assert.matches("at byte %d+: expected ", message)
  return message
end

local function nested(levels)
  local value = {}
  for _ = 2, levels do
    value = { value }
  end
  return value
end

describe("codec", function()
  setup(function()
    print(("codec_spec: seed %d (set CODEC_SEED to repeat)"):format(SEED))
  end)

  before_each(function()
    package.loaded[MODULE] = {}
    core.set_hooks {}
    core.set_module_prefixes {}
  end)

  after_each(function()
    for name in next, package.loaded do
      if type(name) == "string" and name:find("^codec_spec%.") then
        package.loaded[name] = nil
      end
    end
    core.set_hooks {}
    core.set_module_prefixes {}
  end)

  describe("scalars", function()
    it("keeps nil, booleans, integers and floats", function()
      local integers = { 0, 1, 23, 24, 255, 256, 65535, 65536, 4294967295, 4294967296, math.maxinteger }
      for _, i in ipairs(integers) do
        assert_same(i)
        assert_same(-i)
        assert_same(-i - 1)
      end
      local floats = { 0.0, -0.0, 1.0, -1.0, 0.1, 1e300, 5e-324, 2 ^ 53, 2 ^ 63, math.huge, -math.huge, 0 / 0 }
      for _, n in ipairs(floats) do
        assert_same(n)
      end
      assert_same(true)
      assert_same(false)
      assert_same(nil)
    end)

    it("writes them as RFC 8949 has them", function()
      local function encoded(value)
        return hex((core.encode_value(value)))
      end
      assert.equal("f6", encoded(nil))
      assert.equal("f5", encoded(true))
      assert.equal("01", encoded(1))
      assert.equal("fb3ff0000000000000", encoded(1.0))
      assert.equal("20", encoded(-1))
      assert.equal("3b7fffffffffffffff", encoded(math.mininteger))
      assert.equal("63616263", encoded("abc"))
      assert.equal("42ff00", encoded("\xff\0"))
      assert.equal("80", encoded {})
      assert.equal("820102", encoded { 1, 2 })
      assert.equal("a2016161fb3ff80000000000006162", encoded { "a", [1.5] = "b", [2] = nil })
    end)

    it("keeps the bits of a NaN", function()
      for _, n in ipairs { 0 / 0, -(0 / 0) } do
        assert.equal(string.pack("d", n), string.pack("d", (round_trip(n))))
      end
    end)

    it("keeps every string, as text only when it is UTF-8", function()
      local function major(text)
        return assert_same(text):byte() >> 5
      end
      for _, text in ipairs { "", "a", ("x"):rep(23), ("x"):rep(24), ("x"):rep(300), ("x"):rep(70000), "a\0b", "é",
        "€", "😀", "\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}", ("x"):rep(7) .. "é" .. ("y"):rep(9) } do
        assert.equal(3, major(text))
      end
      for _, text in ipairs { "\x80", "\xff", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3", "\xe2\x82", "\xf0\x9f\x98",
        "ab\xc3(", "12345678\xff" } do
        assert.equal(2, major(text))
      end
    end)
  end)

  describe("argument lists", function()
    it("keep their count, with nil in any place", function()
      for n = 0, 4 do
        local encoded = core.encode({}, n)
        local list, count = core.decode_list(encoded)
        assert.same({}, list)
        assert.equal(n, count)
      end
      local list, count = core.decode_list((core.encode({ nil, false, nil, 4.0 }, 5)))
      assert.equal(5, count)
      assert(same({ nil, false, nil, 4.0 }, list))
    end)

    it("share tables between arguments", function()
      local t = { 1 }
      local list = core.decode_list((core.encode({ t, { t } }, 2)))
      assert.equal(list[1], list[2][1])
    end)

    it("refuse what is not a list when read as one", function()
      for _, input in ipairs { "\x01", "\xa0", "\xf6", "", "\x81" } do
        local list, code, message = core.decode_list(input)
        assert.is_nil(list)
        assert.equal("ESERIALIZE", code)
        assert.matches("at byte %d: expected ", message)
      end
    end)
  end)

  describe("tables", function()
    it("keep sequences, maps, holes, mixed and odd keys", function()
      assert_same {}
      assert_same { {}, { {} } }
      assert_same { 1, 2.0, "three", { 4 }, false }
      assert_same { a = 1, b = { c = "d" }, [""] = 0 }
      assert_same { 1, nil, 3 }
      assert_same { 1, nil, 3, x = 1 }
      assert_same { 1, 2, x = "mixed" }
      assert_same { [2] = "two" }
      assert_same { [0] = "zero", "one" }
      assert_same { [-1] = 1, [1.5] = 2, [true] = 3, [false] = 4, ["1"] = 5, [math.huge] = 6, [math.mininteger] = 7 }
      assert_same { ["\xff"] = 1, ["é"] = 2, [("k"):rep(100)] = 3 }
    end)

    it("make no difference of how a table came about", function()
      local a, b = {}, {}
      for i = 1, 100 do
        a["k" .. i] = i
        b["k" .. 101 - i] = 101 - i
      end
      b.gone = 1
      b.gone = nil
      assert.equal((core.encode_value(a)), (core.encode_value(b)))
      assert_same(a)
    end)

    it("are written in canonical order of their keys", function()
      local encoded = core.encode_value { b = 1, a = 2, aa = 3, [10] = 4, [-1] = 5, [100] = 6, [false] = 7, [0.5] = 8 }
      assert.equal("a8 0a04 186406 2005 616102 616201 62616103 f407 fb3fe000000000000008",
        hex(encoded):gsub("^(..)(....)(......)(....)(......)(......)(........)(....)", "%1 %2 %3 %4 %5 %6 %7 %8 "))
    end)

    it("are read raw", function()
      local function trap()
        error("a metamethod ran")
      end
      package.loaded[MODULE].Trap = { __index = trap, __newindex = trap, __len = trap, __pairs = trap, __eq = trap,
        __tostring = trap, __name = "Trap", __call = trap, __close = trap }
      assert_same(setmetatable({ 1, 2, a = 3 }, package.loaded[MODULE].Trap))
    end)

    it("met twice come back as one", function()
      local t = { "shared" }
      assert_same { t, t, { t }, x = t }
      local decoded = round_trip { a = t, b = t, c = { "shared" } }
      assert.equal(decoded.a, decoded.b)
      assert.not_equal(decoded.a, decoded.c)
    end)

    it("in a cycle come back in a cycle", function()
      local t = { name = "loop" }
      t.self = t
      t.list = { t, { t } }
      assert_same(t)
      local left, right = {}, {}
      left.right, right.left = right, left
      assert_same { left, right }
      assert.equal("d81c81d81d00", hex(assert_same((function()
        local loop = {}
        loop[1] = loop
        return loop
      end)())))
    end)

    it("are not shared when they are only equal, nor are strings", function()
      assert.equal("828080", hex((core.encode_value { {}, {} })))
      assert.equal("8261616161", hex((core.encode_value { "a", "a" })))
    end)
  end)

  describe("functions", function()
    it("of loaded modules are stored by name", function()
      local jobs = package.loaded[MODULE]
      function jobs.send() end
      jobs.mail = { deliver = function() end }
      jobs["a.b"] = function() end
      assert_same { jobs.send, jobs.mail.deliver, jobs["a.b"], string.format, print, x = jobs.send }
      assert.equal(bytes "d81b83" .. "\x6clua-function\x6f" .. MODULE .. "\x64send", (core.encode_value(jobs.send)))
    end)

    it("take the shortest path, then the better module, then the smaller name", function()
      local function job() end
      local function name_of(fn)
        local encoded = core.encode_value(fn)
        return encoded:match("lua%-function.(.*)")
      end
      package.loaded["codec_spec.b"] = { zz = job, aa = job, nested = { a = job } }
      package.loaded["codec_spec.c"] = { a = job }
      assert.equal("codec_spec.b\x62aa", name_of(job))
      core.set_module_prefixes { "codec_spec.c" }
      package.loaded["codec_spec.b"].aa = nil -- what was found before is no longer true
      assert.equal("codec_spec.c\x61a", name_of(job))
      package.loaded["codec_spec.d"] = job
      package.loaded["codec_spec.c"].a = nil
      assert.equal("codec_spec.d\x60", name_of(job))
      assert.equal("string\x66format", name_of(string.format))
    end)

    it("are found behind field names with dots only where the name leads back", function()
      local jobs = package.loaded[MODULE]
      local function hidden() end
      jobs["a.b"] = 1
      jobs.a = { b = hidden }
      assert.matches("not a field of a loaded module", encode_error(hidden))
      jobs["a.b"] = nil
      jobs.a = { ["b.c"] = hidden }
      assert_same(hidden)
    end)

    it("are an error when they are closures", function()
      assert.equal("argument 1: cannot serialize a function (closure; not a field of a loaded module)",
        encode_error(function() end))
      assert.equal("argument 1: cannot serialize a function (written in C; not a field of a loaded module)",
        encode_error(string.gmatch("", "")))
    end)

    it("are looked up when decoded, never made", function()
      local jobs = package.loaded[MODULE]
      function jobs.send() end
      jobs.data = {}
      local encoded = core.encode_value(jobs.send)
      jobs.send = nil
      assert.matches('expected the name of a function: module "codec_spec.jobs" has no field "send"$',
        decode_error(encoded))
      jobs.send = 5
      assert.matches('expected the name of a function: "send" of module "codec_spec.jobs" is a number$',
        decode_error(encoded))
      package.loaded[MODULE] = nil
      assert.matches('module "codec_spec.jobs" is not loaded and not under', decode_error(encoded))
    end)

    it("ask the lookup hook for names that lead nowhere", function()
      local jobs = package.loaded[MODULE]
      function jobs.old() end
      local encoded, asked = core.encode_value(jobs.old), nil
      jobs.old = nil
      core.set_hooks { lookup = function(...)
        asked = { ... }
        return print
      end }
      assert.equal(print, (core.decode(encoded)))
      assert.same({ MODULE, "old", "lua-function" }, asked)
      core.set_hooks { lookup = function() error("no") end }
      assert.matches('has no field "old"', decode_error(encoded))
      core.set_hooks { lookup = function() return "text" end }
      assert.matches("is a string", decode_error(encoded))
    end)
  end)

  describe("modules", function()
    local loads

    before_each(function()
      loads = 0
      package.preload["codec_spec.lazy.mail"] = function()
        loads = loads + 1
        return { send = function() end }
      end
      package.preload["codec_spec.broken"] = function()
        error("it is broken", 0)
      end
    end)

    after_each(function()
      package.preload["codec_spec.lazy.mail"] = nil
      package.preload["codec_spec.broken"] = nil
    end)

    local function function_named(module, path)
      return bytes "d81b83" .. "\x6clua-function" .. (core.encode_value(module)) .. (core.encode_value(path))
    end

    it("are required only under the prefixes", function()
      local input = function_named("codec_spec.lazy.mail", "send")
      local not_enough = { {}, { "codec_spec.la" }, { "codec_spec.lazy.mail." }, { "codec_spec.lazy.mail.x" } }
      for _, prefixes in ipairs(not_enough) do
        core.set_module_prefixes(prefixes)
        assert.matches("is not loaded and not under", decode_error(input))
      end
      assert.equal(0, loads)
      for _, prefix in ipairs { "codec_spec", "codec_spec.", "codec_spec.lazy", "codec_spec.lazy.mail" } do
        package.loaded["codec_spec.lazy.mail"] = nil
        core.set_module_prefixes { "other", prefix }
        assert.is_function((core.decode(input)))
      end
      assert.equal(4, loads)
    end)

    it("that cannot be loaded are an error with the reason", function()
      core.set_module_prefixes { "codec_spec" }
      assert.matches('module "codec_spec.broken" cannot be loaded: .*it is broken',
        decode_error(function_named("codec_spec.broken", "f")))
      assert.matches("is not loaded and not under", decode_error(function_named("codec_spec./etc/passwd", "f")))
      assert.matches("is not loaded and not under", decode_error(function_named("codec_spec.a\0b", "f")))
    end)

    it("prefixes are non-empty strings", function()
      for _, list in ipairs { { "" }, { 1 }, { {} } } do
        assert.error_matches(function()
          core.set_module_prefixes(list)
        end, "bad argument #1")
      end
    end)
  end)

  describe("objects", function()
    local jobs, Account

    before_each(function()
      jobs = package.loaded[MODULE]
      Account = {}
      Account.__index = Account
      jobs.Account = Account
    end)

    it("come back with their class", function()
      local decoded = round_trip(setmetatable({ balance = 5, list = { 1 } }, Account))
      assert.equal(Account, getmetatable(decoded))
      assert.same({ 1 }, decoded.list)
      assert_same { setmetatable({}, Account), setmetatable({ 1, 2 }, Account), setmetatable({ [3] = 4 }, Account) }
    end)

    it("may be shared and in cycles", function()
      local account = setmetatable({}, Account)
      account.owner = { account = account }
      assert_same(account)
      assert_same { account, account, account.owner }
    end)

    it("have a class that is a module, or a field up to four fields deep", function()
      package.loaded["codec_spec.whole"] = { __index = {} }
      jobs.classes = { Inner = {} }
      assert_same(setmetatable({ 1 }, package.loaded["codec_spec.whole"]))
      assert_same(setmetatable({ 1 }, jobs.classes.Inner))
      jobs.classes.Inner = { Deep = { Deeper = { Deepest = {} } } }
      assert_same(setmetatable({ 1 }, jobs.classes.Inner.Deep))
      assert_same(setmetatable({ 1 }, jobs.classes.Inner.Deep.Deeper))
      assert.matches("^argument 1: cannot serialize an object %(its metatable is not a field of a loaded module%)$",
        encode_error(setmetatable({}, jobs.classes.Inner.Deep.Deeper.Deepest)))
    end)

    it("may have a metatable of their own that only points to the class", function()
      function Account.total() return 7 end
      local object = setmetatable({ 1 }, { __index = Account })
      local decoded, encoded = round_trip(object)
      assert.equal(7, decoded.total())
      assert.equal(1, decoded[1])
      assert.equal(encoded, (core.encode_value(decoded)))
      jobs.account_meta = { __index = Account }
      assert_same(setmetatable({ 1 }, jobs.account_meta))
      for _, metatable in ipairs { { __index = Account, __len = print }, { __index = {} }, {} } do
        assert.matches("its metatable is not a field", encode_error(setmetatable({}, metatable)))
      end
    end)

    it("give the table of __defer in place of their fields, also when it is inherited", function()
      function Account.__defer(self)
        return { id = self.id }
      end
      local Savings = setmetatable({}, Account)
      Savings.__index = Savings
      jobs.Savings = Savings
      for _, class in ipairs { Account, Savings } do
        local object = setmetatable({ id = 4, socket = io.stdout, on_done = function() end }, class)
        local decoded = round_trip { object, object }
        assert.equal(decoded[1], decoded[2])
        assert.equal(class, getmetatable(decoded[1]))
        assert.equal(4, rawget(decoded[1], "id"))
        assert.is_nil(rawget(decoded[1], "socket"))
      end
      local decoded = round_trip(setmetatable({ id = 5, f = io.stdout }, { __index = Account }))
      assert.equal(5, decoded.id)
    end)

    it("call __defer once, and it may give any table", function()
      local calls, list = 0, { 1, 2 }
      function Account.__defer(self)
        calls = calls + 1
        return self.plain
      end
      local object = setmetatable({ plain = list }, Account)
      local decoded = round_trip { object, object, list }
      assert.equal(1, calls)
      assert.same({ 1, 2 }, decoded[3])
      assert.same({ 1, 2 }, setmetatable(decoded[1], nil))
      object.plain = object
      decoded = round_trip(object)
      assert.equal(decoded, rawget(decoded, "plain"))
    end)

    it("report what goes wrong in __defer", function()
      local function message_of(fn)
        Account.__defer = fn
        return encode_error { x = setmetatable({}, Account) }
      end
      assert.equal('argument 1, field "x": cannot serialize an object: __defer failed: no',
        message_of(function() error("no", 0) end))
      assert.equal('argument 1, field "x": cannot serialize an object: __defer failed: said so',
        message_of(function() error { message = "said so" } end))
      assert.matches("__defer failed: %(error value is a nil%)$", message_of(function() error() end))
      assert.matches("__defer failed: attempt to yield", message_of(coroutine.yield))
      assert.matches("__defer gave a number, not a table$", message_of(function() return 5 end))
      assert.matches("limit", message_of(function() return { setmetatable({}, Account) } end))
      assert.matches("__defer failed: attempt to call", message_of(5))
    end)

    it("with a finalizer are refused on both sides", function()
      local encoded = core.encode_value(setmetatable({}, Account))
      Account.__gc = function() end
      assert.matches("expected a class of plain objects, found one with __gc", decode_error(encoded))
      assert.equal("argument 1: cannot serialize an object that has a finalizer (__gc)",
        encode_error(setmetatable({}, Account)))
    end)

    it("cannot be made into slots by the input", function()
      local encoded = core.encode_value(setmetatable({ 1 }, Account))
      Account.__pipeline_slot = true
      assert.matches("found one with __pipeline_slot", decode_error(encoded))
    end)

    it("need their class when decoded", function()
      local encoded = core.encode_value(setmetatable({}, Account))
      jobs.Account = nil
      assert.matches('expected the name of a table: module "codec_spec.jobs" has no field "Account"$',
        decode_error(encoded))
    end)
  end)

  describe("slots", function()
    local Slot = { __pipeline_slot = true }

    local function slot(id)
      return setmetatable({ id = id }, Slot)
    end

    before_each(function()
      core.set_hooks { slot_of = function(object)
        if type(object.id) == "string" then
          error(object.id, 0)
        end
        return object.id
      end }
    end)

    it("are replaced by their values, at any depth", function()
      local encoded, inputs = core.encode({ slot(7), { a = { slot(3), slot(7) } }, 1, slot(9) }, 4)
      assert.same({ 3, 7, 9 }, inputs)
      local list, n = core.decode_list(encoded, function(id)
        return id ~= 9 and id * 10 or nil
      end)
      assert.equal(4, n)
      assert.same({ 70, { a = { 30, 70 } }, 1 }, list)
      assert.equal("da504f535407", hex((core.encode_value(slot(7)))))
    end)

    it("give no inputs when there are none", function()
      local _, inputs = core.encode({ 1, {} }, 2)
      assert.is_nil(inputs)
    end)

    it("may be many", function()
      local list, expected = {}, {}
      for i = 1, 10000 do
        list[i] = slot((i * 7919) % 5000 + 1)
      end
      for i = 1, 5000 do
        expected[i] = i
      end
      local encoded, inputs = core.encode({ list }, 1)
      assert.same(expected, inputs)
      local decoded = core.decode_list(encoded, function(id)
        return id
      end)
      assert.equal(10000, #decoded[1])
      assert.equal(7919 % 5000 + 1, decoded[1][1])
    end)

    it("in a map that resolve to nil leave the key out", function()
      local decoded = core.decode((core.encode_value { a = slot(1), b = 2 }), function() end)
      assert.same({ b = 2 }, decoded)
    end)

    it("need a hook, an id, and a resolver", function()
      local encoded = core.encode_value(slot(1))
      assert.matches("at byte 1: expected a value, found a slot", decode_error(encoded))
      assert.equal('argument 1, field "a": cannot serialize a slot: not mine', encode_error { a = slot("not mine") })
      for _, id in ipairs { 0, -1, 1.5, {}, false } do
        assert.equal("argument 1: cannot serialize a slot (it has no id)", encode_error(slot(id)))
      end
      core.set_hooks {}
      assert.equal("argument 1: cannot serialize a slot (no engine knows it)", encode_error(slot(1)))
      for _, input in ipairs { "da504f5354", "da504f535400", "da504f535420", "da504f53541bffffffffffffffff" } do
        decode_error(bytes(input), function() end)
      end
    end)

    it("let errors of the resolver through as they are", function()
      local encoded, err = core.encode_value(slot(1)), { class = "SlotNotFilledError" }
      local ok, caught = pcall(core.decode, encoded, function()
        error(err)
      end)
      assert.is_false(ok)
      assert.equal(err, caught)
    end)
  end)

  describe("errors", function()
    local function closure() end

    it("name the place as it is written in Lua", function()
      local function place_of(...)
        return (encode_error(...):match("^(.-): cannot"))
      end
      assert.equal("argument 1", place_of(closure))
      assert.equal("argument 2", place_of(1, closure))
      assert.equal('argument 2, field "cfg.on_done"', place_of(1, { cfg = { on_done = closure } }))
      assert.equal('argument 1, field "a.b[3]"', place_of { a = { b = { 1, 2, closure } } })
      assert.equal('argument 1, field "[2][true][-0.5]"', place_of { 1, { [true] = { [-0.5] = closure } } })
      assert.equal([[argument 1, field "['odd key']['']['1st'].ok"]],
        place_of { ["odd key"] = { [""] = { ["1st"] = { ok = closure } } } })
      assert.equal([[argument 1, field "['??']"]], place_of { ["\n\xff"] = closure })
      assert.equal('argument 1, field "' .. ("k"):rep(40) .. '..."', place_of { [("k"):rep(99)] = closure })
    end)

    it("keep long places short", function()
      local value = closure
      for i = 1, 60 do
        value = { ["field_number_" .. i] = value }
      end
      local message = encode_error(value)
      assert.matches('^argument 1, field "field_number_60%.', message)
      assert.matches(' %.%.%. .*%.field_number_1": cannot serialize a function', message)
      assert.is_true(#message < 400)
    end)

    it("use the caller's words", function()
      local _, _, message = core.encode_value({ a = closure }, "return value")
      assert.matches('^return value, field "a": cannot', message)
      _, _, message = core.encode_value(closure)
      assert.matches("^value: cannot", message)
      _, _, message = core.encode({ 1, closure }, 2, "result")
      assert.matches("^result 2: cannot", message)
    end)

    it("say what cannot be serialized", function()
      assert.equal("argument 1: cannot serialize a coroutine", encode_error(coroutine.create(closure)))
      assert.equal("argument 1: cannot serialize a userdata", encode_error(io.stdout))
      assert.equal('argument 1, field "a": cannot serialize a table as a key of a table ' ..
        "(only strings, numbers and booleans)", encode_error { a = { [{}] = 1 } })
      assert.matches("a function as a key", encode_error { [print] = 1 })
    end)

    it("of use raise", function()
      for _, call in ipairs {
        function() core.encode() end, function() core.encode({}, "x") end, function() core.encode({}, -1) end,
        function() core.encode({}, 1 << 40) end, function() core.encode({}, 1, {}) end,
        function() core.encode_value() end, function() core.decode() end, function() core.decode(5) end,
        function() core.decode("", 5) end, function() core.decode_list({}) end, function() core.set_hooks() end,
        function() core.set_hooks { slot_of = 5 } end, function() core.set_module_prefixes("x") end,
      } do
        assert.error_matches(call, "bad argument #%d")
      end
    end)

    it("leave the codec usable", function()
      encode_error(closure)
      decode_error("\xff")
      assert_same { 1, { a = 2 } }
    end)
  end)

  describe("limits", function()
    it("allow 64 tables inside each other", function()
      assert_same(nested(64))
      assert.equal("81", hex((core.encode({ nested(64) }, 1))):sub(1, 2))
      local list = core.decode_list((core.encode({ nested(64) }, 1)))
      assert(same(nested(64), list[1]))
      assert.is_table((core.decode((core.encode({ nested(64) }, 1)))))
      assert.matches("^argument 1, field .*: nested deeper than the limit of 64 tables$", encode_error(nested(65)))
      assert.matches("limit of 64 tables", encode_error(nested(100)))
      assert.matches("limit of 64 tables", encode_error(nested(100000)))
    end)

    it("count the depth of what is written, however tables are shared", function()
      local tail = nested(63)
      local deep = tail
      for _ = 1, 3 do
        deep = { deep }
      end
      assert_same { a = tail, b = { tail } }
      assert.matches("limit of 64 tables", encode_error { [1] = { a = deep }, [2] = tail })
      local chain = { false }
      chain[1] = chain
      assert_same(chain)
    end)

    it("refuse 64 MiB at the call, before taking memory for them", function()
      local large = ("x"):rep(64 * 1024 * 1024)
      collectgarbage()
      local before = collectgarbage("count")
      assert.equal('argument 1, field "a": too large: the encoded size would be over the limit of 64 MiB ' ..
        "(67108864 bytes)", encode_error { a = large })
      assert.is_true(collectgarbage("count") - before < 1024)
      assert.matches("found more", decode_error(bytes "5a04000000" .. large))
      large = nil -- luacheck: ignore
      collectgarbage()
    end)

    it("refuse more table fields than the limit", function()
      local row, list = {}, {}
      for i = 1, 1000 do
        row[i] = true
      end
      for i = 1, 4300 do
        list[i] = table.move(row, 1, 1000, 1, {})
      end
      assert.matches("too large: more than the limit of 4194304 table fields", encode_error(list))
      list, row = nil, nil -- luacheck: ignore
      collectgarbage()
      local input = bytes "9a00400001" .. ("\0"):rep(0x400001)
      assert.matches("expected at most 4194304 table fields", decode_error(input))
    end)

    it("never make room for more than the input can hold", function()
      collectgarbage()
      for _, input in ipairs { "9bffffffffffffffff", "9b7fffffffffffffff", "9affffffff", "bbffffffffffffffff",
        "ba7fffffff", "9a00100000", "9a003fffff 9a003fffff 9a003fffff", "5bffffffffffffffff", "7b8000000000000000 00",
        "8299ffff", "bb8000000000000000", "bb8000000000000001" } do
        local before = collectgarbage("count")
        decode_error(bytes(input))
        assert.is_true(collectgarbage("count") - before < 64)
      end
      local half = bytes "9a00008000" .. ("\x99\xff\xff"):rep(20) .. ("\0"):rep(0x8000)
      local before = collectgarbage("count")
      decode_error(half)
      assert.is_true(collectgarbage("count") - before < 2048)
    end)

    it("hold for the depth of the input", function()
      assert.matches("expected at most 65 tables", decode_error(("\x81"):rep(66) .. "\0"))
      assert.matches("expected at most 65 tables", decode_error(("\x81"):rep(1000000)))
      assert.matches("expected", decode_error(("\xd8\x1c"):rep(100000) .. "\x80"))
      assert.matches("65 tables", decode_error(("\xa1\0"):rep(66) .. "\0"))
    end)
  end)

  describe("decoding", function()
    it("accepts any width of head and float, and undefined", function()
      assert.equal(1, (core.decode(bytes "1b0000000000000001")))
      assert.equal("a", (core.decode(bytes "780161")))
      assert.same({ 1 }, (core.decode(bytes "9b000000000000000101")))
      assert(same(1.5, (core.decode(bytes "f93e00"))))
      assert(same(math.huge, (core.decode(bytes "f97c00"))))
      assert(same(-0.0, (core.decode(bytes "f98000"))))
      assert(same(0 / 0, (core.decode(bytes "f97e00"))))
      assert(same(2.5, (core.decode(bytes "fa40200000"))))
      assert.same({ nil, 1 }, (core.decode(bytes "82f701")))
      assert.same({ b = 1 }, (core.decode(bytes "a26161f6616201")))
    end)

    local rejected = {
      { "", "at byte 1: expected a value, found the end" },
      { "82 01", "at byte 1: expected at most 1 entries" },
      { "82 01 18", "at byte 3: expected an item of at least 2 bytes, found the end after 1" },
      { "18", "at byte 1: expected an item of at least 2 bytes, found the end after 1" },
      { "63 6161", "at byte 1: expected an item of at least 4 bytes, found the end after 3" },
      { "01 02", "at byte 2: expected the end, found 1 more bytes" },
      { "62 c328", "at byte 1: expected UTF%-8 in a text" },
      { "63 eda080", "at byte 1: expected UTF%-8 in a text" },
      { "1b 8000000000000000", "at byte 1: expected an integer of 64 bits" },
      { "3b 8000000000000000", "at byte 1: expected an integer of 64 bits" },
      { "1c", "expected a value, found the reserved value 28" },
      { "e0", "expected a value, found the reserved value 224" },
      { "f3", "found the reserved value 243" },
      { "f8 20", "found the reserved value 248" },
      { "fc", "found the reserved value 252" },
      { "5f 40 ff", "expected a value, found an indefinite length" },
      { "7f 60 ff", "found an indefinite length" },
      { "9f ff", "found an indefinite length" },
      { "bf ff", "found an indefinite length" },
      { "81 ff", "at byte 2: expected a value, found a break" },
      { "c0 60", "expected a tag that is known here, found tag 0" },
      { "d9 d9f7 00", "found tag 55799" },
      { "db ffffffffffffffff 00", "expected a tag that is known here" },
      { "a1 f6 01", "at byte 2: expected a string, number or boolean as key, found null" },
      { "a1 f7 01", "as key, found null" },
      { "a1 80 01", "as key, found an array" },
      { "a1 a0 01", "as key, found a map" },
      { "a1 d81d00 01", "as key, found a tag" },
      { "a1 f97e00 01", "as key, found NaN" },
      { "a1 01", "expected at most 0 entries in what follows, found a map of more" },
      { "a2 6161 01 6161 02", "at byte 5: expected a new key, found one for the second time" },
      { "a2 6161 01 4161 02", "expected a new key" },
      { "a2 01 01 f93c00 02", "expected a new key" },
      { "a2 6161 f6 6161 02", "expected a new key" },
      { "d81d 00", "at byte 3: expected the number of a table met before" },
      { "82 d81c80 d81d01", "expected the number of a table met before, found another number" },
      { "82 d81c80 d81d20", "expected the number of a table met before, found a negative integer" },
      { "82 d81c80 d81d6130", "found text" },
      { "d81c 01", "expected an array, a map or an object to refer to, found an integer" },
      { "d81c d81c 80", "to refer to, found a tag" },
      { "d81c", "found the end" },
      { "d81d", "found the end" },
      { "d81b", "found the end" },
      { "d81b 01", "expected an array %[kind, module, path%]" },
      { "d81b 82 6161 6161", "expected an array %[kind" },
      { "d81b 83 01 02 03", "expected a kind of name, found an integer" },
      { "d81b 83 6161 6161 6161", 'expected a kind of name that is known here, found "a"' },
      { "d81b 83 6a 6c75612d6f626a656374 6161 6161", 'found "lua%-object"' },
      { "d81b 83 6c 6c75612d66756e6374696f6e 01 02", "expected the name of a module, found an integer" },
      { "d81b 83 6c 6c75612d66756e6374696f6e 6161 02", "expected a path in a module, found an integer" },
      { "d81b 83 6c 6c75612d66756e6374696f6e 6161 6162", 'module "a" is not loaded' },
      { "d81b 83 6c 6c75612d66756e6374696f6e 66737472696e67 60", "is a table" },
      { "d81c d81b 83 6c 6c75612d66756e6374696f6e 66737472696e67 63726570", "expected a kind of name" },
      { "d81b 84 6a 6c75612d6f626a656374 66737472696e67 63726570 80", "is a function" },
      { "d81b 84 6a 6c75612d6f626a656374 66737472696e67 60 01", "fields of an object %(an array or a map%), found an" },
      { "d81b 84 6a 6c75612d6f626a656374 66737472696e67 60", "expected the fields of an object, found the end" },
      { "d81b 84 6a 6c75612d6f626a656374 66737472696e67 60 d81c80", "expected the fields of an object" },
    }

    for _, case in ipairs(rejected) do
      it("refuses " .. (case[1] == "" and "nothing" or case[1]), function()
        assert.matches(case[2], decode_error(bytes(case[1])))
      end)
    end

    it("refuses every value cut short or with more behind it", function()
      local function f() end
      package.loaded[MODULE].f = f
      package.loaded[MODULE].C = {}
      local shared = { 1, 2 }
      local encoded = core.encode_value { shared, shared, a = { b = -1.5, c = "text", [true] = "\xff" }, f = f,
        o = setmetatable({ x = 1 }, package.loaded[MODULE].C), n = 1 << 40 }
      for cut = 0, #encoded - 1 do
        decode_error(encoded:sub(1, cut))
      end
      decode_error(encoded .. "\0")
      assert.is_table((core.decode(encoded)))
    end)
  end)

  describe("random values", function()
    local random, pool

    local scalars = {
      function() return random() < 0.5 end,
      function() return math.random(0) >> math.random(0, 63) end,
      function() return -(math.random(0) >> math.random(1, 63)) end,
      function() return (string.unpack("d", string.pack("j", math.random(0)))) end,
      function() return random(-3, 3) + 0.0 end,
      function() return ("k"):rep(random(0, 50)) end,
      function()
        local chars = {}
        for i = 1, random(0, 12) do
          chars[i] = string.char(random(0, 255))
        end
        return table.concat(chars)
      end,
      function() return utf8.char(random(0, 0x7f), random(0x80, 0xd7ff), random(0xe000, 0x10ffff)) end,
      function() return ({ print, string.rep, math.sin })[random(3)] end,
    }

    local function scalar()
      return scalars[random(#scalars)]()
    end

    local function key()
      local value
      repeat
        value = scalar()
      until value == value and type(value) ~= "function"
      return value
    end

    local function value(depth)
      if depth == 0 or random() < 0.4 then
        return scalar()
      elseif #pool > 0 and random() < 0.15 then
        return pool[random(#pool)]
      end
      local t = {}
      pool[#pool + 1] = t
      if random() < 0.5 then
        for i = 1, random(0, 8) do
          t[i] = value(depth - 1)
        end
      else
        for _ = 1, random(0, random() < 0.04 and 60 or 8) do
          t[random() < 0.3 and random(1, 9) or key()] = value(depth - 1)
        end
      end
      if random() < 0.1 then
        setmetatable(t, package.loaded[MODULE].C)
      end
      return t
    end

    before_each(function()
      random = math.random
      math.randomseed(SEED)
      package.loaded[MODULE].C = {}
    end)

    it("survive", function()
      for _ = 1, 500 do
        pool = {}
        assert_same(value(5))
      end
    end)

    it("damaged in any way give a value that survives, or an error", function()
      local function resolver(id)
        return id
      end
      for _ = 1, 200 do
        pool = {}
        local encoded = core.encode_value(value(4))
        for _ = 1, 30 do
          local at = random(#encoded)
          local damage = string.char(random(0, 255))
          local input = encoded:sub(1, at - 1) .. damage .. encoded:sub(at + (random() < 0.5 and 1 or 0))
          local decoded, code, message = core.decode(input, resolver)
          if code then
            assert(decoded == nil and message:find("at byte %d+: expected"), message)
          else
            assert_same(decoded)
          end
        end
      end
    end)
  end)
end)
