--- memory.lua: how much memory this process has resident, for what is measured.

local memory = {}

--- KiB that this process has in memory; 0 where /proc does not say.
function memory.resident()
  local file = io.open("/proc/self/status")
  for line in file and file:lines() or function() end do
    local kib = line:match("^VmRSS:%s+(%d+)")
    if kib then
      file:close()
      return tonumber(kib)
    end
  end
  return 0
end

return memory
