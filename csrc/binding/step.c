/*
 * step.c - what lua/pipeline/tasklet/task.lua does for every step of every tasklet. See step.h.
 *
 * Tasks, futures, loops and workers are the tables described there and in future.lua and eventloop.lua. This file only
 * takes the steps nearly all tasklets take, and with the same result as the functions in Lua it is given: whatever is
 * out of the ordinary (a second waiter, several results, an error, a yield of somebody else, a tasklet that has
 * cancelled itself) is left to those. Fields are read without metamethods: those read here are set in every object, or
 * their default is as good as nil.
 *
 * Invariants
 *   1. current[1] is the task that runs and shared_t.co its coroutine while its coroutine runs, and what they were
 *      before when it has come back, however it did.
 *   2. Between the end of a coroutine's step and the entry of its task where it waits nothing of the user's runs.
 */
#include "binding/step.h"

#include <stdbool.h>
#include <stdint.h>

#include <lauxlib.h>

#include "binding/worker.h"

#define FINISHING 2                                           /* as in future.lua */
enum { AT = 1, LAST = 2, CURRENT = 3, COUNT = 4, LATER = 5 }; /* as in eventloop.lua */
#define WORKERS_IDLE_MAX 512

/* What the functions for tasks share: their upvalues. Those after UP_KEYS are names of fields. */
#define GIVEN(X)                                                                                                       \
    X(current) X(new_worker) X(task_meta) X(kinds) X(common) X(none) X(single) X(settle) X(add) X(complete) X(arouse)
#define KEYS(X) X(state) X(value) X(first) X(rest) X(now) X(on) X(worker) X(body) X(made) X(loop) X(co) X(awake)

enum {
    UP_SHARED = 1, /* shared_t */
    UP_IDLE,       /* workers without a body */
    UP_PLACES,     /* of pl__worker_push_where */
#define ENTRY(name) UP_##name,
    GIVEN(ENTRY)
#undef ENTRY
#define ENTRY(name) K_##name,
        KEYS(ENTRY)
#undef ENTRY
            UP_END
};

typedef struct {
    lua_State *co; /* of the task that runs; NULL outside */
    int idle;
} shared_t;

/* ---- fields ------------------------------------------------------------------------------------------------ */

/* Pushes the field `key` of the table at `index`, which is not relative. */
static int get(lua_State *L, int index, int key) {
    lua_pushvalue(L, lua_upvalueindex(key));
    return lua_rawget(L, index);
}

/* Sets the field to the value on the top of the stack, and pops it. */
static void set(lua_State *L, int index, int key) {
    lua_pushvalue(L, lua_upvalueindex(key));
    lua_insert(L, -2);
    lua_rawset(L, index);
}

static void set_false(lua_State *L, int index, int key) {
    lua_pushvalue(L, lua_upvalueindex(key));
    lua_pushboolean(L, 0);
    lua_rawset(L, index);
}

static void set_integer(lua_State *L, int index, int key, lua_Integer value) {
    lua_pushvalue(L, lua_upvalueindex(key));
    lua_pushinteger(L, value);
    lua_rawset(L, index);
}

static bool is_set(lua_State *L, int index, int key) {
    get(L, index, key);
    bool found = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return found;
}

static bool is_finishing(lua_State *L, int index) {
    get(L, index, K_state);
    bool found = lua_tointeger(L, -1) == FINISHING;
    lua_pop(L, 1);
    return found;
}

/* Whether the metatable of the value at `index` is that of tasks. */
static bool is_task(lua_State *L, int index) {
    if (!lua_getmetatable(L, index))
        return false;
    bool found = lua_rawequal(L, -1, lua_upvalueindex(UP_task_meta));
    lua_pop(L, 1);
    return found;
}

static shared_t *shared(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(UP_SHARED));
}

static void push_mark(lua_State *L, const void *mark) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)mark);
}

/* ---- the queue of the loop --------------------------------------------------------------------------------- */

/* As Loop.push: queues the task at `index` on its loop. */
static void push_task(lua_State *L, int index) {
    if (get(L, index, K_loop) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushvalue(L, lua_upvalueindex(UP_common));
    }
    int loop = lua_gettop(L);
    lua_rawgeti(L, loop, COUNT);
    lua_Integer n = lua_tointeger(L, -1) + 1;
    lua_pushinteger(L, n);
    lua_rawseti(L, loop, COUNT);
    lua_rawgeti(L, loop, LATER);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, n);
    if (!is_set(L, loop, K_awake)) {
        lua_pushvalue(L, lua_upvalueindex(UP_arouse));
        lua_pushvalue(L, loop);
        lua_call(L, 1, 0);
    }
    lua_settop(L, loop - 1);
}

