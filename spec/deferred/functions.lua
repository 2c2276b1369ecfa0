--- functions.lua: what the specs of deferred calls defer. Not a spec.

local functions = { calls = {} }

local function note(...)
  functions.calls[#functions.calls + 1] = table.pack(...)
end

--- Forgets the calls made so far.
function functions.forget()
  functions.calls = {}
end

function functions.record(...)
  note(...)
  return "result", ...
end

function functions.fail(problem)
  note(problem)
  error(problem, 0)
end

--- Raises the problem that `raises` holds, once; then returns.
function functions.fail_once(...)
  note(...)
  local problem = functions.raises
  functions.raises = nil
  if problem then error(problem, 0) end
end

local calls_of_constructor = 0

local Account = { bonus = 5 }
Account.__index = Account
functions.Account = setmetatable(Account, {
  __call = function(class, owner)
    calls_of_constructor = calls_of_constructor + 1
    note("constructed", owner)
    return setmetatable({ owner = owner, balance = 0 }, class)
  end,
})

function functions.constructions()
  return calls_of_constructor
end

function Account.__call(self, amount)
  note("called", self.owner, self.balance, amount)
  return self.balance
end

function Account.deposit(self, amount)
  note("deposit", self.owner, self.balance, amount)
  return self.balance + amount
end

function Account.class_method(class, x)
  note("class method", class == Account, x)
end

function Account.static(x)
  note("static", x)
end

local Saved = {}
Saved.__index = Saved
functions.Saved = Saved

function Saved.__defer(self)
  return { kept = self.kept, was_saved = true }
end

function Saved.show(self)
  note("saved", self.kept, self.was_saved, self.handle)
end

return functions
