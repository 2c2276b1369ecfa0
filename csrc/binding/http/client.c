/*
 * client.c - HTTP clients: opened, limited, closed; and how the loop of tasklets asks for news. See client.h.
 *
 * Invariants
 *   1. client->h is the engine to be told of news, and the client is attached to it; NULL: none.
 *   2. That of e:fetch is linked to its engine under the address of h->client, which leads to it.
 */
#include "binding/http/client.h"

#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "binding/ticker.h"

#define CLIENT_TYPE "pipeline.Client"

enum { UV_LOOP = 1, UV_ENGINE, UV_COUNT = UV_ENGINE };
enum { CLIENT = 1, OPTIONS = PL__EXCHANGE_OPTIONS, REQUEST = PL__EXCHANGE_OWNER }; /* the frame of client:start */

static pl__client_t *check_client(lua_State *L) {
    return luaL_checkudata(L, CLIENT, CLIENT_TYPE);
}

/* Pushes a client that is not open. */
static pl__client_t *client_new(lua_State *L) {
    pl__client_t *client = lua_newuserdatauv(L, sizeof *client, UV_COUNT);
    memset(client, 0, sizeof *client);
    luaL_setmetatable(L, CLIENT_TYPE);
    return client;
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static void client_detach(pl__client_t *client) {
    if (client->h)
        pl__handle_detach(client->h, &client->attached);
    client->h = NULL;
}

static void client_shut(pl__client_t *client) {
    if (!client->fetcher)
        return;
    while (client->requests)
        pl__request_release(client->requests, PL_ECLOSED);
    client_detach(client);
    if (client->pid == getpid())
        pl_fetcher_close(client->fetcher);
    client->fetcher = NULL;
}

/* The engine ends: its loop goes with it, or somebody else will run the loop of the Lua state. */
static void attached_close(pl__attached_t *attached) {
    pl__client_t *client = (pl__client_t *)attached;
    if (client->is_engines)
        client_shut(client);
    else
        client_detach(client);
}

static void client_attach(pl__client_t *client, pl__handle_t *h) {
    client->h = h;
    client->attached.close = attached_close;
    pl__handle_attach(h, &client->attached);
}

/* In the child of a fork the memory of all stays as it is. */
static int client_close(lua_State *L) {
    pl__client_t *client = check_client(L);
    if (pl__client_is_usable(client))
        client_shut(client);
    return 0;
}

static int client_open_on(pl__client_t *client, struct uv_loop_s *loop, pl_error_t *error) {
    pl_fetcher_options_t options;
    pl_fetcher_options_init(&options);
    int rc = pl_fetcher_open(&client->fetcher, loop, &options, error);
    if (rc == PL_OK)
        client->pid = getpid();
    return rc;
}

int pl__client_open(pl__client_t *client, pl__handle_t *h, pl_error_t *error) {
    if (client->fetcher)
        return PL_OK;
    int rc = client_open_on(client, pl_engine_loop(h->engine), error);
    if (rc != PL_OK)
        return rc;
    client->is_engines = true;
    client_attach(client, h);
    return PL_OK;
}

pl__client_t *pl__client_push_engines(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    lua_getiuservalue(L, 1, PL__UV_LINKS);
    if (lua_rawgetp(L, -1, &h->client) == LUA_TNIL) {
        lua_pop(L, 1);
        (void)client_new(L);
        lua_pushvalue(L, 1);
        lua_setiuservalue(L, -2, UV_ENGINE);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, -3, &h->client);
        h->client = lua_touserdata(L, -1);
    }
    lua_remove(L, -2);
    return h->client;
}

void pl__client_push_engine(lua_State *L, int index) {
    lua_getiuservalue(L, index, UV_ENGINE);
}

/* core.client(loop | engine) -> client, or nil, code, message. */
static int core_client(lua_State *L) {
    pl_error_t error = { 0 };
    pl__handle_t *h = luaL_testudata(L, 1, PL__ENGINE_TYPE);
    struct uv_loop_s *loop = h ? NULL : pl__loop_at(L, 1);
    lua_settop(L, 1);
    luaL_argcheck(L, h || loop, 1, "an engine or the loop of this Lua state expected");
    pl__client_t *client = client_new(L);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 2, h ? UV_ENGINE : UV_LOOP);
    int refused = h ? pl__handle_refuse(L, h) : 0;
    if (refused)
        return refused;
    if (h && h->closing)
        return pl__push_failure(L, PL_ECLOSED, "the engine is closing");
    client->loop = h ? NULL : pl__loop_check(L, 1);
    int rc = h ? pl__client_open(client, h, &error) : client_open_on(client, loop, &error);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, error.message);
    return 1;
}

