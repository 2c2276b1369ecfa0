/*
 * fetch.c - HTTP requests that a coroutine of the engine, or whoever runs its loop, waits for. See fetch.h.
 *
 * Design. Responses in pieces and the handles of e:fetch_start are made of a request (request.h). One loop, go(), does
 * all the waiting: for the response, for a piece of it, and meanwhile for the pieces of the body that a function gives.
 * It runs on a stack frame of one shape (ENGINE, SUBJECT, REQUEST), where the request is to be closed: however the
 * frame is left, by an error in the body function or by the end of the coroutine, the request is cancelled unless go()
 * came to its end.
 *
 * Invariants
 *   1. While a frame waits, request->is_guarded: no other frame may wait for the same request.
 *   2. The engine is held exactly while something waits: virtual time stands still, and a drain does not end.
 */
#include "binding/http/fetch.h"

#include <lauxlib.h>

#include "binding/http/client.h"
#include "binding/run.h"

#define RESPONSE_TYPE "pipeline.Response"

/* The frame of go(); the subject is what the method was given. */
enum { ENGINE = 1, SUBJECT = PL__EXCHANGE_OPTIONS, REQUEST = PL__EXCHANGE_OWNER };

enum { WAIT_ANSWER, WAIT_PIECE, WAIT_CALLBACK }; /* request->wait */

/* __close, for go() alone: the frame is left. */
static int frame_left(lua_State *L) {
    pl__request_t *request = pl__request_check(L, 1);
    if (!request->is_guarded)
        return 0;
    request->is_guarded = false;
    request->waiter = NULL;
    if (pl__request_is_live(request))
        pl__request_release(request, PL_EABORTED);
    return 0;
}

/* ---- starting ----------------------------------------------------------------------------------------------- */

/* Pushes nil, code, message and returns 3 when the engine cannot be used, or is being closed; else 0. */
static int refuse(lua_State *L, const pl__handle_t *h) {
    int refused = pl__handle_refuse(L, h);
    if (refused || !h->closing)
        return refused;
    return pl__push_failure(L, PL_ECLOSED, "the engine is closing");
}

/*
 * Starts what the options at SUBJECT say. Stack: engine, options, callback or nothing. Leaves the frame of go(), with a
 * request that is not yet to be closed. Returns 0, or the number of values that say why not.
 */
static int start(lua_State *L) {
    pl_fetch_request_t options;
    pl_error_t error = { 0 };
    pl__handle_t *h = pl__handle_check(L, ENGINE);
    luaL_checktype(L, SUBJECT, LUA_TTABLE);
    lua_settop(L, SUBJECT + 1); /* the callback, or nil */
    pl__request_t *request = pl__request_new(L);
    lua_insert(L, REQUEST);
    lua_setiuservalue(L, REQUEST, PL__REQUEST_UV_CALLBACK);
    pl__client_t *client = pl__client_push_engines(L);
    lua_setiuservalue(L, REQUEST, PL__REQUEST_UV_CLIENT);
    pl__request_read(L, &options);
    int refused = refuse(L, h); /* after all that might run a finalizer */
    if (refused)
        return refused;
    int rc = pl__client_open(client, h, &error);
    if (rc == PL_OK)
        rc = pl__request_start(request, client, &options, &error);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, error.message);
    lua_settop(L, REQUEST);
    return 0;
}

/* Pushes the response, or nil, code and message. */
static int push_response(lua_State *L, pl__request_t *request) {
    int n = pl__request_push_response(L, request);
    if (request->stream && n == 1) {
        lua_pushvalue(L, REQUEST);
        lua_setfield(L, -2, "_stream");
        luaL_setmetatable(L, RESPONSE_TYPE);
    }
    return n;
}

/* ---- waiting ----------------------------------------------------------------------------------------------- */

static int go(lua_State *L);

static int called_k(lua_State *L, int status, lua_KContext context) {
    (void)L;
    (void)status;
    (void)context;
    return 0;
}

