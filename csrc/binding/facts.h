/*
 * facts.h - the small questions an engine answers without an op: ids, time, signatures, numbers.
 */
#ifndef PL_BINDING_FACTS_H
#define PL_BINDING_FACTS_H

#include <lua.h>

/* Adds the methods to the method table on top of the stack. */
void pl__facts_register(lua_State *L);

#endif
