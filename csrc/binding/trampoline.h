/*
 * trampoline.h - the one way from the loop into Lua.
 *
 * Nothing raised may leave a callback of the loop (uv keeps lists on its own C stack), so all Lua code runs inside
 * pl__enter. What fails goes to the "error" hook of the engine, or to standard error.
 */
#ifndef PL_BINDING_TRAMPOLINE_H
#define PL_BINDING_TRAMPOLINE_H

#include <stdbool.h>

#include <lua.h>

/*
 * Calls entry(handle, data) protected, with a traceback. Assumes the handle at index 1 of the running frame of L.
 * Ensures the stack is as before. Returns whether it went well; if not, the error has been reported.
 */
bool pl__enter(lua_State *L, lua_CFunction entry, void *data);

/* Reports the value on top of the stack of L to the "error" hook and pops it; never raises. Handle at index 1. */
void pl__report(lua_State *L);

/* Whether the value at `index` is the message of a stack overflow: then nothing may be allocated for it. */
bool pl__is_overflow(lua_State *L, int index);

#endif
