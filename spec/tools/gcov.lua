-- gcov.lua OBJECT-DIRECTORY LEAST [PATTERN] - branches that specs have taken, by file; run by `make coverage`.
--
-- Reads what the objects of the build with counters have left. Of each file of csrc/store and csrc/engine it prints
-- the share of branches taken and the lines that have one that never was; fails when less than LEAST per cent of all
-- were taken. PATTERN: files whose lines are listed (default: all). Left out are lines with an assert, whose one branch
-- nothing may ever take.

local directory, least, pattern = arg[1], tonumber(arg[2]), arg[3] or "."

local function lines_of(command)
  local pipe <close> = assert(io.popen(command))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

-- "3-5 9 12": of a sorted list of numbers.
local function ranges(numbers)
  local parts, first = {}, nil
  for i, number in ipairs(numbers) do
    first = first or number
    if numbers[i + 1] ~= number + 1 then
      parts[#parts + 1] = first == number and tostring(number) or first .. "-" .. number
      first = nil
    end
  end
  return table.concat(parts, " ")
end

-- Branches of one source, and how many of them were taken. A line may be there several times, once for each inlining.
local function read(source)
  local object = ("%s/%s"):format(directory, (source:gsub("%.c$", ".o")))
  local all, taken, missing, line = 0, 0, {}, nil
  for _, text in ipairs(lines_of(("gcov -b -c -t -o '%s' '%s' 2>/dev/null"):format(object, source))) do
    local number = text:match("^%s*[%d#=%-]+%*?:%s*(%d+):")
    if text:find("^%s*%-:%s*0:Source:") then
      line = text:find(source, 1, true) and 0 or nil
    elseif number and line then
      line = text:find("%f[%w_]assert%(") and 0 or tonumber(number)
    elseif line and line > 0 and text:find("^branch") then
      all = all + 1
      if text:find("taken 0[^%d]") or text:find("taken 0$") or text:find("never executed") then
        if missing[#missing] ~= line then missing[#missing + 1] = line end
      else
        taken = taken + 1
      end
    end
  end
  return all, taken, missing
end

local sum_all, sum_taken = 0, 0
for _, source in ipairs(lines_of("find csrc/store csrc/engine -name '*.c' | sort")) do
  local all, taken, missing = read(source)
  sum_all, sum_taken = sum_all + all, sum_taken + taken
  print(("%-42s %5d of %5d branches, %5.1f %%"):format(source, taken, all, all > 0 and 100 * taken / all or 100))
  if source:find(pattern) and #missing > 0 then print("    never: " .. ranges(missing)) end
end
local share = sum_all > 0 and 100 * sum_taken / sum_all or 0
print(("all: %d of %d branches, %.1f %%"):format(sum_taken, sum_all, share))
if share < least then
  print(("gcov: less than %g %%"):format(least))
  os.exit(1)
end
