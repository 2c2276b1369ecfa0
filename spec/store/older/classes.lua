-- classes.lua: pipelines whose work lies in release-0.1.tar.gz: defined by the program that made that file, under
-- version 0.1, and by the spec that opens it. Only what 0.1 had is used.
--
-- While `classes.is_mended` is false, what needs a repair fails and what holds its process up waits.

local pipeline = require "pipeline"

local classes = { is_mended = false, ran = {} }

local function count(name)
  classes.ran[name] = (classes.ran[name] or 0) + 1
end

classes.Give = pipeline.define("older.Give", {
  run = function(_, value)
    count("Give")
    return value
  end,
})

classes.Add = pipeline.define("older.Add", {
  output_names = { "half" },
  run = function(self, a, b)
    count("Add")
    self:fill("half", (a + b) / 2)
    return a + b
  end,
})

classes.Fail = pipeline.define("older.Fail", {
  max_attempts = 1,
  run = function()
    if not classes.is_mended then error("broken in 0.1", 0) end
    return "works now"
  end,
})

-- Fails once and comes back after a minute.
classes.Retry = pipeline.define("older.Retry", {
  backoff_seconds = 60, max_attempts = 3,
  run = function(self)
    count("Retry")
    if not classes.is_mended then error("not yet", 0) end
    return "attempt " .. self.current_attempt
  end,
})

-- Stays open until a task of its own comes back, after an hour; or until somebody calls.
classes.Ask = pipeline.define("older.Ask", {
  async = true, public_callbacks = true,
  run = function(self, seconds)
    self:set_status { message = "asked", console_url = "https://shop.example/ask" }
    if seconds then self:get_callback_task({ countdown = seconds, params = { answer = "late" } }):add() end
  end,
  callback = function(self, params)
    count("callback")
    self:complete(params.answer)
    return 200, "text/plain", "thank you"
  end,
})

-- Is executing when its process is killed: `hold` does not return there.
classes.Hold = pipeline.define("older.Hold", {
  run = function()
    count("Hold")
    if not classes.is_mended then classes.hold() end
    return "held"
  end,
})

-- A tree that is half done: one child has its value, one waits for an hour, one for both of them.
classes.Tree = pipeline.define("older.Tree", {
  run = function(self, seconds)
    count("Tree")
    local given = self:spawn(classes.Give(20))
    local asked = self:spawn(classes.Ask(seconds))
    self:after({ asked }, function() self:spawn(classes.Give("after")) end)
    self:spawn(classes.Add(given, self:spawn(classes.Give(22))))
  end,
})

-- Children one after the other; is finalized with its value.
classes.Order = pipeline.define("older.Order", {
  run = function(self, what)
    self:in_order(function()
      self:spawn(classes.Give { what, list = { 1, 2, 3 }, nested = { yes = true } })
      self:spawn(classes.Add(1, 2))
    end)
  end,
  finalized = function(self) classes.ran["finalized"] = self.outputs.default.value end,
})

return classes
