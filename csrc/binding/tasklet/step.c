/*
 * step.c - what lua/pipeline/tasklet/task.lua does for every step of every tasklet. See step.h.
 *
 * This file only takes the steps nearly all tasklets take, and with the same result as the functions in Lua it is
 * given: whatever is out of the ordinary (a second waiter, several results, an error, a yield of somebody else, a
 * tasklet that has cancelled itself) is left to those.
 *
 * Invariants
 *   1. current[1] is the task that runs and shared_t.co its coroutine while its coroutine runs, and what they were
 *      before when it has come back, however it did.
 *   2. Between the end of a coroutine's step and the entry of its task where it waits nothing of the user's runs.
 *   3. A sleep of no time ends in drain as it does in eventloop.lua: when no immediate callback is left, before the
 *      timers that are due after it, and as one step; who waits for it takes the next.
 */
#include "binding/tasklet/step.h"

#include "binding/coroutine/coroutine.h"
#include "binding/handle.h"
#include "binding/tasklet/launch.h"
#include "binding/tasklet/shared.h"
#include "binding/tasklet/tasklet.h"
#include "binding/tasklet/timetable.h"
#include "binding/tasklet/waiter.h"
#include "binding/tasklet/worker.h"
#include "binding/watch.h"

#define QUEUE_KEPT_MAX 8192 /* as in eventloop.lua */

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

/* ---- run --------------------------------------------------------------------------------------------------- */

/* The stack of run, and of drain. */
enum { LOOP = 1, LIMIT, UNTIL, BATCH, TASK, WORKER, BEFORE, RESULT };

/* The entry at `index` waits for the future at `on` from now on. Returns its place. */
static lua_Integer add(lua_State *L, int on, int index) {
    if (!is_set(L, on, K_rest) && !is_set(L, on, K_first)) {
        lua_pushvalue(L, index);
        set(L, on, K_first);
        return 0;
    }
    lua_pushvalue(L, lua_upvalueindex(UP_add));
    lua_pushvalue(L, on);
    lua_pushvalue(L, index);
    lua_call(L, 2, 1);
    lua_Integer place = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return place;
}

/* The tasklet waits for the future at RESULT. */
static void settle_wait(lua_State *L, bool is_new) {
    int on = RESULT;
    if (is_new) {
        lua_pushvalue(L, WORKER);
        lua_rawseti(L, TASK, T_WORKER);
    }
    if (is_finishing(L, on))
        push_task(L, TASK);
    else
        set_number(L, TASK, T_PLACE, add(L, on, TASK));
    lua_pushvalue(L, on);
    lua_rawseti(L, TASK, T_ON);
}

/* Leaves what has happened to the Lua function. From RESULT on lies what the worker has come back with. */
static void settle_otherwise(lua_State *L, pl__worker_state_t state) {
    int nresults = lua_gettop(L) - RESULT + 1;
    lua_pushinteger(L, (lua_Integer)state);
    lua_insert(L, RESULT);
    lua_pushvalue(L, lua_upvalueindex(UP_settle));
    lua_insert(L, RESULT);
    lua_pushvalue(L, TASK);
    lua_insert(L, RESULT + 1);
    lua_pushvalue(L, WORKER);
    lua_insert(L, RESULT + 2);
    lua_call(L, 3 + nresults, 0);
}

