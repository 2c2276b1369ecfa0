/*
 * tasklet.h - ops that a tasklet waits for: it is suspended as a coroutine of the engine is, and others go on.
 */
#ifndef PL_BINDING_TASKLET_TASKLET_H
#define PL_BINDING_TASKLET_TASKLET_H

#include <lua.h>

#include "binding/coroutine/coroutine.h"

/*
 * If the running code is a tasklet that may be suspended until that engine's loop has had its turn: takes op, submits
 * it, and suspends it; to be returned from a C function called by Lua, with the handle at index 1. Else returns -1.
 * May raise; op is freed then.
 */
int pl__tasklet_await_op(lua_State *L, pl__handle_t *h, pl_op_t *op);

/* For step.c, which gives them the upvalues of shared.h. begin(engine) -> a future, if the running code is such a
 * tasklet; else nothing. */
int pl__tasklet_begin(lua_State *L);
/* done(future): it is done; harmless if it was. */
int pl__tasklet_done(lua_State *L);
/* Has pl__tasklet_await_op call these two, which it pops from the stack: begin, done. */
void pl__tasklet_set_hooks(lua_State *L);

/* Makes the metatable of what waits. */
void pl__tasklet_register(lua_State *L);
/* Adds end_waits to the method table of engines on top of the stack. */
void pl__tasklet_register_methods(lua_State *L);

#endif
