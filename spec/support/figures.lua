--- figures.lua: what stands for many figures. Each function sorts the list it is given.

local figures = {}

--- The one in the middle; of an even number the lower of two.
function figures.median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

--- The least one that a part `p` of all, 0 to 1, does not exceed.
function figures.percentile(list, p)
  table.sort(list)
  return list[math.max(1, math.ceil(#list * p))]
end

return figures
