-- What luacheck holds the Lua code to; run by `make lint`.
std = "lua54"
max_line_length = 120
cache = false
self = false -- an unused self is the price of a method

files["spec/**/*_spec.lua"] = { std = "+busted" }
files["spec/helper*.lua"] = { std = "+busted" }
files["spec/support/**/*.lua"] = { std = "+busted" }
files["rockspec/*.rockspec"] = { std = "rockspec" }
files[".luacheckrc"] = { std = "luacheckrc" }
files["lua/pipeline/meta/*.lua"] = { ignore = { "2" } } -- declarations: their arguments and tables are for editors
exclude_files = { "build" }
