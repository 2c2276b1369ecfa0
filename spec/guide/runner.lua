-- runner.lua: executes the programs of a page of the guide: whole ones print what stands below them, parts of programs
-- are run in a program that has what they take for granted (fragments.lua), commands of the shell are executed in the
-- order of the page. spec/tools/docs/source.lua tells how they are written.

local fragments = require "spec.guide.fragments"
local source = require "spec.tools.docs.source"

local LUA = os.getenv("LUA") or "lua5.4"
local SECONDS = 90

local function lines_of(command)
  local pipe <close> = assert(io.popen(command))
  return (pipe:read("a"):gsub("\n$", ""))
end

local TOP = lines_of("pwd")

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

-- As a pattern of Lua: "…" is anything in a line, a line "…" any lines.
local function pattern_of(expected)
  local text = ("\n" .. expected):gsub("%p", "%%%0"):gsub("\n…%f[\n]", "\n\0"):gsub("\0\n", "\0")
  return "^" .. text:gsub("%z", ".-"):gsub("…", "[^\n]-") .. "$"
end

local function last_line(text)
  return (text:match("([^\n]*)\n*$"):gsub("%s+", " "))
end

-- A program of the guide may use this program's library, its own directory, and the command.
local function prelude(directory)
  return ("cd '%s' && export PATH='%s/bin':\"$PATH\" LUA_PATH=\"%s/?.lua;$LUA_PATH\"; "):format(directory, directory,
    TOP)
end

local Page = {}
Page.__index = Page

function Page:sh(command)
  local pipe = assert(io.popen(prelude(self.directory) .. command))
  local text = pipe:read("a")
  return pipe:close() and true or false, text
end

function Page:fail(block, format, ...)
  error(("%s:%d: " .. format):format(self.path, block.line, ...), 0)
end

function Page:compare(block, text)
  if block.output and not ("\n" .. text):find(pattern_of(block.output)) then
    self:fail(block, "printed is\n%s\nand not\n%s", text, block.output)
  end
end

function Page:run_lua(block, text, with)
  local path = ("%s/program-%d.lua"):format(self.directory, block.line)
  write(path, text)
  self:sh("rm -rf fresh && mkdir fresh")
  local ok, printed = self:sh(("cd fresh && timeout %d %s %s %s 2>&1"):format(SECONDS, LUA, with or "", path))
  if not ok then self:fail(block, "the program fails:\n%s", printed) end
  return printed
end

local FAILING = "-l spec.examples.failing" -- the first attempt of everything fails

function Page:program(block)
  self:compare(block, self:run_lua(block, block.text))
  if block.info:find("once", 1, true) then return end -- what it prints tells of attempts
  local printed, expected = last_line(self:run_lua(block, block.text, FAILING)), last_line(block.output)
  if not ("\n" .. printed):find(pattern_of(expected)) then
    self:fail(block, "when first attempts fail, the last line is\n%s\nand not\n%s", printed, expected)
  end
end

function Page:fragment(block)
  local found
  for _, fragment in ipairs(fragments) do
    if block.text:find(fragment[1], 1, true) then
      if found then self:fail(block, "two entries of fragments.lua fit: %s, %s", found[1], fragment[1]) end
      found = fragment
    end
  end
  if not found then self:fail(block, "spec/guide/fragments.lua has no program for this part of one") end
  local text = block.text
  for i = 1, #(found.change or {}), 2 do
    local count
    text, count = text:gsub(found.change[i], (found.change[i + 1]:gsub("%%", "%%%%")))
    if count == 0 then self:fail(block, "nothing to change: %s", found.change[i]) end
  end
  local program = (found.before or "") .. text .. (found.after or "") .. "\n"
  for _, with in ipairs(found.once and { "" } or { "", FAILING }) do
    local printed = last_line(self:run_lua(block, program, with))
    if printed ~= found.expect then
      self:fail(block, "the last line is\n%s\nand not\n%s (%s)", printed, found.expect, with)
    end
  end
end

function Page:shell(block)
  write(self.directory .. "/block.sh", ([[
if [ -f .exported ]; then . ./.exported; fi
%s
code=$?
export -p | grep -v ' PWD=\| OLDPWD=' >.exported
exit $code
]]):format(block.text))
  local ok, printed = self:sh(("timeout %d sh -e block.sh 2>&1"):format(SECONDS))
  if not ok then self:fail(block, "the commands fail:\n%s", printed) end
  self:compare(block, printed)
end

function Page:include(block)
  local _, _, path = source.included(self.path, block.target, block.part)
  self.included = self.included or {}
  self.included[#self.included + 1] = { name = path:match("[^/]+$"), block = block }
end

-- What is shown of a file is executed somewhere: by the page, or by spec/examples.
function Page:check_includes()
  local text = source.read(self.path) .. lines_of("cat spec/examples/*_spec.lua spec/guide/*_spec.lua")
  for _, entry in ipairs(self.included or {}) do
    local stem = entry.name:gsub("%.%w+$", "")
    local shown = '"' .. entry.name
    if not (text:find(" " .. entry.name, 1, true) or text:find('"' .. stem .. '"', 1, true)
      or text:find("/" .. stem, 1, true) or text:find(shown, 1, true)) then
      self:fail(entry.block, "nothing executes %s", entry.name)
    end
  end
end

local SHOWN = { console = true, text = true, [""] = true, python = true, ruby = true, elixir = true, go = true,
  json = true, ini = true, nginx = true, sql = true, yaml = true, promql = true, html = true }

function Page:block(block)
  if block.lang == "include" then
    self:include(block)
  elseif block.lang == "sh" then
    self:shell(block)
  elseif block.lang ~= "lua" then
    if not SHOWN[block.lang] then self:fail(block, "a block of '%s'", block.lang) end
  elseif block.info:find("^file=") then
    write(self.directory .. "/" .. block.info:match("^file=(%S+)"), block.text)
  elseif block.info:find("^fragment") then
    self:fragment(block)
  elseif block.output then
    self:program(block)
  else
    self:fail(block, "a program without what it prints: ```output behind it, or ```lua fragment")
  end
end

local runner = {}

--- Executes all of a page, by its name; raises what is not as the page says, with its place.
function runner.run(name)
  local directory = lines_of("mktemp -d")
  local page = setmetatable({ path = source.path(name), directory = directory }, Page)
  os.execute(("mkdir '%s/bin' && ln -s '%s/examples' '%s/examples'"):format(directory, TOP, directory))
  write(directory .. "/bin/pipeline", ('#!/bin/sh\nexec %s "%s/lua/pipeline/command/script.lua" "$@"\n'):format(LUA,
    TOP))
  os.execute(("chmod +x '%s/bin/pipeline'"):format(directory))
  local ok, problem = pcall(function()
    for _, block in ipairs(source.blocks(page.path)) do page:block(block) end
    page:check_includes()
  end)
  os.execute("rm -rf '" .. directory .. "'")
  if not ok then error(problem, 0) end
end

return runner
