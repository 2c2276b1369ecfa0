/*
 * await.h - the one place that knows the ways to wait for an op.
 */
#ifndef PL_BINDING_COROUTINE_AWAIT_H
#define PL_BINDING_COROUTINE_AWAIT_H

#include <lua.h>

#include "binding/coroutine/coroutine.h"

/* Takes op: submits it (or, with claim, ends that claim with it), waits until it is committed and pushes its results.
 * To be returned from a C function called by Lua, with the handle at index 1. Where pl__coroutine_can_await it yields,
 * in a tasklet it awaits, else it blocks the thread. */
int pl__await_op(lua_State *L, pl__handle_t *h, pl_op_t *op, pl_claim_t *claim);

#endif
