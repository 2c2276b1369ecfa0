/*
 * server.c - e:serve{} and "pipeline.Server".
 *
 * Design. A server lives in a C block of its own with three kinds of users: the Lua handle, the HTTP server until its
 * last callback, and every request that is being handled. The engine owns it: a program that drops the handle goes on
 * serving until close() or the end of the engine. The handler function is a link of the engine's handle.
 *
 * A request becomes a job of a managed coroutine: its `push` makes the table, its `done` sends the response, and its
 * `gone` sees to it that every request is answered or dropped, whatever happened in between. When the client leaves,
 * the coroutine is cancelled.
 */
#include "binding/http/server.h"

#include <string.h>

#include <lauxlib.h>

#include "binding/coroutine/coroutine.h"
#include "binding/handle.h"
#include "binding/telemetry/sink.h"
#include "http/server.h"

#define SERVER_TYPE "pipeline.Server"

typedef struct {
    pl__attached_t attached; /* first: close gets it */
    pl__handle_t *h;         /* NULL: closed */
    pl_http_t *http;
    int port;
    int users;
} server_t;

typedef struct {
    server_t *server;
    pl_http_request_t *request; /* NULL: answered */
    pl__coroutine_t *rec;       /* which runs the handler, and its life */
    uint64_t life;
    bool streams; /* its response has begun and has no end yet */
} call_t;

static void server_unref(server_t *server) {
    if (--server->users == 0)
        pl__free(server);
}

static void closed_cb(void *data) {
    server_unref(data);
}

/* Idempotent; no Lua. Leaves the link, which close() and the end of the engine's handle take away. */
static void server_close(server_t *server) {
    pl__handle_t *h = server->h;
    if (!h)
        return;
    server->h = NULL;
    pl__handle_detach(h, &server->attached);
    /* After a fork the descriptors are the parent's too: they are left alone, and so is the memory. */
    if (h->engine && pl_engine_usable(h->engine))
        pl_http_close(server->http, closed_cb, server);
    server->http = NULL;
}

static void attached_close(pl__attached_t *attached) {
    server_close((server_t *)attached);
}

/* ---- requests ---------------------------------------------------------------------------------------------- */

static void set_str(lua_State *L, const char *name, pl_str_t value) {
    lua_pushlstring(L, value.ptr ? value.ptr : "", value.len);
    lua_setfield(L, -2, name);
}

static void push_request(lua_State *L, const pl_http_request_t *request) {
    lua_createtable(L, 0, 8);
    set_str(L, "method", request->method);
    set_str(L, "path", request->path);
    set_str(L, "raw_query", request->query);
    set_str(L, "body", request->body);
    set_str(L, "remote_address", pl_str(request->remote));
    lua_createtable(L, 0, (int)request->header_count);
    for (size_t i = 0; i < request->header_count; i++) {
        lua_pushlstring(L, request->headers[i].name.ptr, request->headers[i].name.len);
        lua_pushlstring(L, request->headers[i].value.ptr, request->headers[i].value.len);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "headers");
}

/* Pushes the table of links of the handle at index 1. */
static void push_links(lua_State *L) {
    lua_getiuservalue(L, 1, PL__UV_LINKS);
}

/* Stands for the handler of a server that was closed before the request had its turn. */
static int closed_handler(lua_State *L) {
    lua_pushinteger(L, 503);
    return 1;
}

static int call_push(lua_State *L, void *data) {
    call_t *call = data;
    push_links(L);
    if (lua_istable(L, -1))
        lua_rawgetp(L, -1, call->server);
    if (!lua_isfunction(L, -1))
        lua_pushcfunction(L, closed_handler);
    push_request(L, call->request);
    return 1;
}

/* ---- responses ----------------------------------------------------------------------------------------------- */

/* How many header lines the table at `index` stands for: values are strings, or lists of strings. */
static size_t count_headers(lua_State *L, int index) {
    size_t count = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        count += lua_istable(L, -1) ? (size_t)lua_rawlen(L, -1) : 1;
        lua_pop(L, 1);
    }
    return count;
}

