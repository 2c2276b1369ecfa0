--- Several processes and the resume of an aborted tree.

local classes = require "spec.multi.classes"
local processes = require "spec.crash.processes"
local support = require "spec.multi.support"

describe("the resume of a tree, among processes", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)

  local function aborted(...)
    local root = classes.Wide(...):start()
    assert.is_true(root:abort("enough"))
    return root
  end

  local function say_go() assert(io.open(scene.path .. ".go", "w")):close() end

  local function state(root) return scene.engine._core:stage_get(root._id).state end

  it("is done by one of those that ask at the same time; the others hear that it is not aborted any more", function()
    local pids, ids = {}, {}
    for i = 1, 20 do ids[i] = aborted(3).id end
    for i = 1, 3 do pids[i] = scene:spawn("start_resume", nil, table.concat(ids, ",")) end
    say_go()
    for _, pid in ipairs(pids) do scene.group:wait_for(pid, 30) end
    assert.equal(20, #scene:read "won")
    assert.equal(40, #scene:read "lost")
    local pid = scene:spawn "work"
    for _, id in ipairs(ids) do scene.engine:wait(id, { timeout = 60 }) end
    scene.group:signal(pid, "TERM")
    scene.group:wait_for(pid, 10)
    for _, id in ipairs(ids) do assert.equal(1, (scene:begun(id))) end
  end)

  it("is done whole or not at all by a process that is killed in it", function()
    local root = classes.Wide(400):start()
    local pid = scene:spawn("work", { concurrency = 1 })
    assert(support.eventually(30, function() return #scene:read "begin" > 20 end))
    root:abort("enough")
    scene.group:signal(pid, "KILL")
    scene.group:wait(pid)
    local worker = scene:spawn "work" -- ends what the other one had
    assert(support.eventually(30, function()
      for _, member in ipairs(scene.engine._core:tree_get(root._id)) do
        if member.state ~= "aborted" and member.state ~= "done" then return false end
      end
      return true
    end))
    scene.group:signal(worker, "TERM")
    scene.group:wait_for(worker, 10)
    say_go()
    for i = 0, 5 do
      pid = scene:spawn("start_resume", nil, root.id)
      processes.sleep(0.001 * i)
      scene.group:signal(pid, "KILL")
      scene.group:wait(pid)
      local states = {}
      for _, member in ipairs(scene.engine._core:tree_get(root._id)) do states[member.state] = true end
      assert.is_false(states.aborted and (states.ready or states.run) or false)
      if state(root) ~= "aborted" then break end
    end
    if state(root) == "aborted" then assert.is_true(root:resume()) end
    pid = scene:spawn "work"
    assert.equal(400, scene.engine:wait(root, { timeout = 60 }).default.value)
    scene.group:signal(pid, "TERM")
    scene.group:wait_for(pid, 10)
    assert.equal(1, (scene:begun(root.id)))
  end)
end)