/* What go() ends with: `n` values are on the stack. They are the results, or the arguments of the callback. */
static int came(lua_State *L, pl__request_t *request, int n) {
    request->is_guarded = false;
    if (request->fetch)
        pl__request_hold(request, false);
    if (!request->stream)
        pl__request_release(request, PL_OK);
    if (request->wait != WAIT_CALLBACK)
        return n;
    lua_getiuservalue(L, REQUEST, PL__REQUEST_UV_CALLBACK);
    lua_insert(L, -n - 1);
    lua_pushnil(L);
    lua_setiuservalue(L, REQUEST, PL__REQUEST_UV_CALLBACK);
    lua_callk(L, n, 0, 0, called_k);
    return 0;
}

static bool is_ready(const pl__request_t *request) {
    if (pl_fetch_is_over(request->fetch))
        return true;
    if (request->wait == WAIT_PIECE)
        return pl_fetch_has_bytes(request->fetch);
    return request->stream && pl_fetch_has_head(request->fetch);
}

/* Sends what the body function has returned, which is on top of the stack, and pops it. */
static void send_piece(lua_State *L, pl__request_t *request) {
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNIL)
        luaL_error(L, "a body function must return a string or nil, got %s", lua_typename(L, type));
    pl_str_t piece = PL_STR_NONE;
    piece.ptr = lua_tolstring(L, -1, &piece.len);
    if (request->fetch && pl__request_send(request, piece) == PL_ENOMEM)
        pl__request_release(request, PL_ENOMEM);
    lua_settop(L, REQUEST);
}

static int body_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    send_piece(L, lua_touserdata(L, REQUEST));
    return go(L);
}

static int woken_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    pl__wait_check(L, context);
    lua_settop(L, REQUEST);
    return go(L);
}

static bool has_news(const void *data) {
    const pl__request_t *request = data;
    return !request->fetch || is_ready(request) || pl_fetch_wants(request->fetch);
}

/* Outside a managed coroutine: runs the loop until there is something to do. */
static int run_until_news(lua_State *L, pl__handle_t *h, const pl__request_t *request) {
    int refused = pl__run_refuse(L, h, "wait");
    if (refused)
        return refused;
    int rc = pl__run_until(L, h, has_news, request);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, NULL);
    return h->stopped ? pl__push_failure(L, PL_ESTATE, "the loop was stopped") : 0;
}

/* Goes on with the request until there is what was waited for. Stack: the frame. */
static int go(lua_State *L) {
    pl__handle_t *h = lua_touserdata(L, ENGINE);
    pl__request_t *request = lua_touserdata(L, REQUEST);
    for (;;) {
        if (!request->fetch) {
            if (request->wait != WAIT_CALLBACK)
                return came(L, request, pl__request_push_end(L, request));
            request->is_guarded = false; /* cancelled */
            return 0;
        }
        if (is_ready(request))
            return came(L, request,
                        request->wait == WAIT_PIECE ? pl__request_push_piece(L, request) : push_response(L, request));
        if (pl_fetch_wants(request->fetch)) {
            lua_getiuservalue(L, REQUEST, PL__REQUEST_UV_BODY);
            lua_callk(L, 0, 1, 0, body_k);
            send_piece(L, request);
            continue;
        }
        pl__request_hold(request, true);
        if (pl__coroutine_can_await(L, h)) {
            request->waiter = h->current;
            request->waiter_life = h->current->life;
            return pl__wait(L, h, woken_k);
        }
        int n = run_until_news(L, h, request);
        if (n) {
            pl__request_release(request, PL_EABORTED);
            return came(L, request, n);
        }
    }
}

/* Makes the request of the frame to be closed, and goes. */
static int guard_and_go(lua_State *L, pl__request_t *request, int wait) {
    request->wait = wait;
    request->is_guarded = true;
    lua_toclose(L, REQUEST);
    return go(L);
}

/* ---- methods ----------------------------------------------------------------------------------------------- */

static int engine_fetch(lua_State *L) {
    int refused = start(L);
    if (refused)
        return refused;
    return guard_and_go(L, lua_touserdata(L, REQUEST), WAIT_ANSWER);
}

/* The coroutine of e:fetch_start. Stack: the frame. */
static int callback_main(lua_State *L) {
    return guard_and_go(L, lua_touserdata(L, REQUEST), WAIT_CALLBACK);
}

/* Puts what callback_main gets on the stack: the frame, its request from the links of the engine, where it is
 * found by its address. */
