/*
 * sleep.c - sleeping. A coroutine of the engine is suspended; any other code runs the loop until then.
 */
#include "binding/coroutine/sleep.h"

#include <lauxlib.h>

#include "binding/coroutine/coroutine.h"
#include "binding/run.h"

static void sleep_cb(pl_timer_t *timer) {
    pl__coroutine_t *rec = timer->data;
    pl__coroutine_go_on(rec, &rec->h->ready);
    pl__pump(rec->h);
}

static int sleep_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)pl__await_record(L, context);
    lua_pushboolean(L, 1);
    return 1;
}

static void alarm_cb(pl_timer_t *timer) {
    *(bool *)timer->data = true;
}

static bool has_fired(const void *data) {
    return *(const bool *)data;
}

/* Virtual time passes step by step, to whatever is due next, until it is our turn. */
static int run_virtual_for(lua_State *L, pl__handle_t *h, pl_usec_t span) {
    bool fired = false;
    pl_timer_t alarm = { .fire = alarm_cb, .data = &fired };
    pl_engine_timer_start(h->engine, &alarm, span);
    int rc = pl__run_until(L, h, has_fired, &fired);
    pl_engine_timer_cancel(h->engine, &alarm);
    return fired ? PL_ETIMEDOUT : rc;
}

/* Outside a managed coroutine: runs the loop until then. */
static int sleep_running(lua_State *L, pl__handle_t *h, pl_usec_t span) {
    int refused = pl__run_refuse(L, h, "sleep");
    if (refused)
        return refused;
    int rc;
    pl_engine_listen(h->engine, true);
    if (h->is_virtual)
        rc = run_virtual_for(L, h, span);
    else
        rc = pl__run(L, h, PL_RUN_FOREVER, (double)span / (double)PL_USEC_PER_SEC, false);
    pl_engine_listen(h->engine, false);
    if (rc == PL_OK)
        return pl__push_failure(L, PL_ESTATE, "the loop was stopped");
    if (rc != PL_ETIMEDOUT)
        return pl__push_failure(L, rc, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

/* e:sleep(seconds) -> true, or nil, code, message. */
static int engine_sleep(lua_State *L, pl__handle_t *h) {
    lua_Number seconds = luaL_checknumber(L, 2);
    pl_usec_t span = pl_clock_from_seconds(seconds > 0 ? seconds : 0);
    if (!pl__coroutine_can_await(L, h))
        return sleep_running(L, h, span);
    pl__coroutine_t *rec = h->current;
    rec->state = PL__CO_SLEEP;
    rec->timer.fire = sleep_cb;
    rec->timer.data = rec;
    pl_engine_timer_start(h->engine, &rec->timer, span);
    return pl__await_yield(L, rec, sleep_k);
}

void pl__sleep_register(lua_State *L) {
    static const pl__method_t METHODS[] = { { "sleep", engine_sleep }, { NULL, NULL } };
    pl__methods_set(L, METHODS);
}
