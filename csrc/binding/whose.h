/*
 * whose.h - which engine the running code works for.
 *
 * One per Lua state: what was entered last, and has not come back. Managed coroutines belong to their engine, tasklets
 * to the one they were started for (lua/pipeline/current.lua knows which), other callbacks of a loop to nobody, and
 * plain coroutines to whoever runs them. Whoever enters Lua code sets it, and sets it back, whatever happens inside.
 */
#ifndef PL_BINDING_WHOSE_H
#define PL_BINDING_WHOSE_H

#include <stdbool.h>

#include <lua.h>

struct pl__handle;

typedef struct {
    struct pl__handle *engine; /* of the managed coroutine; NULL: none */
    bool is_tasklet;
} pl__whose_t;

/* That of the Lua state; borrowed until it is closed. May raise. */
pl__whose_t *pl__whose_get(lua_State *L);
/* Pushes the table that the registry has under the address `key`, made if it is not there: what is in it is found, not
 * held. May raise. */
void pl__whose_push_weak(lua_State *L, const void *key);
/* The handle on top of the stack can be found by its address from now on, as long as it is not collected. */
void pl__whose_add(lua_State *L, const struct pl__handle *h);
/* Pushes the handle with that address; nil: there is none. Does not raise. */
void pl__whose_push(lua_State *L, const struct pl__handle *h);
/* Adds core.whose() -> the engine of the managed coroutine, or true in a tasklet, or nil. `core` is on the top of the
 * stack. */
void pl__whose_register(lua_State *L);

#endif
