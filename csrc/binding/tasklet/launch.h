/*
 * launch.h - functions for Lua that start tasklets, and make the futures they wait for most: sleeps of no time. Their
 * upvalues are those of shared.h, which step.c gives them.
 */
#ifndef PL_BINDING_TASKLET_LAUNCH_H
#define PL_BINDING_TASKLET_LAUNCH_H

#include <lua.h>

/* launch(task, level) -> task. A table becomes a task, made at that level of the stack, and is queued. */
int pl__launch(lua_State *L);
/* prepare(task, level) -> task. The same, but it is not queued: whoever has it begins it. */
int pl__launch_prepare(lua_State *L);
/* starter(body, start) -> a function that starts the body as a tasklet. When there are contexts, start(body, ...)
 * does. */
int pl__launch_starter(lua_State *L);
/* use_contexts(): there are contexts from now on. */
int pl__launch_use_contexts(lua_State *L);
/* soon() -> a sleep of no time, as Loop.add_soon adds it; nothing if this is no tasklet. */
int pl__launch_soon(lua_State *L);

#endif
