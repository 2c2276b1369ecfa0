-- served.lua FILE PORT TOKEN VIEWER MAIL [mended] - a program with pages, for the browser of browser_spec.lua: it
-- works, and starts what it is told to by POST /spec/NAME. MAIL is the address of a mail server. Its first line is its
-- port.

local pipeline = require "pipeline"
local schedules = require "pipeline.schedules"
local taskqueue = require "pipeline.taskqueue"

local path, port, token, viewer, mail = arg[1], tonumber(arg[2]), arg[3], arg[4], arg[5]
local engine = pipeline.open(path, {
  durability = "normal", stop_grace = 0.2, warm_runs = 0, -- changed code is met in a replay
  log = function() end,
  queues = { letters = { paused = true }, reports = { max_concurrent_requests = 1 }, webhooks = {} },
  mail = { url = mail, from = "shop@example.org" },
})
local broken = arg[6] ~= "mended" -- what fails now, and does not when it is mended

local Charge = pipeline.define("shop.orders.Charge", { max_attempts = 1, run = function(self, order)
  self:set_status { message = "charging " .. order.sku, status_links = { ledger = "https://example.org/ledger" } }
  if order.fails and broken then error("card declined: insufficient funds for " .. order.sku) end
  return { receipt = "R-" .. order.sku }
end })
local Approve = pipeline.define("shop.orders.Approve", { async = true, public_callbacks = true,
  run = function(self) self:set_status { message = "asked the shift lead" } end,
  callback = function(self, params) self:complete(params.choice == "approve") end })
local Ship = pipeline.define("shop.orders.Ship", { run = function() return "on its way" end })
local Order = pipeline.define("shop.orders.Order", { run = function(self, order)
  local paid = self:spawn(Charge(order))
  local ok = order.asks and self:spawn(Approve(order)) or nil
  self:after(ok and { ok } or {}, function() self:spawn(Ship { order = order, receipt = paid }) end)
end })
local Leaf = pipeline.define("crawl.Page", { run = function(_, n) return n end })
local Site = pipeline.define("crawl.Site", { run = function(self, n)
  for i = 1, n do self:spawn(Leaf(i)) end
  return n
end })
local Stored = pipeline.define("crawl.Stored", { queue_name = "letters", run = function() end })
local Part = pipeline.define("crawl.Part", { run = function(self, n)
  for i = 1, n do self:spawn(Stored(i)) end
end })
local Archive = pipeline.define("crawl.Archive", { run = function(self, parts, n)
  for _ = 1, parts do self:spawn(Part(n)) end
end })
local finished = false
local Slow = pipeline.define("slow.Steps", { run = function()
  while not finished do engine:sleep(0.02) end
end })
local Letter = pipeline.define("mail.Letter", { queue_name = "letters", run = function() end })
local HOSTILE = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>\u{202e}gpj.exe\u{2066}"
local Evil = pipeline.define("evil.<img src=x onerror=alert(1)>", { max_attempts = 1, run = function(self, _, deep)
  self:set_status {
    message = HOSTILE, status_links = { [HOSTILE] = "javascript:alert(3)" }, console_url = "javascript:alert(4)",
  }
  error(HOSTILE .. " \xff\xfe " .. ("w"):rep(20000) .. tostring(deep), 0)
end })

local Deal = pipeline.define("shop.orders.Deal", { run = function(self)
  self:spawn(pipeline.common.EmailToContinue { to = "boss@example.org", subject = "A deal",
    body = "Yes: {approve_url}\n\nNo: {disapprove_url}\n" })
end })
local Report = pipeline.define("nightly.Report", { run = function() end })

local Bytes = pipeline.define("values.Bytes", { run = function() return 1234567 end })