/* Borrows the strings at the top two places; the table they come from keeps them. */
static void set_header(lua_State *L, pl_http_header_t *header) {
    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "a handler's headers must be strings by name, got %s by %s", luaL_typename(L, -1),
                   luaL_typename(L, -2));
    header->name.ptr = lua_tolstring(L, -2, &header->name.len);
    header->value.ptr = lua_tolstring(L, -1, &header->value.len);
}

/* Pushes scratch memory with the header lines of the table at `index`. */
static pl_http_header_t *push_headers(lua_State *L, int index, size_t *count) {
    size_t room = count_headers(L, index), n = 0;
    pl_http_header_t *headers = lua_newuserdatauv(L, (room + 1) * sizeof *headers, 0);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_istable(L, -1)) {
            int list = lua_gettop(L);
            lua_Integer len = (lua_Integer)lua_rawlen(L, list);
            for (lua_Integer i = 1; i <= len && n < room; i++) {
                lua_pushvalue(L, list - 1);
                lua_rawgeti(L, list, i);
                set_header(L, &headers[n++]);
                lua_pop(L, 2);
            }
        } else if (n < room) {
            set_header(L, &headers[n++]);
        }
        lua_pop(L, 1);
    }
    *count = n;
    return headers;
}

/* The handler returned status, headers, body: they are the response. Raises when they cannot be one. */
static void call_done(lua_State *L, void *data, int n) {
    enum { STATUS = 1, HEADERS, BODY };
    call_t *call = data;
    int base = lua_gettop(L) - n, is_integer;
    if (call->streams) {
        pl_http_drop(call->request);
        call->request = NULL;
        return;
    }
    luaL_checkstack(L, 8, NULL);
    lua_settop(L, base + 3);
    lua_Integer status = lua_tointegerx(L, base + STATUS, &is_integer);
    if (!is_integer || status < 200 || status > 599)
        luaL_error(L, "a handler must return a status in 200..599, got %s", luaL_tolstring(L, base + STATUS, NULL));
    if (!lua_isnil(L, base + HEADERS) && !lua_istable(L, base + HEADERS))
        luaL_error(L, "a handler's headers must be a table, got %s", luaL_typename(L, base + HEADERS));
    if (!lua_isnil(L, base + BODY) && lua_type(L, base + BODY) != LUA_TSTRING)
        luaL_error(L, "a handler's body must be a string, got %s", luaL_typename(L, base + BODY));
    size_t count = 0;
    pl_http_header_t *headers = lua_istable(L, base + HEADERS) ? push_headers(L, base + HEADERS, &count) : NULL;
    pl_str_t body = { 0 };
    body.ptr = lua_tolstring(L, base + BODY, &body.len);
    int rc = pl_http_respond(call->request, (unsigned)status, headers, count, body);
    if (rc == PL_EINVAL)
        luaL_error(L, "a header of the answer has a bad name or a control byte in its value");
    if (rc)
        luaL_error(L, "the answer could not be sent: %s", pl_result_text(rc));
    call->request = NULL;
    lua_settop(L, base);
}

/* Sends 503 itself; closes the connection if there is no memory even for that. */
static void respond_plainly(pl_http_request_t *request, unsigned status, const char *text) {
    pl_http_header_t type = { PL_STR_LIT("Content-Type"), PL_STR_LIT("text/plain; charset=utf-8") };
    if (pl_http_respond(request, status, &type, 1, pl_str(text)))
        pl_http_drop(request);
}

static void call_gone(void *data, bool ok) {
    call_t *call = data;
    (void)ok;
    if (call->request && call->streams)
        pl_http_drop(call->request);
    else if (call->request)
        respond_plainly(call->request, 500, "Internal Server Error\n");
    server_unref(call->server);
    pl__free(call);
}

static const pl__job_t call_job = { .push = call_push, .done = call_done, .gone = call_gone };

