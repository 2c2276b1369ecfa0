--- openapi.lua: the description of the API in OpenAPI 3.1, made from the table of its routes.

local core = require "pipeline.core"
local json = require "pipeline.http.json"

local openapi = {}

local TYPES = {
  text = { type = "string" }, number = { type = "number" }, count = { type = "integer", minimum = 0 },
  flag = { type = "boolean" }, object = { type = "object" }, list = { type = "array", items = { type = "string" } },
  any = {}, args = { type = "string" },
}

local function in_query(param)
  return {
    name = param[1], ["in"] = "query", required = param.required or nil, description = param[3],
    schema = TYPES[param[2]],
  }
end

local function body_of(route)
  local properties, required = {}, json.array {}
  for _, param in ipairs(route.params) do
    local schema = { description = param[3] }
    for name, value in pairs(TYPES[param[2]]) do schema[name] = value end
    properties[param[1]] = schema
    if param.required then required[#required + 1] = param[1] end
  end
  local schema = { type = "object", properties = properties, required = required }
  return { content = { ["application/json"] = { schema = schema } } }
end

local ANSWERS = {
  ["200"] = {
    description = "what was asked for", content = { ["application/json"] = { schema = { type = "object" } } },
  },
  ["400"] = { description = "the request is at fault; error.message says what is wrong" },
  ["401"] = { description = "no session and no token" },
  ["403"] = { description = "a viewer, or a page of another site" },
  ["404"] = { description = "there is no such thing" },
  ["409"] = { description = "refused in its state" },
  ["429"] = { description = "too many wrong tokens" },
}

local function operation(route)
  local described = {
    operationId = route.method:lower() .. "_" .. route.name:gsub("%W", "_"), summary = route.summary,
    responses = ANSWERS,
  }
  if route.acts then
    described.requestBody = body_of(route)
  else
    described.parameters = json.array {}
    for i, param in ipairs(route.params) do described.parameters[i] = in_query(param) end
  end
  return described
end

--- The document for these routes, at the server of a web object.
function openapi.describe(routes, web)
  local paths = {}
  for _, route in ipairs(routes) do
    local path = "/" .. route.name
    paths[path] = paths[path] or {}
    paths[path][route.method:lower()] = operation(route)
  end
  return {
    openapi = "3.1.0",
    info = {
      title = "pipeline", version = core.version,
      description = "Requests carry \"Authorization: Bearer TOKEN\", the administrator's or a viewer's.",
    },
    servers = json.array { { url = web.base_path .. "/api" } }, paths = paths,
    security = json.array { { token = json.array {} } },
    components = { securitySchemes = { token = { type = "http", scheme = "bearer" } } },
  }
end

return openapi
