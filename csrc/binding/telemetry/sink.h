/*
 * sink.h - what the host callbacks of an engine get, and its log lines on their way to the "log" hook.
 *
 * Lines come from any thread, and the hook is Lua code: they wait in the sink until the thread of the loop hands them
 * over while no Lua code runs.
 */
#ifndef PL_BINDING_SINK_H
#define PL_BINDING_SINK_H

#include <pthread.h>
#include <stdatomic.h>

#include "binding/handle.h"

typedef struct pl__line pl__line_t;

struct pl__sink {
    pl__handle_t *h; /* NULL: the Lua state is gone */
    pthread_mutex_t lock;
    pl__line_t *head, *tail;
    int pending;
    _Atomic bool any;
};

/* NULL: no memory. */
pl__sink_t *pl__sink_new(pl__handle_t *h);
/* With the lines that wait; NULL is allowed. */
void pl__sink_free(pl__sink_t *sink);
/* Queues a line; any thread. */
void pl__sink_add(pl__sink_t *sink, int level, const char *text);

/* Queues a line for the "log" hook; any thread, never raises. */
void pl__log(pl__handle_t *h, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Hands queued lines to the hook. `L` has the handle at index 1. Does nothing while Lua code runs. */
void pl__log_drain(lua_State *L, pl__handle_t *h);

#endif
