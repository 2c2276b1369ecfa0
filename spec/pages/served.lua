-- served.lua FILE PORT TOKEN VIEWER - a program with pages, for the browser of browser_spec.lua: it works, and starts
-- what it is told to by POST /spec/NAME. Its first line is its port.

local pipeline = require "pipeline"

local path, port, token, viewer = arg[1], tonumber(arg[2]), arg[3], arg[4]
local engine = pipeline.open(path, {
  durability = "normal", stop_grace = 0.2, log = function() end,
  queues = { mail = { paused = true }, reports = { max_concurrent_requests = 1 } },
})
local broken = true -- what fails now, and does not when it is mended

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
local finished = false
local Slow = pipeline.define("slow.Steps", { run = function()
  while not finished do engine:sleep(0.02) end
end })
local Letter = pipeline.define("mail.Letter", { queue_name = "mail", run = function() end })
local HOSTILE = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>\u{202e}gpj.exe\u{2066}"
local Evil = pipeline.define("evil.<img src=x onerror=alert(1)>", { max_attempts = 1, run = function(self, _, deep)
  self:set_status {
    message = HOSTILE, status_links = { [HOSTILE] = "javascript:alert(3)" }, console_url = "javascript:alert(4)",
  }
  error(HOSTILE .. " \xff\xfe " .. ("w"):rep(20000) .. tostring(deep), 0)
end })

local function stage_of(class, args, options)
  local stage = class(args)
  stage:start(options)
  return stage.id
end

local starts = {
  order = function() return stage_of(Order, { sku = "A-1" }) end,
  asks = function() return stage_of(Order, { sku = "B-2", asks = true }, { idempotence_key = "order-17" }) end,
  fails = function() return stage_of(Order, { sku = "C-3", fails = true }) end,
  slow = function() return stage_of(Slow) end,
  letter = function() return stage_of(Letter) end,
  evil = function()
    local stage = Evil(("x"):rep(1024 * 1024), { [HOSTILE] = "\xff\0\1" })
    stage:start { idempotence_key = HOSTILE }
    return stage.id
  end,
  many = function()
    for i = 1, 120 do stage_of(Order, { sku = "F-" .. i, fails = true }) end
    return "120"
  end,
  large = function(n) return stage_of(Site, tonumber(n) or 5000) end,
  finish = function() finished = true return "finished" end,
  mend = function() broken = false return "mended" end,
}
for name, start in pairs(starts) do
  engine:route("POST", "/spec/" .. name, function(request) return 200, "text/plain", start(request.params.n) end)
end

local server = engine:serve { port = port, admin_token = token, viewer_token = viewer }
io.stdout:write(server.port, "\n")
io.stdout:flush()
engine:run()
