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

/* What an error that is reported says of its coroutine. The hook gets the code, and need not read texts. */
#define PL__ERROR_RAISED "raised"
#define PL__ERROR_YIELDED "yielded" /* it yielded to a scheduler that does not run it */
#define PL__ERROR_CLOSED "closed"   /* somebody else closed or resumed it */

/* Reports the value on top of the stack of L, with its code, to the "error" hook and pops it; never raises. Handle at
 * index 1. */
void pl__report(lua_State *L, const char *code);

/* Whether the value at `index` is the message of a stack overflow: then nothing may be allocated for it. */
bool pl__is_overflow(lua_State *L, int index);

#endif
