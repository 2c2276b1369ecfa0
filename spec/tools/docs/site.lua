-- site.lua OUTPUT - builds the documentation as a site of plain HTML: the guide, the reference, what can be listed of
-- the program itself, and the programs that pages lead to; run by `make docs`.
--
-- It fails where a link leads nowhere: to a page that is not there, a place that its page does not have, a file that
-- the repository does not have. It needs cmark-gfm; no JavaScript is in it, and nothing is loaded from elsewhere.

local generated = require "spec.tools.docs.generated"
local highlight = require "spec.tools.docs.highlight"
local layout = require "spec.tools.docs.layout"
local markdown = require "spec.tools.docs.markdown"
local names = require "spec.tools.docs.names"
local source = require "spec.tools.docs.source"

local OUTPUT = (arg[1] or "build/docs"):gsub("/$", "")

local problems = {}

local function complain(format, ...)
  problems[#problems + 1] = format:format(...)
end

-- ---- pages -----------------------------------------------------------------------------------------------------

-- { out = path in the site, path = of the source, text =, title =, html =, headings = }
local pages, by_path, by_out, chapters = {}, {}, {}, {}

local function add(page)
  pages[#pages + 1] = page
  by_out[page.out] = page
  if page.path then by_path[page.path] = page end
  return page
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local reference_pages, reference_of = generated.reference()

for _, chapter in ipairs(source.CHAPTERS) do
  local entry = { title = chapter[1] }
  chapters[#chapters + 1] = entry
  for i = 2, #chapter do
    local path, name = source.path(chapter[i]), chapter[i]
    if not exists(path) then
      complain("%s is in source.CHAPTERS, and not there", path)
    else
      entry[#entry + 1] = add { out = (name == "README" and "index" or name) .. ".html", path = path,
        text = source.read(path) }
    end
  end
end

do
  local entry = { title = "Reference" }
  chapters[#chapters + 1] = entry
  local function add_reference(page)
    entry[#entry + 1] = add { out = "reference/" .. page.name .. ".html", path = "reference/" .. page.name,
      text = page.text, is_reference = true }
  end
  for _, page in ipairs(reference_pages) do add_reference(page) end
  add_reference(generated.command())
  require "spec.tools.docs.lively" (function(engine)
    add_reference(generated.routes(engine))
    local metrics = engine:metrics()
    add_reference(generated.metrics(metrics))
    for _, page in ipairs(pages) do
      if not page.is_reference then names.check(page.path, page.text, metrics, complain) end
    end
  end)
  add_reference(generated.events())
end

-- ---- links -----------------------------------------------------------------------------------------------------

-- From a page to another path of the site.
local function relative(from, to)
  local up = from:gsub("[^/]+$", ""):gsub("[^/]+/", "../")
  if from:match("^(.*/)") and to:sub(1, #from:match("^(.*/)")) == from:match("^(.*/)") then
    return to:sub(#from:match("^(.*/)") + 1)
  end
  return up .. to
end

local wanted = {} -- links to places of pages: { from, out, anchor }
local programs = {} -- path of a file -> its page

local function page_of_file(path)
  if not programs[path] then
    local lang = path:match("%.(%w+)$") or ""
    programs[path] = add { out = "programs/" .. path:gsub("^examples/", ""):gsub("/", "-") .. ".html", file = path,
      title = path, headings = {}, lang = lang }
  end
  return programs[path]
end

local pictures = {} -- path of a file -> its path in the site

local function pictures_of(page)
  return function(target)
    local path = source.resolve(page.path, target)
    if not exists(path) then complain("%s: there is no picture %s", page.path, target) end
    pictures[path] = "pictures/" .. path:match("[^/]+$")
    return relative(page.out, pictures[path])
  end
end

local function linker(page)
  return function(target)
    if target:find("^https?://") then return target end
    local rest, anchor = target:match("^([^#]*)#?(.*)$")
    local to
    if rest == "" then
      to = page
    elseif page.is_reference then
      to = by_out[source.resolve(page.out, rest)]
    else
      local path = source.resolve(page.path, rest)
      to = by_path[path]
      if path == "lua/API.md" then
        local place = reference_of[anchor]
        if anchor == "" then
          place = { page = reference_pages[1].name }
        elseif not place then
          complain("%s: %s leads nowhere", page.path, target)
          return target
        end
        to = by_out["reference/" .. place.page .. ".html"]
        anchor = place.section and anchor or ""
      elseif not to and path:find("%.md$") and exists(path) then
        to = add { out = path:lower():gsub("%.md$", ".html"), path = path, text = source.read(path), is_loose = true }
      elseif not to and exists(path) then
        to = page_of_file(path)
      end
    end
    if not to then
      complain("%s: %s leads nowhere", page.path, target)
      return target
    end
    if anchor ~= "" then wanted[#wanted + 1] = { from = page.path, out = to.out, anchor = anchor, target = target } end
    return (to == page and "" or relative(page.out, to.out)) .. (anchor ~= "" and "#" .. anchor or "")
  end
end

do
  local i = 1 -- the list grows while pages lead to others
  while pages[i] do
    local page = pages[i]
    if page.text then
      local made = markdown.page(page.text, page.path, linker(page), pictures_of(page))
      page.html, page.title, page.headings = made.html, made.title, made.headings
    else
      page.html = ('<h1>%s</h1>%s'):format(highlight.escape(page.file), markdown.code(source.read(page.file), page.lang,
        ""))
    end
    i = i + 1
  end
end

-- What is no page of the site leads to pages, too: its links are looked at as GitHub has them.
for _, path in ipairs { "README.md", "CONTRIBUTING.md" } do
  markdown.page(source.read(path), path, function(target)
    local rest, anchor = target:match("^([^#]*)#?(.*)$")
    local there = source.resolve(path, rest)
    if not target:find("^%a+:") and rest ~= "" then
      if not exists(there) then complain("%s: %s leads nowhere", path, target) end
      if anchor ~= "" and by_path[there] then
        wanted[#wanted + 1] = { from = path, out = by_path[there].out, anchor = anchor, target = target }
      end
    end
    return target
  end, function(target)
    if not target:find("^https?:") and not exists(source.resolve(path, target)) then
      complain("%s: there is no picture %s", path, target)
    end
    return target
  end)
end

-- ---- the index of the reference --------------------------------------------------------------------------------

do
  local entries, known = {}, {}
  for _, page in ipairs(pages) do
    if page.is_reference then
      for _, heading in ipairs(page.headings) do
        local name = heading.level == 3 and markdown.text(heading.html):match("^[%w_.:]+")
        if name and name:find("[.:]") and not known[name] then -- of kinds of futures the first
          known[name] = true
          entries[#entries + 1] = { name = name, href = page.out:gsub("^reference/", "") .. "#" .. heading.id }
        end
      end
    end
  end
  table.sort(entries, function(a, b)
    local x, y = a.name:lower():match("[^.:]+$"), b.name:lower():match("[^.:]+$")
    if x ~= y then return x < y end
    return a.name < b.name
  end)
  local out, letter, headings = { "<h1>Index</h1><p>Every function, by its last name. Options are named in a "
    .. "table; times are seconds since the epoch, durations seconds, sizes bytes.</p>" }, nil, {}
  for _, entry in ipairs(entries) do
    local first = entry.name:match("[^.:]+$"):sub(1, 1):upper()
    if first ~= letter then
      out[#out + 1] = (letter and "</ul>" or "") .. ('<h2 id="%s">%s</h2><ul class="columns">'):format(first:lower(),
        first)
      letter = first
      headings[#headings + 1] = { level = 2, id = first:lower(), html = first }
    end
    out[#out + 1] = ('<li><a href="%s"><code>%s</code></a></li>'):format(entry.href, highlight.escape(entry.name))
  end
  out[#out + 1] = "</ul>"
  local page = add { out = "reference/index.html", path = "reference/index", title = "Index", headings = headings,
    html = table.concat(out, "\n"), is_reference = true }
  table.insert(chapters[#chapters], page)
end

-- ---- checks and output -----------------------------------------------------------------------------------------

for _, page in ipairs(pages) do
  page.ids = {}
  for id in page.html:gmatch(' id="([^"]*)"') do
    if page.ids[id] then complain("%s: two places '%s'", page.path, id) end
    page.ids[id] = true
  end
end
for _, link in ipairs(wanted) do
  if not by_out[link.out].ids[link.anchor] then
    complain("%s: %s: there is no such place in %s", link.from, link.target, link.out)
  end
end

local order = {}
for _, chapter in ipairs(chapters) do
  for _, page in ipairs(chapter) do order[#order + 1] = page end
end
for i, page in ipairs(order) do page.previous, page.next = order[i - 1], order[i + 1] end

local function write(path, text)
  os.execute(("mkdir -p '%s'"):format(path:match("^(.*)/")))
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

if #problems == 0 then
  os.execute(("rm -rf '%s'"):format(OUTPUT))
  for _, page in ipairs(pages) do
    write(OUTPUT .. "/" .. page.out, layout.page(page, chapters, relative, require("pipeline").version))
  end
  write(OUTPUT .. "/style.css", source.read("spec/tools/docs/style.css"))
  for path, out in pairs(pictures) do write(OUTPUT .. "/" .. out, source.read(path)) end
  print(("%d pages in %s"):format(#pages, OUTPUT))
else
  table.sort(problems)
  print(table.concat(problems, "\n"))
  print(("docs: %d problems"):format(#problems))
  os.exit(false)
end
