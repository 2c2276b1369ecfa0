/*
 * guest.h - the guest of an engine: a Lua function called from its loop, on its clock. The event loop of tasklets is
 * one: it lives inside the run of the engine.
 */
#ifndef PL_BINDING_GUEST_H
#define PL_BINDING_GUEST_H

#include <lua.h>

/* Adds arm, idle to the method table on top of the stack. */
void pl__guest_register(lua_State *L);

#endif
