/*
 * token.h - coroutines that suspend until somebody wakes them.
 */
#ifndef PL_BINDING_COROUTINE_TOKEN_H
#define PL_BINDING_COROUTINE_TOKEN_H

#include <lua.h>

/* Adds suspend, token and closed to the method table on top of the stack. */
void pl__token_register(lua_State *L);

#endif
