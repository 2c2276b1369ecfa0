-- readme_spec.lua: the programs of README.md do what it says of them: each block of Lua code is run in a program that
-- has what the block takes for granted, once as it is, and once with a failure of the first attempt of everything.

local LUA = os.getenv("LUA") or "lua5.4"

-- By a text that only this block has: what comes before and after it, and what the program says at last. `change` is
-- made to the block itself.
local programs = {
  { 'pipeline.define("readme.Square"', expect = "25" },
}

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function blocks_of(text)
  local list = {}
  for block in text:gmatch("```lua\n(.-)\n```") do list[#list + 1] = block end
  return list
end

local function program_of(block)
  local found
  for _, program in ipairs(programs) do
    if block:find(program[1], 1, true) then
      assert(not found, "two programs for one block: " .. program[1])
      found = program
    end
  end
  return found
end

describe("README.md", function()
  local blocks = blocks_of(read("README.md"))
  local directory

  setup(function()
    local pipe <close> = assert(io.popen("mktemp -d"))
    directory = pipe:read("l")
  end)
  teardown(function() os.execute("rm -rf '" .. directory .. "'") end)

  -- The last line that the program prints, its blanks as one.
  local function run(program, block, with)
    if program.change then
      local count
      block, count = block:gsub(program.change[1], (program.change[2]:gsub("%%", "%%%%")))
      assert(count > 0, "nothing to change: " .. program.change[1])
    end
    local path = directory .. "/program.lua"
    local file <close> = assert(io.open(path, "wb"))
    file:write(program.before or "", block, "\n", program.after or "", "\n")
    file:close()
    local root = io.popen("pwd"):read("l")
    local pipe = assert(io.popen(("cd '%s' && rm -f jobs.db* && LUA_PATH=\"%s/?.lua;$LUA_PATH\" timeout 60 %s %s "
      .. "program.lua 2>&1"):format(directory, root, LUA, with or "")))
    local text = pipe:read("a")
    assert(pipe:close(), text)
    return (text:match("([^\n]*)\n$"):gsub("%s+", " ")), text
  end

  it("N5 is short: it leads to what is guaranteed first, and to the guide", function()
    local text = read("README.md")
    local _, lines = text:gsub("\n", "")
    assert(lines < 150, lines .. " lines")
    assert.equal("examples/guide/guarantees.md", text:match("[^!]%[[^%]]*%]%(([^)]*)%)"))
    for _, program in ipairs(blocks) do assert(select(2, program:gsub("\n", "")) <= 25, "a long program") end
  end)

  it("N5 leads nowhere in vain, and its pictures are small", function()
    local pictures = 0
    for target in read("README.md"):gmatch("%]%(([^)#]*)") do
      if not target:find("^%a+:") then
        local there = read(target)
        if target:find("%.png$") then
          pictures = pictures + 1
          assert.equal("\x89PNG", there:sub(1, 4))
          assert(#there < 150000, ("%s has %d bytes"):format(target, #there))
        end
      end
    end
    assert.equal(3, pictures)
  end)

  it("N5 the recorded session types what the first page of the guide says, and is small", function()
    local json = require "pipeline.http.json"
    local typed, size = {}, 0
    for line in io.lines("examples/guide/pictures/session.cast") do
      size = size + #line
      typed[#typed + 1] = line:find("^%[") and json.decode(line)[3] or nil
    end
    local all = table.concat(typed):gsub("\r", "")
    for block in read("examples/guide/start.md"):gmatch("```sh\n(.-)```") do
      for line in block:gsub("\\\n%s*", ""):gmatch("[^\n]+") do
        assert(all:find("shop$ " .. line .. "\n", 1, true), "not in the session (make session): " .. line)
      end
    end
    assert(size < 30000, size .. " bytes")
  end)

  it("has a program in this spec for each of its blocks of code", function()
    assert.equal(#programs, #blocks)
    for _, block in ipairs(blocks) do assert(program_of(block), "no program in this spec for:\n" .. block) end
  end)

  for _, block in ipairs(blocks) do
    local program = program_of(block)
    local name = program and program[1]
    if program then
      it(("%s: does what is said of it"):format(name), function()
        local last, text = run(program, block)
        assert.equal(program.expect, last, text)
      end)

      it(("%s: does the same when the first attempt of everything fails"):format(name), function()
        local last, text = run(program, block, "-l spec.examples.failing")
        assert.equal(program.expect, last, text)
      end)
    end
  end
end)
