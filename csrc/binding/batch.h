/*
 * batch.h - many tasks for one op, told one after the other.
 */
#ifndef PL_BINDING_BATCH_H
#define PL_BINDING_BATCH_H

#include <lua.h>

/* Adds engine:batch() to the method table on top of the stack. */
void pl__task_batch_register(lua_State *L);

#endif
