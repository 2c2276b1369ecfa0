/*
 * place.h - where in the user's code something happens.
 */
#ifndef PL_BINDING_PLACE_H
#define PL_BINDING_PLACE_H

#include <lua.h>

/* Adds core.placer(own) to the table on top of the stack: it makes a function that returns the innermost line of Lua
 * that is being executed and whose source does not begin with `own`, such as "shop.lua:42"; nil: there is none. */
void pl__place_register(lua_State *L);

#endif
