-- site_spec.lua: `make docs` builds the site: valid HTML, every link leads somewhere, and what leads nowhere is named.

local LUA = os.getenv("LUA") or "lua5.4"
local build = os.getenv("PL_BUILD") or "build"
local sanitized = build:match("/[atu]%l*san$")

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("a")
  return pipe:close() == true, text
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return (file:read("a"))
end

describe("the site of the documentation", function()
  local has_tool = run("command -v cmark-gfm")

  local function test(title, fn)
    it(title, (sanitized or not has_tool) and function()
      pending(sanitized and "a sanitized program is not asked what it is" or "no cmark-gfm: make deps-docs")
    end or fn)
  end

  test("N2 make docs builds it, without anything from elsewhere", function()
    local ok, text = run(("env -u MAKEFLAGS -u MAKELEVEL make -s docs DEPS=no BUILD='%s' LUA='%s'"):format(build, LUA))
    assert(ok, text)
    local _, list = run(("find '%s/docs' -name '*.html'"):format(build))
    local count = 0
    for path in list:gmatch("[^\n]+") do
      count = count + 1
      local html = read(path)
      assert.is_nil(html:find("<script", 1, true), path)
      assert.is_nil(html:match('<link[^>]*href="https?:'), path)
      assert.is_nil(html:match('<img[^>]*src="https?:'), path)
      assert.truthy(html:find('aria-label="Contents"', 1, true), path)
      assert.is_nil(html:find("KEPTBLOCK", 1, true), path)
    end
    assert.is_true(count > 50, list)
    for _, name in ipairs { "index", "guarantees", "work/queues", "coming-from/temporal", "reference/engines",
      "reference/command", "reference/routes", "reference/metrics", "reference/events", "reference/index" } do
      read(("%s/docs/%s.html"):format(build, name))
    end
    -- This tidy is older than aria-current.
    local _, problems = run(("find '%s/docs' -name '*.html' -exec tidy -q -e {} \\; 2>&1 | grep -v aria-current")
      :format(build))
    assert.equal("", problems)
  end)

  test("a link that leads nowhere and a name that is not there fail the build, with their page", function()
    local _, directory = run("mktemp -d")
    directory = directory:match("%S+")
    assert(run(("cp -r examples lua *.md '%s' && ln -s \"$PWD/spec\" '%s/spec'"):format(directory, directory)))
    local file <close> = assert(io.open(directory .. "/examples/guide/start" .. ".md", "a"))
    file:write("\n`engine:nonsense()`, `pipeline_nonsense_total`, `pipeline nonsense x`\n")
    file:write("\n[nowhere](work/none.lua) [no place](work/queues" .. ".md#none)")
    file:write("[no section](../../lua/API.md#none) ![x](x.png)\n")
    file:close()
    local ok, text = run(("root=\"$PWD\"; cd '%s' && LUA_PATH=\"$root/?.lua;$LUA_PATH\" %s %s out"):format(directory,
      LUA, "spec/tools/docs/site.lua"))
    os.execute("rm -rf '" .. directory .. "'")
    assert.is_false(ok)
    assert.truthy(text:find("examples/guide/start.md: work/none.lua leads nowhere", 1, true), text)
    for _, name in ipairs { "no engine:nonsense", "no metric pipeline_nonsense_total", "no command 'nonsense'" } do
      assert.truthy(text:find(": there is " .. name, 1, true), text)
    end
    assert.truthy(text:find("#none: there is no such place", 1, true), text)
    assert.truthy(text:find("../../lua/API.md#none leads nowhere", 1, true), text)
    assert.truthy(text:find("there is no picture x.png", 1, true), text)
  end)
end)
