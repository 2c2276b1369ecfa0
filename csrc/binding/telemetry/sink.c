/*
 * sink.c - log lines on their way to the "log" hook. See sink.h.
 */
#include "binding/telemetry/sink.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "binding/trampoline.h"

#define LOG_PENDING_MAX 1000 /* lines that wait for the hook; more are dropped */

struct pl__line {
    pl__line_t *next;
    int level;
    char text[]; /* with a NUL */
};

pl__sink_t *pl__sink_new(pl__handle_t *h) {
    pl__sink_t *sink = pl__alloc(sizeof *sink);
    if (!sink)
        return NULL;
    sink->h = h;
    if (pthread_mutex_init(&sink->lock, NULL) != 0) {
        pl__free(sink);
        return NULL;
    }
    return sink;
}

static pl__line_t *sink_take(pl__sink_t *sink) {
    pthread_mutex_lock(&sink->lock);
    pl__line_t *lines = sink->head;
    sink->head = sink->tail = NULL;
    sink->pending = 0;
    atomic_store(&sink->any, false);
    pthread_mutex_unlock(&sink->lock);
    return lines;
}

void pl__sink_free(pl__sink_t *sink) {
    if (!sink)
        return;
    pl__line_t *next;
    for (pl__line_t *line = sink_take(sink); line; line = next) {
        next = line->next;
        pl__free(line);
    }
    pthread_mutex_destroy(&sink->lock);
    pl__free(sink);
}

void pl__sink_add(pl__sink_t *sink, int level, const char *text) {
    size_t size = strlen(text) + 1;
    pl__line_t *line = pl__alloc(sizeof *line + size);
    if (!line)
        return;
    line->level = level;
    memcpy(line->text, text, size);
    pthread_mutex_lock(&sink->lock);
    if (sink->pending < LOG_PENDING_MAX) {
        if (sink->tail)
            sink->tail->next = line;
        else
            sink->head = line;
        sink->tail = line;
        sink->pending++;
        atomic_store(&sink->any, true);
        line = NULL;
    }
    pthread_mutex_unlock(&sink->lock);
    pl__free(line);
}

void pl__log(pl__handle_t *h, int level, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pl__sink_add(h->sink, level, text);
}

/* Stack: handle, line. */
static int log_entry(lua_State *L) {
    const pl__line_t *line = lua_touserdata(L, 2);
    if (lua_getiuservalue(L, 1, PL__UV_LOG) == LUA_TNIL) {
        if (line->level >= PL_LOG_WARNING)
            fprintf(stderr, "pipeline: %s\n", line->text);
        return 0;
    }
    lua_pushinteger(L, line->level);
    lua_pushstring(L, line->text);
    lua_call(L, 2, 0);
    return 0;
}

void pl__log_drain(lua_State *L, pl__handle_t *h) {
    if (h->entered || !atomic_load(&h->sink->any))
        return;
    pl__line_t *next;
    for (pl__line_t *line = sink_take(h->sink); line; line = next) {
        next = line->next;
        pl__enter(L, log_entry, line);
        pl__free(line);
    }
}
