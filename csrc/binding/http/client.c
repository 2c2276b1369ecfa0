/*
 * client.c - the HTTP client of tasklets. See client.h.
 *
 * Design. No Lua code is called from the loop: what happens is noted in a list, and the tasklets' loop asks for it
 * when the uv loop has come back. Where an engine runs the uv loop, its guest hook is due at once, so that the
 * tasklets have their turn inside engine:run() too.
 *
 * Invariants
 *   1. A request with `fetch` is in the list of its client, and the client is a user value of it.
 *   2. request->has_news exactly while it is in the list of news.
 *   3. client->h is the engine to be told of news, and the client is attached to it; NULL: none.
 *   4. In the child of a fork nothing of libuv or libcurl is touched: both belong to the parent.
 */
#include "binding/http/client.h"

#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "binding/guest.h"
#include "binding/handle.h"
#include "binding/http/exchange.h"
#include "binding/loop.h"

#define CLIENT_TYPE "pipeline.Client"
#define REQUEST_TYPE "pipeline.Request"

enum { UV_LOOP = 1, UV_ENGINE, CLIENT_UV_COUNT = UV_ENGINE };                       /* of a client */
enum { UV_CLIENT = 1, UV_BODY = PL__EXCHANGE_UV_BODY, REQUEST_UV_COUNT = UV_BODY }; /* of a request */
enum { CLIENT = 1, OPTIONS = PL__EXCHANGE_OPTIONS, REQUEST = PL__EXCHANGE_OWNER };  /* the frame of client:start */

typedef struct request request_t;

typedef struct {
    pl__attached_t attached; /* first: close gets it */
    pl__handle_t *h;
    const pl__state_loop_t *loop; /* memory of the user value; NULL: the engine's own */
    bool is_engines;              /* the loop is the engine's: the client ends with it */
    pid_t pid;
    pl_fetcher_t *fetcher; /* NULL: closed */
    request_t *requests;
    request_t *news, *news_last;
} client_t;

struct request {
    request_t *next, *prev, *news_next;
    client_t *client;  /* memory of the user value */
    pl_fetch_t *fetch; /* NULL: released */
    lua_Integer id;
    bool has_news, is_held, stream;
    int end; /* released: PL_OK after the last piece, or why there are no more */
};

/* ---- requests ---------------------------------------------------------------------------------------------- */

static bool is_usable(const client_t *client) {
    return client->fetcher && client->pid == getpid();
}

static void request_hold(request_t *request, bool held) {
    const client_t *client = request->client;
    if (request->is_held == held || !client->is_engines || !client->h)
        return;
    request->is_held = held;
    if (held)
        pl_engine_hold(client->h->engine);
    else
        pl_engine_unhold(client->h->engine);
}

static void news_remove(client_t *client, request_t *request) {
    request_t **place = &client->news, *before = NULL;
    if (!request->has_news)
        return;
    for (; *place != request; place = &(*place)->news_next)
        before = *place;
    *place = request->news_next;
    if (client->news_last == request)
        client->news_last = before;
    request->has_news = false;
}

static void news_add(request_t *request) {
    client_t *client = request->client;
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
        pl__guest_call(client->h);
    if (client->loop)
        pl__loop_end_poll(client->loop); /* a timer of libcurl may bring a whole answer, and uv would sleep then */
}

static void changed_cb(void *data, pl_fetch_t *fetch) {
    (void)fetch;
    news_add(data);
}

/* Ends the request, wherever it stands. */
static void request_release(request_t *request, int end) {
    client_t *client = request->client;
    pl_fetch_t *fetch = request->fetch;
    if (!fetch)
        return;
    request_hold(request, false);
    news_remove(client, request);
    request->fetch = NULL;
    request->end = end;
    if (request->prev)
        request->prev->next = request->next;
    else
        client->requests = request->next;
    if (request->next)
        request->next->prev = request->prev;
    request->next = request->prev = NULL;
    pl_fetch_release(fetch);
}

static request_t *check_request(lua_State *L) {
    return luaL_checkudata(L, 1, REQUEST_TYPE);
}

/* The request at index 1 if there is still something behind it, and it can be told; else NULL. */
static request_t *check_live(lua_State *L) {
    request_t *request = check_request(L);
    return request->fetch && is_usable(request->client) ? request : NULL;
}

static int push_end(lua_State *L, const request_t *request) {
    int end = request->end;
    if (request->fetch)
        return pl__push_failure(L, PL_EFORK, "the request was started before a fork");
    if (end == PL_OK) {
        lua_pushnil(L);
        return 1;
    }
    return pl__push_failure(L, end, end == PL_ECLOSED ? "the answer was closed" : NULL);
}

