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
    pthread_t loop;          /* the thread that runs the coroutines */
    _Atomic int64_t busy;    /* deadline of the coroutine that is being resumed; 0: it has none, or none is */
    _Atomic int64_t wake_at; /* when the watching thread looks next; INT64_MAX: never */
    bool has_thread, closing;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
} pl__watch_t;

/* Around lua_resume: `outer` is what enter returned. */
struct pl__handle *pl__watch_enter(struct pl__handle *h, struct pl__coroutine *rec);
void pl__watch_leave(struct pl__handle *h, struct pl__coroutine *rec, struct pl__handle *outer);
/* host.interrupted: inside a signal handler, on the thread of the loop. */
void pl__watch_interrupted(struct pl__handle *h);
/* Joins the thread. */
void pl__watch_close(struct pl__handle *h);
/* Adds deadline to the method table on top of the stack. */
void pl__watch_register(lua_State *L);

#endif
