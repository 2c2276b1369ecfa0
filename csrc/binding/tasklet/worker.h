/*
 * worker.h - the Lua threads of suspended functions, of whatever kind: function after function runs in them, so that
 * neither a tasklet nor a task costs a coroutine of its own.
 *
 * A worker is a table {thread}, with a finalizer: what was dropped while it waits is to be closed. There is one pool of
 * idle ones in a Lua state, and one function that resumes them.
 */
#ifndef PL_BINDING_TASKLET_WORKER_H
#define PL_BINDING_TASKLET_WORKER_H

#include <stdbool.h>

#include <lua.h>

#include "binding/whose.h"

enum { PL__WORKER_CO = 1, PL__WORKERS_MAX = 512 }; /* field of a worker: its thread; how many idle ones are kept */

/* How a worker has come back; as in lua/pipeline/tasklet/task.lua. */
typedef enum {
    PL__WORKER_ENDED,   /* its function has returned; the worker is idle */
    PL__WORKER_FAILED,  /* its function has raised, and its variables are closed; the worker is idle */
    PL__WORKER_WAITS,   /* its function has called pl__worker_wait */
    PL__WORKER_YIELDED, /* its function has yielded by itself */
    PL__WORKER_DEAD     /* the error was not caught, or it was dead */
} pl__worker_state_t;

/* The pool of a Lua state. */
typedef struct {
    pl__whose_t *whose;
    lua_State *running;                  /* what was resumed last and has not come back */
    bool has_contexts;                   /* core.keep_contexts was called */
    int idle;                            /* how many there are in the list of idle ones */
    lua_State *threads[PL__WORKERS_MAX]; /* of those */
} pl__workers_t;

/* That of the Lua state; borrowed until it is closed. May raise. */
pl__workers_t *pl__workers_get(lua_State *L);
/* Pushes its list of idle workers. May raise. */
void pl__workers_push_idle(lua_State *L);

/* Pushes a worker that has nothing to do, and returns its thread. The list of idle ones is at the index `idle`. To
 * begin, it is resumed with a function, its arguments and a message handler. May raise. */
lua_State *pl__worker_push(lua_State *L, pl__workers_t *self, int idle);
/* The worker at `index`, whose thread is co, is idle. Returns false if it is not kept: there are many, or somebody has
 * set a debug hook in it, which it would carry into the next function. */
bool pl__worker_put(lua_State *L, pl__workers_t *self, int idle, int index, lua_State *co);
/* What the function in the worker co has had as its context, being no tasklet, is not that of the next one. */
void pl__worker_end_context(lua_State *L, const pl__workers_t *self, lua_State *co);
/* The one place where a suspended function goes on, with the `nargs` values on top of co. The running code is meanwhile
 * `whose`. Leaves *n values on top of co: results, the error, or what was yielded. Raises nothing. */
pl__worker_state_t pl__worker_resume(pl__workers_t *self, lua_State *L, lua_State *co, int nargs, pl__whose_t whose,
                                     int *n);
/* Closes the to-be-closed variables in the worker co, wherever it stands; it cannot be used again. The running code is
 * meanwhile `whose`. Returns the status; if it is not LUA_OK the error is on top of co. */
int pl__worker_close(pl__workers_t *self, lua_State *L, lua_State *co, pl__whose_t whose);
/* To be returned from a C function called by the function in the worker L, which can yield: it waits, and its resumer
 * gets n values. `k` goes on. */
int pl__worker_wait(lua_State *L, int n, lua_KContext context, lua_KFunction k);

/* Pushes "file:line" of that level of the stack, on top of other values; false if there is no such level. The texts are
 * kept in the table at index `places`: this is called for every future, and a new string each time would cost more than
 * the rest. */
bool pl__worker_push_where(lua_State *L, int level, int places);
/* The same of a frame of which source and line are known. */
void pl__worker_push_place(lua_State *L, const lua_Debug *ar, int places);

/* Adds core.on_orphaned, core.keep_contexts, core.note_workers, core.call_unyieldable and core.where; `core` is on the
 * top of the stack. */
void pl__worker_register(lua_State *L);

#endif
