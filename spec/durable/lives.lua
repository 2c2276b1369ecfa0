--- lives.lua: how many runs the engines of the specs of durable functions keep in memory while they are suspended.
--
-- None: so each resumption replays the journal, as in another process. warm_spec.lua executes the same specs once more
-- with others than that.

return { warm_runs = 0 }
