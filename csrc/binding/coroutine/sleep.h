/*
 * sleep.h - sleeping: in a coroutine, or by running the loop.
 */
#ifndef PL_BINDING_COROUTINE_SLEEP_H
#define PL_BINDING_COROUTINE_SLEEP_H

#include <lua.h>

/* Adds sleep to the method table on top of the stack. */
void pl__sleep_register(lua_State *L);

#endif
