/*
 * state.h - what the fuzzers of Lua code share: a state that gets the functions of the codec and a script, and one run.
 */
#ifndef PL_SPEC_FUZZ_STATE_H
#define PL_SPEC_FUZZ_STATE_H

#include <lauxlib.h>
#include <lualib.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "binding/codec.h"

static inline void state_check(lua_State *L, int status) {
    if (status == LUA_OK)
        return;
    const char *message = luaL_tolstring(L, -1, NULL);
    lua_writestringerror("%s\n", message);
    abort();
}

/* Returns a state with the function that the script returns on its stack. */
static inline lua_State *state_open(const char *script) {
    lua_State *L = luaL_newstate();
    if (L == NULL)
        abort();
    luaL_openlibs(L);
    state_check(L, luaL_loadstring(L, script));
    lua_newtable(L);
    pl__codec_register(L);
    state_check(L, lua_pcall(L, 1, 1, 0));
    return L;
}

/* Calls that function with the input; what it raises ends the program. */
static inline void state_run(lua_State *L, const uint8_t *data, size_t size) {
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    state_check(L, lua_pcall(L, 1, 0, 0));
}

#endif
