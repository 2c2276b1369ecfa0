/*
 * worker.c - the main function of the coroutines of tasklets. See worker.h.
 *
 *   resume(co, body, ...)  ->  whatever the body yields, or at its end
 *                              DONE, n, its n results   or   DONE, -1, the error
 *
 * and then the same again. In C, because a frame of Lua for this loop would make the stack of every waiting coroutine
 * twice as large; and protected from inside, so that to-be-closed variables of a body that fails may still wait.
 */
#include "binding/tasklet/worker.h"

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

/* core.call_unyieldable(fn, ...) -> as pcall, but nothing that is called can wait: a wait in it is an error, and never
 * leaves what calls it half done. */
static int core_call_unyieldable(lua_State *L) {
    luaL_checkany(L, 1);
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    lua_pushboolean(L, status == LUA_OK);
    lua_insert(L, 1);
    return lua_gettop(L);
}

const void *pl__worker_done(void) {
    return &DONE;
}

const void *pl__worker_wait(void) {
    return &WAIT;
}

/* ---- places ------------------------------------------------------------------------------------------------ */

#define PLACES_COUNT 256

/* A place known already: its text is in the table, with the same number. */
typedef struct {
    const char *source; /* its address alone; another source may have it later */
    int line;
    char short_src[LUA_IDSIZE];
} place_t;

/* The places are in a userdata at 0 of the table. */
static place_t *find_place(lua_State *L, const lua_Debug *ar, int places, int *number) {
    lua_rawgeti(L, places, 0);
    place_t *all = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!all) {
        all = lua_newuserdatauv(L, PLACES_COUNT * sizeof *all, 0);
        memset(all, 0, PLACES_COUNT * sizeof *all);
        lua_rawseti(L, places, 0);
    }
    uintptr_t hash = ((uintptr_t)ar->source >> 5) + (uintptr_t)ar->currentline;
    *number = (int)(hash % PLACES_COUNT) + 1;
    return &all[*number - 1];
}

bool pl__worker_push_where(lua_State *L, int level, int places) {
    lua_Debug ar;
    int number = 0;
    if (!lua_getstack(L, level, &ar))
        return false;
    lua_getinfo(L, "Sl", &ar);
    place_t *place = find_place(L, &ar, places, &number);
    if (place->source == ar.source && place->line == ar.currentline && strcmp(place->short_src, ar.short_src) == 0) {
        lua_rawgeti(L, places, number);
        return true;
    }
    lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
    lua_pushvalue(L, -1);
    lua_rawseti(L, places, number);
    place->source = ar.source;
    place->line = ar.currentline;
    memcpy(place->short_src, ar.short_src, sizeof ar.short_src);
    return true;
}

/* core.where(level) -> "file:line" of that level of the stack, or nothing. */
static int core_where(lua_State *L) {
    return pl__worker_push_where(L, (int)luaL_checkinteger(L, 1), lua_upvalueindex(1)) ? 1 : 0;
}

void pl__worker_register(lua_State *L) {
    lua_pushcfunction(L, core_worker);
    lua_setfield(L, -2, "worker");
    lua_pushcfunction(L, core_call_unyieldable);
    lua_setfield(L, -2, "call_unyieldable");
    lua_newtable(L);
    lua_pushcclosure(L, core_where, 1);
    lua_setfield(L, -2, "where");
}
