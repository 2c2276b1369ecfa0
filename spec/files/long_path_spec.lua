-- long_path_spec.lua: errors about a file say why, however long its path is.

local pipeline = require "pipeline"
local processes = require "spec.crash.processes"

describe("a store with a long path", function()
  local directory
  before_each(function() directory = processes.directory() end)
  after_each(function() os.execute("rm -rf " .. processes.quote(directory)) end)

  it("that cannot be opened says why, and which file it is", function()
    local path = directory .. ("/" .. ("d"):rep(100)):rep(4) .. "/jobs.db"
    local ok, problem = pcall(pipeline.open, path)
    assert.is_false(ok)
    local text = tostring(problem)
    assert.truthy(text:find("unable to open", 1, true) or text:find("No such file", 1, true), text)
    assert.truthy(text:find("jobs.db", 1, true), text)
  end)
end)
