-- examples_spec.lua: the programs in examples/ do what they say, and end by themselves.

local LUA = os.getenv("LUA") or "lua5.4"

-- Runs an example; returns its lines, with those of standard error unless the arguments send these elsewhere.
local function run(name, arguments, environment)
  local pipe = assert(io.popen(("2>&1 %s timeout 60 %s examples/%s.lua %s"):format(environment or "", LUA, name,
    arguments or "")))
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
    assert.equal(2, count(lines, "^first did"), text)
    assert.is_true(count(lines, "^second leased task%-%d+, lease 2$") >= 3, text)
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

  it("wordcount: the total is right, also when it kills itself again and again", function()
    with_directory(function(directory)
      local _, text = run("wordcount", ("lua/pipeline/common --db %s/w.db --approve"):format(directory))
      local _, crashed = run("wordcount", ("lua/pipeline/common --db %s/c.db --approve --crash"):format(directory))
      local total = text:match("total: %d+ words in 6 files\n$")
      assert.truthy(total, text)
      assert.truthy(crashed:find("\n" .. total, 1, true), crashed)
    end)
  end)

  describe("when the first attempt of everything fails,", function()
    local FAILING = "LUA_INIT='require \"spec.examples.failing\"'" -- which programs started by programs inherit

    -- The lines of a program, sorted, each once, and the last; without what is another each time: ids, ports, kills.
    local function said(name, arguments, environment)
      local seen, list, last = {}, {}, nil
      for _, line in ipairs((run(name, arguments, environment))) do
        last = line:gsub("127%.0%.0%.1:%d+", "HOST"):gsub("%x%x%x%x%x%x%x%x%x+", "ID"):gsub("after %d+ kills.*", "")
        if not seen[last] then list[#list + 1] = last end
        seen[last] = true
      end
      table.sort(list)
      return list, last
    end

    for _, program in ipairs {
      { "approval", "--answer approve" }, { "approval", "--answer disapprove" }, { "approval", "--seconds 0.3" },
      { "count_report" }, { "deferred_counter", in_any_order = true },
      { "delay_then_approve", "--seconds 0.1 --approve" },
      { "hosts/copas" }, { "hosts/cqueues" }, { "hosts/luv" }, { "taskqueue_url" }, { "transaction" },
      { "wordcount", "lua/pipeline/common --approve --db %s/w.db" },
      { "wordcount", "lua/pipeline/common --approve --crash --db %s/w.db" },
    } do
      local name, arguments = program[1], program[2] or ""
      it(("%s %s: ends as well, and has said the same"):format(name, arguments:gsub(" %-%-db.*", "")), function()
        local found, last = {}, {}
        for i, environment in ipairs { "", FAILING } do
          with_directory(function(directory)
            found[i], last[i] = said(name, arguments:format(directory) .. " 2>/dev/null", environment)
          end)
        end
        if not program.in_any_order then assert.equal(last[1], last[2], table.concat(found[2], "\n")) end
        if not arguments:find("--crash", 1, true) then assert.same(found[1], found[2]) end
      end)
    end

    it("approval: what is sent once is there once", function()
      local _, text = run("approval", "--answer approve 2>/dev/null", FAILING)
      assert.equal(1, select(2, text:gsub("mail from [^\n]* Purchase purchase%-1\n", "")), text)
      assert.equal(1, select(2, text:gsub("mail from [^\n]* purchase%-1: approved\n", "")), text)
    end)

    it("pull_workers: nothing is lost", function()
      local lines, text = run("pull_workers", "2>/dev/null", FAILING)
      assert.truthy(lines[#lines]:find("^0 tasks left, 0 lost"), text)
    end)
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
