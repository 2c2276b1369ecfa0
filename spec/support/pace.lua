--- pace.lua: how much slower than usual the library may be in this build: its limits of time are longer by that much.

if (os.getenv("WRAP") or ""):find("valgrind", 1, true) then return 20 end
local build = os.getenv("PL_BUILD") or ""
return build:find("tsan$") and 10 or build:find("san$") and 4 or 1