/* The HTTP server's handler: never inside Lua code of ours, and does not enter it. */
static void request_cb(void *data, pl_http_request_t *request) {
    server_t *server = data;
    call_t *call = pl__alloc(sizeof *call);
    if (call) {
        call->server = server;
        call->request = request;
        if (server->h && pl__coroutine_start(server->h, &call_job, call, &call->rec) == PL_OK) {
            call->life = call->rec->life;
            request->user = call;
            server->users++;
            return;
        }
        pl__free(call);
    }
    respond_plainly(request, 503, "Service Unavailable\n");
}

/* The client has left: its handler would work for nobody. */
static void left_cb(void *data, pl_http_request_t *request) {
    server_t *server = data;
    call_t *call = request->user;
    if (server->h && !call->streams)
        pl__log(server->h, PL_LOG_INFO, "the client %s left before it was answered: %s %.200s", request->remote,
                request->method.ptr, request->path.ptr);
    pl__coroutine_cancel(call->rec, call->life);
}

/* ---- responses without an end ---------------------------------------------------------------------------------- */

/* The request that the running coroutine answers; NULL: none. */
static call_t *running_call(lua_State *L, const pl__handle_t *h) {
    const pl__coroutine_t *rec = h->current;
    return rec && rec->co == L && rec->job == &call_job ? rec->data : NULL;
}

int pl__server_stream(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    lua_Integer status = luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    call_t *call = running_call(L, h);
    if (!call)
        return pl__push_failure(L, PL_ESTATE, "not in the handler of a request over a socket");
    luaL_argcheck(L, status >= 200 && status <= 599, 2, "a status in 200..599 expected");
    size_t count = 0;
    pl_http_header_t *headers = push_headers(L, 3, &count);
    int rc = pl_http_stream(call->request, (unsigned)status, headers, count);
    if (rc)
        return pl__push_failure(L, rc, NULL);
    call->streams = true;
    lua_pushboolean(L, 1);
    return 1;
}

int pl__server_send(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    pl_str_t piece;
    piece.ptr = luaL_checklstring(L, 2, &piece.len);
    call_t *call = running_call(L, h);
    lua_pushboolean(L, call && call->streams && pl_http_send(call->request, piece) == PL_OK);
    return 1;
}

/* ---- the Lua side ------------------------------------------------------------------------------------------ */

static double number_option(lua_State *L, const char *name, double standard) {
    int is_number, type = lua_getfield(L, 2, name);
    lua_Number value = lua_tonumberx(L, -1, &is_number);
    lua_pop(L, 1);
    if (type == LUA_TNIL)
        return standard;
    if (type != LUA_TNUMBER || !is_number)
        luaL_argerror(L, 2, lua_pushfstring(L, "%s: number expected, got %s", name, lua_typename(L, type)));
    return value;
}

static int64_t integer_option(lua_State *L, const char *name, int64_t standard, int64_t max) {
    double value = number_option(L, name, (double)standard);
    if (!(value >= 0 && value <= (double)max) || value != (double)(int64_t)value)
        luaL_argerror(L, 2, lua_pushfstring(L, "%s: not an integer in 0..%I", name, (LUAI_UACINT)max));
    return (int64_t)value;
}

static void read_options(lua_State *L, pl_http_options_t *options) {
    luaL_checktype(L, 2, LUA_TTABLE);
    pl_http_options_init(options);
    options->port = (int)integer_option(L, "port", options->port, 65535);
    options->max_body = (size_t)integer_option(L, "max_body", (int64_t)options->max_body, INT32_MAX);
    options->max_header = (size_t)integer_option(L, "max_header", (int64_t)options->max_header, INT32_MAX);
    options->max_connections = (unsigned)integer_option(L, "max_connections", options->max_connections, INT32_MAX);
    options->max_per_address = (unsigned)integer_option(L, "max_per_address", options->max_per_address, INT32_MAX);
    options->min_rate = (unsigned)integer_option(L, "min_rate", options->min_rate, INT32_MAX);
    options->idle_timeout = number_option(L, "idle_timeout", options->idle_timeout);
    options->header_timeout = number_option(L, "header_timeout", options->header_timeout);
    options->request_timeout = number_option(L, "request_timeout", options->request_timeout);
    int type = lua_getfield(L, 2, "host"); /* stays in the options: the string lives as long as they do */
    if (type != LUA_TNIL && type != LUA_TSTRING)
        luaL_argerror(L, 2, "host: string expected");
    if (type == LUA_TSTRING)
        options->host = lua_tostring(L, -1);
    lua_pop(L, 1);
    if (lua_getfield(L, 2, "handler") != LUA_TFUNCTION)
        luaL_argerror(L, 2, "handler: function expected");
    lua_pop(L, 1);
}

