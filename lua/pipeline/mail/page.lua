--- page.lua: the pages that people see who follow a link in a mail: plain HTML that needs nothing but itself.
--
-- A page runs no script, loads nothing, sends its form only to where it came from, and is in no frame: the policy that
-- it comes with says so. Its address holds a secret, so it is neither stored nor told to others. Texts may come from
-- anybody: they are escaped, and cannot turn the direction of what stands around them.

local text = require "pipeline.support.text"

local page = {}

-- The policy names the style by its hash (SHA-256, base64): whoever changes the one changes the other; a spec compares.
local STYLE = [[
:root { color-scheme: light dark; }
body { max-width: 34rem; margin: 3rem auto; padding: 0 1rem; font: 1.0625rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 1.5rem 0; }
dt { font-weight: 600; }
dd { margin: 0; overflow-wrap: anywhere; }
button { font: inherit; font-weight: 600; padding: .75rem 1.5rem; border: 2px solid; border-radius: .375rem; }
button { cursor: pointer; }
button:focus-visible, a:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
@media (max-width: 24rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
]]
local STYLE_HASH = "GZcB3RUVV0pO8kp3tFmuWnq6ejkE/0H2uwPnrQ4Ukmc="

page.STYLE, page.STYLE_HASH = STYLE, STYLE_HASH

--- Headers of any answer whose address holds a secret.
function page.headers(policy)
  return {
    ["content-type"] = "text/html; charset=utf-8", ["cache-control"] = "no-store", ["referrer-policy"] = "no-referrer",
    ["x-robots-tag"] = "noindex", ["x-frame-options"] = "DENY",
    ["content-security-policy"] = policy .. "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  }
end

--- A text of others as it stands in a page.
function page.foreign(value)
  return "<bdi>" .. text.html(value) .. "</bdi>"
end

--- A page with this title (text) and body (HTML). Returns its headers and itself.
function page.make(title, body)
  local html = ([[<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<style>%s</style>
</head>
<body>
<main>
%s
</main>
</body>
</html>
]]):format(text.html(title), STYLE, body)
  return page.headers(("default-src 'none'; style-src 'sha256-%s'; "):format(STYLE_HASH)), html
end

return page
