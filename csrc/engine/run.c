/*
 * run.c - running the loop: until stopped, until there is nothing to do, or one step; and virtual time.
 *
 * One turn: fire due timers, let claims have their turn, hand ops to the store, then let uv wait. In virtual time
 * nothing ever waits for the clock: when all is quiet the clock jumps to what is due next.
 *
 * Stopping is graceful: nothing new is claimed, what was claimed but has not started goes back to the queue, what is
 * being executed has stop_grace to end and is committed. A second request leaves at once.
 */
#include <limits.h>

#include "engine/engine.h"

enum { DRAIN_LOOK_MS = 100 };

typedef struct {
    pl_run_mode_t mode;
    pl_usec_t deadline;    /* virtual time */
    int64_t real_deadline; /* monotonic us, real time */
    bool others_idle;      /* the last count found nothing on the file */
    bool counting;
} run_t;

/* The store moves the ends of pauses when the wall clock was set, as soon as it has a turn: it gets one for that. */
static void follow_wall_clock(pl_engine_t *engine, pl_usec_t now) {
    if (engine->clock.is_virtual || engine->wanted <= 0)
        return;
    int64_t offset = pl_clock_offset_of(now), step = offset - engine->wall_offset;
    if (step < PL__CLOCK_STEP_US && step > -PL__CLOCK_STEP_US)
        return;
    offset = pl_clock_offset();
    step = offset - engine->wall_offset;
    if (step < PL__CLOCK_STEP_US && step > -PL__CLOCK_STEP_US)
        return;
    engine->wall_offset = offset;
    if (!engine->store_woken)
        pl__outbox_wake(engine, false);
}

/* Whether the store has said that something would be ready by now. */
static bool is_due(pl_engine_t *engine) {
    bool due = false;
    if (engine->next_due != PL_USEC_NEVER) {
        pl_usec_t now = pl_clock_now(&engine->clock);
        follow_wall_clock(engine, now);
        due = engine->next_due <= pl_clock_due_at(&engine->clock, now);
    }
    return due || (engine->next_token != PL_USEC_NEVER && engine->next_token <= pl_clock_steady(&engine->clock));
}

/* Returns whether a timer was due. */
static bool turn(pl_engine_t *engine) {
    engine->turns++;
    pl__scheduler_collect(engine);
    bool fired = pl__timers_fire(engine);
    if (is_due(engine) && engine->wanted > 0 && !engine->store_woken)
        pl__outbox_wake(engine, false);
    pl__fires_turn(engine);
    pl__scheduler_execute(engine);
    pl__outbox_flush(engine);
    pl__timers_arm(engine);
    return fired;
}

/* ---- is it done? ------------------------------------------------------------------------------------------- */

/* With other workers about, what they have claimed is known only to the store. */
static bool is_file_idle(pl_engine_t *engine, bool with_delayed) {
    bool idle = false;
    if (!engine->no_worker && engine->peers.others == 0)
        return true;
    pl_op_t *op = pl_op_new(PL_VERB_counts_get);
    if (op && pl_engine_call(engine, op) == PL_OK) {
        idle = true;
        for (size_t i = 0; i < op->u.counts_get.len; i++) {
            const pl_count_t *count = &op->u.counts_get.counts[i];
            bool is_ours = pl_store_serves(engine->store, count->queue);
            idle = idle && (count->ready == 0 || count->held || !is_ours) && count->claimed == 0 &&
                   (!with_delayed || count->delayed == 0 || !is_ours);
        }
    }
    pl_op_free(op);
    return idle;
}

static bool is_idle(pl_engine_t *engine, bool with_delayed) {
    if (!pl__scheduler_is_quiet(engine) || engine->executing > 0 || engine->buffer.len > 0 || engine->firing)
        return false;
    pl_usec_t due = pl_clock_due(&engine->clock), steady = pl_clock_steady(&engine->clock);
    if (engine->in_flight > 0 || engine->want_timer.active || engine->release_timer.active)
        /* the store failed and will be asked again, or a claim was given back and will be ready again */
        return false;
    if (engine->next_due <= due || (with_delayed && engine->next_due != PL_USEC_NEVER))
        return false;
    if (engine->next_token != PL_USEC_NEVER) /* ready, and held back by a rate */
        return false;
    if (engine->timers && engine->timers->when <= steady)
        return false;
    return is_file_idle(engine, with_delayed);
}

