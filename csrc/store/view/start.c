/*
 * start.c - may a task start now, and if not, what decides that? See start.h.
 */
#include "store/view/start.h"

#include <math.h>

/* A sum of many small parts may miss a whole number by a little. */
#define ALMOST 1e-6

const char *pl_start_reason_name(int reason) {
    static const char *const names[] = {
#define X(name, number, text) [number] = text,
        PL_START_REASONS(X)
#undef X
    };
    return reason >= 0 && reason < PL_START_REASONS_LEN ? names[reason] : "?";
}

/* ---- a queue ----------------------------------------------------------------------------------------------- */

static int allow(int *allowed, int64_t room, pl_start_reason_t why, pl_start_reason_t *reason) {
    if (room < *allowed) {
        *allowed = room > 0 ? (int)room : 0;
        *reason = why;
    }
    return *allowed;
}

int pl_start_allowed(const pl_gates_t *gates, int wanted, pl_start_reason_t *reason) {
    int allowed = wanted;
    *reason = PL_START_OPEN;
    if (!gates->served && allow(&allowed, 0, PL_START_UNSERVED, reason) == 0)
        return 0;
    if (gates->paused && allow(&allowed, 0, PL_START_PAUSED, reason) == 0)
        return 0;
    if (gates->rate == 0 && allow(&allowed, 0, PL_START_STOPPED, reason) == 0)
        return 0;
    if (gates->max_concurrent > 0 && allow(&allowed, gates->room, PL_START_CONCURRENCY, reason) == 0)
        return 0;
    if (gates->rate > 0) { /* no more than a bucket at once */
        double tokens = floor(fmin(gates->tokens, gates->bucket_size) + ALMOST);
        allow(&allowed, tokens < wanted ? (int64_t)tokens : wanted, PL_START_RATE, reason);
    }
    return allowed;
}

/* ---- one task ---------------------------------------------------------------------------------------------- */

/* Opens the gate that has just decided, to see what the next one says. */
static void open_gate(pl_gates_t *gates, pl_start_reason_t reason) {
    switch (reason) {
    case PL_START_UNSERVED:
        gates->served = true;
        break;
    case PL_START_PAUSED:
        gates->paused = false;
        break;
    case PL_START_CONCURRENCY:
        gates->max_concurrent = 0;
        break;
    default:
        gates->rate = -1;
    }
}

static int add_gates(const pl_start_facts_t *facts, pl_start_reason_t *reasons, int len) {
    pl_gates_t gates = facts->gates;
    pl_start_reason_t reason;
    if (facts->workers == 0) {
        reasons[len++] = PL_START_NO_WORKER;
        gates.served = true;
    }
    while (pl_start_allowed(&gates, 1, &reason) == 0) {
        reasons[len++] = reason;
        open_gate(&gates, reason);
    }
    if (facts->place > 1)
        reasons[len++] = PL_START_PLACE;
    if (len == 0)
        reasons[len++] = PL_START_WORKER;
    return len;
}

/* A fire that is held back is released when its schedule is not paused, and those before it are over. */
static int add_held(const pl_start_facts_t *facts, pl_start_reason_t *reasons, int len) {
    if (facts->is_schedule_paused)
        reasons[len++] = PL_START_SCHEDULE_PAUSED;
    if (facts->is_held || !facts->is_schedule_paused)
        reasons[len++] = PL_START_HELD;
    return len;
}

static int add_time(const pl_start_facts_t *facts, pl_start_reason_t *reasons, int len) {
    if (facts->eta <= facts->now)
        return len;
    if (facts->is_alone)
        reasons[len++] = PL_START_ALONE;
    else if (facts->eta >= PL_USEC_MAX)
        return add_held(facts, reasons, len);
    else if (facts->lacks_class)
        reasons[len++] = PL_START_NO_CLASS;
    else
        reasons[len++] = facts->is_retry ? PL_START_RETRY : PL_START_ETA;
    return len;
}

int pl_start_reasons(const pl_start_facts_t *facts, pl_start_reason_t *reasons) {
    int len = 0;
    if (facts->is_over)
        return 0;
    if (facts->is_stage && facts->unfilled > 0)
        reasons[len++] = PL_START_SLOTS;
    else if (facts->is_stage && !facts->has_task && (facts->is_held || facts->is_schedule_paused))
        len = add_held(facts, reasons, len);
    else if (facts->is_stage && !facts->has_task)
        reasons[len++] = PL_START_NOT_ADDED;
    if (facts->unfilled > 0 || !facts->has_task)
        return len;
    len = add_time(facts, reasons, len);
    if (facts->pull) {
        reasons[len++] = facts->gates.paused ? PL_START_PAUSED : PL_START_PULLED;
        return len;
    }
    return add_gates(facts, reasons, len);
}
