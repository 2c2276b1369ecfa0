-- version.lua - the version is in one place, csrc/engine/pipeline.h; here is checked that all who name it agree; run by
-- `make lint` on a built tree.
--
-- They are: the library as it is loaded, the command, its manual page, the header that C programs get, the name of the
-- shared library, the file for pkg-config, the rockspecs, and CHANGELOG.md, where the version has a section with its
-- date.

local findings = 0

local function complain(format, ...)
  findings = findings + 1
  print(("version: " .. format):format(...))
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function output_of(command)
  local pipe <close> = assert(io.popen(command .. " 2>&1"))
  return pipe:read("a")
end

local VERSION = assert(read("csrc/engine/pipeline.h"):match('#define PL_VERSION "([^"]+)"'), "no PL_VERSION")
local MAJOR = VERSION:match("^%d+")

local function must_be(what, found, expected)
  expected = expected or VERSION
  if found ~= expected then complain("%s says %s, not %s", what, found or "nothing", expected) end
end

must_be("csrc/engine/pipeline.h (major.minor.patch)", VERSION:match("^%d+%.%d+%.%d+$"))

-- ---- what was built ----------------------------------------------------------------------------------------------

local build = arg[1] or "build"
local command = (os.getenv("LUA") or "lua5.4") .. " lua/pipeline/command/script.lua"
must_be("pipeline.version", require("pipeline").version)
must_be("the command", output_of(command .. " version"):match("^pipeline (%S+)\n"))
must_be("the manual page", output_of(command .. " help --man"):match('%.TH PIPELINE 1 "" "pipeline (%S-)"'))
must_be("pipeline.h", read(build .. "/gen/pipeline.h"):match('#define PL_VERSION "([^"]+)"'))
must_be("libpipeline.so", output_of("objdump -p " .. build .. "/lib/libpipeline.so"):match("SONAME%s+(%S+)"),
  "libpipeline.so." .. MAJOR)
must_be("csrc/tools/pipeline.pc.in", read("csrc/tools/pipeline.pc.in"):match("\nVersion: (%S+)"), "@VERSION@")

-- ---- rockspecs ---------------------------------------------------------------------------------------------------

local function rockspec(name)
  local spec = {}
  local chunk, problem = loadfile("rockspec/pipeline-" .. name .. ".rockspec", "t", spec)
  if not chunk then return complain("%s", problem) end
  chunk()
  must_be("rockspec/pipeline-" .. name .. ".rockspec", spec.version, name)
  return spec
end

-- What a rockspec says, as text, but for what names its version.
local function rest_of(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for key, item in pairs(value) do
    if key ~= "version" and key ~= "source" then parts[#parts + 1] = tostring(key) .. "=" .. rest_of(item) end
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ";") .. "}"
end

local released, current = rockspec(VERSION .. "-1"), rockspec("scm-1")
if released and current then
  must_be("the tag of the released rockspec", released.source.tag, "v" .. VERSION)
  if rest_of(released) ~= rest_of(current) then complain("the two rockspecs differ in more than their version") end
end

-- ---- the changelog -----------------------------------------------------------------------------------------------

local sections = {}
for name, rest in read("CHANGELOG.md"):gmatch("\n## %[([^%]]+)%]([^\n]*)") do
  sections[#sections + 1] = { name = name, date = rest:match("^ %- (%d%d%d%d%-%d%d%-%d%d)$") }
end
must_be("the first section of CHANGELOG.md", sections[1] and sections[1].name, "Unreleased")
must_be("the first released section of CHANGELOG.md", sections[2] and sections[2].name)
for i = 2, #sections do
  if not sections[i].date then complain("CHANGELOG.md: [%s] has no date", sections[i].name) end
end

os.exit(findings == 0)
