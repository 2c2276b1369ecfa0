/*
 * event.c - events of the engine on their way to the "event" hook. See event.h.
 *
 * EVENT: what = "ended" | "final" | "paused" | "joined" | "lost" | "stopping", time, and as far as they apply task,
 * stage, root (ids), kind, state, claim, attempt, max_attempts, failed, will_retry, died, status, queue, name, class,
 * key, error_class, message, traceback, eta, took (seconds of the attempt), late (seconds from when the task could run
 * to when it did), again, worker (number), pid.
 */
#include "binding/telemetry/event.h"

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/telemetry/sink.h"
#include "binding/trampoline.h"

void pl__event_add(pl__handle_t *h, const pl_event_t *event) {
    pl_event_t *copy = h->closing ? NULL : pl__event_dup(event);
    if (!copy) {
        if (!h->closing)
            pl__log(h, PL_LOG_ERROR, "out of memory: an event was not told of");
        return;
    }
    if (h->events_last)
        h->events_last->next = copy;
    else
        h->events = copy;
    h->events_last = copy;
}

void pl__event_forget(pl__handle_t *h) {
    for (pl_event_t *event = h->events, *next; event; event = next) {
        next = event->next;
        pl__free(event);
    }
    h->events = h->events_last = NULL;
}

/* ---- as a table -------------------------------------------------------------------------------------------------- */

static void set_text(lua_State *L, const char *name, pl_str_t text) {
    if (!text.ptr)
        return;
    pl__push_str(L, text);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, lua_Integer number) {
    if (number == 0)
        return;
    lua_pushinteger(L, number);
    lua_setfield(L, -2, name);
}

static void set_time(lua_State *L, const char *name, pl_usec_t time) {
    if (time == 0)
        return;
    pl__push_time(L, time);
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool flag) {
    lua_pushboolean(L, flag);
    lua_setfield(L, -2, name);
}

static void set_seconds(lua_State *L, const char *name, pl_usec_t span) {
    lua_pushnumber(L, (lua_Number)(span > 0 ? span : 0) / 1e6);
    lua_setfield(L, -2, name);
}

static void set_end(lua_State *L, const pl_event_t *event) {
    lua_pushstring(L, pl_task_kind_name((int)event->kind));
    lua_setfield(L, -2, "kind");
    set_number(L, "claim", event->claim);
    set_number(L, "attempt", event->attempt);
    set_number(L, "max_attempts", event->max_attempts);
    set_flag(L, "failed", event->failed);
    if (event->failed) {
        set_flag(L, "will_retry", event->will_retry);
        set_flag(L, "died", event->died);
        set_text(L, "error_class", event->error_class);
        set_text(L, "message", event->message);
        set_text(L, "traceback", event->traceback);
        set_time(L, "again", event->again);
        set_number(L, "status", event->status);
    }
    set_text(L, "queue", event->kind != PL_TASK_PULL && !event->queue.ptr ? PL_STR_LIT("default") : event->queue);
    set_text(L, "name", event->name);
    set_text(L, "class", event->class_path);
    set_text(L, "key", event->key);
    set_time(L, "eta", event->eta);
    if (event->started == 0)
        return;
    set_seconds(L, "took", event->ended - event->started);
    if (event->eta > 0)
        set_seconds(L, "late", event->time - (event->ended - event->started) - event->eta);
}

static void push_event(lua_State *L, const pl_event_t *event) {
    static const char *const WHAT[] = { "ended", "final", "paused", "joined", "lost", "stopping" };
    lua_createtable(L, 0, 16);
    lua_pushstring(L, WHAT[event->what]);
    lua_setfield(L, -2, "what");
    set_time(L, "time", event->time);
    set_number(L, "task", event->task);
    set_number(L, "stage", event->stage);
    set_number(L, "root", event->root);
    if (event->what == PL_EVENT_ENDED)
        set_end(L, event);
    else if (event->what == PL_EVENT_FINAL)
        set_text(L, "state", pl_str(pl_stage_state_name((int)event->state)));
    else
        set_text(L, "queue", event->queue);
    if (event->what == PL_EVENT_JOINED || event->what == PL_EVENT_LOST) {
        lua_pushinteger(L, event->worker);
        lua_setfield(L, -2, "worker");
        set_number(L, "pid", event->pid);
    }
}

/* Stack: handle, pl_event_t. */
static int event_entry(lua_State *L) {
    const pl_event_t *event = lua_touserdata(L, 2);
    if (lua_getiuservalue(L, 1, PL__UV_EVENT) == LUA_TNIL)
        return 0;
    push_event(L, event);
    lua_call(L, 1, 0);
    return 0;
}

void pl__event_report(pl__handle_t *h) {
    pl_event_t *event = h->events;
    h->events = event->next;
    if (!h->events)
        h->events_last = NULL;
    pl__enter(h->L, event_entry, event);
    pl__free(event);
}
