-- report.lua - a busted output handler: one line per test, written as soon as it is known.
--
-- The lines go to the file named by $REPORT ("ok NAME", "FAIL NAME", "skip NAME", and "run NAME" when a test starts),
-- so that spec/tools/test.sh can count them, and can tell which test was running when the process died. Messages of
-- failures go to standard output.

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local pretty = require "pl.pretty"
  local report = assert(io.open(assert(os.getenv("REPORT"), "report.lua needs $REPORT"), "w"))

  local function write(word, element)
    report:write(word, " ", (handler.getFullName(element):gsub("%s+", " ")), "\n")
    report:flush()
  end

  local function text(message)
    if type(message) == "string" then return message end
    local mt = getmetatable(message)
    if type(mt) == "table" and mt.__tostring then return tostring(message) end
    return pretty.write(message)
  end

  -- `trace` is what busted recorded where the error was raised; absent for a file that does not compile.
  local function show(element, message, trace)
    print("FAIL " .. handler.getFullName(element))
    print("  " .. text(message):gsub("\n", "\n  "))
    if type(trace) == "table" and trace.traceback then print("  " .. trace.traceback:gsub("\n", "\n  ")) end
    io.stdout:flush()
  end

  function handler.testStart(element)
    write("run", element)
    return nil, true
  end

  local words = { success = "ok", pending = "skip", failure = "FAIL", error = "FAIL" }

  function handler.testEnd(element, _, status)
    write(words[status] or "FAIL", element)
    return nil, true
  end

  function handler.testFailed(element, _, message, trace)
    show(element, message, trace)
    return nil, true
  end

  -- An error outside any test: in a file, a describe, a setup or a teardown.
  function handler.otherFailed(element, _, message, trace)
    if element.descriptor ~= "it" then
      write("FAIL", element)
      show(element, message, trace)
    end
    return nil, true
  end

  function handler.suiteEnd()
    report:write("end\n")
    report:flush()
    return nil, true
  end

  busted.subscribe({ "test", "start" }, handler.testStart, { predicate = handler.cancelOnPending })
  busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
  busted.subscribe({ "failure", "it" }, handler.testFailed)
  busted.subscribe({ "error", "it" }, handler.testFailed)
  busted.subscribe({ "failure" }, handler.otherFailed)
  busted.subscribe({ "error" }, handler.otherFailed)
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end
