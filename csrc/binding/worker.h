/*
 * worker.h - what the coroutines of tasklets run: function after function, so that a tasklet costs no coroutine of its
 * own.
 */
#ifndef PL_BINDING_WORKER_H
#define PL_BINDING_WORKER_H

#include <lua.h>

/* Adds core.worker and core.where; `core` is on the top of the stack. */
void pl__worker_register(lua_State *L);

#endif