/* ---- workers ----------------------------------------------------------------------------------------------- */

/* Pushes a worker that has nothing to do. */
static void push_worker(lua_State *L) {
    shared_t *self = shared(L);
    if (self->idle > 0) {
        lua_rawgeti(L, lua_upvalueindex(UP_IDLE), self->idle);
        lua_pushnil(L);
        lua_rawseti(L, lua_upvalueindex(UP_IDLE), self->idle--);
        return;
    }
    lua_pushvalue(L, lua_upvalueindex(UP_new_worker));
    lua_call(L, 0, 1);
}

/* The worker at `index` has done its work. */
static void put_worker(lua_State *L, int index) {
    shared_t *self = shared(L);
    if (self->idle >= WORKERS_IDLE_MAX)
        return; /* collected: there is nothing in it to close */
    lua_pushvalue(L, index);
    lua_rawseti(L, lua_upvalueindex(UP_IDLE), ++self->idle);
}

/* ---- run --------------------------------------------------------------------------------------------------- */

enum { TASK = 1, WORKER, BEFORE, RESULT }; /* the stack of run */

/* The tasklet waits for the future at RESULT + 1. */
static void settle_wait(lua_State *L, bool is_new) {
    int on = RESULT + 1;
    if (is_new) {
        lua_pushvalue(L, WORKER);
        set(L, TASK, K_worker);
    }
    if (is_finishing(L, on)) {
        push_task(L, TASK);
    } else if (is_set(L, on, K_rest) || is_set(L, on, K_first)) {
        lua_pushvalue(L, lua_upvalueindex(UP_add));
        lua_pushvalue(L, on);
        lua_pushvalue(L, TASK);
        lua_call(L, 2, 1);
        set(L, TASK, K_value);
    } else {
        lua_pushvalue(L, TASK);
        set(L, on, K_first);
        set_integer(L, TASK, K_value, 0);
    }
    lua_pushvalue(L, on);
    set(L, TASK, K_on);
}

/* The task is done; its value is set. */
static void complete(lua_State *L) {
    int kind = get(L, TASK, K_first);
    int first = lua_gettop(L);
    bool simple = kind == LUA_TBOOLEAN ||
                  (kind == LUA_TTABLE && is_task(L, first) && !is_set(L, TASK, K_rest) && !is_set(L, TASK, K_now));
    if (!simple) {
        lua_pushvalue(L, lua_upvalueindex(UP_complete));
        lua_pushvalue(L, TASK);
        lua_call(L, 1, 0);
        return;
    }
    set_integer(L, TASK, K_state, FINISHING);
    if (kind == LUA_TBOOLEAN)
        return;
    set_false(L, TASK, K_first);
    push_task(L, first);
}

/* Leaves what has happened to the Lua function. From RESULT on lies what was yielded, or the error. */
static void settle_otherwise(lua_State *L, bool alive) {
    int nresults = lua_gettop(L) - RESULT + 1;
    lua_pushboolean(L, alive);
    lua_insert(L, RESULT);
    lua_pushvalue(L, lua_upvalueindex(UP_settle));
    lua_insert(L, RESULT);
    lua_pushvalue(L, TASK);
    lua_insert(L, RESULT + 1);
    lua_pushvalue(L, WORKER);
    lua_insert(L, RESULT + 2);
    lua_call(L, 3 + nresults, 0);
}

/* The coroutine came back: it waits, or it has ended. From RESULT on lies what it has yielded, or the error. */
static void settle(lua_State *L, bool is_new, bool alive) {
    const void *first = alive && lua_islightuserdata(L, RESULT) ? lua_touserdata(L, RESULT) : NULL;
    bool is_done = first == pl__worker_done(), is_usual = is_done || first == pl__worker_wait();
    lua_Integer n = is_done ? lua_tointeger(L, RESULT + 1) : 0;
    if (is_done)
        put_worker(L, WORKER);
    if (!is_usual || n < 0 || n > 1 || is_finishing(L, TASK)) {
        settle_otherwise(L, alive);
    } else if (is_done) {
        if (!is_new)
            set_false(L, TASK, K_worker);
        lua_pushvalue(L, n == 0 ? lua_upvalueindex(UP_none) : RESULT + 2);
        set(L, TASK, K_value);
        complete(L);
    } else {
        settle_wait(L, is_new);
    }
}

static void set_current(lua_State *L, int task, lua_State *co) {
    lua_pushvalue(L, task);
    lua_rawseti(L, lua_upvalueindex(UP_current), 1);
    shared(L)->co = co;
}

