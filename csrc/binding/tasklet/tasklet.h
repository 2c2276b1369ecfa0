/*
 * tasklet.h - ops that a tasklet waits for: it is suspended as a managed coroutine is, and others go on.
 *
 * The library of tasklets says with core.set_tasklets(begin, wait, done) how that goes:
 *   begin(engine) -> a future, if the running code is a tasklet that may be suspended until that engine's loop has had
 *                    its turn; else nil
 *   wait(future)     suspends the tasklet until the future is done
 *   done(future)     makes it done
 */
#ifndef PL_BINDING_TASKLET_TASKLET_H
#define PL_BINDING_TASKLET_TASKLET_H

#include <lua.h>

#include "binding/coroutine/coroutine.h"

/*
 * If the running code is a tasklet that may be suspended: takes op, submits it, and sets *results to what is to be
 * returned from the C function called by Lua. Else returns false. May raise; op is freed then.
 */
bool pl__tasklet_await_op(lua_State *L, pl__handle_t *h, pl_op_t *op, int *results);

/* Adds core.set_tasklets; `core` is on the top of the stack. */
void pl__tasklet_register(lua_State *L);

#endif
