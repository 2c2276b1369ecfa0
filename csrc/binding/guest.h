/*
 * guest.h - the guest of an engine: a Lua function called from its loop, on its clock. The event loop of tasklets is
 * one: it lives inside the run of the engine. And the "wait" hook, by which others, with loops of their own, have their
 * turns while the engine waits; and the "fire" hook, which fires the schedules that are due.
 */
#ifndef PL_BINDING_GUEST_H
#define PL_BINDING_GUEST_H

#include <lua.h>

#include "binding/handle.h"

/* The guest is called at the next turn of the loop, whatever it has asked for. Nothing while the engine is closing. */
void pl__guest_call(pl__handle_t *h);
/* The loop of the engine is about to sleep in run(): calls the "wait" hook, which waits for it and for others. Returns
 * whether that was done. */
bool pl__guest_wait(pl__handle_t *h);
/* Schedules are due: calls the "fire" hook. */
void pl__guest_fire(pl__handle_t *h);
/* Adds arm, idle, fired, next_fire to the method table on top of the stack. */
void pl__guest_register(lua_State *L);

#endif
