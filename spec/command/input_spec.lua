--- What is given to the commands and cannot be: each says in one line what is wrong, and what to do instead.

local support = require "spec.command.support"

describe("what cannot be", function()
  local scene

  setup(function()
    scene = support.scene()
    scene:write("more.lua", [[
      local pipeline, taskqueue = require "pipeline", require "pipeline.taskqueue"
      pipeline.workflow("more.Flow", { run = function(self) self:wait_event("go") end })
      taskqueue.configure { mail = {}, slow = { retry_parameters = { task_retry_limit = 0 } } }
      if os.getenv "FILL" then
        taskqueue.add { url = "/nowhere", queue_name = "slow", name = "gone" }
        taskqueue.Queue("mail"):pause()
      end
      return true
    ]])
    scene:must { "start", "demo.Ask", "--module", "demo.lua", "--key", "ask" }
    scene:must { "start", "demo.Parent", "--module", "demo.lua", "--key", "failed" }
    scene:must { "start", "more.Flow", "--module", "more.lua", "--key", "flow" }
    local worker = scene:spawn({ "worker", "demo.lua", "more.lua", "-q" }, { env = { FILL = "1" } })
    assert(support.eventually(support.SECONDS, function()
      local code, out = scene:run { "--json", "dead", "slow" }
      local _, failed = scene:run { "--json", "show", "key:failed" }
      local _, flow = scene:run { "--json", "show", "key:flow" }
      local _, ask = scene:run { "--json", "show", "key:ask" }
      return code == 0 and out:find('"dead"', 1, true) and failed:find('"aborted"', 1, true)
        and flow:find('"suspended"', 1, true) and ask:find('"open"', 1, true)
    end), worker.said())
    scene:stop(worker)
    scene:must { "start", "demo.Add", "1", "2", "--module", "demo.lua", "--queue", "mail", "--key", "mailed" }
  end)
  teardown(function()
    scene:close()
    support.remove()
  end)

  local inputs = {
    { 2, "'zz' is no cursor; it is what stands behind 'more: --cursor' below a list", "list", "--cursor", "zz" },
    { 2, "'zz' is no cursor", "tasks", "mail", "--cursor", "zz" },
    { 2, "unknown option '-1'; write -- before what begins with a dash", "list", "--limit", "-1" },
    { 3, "there is no queue 'mial'; did you mean 'mail'?", "list", "--queue", "mial" },
    { 3, "there is no queue 'mial'; did you mean 'mail'?", "cleanup", "--queue", "mial", "--dry-run" },
    { 3, "there is no queue 'mial'; did you mean 'mail'?", "tasks", "mial" },
    { 3, "there is no queue 'mial'; did you mean 'mail'?", "revive", "mial/x" },
    { 2, "what is to be set? Write NAME=VALUE", "set", "mail" },
    { 2, "did you mean 'rate'?", "set", "mail", "rat=5/s" },
    { 2, "there is no port 99999", "serve", "127.0.0.1:99999" },
    { 2, "there is no port 99999", "worker", "demo.lua", "--serve", "99999" },
    { 1, "name the file that defines it with --module FILE.lua", "callback", "key:ask", "answer=1" },
    { 1, "is no durable function", "journal", "failed" },
    { 1, "No such file or directory; name another file", "backup", "none/copy.db" },
  }
  for _, input in ipairs(inputs) do
    local words = table.move(input, 3, #input, 1, {})
    it(("C8 is said in one line, with what to do: pipeline %s"):format(table.concat(words, " ")), function()
      local code, out, err = scene:run(words)
      assert.same({ input[1], "" }, { code, out }, err)
      assert.truthy(err:find(input[2], 1, true), err)
      local _, lines = err:gsub("\n", "")
      assert.equal(1, lines, err)
    end)
  end

  it("C8 a class that nothing has, or a queue that is a new one: the nearest known is named", function()
    local _, _, err = scene:run { "list", "--class", "demo.Parnt" }
    assert.equal("no pipelines; did you mean the class 'demo.Parent'?\n", err)
    assert.equal("this would clean up 0 pipelines; did you mean the class 'demo.Parent'?\n",
      (scene:must { "cleanup", "--class", "demo.Parnt", "--dry-run" }))
    _, _, err = scene:run { "start", "demo.Add", "1", "2", "--module", "demo.lua", "--queue", "mial" }
    assert.truthy(err:find("queue 'mial' is a new one; did you mean 'mail'?", 1, true), err)
  end)

  it("what looks like JSON and is none is said so wherever JSON is taken", function()
    for _, words in ipairs { { "signal", "flow", "go", "{yes" }, { "complete", "ask", "{yes" } } do
      local _, err = scene:must(words)
      assert.truthy(err:find("'{yes' is no JSON, so it is taken as a text", 1, true), err)
    end
  end)

  it("C4 a dead task has been tried as often as is said, and logs tell of the failure before the abort", function()
    assert.equal(1, scene:json({ "dead", "slow" }).items[1].attempt)
    local kinds = {}
    for _, line in ipairs(scene:json({ "logs", "key:failed" }).lines) do
      if line.class == "demo.Bad" then kinds[#kinds + 1] = line.kind end
    end
    assert.same({ "created", "failure", "aborted" }, kinds)
  end)

  it("C4 ids are as long as it takes to tell them apart and to use them, in terminals of 40 and 80 columns", function()
    scene:must { "start", "demo.Sum", "1", "2", "3", "--module", "demo.lua", "--wait", "--key", "sum" }
    for i = 1, 3 do scene:must { "start", "demo.Add", i, "2", "--module", "demo.lua" } end
    for _, columns in ipairs { 40, 80 } do
      local screens = scene:screens({ { "list" }, { "show", "sum" } }, { columns = columns, lines = 500 })
      local seen, count = {}, 0
      local shown = columns == 80 and screens[1] .. screens[2]:gsub("^[^\n]*\n", "") or screens[1]
      for id in shown:gsub("\27%[[%d;]*m", ""):gmatch("%x+") do
        if #id >= 16 and #id < 32 then
          assert.is_nil(seen[id], id)
          seen[id], count = true, count + 1
          scene:must { "show", id }
        end
      end
      assert.is_true(count >= 3, screens[1] .. screens[2])
    end
    local screen = scene:screens({ { "tasks", "mail" } }, { columns = 80, lines = 500 })[1]
    local address = screen:gsub("\27%[[%d;]*m", ""):match("mail/%x+")
    scene:must { "why", address }
  end)

  it("C7 why of a pipeline in a pull queue: it is executed all the same", function()
    scene:must { "set", "mail", "mode=pull" }
    scene:must { "resume-queue", "mail" }
    local codes = {}
    for _, reason in ipairs(scene:json({ "why", "mailed" }).reasons) do codes[#codes + 1] = reason.code end
    assert.same({ "no_worker" }, codes)
    for _, queue in ipairs(scene:json({ "queues" }).items) do
      if queue.name == "mail" then assert.same({ "pull", 1 }, { queue.mode, queue.ready }) end
    end
    local worker = scene:worker()
    assert(support.eventually(support.SECONDS, function()
      return scene:json({ "show", "mailed" }).stages[1].state == "done"
    end))
    scene:stop(worker)
  end)
end)
