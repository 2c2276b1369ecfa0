/*
 * items.c - how a value is put to a queue of tasklets behind others, and how a for loop takes one that is there. See
 * items.h.
 *
 * Queues and lists are the tables described in lua/pipeline/tasklet/queue.lua. What is not the usual case is left to
 * the function in Lua, before anything was changed. In C, because there it costs next to nothing to see that an item is
 * no future.
 */
#include "binding/tasklet/items.h"

#include <stdbool.h>

#include <lauxlib.h>

enum { FIRST = 1, LAST, QUICK, EMPTY_FIRST = 4, EMPTY_LAST = 3 }; /* of lists: as in queue.lua */

/* Upvalues of next_item: the function in Lua; the kinds of futures; what stands for nil; the name of the list of
 * items; what is to be called with the queue when an item was taken from a list that is not QUICK, or nil. */
enum { UP_OTHERWISE = 1, UP_KINDS, UP_NONE, UP_ITEMS, UP_TAKEN };

enum { QUEUE = 1, LIST, ITEM };

static bool is_future(lua_State *L, int index) {
    if (!lua_getmetatable(L, index))
        return false;
    bool found = lua_rawget(L, lua_upvalueindex(UP_KINDS)) != LUA_TNIL;
    lua_pop(L, 1);
    return found;
}

static int ended(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    return lua_gettop(L);
}

static int call_otherwise(lua_State *L) {
    lua_settop(L, QUEUE);
    lua_pushvalue(L, lua_upvalueindex(UP_OTHERWISE));
    lua_insert(L, 1);
    lua_callk(L, 1, LUA_MULTRET, 0, ended);
    return lua_gettop(L);
}

static lua_Integer number_of(lua_State *L, int field) {
    lua_rawgeti(L, LIST, field);
    lua_Integer value = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

static void set_number(lua_State *L, int field, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_rawseti(L, LIST, field);
}

/* Pushes the first item, at ITEM. Returns its number, 0: there is none, or it has to be looked at. */
static lua_Integer find(lua_State *L) {
    lua_settop(L, QUEUE);
    if (!lua_istable(L, QUEUE))
        return 0;
    lua_pushvalue(L, lua_upvalueindex(UP_ITEMS));
    if (lua_rawget(L, QUEUE) != LUA_TTABLE)
        return 0;
    lua_Integer first = number_of(L, FIRST);
    int kind = lua_rawgeti(L, LIST, first);
    if (kind == LUA_TNIL || ((kind == LUA_TTABLE || kind == LUA_TUSERDATA) &&
                             (lua_rawequal(L, ITEM, lua_upvalueindex(UP_NONE)) || is_future(L, ITEM))))
        return 0;
    return first;
}

/* What each() gives to a for loop: next(queue) -> an item. */
static int next_item(lua_State *L) {
    lua_Integer first = find(L);
    if (first == 0)
        return call_otherwise(L);
    lua_pushnil(L);
    lua_rawseti(L, LIST, first);
    if (first < number_of(L, LAST)) {
        set_number(L, FIRST, first + 1);
    } else {
        set_number(L, FIRST, EMPTY_FIRST);
        set_number(L, LAST, EMPTY_LAST);
    }
    if (!lua_isnil(L, lua_upvalueindex(UP_TAKEN)) && number_of(L, QUICK) == 0) {
        lua_pushvalue(L, lua_upvalueindex(UP_TAKEN));
        lua_pushvalue(L, QUEUE);
        lua_call(L, 1, 0);
    }
    return 1;
}

/* putq(queue, value) -> done. Puts a value that is no future to the end of the list `lane` of the queue, if it has
 * one. */
static int put(lua_State *L) {
    enum { UP_LANE = 2, UP_DONE, VALUE = 2, LANE };
    int n = lua_gettop(L), kind = n == VALUE ? lua_type(L, VALUE) : LUA_TNIL;
    bool is_quick = kind != LUA_TNIL && kind != LUA_TTABLE && kind != LUA_TUSERDATA && lua_istable(L, QUEUE);
    if (is_quick) {
        lua_pushvalue(L, lua_upvalueindex(UP_LANE));
        is_quick = lua_rawget(L, QUEUE) == LUA_TTABLE;
    }
    if (!is_quick) {
        lua_settop(L, n);
        lua_pushvalue(L, lua_upvalueindex(UP_OTHERWISE));
        lua_insert(L, 1);
        lua_call(L, n, 1);
        return 1;
    }
    lua_rawgeti(L, LANE, LAST);
    lua_Integer last = lua_tointeger(L, -1) + 1;
    lua_pushvalue(L, VALUE);
    lua_rawseti(L, LANE, last);
    lua_pushinteger(L, last);
    lua_rawseti(L, LANE, LAST);
    lua_pushvalue(L, lua_upvalueindex(UP_DONE));
    return 1;
}

/* core.put_item(putq, done) -> a function as putq(queue, value) -> done, with a short way. */
static int core_put_item(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_pushliteral(L, "lane");
    lua_insert(L, 2);
    lua_pushcclosure(L, put, 3);
    return 1;
}

/* core.next_item(next, kinds, none [, taken]) -> a function as next(queue), with a short way. taken(queue) is called
 * when an item was taken on that, of a list that is not QUICK; it must not wait. */
static int core_next_item(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 4);
    lua_pushliteral(L, "items");
    lua_insert(L, UP_ITEMS);
    lua_pushcclosure(L, next_item, UP_TAKEN);
    return 1;
}

void pl__items_register(lua_State *L) {
    lua_pushcfunction(L, core_next_item);
    lua_setfield(L, -2, "next_item");
    lua_pushcfunction(L, core_put_item);
    lua_setfield(L, -2, "put_item");
}