/* The worker came back. From RESULT on lies what with. */
static void settle(lua_State *L, bool is_new, lua_State *co, pl__worker_state_t state) {
    bool is_usual = state == PL__WORKER_WAITS || (state == PL__WORKER_ENDED && lua_gettop(L) <= RESULT);
    if (state == PL__WORKER_ENDED || state == PL__WORKER_FAILED)
        (void)pl__worker_put(L, shared(L)->workers, lua_upvalueindex(UP_IDLE), WORKER, co);
    if (!is_usual || is_finishing(L, TASK)) {
        settle_otherwise(L, state);
    } else if (state == PL__WORKER_ENDED) {
        if (!is_new)
            clear_field(L, TASK, T_WORKER);
        lua_pushvalue(L, lua_gettop(L) < RESULT ? lua_upvalueindex(UP_none) : RESULT);
        set(L, TASK, K_value);
        complete(L, TASK);
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

/* Moves body, arguments and handler of the task, not begun yet, to the worker. Returns how many values, -1: too
 * many. */
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
    lua_pushvalue(L, lua_upvalueindex(UP_handler));
    lua_xmove(L, co, n + 2);
    return n + 2;
}

/* The run that has started the task answers for it. Returns whether there is one, and it is not over. */
static bool watch(lua_State *L, pl__watched_t *self, lua_State *co) {
    lua_pushstring(L, RUN);
    bool is_watched = lua_rawget(L, TASK) == LUA_TUSERDATA && pl__watch_enter_tasklet(self, lua_touserdata(L, -1), co);
    lua_pop(L, 1);
    return is_watched;
}

/* Resumes the worker; from RESULT on lies what it has come back with. Should a coroutine of an engine be taking this
 * step, it is not that coroutine that runs meanwhile. */
static pl__worker_state_t resume(lua_State *L, lua_State *co, int nargs) {
    int n = 0;
    shared_t *self = shared(L);
    lua_State *before = self->co;
    pl__handle_t *h = self->whose->engine;
    pl__coroutine_t *around = h ? h->current : NULL;
    if (h)
        h->current = NULL;
    pl__watched_t watched;
    bool is_watched = self->has_runs && watch(L, &watched, co);
    set_current(L, TASK, co);
    pl__worker_state_t state = pl__worker_resume(self->workers, L, co, nargs, (pl__whose_t){ NULL, true }, &n);
    if (is_watched)
        pl__watch_leave(&watched);
    if (h)
        h->current = around;
    lua_settop(L, BEFORE);
    set_current(L, BEFORE, before);
    if (lua_checkstack(L, n + LUA_MINSTACK)) {
        lua_xmove(co, L, n);
        return state;
    }
    lua_pop(co, n);
    lua_pushliteral(L, "too many results of a tasklet");
    return PL__WORKER_DEAD;
}

/* A step of the tasklet at TASK, where the stack ends. */
static void take_step(lua_State *L) {
    if (is_finishing(L, TASK))
        return;
    bool is_new = lua_rawgeti(L, TASK, T_WORKER) != LUA_TTABLE;
    lua_State *co = NULL;
    int nargs = 0;
    if (is_new) {
        lua_settop(L, TASK);
        co = pl__worker_push(L, shared(L)->workers, lua_upvalueindex(UP_IDLE));
    }
    lua_rawgeti(L, lua_upvalueindex(UP_current), 1);
    if (is_new) {
        nargs = begin(L, co);
    } else {
        lua_rawgeti(L, WORKER, PL__WORKER_CO);
        co = lua_tothread(L, RESULT);
        clear_field(L, TASK, T_ON);
    }
    if (nargs >= 0) {
        settle(L, is_new, co, resume(L, co, nargs));
    } else {
        lua_settop(L, BEFORE);
        lua_pushliteral(L, "too many arguments of a tasklet");
        settle_otherwise(L, PL__WORKER_DEAD);
    }
}

/* run(task): a step of a tasklet, now. */
static int run(lua_State *L) {
    lua_settop(L, TASK);
    lua_pushvalue(L, 1);
    lua_replace(L, TASK);
    take_step(L);
    return 0;
}

/* ---- waiting for a future ---------------------------------------------------------------------------------- */

static bool is_future(lua_State *L, int index) {
    if (!lua_getmetatable(L, index))
        return false;
    bool found = lua_rawget(L, lua_upvalueindex(UP_kinds)) != LUA_TNIL;
    lua_pop(L, 1);
    return found;
}

/* Suspends the running code until the future, which is its only argument, is done: a tasklet, or a coroutine of an
 * engine. `k` goes on, with the record of that coroutine as its context, or 0. Returns -1, at once, if it is neither,
 * or cannot wait here, or that is no future. */
static int suspend_for(lua_State *L, lua_KFunction k) {
    if (lua_gettop(L) != 1 || !lua_isyieldable(L) || !is_future(L, 1))
        return -1;
    if (shared(L)->co == L) {
        lua_pushvalue(L, 1);
        return pl__worker_wait(L, 1, 0, k);
    }
    pl__handle_t *h = shared(L)->whose->engine;
    if (!pl__waiter_is_possible(L, h))
        return -1;
    push_current_loop(L);
    pl__waiter_push(L, h, 1);
    if (is_finishing(L, 1))
        pl__waiter_end(L, 2);
    else
        pl__waiter_set_place(L, 2, add(L, 1, 2));
    return pl__waiter_suspend(L, h, k);
}

static int suspended_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    if (context != 0)
        pl__wait_check(L, context);
    lua_pushboolean(L, 1);
    return 1;
}

