/*
 * run.h - running the loop of an engine on a Lua thread.
 */
#ifndef PL_BINDING_RUN_H
#define PL_BINDING_RUN_H

#include "binding/handle.h"

/* Runs the loop on L, which has the handle at index 1 of its frame. Returns a result of pl_engine_run. */
int pl__run(lua_State *L, pl__handle_t *h, pl_run_mode_t mode, double timeout, bool signals);

#endif
