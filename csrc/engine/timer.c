/*
 * timer.c - timers on the engine's steady clock: those of the same time fire in the order started.
 */
#include "engine/engine.h"

enum { SLEEP_MS_MAX = 24 * 3600 * 1000, ETA_SLEEP_MS_MAX = 10 * 1000 }; /* the wall clock may be set meanwhile */

void pl_engine_timer_start(pl_engine_t *engine, pl_timer_t *timer, pl_usec_t after) {
    pl_engine_timer_cancel(engine, timer);
    timer->node.when = pl_clock_add(pl_clock_steady(&engine->clock), after);
    timer->node.order = engine->timer_order++;
    timer->active = true;
    pl__heap_add(&engine->timers, &timer->node);
}

void pl_engine_timer_cancel(pl_engine_t *engine, pl_timer_t *timer) {
    if (!timer->active)
        return;
    timer->active = false;
    pl__heap_remove(&engine->timers, &timer->node);
}

pl_usec_t pl__timers_next(const pl_engine_t *engine) {
    return engine->timers ? engine->timers->when : PL_USEC_NEVER;
}

/* Timers started by the ones that fire wait for the next turn, so that one turn is bounded. */
bool pl__timers_fire(pl_engine_t *engine) {
    if (!engine->timers)
        return false;
    uint64_t last = engine->timer_order;
    pl_usec_t now = pl_clock_steady(&engine->clock);
    bool any = false;
    while (engine->timers && engine->timers->when <= now && engine->timers->order < last) {
        pl_timer_t *timer = (pl_timer_t *)engine->timers; /* its first field */
        pl_engine_timer_cancel(engine, timer);
        timer->fire(timer);
        any = true;
    }
    return any;
}

/*
 * A timer that is due when uv_run begins fires before uv polls, and does not keep it from sleeping then. So the run
 * that waits for it (run.c, which looks at the time) is ended; a host that runs the loop itself is not disturbed.
 */
void pl__timer_ends_wait_cb(uv_timer_t *handle) {
    const pl_engine_t *engine = handle->data;
    if (engine->running)
        uv_stop(engine->loop);
}

static uint64_t ms_until(pl_usec_t when, pl_usec_t now, uint64_t most) {
    if (when <= now)
        return 0;
    uint64_t ms = ((uint64_t)when - (uint64_t)now + 999) / 1000; /* apart they may be more than a signed number holds */
    return ms < most ? ms : most;
}

void pl__timers_arm(pl_engine_t *engine) {
    pl_usec_t timer = pl__timers_next(engine), eta = PL_USEC_NEVER;
    if (engine->wanted > 0 && !engine->poked) { /* poked: the answer will wake the loop */
        eta = engine->next_due;
        timer = engine->next_token < timer ? engine->next_token : timer;
    }
    if (timer == PL_USEC_NEVER && eta == PL_USEC_NEVER) {
        uv_timer_stop(&engine->due);
        return;
    }
    pl_usec_t steady = pl_clock_steady(&engine->clock), due = pl_clock_due(&engine->clock);
    if (engine->clock.is_virtual && timer > steady && eta > due) { /* it stands */
        uv_timer_stop(&engine->due);
        return;
    }
    uint64_t ms = timer == PL_USEC_NEVER ? SLEEP_MS_MAX : ms_until(timer, steady, SLEEP_MS_MAX);
    uint64_t eta_ms = eta == PL_USEC_NEVER ? SLEEP_MS_MAX : ms_until(eta, due, ETA_SLEEP_MS_MAX);
    uv_update_time(engine->loop);
    uv_timer_start(&engine->due, pl__timer_ends_wait_cb, ms < eta_ms ? ms : eta_ms, 0);
}
