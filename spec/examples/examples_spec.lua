-- examples_spec.lua: the programs in examples/ do what they say, and end by themselves.

local LUA = os.getenv("LUA") or "lua5.4"

-- Runs an example; returns its lines.
local function run(name, arguments)
  local pipe = assert(io.popen(("timeout 60 %s examples/%s.lua %s 2>&1"):format(LUA, name, arguments or "")))
  local text = pipe:read("a")
  local ok, how, code = pipe:close()
  assert(ok, ("%s: %s %s\n%s"):format(name, how, tostring(code), text))
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines, text
end

local function with_directory(fn)
  local pipe = assert(io.popen("mktemp -d"))
  local directory = pipe:read("l")
  pipe:close()
  local ok, problem = pcall(fn, directory)
  os.execute("rm -rf '" .. directory .. "'")
  if not ok then error(problem, 0) end
end

local function count(lines, pattern)
  local n = 0
  for _, line in ipairs(lines) do
    if line:find(pattern) then n = n + 1 end
  end
  return n
end

describe("example", function()
  it("pull_workers: two processes lease, one is killed, nothing is lost", function()
    local lines, text = run("pull_workers")
    assert.equal(1, count(lines, "^20 tasks in the queue$"), text)
    assert.equal(5, count(lines, "^first leased"), text)
    assert.is_true(count(lines, "^first did") >= 2 and count(lines, "^first did") <= 5, text)
    assert.is_true(count(lines, "^second leased task%-%d+, lease 2$") >= 1, text)
    for i = 1, 20 do assert.is_true(count(lines, ("did task%%-%02d,"):format(i)) >= 1, text) end
    assert.truthy(lines[#lines]:find("^0 tasks left, 0 lost, [012345] done twice$"), text)
  end)

  it("Q119 taskqueue_url: a route enqueues, a route inserts the row, and the row is there once", function()
    local lines, text = run("taskqueue_url", "2>/dev/null")
    assert.same({ 'added Task(url="/task_do"', "the user has an answer: 200 done soon",
      "a stranger who posts to /task_do has another: 403", "try 2: done", "row: original text -> new text" },
      { lines[1]:match("^[^,]*"), lines[2], lines[3], lines[4], lines[5] }, text)
    assert.equal(5, #lines, text)
    with_directory(function(directory)
      for times = 1, 2 do -- on a file the rows of all visits stay
        lines, text = run("taskqueue_url", ("--db %s/t.db 2>/dev/null"):format(directory))
        assert.equal(times, count(lines, "^row: original text %-> new text$"), text)
      end
    end)
  end)

  it("deferred_counter: counts later, in this process or another", function()
    local lines, text = run("deferred_counter")
    assert.equal(1, count(lines, "^counter: %+22, now 42$") + count(lines, "^counter: %+20, now 42$"), text)
    assert.equal(1, count(lines, "^later: %+1, now 1$"), text)
    assert.equal(1, count(lines, "^ann: %+3, now 3$"), text)
    assert.equal(1, count(lines, "^unreliable: %+3, now 3$"), text)
    assert.equal(1, count(lines, "good morning"), text)
    assert.equal(1, count(lines, "SerializationError"), text)
    with_directory(function(directory)
      local first = run("deferred_counter", ("--db %s/c.db"):format(directory))
      assert.equal(0, count(first, "now"))
      assert.equal(1, count(first, "run again with %-%-work"))
      local second = run("deferred_counter", ("--db %s/c.db --work"):format(directory))
      assert.equal(1, count(second, "^counter: .*now 42$"))
    end)
  end)

  it("G34 delay_then_approve: waits for time, then for a person", function()
    local _, text = run("delay_then_approve", "--seconds 0.1 --approve")
    assert.truthy(text:find("approve", 1, true), text)
  end)

  it("P232 count_report: red, green, blue over two red, one blue, one green give 4, also in test mode", function()
    local lines, text = run("count_report")
    assert.same({ "finalized: 4", "4" }, { lines[#lines - 1], lines[#lines] }, text)
    assert.equal(1, count(lines, "^useless: attempt 2$"), text)
    lines, text = run("count_report", "--test")
    assert.same({ "finalized: 4", "4" }, { lines[#lines - 1], lines[#lines] }, text)
    assert.equal(1, count(lines, "^useless: attempt 1$"), text)
    lines, text = run("count_report", "--test red")
    assert.equal("2", lines[#lines], text)
  end)

  it("approval: asks, is answered by itself, and reports", function()
    local lines, text = run("approval", "--answer approve")
    assert.equal("purchase-1: approved", lines[#lines], text)
    assert.equal(1, count(lines, "^Shall we buy chair, desk, lamp for 52400 cents%?$"), text)
    assert.equal(1, count(lines, "^The purchase of 524%.00 is approved%.$"), text)
  end)

  for _, name in ipairs { "pull_workers", "taskqueue_url", "deferred_counter", "delay_then_approve", "approval",
    "count_report" } do
    it(name .. " says how it is called", function()
      local pipe = assert(io.popen(("%s examples/%s.lua --nonsense 2>&1"):format(LUA, name)))
      local text = pipe:read("a")
      assert.is_nil((pipe:close()))
      assert.truthy(text:find("usage: " .. name .. ".lua", 1, true), text)
    end)
  end

  for _, host in ipairs { "luv", "cqueues", "copas" } do
    it(("hosts/%s: the engine works inside a program that lives on %s"):format(host, host), function()
      local lines, text = run("hosts/" .. host)
      assert.equal("hello " .. host, lines[1], text)
      if lines[2] then assert.matches("went on: true$", lines[2]) end
    end)
  end
end)
