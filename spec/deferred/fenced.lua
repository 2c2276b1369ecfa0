-- fenced.lua: a module under the prefixes of the specs that has dangerous things in its fields.

return { run = os.execute, deep = { run = os.execute }, os = os, reached = false }
