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
 *   3. A sleep of no time ends in drain as it does in eventloop.lua: when no immediate callback is left, before the
 *      timers that are due after it, and as one step; who waits for it takes the next.
 */
#include "binding/tasklet/step.h"

#include <stdbool.h>
#include <stdint.h>

#include <lauxlib.h>

#include "binding/handle.h"
#include "binding/tasklet/timetable.h"
#include "binding/tasklet/worker.h"
#include "binding/watch.h"
#include "binding/whose.h"

#define FINISHING 2 /* as in future.lua */
#define WORKERS_IDLE_MAX 512
#define QUEUE_KEPT_MAX 8192 /* as in eventloop.lua */

/* Fields with numbers: of loops, as in eventloop.lua; of tasks and workers, as in task.lua. */
enum { AT = 1, LAST, CURRENT, COUNT, LATER, AWAKE, STOPPING, FRUITLESS, TIMERS };
enum { T_BODY = 1, T_WORKER, T_ON, T_PLACE, T_MADE, T_MAKER, T_COUNT = T_MAKER };
enum { W_CO = 1 };

/* What the functions share: their upvalues. The first of them are those of `start`, of which there are many; it has two
 * of its own after them. Others have all, and `await` one of its own. Those named K_ are the names of fields. */
#define FIRST_GIVEN(X) X(task_meta) X(common) X(arouse) X(single) X(stepping) X(virtual) X(loop) X(current)
#define FIRST_KEYS(X) X(loop)
#define GIVEN(X) X(new_worker) X(soon_meta) X(kinds) X(none) X(settle) X(add) X(complete) X(results)
#define KEYS(X) X(state) X(value) X(first) X(rest) X(now) X(how) X(go) X(clock) X(cancelled)

#define UPVALUE(name) UP_##name,
#define KEY(name) K_##name,
enum {
    UP_SHARED = 1, /* shared_t */
    UP_PLACES,     /* of pl__worker_push_where */
    FIRST_GIVEN(UPVALUE) FIRST_KEYS(KEY) FIRST_END,
    UP_BODY = FIRST_END, /* of start */
    UP_START,
    UP_IDLE = FIRST_END, /* workers without a body */
    GIVEN(UPVALUE) KEYS(KEY) UP_END,
    UP_AWAIT = UP_END /* of await */
};
#undef UPVALUE
#undef KEY

typedef struct {
    lua_State *co; /* of the task that runs; NULL outside */
    int idle;
    bool has_contexts;
    bool has_runs;   /* a run has started a tasklet: then tasks may have the field RUN */
    bool has_makers; /* a tasklet was made in a coroutine of an engine: those that tasklets make inherit it */
    pl__whose_t *whose;
} shared_t;

static const char *const RUN = "run_of"; /* which run has started it: see watch.h */

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

/* The field with that number of the table at `index`, which is an integer. */
static lua_Integer number_of(lua_State *L, int index, int field) {
    lua_rawgeti(L, index, field);
    lua_Integer value = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

static void set_number(lua_State *L, int index, int field, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_rawseti(L, index, field);
}

static void clear_field(lua_State *L, int index, int field) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, index, field);
}

static bool is_true(lua_State *L, int index, int field) {
    lua_rawgeti(L, index, field);
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

static bool is_of(lua_State *L, int index, int meta) {
    if (!lua_getmetatable(L, index))
        return false;
    bool found = lua_rawequal(L, -1, lua_upvalueindex(meta));
    lua_pop(L, 1);
    return found;
}

/* Whether the metatable of the value at `index` is that of tasks. */
static bool is_task(lua_State *L, int index) {
    return is_of(L, index, UP_task_meta);
}

static shared_t *shared(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(UP_SHARED));
}

static void push_mark(lua_State *L, const void *mark) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)mark);
}

/* ---- the queue of the loop --------------------------------------------------------------------------------- */

/* Pushes the loop of the task or future at `index`. */
static void push_loop(lua_State *L, int index) {
    if (get(L, index, K_loop) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushvalue(L, lua_upvalueindex(UP_common));
    }
}

