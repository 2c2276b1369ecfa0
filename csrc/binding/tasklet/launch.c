/*
 * launch.c - tasklets are started: a table becomes a task and is queued on its loop. See launch.h.
 *
 * A task notes where it was made, the run that answers for it (see watch.h), and its maker: the engine it works for.
 */
#include "binding/tasklet/launch.h"

#include "binding/tasklet/shared.h"
#include "binding/tasklet/timetable.h"
#include "binding/tasklet/worker.h"
#include "binding/watch.h"

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
 * may be a second engine later. The handle is noted, which current.lua knows the engine by. */
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

/* The table at `task`, over which lies one value alone, becomes a task. */
static void make_task(lua_State *L, int task) {
    note_run(L, task);
    note_maker(L, task);
    lua_pushvalue(L, lua_upvalueindex(UP_task_meta));
    lua_setmetatable(L, task);
}

/* The same, made at that level of the stack, where that value is its loop; and it is queued there. */
static void set_off(lua_State *L, int task, int level) {
    if (pl__worker_push_where(L, level, lua_upvalueindex(UP_PLACES)))
        lua_rawseti(L, task, T_MADE);
    lua_settop(L, task + 1);
    make_task(L, task);
    queue(L, task);
}

int pl__launch_prepare(lua_State *L) {
    lua_settop(L, 2);
    make_task(L, 1);
    lua_settop(L, 1);
    return 1;
}

int pl__launch(lua_State *L) {
    int level = (int)lua_tointeger(L, 2);
    lua_settop(L, 1);
    push_loop(L, 1);
    set_off(L, 1, level);
    return 1;
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

int pl__launch_starter(lua_State *L) {
    lua_settop(L, 2);
    luaL_checkstack(L, FIRST_END, NULL);
    for (int i = 1; i < FIRST_END; i++)
        lua_pushvalue(L, lua_upvalueindex(i));
    lua_rotate(L, 1, FIRST_END - 1);
    lua_pushcclosure(L, start, FIRST_END + 1);
    return 1;
}

int pl__launch_use_contexts(lua_State *L) {
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

int pl__launch_soon(lua_State *L) {
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
