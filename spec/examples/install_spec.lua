-- install_spec.lua: what `make install` installs, as a package is made of it: below DESTDIR, for a PREFIX.

local LUA = os.getenv("LUA") or "lua5.4"
local build = os.getenv("PL_BUILD") or "build"
local sanitized = build:match("/[atu]%l*san$")

local function ran(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("a")
  assert(pipe:close(), command .. ":\n" .. text)
  return text
end

describe("N4 make install", function()
  local dir, version

  lazy_setup(function()
    if sanitized then return end
    dir = ran("mktemp -d"):match("%S+")
    ran(("env -u MAKEFLAGS -u MAKELEVEL flock Makefile make -s install DESTDIR='%s' PREFIX=/opt/p BUILD='%s' "
      .. "LUA='%s'"):format(dir, build, LUA))
    version = require("pipeline").version
  end)

  lazy_teardown(function()
    if dir then os.execute("rm -rf '" .. dir .. "'") end
  end)

  local function test(title, fn)
    it(title, sanitized and function() pending("the library of a sanitized build needs a sanitized program") end or fn)
  end

  test("installs all that belongs to it below DESTDIR and PREFIX, and nothing elsewhere", function()
    local found, rest = {}, {}
    for path, kind in ran(("cd '%s' && find . -type f,l -printf '%%P %%y\\n'"):format(dir)):gmatch("(%S+) (%a)\n") do
      local inside = path:match("^opt/p/(.*)$")
      if not inside then
        rest[#rest + 1] = path
      elseif not inside:find("^share/lua/") then
        found[#found + 1] = inside .. (kind == "l" and " ->" or "")
      end
    end
    table.sort(found)
    assert.same({}, rest)
    assert.same({
      "bin/pipeline", "include/pipeline.h", "lib/libpipeline.a", "lib/libpipeline.so ->",
      ("lib/libpipeline.so.%s ->"):format(version:match("^%d+")), "lib/libpipeline.so." .. version,
      "lib/lua/5.4/pipeline/core.so", "lib/pkgconfig/pipeline.pc", "share/bash-completion/completions/pipeline",
      "share/fish/vendor_completions.d/pipeline.fish", "share/man/man1/pipeline.1",
      "share/zsh/site-functions/_pipeline",
    }, found)
  end)

  test("names in no file where it was laid meanwhile", function()
    assert.equal("", ran(("cd '%s' && grep -rlIF '%s' . || true"):format(dir, dir)))
  end)

  test("lets a C program be built by `cc embed.c $(pkg-config --cflags --libs pipeline)`, which runs", function()
    ran(("cp examples/embed.c '%s/' && cd '%s' && PKG_CONFIG_PATH='%s/opt/p/lib/pkgconfig' PKG_CONFIG_SYSROOT_DIR='%s'"
      .. " sh -c 'cc embed.c $(pkg-config --cflags --libs pipeline) -o embed'"):format(dir, dir, dir, dir))
    assert.equal("one\ntwo\nthree\n3 tasks executed: ok\n",
      ran(("LD_LIBRARY_PATH='%s/opt/p/lib' '%s/embed'"):format(dir, dir)))
  end)

  test("binds programs to the major version of the library", function()
    local needed = ran(("objdump -p '%s/embed'"):format(dir)):match("NEEDED%s+(libpipeline%S*)")
    assert.equal("libpipeline.so." .. version:match("^%d+"), needed)
    assert.equal(version .. "\n", ran(("PKG_CONFIG_PATH='%s/opt/p/lib/pkgconfig' pkg-config --modversion pipeline")
      :format(dir)))
  end)

  test("brings a manual page and completions that their shells read", function()
    local page = ran(("cat '%s/opt/p/share/man/man1/pipeline.1'"):format(dir))
    assert.truthy(page:find("pipeline " .. version, 1, true))
    assert.equal("", ran(("bash -n '%s/opt/p/share/bash-completion/completions/pipeline'"):format(dir)))
    local path = package.path:gsub("'", "")
    assert.equal("pipeline " .. version .. "\n", ran(("cd '%s' && LUA_PATH='%s/opt/p/share/lua/5.4/?.lua;"
      .. "%s/opt/p/share/lua/5.4/?/init.lua;%s' LUA_CPATH='%s/opt/p/lib/lua/5.4/?.so;;' LUA_INIT= "
      .. "opt/p/bin/pipeline version"):format(dir, dir, dir, path, dir)))
  end)
end)
