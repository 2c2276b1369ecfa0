-- The rock of pipeline 1.0.0: built by the Makefile, which finds the libraries through pkg-config.
rockspec_format = "3.0"
package = "pipeline"
version = "1.0.0-1"
source = {
  url = "git+file://.",
  tag = "v1.0.0",
}
description = {
  summary = "A durable workflow engine and task queue inside a Lua program",
  detailed = [[
Pipelines are Lua tables with run and callback functions. The engine, in C, persists every step in one SQLite file,
schedules it, and carries it through crashes, retries and callbacks. Several processes may share the file.]],
  license = "MIT",
  labels = { "workflow", "queue", "durable" },
}
dependencies = {
  "lua >= 5.4, < 5.5",
  "lua-cjson >= 2.1",
  "argparse >= 0.7",
}
external_dependencies = {
  SQLITE = { header = "sqlite3.h" },
  LIBUV = { header = "uv.h" },
  LIBCBOR = { header = "cbor.h" },
  LIBSODIUM = { header = "sodium.h" },
  -- libcurl's header is in a directory of the architecture, which LuaRocks does not search: pkg-config finds it
}
build = {
  type = "make",
  build_target = "rock-build",
  install_target = "install",
  build_variables = {
    WERROR = "no",
  },
  install_variables = {
    PREFIX = "$(PREFIX)/c", -- header and C library stay within the rock
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
  },
  install = {
    bin = { pipeline = "lua/pipeline/command/script.lua" },
  },
}