static int request_state(lua_State *L) {
    const request_t *request = check_live(L);
    bool is_live = request;
    lua_pushboolean(L, !is_live || pl_fetch_is_over(request->fetch));
    lua_pushboolean(L, is_live && pl_fetch_has_head(request->fetch));
    lua_pushboolean(L, is_live && pl_fetch_has_bytes(request->fetch));
    lua_pushboolean(L, is_live && pl_fetch_wants(request->fetch));
    return 4;
}

static int request_answer(lua_State *L) {
    request_t *request = check_live(L);
    pl_fetch_answer_t answer;
    if (!request)
        return push_end(L, check_request(L));
    pl_fetch_answer(request->fetch, &answer);
    if (answer.code == PL_OK || (request->stream && answer.status != 0)) {
        pl__answer_push(L, &answer, !request->stream);
        if (!request->stream)
            request_release(request, PL_OK);
        return 1;
    }
    int n = pl__push_failure(L, answer.code, answer.message);
    request_release(request, answer.code);
    return n;
}

static int request_take(lua_State *L) {
    request_t *request = check_live(L);
    pl_fetch_answer_t answer;
    if (!request)
        return push_end(L, check_request(L));
    if (pl_fetch_has_bytes(request->fetch)) {
        pl__text_push(L, pl_fetch_take(request->fetch));
        return 1;
    }
    if (!pl_fetch_is_over(request->fetch)) {
        lua_pushnil(L);
        return 1;
    }
    pl_fetch_answer(request->fetch, &answer);
    int code = answer.code, n = 1;
    if (code == PL_OK)
        lua_pushnil(L);
    else
        n = pl__push_failure(L, code, answer.message);
    request_release(request, code);
    return n;
}

