/* forking.c - a Lua module with fork(), as programs have it from libraries. Built by the spec that needs it. */
#include <lauxlib.h>
#include <unistd.h>

/* forking.fork() -> 0 in the child, its id in the parent. */
static int forking_fork(lua_State *L) {
    lua_pushinteger(L, fork());
    return 1;
}

__attribute__((visibility("default"))) int luaopen_forking(lua_State *L);

int luaopen_forking(lua_State *L) {
    static const luaL_Reg FUNCTIONS[] = { { "fork", forking_fork }, { NULL, NULL } };
    luaL_newlib(L, FUNCTIONS);
    return 1;
}
