/*
 * run.h - running the loop of an engine on a Lua thread.
 */
#ifndef PL_BINDING_RUN_H
#define PL_BINDING_RUN_H

#include "binding/handle.h"

/* Runs the loop on L, which has the handle at index 1 of its frame. Returns a result of pl_engine_run. */
int pl__run(lua_State *L, pl__handle_t *h, pl_run_mode_t mode, double timeout, bool signals);
/* The same again and again, until it is over, the loop was stopped, or has failed: returns a result of
 * pl_engine_run. */
int pl__run_until(lua_State *L, pl__handle_t *h, bool (*is_over)(const void *data), const void *data);
/* Pushes nil, "ESTATE", a message and returns 3 where the loop cannot be run, so that nobody can `what` ("wait") there;
 * else returns 0. */
int pl__run_refuse(lua_State *L, const pl__handle_t *h, const char *what);

#endif
