#!/usr/bin/env lua5.4
-- script.lua: what is installed as the program `pipeline`; everything it does is in the library.
--
-- `make install` puts the library's directories where the mark is. A rock in a tree of its own finds it from there.
-- @PATHS@

local tree = arg[0]:match("^(.*)/lib/luarocks/rocks%-5%.4/")
if tree then
  package.path = ("%s/share/lua/5.4/?.lua;%s/share/lua/5.4/?/init.lua;"):format(tree, tree) .. package.path
  package.cpath = ("%s/lib/lua/5.4/?.so;"):format(tree) .. package.cpath
end
require("pipeline.core").end_at_interrupt("") -- wherever it is, Ctrl-C ends it
os.exit(require("pipeline.command.main").run(arg), true)