/* suspend(future) -> true when the running code was resumed; nothing, at once, if it cannot be suspended. */
static int suspend(lua_State *L) {
    int results = suspend_for(L, suspended_k);
    return results >= 0 ? results : 0;
}

/* Pushes the results of the future at index 1, which is done, or raises its error. Returns how many. */
static int push_results(lua_State *L) {
    int top = lua_gettop(L);
    if (!is_set(L, 1, K_how)) {
        get(L, 1, K_value);
        return lua_rawequal(L, -1, lua_upvalueindex(UP_none)) ? 0 : 1;
    }
    lua_pushvalue(L, lua_upvalueindex(UP_results));
    lua_pushvalue(L, 1);
    lua_call(L, 1, LUA_MULTRET);
    return lua_gettop(L) - top;
}

static int awaited_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    if (context != 0)
        pl__wait_check(L, context);
    return push_results(L);
}

static int called_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    return lua_gettop(L);
}

/* await(future, ...): see task.lua, whose function does all but the usual. */
static int await(lua_State *L) {
    int n = lua_gettop(L), results = suspend_for(L, awaited_k);
    if (results >= 0)
        return results;
    lua_pushvalue(L, lua_upvalueindex(UP_AWAIT));
    lua_insert(L, 1);
    lua_callk(L, n, LUA_MULTRET, 0, called_k);
    return lua_gettop(L);
}

/* is_inside() -> whether the running code is a tasklet. */
static int is_inside(lua_State *L) {
    lua_pushboolean(L, shared(L)->co == L);
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
    *self = (shared_t){ .whose = pl__whose_get(L), .workers = pl__workers_get(L) };
    lua_newtable(L);
    pl__workers_push_idle(L);
}

/* core.tasklets{current =, handler =, ...} -> a table of the functions for tasks. */
static int core_tasklets(lua_State *L) {
    static const luaL_Reg FUNCTIONS[] = {
        { "run", run },
        { "suspend", suspend },
        { "is_inside", is_inside },
        { "launch", pl__launch },
        { "prepare", pl__launch_prepare },
        { "starter", pl__launch_starter },
        { "use_contexts", pl__launch_use_contexts },
        { "awaiter", awaiter },
        { "soon", pl__launch_soon },
        { "drain", drain },
    };
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "leave");
    pl__waiter_register(L);
    push_shared(L);
    push_closure(L, pl__tasklet_begin);
    push_closure(L, pl__tasklet_done);
    pl__tasklet_set_hooks(L);
    lua_newtable(L);
    for (size_t i = 0; i < COUNT_OF(FUNCTIONS); i++) {
        push_closure(L, FUNCTIONS[i].func);
        lua_setfield(L, -2, FUNCTIONS[i].name);
    }
    return 1;
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
    lua_pushcfunction(L, push_drain);
    lua_call(L, 0, 1);
    lua_setfield(L, -2, "drain");
}
