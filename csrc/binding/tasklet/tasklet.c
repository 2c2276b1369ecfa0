/*
 * tasklet.c - ops that a tasklet waits for. See tasklet.h.
 *
 * Design. The op belongs to a record of the engine's, like any other that somebody waits for; but the record has no
 * coroutine. What waits is the tasklet, for a future that nobody else has. When the op is committed it goes into the
 * box that waits on the stack of the tasklet, and the future is done. So nothing here is called by the store, and the
 * end of the engine ends the record as it ends all others.
 *
 * Invariants
 *   1. The op belongs to its record until the commit, then to the box, until its results are pushed.
 *   2. A tasklet that is closed while it waits leaves its box to the collector; the op is committed all the same.
 *   3. While an op is on its way its box is in PL__UV_ANCHORS, in the place of the record's worker, and has the future
 *      as its user value.
 */
#include "binding/tasklet/tasklet.h"

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/table.h"
#include "binding/tasklet/shared.h"

#define BOX_TYPE "pipeline.Parked"

enum { HOOK_BEGIN = 1, HOOK_DONE, HOOK_COUNT = HOOK_DONE };

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

void pl__tasklet_set_hooks(lua_State *L) {
    lua_createtable(L, HOOK_COUNT, 0);
    lua_insert(L, -HOOK_COUNT - 1);
    for (int i = HOOK_COUNT; i >= 1; i--)
        lua_rawseti(L, -i - 1, i);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &HOOKS);
}

/* ---- the future ------------------------------------------------------------------------------------------------ */

int pl__tasklet_begin(lua_State *L) {
    enum { ENGINE = 1, ITS_LOOP, FUTURE };
    lua_settop(L, ENGINE);
    if (shared(L)->co != L)
        return 0;
    push_current_loop(L);
    lua_pushvalue(L, lua_upvalueindex(UP_serves));
    lua_pushvalue(L, ITS_LOOP);
    lua_pushvalue(L, ENGINE);
    lua_call(L, 2, 1);
    if (!lua_toboolean(L, -1))
        return 0;
    lua_settop(L, ITS_LOOP);
    lua_createtable(L, 0, 4);
    if (!lua_rawequal(L, ITS_LOOP, lua_upvalueindex(UP_common))) {
        lua_pushvalue(L, ITS_LOOP);
        set(L, FUTURE, K_loop);
    }
    lua_pushvalue(L, lua_upvalueindex(UP_commit_meta));
    lua_setmetatable(L, FUTURE);
    return 1;
}

int pl__tasklet_done(lua_State *L) {
    lua_settop(L, 1);
    if (is_finishing(L, 1))
        return 0;
    lua_pushvalue(L, lua_upvalueindex(UP_none));
    set(L, 1, K_value);
    complete(L, 1);
    return 0;
}

/* ---- when the op is committed ---------------------------------------------------------------------------------- */

/* Stack: engine -> engine, box or what else is there, its future or nil. */
static box_t *push_box(lua_State *L, int place) {
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_rawgeti(L, -1, place);
    lua_pushnil(L);
    lua_rawseti(L, -3, place);
    lua_remove(L, -2);
    box_t *box = luaL_testudata(L, -1, BOX_TYPE);
    if (box)
        lua_getiuservalue(L, -1, 1);
    else
        lua_pushnil(L);
    return box;
}

/* Stack: ..., future -> ... */
static void call_done(lua_State *L) {
    if (push_hook(L, HOOK_DONE)) {
        lua_insert(L, -2);
        lua_call(L, 1, 0);
    } else {
        lua_pop(L, 2);
    }
}

/* The op goes into its box, and the tasklet goes on. */
static void op_back(lua_State *L, void *data) {
    pl__coroutine_t *rec = data;
    box_t *box = push_box(L, rec->index);
    if (!box) /* nobody waits: the record frees the op */
        return;
    box->op = rec->op;
    rec->op = NULL;
    call_done(L);
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

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
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_pushvalue(L, box);
    lua_rawseti(L, -2, rec->index);
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

int pl__tasklet_await_op(lua_State *L, pl__handle_t *h, pl_op_t *op) {
    static const pl__job_t JOB = { .direct = op_back };
    if (!h->whose->is_tasklet || h->closing || !lua_isyieldable(L) || !lua_checkstack(L, LUA_MINSTACK))
        return -1;
    lua_pushcfunction(L, prepare);
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        pl_op_free(op);
        return lua_error(L);
    }
    int index = lua_gettop(L);
    const pl__coroutine_t *rec = NULL;
    if (!lua_isnil(L, index) && h->engine)
        rec = pl__coroutine_park(h, &JOB, op);
    if (!rec) {
        lua_pop(L, 1);
        return -1;
    }
    set_link(L, index, rec); /* nothing comes back before the loop has its turn */
    lua_getiuservalue(L, index, 1);
    return pl__worker_wait(L, 1, index, waited_k);
}

/* e:end_waits(): the engine is closed, and nothing comes back any more: whoever waits for it goes on. After a fork the
 * workers that are left belong to the parent's coroutines, and stay. */
static int engine_end_waits(lua_State *L) {
    enum { ANCHORS = 2, KEY, VALUE };
    (void)pl__handle_check(L, 1);
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_pushnil(L);
    while (lua_next(L, ANCHORS)) {
        if (luaL_testudata(L, VALUE, BOX_TYPE)) {
            lua_pushvalue(L, KEY);
            lua_pushnil(L);
            lua_rawset(L, ANCHORS);
            lua_getiuservalue(L, VALUE, 1);
            call_done(L);
        }
        lua_settop(L, KEY);
    }
    return 0;
}

void pl__tasklet_register(lua_State *L) {
    if (luaL_newmetatable(L, BOX_TYPE)) {
        lua_pushcfunction(L, box_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
}

void pl__tasklet_register_methods(lua_State *L) {
    lua_pushcfunction(L, engine_end_waits);
    lua_setfield(L, -2, "end_waits");
}
