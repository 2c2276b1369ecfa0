/*
 * verbs.h - the methods of an engine that stand for ops of the store.
 */
#ifndef PL_BINDING_OP_VERBS_H
#define PL_BINDING_OP_VERBS_H

#include <lua.h>

/* Adds the verbs to the method table on top of the stack. */
void pl__verbs_register(lua_State *L);

#endif
