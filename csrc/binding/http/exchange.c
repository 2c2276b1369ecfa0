/*
 * exchange.c - the options of an HTTP request read from Lua, and its response given to Lua. See exchange.h.
 */
#include "binding/http/exchange.h"

#include <math.h>

#include <lauxlib.h>

enum { OPTIONS = PL__EXCHANGE_OPTIONS, OWNER = PL__EXCHANGE_OWNER };
enum { REDIRECTS_DEFAULT = 10, HEADERS_MAX = 1000 };

/* ---- options ----------------------------------------------------------------------------------------------- */

/* Pushes options[name]; returns whether it is there. Raises if it is of another type. The value stays on the stack,
 * so that its bytes may be borrowed. */
static bool option(lua_State *L, const char *name, int type) {
    int actual = lua_getfield(L, OPTIONS, name);
    if (actual != LUA_TNIL && actual != type)
        luaL_argerror(
            L, OPTIONS,
            lua_pushfstring(L, "%s: %s expected, got %s", name, lua_typename(L, type), lua_typename(L, actual)));
    return actual != LUA_TNIL;
}

static pl_str_t string_option(lua_State *L, const char *name, pl_str_t otherwise) {
    pl_str_t value = otherwise;
    if (option(L, name, LUA_TSTRING))
        value.ptr = lua_tolstring(L, -1, &value.len);
    return value;
}

static double seconds_option(lua_State *L, const char *name, double otherwise) {
    double value = otherwise;
    if (option(L, name, LUA_TNUMBER)) {
        value = lua_tonumber(L, -1);
        if (!isfinite(value) || value < 0)
            luaL_argerror(L, OPTIONS, lua_pushfstring(L, "%s: not a duration", name));
    }
    lua_pop(L, 1);
    return value;
}

static int64_t integer_option(lua_State *L, const char *name, int64_t otherwise, int64_t max) {
    int64_t value = otherwise;
    if (option(L, name, LUA_TNUMBER)) {
        int is_integer;
        value = lua_tointegerx(L, -1, &is_integer);
        if (!is_integer || value < 0 || value > max)
            luaL_argerror(L, OPTIONS, lua_pushfstring(L, "%s: not an integer in 0..%I", name, (LUAI_UACINT)max));
    }
    lua_pop(L, 1);
    return value;
}

static bool flag_option(lua_State *L, const char *name, bool otherwise) {
    bool value = option(L, name, LUA_TBOOLEAN) ? lua_toboolean(L, -1) : otherwise;
    lua_pop(L, 1);
    return value;
}

/* Borrows name and value from the top two places; their table keeps them. */
static void set_header(lua_State *L, pl_http_header_t *header) {
    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
        luaL_argerror(L, OPTIONS,
                      lua_pushfstring(L, "headers: strings by name expected, got %s by %s", luaL_typename(L, -1),
                                      luaL_typename(L, -2)));
    header->name.ptr = lua_tolstring(L, -2, &header->name.len);
    header->value.ptr = lua_tolstring(L, -1, &header->value.len);
}

/* Goes through the table of headers at `table`, for `room` of them at most; without `headers` it only counts. */
static size_t walk_headers(lua_State *L, int table, pl_http_header_t *headers, size_t room) {
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, table)) {
        int value = lua_gettop(L);
        lua_Integer len = lua_istable(L, value) ? (lua_Integer)lua_rawlen(L, value) : 1;
        for (lua_Integer i = 1; i <= len && n < room; i++, n++) {
            if (!headers)
                continue;
            lua_pushvalue(L, value - 1);
            if (lua_istable(L, value))
                lua_rawgeti(L, value, i);
            else
                lua_pushvalue(L, value);
            set_header(L, &headers[n]);
            lua_pop(L, 2);
        }
        lua_pop(L, 1);
    }
    return n;
}

/* Leaves the table and scratch memory on the stack. */
static void read_headers(lua_State *L, pl_fetch_request_t *request) {
    if (!option(L, "headers", LUA_TTABLE))
        return;
    int table = lua_gettop(L);
    size_t count = walk_headers(L, table, NULL, HEADERS_MAX);
    luaL_argcheck(L, count < HEADERS_MAX, OPTIONS, "headers: too many");
    pl_http_header_t *headers = lua_newuserdatauv(L, (count + 1) * sizeof *headers, 0);
    request->header_count = walk_headers(L, table, headers, count);
    request->headers = headers;
}

/* The body: a string, or a function, which becomes a user value of the owner. */
static void read_body(lua_State *L, pl_fetch_request_t *request) {
    int type = lua_getfield(L, OPTIONS, "body");
    if (type == LUA_TFUNCTION) {
        request->upload = true;
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, OWNER, PL__EXCHANGE_UV_BODY);
    } else if (type == LUA_TSTRING) {
        request->body.ptr = lua_tolstring(L, -1, &request->body.len);
    } else if (type != LUA_TNIL) {
        luaL_argerror(L, OPTIONS, "body: a string or a function expected");
    }
}

