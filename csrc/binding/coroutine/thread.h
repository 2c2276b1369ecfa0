/*
 * thread.h - the Lua threads of managed coroutines. All of this runs inside the trampoline: the handle is at index 1 of
 * L, which is not the thread.
 */
#ifndef PL_BINDING_COROUTINE_THREAD_H
#define PL_BINDING_COROUTINE_THREAD_H

#include <lua.h>

#include "binding/coroutine/coroutine.h"

/* Makes the thread at `index` that of the record. May raise; runs no finalizers. */
void pl__thread_anchor(lua_State *L, pl__coroutine_t *rec, int index);
/* Gives the record a thread if it has none. May raise. */
void pl__thread_make(lua_State *L, pl__coroutine_t *rec);
/* Forgets the thread. */
void pl__thread_drop(lua_State *L, pl__coroutine_t *rec);
/* Forgets what an early wake has left. */
void pl__thread_clear_mailbox(lua_State *L, pl__coroutine_t *rec);
/* For the trampoline. Ends the thread of a record wherever it stands. Its to-be-closed variables run now; an error of
 * theirs that is not the one the coroutine died of is reported. Stack: handle, record. */
int pl__thread_kill_entry(lua_State *L);

#endif
