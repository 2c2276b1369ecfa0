-- source.lua: the guide as it is written: which pages there are, in which order, and what blocks they have.
--
-- A page is Markdown below examples/guide/. Beyond what GitHub shows, these have a meaning:
--   ```lua … ``` followed by ```output … ```   a whole program, and what it prints
--   ```lua fragment                            a part of a program; spec/guide/fragments.lua has the rest
--   ```lua file=shop.lua                       a file that later ```sh blocks of the page use
--   ```sh, perhaps followed by ```output       is executed, in a directory of the page
--   ```console                                 is shown only: it needs another machine than that of a spec
--   [text](../recipes/x.lua "include")         alone in a paragraph: the file is shown here; "include: part" shows
--                                              what stands in it between the lines `-- [part]` and `-- [/part]`
-- In an output "…" stands for any characters of a line, and alone in a line for any lines.

local source = {}

source.ROOT = "examples/guide/"

-- Chapters of the site with their pages, in reading order.
source.CHAPTERS = {
  { "First", "README", "start", "guarantees", "operations", "words" },
  { "Describing work", "work/pipelines", "work/durable", "work/outside", "work/errors", "work/queues", "work/deferred",
    "work/schedules", "work/transactions", "work/tasklets", "work/http", "work/mail", "work/testing", "work/loops" },
  { "Watching it", "faces/command", "faces/pages", "faces/telemetry" },
  { "Recipes", "recipes/web-service", "recipes/crawler", "recipes/nightly-batch", "recipes/approvals", "recipes/saga",
    "recipes/event-loops", "recipes/nginx", "recipes/c" },
  { "Coming from", "coming-from/app-engine", "coming-from/celery", "coming-from/sidekiq-oban-river",
    "coming-from/temporal" },
}

--- The content of a file; raises when it cannot be read.
function source.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return (file:read("a"))
end

--- The names of pages, in reading order: of all, or of a chapter. GUIDE=work/queues in the environment leaves that one
-- (for whoever writes it).
function source.names(chapter)
  local names, only = {}, os.getenv("GUIDE")
  for _, entry in ipairs(source.CHAPTERS) do
    for i = 2, chapter and chapter ~= entry[1] and 1 or #entry do
      if not only or not chapter or entry[i] == only then names[#names + 1] = entry[i] end
    end
  end
  return names
end

--- The path of a page in the tree.
function source.path(name)
  return source.ROOT .. name .. ".md"
end

-- "a/b/../c" as "a/c".
local function normal(path)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      table.remove(parts)
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return table.concat(parts, "/")
end

--- The path in the tree of what a link of a page leads to.
function source.resolve(page_path, target)
  return normal((page_path:match("^(.*/)[^/]*$") or "") .. target)
end

--- What an include of a page shows: the text, and its language.
function source.included(page_path, target, part)
  local path = source.resolve(page_path, target)
  local text = source.read(path)
  if part then
    local mark = part:gsub("%p", "%%%0")
    text = assert(text:match("\n[^\n]*%[" .. mark .. "%]\n(.-\n)[^\n]*%[/" .. mark .. "%]"),
      ("%s: there is no part [%s] in %s"):format(page_path, part, path))
    local indent = text:match("^( *)")
    text = ("\n" .. text):gsub("\n" .. indent, "\n"):sub(2)
  end
  text = text:gsub("[^\n]*%[/?[%w-]+%]\n", function(line) return line:find("^%s*%-%- %[") and "" or nil end)
  return text, path:match("%.(%w+)$"), path
end

--- The blocks of a page, in order: { lang =, info =, text =, line =, output = text or nil }; an include has lang
-- "include", target and part.
function source.blocks(path)
  local blocks, fence, number = {}, nil, 0
  for line in (source.read(path) .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local info = line:match("^```%s*(.*)$")
    if fence and info then
      fence.text = table.concat(fence.lines, "\n") .. (#fence.lines > 0 and "\n" or "")
      if fence.lang == "output" then
        local before = blocks[#blocks]
        assert(before and not before.output and before.ended, ("%s:%d: an output of nothing"):format(path, fence.line))
        before.output = fence.text
      else
        fence.ended = true
        blocks[#blocks + 1] = fence
      end
      fence = nil
    elseif fence then
      fence.lines[#fence.lines + 1] = line
    elseif info then
      fence = { lang = info:match("^%S*"), info = info:match("^%S*%s*(.*)$"), line = number, lines = {} }
    else
      local target, part = line:match('^%[[^%]]+%]%(([^ )]+) "include:? ?([%w-]*)"%)$')
      if target then
        blocks[#blocks + 1] = { lang = "include", target = target, part = part ~= "" and part or nil, line = number }
      elseif line ~= "" and blocks[#blocks] then
        blocks[#blocks].ended = false -- an output follows its program without words between
      end
    end
  end
  assert(not fence, path .. ": a block is not closed")
  return blocks
end

return source