/* Pushes the packed arguments at `args` in its place; returns how many, -1: too many. */
static int unpack(lua_State *L, int args) {
    lua_getfield(L, args, "n");
    int n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (!lua_checkstack(L, n + LUA_MINSTACK))
        return -1;
    for (int i = 1; i <= n; i++)
        lua_rawgeti(L, args, i);
    lua_remove(L, args);
    return n;
}

/* Puts the arguments of the task, which lie at `args`, in their place on the stack; returns how many, -1: too many. */
static int take_arguments(lua_State *L, int args) {
    get(L, TASK, K_on);
    bool is_single = lua_rawequal(L, -1, lua_upvalueindex(UP_single));
    lua_pop(L, 1);
    int n = is_single ? 1 : unpack(L, args);
    set_false(L, TASK, K_value);
    set_false(L, TASK, K_on);
    return n;
}

/* Moves body and arguments of the task, not begun yet, to the coroutine. Returns how many values, -1: too many. */
static int begin(lua_State *L, lua_State *co) {
    int n = 0;
    get(L, TASK, K_body);
    if (get(L, TASK, K_value) == LUA_TBOOLEAN && !lua_toboolean(L, -1) && !is_set(L, TASK, K_on))
        lua_pop(L, 1);
    else
        n = take_arguments(L, lua_gettop(L));
    if (n < 0 || !lua_checkstack(co, n + LUA_MINSTACK))
        return -1;
    lua_xmove(L, co, n + 1);
    return n + 1;
}

/* Resumes the coroutine and puts what it gave at RESULT. Returns whether it has yielded. */
static bool resume(lua_State *L, lua_State *co, int nargs) {
    int n = 0;
    lua_State *before = shared(L)->co;
    set_current(L, TASK, co);
    int status = lua_resume(co, L, nargs, &n);
    lua_settop(L, BEFORE);
    set_current(L, BEFORE, before);
    if (status != LUA_YIELD)
        n = 1;
    if (lua_checkstack(L, n + LUA_MINSTACK)) {
        lua_xmove(co, L, n);
        return status == LUA_YIELD;
    }
    lua_pop(co, n);
    lua_pushliteral(L, "too many results of a tasklet");
    return false;
}

/* run(task): a step of a tasklet. */
static int run(lua_State *L) {
    lua_settop(L, 1);
    if (is_finishing(L, TASK))
        return 0;
    bool is_new = get(L, TASK, K_worker) != LUA_TTABLE;
    if (is_new) {
        lua_settop(L, 1);
        push_worker(L);
    }
    lua_rawgeti(L, lua_upvalueindex(UP_current), 1);
    get(L, WORKER, K_co);
    lua_State *co = lua_tothread(L, RESULT);
    int nargs = 0;
    if (is_new)
        nargs = begin(L, co);
    else
        set_false(L, TASK, K_on);
    if (nargs >= 0) {
        settle(L, is_new, resume(L, co, nargs));
    } else {
        lua_settop(L, BEFORE);
        lua_pushliteral(L, "too many arguments of a tasklet");
        settle_otherwise(L, false);
    }
    return 0;
}

/* ---- suspend ----------------------------------------------------------------------------------------------- */

static int resumed(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    lua_pushboolean(L, 1);
    return 1;
}

static bool is_future(lua_State *L, int index) {
    if (!lua_getmetatable(L, index))
        return false;
    bool found = lua_rawget(L, lua_upvalueindex(UP_kinds)) != LUA_TNIL;
    lua_pop(L, 1);
    return found;
}

/* suspend(future) -> true when the running tasklet was resumed; nothing, at once, if this is no tasklet, or cannot wait
 * here, or the argument is not just one future. */
static int suspend(lua_State *L) {
    if (shared(L)->co != L || lua_gettop(L) != 1 || !lua_isyieldable(L) || !is_future(L, 1))
        return 0;
    push_mark(L, pl__worker_wait());
    lua_insert(L, 1);
    return lua_yieldk(L, 2, 0, resumed);
}

/* is_inside() -> whether the running code is a tasklet. */
static int is_inside(lua_State *L) {
    lua_pushboolean(L, shared(L)->co == L);
    return 1;
}

/* ---- launch ------------------------------------------------------------------------------------------------ */

/* launch(task, level) -> task. A table becomes a task, made at that level of the stack, and is queued. */
static int launch(lua_State *L) {
    int level = (int)lua_tointeger(L, 2);
    lua_settop(L, 1);
    if (pl__worker_push_where(L, level, lua_upvalueindex(UP_PLACES)))
        set(L, TASK, K_made);
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(UP_task_meta));
    lua_setmetatable(L, TASK);
    push_task(L, TASK);
    return 1;
}

