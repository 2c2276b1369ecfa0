/*
 * watch.h - reaching Lua code that keeps the loop busy: run timeouts, cancellation. See watch.c.
 */
#ifndef PL_BINDING_WATCH_H
#define PL_BINDING_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

struct pl__handle;
struct pl__coroutine;

typedef struct {
    pthread_t loop;       /* the thread that runs the coroutines */
    _Atomic int64_t busy; /* when what is being resumed is to be reached; 0: not at all, or nothing is */
    _Atomic int64_t wake; /* when the watching thread looks next; INT64_MAX: never */
    _Atomic bool closing;
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t mutex; /* of loop */
    int wake_fd;           /* an eventfd: the watching thread looks now */
} pl__watch_t;

/* Code for which a coroutine of an engine answers: its own, or that of a tasklet it has started. */
typedef struct pl__watched {
    struct pl__watched *outer;
    struct pl__handle *h;
    struct pl__coroutine *rec;
    lua_State *co;   /* where the code begins */
    const void *run; /* of a tasklet: see pl__watch_push_run */
} pl__watched_t;

/* Around lua_resume of the coroutine of rec; nothing may raise in between. */
void pl__watch_enter(pl__watched_t *self, struct pl__handle *h, struct pl__coroutine *rec);
void pl__watch_leave(pl__watched_t *self);

/* Pushes what stands for the run whose code is running, or nothing: it is no run. Returns whether it has pushed. May
 * raise. */
bool pl__watch_push_run(lua_State *L, struct pl__handle *h);
/* The same for the tasklet `co`, whose code is running. */
bool pl__watch_push_run_of(lua_State *L, const lua_State *co);
/* As pl__watch_enter, around lua_resume of `co`, a tasklet that was started by `run` (pushed by these). Returns false,
 * and has done nothing, when that run is over: then it is not to be left. */
bool pl__watch_enter_tasklet(pl__watched_t *self, const void *run, lua_State *co);
/* Around a run of the engine: what runs inside ends with it, too, when it is to stop. */
void pl__watch_begin_run(struct pl__handle *h);
void pl__watch_end_run(struct pl__handle *h);
/* host.interrupted: inside a signal handler, on the thread of the loop. */
void pl__watch_interrupted(struct pl__handle *h);
/* The code of rec has ended: it has no deadline any more. Whether it was reached at its deadline is rec->late. */
void pl__watch_end_code(struct pl__handle *h, struct pl__coroutine *rec);
/* Joins the thread. */
void pl__watch_close(struct pl__handle *h);
/* Adds deadline to the method table on top of the stack. */
void pl__watch_register(lua_State *L);

#endif
