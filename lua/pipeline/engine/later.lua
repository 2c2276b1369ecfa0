--- later.lua: methods of the engine for those who look and act from outside: most programs call none of them, so the
-- file of each is read when it is called first.

local later = {}

--- Room -> its methods.
later.ROOMS = {
  ["pipeline.view.lists"] = { "find", "list", "list_counts", "list_held", "count_over" },
  ["pipeline.view.stages"] = { "tree", "stage", "logs" },
  ["pipeline.view.queues"] = { "queues", "tasks", "workers" },
  ["pipeline.view.why"] = { "why" },
  ["pipeline.engine.repairs"] = { "repair" },
  ["pipeline.act.trees"] = { "act" },
  ["pipeline.act.async"] = { "complete", "callback" },
  ["pipeline.act.tasks"] = { "act_tasks" },
  ["pipeline.durable.outside"] = { "hold", "resume", "get_journal", "signal" },
  ["pipeline.durable.reach.readers"] = { "get_value", "get_values", "read_stream", "get_streams", "update" },
  ["pipeline.durable.reach.query"] = { "query", "get_handlers" },
  ["pipeline.durable.reach.fork"] = { "fork" },
  ["pipeline.durable.reach.explain"] = { "explain" },
}

--- Puts the methods of a room into `methods`.
function later.bring(methods, room)
  for name, method in pairs(require(room)) do methods[name] = method end
end

--- Puts in their place what brings them when it is called.
function later.promise(methods)
  for room, names in pairs(later.ROOMS) do
    for _, name in ipairs(names) do
      methods[name] = function(...)
        later.bring(methods, room)
        return methods[name](...)
      end
    end
  end
end

return later
