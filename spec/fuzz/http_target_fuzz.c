/*
 * http_target_fuzz.c - arbitrary bytes as the target of a request, and on to the route that it leads to.
 *
 * The first byte says whether the method may ask for the server as a whole; what follows up to a line's end is the
 * target, the rest a form. What the parser takes has a path that begins with a slash (or is "*") and that everybody
 * decodes to the same: it can be divided, no zero byte comes out, and it leads to a route only if its segments are
 * those of the route. Runs in the top directory: routes and parameters are Lua code.
 */
#include <stdio.h>
#include <string.h>

#include "fuzz/state.h"
#include "http/target.h"

static const char script[] =
    "local core = ...\n"
    "package.path, package.cpath = 'lua/?.lua', ''\n"
    "core.sha1 = function() return ('0123456789abcdef'):rep(3) end\n"
    "package.loaded['pipeline.core'] = core\n"
    "package.loaded['pipeline.http.json_reader'] = {}\n"
    "local routes, request = require 'pipeline.http.routes', require 'pipeline.http.request'\n"
    "local table_ = routes.new()\n"
    "local known = { '/', '/a', '/a/b', '/a/:id', '/a/:id/c', '/files/*rest', '/_ah/pipeline/api/act' }\n"
    "for _, path in ipairs(known) do assert(table_:add('GET', path, function() return path end)) end\n"
    "local function decoded(text)\n"
    "  return (text:gsub('%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end))\n"
    "end\n"
    "local function check_route(segments, path)\n"
    "  local methods, values = table_:find(segments)\n"
    "  if not methods then return end\n"
    "  local route = methods.GET.handler()\n"
    "  assert(not segments.has_dots, 'dots lead to a route')\n"
    "  for part in segments.path:gmatch '[^/\\\\]+' do assert(part ~= '.' and part ~= '..', 'dots') end\n"
    "  local at = 0\n"
    "  for segment in route:gmatch '/([^/]*)' do\n"
    "    at = at + 1\n"
    "    if segment:sub(1, 1) == '*' then return assert(segments.slashes < at, 'an encoded slash in the rest') end\n"
    "    local is_literal = segment:sub(1, 1) ~= ':'\n"
    "    assert(not is_literal or segments[at] == segment, 'another literal')\n"
    "    assert(is_literal or segments[at] ~= '', 'an empty parameter')\n"
    "  end\n"
    "  assert(at == #segments and #values == select(2, route:gsub('[:*]', '')), 'another number of segments')\n"
    "  assert(not route:find ':' and decoded(path) == route or route:find ':', 'another path')\n"
    "end\n"
    "return function(input)\n"
    "  local path, query, form = input:match '^([^\\n]*)\\n([^\\n]*)\\n(.*)$'\n"
    "  if path ~= '*' then\n"
    "    local segments = assert(routes.split(path), 'it cannot be divided')\n"
    "    assert(#segments > 0 and segments.path == decoded(path) and not segments.path:find '%z', 'its path')\n"
    "    check_route(segments, path)\n"
    "  end\n"
    "  local asked = { path = path, raw_query = query, body = form,\n"
    "    headers = { ['content-type'] = 'application/x-www-form-urlencoded' } }\n"
    "  assert(request.complete(asked), 'not complete')\n"
    "  for name, value in pairs(asked.params) do assert(type(name) == 'string' and type(value) == 'string') end\n"
    "  for name, value in pairs(asked.query) do assert(asked.params[name] == value, 'the query goes first') end\n"
    "end\n";

static void need_at(bool good, const char *what) {
    if (good)
        return;
    fprintf(stderr, "http_target_fuzz.c: not so: %s\n", what);
    abort();
}
#define NEED(condition) need_at(condition, #condition)

/* Hands over path, query and form, a line each. */
static void run(lua_State *L, const pl__target_t *target, const char *form, size_t form_len) {
    size_t size = target->path.len + target->query.len + form_len + 2;
    char *input = malloc(size), *at = input;
    NEED(input);
    memcpy(at, target->path.ptr, target->path.len);
    at += target->path.len;
    *at++ = '\n';
    if (target->query.len > 0)
        memcpy(at, target->query.ptr, target->query.len);
    at += target->query.len;
    *at++ = '\n';
    if (form_len > 0)
        memcpy(at, form, form_len);
    state_run(L, (const uint8_t *)input, size);
    free(input);
}

static void check(const pl__target_t *target, bool is_options) {
    NEED(target->path.len > 0 && target->path.ptr);
    NEED(target->path.ptr[0] == '/' || (target->path.len == 1 && target->path.ptr[0] == '*' && is_options));
    NEED(!memchr(target->path.ptr, '?', target->path.len) && !memchr(target->path.ptr, '#', target->path.len));
    NEED(!target->authority.ptr || pl__host_is_valid(target->authority));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static lua_State *L;
    pl__target_t target;
    if (L == NULL)
        L = state_open(script);
    if (size == 0 || size > 8192)
        return 0;
    bool is_options = data[0] & 1;
    const uint8_t *end = memchr(data + 1, '\n', size - 1);
    size_t len = end ? (size_t)(end - data - 1) : size - 1;
    const char *form = end ? (const char *)end + 1 : "";
    size_t form_len = end ? size - len - 2 : 0;
    char *text = malloc(len + 1);
    NEED(text);
    memcpy(text, data + 1, len);
    text[len] = '\0';
    for (size_t i = 0; i < len; i++) /* a request line has no others */
        if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 127)
            text[i] = '%';
    const char *problem = pl__target_read(text, len, is_options, &target);
    if (!problem) {
        check(&target, is_options);
        run(L, &target, form, form_len);
    }
    free(text);
    return 0;
}
