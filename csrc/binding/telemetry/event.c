/*
 * event.c - events of the engine on their way to the "event" hook. See event.h.
 *
 * The end of an attempt is told as values, because there may be a hundred thousand a second: fn("ended", time, task,
 * claim, stage, root, kind, attempt, max_attempts, queue, name, class, key, took (seconds of the attempt), late
 * (seconds from when the task could run to when it did), sampled (and no span yet), request (of a stage: the trace kept
 * with its root), FAILURE); nil is what does not apply.
 * FAILURE (nil: it has ended well): will_retry, died, error_class, message, traceback, again, status.
 *
 * All else as fn(what, EVENT), what = "final" | "paused" | "joined" | "lost" | "stopping", with time and as far as they
 * apply task (the id of the stage), state, queue, worker (number), pid.
 */
#include "binding/telemetry/event.h"

#include <lauxlib.h>

#include "binding/facts.h"
#include "binding/op/pusher.h"
#include "binding/telemetry/sink.h"
#include "binding/telemetry/span.h"
#include "binding/trampoline.h"

static void append(pl__handle_t *h, pl_event_t *event) {
    event->next = NULL;
    if (h->events_last)
        h->events_last->next = event;
    else
        h->events = event;
    h->events_last = event;
}

void pl__event_add(pl__handle_t *h, pl_event_t *event) {
    event->owned = false;
    if (!h->closing)
        append(h, event);
}

void pl__event_keep(pl__handle_t *h) {
    pl_event_t *event = h->events, *next;
    bool is_short = false;
    h->events = h->events_last = NULL;
    for (; event; event = next) {
        next = event->next;
        pl_event_t *kept = event->owned ? event : pl__event_dup(event);
        if (kept) {
            kept->owned = true;
            append(h, kept);
        }
        is_short |= !kept;
    }
    if (is_short)
        pl__log(h, PL_LOG_ERROR, "out of memory: an event was not told of");
}

static void forget(pl_event_t *event) {
    if (event && event->owned)
        pl__free(event);
}

void pl__event_forget(pl__handle_t *h) {
    for (pl_event_t *event = h->events, *next; event; event = next) {
        next = event->next;
        forget(event);
    }
    forget(h->event_told);
    h->events = h->events_last = h->event_told = NULL;
    pl__spans_free(h->spans);
    h->spans = NULL;
}

/* ---- as values --------------------------------------------------------------------------------------------------- */

static void set_number(lua_State *L, const char *name, lua_Integer number) {
    if (number == 0)
        return;
    lua_pushinteger(L, number);
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool flag) {
    lua_pushboolean(L, flag);
    lua_setfield(L, -2, name);
}

static void push_number(lua_State *L, lua_Integer number) {
    if (number == 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, number);
}

static void push_seconds(lua_State *L, bool has_it, pl_usec_t span) {
    if (!has_it)
        lua_pushnil(L);
    else
        lua_pushnumber(L, (lua_Number)(span > 0 ? span : 0) / 1e6);
}

/* That of a task without a stage, which may have none but its id. */
static void push_name(lua_State *L, const pl__handle_t *h, const pl_event_t *event) {
    if (!event->name.ptr && event->kind >= PL_TASK_PUSH && h->tells_names)
        pl__push_name(L, h, event->task, PL_STR_LIT("task-")); /* as taskqueue/task.lua */
    else
        pl__push_str(L, event->name);
}

static void push_failure(lua_State *L, const pl_event_t *event) {
    if (!event->failed) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 8);
    set_flag(L, "will_retry", event->will_retry);
    set_flag(L, "died", event->died);
    pl__set_str(L, "error_class", event->error_class);
    pl__set_str(L, "message", event->message);
    pl__set_str(L, "traceback", event->traceback);
    if (event->again != 0) {
        pl__push_time(L, event->again);
        lua_setfield(L, -2, "again");
    }
    set_number(L, "status", event->status);
}

