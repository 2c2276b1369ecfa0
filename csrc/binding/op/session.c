/*
 * session.c - transactions of the user. See session.h; their states are in store/store.c.
 *
 * A session is told by its number, which the handle gives out. Its ops wait as those of the engine do: where the
 * running coroutine is managed it yields, elsewhere the thread is blocked; the store answers them at once.
 */
#include "binding/op/session.h"

#include <lauxlib.h>

#include "binding/coroutine/await.h"
#include "binding/coroutine/coroutine.h"
#include "binding/handle.h"
#include "binding/op/table.h"

#define SESSION_TYPE "pipeline.Session"

typedef struct {
    pl__handle_t *h; /* memory of the engine userdata, which is user value 1 */
    pl_session_t number;
    bool begun, over; /* tx_begin was submitted; so was tx_end */
} session_t;

/* The session at index 1, in whose place the engine is put. */
static session_t *take_self(lua_State *L) {
    session_t *session = luaL_checkudata(L, 1, SESSION_TYPE);
    lua_getiuservalue(L, 1, 1);
    lua_replace(L, 1);
    return session;
}

/* Pushes the failure of a session that cannot be used, or returns 0. */
static int refuse(lua_State *L, const session_t *session) {
    int n = pl__handle_refuse(L, session->h);
    if (n == 0 && (!session->begun || session->over))
        n = pl__push_failure(L, PL_EOVER, NULL);
    return n;
}

/* e:session() -> a session that has not begun */
static int engine_session(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    if (pl__handle_refuse(L, h))
        return 3;
    session_t *session = lua_newuserdatauv(L, sizeof *session, 1);
    *session = (session_t){ .h = h, .number = ++h->sessions };
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, SESSION_TYPE);
    return 1;
}

/* s:begin(seconds it may take) -> true, or nil, code, message */
static int session_begin(lua_State *L) {
    session_t *session = take_self(L);
    double seconds = luaL_checknumber(L, 2);
    if (pl__handle_refuse(L, session->h))
        return 3;
    if (session->begun)
        return pl__push_failure(L, PL_ESTATE, "it has begun before");
    pl_op_t *op = pl_op_new(PL_VERB_tx_begin);
    if (!op)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    op->session = session->number;
    op->u.tx_begin.seconds = seconds;
    session->begun = true;
    return pl__await_op(L, session->h, op, NULL);
}

/* s:finish(commit) -> true, or nil, code, message */
static int session_finish(lua_State *L) {
    session_t *session = take_self(L);
    luaL_checktype(L, 2, LUA_TBOOLEAN);
    if (refuse(L, session))
        return 3;
    pl_op_t *op = pl_op_new(PL_VERB_tx_end);
    if (!op)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    op->session = session->number;
    op->u.tx_end.commit = lua_toboolean(L, 2);
    session->over = true;
    return pl__await_op(L, session->h, op, NULL);
}

/* s:drop(), also __gc: rolls back, and waits for nothing. Without memory for that, the time of the session will do. */
static int session_drop(lua_State *L) {
    session_t *session = luaL_checkudata(L, 1, SESSION_TYPE);
    pl__handle_t *h = session->h;
    if (!session->begun || session->over || !h->engine || !pl_engine_usable(h->engine))
        return 0;
    pl_op_t *op = pl_op_new(PL_VERB_tx_end);
    if (!op)
        return 0;
    session->over = true;
    op->session = session->number;
    op->owner = h; /* nobody waits for it */
    pl_engine_submit(h->engine, op);
    pl_engine_flush(h->engine);
    return 0;
}

/* s:verb(...): as that of the engine, in the transaction. The verb is upvalue 1. */
static int session_verb(lua_State *L) {
    session_t *session = take_self(L);
    if (refuse(L, session))
        return 3;
    pl_op_t *op = pl__op_build(L, (pl_verb_t)lua_tointeger(L, lua_upvalueindex(1)));
    if (!op)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    if (session->over) { /* a finalizer that ran meanwhile has dropped it */
        pl_op_free(op);
        return pl__push_failure(L, PL_EOVER, NULL);
    }
    op->session = session->number;
    return pl__await_op(L, session->h, op, NULL);
}

/* s:method(...): that of the engine, which asks the store nothing. Its name is upvalue 1. */
static int session_forward(lua_State *L) {
    (void)take_self(L);
    lua_getfield(L, 1, lua_tostring(L, lua_upvalueindex(1)));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static void push_methods(lua_State *L) {
    static const luaL_Reg METHODS[] = {
        { "begin", session_begin },
        { "finish", session_finish },
        { "drop", session_drop },
        { NULL, NULL },
    };
    static const struct {
        const char *name;
        pl_verb_t verb;
    } VERBS[] = {
#define X(name) { #name, PL_VERB_##name }
        X(sql),       X(start),       X(task_add),    X(fill),         X(retry),        X(abort),       X(status),
        X(cleanup),   X(meta),        X(stage_get),   X(tree_get),     X(tree_page),    X(roots_list),  X(counts_get),
        X(queue_set), X(queue_get),   X(queue_stats), X(lease),        X(lease_modify), X(task_delete), X(purge),
        X(dead_list), X(dead_revive), X(dead_purge),  X(failures_get),
#undef X
    };
    static const char *const FORWARDS[] = { "new_id", "new_name", "id_text", "id_parse", "now" };
    luaL_newlib(L, METHODS);
    for (size_t i = 0; i < sizeof VERBS / sizeof *VERBS; i++) {
        lua_pushinteger(L, (lua_Integer)VERBS[i].verb);
        lua_pushcclosure(L, session_verb, 1);
        lua_setfield(L, -2, VERBS[i].name);
    }
    for (size_t i = 0; i < sizeof FORWARDS / sizeof *FORWARDS; i++) {
        lua_pushstring(L, FORWARDS[i]);
        lua_pushcclosure(L, session_forward, 1);
        lua_setfield(L, -2, FORWARDS[i]);
    }
}

void pl__session_register(lua_State *L) {
    if (luaL_newmetatable(L, SESSION_TYPE)) {
        lua_pushcfunction(L, session_drop);
        lua_setfield(L, -2, "__gc");
        push_methods(L);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, engine_session);
    lua_setfield(L, -2, "session");
}
