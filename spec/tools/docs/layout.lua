-- layout.lua: the frame of a page of the site: what is on top, the contents beside it, what comes before and after.

local highlight = require "spec.tools.docs.highlight"

local layout = {}

local escape = highlight.escape

local function contents(page, chapters, relative)
  local out = {}
  for _, chapter in ipairs(chapters) do
    local has_page = false
    local items = {}
    for _, entry in ipairs(chapter) do
      has_page = has_page or entry == page
      items[#items + 1] = ('<li><a href="%s"%s>%s</a></li>'):format(relative(page.out, entry.out),
        entry == page and ' aria-current="page"' or "", escape(entry.title))
    end
    if #items > 0 then
      out[#out + 1] = ("<details%s><summary>%s</summary><ul>%s</ul></details>"):format(
        (has_page or chapter == chapters[1]) and " open" or "", escape(chapter.title), table.concat(items))
    end
  end
  return table.concat(out, "\n")
end

-- The places of a page; of a long reference the functions, too.
local function places(page)
  local items = {}
  for _, heading in ipairs(page.headings) do
    if heading.level <= 3 then
      local label = heading.html:gsub("</?a[^>]*>", ""):gsub("%(.-%)</code>", "()</code>")
      items[#items + 1] = ('<li class="l%d"><a href="#%s">%s</a></li>'):format(heading.level, heading.id, label)
    end
  end
  if #items < 2 then return "" end
  return ('<nav class="places" aria-label="On this page"><details open><summary>On this page</summary><ul>%s</ul>'
    .. "</details></nav>"):format(table.concat(items))
end

local function step(page, other, class, label, relative)
  if not other then return "" end
  return ('<a class="%s" href="%s"><span>%s</span> %s</a>'):format(class, relative(page.out, other.out), label,
    escape(other.title))
end

--- The whole document of a page.
function layout.page(page, chapters, relative, version)
  local home = relative(page.out, "index.html")
  local title = page.out == "index.html" and "pipeline: guide and reference" or page.title .. " · pipeline"
  return table.concat {
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
    ("<title>%s</title>\n"):format(escape(title)),
    ('<link rel="stylesheet" href="%s">\n</head>\n<body>\n'):format(relative(page.out, "style.css")),
    '<a class="skip" href="#main">To the text</a>\n',
    ('<header class="top"><a class="brand" href="%s">pipeline</a><span class="version">%s</span>'):format(home,
      escape(version)),
    ('<nav aria-label="Parts"><a class="to-contents" href="#contents">Contents</a>'
      .. '<a class="to-guide" href="%s">Guide</a>'
      .. '<a href="%s">Guarantees</a><a href="%s">Reference</a>'
      .. '<a href="%s">Index</a></nav></header>\n'):format(home, relative(page.out, "guarantees.html"),
      relative(page.out, "reference/pipeline.html"), relative(page.out, "reference/index.html")),
    '<div class="frame">\n<nav class="contents" id="contents" aria-label="Contents">\n',
    contents(page, chapters, relative), "\n</nav>\n",
    ('<div class="sheet%s">\n'):format(page.html:find('class="pair"', 1, true) and " broad" or ""), places(page),
    '\n<main id="main">\n<article>\n', page.html, "\n</article>\n",
    '<nav class="steps" aria-label="Pages">', step(page, page.previous, "before", "Before", relative),
    step(page, page.next, "after", "Next", relative), "</nav>\n",
    '</main>\n</div>\n</div>\n</body>\n</html>\n',
  }
end

return layout
