/*
 * items.h - the short ways of the queues of tasklets.
 */
#ifndef PL_BINDING_TASKLET_ITEMS_H
#define PL_BINDING_TASKLET_ITEMS_H

#include <lua.h>

/* Adds core.next_item and core.put_item; `core` is on the top of the stack. */
void pl__items_register(lua_State *L);

#endif
