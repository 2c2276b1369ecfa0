/*
 * thread.h - the Lua threads of managed coroutines. All of this runs inside the trampoline: the handle is at index 1 of
 * L, which is not the thread.
 */
#ifndef PL_BINDING_COROUTINE_THREAD_H
#define PL_BINDING_COROUTINE_THREAD_H

#include <lua.h>

#include "binding/coroutine/coroutine.h"

/* Pushes a worker that has nothing to do, and returns its thread. May raise, and run finalizers. */
lua_State *pl__thread_push(lua_State *L, const pl__handle_t *h);
/* Makes the worker at `index`, whose thread is co, that of the record. May raise; runs no finalizers. */
void pl__thread_anchor(lua_State *L, pl__coroutine_t *rec, int index, lua_State *co);
/* The function in the thread has ended: others may have it. */
void pl__thread_give_back(lua_State *L, pl__coroutine_t *rec);
/* The message handler in the thread: remembers the first error. */
int pl__thread_on_error(lua_State *L);
/* Pushes what it has remembered of the thread co, and forgets it: the error, and the same with a traceback, if it is a
 * text. Returns false, and pushes nothing, if there is none. */
bool pl__thread_push_failure(lua_State *L, const lua_State *co);
/* Forgets what an early wake has left. */
void pl__thread_clear_mailbox(lua_State *L, pl__coroutine_t *rec);
/* For the trampoline. Ends the thread of a record wherever it stands. Its to-be-closed variables run now; an error of
 * theirs that is not the one the coroutine died of is reported. Stack: handle, record. */
int pl__thread_kill_entry(lua_State *L);

#endif
