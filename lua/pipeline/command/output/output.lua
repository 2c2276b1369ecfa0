--- output.lua: what a command says: lines for people, or one JSON document for programs.
--
-- Lines are kept until the command has ended or writes something at once: more than a screen of them goes through
-- $PAGER, but only on a terminal. Into a pipe there are no colours and no movements of the cursor.

local core = require "pipeline.core"
local json = require "pipeline.http.json"
local letters = require "pipeline.command.output.letters"
local terminal = require "pipeline.command.output.terminal"

local failure = require "pipeline.command.failure"

local output = {}

local Output = {}
Output.__index = Output

local CODES = {
  title = "1", faint = "2", good = "32", bad = "31", warn = "33", busy = "36", accent = "1;34", strong = "1",
}

--- The output of one command.
-- @tparam table given json, no_color, quiet, verbose: as on the command line.
function output.new(given)
  local self = setmetatable({
    as_json = given.json or false, quiet = given.quiet or false, verbose = given.verbose or false, lines = {},
    is_live = false, colour = false, unicode = terminal.has_unicode(), width = nil, height = nil,
  }, Output)
  io.stdout:setvbuf("full") -- each write is followed by a flush: only that tells whether it was written
  if not self.as_json and terminal.is("out") then
    self:measure()
    self.colour = terminal.has_colour() and not given.no_color
  end
  self.mark = self.unicode and "\u{2026}" or "..."
  return self
end

--- Looks how large the terminal is now.
function Output.measure(self)
  self.width, self.height = terminal.size()
end

--- Whether what was written can be written over.
function Output.can_redraw(self)
  return self.height ~= nil and not terminal.is_dumb()
end

--- Makes a text of anybody one line that is safe to show.
function Output.plain(self, text)
  return letters.plain(text, self.unicode)
end

--- `text` in the colours of a style; as it is where there are none.
function Output.style(self, style, text)
  if not self.colour or not style or text == "" then return text end
  return ("\27[%sm%s\27[0m"):format(CODES[style], text)
end

--- One of two signs: the first where the locale has it.
function Output.sign(self, sign, plain)
  return self.unicode and sign or plain
end

-- Somebody who has seen enough closes the pipe: that is no failure.
local function check(ok, why)
  if not ok and why and not why:find("Broken pipe", 1, true) then failure.no("cannot write the output: %s", why) end
end

local function write_all(lines)
  check(io.stdout:write(table.concat(lines, "\n"), "\n"))
  check(io.stdout:flush())
end

--- Writes a text as it is, at once.
function Output.write(_, text)
  check(io.stdout:write(text))
  check(io.stdout:flush())
end

--- Says one line. Its text is the command's own; what comes from elsewhere has been through `plain`.
function Output.line(self, text)
  if self.as_json then return end
  if self.is_live then
    write_all { text or "" }
  else
    self.lines[#self.lines + 1] = text or ""
  end
end

-- Lines that fit the terminal.
local function wrapped(self, text, indent)
  return self.width and letters.wrap(text, math.max(10, self.width - (indent or 0))) or { text }
end

--- Says a paragraph, wrapped on a terminal, with `indent` blanks before each line.
function Output.paragraph(self, text, indent)
  local blanks = (" "):rep(indent or 0)
  for _, line in ipairs(wrapped(self, self:plain(text), indent)) do self:line(blanks .. line) end
end

--- Says a paragraph, formatted.
function Output.say(self, format, ...)
  self:paragraph(format:format(...))
end

--- Says something on the side, on standard error: progress, and what was done. -q keeps it quiet.
function Output.note(self, format, ...)
  if self.quiet then return end
  for _, line in ipairs(wrapped(self, self:plain(format:format(...)))) do io.stderr:write(line, "\n") end
end

--- Says below what was listed how the list goes on.
function Output.more(self, cursor)
  if not cursor then return end
  self:flush()
  self:note("more: --cursor %s", cursor)
end

--- What the command answers when --json asks for it: one document.
function Output.json(self, value)
  if self.as_json then write_all { json.encode(value) } end
end

--- From here on each line is written at once.
function Output.live(self)
  self:flush()
  self.is_live = true
end

local function pager()
  local named = os.getenv("PAGER")
  if named == "" or named == "cat" then return nil end
  return named or "less -FRX"
end

--- Writes what is kept.
function Output.flush(self)
  local lines = self.lines
  self.lines = {}
  if #lines == 0 then return end
  local command = self.height and #lines >= self.height and terminal.is("in") and pager()
  local pipe = command and io.popen(command, "w")
  if pipe then
    core.end_at_interrupt(nil) -- what is typed is for the pager
    pipe:write(table.concat(lines, "\n"), "\n") -- who has seen enough ends it before
    pipe:close()
    core.end_at_interrupt("")
  else
    write_all(lines)
  end
end

return output
