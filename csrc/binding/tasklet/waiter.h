/*
 * waiter.h - a coroutine of an engine waits for a future of tasklets: it is among those who wait for it, as a tasklet
 * is, and goes on when it is done.
 */
#ifndef PL_BINDING_TASKLET_WAITER_H
#define PL_BINDING_TASKLET_WAITER_H

#include <stdbool.h>

#include <lua.h>

#include "binding/handle.h"

/* Whether the running code is a coroutine of the engine h (NULL: of none), and may wait. */
bool pl__waiter_is_possible(lua_State *L, const pl__handle_t *h);
/* Pushes who waits for the future at index `on`, on the loop on top of the stack, which it pops. The functions that
 * know futures enter it there, and give it its place; when it is left there, for its coroutine is closed, it calls
 * leave(future, waiter, place) of pl__waiter_register. May raise. */
void pl__waiter_push(lua_State *L, pl__handle_t *h, int on);
/* The place that the waiter at `index` has among those who wait. */
void pl__waiter_set_place(lua_State *L, int index, lua_Integer place);
/* The future is done already: it goes on in the next turn of the loop. */
void pl__waiter_end(lua_State *L, int index);
/* To be returned from a C function called by Lua: suspends the coroutine until the future is done. `k` goes on, and
 * calls pl__wait_check first. */
int pl__waiter_suspend(lua_State *L, pl__handle_t *h, lua_KFunction k);

/* Makes the metatable of waiters; `leave` is on top of the stack, which it pops. */
void pl__waiter_register(lua_State *L);

#endif
