/*
 * thread.c - the Lua threads of managed coroutines: taken, given back, closed. See thread.h.
 *
 * The worker of a record is held by the table PL__UV_ANCHORS of its engine, under the number of the record. What a
 * token was woken with before its coroutine suspended, the mailbox, is there under the negative number.
 *
 * An error is remembered where it is raised, with a traceback, for the value itself goes through the to-be-closed
 * variables, and one of those may raise another.
 */
#include "binding/coroutine/thread.h"

#include <lauxlib.h>

#include "binding/tasklet/worker.h"
#include "binding/trampoline.h"

enum { IDLE_MAX = 256 }; /* of idle workers, beyond which none is given back */

static const char FAILURES = 0; /* its address is the key of the table of errors in the registry */

enum { FAILURE_VALUE = 1, FAILURE_TEXT };

/* ---- taken and given back ---------------------------------------------------------------------------------- */

void pl__thread_anchor(lua_State *L, pl__coroutine_t *rec, int index, lua_State *co) {
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, rec->index);
    lua_pop(L, 1);
    rec->co = co;
}

lua_State *pl__thread_push(lua_State *L, const pl__handle_t *h) {
    lua_getiuservalue(L, 1, PL__UV_IDLE);
    lua_State *co = pl__worker_push(L, h->workers, lua_gettop(L));
    lua_remove(L, -2);
    return co;
}

void pl__thread_give_back(lua_State *L, pl__coroutine_t *rec) {
    pl__workers_t *workers = rec->h->workers;
    int top = lua_gettop(L);
    pl__worker_end_context(L, workers, rec->co);
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    if (workers->idle < IDLE_MAX) {
        lua_getiuservalue(L, 1, PL__UV_IDLE);
        lua_rawgeti(L, top + 1, rec->index);
        (void)pl__worker_put(L, workers, top + 2, top + 3, rec->co);
    }
    lua_pushnil(L);
    lua_rawseti(L, top + 1, rec->index);
    lua_settop(L, top);
    rec->co = NULL;
}

void pl__thread_clear_mailbox(lua_State *L, pl__coroutine_t *rec) {
    if (!rec->woken)
        return;
    rec->woken = false;
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_pushnil(L);
    lua_rawseti(L, -2, -(lua_Integer)rec->index);
    lua_pop(L, 1);
}

/* ---- errors ------------------------------------------------------------------------------------------------ */

static void push_failures(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &FAILURES) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &FAILURES);
}

int pl__thread_on_error(lua_State *L) {
    lua_settop(L, 1);
    if (pl__is_overflow(L, 1))
        return 1; /* a handler that allocates then can take minutes: see traceback_handler */
    push_failures(L);
    if (lua_rawgetp(L, 2, L) == LUA_TNIL) {
        lua_createtable(L, FAILURE_TEXT, 0);
        lua_pushvalue(L, 1);
        lua_rawseti(L, 4, FAILURE_VALUE);
        if (lua_type(L, 1) == LUA_TSTRING)
            luaL_traceback(L, L, lua_tostring(L, 1), 1);
        else
            lua_pushvalue(L, 1);
        lua_rawseti(L, 4, FAILURE_TEXT);
        lua_rawsetp(L, 2, L);
    }
    lua_settop(L, 1);
    return 1;
}

bool pl__thread_push_failure(lua_State *L, const lua_State *co) {
    push_failures(L);
    bool found = lua_rawgetp(L, -1, co) == LUA_TTABLE;
    if (found) {
        lua_pushnil(L);
        lua_rawsetp(L, -3, co);
        lua_rawgeti(L, -1, FAILURE_VALUE);
        lua_rawgeti(L, -2, FAILURE_TEXT);
        lua_replace(L, -4);
        lua_replace(L, -2);
        lua_insert(L, -2);
    } else {
        lua_pop(L, 2);
    }
    return found;
}

/* ---- closed ------------------------------------------------------------------------------------------------ */

int pl__thread_kill_entry(lua_State *L) {
    pl__coroutine_t *rec = lua_touserdata(L, 2);
    lua_State *co = rec->co;
    pl__thread_clear_mailbox(L, rec);
    if (!co)
        return 0;
    int status = lua_status(co);
    bool died = status != LUA_OK && status != LUA_YIELD;
    if (died && lua_gettop(co) > 0 && lua_checkstack(co, 1)) {
        lua_pushvalue(co, -1);
        lua_xmove(co, L, 1);
    } else {
        lua_pushnil(L);
    }
    status = pl__worker_close(rec->h->workers, L, co, (pl__whose_t){ rec->h, false });
    if (status != LUA_OK && lua_gettop(co) > 0) {
        lua_xmove(co, L, 1);
        if (!lua_rawequal(L, -1, -2))
            pl__report(L, PL__ERROR_RAISED);
    }
    if (pl__thread_push_failure(L, co))
        lua_pop(L, 2);
    rec->co = NULL;
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_pushnil(L);
    lua_rawseti(L, -2, rec->index);
    return 0;
}
