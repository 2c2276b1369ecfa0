/*
 * table.c - the table of verbs: building their ops, pushing their results. See table.h.
 */
#include "binding/op/table.h"

#include <lauxlib.h>

#include "binding/op/pusher.h"

#define ARGS_MAX 5 /* of any verb, self included */

/* ---- arguments -------------------------------------------------------------------------------------------------- */

typedef void (*build_fn)(pl__reader_t *R);

static const build_fn BUILD[PL_VERB_COUNT] = {
#define ENTRY(name) [PL_VERB_##name] = pl__build_##name,
#define X(name, write, offer) PL__OFFERED_##offer(ENTRY, name)
    PL_VERBS(X)
#undef X
#undef ENTRY
};

/* Stack: the reader in the place of self, then the arguments. */
static int build_entry(lua_State *L) {
    pl__reader_t *R = lua_touserdata(L, 1);
    R->L = L;
    lua_settop(L, ARGS_MAX);
    luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
    if (R->appends)
        pl__build_more_tasks(R);
    else
        BUILD[R->op->verb](R);
    return 0;
}

/* Reads the arguments into R->op. Returns whether that went well; else the error is on top of the stack. */
static bool build(lua_State *L, pl__reader_t *R) {
    int top = lua_gettop(L), args = top < ARGS_MAX ? top : ARGS_MAX;
    lua_pushcfunction(L, build_entry);
    lua_pushlightuserdata(L, R);
    for (int i = 2; i <= args; i++)
        lua_pushvalue(L, i);
    return lua_pcall(L, args, 0, 0) == LUA_OK;
}

/* Raises the error on top of the stack, but for one of memory: that is popped. */
static void complain(lua_State *L, const pl__reader_t *R) {
    if (R->misuse)
        luaL_argerror(L, R->arg, lua_tostring(L, -1));
    if (!R->no_memory)
        lua_error(L);
    lua_pop(L, 1);
}

pl_op_t *pl__op_build(lua_State *L, pl_verb_t verb) {
    return pl__op_build_on(L, pl_op_new(verb));
}

pl_op_t *pl__op_build_on(lua_State *L, pl_op_t *op) {
    pl__reader_t R = { .op = op, .arg = 2 };
    if (!op)
        return NULL;
    if (!lua_checkstack(L, ARGS_MAX + 2)) {
        pl_op_free(op);
        luaL_error(L, "stack overflow");
    }
    if (build(L, &R))
        return R.op;
    pl_op_free(R.op);
    complain(L, &R);
    return NULL;
}

bool pl__op_add_tasks(lua_State *L, pl_op_t **ops) {
    luaL_checkstack(L, ARGS_MAX + 2, NULL);
    pl__reader_t R = { .op = *ops, .arg = 2, .appends = true };
    pl_op_t **tail = ops;
    *ops = NULL;
    bool built = build(L, &R);
    pl_op_t *meanwhile = *ops;
    *ops = R.op;
    while (*tail)
        tail = &(*tail)->next;
    *tail = meanwhile;
    if (!built)
        complain(L, &R);
    return built;
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

typedef int (*push_fn)(lua_State *L, const pl_op_t *op);

static const push_fn PUSH[PL_VERB_COUNT] = {
#define ENTRY(name) [PL_VERB_##name] = pl__push_##name,
#define X(name, write, offer) PL__OFFERED_##offer(ENTRY, name)
    PL_VERBS(X)
#undef X
#undef ENTRY
};

static int push_entry(lua_State *L) {
    const pl_op_t *op = lua_touserdata(L, 1);
    push_fn push = PUSH[op->verb] ? PUSH[op->verb] : pl__push_true; /* of a session: that it has begun, or ended */
    return push(L, op);
}

int pl__push_results(lua_State *L, pl_op_t *op) {
    int top = lua_gettop(L);
    /* Building values may raise, so it is done protected: the op is freed either way. */
    lua_pushcfunction(L, push_entry);
    lua_pushlightuserdata(L, op);
    int status = lua_pcall(L, 1, LUA_MULTRET, 0);
    if (status != LUA_OK || !op->held)
        pl_op_free(op);
    if (status != LUA_OK)
        return lua_error(L);
    return lua_gettop(L) - top;
}

/* ---- methods ---------------------------------------------------------------------------------------------------- */

void pl__verbs_push(lua_State *L, bool of_session, lua_CFunction method) {
    enum { ENGINE = 1, SESSION = 2, BOTH = ENGINE | SESSION, BY_HAND = 0, OWN = 0 };
    static const struct {
        const char *name;
        int offer;
    } VERBS[] = {
#define X(name, write, offer) [PL_VERB_##name] = { #name, offer },
        PL_VERBS(X)
#undef X
    };
    for (int verb = 0; verb < PL_VERB_COUNT; verb++) {
        if (!(VERBS[verb].offer & (of_session ? SESSION : ENGINE)))
            continue;
        lua_pushinteger(L, verb);
        lua_pushcclosure(L, method, 1);
        lua_setfield(L, -2, VERBS[verb].name);
    }
}