static int job_push(lua_State *L, void *data) {
    lua_pushcfunction(L, callback_main);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    lua_getiuservalue(L, 1, PL__UV_LINKS);
    lua_rawgetp(L, -1, data);
    lua_pushnil(L);
    lua_rawsetp(L, -3, data);
    lua_remove(L, -2);
    return REQUEST;
}

/* Nothing is left to do: the frame has cancelled, or the end of the engine will. */
static void job_gone(void *data, bool ok) {
    (void)data;
    (void)ok;
}

/* Links the request to the engine (or, with nil on top of the stack, takes the link away). Pops the value. */
static void set_link(lua_State *L, const pl__request_t *request) {
    lua_getiuservalue(L, ENGINE, PL__UV_LINKS);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, request);
    lua_pop(L, 1);
}

static int engine_fetch_start(lua_State *L) {
    static const pl__job_t JOB = { .push = job_push, .gone = job_gone };
    pl__handle_t *h = pl__handle_check(L, ENGINE);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    int refused = start(L);
    if (refused)
        return refused;
    pl__request_t *request = lua_touserdata(L, REQUEST);
    lua_pushvalue(L, REQUEST);
    set_link(L, request);
    int rc = pl__coroutine_start(h, &JOB, request, NULL);
    if (rc == PL_OK)
        return 1;
    pl__request_release(request, rc);
    lua_pushnil(L);
    set_link(L, request);
    return pl__push_failure(L, rc, NULL);
}

/* Makes the frame of go() of a response. Raises if it is none in pieces. */
static pl__request_t *response_frame(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_pushliteral(L, "_stream");
    lua_rawget(L, 1);
    luaL_argcheck(L, lua_isuserdata(L, 2), 1, "a response in pieces expected");
    pl__request_t *request = pl__request_check(L, 2);
    lua_getiuservalue(L, 2, PL__REQUEST_UV_CLIENT);
    pl__client_push_engine(L, 3);
    lua_replace(L, 3);
    lua_rotate(L, 1, 1);
    return request;
}

static int response_read(lua_State *L) {
    pl__request_t *request = response_frame(L);
    if (!request->fetch)
        return pl__request_push_end(L, request);
    int refused = pl__handle_refuse(L, lua_touserdata(L, ENGINE));
    if (refused)
        return refused;
    if (request->is_guarded)
        return pl__push_failure(L, PL_ESTATE, "another coroutine is reading this response");
    return guard_and_go(L, request, WAIT_PIECE);
}

static int response_close(lua_State *L) {
    pl__request_t *request = response_frame(L);
    if (pl__request_is_live(request)) {
        pl__request_release(request, PL_ECLOSED);
        pl__request_wake(request);
    }
    return 0;
}

static int engine_fetch_limits(lua_State *L) {
    pl_fetcher_options_t options;
    pl_error_t error = { 0 };
    pl__handle_t *h = pl__handle_check(L, ENGINE);
    pl__limits_read(L, &options);
    pl__client_t *client = pl__client_push_engines(L);
    int refused = refuse(L, h);
    if (refused)
        return refused;
    int rc = pl__client_open(client, h, &error);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, error.message);
    pl_fetcher_limit(client->fetcher, &options);
    lua_pushboolean(L, 1);
    return 1;
}

static int engine_fetch_facts(lua_State *L, pl__handle_t *h) {
    return pl__client_push_facts(L, h->client);
}

void pl__fetch_register(lua_State *L) {
    static const luaL_Reg METHODS[] = { { "fetch", engine_fetch },
                                        { "fetch_start", engine_fetch_start },
                                        { "fetch_limits", engine_fetch_limits },
                                        { NULL, NULL } };
    static const pl__method_t FACTS[] = { { "fetch_facts", engine_fetch_facts }, { NULL, NULL } };
    static const luaL_Reg RESPONSE_METHODS[] = { { "read", response_read },
                                                 { "close", response_close },
                                                 { NULL, NULL } };
    luaL_setfuncs(L, METHODS, 0);
    pl__methods_set(L, FACTS);
    pl__request_register(L, frame_left);
    if (luaL_newmetatable(L, RESPONSE_TYPE)) {
        lua_pushcfunction(L, response_close);
        lua_setfield(L, -2, "__close");
        luaL_newlib(L, RESPONSE_METHODS);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}
