-- count_report.lua [--test] [COLOUR...] - the demo of the original: how many things of a list have one of the colours
-- (default: red green blue, which gives 4).
--
--   count_report.lua          on a store in memory: one child asks for a retry first, so it takes a second
--   count_report.lua --test   in test mode: at once, and that child, which looks at test_mode, asks for none
--
-- Each colour is counted by a child of its own, the counts are added up by another; what only says something is done in
-- order when the total is known.
local pipeline = require "pipeline"
local common = pipeline.common

local test = arg[1] == "--test"
local colours = table.move(arg, test and 2 or 1, #arg, 1, {})
for _, colour in ipairs(colours) do
  if colour:sub(1, 1) == "-" then
    io.stderr:write("usage: count_report.lua [--test] [COLOUR...]\n")
    os.exit(2)
  end
end
if #colours == 0 then colours = { "red", "green", "blue" } end

local things = { "red", "blue", "red", "green" }

local CountOne = pipeline.define("count_report.CountOne", {
  run = function(_, list, wanted)
    local count = 0
    for _, thing in ipairs(list) do
      if thing == wanted then count = count + 1 end
    end
    return count
  end,
})

local SplitCount = pipeline.define("count_report.SplitCount", {
  run = function(self, list, wanted)
    local counts = {}
    for i, colour in ipairs(wanted) do counts[i] = self:spawn(CountOne(list, colour)) end
    self:spawn(common.Sum(table.unpack(counts)))
  end,
})

local Useless = pipeline.define("count_report.Useless", {
  backoff_seconds = 1,
  run = function(self)
    if not self.test_mode and self.current_attempt == 1 then
      error(pipeline.Retry "I think I should try this again")
    end
    print("useless: attempt " .. self.current_attempt)
  end,
})

local Say = pipeline.define("count_report.Say", { run = function(_, text) print(text) end })

local CountReport = pipeline.define("count_report.CountReport", {
  run = function(self, list, wanted)
    local total = self:spawn(SplitCount(list, wanted))
    self:spawn(Useless())
    self:after({ total }, function()
      self:in_order(function()
        self:spawn(Say("the total is known"))
        self:spawn(Say(self:spawn(common.Format.tuple("it is %d", total))))
      end)
    end)
    return total
  end,
  finalized = function(self) print("finalized: " .. self.outputs.default.value) end,
})

local report = CountReport(things, colours)
if test then
  print(report:start_test().outputs.default.value)
else
  local engine <close> = pipeline.open(":memory:")
  report:start()
  print(engine:wait(report).default.value)
end
