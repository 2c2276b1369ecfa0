--- peers.lua: durable functions beside the same programs on DBOS (with PostgreSQL) and on Restate, and a call that
-- another process executes beside beanstalkd, in the same run.
--
-- Each system has its files in the same folder and syncs as it does by default: DBOS by PostgreSQL, Restate by RocksDB;
-- beanstalkd is told to sync each put. Their programs are in JavaScript, by node. The systems take turns; what is
-- printed are medians. PostgreSQL and beanstalkd are not installed for this: their packages begin to serve at once.
--
--   lua5.4 spec/bench/peers/peers.lua [--dir DIR] [--runs N]     DIR: where setup.sh has put what it takes

local options = { dir = "build/bench/peers", runs = 3 }
for i = 1, #arg, 2 do
  local name = arg[i]:match("^%-%-(%w+)$")
  if not options[name] then error("unknown argument " .. arg[i]) end
  options[name] = arg[i + 1] or error(arg[i] .. " needs a value")
end

local median = require("spec.support.figures").median

-- What a command prints in lines "name value"; nil and why: it failed.
local function figures(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text, found = pipe:read "a", {}
  local ok = pipe:close()
  for name, value in ("\n" .. text):gmatch("\n([%a_][%w_]*)%s([%d.]+)%f[\n\0]") do found[name] = tonumber(value) end
  if not ok or not next(found) then return nil, text:sub(-400) end
  return found
end

-- ---- PostgreSQL, on a port of its own, with files of its own ------------------------------------------------------

local Server = {}
local server_meta = { __index = Server }

local function as_postgres(command)
  return ("setpriv --reuid=postgres --regid=postgres --clear-groups sh -c %q"):format(command)
end

local function run(command)
  return os.execute(command .. " >/dev/null 2>&1")
end

-- Begins one; nil and why: there is none.
local function postgres()
  local binaries = io.popen("ls -d /usr/lib/postgresql/*/bin 2>/dev/null"):read "l"
  if not binaries then return nil, "PostgreSQL is not installed" end
  local folder = io.popen("mktemp -d"):read "l" -- the user of PostgreSQL cannot come into every folder
  local data, port = folder .. "/data", require("spec.support.free_port")()
  run(("chown postgres %s"):format(folder))
  local self = setmetatable({ folder = folder, binaries = binaries, data = data }, server_meta)
  local begun = run(as_postgres(("%s/initdb -A trust -U bench -D %s"):format(binaries, data)))
    and run(as_postgres(("%s/pg_ctl -w -D %s -o '-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories=%s' "
      .. "-l %s/log start"):format(binaries, data, port, folder, folder)))
  if not begun then
    self:stop()
    return nil, "PostgreSQL does not start"
  end
  self.url = ("postgresql://bench@127.0.0.1:%d/bench"):format(port)
  return self
end

function Server.stop(self)
  run(as_postgres(("%s/pg_ctl -m immediate -D %s stop"):format(self.binaries, self.data)))
  run(("rm -rf %s"):format(self.folder))
end

-- ---- the systems ---------------------------------------------------------------------------------------------------

local systems = {}

local function ours(part)
  return figures(("lua5.4 spec/bench/bench.lua --dir '%s' --only %s"):format(options.dir, part))
end

function systems.pipeline()
  local all = {}
  for _, part in ipairs { "durable_row", "durable_flows", "durable_signals", "across" } do
    local found, why = ours(part)
    if not found then return nil, why end
    for name, value in pairs(found) do all["pipeline_" .. name:gsub("^durable_", "")] = value end
  end
  return all
end

function systems.dbos()
  local server, why = postgres()
  if not server then return nil, why end
  local found, problem = figures(("cd '%s' && DBOS_URL='%s' timeout 300 node dbos.mjs"):format(options.dir, server.url))
  server:stop()
  return found, problem
end

function systems.restate()
  local folder = io.popen(("cd '%s' && mktemp -d -p ."):format(options.dir)):read "l"
  local found, why = figures(("cd '%s' && RESTATE_LOGGING=ERROR timeout 300 node restate.mjs \"$PWD/%s\""):format(
    options.dir, folder))
  run(("rm -rf '%s/%s'"):format(options.dir, folder))
  return found, why
end

function systems.beanstalkd()
  if not run "command -v beanstalkd" then return nil, "it is not installed" end
  return figures(("BENCH_DIR='%s' timeout 60 lua5.4 spec/bench/peers/beanstalkd.lua"):format(options.dir))
end

local NAMES = { "pipeline", "dbos", "restate", "beanstalkd" }

local function main()
  local lists, missing = {}, {}
  for _ = 1, options.runs do
    for _, name in ipairs(NAMES) do
      local found, why = nil, missing[name]
      if not why then found, why = systems[name]() end
      missing[name] = why
      for key, value in pairs(found or {}) do
        lists[key] = lists[key] or {}
        table.insert(lists[key], value)
      end
    end
  end
  print(("%-36s %12s %12s %12s %12s"):format("medians of " .. options.runs, "pipeline", "DBOS", "Restate",
    "beanstalkd"))
  for _, line in ipairs {
    { "a step in a row, one run (us)", "row_us", "%.0f" }, { "500 runs of 10 steps (steps/s)", "flows", "%.0f" },
    { "signal to resumption, p50 (ms)", "signal_p50_ms", "%.2f" },
    { "signal to resumption, p99 (ms)", "signal_p99_ms", "%.2f" },
    { "call to start elsewhere, p50 (ms)", "across_p50_ms", "%.2f" },
    { "call to start elsewhere, p99 (ms)", "across_p99_ms", "%.2f" },
  } do
    local cells = {}
    for i, name in ipairs(NAMES) do
      local list = lists[name .. "_" .. line[2]]
      cells[i] = list and line[3]:format(median(list)) or "-"
    end
    print(("%-36s %12s %12s %12s %12s"):format(line[1], table.unpack(cells)))
  end
  for name, why in pairs(missing) do print(("%s: %s"):format(name, why)) end
end

main()
