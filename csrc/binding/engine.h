/*
 * engine.h - the engine of a Lua program, "pipeline.Engine".
 */
#ifndef PL_BINDING_ENGINE_H
#define PL_BINDING_ENGINE_H

#include <lua.h>

/* Sets up the metatable and core.open; `core` is on the top of the stack. */
void pl__engine_register(lua_State *L);

#endif
