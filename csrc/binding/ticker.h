/*
 * ticker.h - the ticker of an engine: calls a Lua function from its loop, on its clock. So the event loop of tasklets
 * lives inside the run of the engine.
 *
 * And the "wait" hook, by which others, with loops of their own, have their turns while the engine waits; and the
 * "fire" hook, which fires the schedules that are due.
 */
#ifndef PL_BINDING_TICKER_H
#define PL_BINDING_TICKER_H

#include <lua.h>

#include "binding/handle.h"

/* It is called at the next turn of the loop, whatever it has asked for. Nothing while the engine is closing. */
void pl__ticker_call(pl__handle_t *h);
/* The loop of the engine is about to sleep in run(): calls the "wait" hook, which waits for it and for others. Returns
 * whether that was done. */
bool pl__ticker_wait(pl__handle_t *h);
/* Schedules are due: calls the "fire" hook. */
void pl__ticker_fire(pl__handle_t *h);
/* Adds schedule_tick, idle, fired, next_fire to the method table on top of the stack. */
void pl__ticker_register(lua_State *L);

#endif
