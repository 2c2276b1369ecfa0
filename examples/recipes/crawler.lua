-- crawler.lua [--db FILE] [--pages N] [URL] - fetches a site, page by page; may be killed and started again.
--
--   crawler.lua http://example.org/      keeps what it has found in crawl.db; started again it goes on from there
--   crawler.lua --db :memory:            crawls a small site that it serves itself
--
-- Each page is a task of the queue "crawl", whose settings say how polite we are. A page and the tasks for its links
-- are committed together, and a link that was seen before adds none: so each page is fetched once, whatever dies when;
-- at most those that were being fetched are fetched again.
local pipeline = require "pipeline"
local taskqueue = require "pipeline.taskqueue"
local tasklets = require "pipeline.tasklets"

local options = { db = "crawl.db", pages = "1000" }
for i, word in ipairs(arg) do
  local name = word:match("^%-%-(%l+)$")
  if name then options[name] = arg[i + 1] elseif word:find("^https?://") then options.url = word end
end
local limit = math.tointeger(tonumber(options.pages))

local engine <close> = pipeline.open(options.db, {
  queues = { crawl = {
    rate = "20/s", bucket_size = 5, max_concurrent_requests = 4,
    retry_parameters = { task_retry_limit = 3, min_backoff_seconds = 0.5 },
  } },
  log = function(level, text) if level >= 40 then io.stderr:write(text, "\n") end end,
})

engine:transaction(function(tx)
  tx:execute "CREATE TABLE IF NOT EXISTS pages (url TEXT PRIMARY KEY, status INTEGER, bytes INTEGER)"
end)

-- Inside a transaction: adds a task for a URL that was not seen before, while there may be more.
local function enqueue(tx, url)
  if tx:query("SELECT count(*) AS n FROM pages")[1].n >= limit then return end
  if tx:execute("INSERT INTO pages (url) VALUES (?) ON CONFLICT DO NOTHING", url) == 1 then
    taskqueue.add { queue_name = "crawl", url = "/crawl", params = { url = url } }
  end
end

-- Links of the same site; a real crawler has a parser for this, and asks robots.txt.
local function links_of(base, html)
  local origin, links = base:match("^(https?://[^/]+)"), {}
  for link in html:gmatch('href="([^"#]+)') do
    if link:find("^/") then link = origin .. link end
    if link:sub(1, #origin) == origin then links[#links + 1] = link end
  end
  return links
end

engine:route("POST", "/crawl", function(request)
  if not request.is_task then return 403 end
  local url = request.params.url
  local response = tasklets.await(tasklets.fetch { url = url, deadline = 20, follow = true, max_size = 1 << 20 })
  if response.status >= 500 then return 503 end -- again later
  engine:transaction(function(tx)
    tx:execute("UPDATE pages SET status = ?, bytes = ? WHERE url = ?", response.status, #response.body, url)
    for _, link in ipairs(links_of(response.url, response.body)) do enqueue(tx, link) end
  end)
end)

-- A site to crawl: every page leads to two others, and all of them back.
if not options.url then
  engine:route("GET", "/site/:n", function(request)
    local n = math.tointeger(tonumber(request.path_params.n))
    if not n or n > 12 then return 404, "text/html", "no such page" end
    return 200, "text/html", ('<a href="/site/%d">a</a> <a href="/site/%d">b</a> <a href="/site/1">home</a>'):format(
      2 * n, 2 * n + 1)
  end)
  options.url = engine:serve({ port = 0, admin_token = "not-for-strangers" }).url .. "/site/1"
end

engine:transaction(function(tx) enqueue(tx, options.url) end)
engine:drain { delayed = true }

engine:transaction(function(tx)
  for _, row in ipairs(tx:query "SELECT status, count(*) AS n FROM pages GROUP BY status ORDER BY status") do
    print(("%s: %d pages"):format(row.status or "not fetched", row.n))
  end
end)