static bool is_done(pl_engine_t *engine, const run_t *run) {
    if (engine->stopping)
        return (engine->executing == 0 && engine->in_flight == 0) || engine->stop_requests > 1;
    if (run->mode == PL_RUN_READY || run->mode == PL_RUN_ALL || run->mode == PL_RUN_SETTLE)
        return is_idle(engine, run->mode == PL_RUN_ALL);
    return false;
}

/* ---- time -------------------------------------------------------------------------------------------------- */

/* Virtual time has moved. What is old by now is deleted at once: so each run of a program finds the same. */
static void move_to(pl_engine_t *engine, pl_usec_t time) {
    pl_clock_advance_to(&engine->clock, time);
    if (!engine->sweeps || pl_clock_now(&engine->clock) < engine->sweep_at)
        return;
    pl_op_t *op = pl_op_new(PL_VERB_sweep);
    if (op && pl_engine_call(engine, op) == PL_OK)
        engine->sweep_at = op->u.sweep.next;
    pl_op_free(op);
}

/*
 * Jumps to the next thing due. False when there is none before the deadline (then the clock is at the deadline).
 * What is due already is not passed over, whatever the mode: the store has not been asked for it since the clock moved.
 * Without room for another task its time does not count: what is being executed has to go on first.
 */
static bool jump(pl_engine_t *engine, const run_t *run) {
    pl_usec_t next = pl__timers_next(engine);
    bool may_start = engine->wanted > 0 && !pl_store_session_is_idle(engine->store);
    bool may_be_due = run->mode == PL_RUN_ALL || run->mode == PL_RUN_NEXT;
    if (may_start && (may_be_due || engine->next_due <= pl_clock_now(&engine->clock)) && engine->next_due < next)
        next = engine->next_due;
    if (may_start && engine->next_token < next)
        next = engine->next_token;
    pl_usec_t fire = pl__fires_next(engine);
    if (fire < next && (next < PL_USEC_MAX || run->deadline != PL_USEC_NEVER)) /* they alone let no time pass */
        next = fire;
    if (next > run->deadline || next >= PL_USEC_MAX) { /* what is due at the end of time never is */
        if (run->deadline != PL_USEC_NEVER)
            move_to(engine, run->deadline);
        return false;
    }
    move_to(engine, next);
    return true;
}

static bool is_late(const pl_engine_t *engine, const run_t *run) {
    if (engine->clock.is_virtual)
        return run->mode != PL_RUN_SETTLE && pl_clock_now(&engine->clock) >= run->deadline;
    return pl_clock_monotonic_us() >= run->real_deadline;
}

static void arm_limit(pl_engine_t *engine, const run_t *run) {
    bool looks = run->mode == PL_RUN_READY || run->mode == PL_RUN_ALL;
    int64_t ms = INT64_MAX;
    if (!engine->clock.is_virtual && run->real_deadline != PL_USEC_NEVER)
        ms = pl_clock_ms((double)(run->real_deadline - pl_clock_monotonic_us()) / (double)PL_USEC_PER_SEC);
    if (looks && (engine->no_worker || engine->peers.others > 0) && ms > DRAIN_LOOK_MS)
        ms = DRAIN_LOOK_MS;
    if (engine->stopping && !engine->clock.is_virtual) {
        int64_t left = pl_clock_ms((double)(engine->stop_deadline - pl_clock_monotonic_us()) / (double)PL_USEC_PER_SEC);
        ms = left < ms ? left : ms;
    }
    if (ms == INT64_MAX)
        return;
    uv_update_time(engine->loop);
    uv_timer_start(&engine->limit, pl__timer_ends_wait_cb, ms > 0 ? (uint64_t)ms : 0, 0);
}

/* ---- running ----------------------------------------------------------------------------------------------- */

/* PL_EINTR, PL_ELIMIT: the run ends here, whatever is being executed. */
static int heed_signals(pl_engine_t *engine, const run_t *run) {
    bool signalled = engine->listens_at >= 0 && pl_engine_signalled(engine);
    engine->heeds_signal = engine->heeds_signal || signalled;
    if (signalled && engine->ends_at_signal)
        return PL_EINTR;
    if (signalled && run->mode == PL_RUN_FOREVER && !engine->stopping)
        pl_engine_stop(engine);
    bool is_over = engine->stopping && pl_clock_steady(&engine->clock) >= engine->stop_deadline;
    return is_over && engine->executing > 0 ? PL_ELIMIT : PL_OK;
}

