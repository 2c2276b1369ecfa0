/*
 * worker.h - what the coroutines of tasklets run: function after function, so that a tasklet costs no coroutine of its
 * own.
 */
#ifndef PL_BINDING_TASKLET_WORKER_H
#define PL_BINDING_TASKLET_WORKER_H

#include <stdbool.h>

#include <lua.h>

/* What is yielded first, as light userdata: by a worker whose body has ended, and by a body that waits. */
const void *pl__worker_done(void);
const void *pl__worker_wait(void);

/* Pushes "file:line" of that level of the stack, on top of other values; false if there is no such level. The texts are
 * kept in the table at index `places`: this is called for every future, and a new string each time would cost more than
 * the rest. */
bool pl__worker_push_where(lua_State *L, int level, int places);

/* Adds core.worker and core.where; `core` is on the top of the stack. */
void pl__worker_register(lua_State *L);

#endif
