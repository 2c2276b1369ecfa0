/*
 * guest.h - the guest of an engine: a Lua function called from its loop, on its clock. The event loop of tasklets is
 * one: it lives inside the run of the engine.
 */
#ifndef PL_BINDING_GUEST_H
#define PL_BINDING_GUEST_H

#include <lua.h>

#include "binding/handle.h"

/* The guest is called at the next turn of the loop, whatever it has asked for. Nothing while the engine is closing. */
void pl__guest_call(pl__handle_t *h);
/* Adds arm, idle to the method table on top of the stack. */
void pl__guest_register(lua_State *L);

#endif
