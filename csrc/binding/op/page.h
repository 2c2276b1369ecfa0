/*
 * page.h - a page of a tree, as a Lua object that gives its stages a few at a time, so that nobody who reads a large
 * tree holds the loop.
 */
#ifndef PL_BINDING_OP_PAGE_H
#define PL_BINDING_OP_PAGE_H

#include <lua.h>

#include "store/store.h"

/* Pushes {root=, key=, len=, next=} and the object of a tree_page that was read. May raise; else the op is held, and
 * belongs to the object. */
int pl__page_push(lua_State *L, pl_op_t *op);
/* Sets up the metatable. */
void pl__page_register(lua_State *L);

#endif
