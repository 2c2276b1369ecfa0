/*
 * shared.h - what the functions that take the steps of tasklets (step.c), and that start them (launch.c), share: their
 * upvalues, the fields of the tables they work on, and the queue of a loop.
 *
 * Tasks, futures, loops and workers are the tables described in lua/pipeline/tasklet/task.lua, future.lua and
 * eventloop.lua. Fields are read without metamethods: those read here are set in every object, or their default is as
 * good as nil.
 */
#ifndef PL_BINDING_TASKLET_SHARED_H
#define PL_BINDING_TASKLET_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include "binding/tasklet/worker.h"
#include "binding/whose.h"

#define FINISHING 2 /* as in future.lua */

/* Fields with numbers: of loops, as in eventloop.lua; of tasks, as in task.lua. */
enum { AT = 1, LAST, CURRENT, COUNT, LATER, AWAKE, STOPPING, FRUITLESS, TIMERS };
enum { T_BODY = 1, T_WORKER, T_ON, T_PLACE, T_MADE, T_MAKER, T_COUNT = T_MAKER };

/* What the functions share: their upvalues. The first of them are those of `start`, of which there are many; it has two
 * of its own after them. Others have all, and `await` one of its own. Those named K_ are the names of fields. */
#define FIRST_GIVEN(X) X(task_meta) X(common) X(arouse) X(single) X(stepping) X(virtual) X(loop) X(current)
#define FIRST_KEYS(X) X(loop)
#define GIVEN(X)                                                                                                       \
    X(handler) X(soon_meta) X(commit_meta) X(kinds) X(none) X(settle) X(add) X(complete) X(results) X(serves)
#define KEYS(X) X(state) X(value) X(first) X(rest) X(now) X(how) X(go) X(clock) X(cancelled)

#define UPVALUE(name) UP_##name,
#define KEY(name) K_##name,
enum {
    UP_SHARED = 1, /* shared_t */
    UP_PLACES,     /* of pl__worker_push_where */
    FIRST_GIVEN(UPVALUE) FIRST_KEYS(KEY) FIRST_END,
    UP_BODY = FIRST_END, /* of start */
    UP_START,
    UP_IDLE = FIRST_END, /* the list of idle workers */
    GIVEN(UPVALUE) KEYS(KEY) UP_END,
    UP_AWAIT = UP_END /* of await */
};
#undef UPVALUE
#undef KEY

typedef struct {
    lua_State *co; /* of the task that runs; NULL outside */
    pl__workers_t *workers;
    bool has_contexts;
    bool has_runs;   /* a run has started a tasklet: then tasks may have the field RUN */
    bool has_makers; /* a tasklet was made in a coroutine of an engine: those that tasklets make inherit it */
    pl__whose_t *whose;
} shared_t;

#define RUN "run_of" /* field of a task: which run has started it, see watch.h */

/* ---- fields ------------------------------------------------------------------------------------------------ */

/* Pushes the field `key` of the table at `index`, which is not relative. */
static inline int get(lua_State *L, int index, int key) {
    lua_pushvalue(L, lua_upvalueindex(key));
    return lua_rawget(L, index);
}

/* Sets the field to the value on the top of the stack, and pops it. */
static inline void set(lua_State *L, int index, int key) {
    lua_pushvalue(L, lua_upvalueindex(key));
    lua_insert(L, -2);
    lua_rawset(L, index);
}

static inline void set_false(lua_State *L, int index, int key) {
    lua_pushvalue(L, lua_upvalueindex(key));
    lua_pushboolean(L, 0);
    lua_rawset(L, index);
}

static inline void set_integer(lua_State *L, int index, int key, lua_Integer value) {
    lua_pushvalue(L, lua_upvalueindex(key));
    lua_pushinteger(L, value);
    lua_rawset(L, index);
}

static inline bool is_set(lua_State *L, int index, int key) {
    get(L, index, key);
    bool found = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return found;
}

/* The field with that number of the table at `index`, which is an integer. */
static inline lua_Integer number_of(lua_State *L, int index, int field) {
    lua_rawgeti(L, index, field);
    lua_Integer value = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

static inline void set_number(lua_State *L, int index, int field, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_rawseti(L, index, field);
}

static inline void clear_field(lua_State *L, int index, int field) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, index, field);
}

static inline bool is_true(lua_State *L, int index, int field) {
    lua_rawgeti(L, index, field);
    bool found = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return found;
}

static inline bool is_finishing(lua_State *L, int index) {
    get(L, index, K_state);
    bool found = lua_tointeger(L, -1) == FINISHING;
    lua_pop(L, 1);
    return found;
}

static inline bool is_of(lua_State *L, int index, int meta) {
    if (!lua_getmetatable(L, index))
        return false;
    bool found = lua_rawequal(L, -1, lua_upvalueindex(meta));
    lua_pop(L, 1);
    return found;
}

/* Whether the metatable of the value at `index` is that of tasks. */
static inline bool is_task(lua_State *L, int index) {
    return is_of(L, index, UP_task_meta);
}

static inline shared_t *shared(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(UP_SHARED));
}

/* ---- the queue of the loop --------------------------------------------------------------------------------- */

/* Pushes the loop of the task or future at `index`. */
static inline void push_loop(lua_State *L, int index) {
    if (get(L, index, K_loop) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushvalue(L, lua_upvalueindex(UP_common));
    }
}

/* As Loop.push: queues the entry at `index` on the loop at the top of the stack, and pops that. */
static inline void queue(lua_State *L, int index) {
    int loop = lua_gettop(L);
    lua_Integer n = number_of(L, loop, COUNT) + 1;
    set_number(L, loop, COUNT, n);
    lua_rawgeti(L, loop, LATER);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, n);
    if (!is_true(L, loop, AWAKE)) {
        lua_pushvalue(L, lua_upvalueindex(UP_arouse));
        lua_pushvalue(L, loop);
        lua_call(L, 1, 0);
    }
    lua_settop(L, loop - 1);
}

/* Queues the task at `index` on its loop. */
static inline void push_task(lua_State *L, int index) {
    push_loop(L, index);
    queue(L, index);
}

/* The task or future at `index` is done; its value is set. */
static inline void complete(lua_State *L, int index) {
    int kind = get(L, index, K_first);
    int first = lua_gettop(L);
    bool simple = kind == LUA_TBOOLEAN || kind == LUA_TNIL ||
                  (kind == LUA_TTABLE && is_task(L, first) && !is_set(L, index, K_rest) && !is_set(L, index, K_now));
    if (!simple) {
        lua_pushvalue(L, lua_upvalueindex(UP_complete));
        lua_pushvalue(L, index);
        lua_call(L, 1, 0);
        return;
    }
    set_integer(L, index, K_state, FINISHING);
    if (kind != LUA_TTABLE)
        return;
    set_false(L, index, K_first);
    push_task(L, first);
}

/* Pushes the loop the running code belongs to: as eventloop.current. */
static inline void push_current_loop(lua_State *L) {
    lua_rawgeti(L, lua_upvalueindex(UP_stepping), 1);
    if (lua_toboolean(L, -1))
        return;
    lua_pop(L, 1);
    if (lua_rawlen(L, lua_upvalueindex(UP_virtual)) == 0) {
        lua_pushvalue(L, lua_upvalueindex(UP_common));
        return;
    }
    lua_pushvalue(L, lua_upvalueindex(UP_loop));
    lua_call(L, 0, 1);
}

#endif
