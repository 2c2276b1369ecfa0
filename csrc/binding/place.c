/*
 * place.c - where in the user's code something happens. See place.h.
 *
 * Durable functions note a line with each thing that they ask for, so it is looked for without making a table of each
 * frame.
 */
#include "binding/place.h"

#include <string.h>

#include <lauxlib.h>

#include "binding/tasklet/worker.h"
#include "binding/value/key.h"

enum { FRAMES_MAX = 200 };

/* Whether the function of the frame belongs to the library. Those that do are remembered in the table at `known`,
 * which does not keep them: so they are not asked where they are from each time. Any other frame gets its source and
 * line. */
static bool is_own(lua_State *L, lua_Debug *frame, const char *own, size_t len, int known) {
    if (!lua_getinfo(L, "f", frame))
        return false;
    lua_pushvalue(L, -1);
    bool found = lua_rawget(L, known) != LUA_TNIL;
    lua_pop(L, 1);
    if (!found) {
        (void)lua_getinfo(L, "Sl", frame);
        found = *frame->what == 'C' || strncmp(frame->source, own, len) == 0;
        if (found) {
            lua_pushvalue(L, -1);
            lua_pushboolean(L, 1);
            lua_rawset(L, known);
        }
    }
    lua_pop(L, 1);
    return found;
}

enum { UP_OWN = 1, UP_KNOWN, UP_PLACES };

static int place(lua_State *L) {
    size_t len;
    const char *own = lua_tolstring(L, lua_upvalueindex(UP_OWN), &len);
    lua_Debug frame;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    for (int level = 1; level < FRAMES_MAX && lua_getstack(L, level, &frame); level++) {
        if (is_own(L, &frame, own, len, lua_upvalueindex(UP_KNOWN)) || frame.currentline < 0)
            continue;
        pl__worker_push_place(L, &frame, lua_upvalueindex(UP_PLACES));
        return 1;
    }
    lua_pushnil(L);
    return 1;
}

/* core.placer(own) -> function */
static int core_placer(lua_State *L) {
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    pl__push_weak(L, "k");
    lua_newtable(L);
    lua_pushcclosure(L, place, UP_PLACES);
    return 1;
}

void pl__place_register(lua_State *L) {
    lua_pushcfunction(L, core_placer);
    lua_setfield(L, -2, "placer");
}