static void read_follow(lua_State *L, pl_fetch_request_t *request) {
    if (lua_getfield(L, OPTIONS, "follow") == LUA_TBOOLEAN)
        request->redirects = lua_toboolean(L, -1) ? REDIRECTS_DEFAULT : 0;
    else
        request->redirects = (unsigned)integer_option(L, "follow", 0, 100);
    lua_pop(L, 1);
}

static void read_proxy(lua_State *L, pl_fetch_request_t *request) {
    if (lua_getfield(L, OPTIONS, "proxy") == LUA_TBOOLEAN)
        request->env_proxy = lua_toboolean(L, -1);
    else
        request->proxy = string_option(L, "proxy", PL_STR_NONE);
}

static void read_mail(lua_State *L, pl_fetch_request_t *request) {
    static const char *const STARTTLS[] = { "require", "opportunistic", "no", NULL };
    request->mail_to = string_option(L, "mail_to", PL_STR_NONE);
    if (!request->mail_to.ptr)
        return;
    request->mail_from = string_option(L, "mail_from", PL_STR_NONE);
    request->username = string_option(L, "username", PL_STR_NONE);
    request->password = string_option(L, "password", PL_STR_NONE);
    lua_getfield(L, OPTIONS, "starttls");
    request->starttls = (pl_starttls_t)luaL_checkoption(L, -1, "require", STARTTLS);
}

void pl__request_read(lua_State *L, pl_fetch_request_t *request) {
    pl_fetch_request_init(request);
    luaL_checkstack(L, 3 * LUA_MINSTACK, NULL);
    request->url = string_option(L, "url", PL_STR_NONE);
    luaL_argcheck(L, request->url.ptr, OPTIONS, "url: string expected");
    request->method = string_option(L, "method", request->method);
    request->ca_file = string_option(L, "ca_file", PL_STR_NONE);
    request->stream = flag_option(L, "stream", false);
    request->is_unverified = !flag_option(L, "verify", true);
    request->deadline = seconds_option(L, "deadline", request->deadline);
    request->connect = seconds_option(L, "connect_timeout", 0);
    request->max_size =
        (uint64_t)integer_option(L, "max_size", request->stream ? 0 : (int64_t)request->max_size, INT64_MAX);
    read_follow(L, request);
    read_proxy(L, request);
    read_body(L, request);
    read_headers(L, request);
    read_mail(L, request);
}

void pl__limits_read(lua_State *L, pl_fetcher_options_t *limits) {
    luaL_checktype(L, OPTIONS, LUA_TTABLE);
    pl_fetcher_options_init(limits);
    limits->max_active = (unsigned)integer_option(L, "active", limits->max_active, INT32_MAX);
    limits->max_host_connections = (unsigned)integer_option(L, "per_host", limits->max_host_connections, INT32_MAX);
    limits->max_idle = (unsigned)integer_option(L, "idle", limits->max_idle, INT32_MAX);
}

/* ---- results ----------------------------------------------------------------------------------------------- */

void pl__text_push(lua_State *L, pl_str_t text) {
    lua_pushlstring(L, text.ptr ? text.ptr : "", text.len);
}

/* Pushes the headers by name, then the list of pairs. */
static void push_headers(lua_State *L, const pl_fetch_response_t *response) {
    lua_createtable(L, 0, (int)response->header_count);
    lua_createtable(L, (int)response->header_count, 0);
    int map = lua_gettop(L) - 1, list = map + 1;
    for (size_t i = 0; i < response->header_count; i++) {
        const pl_http_header_t *header = &response->headers[i];
        lua_createtable(L, 2, 0);
        pl__text_push(L, header->name);
        lua_rawseti(L, -2, 1);
        pl__text_push(L, header->value);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, list, (lua_Integer)i + 1);
        pl__text_push(L, header->name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, map) == LUA_TSTRING)
            lua_pushliteral(L, ", ");
        else
            lua_pop(L, 1);
        pl__text_push(L, header->value);
        lua_concat(L, lua_gettop(L) - list - 1);
        lua_rawset(L, map);
    }
}

void pl__response_push(lua_State *L, const pl_fetch_response_t *response, bool with_body) {
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, response->status);
    lua_setfield(L, -2, "status");
    push_headers(L, response);
    lua_setfield(L, -3, "header_list");
    lua_setfield(L, -2, "headers");
    pl__text_push(L, response->url);
    lua_setfield(L, -2, "url");
    if (with_body) {
        pl__text_push(L, response->body);
        lua_setfield(L, -2, "body");
    }
}

void pl__fetch_facts_push(lua_State *L, const pl_fetcher_facts_t *facts) {
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)facts->active);
    lua_setfield(L, -2, "active");
    lua_pushinteger(L, (lua_Integer)facts->queued);
    lua_setfield(L, -2, "queued");
    lua_pushinteger(L, (lua_Integer)facts->requests);
    lua_setfield(L, -2, "requests");
    lua_pushinteger(L, (lua_Integer)facts->connections);
    lua_setfield(L, -2, "connections");
}
