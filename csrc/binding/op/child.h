/*
 * child.h - the children of a run, gathered one by one into the op that will make them real.
 *
 * Children of one class have their settings in common: these are read once, and copied for each child from then on.
 */
#ifndef PL_BINDING_OP_CHILD_H
#define PL_BINDING_OP_CHILD_H

#include <lua.h>

#include "store/store.h"

#define PL__CHILDREN_TYPE "pipeline.Children"

/* Returns owned: the op with the children in the value at `index`; it has no other any more. NULL: that is not a list
 * of children, or its op was taken before. */
pl_op_t *pl__children_take(lua_State *L, int index);

/* Adds `children` to the table on top of the stack. */
void pl__children_register(lua_State *L);

#endif
