/*
 * token.c - coroutines that suspend until a token of theirs is woken, by whatever Lua code has it.
 *
 * A token is good for one suspension, the next one of the coroutine that made it. Woken before that, it leaves its
 * values in the mailbox of the coroutine.
 */
#include "binding/coroutine/token.h"

#include <lauxlib.h>

#include "binding/coroutine/coroutine.h"

#define TOKEN_TYPE "pipeline.Token"

typedef struct {
    pl__handle_t *h; /* memory of the engine userdata, which is user value 1 */
    pl__coroutine_t *rec;
    uint64_t wakes; /* of rec, for the suspension it is good for */
} token_t;

/* e:token() -> an object that ends the next suspend of this coroutine, or nil, "ESTATE", message. */
static int engine_token(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    if (!h->current || h->current->co != L)
        return pl__push_failure(L, PL_ESTATE, "not in a coroutine of this engine");
    token_t *token = lua_newuserdatauv(L, sizeof *token, 1);
    token->h = h;
    token->rec = h->current;
    token->wakes = h->current->wakes;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, TOKEN_TYPE);
    return 1;
}

static int suspend_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    pl__coroutine_t *rec = pl__await_record(L, context);
    rec->wakes++;
    rec->woken = false;
    return lua_gettop(L) - 1;
}

static pl__coroutine_t *record_of(const pl__handle_t *h, const lua_State *co) {
    pl__coroutine_t *rec = h->live;
    while (rec && rec->co != co)
        rec = rec->next;
    return rec;
}

/* e:closed(thread): a coroutine of the engine was closed while it waited. What it waited for may never come, so it has
 * a turn, in which it is found dead. An op comes back by itself. */
static int engine_closed(lua_State *L, pl__handle_t *h) {
    luaL_checktype(L, 2, LUA_TTHREAD);
    pl__coroutine_t *rec = h->closing ? NULL : record_of(h, lua_tothread(L, 2));
    bool waits = rec && (rec->state == PL__CO_TOKEN || rec->state == PL__CO_EVENT || rec->state == PL__CO_SLEEP ||
                         rec->state == PL__CO_FUTURE || rec->state == PL__CO_PLACE);
    if (waits)
        pl__coroutine_interrupt(rec);
    return 0;
}

/* Pushes the values an early wake has left. Stack: handle. */
static void push_mailbox(lua_State *L, const pl__coroutine_t *rec) {
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_rawgeti(L, 2, -(lua_Integer)rec->index);
    lua_rawgeti(L, 3, 0);
    int n = (int)lua_tointeger(L, 4);
    luaL_checkstack(L, n + LUA_MINSTACK, "too many values");
    lua_pushnil(L);
    lua_rawseti(L, 2, -(lua_Integer)rec->index);
    for (int i = 1; i <= n; i++)
        lua_rawgeti(L, 3, i);
    lua_rotate(L, 2, n);
    lua_settop(L, n + 1);
}

/* e:suspend() -> what token:wake was given, or nil, "ESTATE", message. */
static int engine_suspend(lua_State *L, pl__handle_t *h) {
    if (!pl__coroutine_can_await(L, h))
        return pl__push_failure(L, PL_ESTATE, "not in a coroutine of this engine, or one that cannot yield here");
    pl__coroutine_t *rec = h->current;
    lua_settop(L, 1);
    rec->state = PL__CO_TOKEN;
    if (rec->woken) {
        push_mailbox(L, rec);
        pl__coroutine_queue(&h->later, rec);
        pl__coroutine_arm(h);
    }
    return pl__await_yield(L, rec, suspend_k);
}

/* The coroutine has not suspended yet: keeps the values for it, their number at index 0. Stack: token, values. */
static void wake_early(lua_State *L, pl__coroutine_t *rec) {
    int n = lua_gettop(L) - 1;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    lua_createtable(L, n, 1);
    lua_insert(L, 2);
    for (int i = n; i >= 1; i--)
        lua_rawseti(L, 2, i);
    lua_pushinteger(L, n);
    lua_rawseti(L, 2, 0);
    lua_getiuservalue(L, 1, 1);
    lua_getiuservalue(L, -1, PL__UV_ANCHORS);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, -(lua_Integer)rec->index);
}

static void wake_suspended(lua_State *L, pl__handle_t *h, pl__coroutine_t *rec) {
    int n = lua_gettop(L) - 1;
    if (!lua_checkstack(rec->co, n))
        luaL_error(L, "too many values");
    lua_xmove(L, rec->co, n);
    rec->nargs = n;
    pl__coroutine_go_on(rec, &h->later);
    pl__coroutine_arm(h);
}

/* token:wake(...) -> whether this was the first wake of a suspension not yet over. */
static int token_wake(lua_State *L) {
    const token_t *token = luaL_checkudata(L, 1, TOKEN_TYPE);
    pl__handle_t *h = token->h;
    pl__coroutine_t *rec = token->rec;
    bool alive = h->engine && !h->closing && pl_engine_usable(h->engine);
    if (!alive || rec->wakes != token->wakes || rec->woken) {
        lua_pushboolean(L, 0);
        return 1;
    }
    if (rec->state == PL__CO_TOKEN)
        wake_suspended(L, h, rec);
    else
        wake_early(L, rec);
    rec->woken = true;
    lua_pushboolean(L, 1);
    return 1;
}

void pl__token_register(lua_State *L) {
    static const pl__method_t METHODS[] = {
        { "suspend", engine_suspend },
        { "closed", engine_closed },
        { NULL, NULL },
    };
    pl__methods_set(L, METHODS);
    lua_pushcfunction(L, engine_token);
    lua_setfield(L, -2, "token");
    if (luaL_newmetatable(L, TOKEN_TYPE)) {
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, token_wake);
        lua_setfield(L, -2, "wake");
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}
