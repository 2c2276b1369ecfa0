/*
 * whose.c - which engine the running code works for. See whose.h.
 */
#include "binding/whose.h"

#include <lauxlib.h>

#include "binding/value/key.h"

static const char WHOSE = 0, HANDLES = 0; /* their addresses are keys of the registry */

pl__whose_t *pl__whose_get(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &WHOSE) == LUA_TNIL) {
        lua_pop(L, 1);
        pl__whose_t *whose = lua_newuserdatauv(L, sizeof *whose, 0);
        *whose = (pl__whose_t){ NULL, false };
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &WHOSE);
    }
    pl__whose_t *whose = lua_touserdata(L, -1); /* the registry holds it */
    lua_pop(L, 1);
    return whose;
}

void pl__whose_push_weak(lua_State *L, const void *key) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    pl__push_weak(L, "v");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void pl__whose_add(lua_State *L, const struct pl__handle *h) {
    pl__whose_push_weak(L, &HANDLES);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, h);
    lua_pop(L, 1);
}

void pl__whose_push(lua_State *L, const struct pl__handle *h) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &HANDLES);
    if (lua_istable(L, -1)) {
        lua_rawgetp(L, -1, h);
        lua_remove(L, -2);
    }
}

static int core_whose(lua_State *L) {
    const pl__whose_t *whose = lua_touserdata(L, lua_upvalueindex(1));
    if (whose->is_tasklet)
        lua_pushboolean(L, 1);
    else if (whose->engine)
        pl__whose_push(L, whose->engine);
    else
        lua_pushnil(L);
    return 1;
}

void pl__whose_register(lua_State *L) {
    (void)pl__whose_get(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &WHOSE);
    lua_pushcclosure(L, core_whose, 1);
    lua_setfield(L, -2, "whose");
}
