/*
 * worker.c - the main function of the coroutines of tasklets. See worker.h.
 *
 *   resume(co, body, ...)  ->  whatever the body yields, or at its end
 *                              DONE, n, its n results   or   DONE, -1, the error
 *
 * and then the same again. In C, because a frame of Lua for this loop would make the stack of every waiting coroutine
 * twice as large; and protected from inside, so that to-be-closed variables of a body that fails may still wait.
 */
#include "binding/worker.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

static const char DONE = 0, WAIT = 0;

static int ended(lua_State *L, int status, lua_KContext context);

/* Stack: handler, body, arguments. */
static int begin(lua_State *L, int status, lua_KContext context) {
    (void)status;
    int nargs = lua_gettop(L) - 2;
    return ended(L, lua_pcallk(L, nargs, LUA_MULTRET, 1, context, ended), context);
}

/* Stack: handler, results or error. */
static int ended(lua_State *L, int status, lua_KContext context) {
    luaL_checkstack(L, 2, "too many results");
    lua_pushlightuserdata(L, (void *)(uintptr_t)&DONE);
    lua_pushinteger(L, status == LUA_OK || status == LUA_YIELD ? lua_gettop(L) - 2 : -1);
    lua_rotate(L, 2, 2);
    return lua_yieldk(L, lua_gettop(L) - 1, context, begin);
}

static int worker(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return begin(L, LUA_OK, 0);
}

/* core.worker(handler) -> the function for coroutines. */
static int core_worker(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushcclosure(L, worker, 1);
    return 1;
}

const void *pl__worker_done(void) {
    return &DONE;
}

const void *pl__worker_wait(void) {
    return &WAIT;
}

/* ---- places ------------------------------------------------------------------------------------------------ */

/* Pushes the lines of a source: line -> "file:line". Sources are known by their address, but looked at again. */
static void push_lines(lua_State *L, const lua_Debug *ar, int places) {
    if (lua_rawgetp(L, places, ar->source) == LUA_TTABLE) {
        lua_rawgeti(L, -1, 0);
        bool same = strcmp(lua_tostring(L, -1), ar->short_src) == 0;
        lua_pop(L, 1);
        if (same)
            return;
    }
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushstring(L, ar->short_src);
    lua_rawseti(L, -2, 0);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, places, ar->source);
}

bool pl__worker_push_where(lua_State *L, int level, int places) {
    lua_Debug ar;
    if (!lua_getstack(L, level, &ar))
        return false;
    lua_getinfo(L, "Sl", &ar);
    push_lines(L, &ar, places);
    if (lua_rawgeti(L, -1, ar.currentline) == LUA_TNIL) {
        lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -4, ar.currentline);
    }
    return true;
}

/* core.where(level) -> "file:line" of that level of the stack, or nothing. */
static int core_where(lua_State *L) {
    return pl__worker_push_where(L, (int)luaL_checkinteger(L, 1), lua_upvalueindex(1)) ? 1 : 0;
}

void pl__worker_register(lua_State *L) {
    lua_pushcfunction(L, core_worker);
    lua_setfield(L, -2, "worker");
    lua_newtable(L);
    lua_pushcclosure(L, core_where, 1);
    lua_setfield(L, -2, "where");
}
