-- highlight.lua: source text as HTML, with words that mean something to its language in elements of their own.

local highlight = {}

local function set(words)
  local names = {}
  for word in words:gmatch("%S+") do names[word] = true end
  return names
end

local function escape(text)
  return (text:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end
highlight.escape = escape

-- comment: patterns that begin one, to the end of its line; long: pairs of plain texts around one; quotes: characters.
local LANGUAGES = {
  lua = {
    comment = { "%-%-" }, long = { { "--[[", "]]" }, { "[[", "]]" } }, quotes = "\"'",
    words = set("and break do else elseif end false for function goto if in local nil not or repeat return then true "
      .. "until while"),
  },
  c = {
    comment = { "//" }, long = { { "/*", "*/" } }, quotes = "\"'",
    words = set("break case char const continue default do double else enum extern false float for goto if int long "
      .. "return short signed sizeof static struct switch true typedef union unsigned void volatile while bool NULL "
      .. "include define"),
  },
  sh = {
    comment = { "#" }, quotes = "\"'",
    words = set("if then else elif fi for do done while until case esac in export wait kill function return exit"),
  },
  python = {
    comment = { "#" }, long = { { '"""', '"""' } }, quotes = "\"'",
    words = set("and as assert async await break class continue def del elif else except False finally for from global "
      .. "if import in is lambda None not or pass raise return True try while with yield"),
  },
  ruby = {
    comment = { "#" }, quotes = "\"'",
    words = set("and begin break case class def do else elsif end ensure false for if in include module next nil "
      .. "not or raise redo require rescue retry return self super then true unless until when while yield"),
  },
  elixir = {
    comment = { "#" }, quotes = '"',
    words = set("alias case cond def defmodule defp do else end false fn for if import in nil require true unless use "
      .. "when with"),
  },
  go = {
    comment = { "//" }, long = { { "`", "`" } }, quotes = '"',
    words = set("break case chan const continue default defer else for func go if import interface map nil "
      .. "package range return select struct switch true false type var error string int int64 any"),
  },
  sql = { comment = { "%-%-" }, quotes = "'", words = set("SELECT FROM WHERE INSERT INTO VALUES CREATE TABLE") },
  ini = { comment = { "^#", "^;" }, quotes = "", words = {} },
  yaml = { comment = { "#" }, quotes = "\"'", words = {} },
  nginx = { comment = { "#" }, quotes = "\"'", words = set("http server location events upstream") },
  json = { comment = {}, quotes = '"', words = set("true false null") },
}
LANGUAGES.h = LANGUAGES.c
LANGUAGES.console = LANGUAGES.sh

local function wrap(class, text)
  -- an element for each line: what spans lines is copied and printed like everything else
  return (escape(text):gsub("[^\n]+", function(line) return ('<span class="%s">%s</span>'):format(class, line) end))
end

-- The end of a string that begins at `at`; in these languages none goes on in the next line.
local function string_end(text, at, quote)
  local i = at + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "\\" then
      i = i + 1
    elseif c == quote or c == "\n" then
      return i
    end
    i = i + 1
  end
  return #text
end

local function at_comment(language, text, at)
  for _, pattern in ipairs(language.comment) do
    local is_first = pattern:sub(1, 1) == "^"
    local begins_line = at == 1 or text:sub(at - 1, at - 1) == "\n"
    local spaced = language ~= LANGUAGES.sh or begins_line or text:sub(at - 1, at - 1):find("%s")
    if (not is_first or begins_line) and spaced and text:find("^" .. pattern:gsub("^%^", ""), at) then return true end
  end
end

--- HTML of a text in a language; of an unknown one it is only escaped.
function highlight.html(text, name)
  local language = LANGUAGES[name]
  if not language then return escape(text) end
  local out, at, plain = {}, 1, 1
  local function emit(class, last)
    out[#out + 1] = escape(text:sub(plain, at - 1))
    out[#out + 1] = wrap(class, text:sub(at, last))
    at, plain = last + 1, last + 1
  end
  while at <= #text do
    local c = text:sub(at, at)
    local long
    for _, pair in ipairs(language.long or {}) do
      if not long and text:sub(at, at + #pair[1] - 1) == pair[1] then long = pair end
    end
    if long then
      local _, last = text:find(long[2], at + #long[1], true)
      emit((long[1]:find("^[%[`\"]")) and "s" or "c", last or #text)
    elseif at_comment(language, text, at) then
      emit("c", (text:find("\n", at, true) or #text + 1) - 1)
    elseif c ~= "" and language.quotes:find(c, 1, true) then
      emit("s", string_end(text, at, c))
    else
      local word = text:match("^[%a_][%w_]*", at)
      if word and language.words[word] then
        emit("k", at + #word - 1)
      else
        at = at + (word and #word or 1)
      end
    end
  end
  out[#out + 1] = escape(text:sub(plain))
  return table.concat(out)
end

return highlight
