/*
 * ops.h - Lua tables as ops.
 *
 * An op outlives the call that made it, so every string is copied into its arena. All arguments are checked, in a
 * protected call, before anything is submitted: misuse frees the op and raises an argument error which names the
 * place, such as `children[3].max_attempts: integer expected, got string`.
 */
#ifndef PL_BINDING_OPS_H
#define PL_BINDING_OPS_H

#include <limits.h>

#include <lua.h>

#include "binding/handle.h"

#define PL__FLAGS_AS_STORED UINT_MAX /* outcome: the table did not tell */

/* Returns owned: an op built from the arguments of the running method (self at index 1), or NULL: out of memory. */
pl_op_t *pl__op_build(lua_State *L, pl_verb_t verb);

#endif
