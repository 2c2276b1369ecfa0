/*
 * state.h - what the fuzzers of Lua code share: a state that gets the functions of the codec and of places, and a
 * script; and one run.
 */
#ifndef PL_SPEC_FUZZ_STATE_H
#define PL_SPEC_FUZZ_STATE_H

#include <lauxlib.h>
#include <lualib.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "binding/place.h"
#include "binding/value/codec.h"

static inline void state_check(lua_State *L, int status) {
    if (status == LUA_OK)
        return;
    const char *message = luaL_tolstring(L, -1, NULL);
    lua_writestringerror("%s\n", message);
    abort();
}

/*
 * The ways that were gone from line to line of Lua code, counted where libFuzzer looks, too: it sees only C code by
 * itself, and would keep no input, however much of the Lua code it has reached first.
 */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t state_ways[1 << 14];

static inline void state_line(lua_State *L, lua_Debug *ar) {
    static uintptr_t before;
    lua_getinfo(L, "Sl", ar);
    uintptr_t here = (((uintptr_t)ar->source >> 4) + (uintptr_t)ar->currentline) * 2654435761U;
    state_ways[(here ^ (before >> 1)) % sizeof state_ways]++;
    before = here;
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
    pl__place_register(L);
    state_check(L, lua_pcall(L, 1, 1, 0));
    lua_sethook(L, state_line, LUA_MASKLINE, 0);
    return L;
}

/* Calls that function with the input; what it raises ends the program. Garbage is collected, or libFuzzer would look
 * for leaks each time, which takes much longer than the rest. */
static inline void state_run(lua_State *L, const uint8_t *data, size_t size) {
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    state_check(L, lua_pcall(L, 1, 0, 0));
    lua_gc(L, LUA_GCCOLLECT);
}

#endif
