--- common.lua: the library's own pipelines, for the glue between those of users: values, lists, sums, texts, waiting.
--
-- In App Engine: pipeline.common. Every argument may be a future or a slot, at any depth of a table. What the original
-- takes by name is one table here, as in Delay{ seconds = 10 }. True and false are those of Lua: only nil and false
-- count as false (0, "" and {} do not). A list that holds nil has a hole there. Wrong arguments that can be seen when
-- an instance is made raise then, as a wrong call of any Lua function does; others make the attempt fail.

local common = {}

for _, part in ipairs { "values", "numbers", "lists", "texts", "delay", "email" } do
  for name, class in pairs(require("pipeline.common." .. part)) do common[name] = class end
end

return common
