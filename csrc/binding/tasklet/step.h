/*
 * step.h - the steps of tasklets that are taken again and again: run one until it waits or ends, wait for a future.
 */
#ifndef PL_BINDING_TASKLET_STEP_H
#define PL_BINDING_TASKLET_STEP_H

#include <lua.h>

/* Adds core.tasklets and core.drain; `core` is on the top of the stack. */
void pl__step_register(lua_State *L);

#endif
