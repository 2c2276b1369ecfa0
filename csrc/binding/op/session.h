/*
 * session.h - a transaction of the user as a Lua object, "pipeline.Session".
 *
 * It has the verbs of an engine, which belong to the transaction, and what those who use them need besides. It is made
 * before the transaction begins, so that whatever happens there is somebody who ends it: dropped, it is rolled back.
 */
#ifndef PL_BINDING_OP_SESSION_H
#define PL_BINDING_OP_SESSION_H

#include <lua.h>

/* Adds session to the method table of engines on top of the stack. */
void pl__session_register(lua_State *L);

#endif
