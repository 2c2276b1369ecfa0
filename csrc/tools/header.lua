-- header.lua HEADER - prints build/gen/pipeline.h: one header for C programs that needs no other of ours.
--
-- HEADER is taken with the headers of ours that it includes, each once and in the order met; includes of the system
-- are gathered at the top. What is printed names no path of the source tree.

local seen, system, body = {}, {}, {}

local function guard_of(lines)
  for i, line in ipairs(lines) do
    local name = line:match("^#ifndef (PL_[%u%d_]+_H)$")
    if name and lines[i + 1] == "#define " .. name then return name end
  end
end

local function take(path)
  if seen[path] then return end
  seen[path] = true
  local lines = {}
  for line in io.lines("csrc/" .. path) do lines[#lines + 1] = line end
  local guard = guard_of(lines) or error(path .. ": no include guard of the form PL_..._H")
  local own = {}
  for i, line in ipairs(lines) do
    local ours, theirs = line:match('^#include "([^"]+)"'), line:match("^#include <([^>]+)>")
    if ours then
      take(ours)
    elseif theirs then
      system[theirs] = true
    elseif line ~= "#ifndef " .. guard and line ~= "#define " .. guard and not (i == #lines and line == "#endif") then
      own[#own + 1] = line
    end
  end
  body[#body + 1] = table.concat(own, "\n")
end

take(arg[1])

local names = {}
for name in pairs(system) do names[#names + 1] = name end
table.sort(names)
print("/* pipeline.h - a durable task queue and workflow engine, for C programs. Link with -lpipeline. */")
print("#ifndef PIPELINE_H\n#define PIPELINE_H\n")
for _, name in ipairs(names) do print("#include <" .. name .. ">") end
print("")
local text = table.concat(body, "\n"):gsub("\n\n\n+", "\n\n")
print(text)
print("\n#endif")
