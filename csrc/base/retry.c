/*
 * retry.c - when a task that failed runs again. See retry.h.
 */
#include "base/retry.h"

#include <math.h>

enum { DOUBLINGS_MAX = 1000 }; /* 2^1000 is finite */

static const pl_retry_t defaults = {
    .limit = -1, .age_limit = -1, .min_backoff = 0.1, .max_backoff = 3600, .doublings = 16, .losses = 5
};

static bool is_set(double value) {
    return value >= 0;
}

static double first_set(double a, double b) {
    return is_set(a) ? a : b;
}

/* One level over another. */
static pl_retry_t overlay(pl_retry_t top, pl_retry_t below) {
    pl_retry_t both = { .limit = first_set(top.limit, below.limit),
                        .age_limit = first_set(top.age_limit, below.age_limit),
                        .min_backoff = first_set(top.min_backoff, below.min_backoff),
                        .max_backoff = first_set(top.max_backoff, below.max_backoff),
                        .doublings = first_set(top.doublings, below.doublings),
                        .losses = first_set(top.losses, below.losses) };
    if (is_set(both.min_backoff) && is_set(both.max_backoff) && both.min_backoff > both.max_backoff) {
        if (is_set(top.min_backoff))
            both.max_backoff = both.min_backoff;
        else
            both.min_backoff = both.max_backoff;
    }
    return both;
}

pl_retry_t pl_retry_merge(pl_retry_t task, pl_retry_t queue) {
    return overlay(task, overlay(queue, defaults));
}

bool pl_retry_may(const pl_retry_t *retry, int failures, pl_usec_t age) {
    bool by_limit = is_set(retry->limit), by_age = is_set(retry->age_limit);
    if (!by_limit && !by_age)
        return true;
    return (by_limit && retry->limit >= failures) || (by_age && age <= pl_clock_from_seconds(retry->age_limit));
}

pl_usec_t pl_retry_delay(const pl_retry_t *retry, int n) {
    double doublings = fmin(retry->doublings, DOUBLINGS_MAX), steps = n - 1;
    double seconds = steps <= doublings ? ldexp(retry->min_backoff, (int)steps)
                                        : ldexp(retry->min_backoff, (int)doublings) * (steps - doublings + 1);
    return pl_clock_from_seconds(fmin(seconds, retry->max_backoff));
}

double pl_backoff(double seconds, double factor, double failures, double max) {
    if (seconds <= 0) /* times a factor that has grown beyond all numbers, too */
        return 0;
    double wait = seconds * pow(factor, failures);
    return wait < max ? wait : max; /* what is no number is cut off as well */
}