/* Links the handler at the top of the stack (or nil) to the server, and pops it. */
static void set_link(lua_State *L, const server_t *server) {
    push_links(L);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, server);
    lua_pop(L, 1);
}

int pl__server_serve(lua_State *L) {
    pl_http_options_t options;
    pl_error_t error = { 0 };
    pl__handle_t *h = pl__handle_check(L, 1);
    read_options(L, &options);
    server_t **box = lua_newuserdatauv(L, sizeof *box, 1);
    *box = NULL;
    luaL_setmetatable(L, SERVER_TYPE);
    lua_pushvalue(L, 1); /* the engine, which has the link */
    lua_setiuservalue(L, -2, 1);
    server_t *server = pl__alloc(sizeof *server);
    if (!server)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    *box = server;
    server->users = 1;
    lua_getfield(L, 2, "handler");
    set_link(L, server);
    options.handler = request_cb;
    options.left = left_cb;
    options.data = server;
    int failed = pl__handle_refuse(L, h); /* after all that might run a finalizer */
    if (failed == 0) {
        int rc = pl_http_open(&server->http, pl_engine_loop(h->engine), &options, &error);
        failed = rc == PL_OK ? 0 : pl__push_failure(L, rc, error.message);
    }
    if (failed) {
        lua_pushnil(L);
        set_link(L, server);
        return failed;
    }
    server->users++;
    server->port = pl_http_port(server->http);
    server->h = h;
    server->attached.close = attached_close;
    pl__handle_attach(h, &server->attached);
    return 1;
}

static server_t *check_server(lua_State *L) {
    server_t **box = luaL_checkudata(L, 1, SERVER_TYPE);
    return *box;
}

/* close(), also __close: stops listening and closes the connections. */
static int close_server(lua_State *L) {
    server_t *server = check_server(L);
    if (!server || !server->h)
        return 0;
    server_close(server);
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 1);
    lua_getiuservalue(L, -1, PL__UV_LINKS);
    lua_pushnil(L);
    lua_rawsetp(L, -2, server);
    return 0;
}

/* The handle is gone, not the server: the engine keeps that. */
static int gc_server(lua_State *L) {
    server_t **box = luaL_checkudata(L, 1, SERVER_TYPE);
    server_t *server = *box;
    *box = NULL;
    if (server)
        server_unref(server);
    return 0;
}

static int index_server(lua_State *L) {
    const server_t *server = check_server(L);
    const char *name = luaL_checkstring(L, 2);
    if (!strcmp(name, "port") && server)
        lua_pushinteger(L, server->port);
    else if (!strcmp(name, "connections") && server)
        lua_pushinteger(L, server->http ? (lua_Integer)pl_http_connections(server->http) : 0);
    else if (!strcmp(name, "close"))
        lua_pushcfunction(L, close_server);
    else
        lua_pushnil(L);
    return 1;
}

void pl__server_register(lua_State *L) {
    static const luaL_Reg methods[] = {
        { "__index", index_server }, { "__gc", gc_server }, { "__close", close_server }, { NULL, NULL }
    };
    if (luaL_newmetatable(L, SERVER_TYPE))
        luaL_setfuncs(L, methods, 0);
    lua_pop(L, 1);
}
