/*
 * tasklet.c - ops that a tasklet waits for. See tasklet.h.
 *
 * Design. The op belongs to a record of a managed coroutine like any other. When it is committed that coroutine
 * begins: it puts the op into the box that waits on the stack of the tasklet, and makes the future done. So nothing
 * here is called by the store, and the end of the engine ends the record as it ends all others.
 *
 * Invariants
 *   1. The op belongs to its record until the commit, then to the box, until its results are pushed.
 *   2. A tasklet that is closed while it waits leaves its box to the collector; the op is committed all the same.
 */
#include "binding/tasklet/tasklet.h"

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/table.h"

#define BOX_TYPE "pipeline.Parked"

enum { HOOK_BEGIN = 1, HOOK_WAIT, HOOK_DONE, HOOK_COUNT = HOOK_DONE };

typedef struct {
    pl_op_t *op; /* owned: committed, and not looked at yet */
} box_t;

static const char HOOKS = 0; /* its address is the key of the hooks in the registry */

static int box_gc(lua_State *L) {
    box_t *box = luaL_checkudata(L, 1, BOX_TYPE);
    pl_op_free(box->op);
    box->op = NULL;
    return 0;
}

/* Pushes a hook; returns whether there is one. */
static bool push_hook(lua_State *L, int which) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &HOOKS) == LUA_TTABLE)
        lua_rawgeti(L, -1, which);
    else
        lua_pushnil(L);
    lua_remove(L, -2);
    return lua_isfunction(L, -1);
}

/* ---- when the op is committed -------------------------------------------------------------------------------- */

static int nothing(lua_State *L) {
    (void)L;
    return 0;
}

/* Pushes the box that is linked to the record, or nil, and takes the link away. Stack: engine. */
static box_t *take_link(lua_State *L, const pl__coroutine_t *rec) {
    lua_getiuservalue(L, 1, PL__UV_LINKS);
    lua_rawgetp(L, -1, rec);
    lua_pushnil(L);
    lua_rawsetp(L, -3, rec);
    lua_remove(L, -2);
    return lua_touserdata(L, -1);
}

/* The op goes into its box; the coroutine is to call the hook with the future. */
static int job_push(lua_State *L, void *data) {
    pl__coroutine_t *rec = data;
    box_t *box = take_link(L, rec);
    if (!box || !push_hook(L, HOOK_DONE)) { /* the record frees the op */
        lua_pushcfunction(L, nothing);
        return 0;
    }
    box->op = rec->op;
    rec->op = NULL;
    lua_getiuservalue(L, -2, 1);
    lua_remove(L, -3);
    return 1;
}

/* Whatever happened: the library of tasklets ends the waits of an engine that is closed. */
static void job_gone(void *data, bool ok) {
    (void)data;
    (void)ok;
}

/* ---- waiting ----------------------------------------------------------------------------------------------- */

/* Stack: engine -> box, with the future as its user value; or nil. Protected. */
static int prepare(lua_State *L) {
    if (!push_hook(L, HOOK_BEGIN))
        return 0;
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (lua_isnil(L, -1))
        return 0;
    box_t *box = lua_newuserdatauv(L, sizeof *box, 1);
    box->op = NULL;
    luaL_setmetatable(L, BOX_TYPE);
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

static void set_link(lua_State *L, int box, const pl__coroutine_t *rec) {
    lua_getiuservalue(L, 1, PL__UV_LINKS);
    lua_pushvalue(L, box);
    lua_rawsetp(L, -2, rec);
    lua_pop(L, 1);
}

/* The tasklet goes on. The box is at the index that the context says. */
static int waited_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    box_t *box = lua_touserdata(L, (int)context);
    pl_op_t *op = box->op;
    if (!op)
        return pl__push_failure(L, PL_ECLOSED, "the engine was closed meanwhile");
    box->op = NULL;
    return pl__push_results(L, op);
}

bool pl__tasklet_await_op(lua_State *L, pl__handle_t *h, pl_op_t *op, int *results) {
    static const pl__job_t JOB = { .push = job_push, .gone = job_gone };
    if (h->closing || !lua_isyieldable(L) || !lua_checkstack(L, LUA_MINSTACK))
        return false;
    lua_pushcfunction(L, prepare);
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        pl_op_free(op);
        (void)lua_error(L);
    }
    int index = lua_gettop(L);
    const pl__coroutine_t *rec = NULL;
    if (!lua_isnil(L, index) && h->engine)
        rec = pl__coroutine_park(h, &JOB, op);
    if (!rec) {
        lua_pop(L, 1);
        return false;
    }
    set_link(L, index, rec); /* nothing comes back before the loop has its turn */
    (void)push_hook(L, HOOK_WAIT);
    lua_getiuservalue(L, index, 1);
    lua_callk(L, 1, 0, index, waited_k);
    *results = waited_k(L, LUA_OK, index);
    return true;
}

/* core.set_tasklets(begin, wait, done); see tasklet.h. */
static int core_set_tasklets(lua_State *L) {
    lua_settop(L, HOOK_COUNT);
    for (int i = 1; i <= HOOK_COUNT; i++)
        luaL_checktype(L, i, LUA_TFUNCTION);
    lua_createtable(L, HOOK_COUNT, 0);
    lua_insert(L, 1);
    for (int i = HOOK_COUNT; i >= 1; i--)
        lua_rawseti(L, 1, i);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &HOOKS);
    return 0;
}

void pl__tasklet_register(lua_State *L) {
    if (luaL_newmetatable(L, BOX_TYPE)) {
        lua_pushcfunction(L, box_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, core_set_tasklets);
    lua_setfield(L, -2, "set_tasklets");
}
