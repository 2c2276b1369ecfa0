--- address.lua: mail addresses as people write them: "ada@example.org", "Ada Lovelace <ada@example.org>".
--
-- Only the forms that every mail server takes are accepted: a dot-atom of ASCII before the "@", a host name or an IP
-- address in brackets after it. A name may be any text; it is encoded where it stands (header.lua). One string is one
-- address: several go in a list, so that a name that somebody has typed in cannot add a recipient.

local errors = require "pipeline.support.errors"
local text = require "pipeline.support.text"

local address = {}

local LOCAL_BYTES_MAX, DOMAIN_BYTES_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX = 64, 255, 63, 1000

local function fail(place, value, why)
  errors.raise(errors.MailError, "%s: %s %s", place, text.of(text.short(value)), why)
end

local function is_domain(domain)
  if domain:find("^%[[%x:.]+%]$") or domain:find("^%[IPv6:[%x:.]+%]$") then return true end
  if domain == "" or #domain > DOMAIN_BYTES_MAX then return false end
  for label in (domain .. "."):gmatch("([^.]*)%.") do
    if #label > LABEL_BYTES_MAX or not label:find("^%w[%w%-]*$") or label:find("%-$") then return false end
  end
  return true
end

local function check_spec(place, spec)
  if spec == "" then fail(place, spec, "is no mail address") end
  if spec:find("[\128-\255]") then
    fail(place, spec, "has letters beyond ASCII in the address (write the domain as xn--...)")
  end
  if spec:find("[%z\1-\32\127]") then fail(place, spec, "has a space or control byte in the address") end
  if spec:find("[,;]") then fail(place, spec, "looks like several addresses: give a list of them") end
  local before, domain = spec:match("^(.*)@([^@]*)$")
  if not before or #before > LOCAL_BYTES_MAX or not before:find("^[%w!#$%%&'*+/=?^_`{|}~.%-]+$")
    or ("." .. before .. "."):find("..", 1, true) or not is_domain(domain) then
    fail(place, spec, "is no mail address")
  end
end

-- The text that a quoted name stands for.
local function unquoted(name)
  local inner = name:match('^"(.*)"$')
  return inner and inner:gsub("\\(.)", "%1") or name
end

--- Reads an address. `place` says in errors which one it is.
-- @return { name = or nil, spec = "ada@example.org" }. Raises MailError.
function address.parse(value, place)
  if type(value) ~= "string" then
    errors.raise(errors.MailError, "%s: address as a string expected, got %s", place, type(value))
  end
  local name, spec = value:match("^(.-)<([^<>]*)>%s*$")
  if not name then name, spec = "", value:match("^%s*(.-)%s*$") end
  check_spec(place, spec)
  name = unquoted(name:match("^%s*(.-)%s*$"))
  if name:find("[%z\1-\31\127]") then fail(place, name, "has a control byte in the name") end
  if not utf8.len(name) then fail(place, name, "is not UTF-8") end
  if #name > NAME_BYTES_MAX then fail(place, name, ("has a name of more than %d bytes"):format(NAME_BYTES_MAX)) end
  return { name = name ~= "" and name or nil, spec = spec }
end

--- Reads an address or a list of addresses; nil is an empty list.
function address.parse_list(value, place)
  if value == nil then return {} end
  if type(value) ~= "table" then return { address.parse(value, place) } end
  local list = {}
  for i, item in ipairs(value) do list[i] = address.parse(item, ("%s[%d]"):format(place, i)) end
  for key in pairs(value) do
    if math.type(key) ~= "integer" or key < 1 or key > #list then
      errors.raise(errors.MailError, "%s: list of addresses expected", place)
    end
  end
  return list
end

return address