static bool has_outside_events(const pl_engine_t *engine) {
    enum { OWN = 2 }; /* wake and limit are always there */
    return pl__peers_may_come(engine) || (int)engine->loop->active_handles > OWN;
}

/* In virtual time, all quiet: moves the clock. Returns false when nothing can ever happen again. */
static bool pass_virtual_time(pl_engine_t *engine, const run_t *run, bool *waits) {
    *waits = true;
    bool jumps = run->mode != PL_RUN_FOREVER && run->mode != PL_RUN_ONCE && !engine->stopping;
    run_t until = *run;
    if (engine->stopping) { /* what is being executed goes on; ends of claims wait to be tried again */
        jumps = engine->in_flight > 0 || engine->executing > 0;
        until.deadline = engine->executing > 0 ? engine->stop_deadline : PL_USEC_NEVER;
    }
    if (!engine->clock.is_virtual || !jumps || !pl__scheduler_is_quiet(engine))
        return true;
    if (jump(engine, &until) || engine->stopping) {
        *waits = false;
        return true;
    }
    return run->deadline == PL_USEC_NEVER && has_outside_events(engine);
}

/* What the run was for has come. In virtual time all else that can be done at this moment is done first, for then time
 * stands. */
static bool may_leave(const pl_engine_t *engine) {
    return engine->leaves && (!engine->clock.is_virtual || pl__scheduler_is_quiet(engine));
}

