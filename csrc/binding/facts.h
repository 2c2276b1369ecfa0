/*
 * facts.h - the small questions an engine answers without an op: ids, time, signatures, numbers.
 */
#ifndef PL_BINDING_FACTS_H
#define PL_BINDING_FACTS_H

#include <lua.h>

#include "binding/handle.h"

/* Adds the methods to the method table on top of the stack. */
void pl__facts_register(lua_State *L);
/* Pushes the name of what has no other: the prefix, of which 32 bytes count, and the id as users see it. */
void pl__push_name(lua_State *L, const pl__handle_t *h, pl_id_t id, pl_str_t prefix);

#endif