/* ---- for tasklets ------------------------------------------------------------------------------------------ */

/* Pushes nil, code, message and returns 3 when the client cannot be used; else 0. */
static int client_refuse(lua_State *L, const pl__client_t *client) {
    if (!client->fetcher)
        return pl__push_failure(L, PL_ECLOSED, "the client is closed");
    if (client->pid != getpid())
        return pl__push_failure(L, PL_EFORK, "the client was made before a fork");
    return 0;
}

static int client_start(lua_State *L) {
    pl_fetch_request_t options;
    pl_error_t error = { 0 };
    pl__client_t *client = check_client(L);
    luaL_checktype(L, OPTIONS, LUA_TTABLE);
    lua_Integer id = luaL_checkinteger(L, 3);
    lua_settop(L, OPTIONS);
    pl__request_t *request = pl__request_new(L);
    request->by_news = true;
    request->id = id;
    lua_pushvalue(L, CLIENT);
    lua_setiuservalue(L, REQUEST, PL__REQUEST_UV_CLIENT);
    pl__request_read(L, &options);
    int refused = client_refuse(L, client); /* after all that might run a finalizer */
    if (refused)
        return refused;
    int rc = pl__request_start(request, client, &options, &error);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, error.message);
    lua_settop(L, REQUEST);
    return 1;
}

static int client_news(lua_State *L) {
    pl__client_t *client = check_client(L);
    pl__request_t *request = pl__client_is_usable(client) ? client->news : NULL;
    if (!request) {
        lua_pushnil(L);
        return 1;
    }
    pl__request_forget_news(request);
    lua_pushinteger(L, request->id);
    return 1;
}

static int client_has_news(lua_State *L) {
    const pl__client_t *client = check_client(L);
    lua_pushboolean(L, pl__client_is_usable(client) && client->news);
    return 1;
}

static int client_serve(lua_State *L) {
    pl__client_t *client = check_client(L);
    pl__handle_t *h = lua_isnoneornil(L, 2) ? NULL : pl__handle_check(L, 2);
    if (!client->fetcher || client->is_engines)
        return 0;
    client_detach(client);
    if (h && h->engine && !h->closing)
        client_attach(client, h);
    lua_settop(L, 2);
    lua_setiuservalue(L, CLIENT, UV_ENGINE); /* its memory is used until it is closed */
    if (client->h && client->news)
        pl__ticker_call(client->h);
    return 0;
}

static int client_limits(lua_State *L) {
    pl_fetcher_options_t options;
    const pl__client_t *client = check_client(L);
    pl__limits_read(L, &options);
    int refused = client_refuse(L, client);
    if (refused)
        return refused;
    pl_fetcher_limit(client->fetcher, &options);
    lua_pushboolean(L, 1);
    return 1;
}

int pl__client_push_facts(lua_State *L, const pl__client_t *client) {
    pl_fetcher_facts_t facts = { 0 };
    if (client && pl__client_is_usable(client))
        pl_fetcher_facts(client->fetcher, &facts);
    pl__fetch_facts_push(L, &facts);
    return 1;
}

static int client_facts(lua_State *L) {
    return pl__client_push_facts(L, check_client(L));
}

void pl__client_register(lua_State *L) {
    static const luaL_Reg METHODS[] = {
        { "start", client_start },       { "news", client_news },
        { "has_news", client_has_news }, { "serve", client_serve },
        { "limits", client_limits },     { "facts", client_facts },
        { "close", client_close },       { NULL, NULL },
    };
    if (luaL_newmetatable(L, CLIENT_TYPE)) {
        lua_pushcfunction(L, client_close);
        lua_setfield(L, -2, "__gc");
        luaL_newlib(L, METHODS);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, core_client);
    lua_setfield(L, -2, "client");
}
