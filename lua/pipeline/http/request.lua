--- http/request.lua: a request as handlers see it, from what came over a socket or was given to handle().

local errors = require "pipeline.support.errors"
local json_reader = require "pipeline.http.json_reader"
local routes = require "pipeline.http.routes"
local text = require "pipeline.support.text"

local request = {}

local PARAMS_MAX = 10000 -- parameters in one request

local function unquote(value)
  return (value:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- Adds the pairs of a form or query; the first value of a name stays. Returns false if there are too many.
local function add_pairs(into, encoded, count)
  for pair in encoded:gmatch("[^&]+") do
    count = count + 1
    if count > PARAMS_MAX then return false end
    local name, value = pair:match("^([^=]*)=?(.*)$")
    name = unquote(name)
    if into[name] == nil then into[name] = unquote(value) end
  end
  return count
end

local function is_form(headers)
  local kind = headers["content-type"]
  return kind ~= nil and kind:match("^%s*([^;%s]*)"):lower() == "application/x-www-form-urlencoded"
end

local function lower_names(headers)
  local lower = {}
  for name, value in pairs(headers or {}) do lower[tostring(name):lower()] = tostring(value) end
  return lower
end

local function strings(map)
  local out = {}
  for name, value in pairs(map) do out[tostring(name)] = tostring(value) end
  return out
end

--- A request as a program gives it to handle(): everything may be left out. Parameters take the place they would have
-- on the wire, so that handlers and signatures see what they would see there.
function request.expand(given)
  local path, query = (given.path or "/"):match("^([^?]*)%??(.*)$")
  local asked = {
    method = (given.method or "GET"):upper(), path = path, raw_query = given.raw_query or query,
    headers = lower_names(given.headers), body = given.body or "",
    remote_address = given.remote_address or "127.0.0.1",
  }
  if type(given.query) == "string" then asked.raw_query = given.query end
  if type(given.query) == "table" then asked.raw_query = text.query(strings(given.query)) end
  if given.params then
    local encoded = text.query(strings(given.params))
    if given.body == nil and asked.method ~= "GET" and asked.method ~= "HEAD" then
      asked.body = encoded
      asked.headers["content-type"] = asked.headers["content-type"] or "application/x-www-form-urlencoded"
    else
      asked.raw_query = asked.raw_query == "" and encoded or encoded .. "&" .. asked.raw_query
    end
  end
  return asked
end

-- The body of a request as JSON is read when it is first asked for.
local meta = { __name = "pipeline.Request" }

function meta.__index(asked, name)
  if name ~= "json" then return nil end
  local value, problem = json_reader.read(asked.body)
  if value == nil then errors.raise(errors.RequestError, "the body is not JSON: %s", problem) end
  rawset(asked, "json", value)
  return value
end

--- Decodes path, query and form. Returns false if that cannot be done, or there are too many parameters.
function request.complete(asked)
  local segments = routes.split(asked.path)
  if not segments and asked.path ~= "*" then return false end
  setmetatable(asked, meta)
  asked.raw_path, asked.path = asked.path, segments and segments.path or asked.path
  asked.path_params, asked.segments = {}, segments
  asked.query, asked.params = {}, {}
  local count = add_pairs(asked.query, asked.raw_query, 0)
  if not count then return false end
  for name, value in pairs(asked.query) do asked.params[name] = value end
  return not is_form(asked.headers) or add_pairs(asked.params, asked.body, count)
end

return request
