--- telemetry/faces.lua: how what is measured is asked for: by the program, and over HTTP.

local opened = require "pipeline.engine.opened"
local options = require "pipeline.support.options"
local bad_option = require("pipeline.support.place").bad_option

local LEASE_SECONDS = 15.0

local methods = {} -- of the engine

--- An engine was opened with these options.
function methods._set_up_telemetry(self, given, known)
  self._requests, self._metrics_page, self._metrics_read = {}, false, {}
  self._metrics_public = known.metrics.public or false
  self._lease_seconds = given.lease_seconds or LEASE_SECONDS
  if known.metrics.classes then require("pipeline.telemetry.metrics").count_classes(self) end
  if known.tracing then
    self._tracing = require("pipeline.telemetry.tracing").set_up(self, known.tracing)
  end
end

-- Whoever proves to be an administrator or a viewer, by a token or in a session of the pages.
local function may_read(self, request)
  if self._metrics_public or request.is_admin or request.is_viewer then return true end
  local pages = self._web.pages
  local who = pages and pages.access:who(request)
  return who ~= nil and who.session ~= "local" and who.session ~= "open"
end

local function answer(self, request)
  if not may_read(self, request) then
    return 403, "text/plain; charset=utf-8", "403 Forbidden\n"
  end
  local exposition = require "pipeline.telemetry.exposition"
  local is_open = exposition.wants_open(request.headers.accept)
  local headers = { ["content-type"] = is_open and exposition.OPEN or exposition.PLAIN, ["cache-control"] = "no-store" }
  return 200, headers, exposition.write(require("pipeline.telemetry.metrics").page(self), is_open)
end

--- Adds the routes: /metrics, and the same below the base path.
function methods._add_metrics(self, web)
  web:route("GET", "/metrics", function(request) return answer(self, request) end)
  web:endpoint("GET", "metrics", function(_, request) return answer(self, request) end)
end

local metric_kinds = { format = "string" }

--- What is measured of this engine and its store, as a text for Prometheus and its like; the same as GET /metrics.
-- @tparam[opt] table given format: "openmetrics" (default), or "prometheus", the older format.
-- @return the text, and its content type. Raises StoreError when the store cannot be read.
function methods.metrics(self, given)
  opened.check(self)
  given = options.check(given, metric_kinds, 1, "metrics")
  local format = given.format or "openmetrics"
  if format ~= "openmetrics" and format ~= "prometheus" then
    bad_option(1, "metrics", "format", "\"openmetrics\" or \"prometheus\" expected")
  end
  opened.outside_transaction(self, "metrics")
  local exposition, is_open = require "pipeline.telemetry.exposition", format == "openmetrics"
  local page = require("pipeline.telemetry.metrics").page(self)
  return exposition.write(page, is_open), is_open and exposition.OPEN or exposition.PLAIN
end

return methods
