--- common.lua: the library's own pipelines.

local class = require "pipeline.class"
require "pipeline.instance" -- gives classes their instances

local common = {}

--- Return(v): gives v. Useful as the last child, and what the engine adds by itself when a run that spawned children
-- returns a value with futures in it. In App Engine: common.Return.
common.Return = class.define("pipeline.common.Return", {
  run = function(_, value) return value end,
})

return common
