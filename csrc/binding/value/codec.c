/*
 * codec.c - the settings of the codec and its registration.
 */
#include "binding/value/codec.h"

#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

/* ---- settings ---- */

static void set_hook(lua_State *L, const char *name, int key) {
    int type = lua_getfield(L, 1, name);
    luaL_argcheck(L, type == LUA_TNIL || type == LUA_TFUNCTION, 1, "hooks are functions");
    lua_rawseti(L, PL__CODEC_STATE, key);
}

/* set_hooks{ slot_of = function(table) -> id, lookup = function(module, path, kind) -> value, registered = table from
 * value to the name it was registered under }: absent ones are off. */
static int set_hooks(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    set_hook(L, "slot_of", PL__CODEC_SLOT_OF);
    set_hook(L, "lookup", PL__CODEC_LOOKUP);
    luaL_argcheck(L, lua_getfield(L, 1, "registered") == LUA_TNIL || lua_istable(L, -1), 1, "registered is a table");
    lua_rawseti(L, PL__CODEC_STATE, PL__CODEC_REGISTERED);
    return 0;
}

void pl__codec_register(lua_State *L) {
    static const luaL_Reg functions[] = {
        { "encode", pl__codec_encode }, { "encode_value", pl__codec_encode_value },
        { "decode", pl__codec_decode }, { "decode_list", pl__codec_decode_list },
        { "set_hooks", set_hooks },     { NULL, NULL },
    };
    lua_createtable(L, PL__CODEC_STATE_LEN, 0);
    pl__codec_names_init(L);
    lua_pushvalue(L, -1);
    lua_insert(L, -3);
    luaL_setfuncs(L, functions, 1);
    lua_insert(L, -2);
    pl__codec_names_register(L);
}
