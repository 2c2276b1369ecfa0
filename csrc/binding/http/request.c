/*
 * request.c - HTTP requests: started, told of, answered, ended. See request.h.
 *
 * No Lua code is called from the loop: what happens there wakes the coroutine that waits, or is noted in the list of
 * news of the client. Where an engine runs the uv loop, its tick hook is due at once then, so that the tasklets have
 * their turn inside engine:run() too.
 *
 * Invariants
 *   1. A request with `fetch` is in the list of its client, and the client is a user value of it; so the end of the
 *      client finds every request.
 *   2. request->has_news exactly while it is in the list of news.
 *   3. In the child of a fork nothing of libuv or libcurl is touched: both belong to the parent.
 */
#include "binding/http/request.h"

#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "binding/ticker.h"

#define REQUEST_TYPE "pipeline.Request"

bool pl__client_is_usable(const pl__client_t *client) {
    return client->fetcher && client->pid == getpid();
}

pl__request_t *pl__request_new(lua_State *L) {
    pl__request_t *request = lua_newuserdatauv(L, sizeof *request, PL__REQUEST_UV_CALLBACK);
    memset(request, 0, sizeof *request);
    luaL_setmetatable(L, REQUEST_TYPE);
    return request;
}

pl__request_t *pl__request_check(lua_State *L, int index) {
    return luaL_checkudata(L, index, REQUEST_TYPE);
}

bool pl__request_is_live(const pl__request_t *request) {
    return request->fetch && pl__client_is_usable(request->client);
}

void pl__request_hold(pl__request_t *request, bool held) {
    const pl__client_t *client = request->client;
    if (request->is_held == held || !client->is_engines || !client->h)
        return;
    request->is_held = held;
    if (held)
        pl_engine_hold(client->h->engine);
    else
        pl_engine_unhold(client->h->engine);
}

/* ---- being told -------------------------------------------------------------------------------------------- */

void pl__request_forget_news(pl__request_t *request) {
    pl__client_t *client = request->client;
    pl__request_t **place = &client->news, *before = NULL;
    if (!request->has_news)
        return;
    for (; *place != request; place = &(*place)->news_next)
        before = *place;
    *place = request->news_next;
    if (client->news_last == request)
        client->news_last = before;
    request->has_news = false;
}

static void news_add(pl__request_t *request) {
    pl__client_t *client = request->client;
    if (request->has_news)
        return;
    request->has_news = true;
    request->news_next = NULL;
    if (client->news_last)
        client->news_last->news_next = request;
    else
        client->news = request;
    client->news_last = request;
    if (client->h)
        pl__ticker_call(client->h);
    if (client->loop)
        pl__loop_end_poll(client->loop); /* a timer of libcurl may bring a whole response, and uv would sleep then */
}

void pl__request_wake(pl__request_t *request) {
    pl__coroutine_t *rec = request->waiter;
    request->waiter = NULL;
    if (rec)
        pl__wait_end(rec, request->waiter_life);
}

static void changed_cb(void *data, pl_fetch_t *fetch) {
    pl__request_t *request = data;
    (void)fetch;
    if (request->by_news)
        news_add(request);
    else
        pl__request_wake(request);
}

/* ---- beginning and end ------------------------------------------------------------------------------------- */

int pl__request_start(pl__request_t *request, pl__client_t *client, pl_fetch_request_t *options, pl_error_t *error) {
    options->changed = changed_cb;
    options->data = request;
    request->client = client;
    int rc = pl_fetch_start(client->fetcher, options, &request->fetch, error);
    if (rc != PL_OK)
        return rc;
    request->stream = options->stream;
    request->next = client->requests;
    if (request->next)
        request->next->prev = request;
    client->requests = request;
    return PL_OK;
}

void pl__request_release(pl__request_t *request, int end) {
    pl_fetch_t *fetch = request->fetch;
    if (!fetch)
        return;
    pl__request_hold(request, false);
    pl__request_forget_news(request);
    request->fetch = NULL;
    request->end = end;
    if (request->prev)
        request->prev->next = request->next;
    else
        request->client->requests = request->next;
    if (request->next)
        request->next->prev = request->prev;
    request->next = request->prev = NULL;
    pl_fetch_release(fetch);
}

int pl__request_send(pl__request_t *request, pl_str_t piece) {
    if (piece.ptr)
        return pl_fetch_send(request->fetch, piece);
    pl_fetch_send_end(request->fetch);
    return PL_OK;
}

