/*
 * trampoline.c - the one way from the loop into Lua. See trampoline.h.
 */
#include "binding/trampoline.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "binding/handle.h"

bool pl__is_overflow(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TSTRING && strstr(lua_tostring(L, index), "stack overflow");
}

/* Adds a traceback to text; other values pass as they are. In Lua 5.4.4 a handler that allocates after a stack
 * overflow can keep the process busy for minutes, so it leaves those alone. */
static int traceback_handler(lua_State *L) {
    if (lua_type(L, 1) != LUA_TSTRING || pl__is_overflow(L, 1))
        return 1;
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

/* Stack: handle, error value, code. */
static int report_entry(lua_State *L) {
    lua_getiuservalue(L, 1, PL__UV_ERROR);
    if (lua_isnil(L, -1)) {
        fprintf(stderr, "pipeline: %s\n", luaL_tolstring(L, 2, NULL));
        return 0;
    }
    lua_pushvalue(L, 2);
    lua_pushstring(L, lua_touserdata(L, 3));
    lua_call(L, 2, 0);
    return 0;
}

static const char *plain_text(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "(an error value that is no string)";
}

void pl__report(lua_State *L, const char *code) {
    pl__handle_t *h = lua_touserdata(L, 1);
    bool entered = h->entered;
    int top = lua_gettop(L);
    if (!lua_checkstack(L, LUA_MINSTACK)) {
        fprintf(stderr, "pipeline: %s\n", plain_text(L, top));
        lua_settop(L, top - 1);
        return;
    }
    h->entered = true;
    lua_pushcfunction(L, report_entry);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, top);
    lua_pushlightuserdata(L, (void *)(uintptr_t)code);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK)
        fprintf(stderr, "pipeline: %s\npipeline: the error hook failed as well: %s\n", plain_text(L, top),
                plain_text(L, -1));
    h->entered = entered;
    lua_settop(L, top - 1);
}

bool pl__enter(lua_State *L, lua_CFunction entry, void *data) {
    pl__handle_t *h = lua_touserdata(L, 1);
    bool entered = h->entered;
    int top = lua_gettop(L);
    if (!lua_checkstack(L, LUA_MINSTACK)) {
        fprintf(stderr, "pipeline: the Lua stack is exhausted\n");
        return false;
    }
    h->entered = true;
    lua_pushcfunction(L, traceback_handler);
    lua_pushcfunction(L, entry);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, data);
    int status = lua_pcall(L, 2, 0, top + 1);
    h->entered = entered;
    if (status != LUA_OK)
        pl__report(L, PL__ERROR_RAISED);
    lua_settop(L, top);
    assert(lua_gettop(L) == top);
    return status == LUA_OK;
}