static int request_send(lua_State *L) {
    request_t *request = check_live(L);
    pl_str_t piece = PL_STR_NONE;
    if (!lua_isnoneornil(L, 2))
        piece.ptr = luaL_checklstring(L, 2, &piece.len);
    if (!request)
        return pl__push_failure(L, PL_ESTATE, "the request is over");
    if (!piece.ptr) {
        pl_fetch_send_end(request->fetch);
    } else {
        int rc = pl_fetch_send(request->fetch, piece);
        if (rc != PL_OK)
            return pl__push_failure(L, rc, NULL);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int request_hold_method(lua_State *L) {
    request_t *request = check_live(L);
    if (request)
        request_hold(request, lua_toboolean(L, 2));
    return 0;
}

static int request_cancel(lua_State *L) {
    request_t *request = check_live(L);
    if (request)
        request_release(request, PL_ECLOSED);
    lua_pushboolean(L, request ? 1 : 0);
    return 1;
}

/* ---- clients ----------------------------------------------------------------------------------------------- */

static client_t *check_client(lua_State *L) {
    return luaL_checkudata(L, CLIENT, CLIENT_TYPE);
}

static void client_detach(client_t *client) {
    if (client->h)
        pl__handle_detach(client->h, &client->attached);
    client->h = NULL;
}

static void client_shut(client_t *client) {
    if (!client->fetcher)
        return;
    while (client->requests)
        request_release(client->requests, PL_ECLOSED);
    client_detach(client);
    if (client->pid == getpid())
        pl_fetcher_close(client->fetcher);
    client->fetcher = NULL;
}

/* The engine ends: its loop goes with it, or somebody else will run the loop of the Lua state. */
static void attached_close(pl__attached_t *attached) {
    client_t *client = (client_t *)attached;
    if (client->is_engines)
        client_shut(client);
    else
        client_detach(client);
}

static void client_attach(client_t *client, pl__handle_t *h) {
    client->h = h;
    client->attached.close = attached_close;
    pl__handle_attach(h, &client->attached);
}

/* In the child of a fork the memory of all stays as it is. */
static int client_close(lua_State *L) {
    client_t *client = check_client(L);
    if (is_usable(client))
        client_shut(client);
    return 0;
}

static int request_gc(lua_State *L) {
    request_t *request = check_live(L);
    if (request)
        request_release(request, PL_ECLOSED);
    return 0;
}

/* Pushes nil, code, message and returns 3 when the client cannot be used; else 0. */
static int client_refuse(lua_State *L, const client_t *client) {
    if (!client->fetcher)
        return pl__push_failure(L, PL_ECLOSED, "the client is closed");
    if (client->pid != getpid())
        return pl__push_failure(L, PL_EFORK, "the client was made before a fork");
    return 0;
}

static int client_start(lua_State *L) {
    pl_fetch_request_t options;
    pl_error_t error = { 0 };
    client_t *client = check_client(L);
    luaL_checktype(L, OPTIONS, LUA_TTABLE);
    lua_Integer id = luaL_checkinteger(L, 3);
    lua_settop(L, OPTIONS);
    request_t *request = lua_newuserdatauv(L, sizeof *request, REQUEST_UV_COUNT);
    memset(request, 0, sizeof *request);
    request->client = client;
    request->id = id;
    luaL_setmetatable(L, REQUEST_TYPE);
    lua_pushvalue(L, CLIENT);
    lua_setiuservalue(L, REQUEST, UV_CLIENT);
    pl__request_read(L, &options);
    int refused = client_refuse(L, client); /* after all that might run a finalizer */
    if (refused)
        return refused;
    options.changed = changed_cb;
    options.data = request;
    int rc = pl_fetch_start(client->fetcher, &options, &request->fetch, &error);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, error.message);
    request->stream = options.stream;
    request->next = client->requests;
    if (request->next)
        request->next->prev = request;
    client->requests = request;
    lua_settop(L, REQUEST);
    return 1;
}

static int client_news(lua_State *L) {
    client_t *client = check_client(L);
    request_t *request = is_usable(client) ? client->news : NULL;
    if (!request) {
        lua_pushnil(L);
        return 1;
    }
    news_remove(client, request);
    lua_pushinteger(L, request->id);
    return 1;
}

static int client_has_news(lua_State *L) {
    const client_t *client = check_client(L);
    lua_pushboolean(L, is_usable(client) && client->news);
    return 1;
}

static int client_serve(lua_State *L) {
    client_t *client = check_client(L);
    pl__handle_t *h = lua_isnoneornil(L, 2) ? NULL : pl__handle_check(L, 2);
    if (!client->fetcher || client->is_engines)
        return 0;
    client_detach(client);
    if (h && h->engine && !h->closing)
        client_attach(client, h);
    lua_settop(L, 2);
    lua_setiuservalue(L, CLIENT, UV_ENGINE); /* its memory is used until it is closed */
    if (client->h && client->news)
        pl__guest_call(client->h);
    return 0;
}

static int client_limits(lua_State *L) {
    pl_fetcher_options_t options;
    const client_t *client = check_client(L);
    pl__limits_read(L, &options);
    int refused = client_refuse(L, client);
    if (refused)
        return refused;
    pl_fetcher_limit(client->fetcher, &options);
    lua_pushboolean(L, 1);
    return 1;
}

static int client_facts(lua_State *L) {
    pl_fetcher_facts_t facts = { 0 };
    const client_t *client = check_client(L);
    if (is_usable(client))
        pl_fetcher_facts(client->fetcher, &facts);
    pl__fetch_facts_push(L, &facts);
    return 1;
}

/* core.client(loop | engine) -> client, or nil, code, message. */
static int core_client(lua_State *L) {
    pl_fetcher_options_t options;
    pl_error_t error = { 0 };
    pl__handle_t *h = luaL_testudata(L, 1, PL__ENGINE_TYPE);
    struct uv_loop_s *loop = h ? NULL : pl__loop_at(L, 1);
    lua_settop(L, 1);
    luaL_argcheck(L, h || loop, 1, "an engine or the loop of this Lua state expected");
    client_t *client = lua_newuserdatauv(L, sizeof *client, CLIENT_UV_COUNT);
    memset(client, 0, sizeof *client);
    luaL_setmetatable(L, CLIENT_TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 2, h ? UV_ENGINE : UV_LOOP);
    int refused = h ? pl__handle_refuse(L, h) : 0;
    if (refused)
        return refused;
    if (h && h->closing)
        return pl__push_failure(L, PL_ECLOSED, "the engine is closing");
    pl_fetcher_options_init(&options);
    int rc = pl_fetcher_open(&client->fetcher, h ? pl_engine_loop(h->engine) : loop, &options, &error);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, error.message);
    client->pid = getpid();
    client->is_engines = h;
    client->loop = h ? NULL : pl__loop_check(L, 1);
    if (h)
        client_attach(client, h);
    return 1;
}

static void make_class(lua_State *L, const char *name, lua_CFunction gc, const luaL_Reg *methods) {
    if (luaL_newmetatable(L, name)) {
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
        lua_newtable(L);
        luaL_setfuncs(L, methods, 0);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}

void pl__client_register(lua_State *L) {
    static const luaL_Reg CLIENT_METHODS[] = {
        { "start", client_start },       { "news", client_news },
        { "has_news", client_has_news }, { "serve", client_serve },
        { "limits", client_limits },     { "facts", client_facts },
        { "close", client_close },       { NULL, NULL },
    };
    static const luaL_Reg REQUEST_METHODS[] = {
        { "state", request_state },
        { "answer", request_answer },
        { "take", request_take },
        { "send", request_send },
        { "hold", request_hold_method },
        { "cancel", request_cancel },
        { NULL, NULL },
    };
    make_class(L, CLIENT_TYPE, client_close, CLIENT_METHODS);
    make_class(L, REQUEST_TYPE, request_gc, REQUEST_METHODS);
    lua_pushcfunction(L, core_client);
    lua_setfield(L, -2, "client");
}
