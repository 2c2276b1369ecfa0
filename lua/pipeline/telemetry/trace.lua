--- telemetry/trace.lua: which trace the running code belongs to: W3C trace context, by coroutine.
--
-- A context is { trace (32 hex digits), span (16), sampled }. `trace.on` is false until an engine traces; whoever would
-- pass a context on asks that first, so that nothing is done for it where nobody traces. What executes a task has a
-- context without having been given one: it is made when somebody asks for it.

local trace = { on = false }

local running = coroutine.running
local current = setmetatable({}, { __mode = "k" }) -- coroutine -> context; false: none, whatever is executed
local tracers = setmetatable({}, { __mode = "k" }) -- object -> its function that makes the context of a task

--- `of` traces from now on: of_task(of) is the context of the task that the running coroutine executes, if it is one of
-- its own.
function trace.begin(of, of_task)
  trace.on = true
  tracers[of] = of_task
end

--- `of` traces no longer.
function trace.done(of)
  tracers[of] = nil
end

--- The context of the running code, or nil.
function trace.current()
  local context = current[running()]
  if context ~= nil then return context or nil end
  for of, of_task in next, tracers do
    context = of_task(of)
    if context then return context end
  end
end

--- The header `traceparent` of a context (default: that of the running code); nil: there is none.
function trace.header(context)
  context = context or trace.current()
  return context and ("00-%s-%s-%s"):format(context.trace, context.span, context.sampled and "01" or "00")
end

--- Headers with that of the running code's context; those that have one, or where there is no context, as they are.
function trace.headers(headers)
  local traceparent = trace.header()
  if not traceparent then return headers end
  local out = { traceparent = traceparent }
  for name, value in pairs(headers or {}) do
    if type(name) == "string" and name:lower() == "traceparent" then return headers end
    out[name] = value
  end
  return out
end

--- The context that a header `traceparent` says; nil: it says none.
function trace.parse(header)
  if type(header) ~= "string" then return nil end
  local version, id, span, flags = header:match("^%s*(%x%x)%-(%x+)%-(%x+)%-(%x%x)")
  if not version or version == "ff" or #id ~= 32 or #span ~= 16 then return nil end
  if version == "00" and not header:match("^%s*%x%x%-%x+%-%x+%-%x%x%s*$") then return nil end
  if id:find("^0+$") or span:find("^0+$") then return nil end
  return { trace = id:lower(), span = span:lower(), sampled = tonumber(flags, 16) & 1 == 1 }
end

--- Calls fn(...) with `context` (nil: none) as that of the running code; returns what it does.
function trace.within(context, fn, ...)
  local co = running()
  local before = current[co]
  local _ <close> = setmetatable({}, { __close = function() current[co] = before end })
  current[co] = context or false
  return fn(...)
end

return trace
