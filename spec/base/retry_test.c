/*
 * retry_test.c - the retry arithmetic of task queues, Q84 to Q90.
 */
#include "base/retry.h"
#include "support/check.h"

static pl_retry_t given(double min_backoff, double max_backoff, double doublings) {
    pl_retry_t task = {
        .limit = -1, .age_limit = -1, .min_backoff = min_backoff, .max_backoff = max_backoff, .doublings = doublings
    };
    return pl_retry_merge(task, PL_RETRY_NONE);
}

static void check_delays(pl_retry_t retry, const double *expected, int len) {
    for (int n = 1; n <= len; n++)
        CHECK(pl_retry_delay(&retry, n) == pl_clock_from_seconds(expected[n - 1]));
}

static void delays_double_then_grow_by_the_same_step(void) { /* Q87 */
    static const double expected[] = { 10, 20, 40, 80, 160, 240, 300, 300 };
    check_delays(given(10, 300, 3), expected, 8);
}

static void without_doublings_they_grow_linearly(void) { /* Q88 */
    static const double expected[] = { 10, 20, 30, 40, 50 };
    check_delays(given(10, 3600, 0), expected, 5);
}

static void the_defaults(void) { /* Q89 */
    pl_retry_t retry = pl_retry_merge(PL_RETRY_NONE, PL_RETRY_NONE);
    static const double expected[] = { 0.1,  0.2,   0.4,   0.8,   1.6,   3.2,    6.4,    12.8, 25.6,
                                       51.2, 102.4, 204.8, 409.6, 819.2, 1638.4, 3276.8, 3600, 3600 };
    check_delays(retry, expected, 18);
    CHECK(pl_retry_may(&retry, 1000000, INT64_MAX));
    CHECK(pl_retry_delay(&retry, 2000000000) == 3600 * PL_USEC_PER_SEC);
}

static void zero_and_huge_parameters(void) {
    pl_retry_t zero = given(0, 0, 5), huge = given(1, 1e300, 1e9);
    CHECK(pl_retry_delay(&zero, 1) == 0 && pl_retry_delay(&zero, 100) == 0);
    CHECK(pl_retry_delay(&huge, 3) == 4 * PL_USEC_PER_SEC);
    CHECK(pl_retry_delay(&huge, 5000) > 0 && pl_retry_delay(&huge, 5000) < PL_USEC_NEVER);
}

static void limits(void) { /* Q84, Q85, Q86 */
    pl_retry_t never = { 0, -1, -1, -1, -1, -1 }, twice = { 2, -1, -1, -1, -1, -1 }, aged = { -1, 10, -1, -1, -1, -1 };
    pl_retry_t both = { 2, 10, -1, -1, -1, -1 };
    const pl_usec_t second = PL_USEC_PER_SEC;
    CHECK(!pl_retry_may(&never, 1, 0));
    CHECK(pl_retry_may(&twice, 1, 0) && pl_retry_may(&twice, 2, 0) && !pl_retry_may(&twice, 3, 0));
    CHECK(pl_retry_may(&aged, 99, 10 * second) && !pl_retry_may(&aged, 1, 10 * second + 1));
    CHECK(pl_retry_may(&both, 99, 10 * second) && pl_retry_may(&both, 2, 11 * second));
    CHECK(!pl_retry_may(&both, 3, 11 * second));
}

static void a_task_replaces_field_by_field(void) { /* G61, Q49 */
    pl_retry_t queue = { .limit = 7, .age_limit = -1, .min_backoff = 5, .max_backoff = 50, .doublings = 2 };
    pl_retry_t task = PL_RETRY_NONE;
    task.limit = 1;
    pl_retry_t both = pl_retry_merge(task, queue);
    CHECK(both.limit == 1 && both.min_backoff == 5 && both.max_backoff == 50 && both.doublings == 2);
    task.min_backoff = 100; /* above the queue's maximum: that is raised */
    both = pl_retry_merge(task, queue);
    CHECK(both.min_backoff == 100 && both.max_backoff == 100);
    task = PL_RETRY_NONE;
    task.max_backoff = 1; /* below the queue's minimum: that is lowered */
    both = pl_retry_merge(task, queue);
    CHECK(both.min_backoff == 1 && both.max_backoff == 1);
    queue = PL_RETRY_NONE;
    queue.min_backoff = 7200;
    CHECK(pl_retry_merge(PL_RETRY_NONE, queue).max_backoff == 7200);
    CHECK(pl_retry_merge(PL_RETRY_NONE, PL_RETRY_NONE).losses == 5);
    queue.losses = 3;
    CHECK(pl_retry_merge(PL_RETRY_NONE, queue).losses == 3);
    task.losses = 2;
    CHECK(pl_retry_merge(task, queue).losses == 2);
}

static void attempts_back_off_by_a_factor(void) { /* P105 */
    CHECK(pl_backoff(15, 2, 0, PL_BACKOFF_MAX) == 15 && pl_backoff(15, 2, 3, PL_BACKOFF_MAX) == 120);
    CHECK(pl_backoff(15, 1, 1e6, PL_BACKOFF_MAX) == 15 && pl_backoff(8, 0.5, 2, PL_BACKOFF_MAX) == 2);
    CHECK(pl_backoff(15, 2, 1e6, PL_BACKOFF_MAX) == PL_BACKOFF_MAX && pl_backoff(0.1, 2, 60, 3600) == 3600);
    CHECK(pl_backoff(0, 10, 1e6, PL_BACKOFF_MAX) == 0); /* although ten to that power is infinite */
    CHECK(pl_backoff(15, -2, 0.5, 7) == 7);             /* no number */
}

int main(void) {
    delays_double_then_grow_by_the_same_step();
    without_doublings_they_grow_linearly();
    the_defaults();
    zero_and_huge_parameters();
    limits();
    a_task_replaces_field_by_field();
    attempts_back_off_by_a_factor();
    return check_end();
}
