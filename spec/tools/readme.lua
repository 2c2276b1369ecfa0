-- readme.lua FILE - runs the first ```lua block of a Markdown file, so that what users copy first is known to work.
local file <close> = assert(io.open(arg[1], "rb"))
local text = file:read("a")
local before, block = text:match("^(.-)\n```lua\n(.-)\n```")
assert(block, "no ```lua block in " .. arg[1])
local _, lines = before:gsub("\n", "")
-- Empty lines in front make the line numbers of errors those of the file.
assert(load(("\n"):rep(lines + 2) .. block, "@" .. arg[1], "t"))()
