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
    if (engine->wanted > 0 && !engine->store_woken) { /* the answer will wake the loop */
        eta = engine->next_due;
        timer = engine->next_token < timer ? engine->next_token : timer;
    }
    pl_usec_t fire = pl__fires_next(engine);
    if (fire < eta)
        eta = fire;
    if (engine->fire_not_before > pl_clock_steady(&engine->clock) && engine->fire_not_before < timer && !engine->firing)
        timer = engine->fire_not_before;
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

/* ---- schedules of the store -------------------------------------------------------------------------------- */

/*
 * Each turn of the store says when a schedule fires next. When that time has come the host reads what is due, works out
 * the times that follow, and submits schedule_fire for each; the store takes one of those who try. While the host is at
 * it, it is not asked again. What it was told may be old: another process may have fired, or changed, what we wait for.
 * So when it has done, the store is asked anew.
 */
static bool may_fire(const pl_engine_t *engine) {
    return engine->host.fire && !engine->firing && !engine->no_worker && engine->running && !engine->stopping &&
           !engine->closing;
}

pl_usec_t pl__fires_next(const pl_engine_t *engine) {
    if (!may_fire(engine) || engine->next_fire > engine->fires_until ||
        engine->fire_not_before > pl_clock_steady(&engine->clock))
        return PL_USEC_NEVER;
    return engine->next_fire;
}

void pl__fires_turn(pl_engine_t *engine) {
    pl_usec_t next = pl__fires_next(engine);
    if (next == PL_USEC_NEVER || next > pl_clock_due(&engine->clock))
        return;
    engine->firing = true;
    engine->host.fire(engine->host.data);
}

void pl_engine_fired(pl_engine_t *engine, pl_usec_t delay) {
    if (!engine->firing)
        return;
    engine->firing = false;
    engine->fire_not_before = delay > 0 ? pl_clock_add(pl_clock_steady(&engine->clock), delay) : 0;
    if (engine->next_fire <= pl_clock_due(&engine->clock)) {
        engine->next_fire = PL_USEC_NEVER; /* until the store has said what is so */
        pl__outbox_wake(engine, true);
    }
}

pl_usec_t pl_engine_next_fire(const pl_engine_t *engine) {
    return engine->next_fire;
}
