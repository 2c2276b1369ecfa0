-- embed_spec.lua: the C library: what `make install` installs is enough to build and run a C program.

local LUA = os.getenv("LUA") or "lua5.4"
local build = os.getenv("PL_BUILD") or "build"
local sanitized = build:match("/[atu]%l*san$")

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("a")
  local ok = pipe:close()
  return ok == true, text
end

local function ran(command)
  local ok, text = run(command)
  assert(ok, command .. ":\n" .. text)
  return text
end

describe("the C library", function()
  local dir

  lazy_setup(function()
    if sanitized then return end
    dir = ran("mktemp -d"):match("%S+")
    ran(("env -u MAKEFLAGS -u MAKELEVEL flock Makefile make -s install PREFIX='%s' BUILD='%s' LUA='%s'"):format(dir,
      build, LUA))
  end)

  lazy_teardown(function()
    if dir then os.execute("rm -rf '" .. dir .. "'") end
  end)

  local function compile(arguments)
    return ("PKG_CONFIG_PATH='%s/lib/pkgconfig' sh -c \"cc -std=c11 -Wall -Wextra -Wpedantic -Werror %s\""):format(dir,
      arguments)
  end

  local function test(title, fn)
    it(title, sanitized and function() pending("the library of a sanitized build needs a sanitized program") end or fn)
  end

  test("examples/embed.c builds with pkg-config alone and executes what it has added", function()
    ran(compile(("examples/embed.c \\$(pkg-config --cflags --libs pipeline) -Wl,-rpath,%s/lib -o %s/embed"):format(
      dir, dir)))
    assert.equal("one\ntwo\nthree\n3 tasks executed: ok\n", ran(dir .. "/embed"))
    for _ = 1, 2 do -- what is done is not done again after a restart
      assert.equal("one\ntwo\nthree\n3 tasks executed: ok\n", ran(("%s/embed %s/jobs.db"):format(dir, dir)))
    end
  end)

  test("examples/embed.c says why a file cannot be opened", function()
    local ok, text = run(("%s/embed %s/none/jobs.db"):format(dir, dir))
    assert.is_false(ok)
    assert.truthy(text:find("^embed: .*jobs%.db"), text)
  end)

  test("the static library links, too", function()
    local needs = ran(("PKG_CONFIG_PATH='%s/lib/pkgconfig' pkg-config --print-requires-private pipeline"):format(dir))
    ran(compile(("examples/embed.c -I%s/include %s/lib/libpipeline.a \\$(pkg-config --libs %s) -lm -o %s/static")
      :format(dir, dir, needs:gsub("%s+", " "), dir)))
    assert.equal("one\ntwo\nthree\n3 tasks executed: ok\n", ran(dir .. "/static"))
  end)

  test("the header needs no other of ours, and the library shows no internal name", function()
    assert.is_nil(ran(("cat %s/include/pipeline.h"):format(dir)):find('#include "', 1, true))
    local names = ran(("nm -D --defined-only %s/lib/libpipeline.so"):format(dir))
    assert.truthy(names:find(" T pl_engine_open\n", 1, true))
    assert.is_nil(names:find(" %u pl__"), names)
  end)
end)
