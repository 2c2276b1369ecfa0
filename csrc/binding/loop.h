/*
 * loop.h - the uv loop of a Lua state, "pipeline.Loop".
 *
 * There is one per Lua state: that of `luv` when it is loaded, else one of our own, which is lent to `luv` when it is
 * loaded later. Tasklets wait on it when no engine is open, and the first engine with real time is opened on it, so
 * that handles of luv, tasklets and the engine live together.
 */
#ifndef PL_BINDING_LOOP_H
#define PL_BINDING_LOOP_H

#include <lua.h>

struct uv_loop_s;
typedef struct pl__state_loop pl__state_loop_t; /* memory of the userdata */

/* The loop at `arg`, or NULL if there is none; raises if it is something else. Borrows until the state is closed. */
struct uv_loop_s *pl__loop_at(lua_State *L, int arg);
/* The same as the object it is; raises if it is none. */
pl__state_loop_t *pl__loop_check(lua_State *L, int arg);
/* From a callback of the loop: a poll that may be under way ends, though nothing has happened that uv knows of. */
void pl__loop_end_poll(const pl__state_loop_t *loop);
/* Adds core.loop, core.now and core.poll; `core` is on the top of the stack. */
void pl__loop_register(lua_State *L);

#endif
