--- The frame of the command: help, completion, the manual page, errors in one line with an exit code.

local support = require "spec.command.support"

describe("the command", function()
  local scene

  before_each(function() scene = support.scene() end)
  after_each(function() scene:close() end)
  teardown(support.remove)

  local function fails(code, text, words, given)
    local got, out, err = scene:run(words, given)
    assert.equal("", out)
    assert.equal(code, got, err)
    assert.truthy(err:find(text, 1, true), err)
    local _, lines = err:gsub("\n", "")
    assert.equal(1, lines, err)
  end

  it("says its version, in words and as JSON", function()
    local version = require("pipeline").version
    assert.equal("pipeline " .. version .. "\n", (scene:must { "version" }))
    assert.equal(version, scene:json({ "version" }).version)
  end)

  it("explains every command of its help, and the manual page has them all", function()
    local help, page = scene:must { "help" }, scene:must { "help", "--man" }
    local count = 0
    for _, group in ipairs(require("pipeline.command.grammar").groups()) do
      for _, command in ipairs(group.commands) do
        count = count + 1
        assert.truthy(help:find("\n  " .. command.name:gsub("%p", "%%%0") .. " "), command.name)
        local own = scene:must { "help", command.name }
        assert.truthy(own:find("^usage: pipeline " .. command.name:gsub("%p", "%%%0")), own)
        assert.truthy(page:find(".SS pipeline " .. command.name:gsub("%-", "\\-"), 1, true), command.name)
      end
    end
    assert.is_true(count >= 5)
  end)

  it("is installed with a manual page and completions that their shells can read", function()
    local prefix = support.installed()
    assert.is_true(os.execute(("man --warnings -E UTF-8 -l -Tutf8 %s/share/man/man1/pipeline.1 >%s/man 2>%s/man.err")
      :format(prefix, scene.directory, scene.directory)))
    assert.equal("", scene:read("man.err"))
    assert.truthy(scene:read("man"):find("worker", 1, true))
    assert.is_true(os.execute(("bash -n %s/share/bash-completion/completions/pipeline"):format(prefix)))
    for _, name in ipairs { "zsh/site-functions/_pipeline", "fish/vendor_completions.d/pipeline.fish" } do
      local file <close> = assert(io.open(prefix .. "/share/" .. name))
      assert.truthy(file:read("a"):find("start", 1, true), name)
    end
  end)

  it("does not touch a file that is no store when it only looks, and says what it is", function()
    scene:write("text.db", "precious\n")
    scene:write("empty.db", "")
    os.execute(("mkdir '%s/dir.db'; sqlite3 '%s/other.db' 'CREATE TABLE mine (x)'"):format(scene.directory,
      scene.directory))
    local before = scene:read("other.db")
    for name, why in pairs {
      ["text.db"] = "it is another kind of file", ["empty.db"] = "the file is no store",
      ["other.db"] = "the file is no store", ["dir.db"] = "name a file in it",
      ["none.db"] = "there is no store none.db",
      ["postgres://here/x"] = "there are no stores of the kind postgres://",
    } do
      for _, command in ipairs { "list", "queues", "check" } do fails(4, why, { "--db", name, command }) end
    end
    assert.equal("", scene:read("empty.db"))
    assert.equal(before, scene:read("other.db"))
    fails(4, "make its directory first", { "--db", "none/x.db", "start", "demo.Add", "1", "2", "--module", "demo.lua" })
    scene:must { "start", "demo.Add", "1", "2", "--module", "demo.lua" }
    fails(1, "no copy of a store; name another file", { "backup", "other.db" })
    fails(1, "no copy of a store; name another file", { "backup", "text.db" })
    assert.equal("precious\n", scene:read("text.db"))
    scene:must { "backup", "copy.db" }
    scene:must { "backup", "copy.db" }
  end)

  it("says when its output cannot be written, ends quietly when nobody reads it, and bears closed files", function()
    scene:must { "start", "demo.Add", "1", "2", "--module", "demo.lua" }
    local function shell(line)
      local whole = ("cd %s && PIPELINE_DB=%s; export PIPELINE_DB; %s"):format(scene.directory, scene.db,
        line:gsub("@", scene.command))
      local _, _, code = os.execute("bash -c " .. require("spec.crash.processes").quote(whole))
      return code
    end
    for _, words in ipairs { "list", "--json list", "queues", "version", "help", "completion bash", "stats --short" } do
      assert.equal(1, shell("@ " .. words .. " >/dev/full 2>err"), words)
      assert.truthy(scene:read("err"):find("^pipeline: cannot write the output: [^\n]+\n$"), words)
      local code = shell("@ " .. words .. " 2>err | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}")
      assert.is_true(code == 0 or code == 141, words) -- 141: by the signal that says so
      assert.equal("", scene:read("err"), words)
    end
    for _, closed in ipairs { "<&-", ">&-", "2>&-", "<&- >&- 2>&-" } do
      assert.equal(0, shell("@ list " .. closed), closed)
    end
  end)

  it("C8 names the nearest command, option, class, file that it knows", function()
    fails(2, "unknown command 'lst'", { "lst" })
    fails(2, "did you mean", { "strt" })
    fails(2, "did you mean '--module'", { "start", "demo.Add", "--modul", "x" })
    fails(3, "did you mean 'demo.Add'?", { "start", "demo.Ad", "--module", "demo.lua" })
    fails(3, "did you mean 'demo.Sum'?", { "start", "Sum", "--module", "demo.lua" })
    fails(3, "--module FILE.lua", { "start", "quite.Other" })
    fails(3, "nowhere.lua", { "start", "demo.Add", "--module", "nowhere.lua" })
    fails(3, "did you mean 'version'?", { "help", "versin" })
  end)

  it("says in one line what is wrong with a command line or a store, and how to go on", function()
    fails(2, "a command is missing", {})
    fails(2, "--db FILE", { "start", "demo.Add", "--module", "demo.lua" }, { no_db = true })
    fails(2, "no duration", { "start", "demo.Add", "--in", "soon" })
    fails(2, "give one of them", { "start", "demo.Add", "--in", "1s", "--at", "now" })
    fails(2, "write --", { "start", "demo.Add", "-1" })
    scene:write("text.db", ("this is no store\n"):rep(100))
    fails(4, "cannot be opened", { "start", "demo.Add", "--module", "demo.lua", "--db", scene.directory .. "/text.db" })
    fails(4, "cannot be opened", { "start", "demo.Add", "--module", "demo.lua", "--db", scene.directory .. "/no/x.db" })
  end)

  it("takes global options before and behind the name of the command", function()
    for _, words in ipairs { { "--db", "other.db", "start", "demo.Add", "1", "2", "--module", "demo.lua" },
      { "start", "demo.Add", "1", "2", "--module", "demo.lua", "--db", "other.db" } } do
      assert.truthy(scene:must(words, { no_db = true }):find("^%x+\n$"))
    end
  end)
end)