/* ---- drain ------------------------------------------------------------------------------------------------- */

#define DRAIN_KEYS(X) X(stopping) X(fruitless) X(go) X(state)

enum {
    D_FIRST = 0,
#define ENTRY(name) D_##name,
    DRAIN_KEYS(ENTRY)
#undef ENTRY
        D_END
};

enum { LOOP = 1, LIMIT, UNTIL, BATCH, ENTRY_AT }; /* the stack of drain */

static lua_Integer get_integer(lua_State *L, int index, int key) {
    get(L, index, key);
    lua_Integer value = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

/* Whether the batch is to be left: the loop was stopped or cleared, or the future that is waited for is done. */
static bool is_over(lua_State *L) {
    if (is_set(L, LOOP, D_stopping))
        return true;
    lua_rawgeti(L, LOOP, CURRENT);
    bool same = lua_rawequal(L, -1, BATCH);
    lua_pop(L, 1);
    return !same || (lua_type(L, UNTIL) == LUA_TTABLE && get_integer(L, UNTIL, D_state) == FINISHING);
}

/* drain(loop, limit [, future]) -> steps. Takes the entries of the batch that is being worked off, at most `limit` of
 * them, until the loop is stopped or the future is done. */
static int drain(lua_State *L) {
    lua_settop(L, UNTIL);
    lua_Integer limit = lua_tointeger(L, LIMIT), steps = 0;
    lua_rawgeti(L, LOOP, CURRENT);
    lua_rawgeti(L, LOOP, AT);
    lua_rawgeti(L, LOOP, LAST);
    lua_Integer at = lua_tointeger(L, -2), last = lua_tointeger(L, -1);
    lua_pop(L, 2);
    set_integer(L, LOOP, D_fruitless, 0);
    while (steps < limit && at < last) {
        steps++;
        at++;
        lua_pushinteger(L, at);
        lua_rawseti(L, LOOP, AT);
        lua_rawgeti(L, BATCH, at);
        lua_pushboolean(L, 0);
        lua_rawseti(L, BATCH, at);
        lua_pushvalue(L, lua_upvalueindex(D_go));
        lua_gettable(L, ENTRY_AT);
        lua_insert(L, ENTRY_AT);
        lua_call(L, 1, 0);
        if (is_over(L))
            break;
    }
    lua_pushinteger(L, steps);
    return 1;
}

/* ---- registration ------------------------------------------------------------------------------------------ */

static void push_strings(lua_State *L, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        lua_pushstring(L, names[i]);
}

/* Stack: what is given, shared_t, idle, places. */
static void push_closure(lua_State *L, lua_CFunction fn) {
#define ENTRY(name) #name,
    static const char *const FIELDS[] = { GIVEN(ENTRY) };
    static const char *const NAMES[] = { KEYS(ENTRY) };
#undef ENTRY
    luaL_checkstack(L, UP_END, NULL);
    for (int i = UP_SHARED; i <= UP_PLACES; i++)
        lua_pushvalue(L, 1 + i);
    for (size_t i = 0; i < sizeof(FIELDS) / sizeof(FIELDS[0]); i++)
        lua_getfield(L, 1, FIELDS[i]);
    push_strings(L, NAMES, sizeof(NAMES) / sizeof(NAMES[0]));
    lua_pushcclosure(L, fn, UP_END - 1);
}

/* core.tasklets{current =, new_worker =, ...} -> run, suspend, is_inside, launch; and DONE, WAIT, which are yielded. */
static int core_tasklets(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    shared_t *self = lua_newuserdatauv(L, sizeof(*self), 0);
    *self = (shared_t){ NULL, 0 };
    lua_newtable(L);
    lua_newtable(L);
    push_closure(L, run);
    push_closure(L, suspend);
    push_closure(L, is_inside);
    push_closure(L, launch);
    push_mark(L, pl__worker_done());
    push_mark(L, pl__worker_wait());
    return 6;
}

void pl__step_register(lua_State *L) {
#define ENTRY(name) #name,
    static const char *const NAMES[] = { DRAIN_KEYS(ENTRY) };
#undef ENTRY
    lua_pushcfunction(L, core_tasklets);
    lua_setfield(L, -2, "tasklets");
    push_strings(L, NAMES, sizeof(NAMES) / sizeof(NAMES[0]));
    lua_pushcclosure(L, drain, D_END - 1);
    lua_setfield(L, -2, "drain");
}
