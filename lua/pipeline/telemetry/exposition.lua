--- telemetry/exposition.lua: the text in which metrics are read: OpenMetrics 1.0, or the older format of Prometheus.
--
-- A page is a list of families: { name (without the suffix of its kind), kind ("counter", "gauge", "histogram",
-- "info"), help, samples }, a sample { labels (a list of name, value, name, value, ... or nil), value }. The value of a
-- histogram is what the core counts: see csrc/binding/telemetry/meter.h; `scale` is what its numbers are divided by.

local core = require "pipeline.core"

local exposition = {}

local NAME_BYTES_MAX = 200

local escapes = { ["\\"] = "\\\\", ["\n"] = "\\n", ['"'] = '\\"' }

-- What cannot be shown as it is gets a mark of its own: two names that became one would be the same sample twice, and
-- the page would not be read at all.
local function label_value(value)
  value = tostring(value)
  local given = value
  if #value > NAME_BYTES_MAX then value = value:sub(1, NAME_BYTES_MAX):gsub("[\xC0-\xFF][\x80-\xBF]*$", "") end
  if not utf8.len(value) then value = value:gsub("[\x80-\xFF]", "\u{FFFD}") end
  if value ~= given then value = value .. "~" .. core.sha1(given):sub(1, 8) end
  return (value:gsub('[\\\n"]', escapes))
end

local function labels_text(labels, name, value)
  local out = {}
  for i = 1, labels and #labels or 0, 2 do
    out[#out + 1] = ('%s="%s"'):format(labels[i], label_value(labels[i + 1]))
  end
  if name then out[#out + 1] = ('%s="%s"'):format(name, value) end
  return #out > 0 and "{" .. table.concat(out, ",") .. "}" or ""
end

-- The locale may write a comma.
local function number_text(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  local short = ("%.15g"):format(value):gsub(",", ".")
  return tonumber(short) == value and short or (("%.17g"):format(value):gsub(",", "."))
end

local function bound_text(value)
  local written = number_text(value + 0.0)
  return written:find("[.e]") and written or written .. ".0"
end

local function add_histogram(out, family, sample)
  local counts, scale, total = sample[2], family.scale or 1, 0
  for i = 1, #counts do
    total = total + counts[i]
    local bound = i < #counts and bound_text(2.0 ^ (counts.first + i - 1) / scale) or "+Inf"
    out[#out + 1] = ("%s_bucket%s %d"):format(family.name, labels_text(sample[1], "le", bound), total)
  end
  local labels = labels_text(sample[1])
  out[#out + 1] = ("%s_count%s %d"):format(family.name, labels, total)
  out[#out + 1] = ("%s_sum%s %s"):format(family.name, labels, number_text(counts.sum / scale))
end

local suffixes = { counter = "_total", info = "_info" }

local function add_family(out, family, is_open)
  if #family.samples == 0 then return end
  local kind, full = family.kind, family.name .. (suffixes[family.kind] or "")
  local shown = is_open and family.name or full
  if not is_open and kind == "info" then kind = "gauge" end
  out[#out + 1] = ("# HELP %s %s"):format(shown, family.help)
  out[#out + 1] = ("# TYPE %s %s"):format(shown, kind)
  for _, sample in ipairs(family.samples) do
    if kind == "histogram" then
      add_histogram(out, family, sample)
    else
      out[#out + 1] = full .. labels_text(sample[1]) .. " " .. number_text(sample[2])
    end
  end
end

exposition.OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
exposition.PLAIN = "text/plain; version=0.0.4; charset=utf-8"

--- Whether a client that says `accept` (nil: nothing) gets OpenMetrics: unless it asks for plain text alone.
function exposition.wants_open(accept)
  if not accept or accept:find("openmetrics", 1, true) then return true end
  return not accept:find("text/plain", 1, true)
end

--- The text of a list of families.
function exposition.write(families, is_open)
  local out = {}
  for _, family in ipairs(families) do add_family(out, family, is_open) end
  if is_open then out[#out + 1] = "# EOF" end
  return table.concat(out, "\n") .. "\n"
end

return exposition
