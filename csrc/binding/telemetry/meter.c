/*
 * meter.c - what an engine has counted, as a Lua table. See meter.h.
 */
#include "binding/telemetry/meter.h"

#include <string.h>

#include <lauxlib.h>

#include "binding/coroutine/claim.h"
#include "binding/op/pusher.h"

static void set_histogram(lua_State *L, const char *name, const pl_histogram_t *histogram, int first) {
    lua_createtable(L, PL_HISTOGRAM_BUCKETS, 2);
    for (int i = 0; i < PL_HISTOGRAM_BUCKETS; i++) {
        lua_pushinteger(L, (lua_Integer)histogram->counts[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushinteger(L, (lua_Integer)histogram->sum);
    lua_setfield(L, -2, "sum");
    lua_pushinteger(L, first);
    lua_setfield(L, -2, "first");
    lua_setfield(L, -2, name);
}

static void set_counts(lua_State *L, const char *name, const uint64_t *counts) {
    lua_newtable(L);
    for (int i = 0; i < PL_METER_KINDS; i++)
        if (counts[i] > 0) {
            lua_pushinteger(L, (lua_Integer)counts[i]);
            lua_setfield(L, -2, pl_task_kind_name(i));
        }
    lua_setfield(L, -2, name);
}

static void push_queue(lua_State *L, const pl_meter_queue_t *of) {
    lua_createtable(L, 0, 8);
    if (of->queue.ptr) {
        pl__push_str(L, of->queue);
        lua_setfield(L, -2, "queue");
    }
    set_counts(L, "started", of->meter.started);
    set_counts(L, "succeeded", of->meter.succeeded);
    set_counts(L, "failed", of->meter.failed);
    set_counts(L, "dead", of->meter.dead);
    set_histogram(L, "execute_us", &of->meter.execute, PL_HISTOGRAM_TIME_FIRST);
    set_histogram(L, "queue_us", &of->meter.queue, PL_HISTOGRAM_TIME_FIRST);
}

/* Gives the queues copies of their names, in `names`, which has room for `room` bytes. Returns how many are needed; if
 * that is more, nothing was copied. */
static size_t keep_names(pl_meter_queue_t *queues, int len, char *names, size_t room) {
    size_t needed = 0;
    for (int i = 0; i < len; i++)
        needed += queues[i].queue.len;
    for (int i = 0; needed <= room && i < len; i++)
        if (queues[i].queue.len > 0) {
            memcpy(names, queues[i].queue.ptr, queues[i].queue.len);
            queues[i].queue.ptr = names;
            names += queues[i].queue.len;
        }
    return needed;
}

/* What makes Lua objects may run finalizers, and those may close the engine: so all is copied from it first. */
static int meter_push(lua_State *L, pl__handle_t *h) {
    pl_meter_facts_t facts;
    pl_meter_queue_t *queues = lua_newuserdatauv(L, (PL_METER_QUEUE_MAX + 1) * sizeof *queues, 0);
    char *names = NULL;
    int len = 0;
    for (size_t room = 0, needed;; room = needed) {
        if (pl__handle_refuse(L, h))
            return 3;
        len = pl_engine_meter(h->engine, &facts, queues);
        needed = keep_names(queues, len, names, room);
        if (needed <= room)
            break;
        names = lua_newuserdatauv(L, needed, 0);
    }
    lua_createtable(L, 0, 4);
    set_histogram(L, "commit_us", &facts.commit_us, PL_HISTOGRAM_TIME_FIRST);
    set_histogram(L, "commit_ops", &facts.commit_ops, PL_HISTOGRAM_COUNT_FIRST);
    set_histogram(L, "lag_us", &facts.lag_us, PL_HISTOGRAM_TIME_FIRST);
    lua_createtable(L, len, 0);
    for (int i = 0; i < len; i++) {
        push_queue(L, &queues[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "queues");
    return 1;
}

void pl__meter_register(lua_State *L) {
    static const pl__method_t METHODS[] = { { "meter", meter_push }, { NULL, NULL } };
    static const luaL_Reg ALWAYS[] = {
        { "executing", pl__claim_executing },
        { "claim_of_running", pl__claim_of_running },
        { NULL, NULL },
    };
    pl__methods_set(L, METHODS);
    luaL_setfuncs(L, ALWAYS, 0);
}
