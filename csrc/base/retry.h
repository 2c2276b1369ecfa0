/*
 * retry.h - when a task that failed runs again: pure arithmetic, no clock, no store.
 *
 * A parameter below 0 is not set. Parameters of a task replace those of its queue one by one; what neither sets has
 * the default: 0.1 s at first, doubled 16 times, an hour at most, without limits, and 5 losses.
 */
#ifndef PL_BASE_RETRY_H
#define PL_BASE_RETRY_H

#include <stdbool.h>

#include "base/clock.h"

typedef struct {
    double limit;       /* retries; whole; 0: one run only */
    double age_limit;   /* seconds since the first try */
    double min_backoff; /* seconds */
    double max_backoff; /* seconds */
    double doublings;   /* whole */
    double losses;      /* workers that may die in a row of it; whole, 1 and more */
} pl_retry_t;

#define PL_RETRY_NONE ((pl_retry_t){ -1, -1, -1, -1, -1, -1 })

/* The parameters that count: the task's, else the queue's, else the defaults. Where the two back-offs come from
 * different places and cross, the nearer one wins. */
pl_retry_t pl_retry_merge(pl_retry_t task, pl_retry_t queue);

/* May a task that has now failed `failures` times (>= 1) run again, `age` microseconds after its first try? With both
 * limits set, while either of them still allows it. `retry` as from pl_retry_merge. */
bool pl_retry_may(const pl_retry_t *retry, int failures, pl_usec_t age);

/* Microseconds before retry `n` (from 1): min, doubled `doublings` times, then growing by the same step, up to max. */
pl_usec_t pl_retry_delay(const pl_retry_t *retry, int n);

#define PL_BACKOFF_MAX (30 * 86400.0)

/* Seconds before the next attempt of what has failed `failures` times before (from 0): `seconds`, times `factor` for
 * each of them, up to `max`. Stages, steps and what the engine itself tries again wait like this. */
double pl_backoff(double seconds, double factor, double failures, double max);

#endif
