--- beanstalkd.lua: from a call in one process to the start in another, through beanstalkd with a sync for each put.
--
--   lua5.4 spec/bench/peers/beanstalkd.lua           begins a server on a port and with files of its own, and measures
--   lua5.4 spec/bench/peers/beanstalkd.lua PORT      the process that reserves
--
-- As the part "across" of queues.lua: the caller has nothing else to do, and rests for 10 ms after each call.

local free_port = require "spec.support.free_port"
local percentile = require("spec.support.figures").percentile
local socket = require "socket"

local CALLS, REST = 400, 0.01

local function connect(port)
  for _ = 1, 100 do
    local client = socket.connect("127.0.0.1", port)
    if client then
      client:setoption("tcp-nodelay", true)
      return client
    end
    socket.sleep(0.02)
  end
  error "beanstalkd does not answer"
end

-- Prints how long it took from each put to its job being here.
local function reserve(port)
  local client, times = connect(port), {}
  print "ready"
  io.stdout:flush()
  for i = 1, CALLS do
    client:send "reserve\r\n"
    local id, len = assert(client:receive "*l"):match "^RESERVED (%d+) (%d+)$"
    local sent = client:receive(tonumber(len))
    times[i] = socket.gettime() - tonumber(sent)
    client:receive(2)
    client:send(("delete %s\r\n"):format(id))
    assert(client:receive "*l" == "DELETED")
  end
  print("beanstalkd_across_p50_ms", percentile(times, 0.5) * 1000)
  print("beanstalkd_across_p99_ms", percentile(times, 0.99) * 1000)
end

local function measure(port)
  local other = assert(io.popen(("lua5.4 '%s' %d"):format(arg[0], port)))
  assert(other:read "l" == "ready", "nobody reserves")
  local client = connect(port)
  for _ = 1, CALLS do
    local job = ("%.6f"):format(socket.gettime())
    client:send(("put 0 0 60 %d\r\n%s\r\n"):format(#job, job))
    assert(client:receive "*l":find "^INSERTED")
    socket.sleep(REST)
  end
  io.write(other:read "a")
  assert(other:close())
end

local function main()
  if arg[1] then return reserve(tonumber(arg[1])) end
  local port, folder = free_port(), os.getenv "BENCH_DIR" or "."
  local data = io.popen(("mktemp -d -p '%s'"):format(folder)):read "l"
  local begin = ("beanstalkd -l 127.0.0.1 -p %d -b '%s' -f 0 >/dev/null 2>&1 & echo $!"):format(port, data)
  local pid = io.popen(begin):read "l"
  local ok, why = pcall(measure, port)
  os.execute(("kill %s; rm -rf '%s'"):format(pid, data))
  if not ok then error(why, 0) end
end

main()