/* Returns how many values. */
static int push_end(lua_State *L, const pl__handle_t *h, const pl_event_t *event, bool is_span) {
    bool has_times = event->started != 0;
    pl_usec_t took = event->ended - event->started;
    lua_pushliteral(L, "ended");
    pl__push_time(L, event->time);
    lua_pushinteger(L, event->task);
    lua_pushinteger(L, event->claim);
    push_number(L, event->stage);
    push_number(L, event->root);
    lua_pushstring(L, pl_task_kind_name((int)event->kind));
    push_number(L, event->attempt);
    push_number(L, event->max_attempts);
    if (event->kind != PL_TASK_PULL && !event->queue.ptr)
        lua_pushliteral(L, "default");
    else
        pl__push_str(L, event->queue);
    push_name(L, h, event);
    pl__push_str(L, event->class_path);
    pl__push_str(L, event->key);
    push_seconds(L, has_times, took);
    push_seconds(L, has_times && event->eta > 0, event->time - took - event->eta);
    lua_pushboolean(L, event->sampled && !is_span);
    pl__push_str(L, event->request);
    push_failure(L, event);
    return 18;
}

static int push_other(lua_State *L, const pl_event_t *event) {
    static const char *const WHAT[] = { "ended", "final", "paused", "joined", "lost", "stopping" };
    lua_pushstring(L, WHAT[event->what]);
    lua_createtable(L, 0, 4);
    pl__push_time(L, event->time);
    lua_setfield(L, -2, "time");
    set_number(L, "task", event->task);
    if (event->what == PL_EVENT_FINAL) {
        lua_pushstring(L, pl_stage_state_name((int)event->state));
        lua_setfield(L, -2, "state");
    }
    pl__set_str(L, "queue", event->queue);
    if (event->what == PL_EVENT_JOINED || event->what == PL_EVENT_LOST) {
        lua_pushinteger(L, event->worker);
        lua_setfield(L, -2, "worker");
        set_number(L, "pid", event->pid);
    }
    return 2;
}

/* ---- to the hook ------------------------------------------------------------------------------------------------- */

/* Takes the first one off the list; it is freed when the next one is taken, or afterwards. */
static const pl_event_t *take(pl__handle_t *h) {
    forget(h->event_told);
    h->event_told = h->events;
    h->events = h->event_told->next;
    if (!h->events)
        h->events_last = NULL;
    return h->event_told;
}

/* An end that is a span now is news only to those who hear of all of them; but the spans may be. */
static int push_event(lua_State *L, pl__handle_t *h, const pl_event_t *event) {
    if (event->what != PL_EVENT_ENDED)
        return push_other(L, event);
    bool is_span = pl__spans_add(h, event);
    if (is_span && pl__spans_want(h)) {
        lua_pushvalue(L, -1);
        lua_pushliteral(L, "spans");
        lua_pushinteger(L, h->spans->count);
        lua_call(L, 2, 0);
    }
    return is_span && !h->tells_all ? 0 : push_end(L, h, event, is_span);
}

/* Stack: handle, handle. */
static int event_entry(lua_State *L) {
    enum { VALUES_MAX = 20 };
    pl__handle_t *h = lua_touserdata(L, 2);
    luaL_checkstack(L, VALUES_MAX + LUA_MINSTACK, NULL);
    while (h->events) {
        const pl_event_t *event = take(h);
        if (lua_getiuservalue(L, 1, PL__UV_EVENT) == LUA_TNIL) { /* one of them has ended it */
            lua_pop(L, 1);
            continue;
        }
        int len = push_event(L, h, event);
        if (len > 0)
            lua_call(L, len, 0);
        else
            lua_pop(L, 1);
    }
    return 0;
}

void pl__event_report(pl__handle_t *h) {
    pl__enter(h->L, event_entry, h);
    forget(h->event_told);
    h->event_told = NULL;
}

/* e:tell(all, sample, names): what the "event" hook is called for: all events; or the ends of attempts of what is
 * sampled (a part from 0 to 1 of all ids), or names a trace, and all that is no end of an attempt. Nothing of it:
 * nothing. `names`: tasks that were given none are told of with that by which they are known. */
static int engine_tell(lua_State *L, pl__handle_t *h) {
    lua_Number sample = luaL_optnumber(L, 3, 0);
    luaL_argcheck(L, sample >= 0 && sample <= 1, 3, "not a part of 1");
    h->tells_all = lua_toboolean(L, 2);
    h->tells_names = lua_toboolean(L, 4);
    pl_engine_tell(h->engine, lua_toboolean(L, 2), (uint64_t)(sample * 4294967296.0));
    return 0;
}

void pl__event_register(lua_State *L) {
    static const pl__method_t METHODS[] = { { "tell", engine_tell }, { NULL, NULL } };
    pl__methods_set(L, METHODS);
    pl__spans_register(L);
}
