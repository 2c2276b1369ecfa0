-- markdown.lua: Markdown as HTML, by cmark-gfm; headings get the addresses that GitHub gives them, blocks of code
-- their colours, and what a page includes is put in.

local highlight = require "spec.tools.docs.highlight"
local source = require "spec.tools.docs.source"

local markdown = {}

--- The address of a heading, as GitHub makes it; `seen` counts those that are alike.
function markdown.slug(text, seen)
  local slug = text:lower():gsub("[^%w%-_ \128-\255]", ""):gsub(" ", "-")
  local count = seen[slug]
  seen[slug] = (count or 0) + 1
  return count and slug .. "-" .. count or slug
end

local LABELS = {
  output = "prints", console = "shell", sh = "shell", lua = "Lua", c = "C", python = "Python", ruby = "Ruby",
  elixir = "Elixir", go = "Go", ini = "unit file", nginx = "nginx", json = "JSON", yaml = "YAML", text = "",
}

local function code_html(text, lang, label, link)
  local caption = label ~= "" and ('<figcaption>%s</figcaption>'):format(link
    and ('<a href="%s">%s</a>'):format(link, highlight.escape(label)) or highlight.escape(label)) or ""
  return ('<figure class="code %s">%s<pre tabindex="0"><code>%s</code></pre></figure>'):format(
    (lang == "output" or lang == "text") and lang or "source", caption, highlight.html(text:gsub("\n$", ""), lang))
end
markdown.code = code_html

-- Two programs that do the same stand side by side: one of another system, and ours.
local OTHERS = { python = true, ruby = true, elixir = true, go = true }

-- Takes blocks of code and includes out; returns the text with marks in their places, and what belongs there.
local function take_blocks(text, path)
  local kept, out, fence, pair = {}, {}, nil, nil
  local function keep(html)
    kept[#kept + 1] = html
    out[#out + 1] = ""
    out[#out + 1] = ("KEPTBLOCK%dX"):format(#kept)
    out[#out + 1] = ""
  end
  for line in (text .. "\n"):gmatch("(.-)\n") do
    local info = line:match("^```%s*(.*)$")
    if fence and info then
      local lang, rest = fence.info:match("^(%S*)%s*(.*)$")
      local file = rest:match("^file=(%S+)")
      local label = file or (LABELS[lang] or lang) .. (rest:find("^fragment") and ", part of a program" or "")
      local html = code_html(table.concat(fence, "\n"), lang, label)
      local is_first = OTHERS[lang] and text:find("\n```" .. lang .. "\n" .. table.concat(fence, "\n")
        .. "\n```\n\n```lua", 1, true)
      if is_first then
        pair = html
      else
        keep(pair and '<div class="pair">' .. pair .. html .. "</div>" or html)
        pair = nil
      end
      fence = nil
    elseif fence then
      fence[#fence + 1] = line
    elseif info then
      fence = { info = info }
    else
      local target, part = line:match('^%[[^%]]+%]%(([^ )]+) "include:? ?([%w-]*)"%)$')
      if target then
        local included, lang, whole = source.included(path, target, part ~= "" and part or nil)
        keep(code_html(included, lang, whole, target))
      else
        out[#out + 1] = line
      end
    end
  end
  return table.concat(out, "\n"), kept
end

local function run_cmark(text)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "wb"))
  file:write(text)
  file:close()
  local pipe <close> = assert(io.popen("cmark-gfm -e table " .. name))
  local html = pipe:read("a")
  local ok = pipe:close()
  os.remove(name)
  assert(ok, "cmark-gfm failed")
  return html
end

local ENTITIES = { ["&amp;"] = "&", ["&lt;"] = "<", ["&gt;"] = ">", ["&quot;"] = '"' }

--- The text of a piece of HTML.
function markdown.text(html)
  return (html:gsub("<[^>]*>", ""):gsub("&%a+;", ENTITIES))
end

--- A page: { html =, title =, headings = list of { level, id, html } }. `link(target)` tells where a link leads in the
-- site, `picture(target)` where a picture is.
function markdown.page(text, path, link, picture)
  local bare, kept = take_blocks(text, path)
  local seen, headings, title = {}, {}, nil
  local html = run_cmark(bare)
  html = html:gsub("<h(%d)>(.-)</h%d>", function(level, inner)
    local id = markdown.slug(markdown.text(inner), seen)
    if level == "1" then
      title = markdown.text(inner)
      return ('<h1 id="%s">%s</h1>'):format(id, inner)
    end
    headings[#headings + 1] = { level = tonumber(level), id = id, html = inner }
    return ('<h%s id="%s">%s<a class="here" href="#%s" aria-label="link to this section">#</a></h%s>'):format(level, id,
      inner, id, level)
  end)
  local tables = 0
  html = html:gsub("<table>.-</table>", function(found) -- one that is too wide is moved by itself, by keys too
    tables = tables + 1
    return ('<div class="wide" tabindex="0" role="region" aria-label="table %d">%s</div>'):format(tables, found)
  end)
  html = html:gsub("<td></td>", "<td>&nbsp;</td>")
  html = html:gsub("<th></th>", "<th>&nbsp;</th>"):gsub(' align="(%a+)"', ' class="%1"')
  html = html:gsub("<p>KEPTBLOCK(%d+)X</p>", function(n) return kept[tonumber(n)] end)
  html = html:gsub('href="([^"]*)"', function(target)
    return ('href="%s"'):format(highlight.escape(link((target:gsub("&%a+;", ENTITIES)))))
  end)
  html = html:gsub('<img src="([^"]*)"', function(target)
    return ('<img src="%s"'):format(highlight.escape(picture((target:gsub("&%a+;", ENTITIES)))))
  end)
  return { html = html, title = assert(title, path .. ": no heading"), headings = headings }
end

return markdown