-- Durable functions: one that asks somebody and goes on; its code changes with `changed`.
local changed = false
local Trip = pipeline.workflow("travel.Trip", { run = function(self, to)
  local seat = self:step("seat", function() return { seat = "12A", to = to } end)
  pcall(self.step, self, { name = "upgrade", max_attempts = 1 }, error, "no upgrade left", 0)
  local papers = self:go("papers", function() return self:step("print", string.rep, "page ", 300) end)
  self:await(self:spawn(Leaf(7)))
  self:await(papers)
  local answer = self:wait_event("answer", { timeout = 86400 })
  self:step(changed and "invoice" or "charge", function() end)
  self:wait_event("paid")
  return { seat, answer }
end })
local Long = pipeline.workflow("travel.Long", { run = function(self, n)
  for i = 1, n do self:step("stop", function() return i end) end
  self:wait_event "end"
end })
-- One that shows how far it is, and answers.
local checked = false
local Copy = pipeline.workflow("travel.Copy", { run = function(self, n)
  local said, speed = self:stream("log"), 1
  self:on_query("speed", function(factor) return speed * (factor or 1) end)
  self:on_update("speed", function(wanted)
    if math.type(wanted) ~= "integer" then error("a whole number is wanted", 0) end
  end, function(wanted)
    speed = wanted
    return "from now on " .. wanted
  end)
  for i = 1, n do
    self:step("part", function() return "part " .. i end)
    self:set_value("progress", { done = i, of = n })
    said:write("part " .. i .. " is copied")
    self:wait_event("next")
  end
  self:step("check", function()
    pipeline.step():heartbeat { checked = 3 }
    while not checked do engine:sleep(0.02) end
  end)
  said:close()
  return speed
end })
local EvilRun = pipeline.workflow("evil.Run</script>", { max_attempts = 1, run = function(self)
  self:step(HOSTILE, function() return HOSTILE:rep(100), "\xff\0" end)
  pcall(self.step, self, HOSTILE, error, HOSTILE .. ("w"):rep(20000), 0)
  self:go(HOSTILE, function() self:sleep(86400) end)
  self:wait_event(HOSTILE)
end })

-- What has failed so often that it is dead: an address that does not answer well.
engine:route("POST", "/spec/hook", function() return broken and 500 or 200, "text/plain", HOSTILE end)
local function add_dead(names)
  for _, name in ipairs(names) do
    taskqueue.add { url = "/spec/hook", name = name, queue_name = "webhooks",
      retry_options = taskqueue.TaskRetryOptions { task_retry_limit = 0 } }
  end
end

local function stage_of(class, args, options)
  local stage = class(args)
  stage:start(options)
  return stage.id
end

local starts = {
  order = function() return stage_of(Order, { sku = "A-1" }) end,
  asks = function() return stage_of(Order, { sku = "B-2", asks = true }, { idempotence_key = "order-17" }) end,
  waits = function() return stage_of(Order, { sku = "W-1", asks = true }) end,
  fails = function() return stage_of(Order, { sku = "C-3", fails = true }) end,
  slow = function() return stage_of(Slow) end,
  note = function()
    taskqueue.add { url = "/spec/hook", queue_name = "letters" }
    return "1"
  end,
  letter = function() return stage_of(Letter) end,
  deal = function() return stage_of(Deal) end,
  dead = function() add_dead { "first", "second", "third" } return "3" end,
  schedule = function()
    schedules.create("nightly", { start = Report(), cron = "0 3 * * *" })
    return "nightly"
  end,
  evil = function()
    taskqueue.add { url = "/spec/hook", params = { [HOSTILE] = HOSTILE:rep(50) }, queue_name = "webhooks",
      retry_options = taskqueue.TaskRetryOptions { task_retry_limit = 0 } }
    local stage = Evil(("x"):rep(1024 * 1024), { [HOSTILE] = "\xff\0\1" })
    stage:start { idempotence_key = HOSTILE }
    return stage.id
  end,
  bytes = function()
    local stage = Bytes("\xff\0\1\xfe", { raw = "\xff\0" })
    stage:start()
    return stage.id
  end,
  asks2 = function() return stage_of(Order, { sku = "H-1", asks = true }) end,
  schedule2 = function()
    schedules.create("home-spec", { start = Report(), cron = "0 4 * * *" })
    return "home-spec"
  end,
  copy = function(n) return stage_of(Copy, tonumber(n)) end,
  trip = function() return stage_of(Trip, "Oslo") end,
  long = function(n) return stage_of(Long, tonumber(n)) end,
  evilrun = function() return stage_of(EvilRun) end,
  change = function() changed = true return "changed" end,
  back = function() changed = false return "as before" end,
  many = function()
    for i = 1, 500 do stage_of(Order, { sku = "F-" .. i, fails = true }) end
    return "500"
  end,
  large = function(n) return stage_of(Site, tonumber(n) or 5000) end,
  huge = function(n)
    local stage = Archive(tonumber(n), 1000)
    stage:start()
    return stage.id
  end,
  checked = function() checked = true return "checked" end,
  finish = function() finished = true return "finished" end,
  spoil = function() broken = true return "spoilt" end,
  mend = function() broken = false return "mended" end,
}
for name, start in pairs(starts) do
  engine:route("POST", "/spec/" .. name, function(request) return 200, "text/plain", start(request.params.n) end)
end

local server = engine:serve { port = port, admin_token = token, viewer_token = viewer }
io.stdout:write(server.port, "\n")
io.stdout:flush()
engine:run()