/* As Loop.push: queues the entry at `index` on the loop at the top of the stack, and pops that. */
static void queue(lua_State *L, int index) {
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
static void push_task(lua_State *L, int index) {
    push_loop(L, index);
    queue(L, index);
}

/* Makes what was queued the batch that is worked off, if that has come to its end. Returns whether there is anything in
 * it. */
static bool next_batch(lua_State *L, int loop) {
    lua_Integer end = number_of(L, loop, LAST);
    if (number_of(L, loop, AT) < end)
        return true;
    if (number_of(L, loop, COUNT) == 0)
        return false;
    if (end > QUEUE_KEPT_MAX)
        lua_newtable(L); /* before anything is moved: a finalizer may queue something meanwhile */
    else
        lua_rawgeti(L, loop, CURRENT);
    lua_rawgeti(L, loop, LATER);
    lua_rawseti(L, loop, CURRENT);
    lua_rawseti(L, loop, LATER);
    set_number(L, loop, LAST, number_of(L, loop, COUNT));
    set_number(L, loop, AT, 0);
    set_number(L, loop, COUNT, 0);
    return true;
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

/* The stack of run, and of drain. */
enum { LOOP = 1, LIMIT, UNTIL, BATCH, TASK, WORKER, BEFORE, RESULT };

/* The tasklet waits for the future at RESULT + 1. */
static void settle_wait(lua_State *L, bool is_new) {
    int on = RESULT + 1;
    if (is_new) {
        lua_pushvalue(L, WORKER);
        lua_rawseti(L, TASK, T_WORKER);
    }
    if (is_finishing(L, on)) {
        push_task(L, TASK);
    } else if (is_set(L, on, K_rest) || is_set(L, on, K_first)) {
        lua_pushvalue(L, lua_upvalueindex(UP_add));
        lua_pushvalue(L, on);
        lua_pushvalue(L, TASK);
        lua_call(L, 2, 1);
        lua_rawseti(L, TASK, T_PLACE);
    } else {
        lua_pushvalue(L, TASK);
        set(L, on, K_first);
        set_number(L, TASK, T_PLACE, 0);
    }
    lua_pushvalue(L, on);
    lua_rawseti(L, TASK, T_ON);
}

/* The task is done; its value is set. */
static void complete(lua_State *L) {
    int kind = get(L, TASK, K_first);
    int first = lua_gettop(L);
    bool simple = kind == LUA_TBOOLEAN || kind == LUA_TNIL ||
                  (kind == LUA_TTABLE && is_task(L, first) && !is_set(L, TASK, K_rest) && !is_set(L, TASK, K_now));
    if (!simple) {
        lua_pushvalue(L, lua_upvalueindex(UP_complete));
        lua_pushvalue(L, TASK);
        lua_call(L, 1, 0);
        return;
    }
    set_integer(L, TASK, K_state, FINISHING);
    if (kind != LUA_TTABLE)
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
            clear_field(L, TASK, T_WORKER);
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

/* Moves body and arguments of the task, not begun yet, to the coroutine. Returns how many values, -1: too many. */
static int begin(lua_State *L, lua_State *co) {
    int n = 0;
    lua_rawgeti(L, TASK, T_BODY);
    lua_rawgeti(L, TASK, T_ON);
    bool is_single = lua_rawequal(L, -1, lua_upvalueindex(UP_single));
    lua_pop(L, 1);
    int kind = lua_rawgeti(L, TASK, T_PLACE);
    if (is_single)
        n = 1;
    else if (kind == LUA_TTABLE)
        n = unpack(L, lua_gettop(L));
    else
        lua_pop(L, 1);
    if (is_single || kind == LUA_TTABLE) {
        clear_field(L, TASK, T_PLACE);
        clear_field(L, TASK, T_ON);
    }
    if (n < 0 || !lua_checkstack(co, n + LUA_MINSTACK))
        return -1;
    lua_xmove(L, co, n + 1);
    return n + 1;
}

/* The run that has started the task answers for it. Returns whether there is one, and it is not over. */
static bool watch(lua_State *L, pl__watched_t *self, lua_State *co) {
    lua_pushstring(L, RUN);
    bool is_watched = lua_rawget(L, TASK) == LUA_TUSERDATA && pl__watch_enter_tasklet(self, lua_touserdata(L, -1), co);
    lua_pop(L, 1);
    return is_watched;
}

/* Resumes the coroutine and puts what it gave at RESULT. Returns whether it has yielded. */
static bool resume(lua_State *L, lua_State *co, int nargs) {
    int n = 0;
    shared_t *self = shared(L);
    lua_State *before = self->co;
    pl__whose_t outer = *self->whose;
    pl__watched_t watched;
    bool is_watched = self->has_runs && watch(L, &watched, co);
    set_current(L, TASK, co);
    *self->whose = (pl__whose_t){ NULL, true };
    int status = lua_resume(co, L, nargs, &n);
    *self->whose = outer;
    if (is_watched)
        pl__watch_leave(&watched);
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

/* A step of the tasklet at TASK, where the stack ends. */
static void take_step(lua_State *L) {
    if (is_finishing(L, TASK))
        return;
    bool is_new = lua_rawgeti(L, TASK, T_WORKER) != LUA_TTABLE;
    if (is_new) {
        lua_settop(L, TASK);
        push_worker(L);
    }
    lua_rawgeti(L, lua_upvalueindex(UP_current), 1);
    lua_rawgeti(L, WORKER, W_CO);
    lua_State *co = lua_tothread(L, RESULT);
    int nargs = 0;
    if (is_new)
        nargs = begin(L, co);
    else
        clear_field(L, TASK, T_ON);
    if (nargs >= 0) {
        settle(L, is_new, resume(L, co, nargs));
    } else {
        lua_settop(L, BEFORE);
        lua_pushliteral(L, "too many arguments of a tasklet");
        settle_otherwise(L, false);
    }
}

/* run(task): a step of a tasklet. */
static int run(lua_State *L) {
    lua_settop(L, TASK);
    lua_pushvalue(L, 1);
    lua_replace(L, TASK);
    take_step(L);
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

/* Pushes the results of the future at index 1, which is done, or raises its error. Returns how many. */
static int push_results(lua_State *L) {
    if (!is_set(L, 1, K_how)) {
        get(L, 1, K_value);
        return lua_rawequal(L, -1, lua_upvalueindex(UP_none)) ? 0 : 1;
    }
    lua_pushvalue(L, lua_upvalueindex(UP_results));
    lua_pushvalue(L, 1);
    lua_call(L, 1, LUA_MULTRET);
    return lua_gettop(L) - 1;
}

static int awaited(lua_State *L, int status, lua_KContext context) {
    (void)status;
    return context == 0 ? lua_gettop(L) : push_results(L);
}

/* await(future, ...): see task.lua, whose function does all but the usual. */
static int await(lua_State *L) {
    if (shared(L)->co != L || lua_gettop(L) != 1 || !lua_isyieldable(L) || !is_future(L, 1)) {
        int n = lua_gettop(L);
        lua_pushvalue(L, lua_upvalueindex(UP_AWAIT));
        lua_insert(L, 1);
        lua_callk(L, n, LUA_MULTRET, 0, awaited);
        return lua_gettop(L);
    }
    push_mark(L, pl__worker_wait());
    lua_pushvalue(L, 1);
    return lua_yieldk(L, 2, 1, awaited);
}

/* is_inside() -> whether the running code is a tasklet. */
static int is_inside(lua_State *L) {
    lua_pushboolean(L, shared(L)->co == L);
    return 1;
}

/* ---- launch ------------------------------------------------------------------------------------------------ */

/* Should a run be executing, or a tasklet that a run has started, it answers for the task. */
static void note_run(lua_State *L, int task) {
    shared_t *self = shared(L);
    bool found = self->whose->engine ? pl__watch_push_run(L, self->whose->engine)
                                     : self->has_runs && pl__watch_push_run_of(L, self->co);
    if (!found)
        return;
    self->has_runs = true;
    lua_pushstring(L, RUN);
    lua_insert(L, -2);
    lua_rawset(L, task);
}

/* Notes the engine in whose coroutine the task is made, or that of the tasklet that makes it, unless it is noted: there
 * may be a second engine later. The handle is noted, which context.lua knows the engine by. */
static void note_maker(lua_State *L, int task) {
    shared_t *self = shared(L);
    if (self->has_contexts && lua_rawgeti(L, task, T_MAKER) == LUA_TUSERDATA) {
        self->has_makers = true;
        lua_settop(L, task + 1);
        return;
    }
    lua_settop(L, task + 1);
    const pl__whose_t *whose = self->whose;
    if (whose->engine) {
        pl__whose_push(L, whose->engine);
    } else if (whose->is_tasklet && self->has_makers) {
        lua_rawgeti(L, lua_upvalueindex(UP_current), 1);
        if (lua_istable(L, -1))
            lua_rawgeti(L, -1, T_MAKER);
    } else {
        return;
    }
    if (lua_isuserdata(L, -1)) {
        self->has_makers = true;
        lua_rawseti(L, task, T_MAKER);
    }
    lua_settop(L, task + 1);
}

/* The table at `task`, over which lies its loop alone, becomes a task made at that level of the stack, and is
 * queued. */
static void set_off(lua_State *L, int task, int level) {
    if (pl__worker_push_where(L, level, lua_upvalueindex(UP_PLACES)))
        lua_rawseti(L, task, T_MADE);
    lua_settop(L, task + 1);
    note_run(L, task);
    note_maker(L, task);
    lua_pushvalue(L, lua_upvalueindex(UP_task_meta));
    lua_setmetatable(L, task);
    queue(L, task);
}

/* launch(task, level) -> task. A table becomes a task, made at that level of the stack, and is queued. */
static int launch(lua_State *L) {
    int level = (int)lua_tointeger(L, 2);
    lua_settop(L, 1);
    push_loop(L, 1);
    set_off(L, 1, level);
    return 1;
}

/* Pushes the loop the running code belongs to: as eventloop.current. */
static void push_current_loop(lua_State *L) {
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

/* The arguments, which are the whole stack, go into one table. */
static void pack(lua_State *L) {
    int n = lua_gettop(L);
    lua_createtable(L, n, 1);
    lua_insert(L, 1);
    for (int i = n; i > 0; i--)
        lua_rawseti(L, 1, i);
    lua_pushinteger(L, n);
    lua_setfield(L, 1, "n");
}

/* start(...) -> task: a tasklet begins, with these arguments. */
static int start(lua_State *L) {
    int n = lua_gettop(L);
    if (shared(L)->has_contexts) {
        luaL_checkstack(L, 2, NULL);
        lua_pushvalue(L, lua_upvalueindex(UP_START));
        lua_insert(L, 1);
        lua_pushvalue(L, lua_upvalueindex(UP_BODY));
        lua_insert(L, 2);
        lua_call(L, n + 1, 1);
        return 1;
    }
    if (n > 1)
        pack(L);
    lua_settop(L, 1);
    lua_createtable(L, T_COUNT, 4);
    lua_insert(L, 1);
    lua_rawseti(L, 1, T_PLACE);
    lua_pushvalue(L, lua_upvalueindex(UP_BODY));
    lua_rawseti(L, 1, T_BODY);
    if (n == 1) {
        lua_pushvalue(L, lua_upvalueindex(UP_single));
        lua_rawseti(L, 1, T_ON);
    }
    push_current_loop(L);
    if (!lua_rawequal(L, -1, lua_upvalueindex(UP_common))) {
        lua_pushvalue(L, -1);
        set(L, 1, K_loop);
    }
    set_off(L, 1, 1);
    return 1;
}

/* starter(body, start) -> a function that starts the body as a tasklet. When there are contexts, start(body, ...)
 * does. */
static int starter(lua_State *L) {
    lua_settop(L, 2);
    luaL_checkstack(L, FIRST_END, NULL);
    for (int i = 1; i < FIRST_END; i++)
        lua_pushvalue(L, lua_upvalueindex(i));
    lua_rotate(L, 1, FIRST_END - 1);
    lua_pushcclosure(L, start, FIRST_END + 1);
    return 1;
}

/* awaiter(await) -> await, as the given one. */
static int awaiter(lua_State *L) {
    lua_settop(L, 1);
    luaL_checkstack(L, UP_END, NULL);
    for (int i = 1; i < UP_END; i++)
        lua_pushvalue(L, lua_upvalueindex(i));
    lua_rotate(L, 1, UP_END - 1);
    lua_pushcclosure(L, await, UP_END);
    return 1;
}

/* use_contexts(): there are contexts from now on. */
static int use_contexts(lua_State *L) {
    shared(L)->has_contexts = true;
    return 0;
}

/* ---- sleeps of no time ------------------------------------------------------------------------------------- */

/* Pushes the time of the loop at `index`, and returns it. */
static lua_Number push_time(lua_State *L, int index) {
    get(L, index, K_clock);
    get(L, lua_gettop(L), K_now);
    lua_replace(L, -2);
    lua_call(L, 0, 1);
    return lua_tonumber(L, -1);
}

/* soon() -> a sleep of no time, as Loop.add_soon adds it; nothing if this is no tasklet. */
static int soon(lua_State *L) {
    enum { LOOP_AT = 1, SLEEP, TIMETABLE };
    lua_settop(L, 0);
    if (shared(L)->co != L)
        return 0;
    push_current_loop(L);
    lua_createtable(L, 0, 4);
    lua_rawgeti(L, LOOP_AT, TIMERS);
    pl__timetable_add_soon(L, TIMETABLE, SLEEP, push_time(L, LOOP_AT));
    if (!lua_rawequal(L, LOOP_AT, lua_upvalueindex(UP_common))) {
        lua_pushvalue(L, LOOP_AT);
        set(L, SLEEP, K_loop);
    }
    lua_pushvalue(L, lua_upvalueindex(UP_soon_meta));
    lua_setmetatable(L, SLEEP);
    lua_settop(L, SLEEP);
    return 1;
}

/* ---- drain ------------------------------------------------------------------------------------------------- */

/* Whether the future that is waited for, if any, is done. */
static bool has_come(lua_State *L) {
    return lua_type(L, UNTIL) == LUA_TTABLE && is_finishing(L, UNTIL);
}

/* Whether the batch is to be left: the loop was stopped or cleared, or the future that is waited for is done. */
static bool is_over(lua_State *L) {
    if (is_true(L, LOOP, STOPPING))
        return true;
    lua_rawgeti(L, LOOP, CURRENT);
    bool same = lua_rawequal(L, -1, BATCH);
    lua_pop(L, 1);
    return !same || has_come(L);
}

/* Ends the sleep of no time that is the next timer, if it is one, and one task alone waits for it. Leaves that at TASK,
 * or nothing. Nobody waits for those that were cancelled, or are done. */
static bool end_sleep(lua_State *L) {
    enum { TIMETABLE = TASK, SLEEP, WHO };
    lua_rawgeti(L, LOOP, TIMERS);
    if (!pl__timetable_push_soon(L, TIMETABLE) || get(L, SLEEP, K_first) != LUA_TTABLE || !is_task(L, WHO) ||
        is_set(L, SLEEP, K_rest) || is_set(L, SLEEP, K_now)) {
        lua_settop(L, BATCH);
        return false;
    }
    pl__timetable_drop_soon(L, TIMETABLE);
    set_integer(L, SLEEP, K_state, FINISHING);
    set_false(L, SLEEP, K_first);
    lua_replace(L, TASK);
    lua_settop(L, TASK);
    return true;
}

/* Takes the next entry of the batch. */
static void take_entry(lua_State *L, lua_Integer at) {
    set_number(L, LOOP, AT, at);
    lua_rawgeti(L, BATCH, at);
    lua_pushboolean(L, 0);
    lua_rawseti(L, BATCH, at);
    if (is_task(L, TASK)) {
        take_step(L);
    } else {
        lua_pushvalue(L, lua_upvalueindex(K_go));
        lua_gettable(L, TASK);
        lua_insert(L, TASK);
        lua_call(L, 1, 0);
    }
    lua_settop(L, BATCH);
}

/* Takes the entries of the batch that is worked off, at most `limit`. Adds how many to *steps; returns whether drain is
 * to go on. */
static bool take_batch(lua_State *L, lua_Integer limit, lua_Integer *steps) {
    lua_settop(L, UNTIL);
    lua_rawgeti(L, LOOP, CURRENT);
    lua_Integer at = number_of(L, LOOP, AT), last = number_of(L, LOOP, LAST);
    while (*steps < limit && at < last) {
        ++*steps;
        take_entry(L, ++at);
        if (is_over(L))
            return false;
    }
    return true;
}

/* A sleep has ended, and nothing else is to be done: the task at TASK goes on, as if it had been queued. */
static bool go_on(lua_State *L, lua_Integer limit, lua_Integer *steps) {
    ++*steps;
    push_loop(L, TASK);
    bool at_once = *steps < limit && lua_rawequal(L, -1, LOOP) && !has_come(L);
    lua_pop(L, 1);
    if (at_once) {
        ++*steps;
        take_step(L);
    } else {
        push_task(L, TASK);
    }
    lua_settop(L, BATCH);
    return !is_over(L);
}

/* drain(loop, limit [, future]) -> steps. Takes immediate callbacks, at most `limit` of them, as long as there are any,
 * and ends sleeps of no time when there are none; until the loop is stopped or the future is done. */
static int drain(lua_State *L) {
    lua_settop(L, UNTIL);
    lua_Integer limit = lua_tointeger(L, LIMIT), steps = 0;
    bool more = true;
    lua_rawgeti(L, LOOP, CURRENT);
    set_number(L, LOOP, FRUITLESS, 0);
    while (more && steps < limit) {
        if (next_batch(L, LOOP))
            more = take_batch(L, limit, &steps);
        else
            more = end_sleep(L) && go_on(L, limit, &steps);
    }
    lua_pushinteger(L, steps);
    return 1;
}

/* ---- registration ------------------------------------------------------------------------------------------ */

static void push_strings(lua_State *L, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        lua_pushstring(L, names[i]);
}

static void push_fields(lua_State *L, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        lua_getfield(L, 1, names[i]);
}

#define COUNT_OF(list) (sizeof list / sizeof((list)[0]))

/* Stack: what is given, shared_t, places, idle. */
static void push_closure(lua_State *L, lua_CFunction fn) {
#define NAME(name) #name,
    static const char *const FIRST_FIELDS[] = { FIRST_GIVEN(NAME) }, *const FIRST_NAMES[] = { FIRST_KEYS(NAME) };
    static const char *const FIELDS[] = { GIVEN(NAME) }, *const NAMES[] = { KEYS(NAME) };
#undef NAME
    luaL_checkstack(L, UP_END, NULL);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    push_fields(L, FIRST_FIELDS, COUNT_OF(FIRST_FIELDS));
    push_strings(L, FIRST_NAMES, COUNT_OF(FIRST_NAMES));
    lua_pushvalue(L, 4);
    push_fields(L, FIELDS, COUNT_OF(FIELDS));
    push_strings(L, NAMES, COUNT_OF(NAMES));
    lua_pushcclosure(L, fn, UP_END - 1);
}

/* Stack: what is given -> shared_t, places, idle. */
static void push_shared(lua_State *L) {
    shared_t *self = lua_newuserdatauv(L, sizeof *self, 0);
    *self = (shared_t){ .whose = pl__whose_get(L) };
    lua_newtable(L);
    lua_newtable(L);
}

/* core.tasklets{current =, new_worker =, ...} -> a table of the functions for tasks. */
static int core_tasklets(lua_State *L) {
    static const luaL_Reg FUNCTIONS[] = {
        { "run", run },         { "suspend", suspend }, { "is_inside", is_inside },
        { "launch", launch },   { "starter", starter }, { "use_contexts", use_contexts },
        { "awaiter", awaiter }, { "soon", soon },       { "drain", drain },
    };
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    push_shared(L);
    lua_newtable(L);
    for (size_t i = 0; i < COUNT_OF(FUNCTIONS); i++) {
        push_closure(L, FUNCTIONS[i].func);
        lua_setfield(L, -2, FUNCTIONS[i].name);
    }
    return 1;
}

/* core.tasklet_marks() -> DONE, WAIT, which are yielded. */
static int core_tasklet_marks(lua_State *L) {
    push_mark(L, pl__worker_done());
    push_mark(L, pl__worker_wait());
    return 2;
}

/* Pushes a drain for loops that know of no tasks. */
static int push_drain(lua_State *L) {
    lua_newtable(L);
    push_shared(L);
    push_closure(L, drain);
    return 1;
}

void pl__step_register(lua_State *L) {
    lua_pushcfunction(L, core_tasklets);
    lua_setfield(L, -2, "tasklets");
    lua_pushcfunction(L, core_tasklet_marks);
    lua_setfield(L, -2, "tasklet_marks");
    lua_pushcfunction(L, push_drain);
    lua_call(L, 0, 1);
    lua_setfield(L, -2, "drain");
}