/* ---- results ----------------------------------------------------------------------------------------------- */

int pl__request_push_end(lua_State *L, const pl__request_t *request) {
    int end = request->end;
    if (request->fetch)
        return pl__push_failure(L, PL_EFORK, "the request was started before a fork");
    if (end == PL_OK) {
        lua_pushnil(L);
        return 1;
    }
    return pl__push_failure(L, end, end == PL_ECLOSED ? "the answer was closed" : NULL);
}

int pl__request_push_response(lua_State *L, pl__request_t *request) {
    pl_fetch_response_t response;
    pl_fetch_response(request->fetch, &response);
    if (response.code == PL_OK || (request->stream && response.status != 0)) {
        pl__response_push(L, &response, !request->stream);
        if (!request->stream)
            pl__request_release(request, PL_OK);
        return 1;
    }
    int n = pl__push_failure(L, response.code, response.message);
    pl__request_release(request, response.code);
    return n;
}

int pl__request_push_piece(lua_State *L, pl__request_t *request) {
    pl_fetch_response_t response;
    if (pl_fetch_has_bytes(request->fetch)) {
        pl__text_push(L, pl_fetch_take(request->fetch));
        return 1;
    }
    if (!pl_fetch_is_over(request->fetch)) {
        lua_pushnil(L);
        return 1;
    }
    pl_fetch_response(request->fetch, &response);
    int code = response.code, n = 1;
    if (code == PL_OK)
        lua_pushnil(L);
    else
        n = pl__push_failure(L, code, response.message);
    pl__request_release(request, code);
    return n;
}

/* ---- methods ----------------------------------------------------------------------------------------------- */

/* The request at index 1 if it is live, else NULL. */
static pl__request_t *check_live(lua_State *L) {
    pl__request_t *request = pl__request_check(L, 1);
    return pl__request_is_live(request) ? request : NULL;
}

static int request_state(lua_State *L) {
    const pl__request_t *request = check_live(L);
    bool is_live = request;
    lua_pushboolean(L, !is_live || pl_fetch_is_over(request->fetch));
    lua_pushboolean(L, is_live && pl_fetch_has_head(request->fetch));
    lua_pushboolean(L, is_live && pl_fetch_has_bytes(request->fetch));
    lua_pushboolean(L, is_live && pl_fetch_wants(request->fetch));
    return 4;
}

static int request_response(lua_State *L) {
    pl__request_t *request = check_live(L);
    return request ? pl__request_push_response(L, request) : pl__request_push_end(L, pl__request_check(L, 1));
}

static int request_take(lua_State *L) {
    pl__request_t *request = check_live(L);
    return request ? pl__request_push_piece(L, request) : pl__request_push_end(L, pl__request_check(L, 1));
}

static int request_send(lua_State *L) {
    pl__request_t *request = check_live(L);
    pl_str_t piece = PL_STR_NONE;
    if (!lua_isnoneornil(L, 2))
        piece.ptr = luaL_checklstring(L, 2, &piece.len);
    if (!request)
        return pl__push_failure(L, PL_ESTATE, "the request is over");
    int rc = pl__request_send(request, piece);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

static int request_hold(lua_State *L) {
    pl__request_t *request = check_live(L);
    if (request)
        pl__request_hold(request, lua_toboolean(L, 2));
    return 0;
}

static int request_cancel(lua_State *L) {
    pl__request_t *request = check_live(L);
    if (request) {
        pl__request_release(request, request->by_news ? PL_ECLOSED : PL_EABORTED);
        pl__request_wake(request);
    }
    lua_pushboolean(L, request ? 1 : 0);
    return 1;
}

static int request_gc(lua_State *L) {
    pl__request_t *request = check_live(L);
    pl__request_check(L, 1)->waiter = NULL;
    if (request)
        pl__request_release(request, PL_ECLOSED);
    return 0;
}

void pl__request_register(lua_State *L, lua_CFunction close) {
    static const luaL_Reg METHODS[] = {
        { "state", request_state },
        { "response", request_response },
        { "take", request_take },
        { "send", request_send },
        { "hold", request_hold },
        { "cancel", request_cancel },
        { NULL, NULL },
    };
    if (luaL_newmetatable(L, REQUEST_TYPE)) {
        lua_pushcfunction(L, request_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, close);
        lua_setfield(L, -2, "__close");
        luaL_newlib(L, METHODS);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}
