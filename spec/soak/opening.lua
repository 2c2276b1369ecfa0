--- opening.lua: an engine as the soak runs open it: what its log warns of goes to standard error.

local pipeline = require "pipeline"

return function(path, given, durability)
  given.durability = durability
  given.log = function(level, text)
    if level >= 30 then io.stderr:write(text, "\n") end
  end
  return pipeline.open(path, given)
end
