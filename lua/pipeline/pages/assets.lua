--- assets.lua: what the pages are made of: scripts, style sheet, icon. They lie in assets/ beside this file and are
-- read once; their addresses hold the hash of all of them, so that a browser keeps them for ever and never mixes two
-- versions. Scripts import each other by relative paths, which stay below that address.

local core = require "pipeline.core"

local assets = {}

local NAMES = {
  "app.css", "app.svg", "app.js", "format.js", "parts.js", "server.js", "shapes/chart.js", "shapes/graph.js",
  "shapes/timeline.js", "shapes/tree.js", "views/events.js", "views/home.js", "views/journal.js", "views/many.js",
  "views/pipeline.js", "views/pipelines.js", "views/queues.js", "views/run.js", "views/schedules.js", "views/stage.js",
  "views/tasks.js", "views/workers.js", "vendor/hooks.js", "vendor/htm.js", "vendor/preact.js",
}

local TYPES = {
  js = "text/javascript; charset=utf-8", css = "text/css; charset=utf-8", svg = "image/svg+xml",
}

local _, own_path = ...
local folder = (own_path or "lua/pipeline/pages/assets.lua"):gsub("%.lua$", "/")

local function read(name)
  local file <close> = assert(io.open(folder .. name, "rb"))
  return file:read("a")
end

local function load_all()
  local bodies, all = {}, {}
  for i, name in ipairs(NAMES) do
    bodies[name] = read(name)
    all[i] = name .. "\n" .. bodies[name]
  end
  return bodies, core.sha1(table.concat(all, "\n")):sub(1, 16)
end

local bodies, hash = load_all()

--- Below the base path: where they are.
assets.FOLDER = "assets/" .. hash .. "/"

--- Names of all of them, and those of the scripts that the first page needs.
assets.NAMES = NAMES

--- Headers and body of one.
function assets.get(name)
  return {
    ["content-type"] = TYPES[name:match("%.(%w+)$")], ["cache-control"] = "public, max-age=31536000, immutable",
    ["cross-origin-resource-policy"] = "same-origin",
  }, bodies[name]
end

return assets
