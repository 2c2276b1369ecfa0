-- browser_spec.lua - the pages in a browser: Chromium, driven over a program at work by browse.mjs. What is looked at
-- is listed there; here is what it proves. Without a browser, or the module that drives it, all of it is skipped.

local json = require "pipeline.http.json"
local pace = require "spec.support.pace"

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "spec/pages"
local build = os.getenv("PL_BUILD") or "build"
local modules = os.getenv("BROWSER_MODULES") or build:gsub("/%l+san$", "") .. "/browser"

local function output_of(command)
  local pipe <close> = assert(io.popen(command))
  return (pipe:read("a"):gsub("%s+$", ""))
end

local function why_not()
  if output_of("command -v chromium 2>/dev/null") == "" then return "skipped: no browser" end
  if output_of("command -v node 2>/dev/null") == "" then return "skipped: no browser (node is missing)" end
  local file = io.open(modules .. "/node_modules/playwright-core/package.json")
  if not file then return "skipped: no browser (`make deps-browser` brings what drives it)" end
  file:close()
end

describe("a browser", function()
  local reason, results = why_not(), {}

  setup(function()
    if reason then return end
    local work = output_of("mktemp -d")
    local command = ("BROWSER_MODULES='%s' CHROMIUM=\"$(command -v chromium)\" LUA=\"${LUA:-lua5.4}\" SPEC_DIR='%s' " ..
      "WORK_DIR='%s' SHOTS='%s/pages' PACE=%d node '%s/browse.mjs' 2>&1"):format(modules, here, work, build, pace, here)
    local rest = {}
    local pipe <close> = assert(io.popen(command))
    for line in pipe:lines() do
      local ok, result = pcall(json.decode, line)
      local is_result = ok and type(result) == "table" and result.name
      if is_result then results[result.name] = result else rest[#rest + 1] = line end
    end
    results.rest = table.concat(rest, "\n")
    os.execute("rm -r '" .. work .. "'")
  end)

  local function seen(name)
    return function()
      if reason then return pending(reason) end
      local result = results[name]
      assert(result, "not looked at: " .. tostring(results.rest))
      assert(result.ok, result.detail)
      if type(result.detail) == "table" then print(name .. ": " .. json.encode(result.detail)) end
    end
  end

  it("U6 asks for a token, says when it is wrong, and lets in who has it", seen "sign in")
  it("U6 U9 needs keys alone to sign in and out", seen "keys are enough to sign in")
  it("U1 U2 says of an empty store what it has nothing of", seen "an empty store")
  it("U2 U7 shows a pipeline that is started, live, until it is done", seen "a pipeline is watched from start to done")
  it("U2 keeps filters in the address; failed ones in one click", seen "filters are in the address")
  it("U1 U3 U4 leads from home to a failure in two clicks", seen "a failure is found from home in two clicks")
  it("U4 U9 resumes a tree that failed, by keys alone", seen "it is resumed on the page, by keys alone, and done")
  it("U4 completes an async stage", seen "an async stage is completed on the page")
  it("U3 W63 W176 shows the journal of a durable function, sends it signals, says why it is held and lets it go on",
    seen "the journal of a durable function")
  it("U3 W131 W134 W139 W141 W43 shows values, streams and heartbeats live, asks and updates",
    seen "a durable function is watched live")
  it("U3 W155 W158 forks a durable function before an entry, holds one, and lets it go on",
    seen "a durable function is forked, and held")
  it("U3 W176 shows a long journal a page after the other", seen "a long journal")
  it("U3 U9 can be used by keys alone; tree, timeline and graph are linked", seen "keys are enough")
  it("U3 folds rests in the timeline, and what is none keeps its share",
    seen "long rests are folded in the timeline")
  it("U4 U9 shows times in the viewer's zone, exact UTC on hover, ticks, groups numbers, and copies values",
    seen "times, numbers and values are as people read them")
  it("U1 shows on its first page what needs a person", seen "home shows what needs a person")
  it("U5 pauses a queue and lets it go on", seen "a queue is paused and goes on")
  it("U5 revives a dead task and forgets others", seen "a dead task is revived, others are forgotten")
  it("U5 purges a queue, but not before it has asked", seen "a queue is purged")
  it("U5 fires a schedule, pauses it, and lets it go on", seen "a schedule is fired, paused, and goes on")
  it("U4 calls an async stage back", seen "an async stage is called back")
  it("U1 M4 shows an approval that was given by the link in a mail", seen "an approval is given by the mailed link")
  it("U6 does nothing for pages of another origin, nor under a foreign host", seen "pages of others cannot act")
  it("U2 resumes many by a filter, after it has said how many, and none that was not counted then",
    seen "many are resumed by their filter")
  it("U2 U11 says how far an act on many came when its engine dies, and what is left is done afterwards",
    seen "an act on many whose engine dies is told, and done again for the rest")
  it("U2 pages through lists by a cursor, which is in the address", seen "lists go on by a cursor, and back")
  it("U10 shows hostile values as text, and the layout stands", seen "hostile values are shown as text")
  it("U8 shows 5,000 stages, of which only those in sight are rows", seen "5,000 stages")
  it("U8 shows 100,000 stages level by level, counted at once", seen "100,000 stages")
  it("P194 folds long values, and counts children", seen "long values are folded")
  it("U11 says since when it is disconnected, and is right when the engine is back",
    seen "the page outlives its engine")
  it("U6 offers no act to a viewer", seen "a viewer sees all and may change nothing")
  it("U9 fits 360 px, in light and dark, and axe finds nothing serious",
    seen "every page fits, in both themes, and can be used by all")
  it("U6 asks for nothing elsewhere", seen "nothing is asked for elsewhere")
end)