static int run_loop(pl_engine_t *engine, const run_t *run) {
    uint64_t first = engine->turns;
    for (;;) {
        bool waits;
        bool fired = turn(engine);
        if (may_leave(engine) || is_done(engine, run))
            return PL_OK;
        int rc = heed_signals(engine, run);
        if (rc != PL_OK)
            return rc;
        if (is_late(engine, run) && !engine->stopping)
            return PL_ETIMEDOUT;
        if (run->mode == PL_RUN_NEXT && fired)
            return PL_OK;
        if (!pass_virtual_time(engine, run, &waits))
            return PL_ETIMEDOUT;
        if (run->mode == PL_RUN_NEXT && engine->turns - first > 1)
            return PL_OK;
        if (!waits)
            continue;
        arm_limit(engine, run);
        bool only_looks = run->mode == PL_RUN_ONCE || (engine->host.wait && engine->host.wait(engine->host.data));
        uv_run(engine->loop, only_looks ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        uv_timer_stop(&engine->limit);
        if (run->mode == PL_RUN_ONCE) {
            turn(engine);
            return PL_OK;
        }
    }
}

/* A time so long that it has no end is no limit. */
static pl_usec_t end_of(pl_usec_t now, pl_usec_t us) {
    pl_usec_t end = pl_clock_add(now, us);
    return end < PL_USEC_MAX ? end : PL_USEC_NEVER;
}

static run_t plan(const pl_engine_t *engine, pl_run_mode_t mode, double timeout) {
    run_t run = { .mode = mode, .deadline = PL_USEC_NEVER, .real_deadline = PL_USEC_NEVER };
    if (mode == PL_RUN_SETTLE)
        run.deadline = pl_clock_now(&engine->clock);
    if (timeout < 0 || mode == PL_RUN_SETTLE)
        return run;
    pl_usec_t us = pl_clock_from_seconds(timeout);
    pl_usec_t now = pl_clock_now(&engine->clock);
    if (engine->clock.is_virtual)
        run.deadline = end_of(now, us);
    else
        run.real_deadline = end_of(pl_clock_monotonic_us(), us);
    return run;
}

int pl_engine_run(pl_engine_t *engine, pl_run_mode_t mode, double timeout, bool signals) {
    if (engine->running || engine->closing)
        return PL_ESTATE;
    run_t run = plan(engine, mode, timeout);
    bool keeps_claims = mode == PL_RUN_NEXT || mode == PL_RUN_ONCE;
    engine->running = true;
    engine->stopping = engine->leaves = false;
    engine->awake_since = 0; /* what the host did before is not the loop's */
    engine->stop_requests = 0;
    engine->wanted = -1;
    if (engine->must_look) {
        engine->must_look = false;
        pl__outbox_wake(engine, true);
    }
    /* in virtual time a drain would never end where the work of one fire lasts until the next */
    bool is_drain = (mode == PL_RUN_READY || mode == PL_RUN_ALL) && engine->clock.is_virtual && timeout < 0;
    engine->fires_until = is_drain ? pl_clock_now(&engine->clock) : PL_USEC_NEVER;
    engine->ends_at_signal = engine->listens || mode != PL_RUN_FOREVER;
    if (signals && !engine->listens)
        pl__signals_listen(engine, mode == PL_RUN_FOREVER);
    uv_ref((uv_handle_t *)&engine->wake); /* on a loop of others it keeps nobody waiting but us */
    int rc = run_loop(engine, &run);
    if (!engine->has_own_loop)
        uv_unref((uv_handle_t *)&engine->wake);
    if (signals && !engine->listens)
        pl__signals_unlisten(engine);
    engine->running = false;
    if (!keeps_claims || engine->stopping)
        pl_engine_release_prefetched(engine);
    return rc;
}

void pl_engine_release_prefetched(pl_engine_t *engine) {
    if (engine->running)
        return;
    pl__scheduler_collect(engine); /* claims on their way go back too */
    pl__scheduler_release_buffer(engine);
    pl__outbox_flush(engine); /* running is over: nothing is wanted */
    engine->must_look = true; /* others may add work meanwhile, which nobody tells us of while we do not listen */
}

void pl_engine_rest(pl_engine_t *engine) {
    pl_engine_release_prefetched(engine);
}

void pl_engine_stop(pl_engine_t *engine) {
    if (!engine->running)
        return;
    bool is_first = !engine->stopping;
    if (is_first)
        engine->stop_deadline = pl_clock_add(pl_clock_steady(&engine->clock), engine->stop_grace);
    engine->stopping = true;
    engine->stop_requests++;
    if (is_first && engine->tells)
        pl__event_tell(engine, &(pl_event_t){ .what = PL_EVENT_STOPPING });
    pl__scheduler_release_buffer(engine);
    uv_async_send(&engine->wake);
}

void pl_engine_leave(pl_engine_t *engine) {
    if (!engine->running)
        return;
    engine->leaves = true;
    uv_async_send(&engine->wake);
}

void pl_engine_listen(pl_engine_t *engine, bool on) {
    if (on)
        pl__signals_listen(engine, false);
    else
        pl__signals_unlisten(engine);
    engine->listens = on;
}

pl_usec_t pl_engine_cancel_at(const pl_engine_t *engine) {
    if (!engine->running)
        return PL_USEC_NEVER;
    if (engine->stopping)
        return engine->stop_deadline;
    if (engine->listens_at < 0 || !pl_engine_signalled(engine))
        return PL_USEC_NEVER;
    if (engine->ends_at_signal) /* the loop has not heard of it yet */
        return pl_clock_steady(&engine->clock);
    return engine->clock.is_virtual ? PL_USEC_NEVER
                                    : pl_clock_add(atomic_load(&engine->signalled_at), engine->stop_grace);
}

void pl_engine_hold(pl_engine_t *engine) {
    engine->holds++;
}

void pl_engine_unhold(pl_engine_t *engine) {
    engine->holds--;
}

bool pl_engine_idle(pl_engine_t *engine) {
    bool may_claim = engine->ready_left && !engine->no_worker; /* when it runs: between two runs it wants nothing */
    return !engine->closing && !may_claim && is_idle(engine, false);
}

bool pl_engine_running(const pl_engine_t *engine) {
    return engine->running;
}

int pl_engine_fd(const pl_engine_t *engine) {
    return uv_backend_fd(engine->loop);
}

int pl_engine_timeout(pl_engine_t *engine) {
    bool looks = engine->must_look && !engine->no_worker; /* what is ready is not known yet */
    if (engine->outbox.head || pl__places_have_turn(engine) || looks)
        return 0;
    pl__timers_arm(engine);
    uv_update_time(engine->loop);
    uv_ref((uv_handle_t *)&engine->wake); /* a loop without such a handle would not wait */
    int milliseconds = uv_backend_timeout(engine->loop);
    if (!engine->has_own_loop && !engine->running)
        uv_unref((uv_handle_t *)&engine->wake);
    return milliseconds;
}

void pl_engine_advance(pl_engine_t *engine, double seconds) {
    if (engine->clock.is_virtual)
        move_to(engine, pl_clock_add(pl_clock_now(&engine->clock), pl_clock_from_seconds(seconds)));
}
