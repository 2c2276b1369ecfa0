/*
 * failing.h - SQLite's driver, but each transaction of which fails first, at many places, before it is done.
 *
 * The nth statement or piece of memory of a transaction fails, then the one after some more, until one has gone by
 * without a failure: only then it is done. What a transaction that broke has left behind, in the file or in what the
 * connection remembers, shows in what the specs that run on this driver find; so they hold, too, for what it is that a
 * failure may not leave. FAILING_SEED=n chooses the same places again. For builds with PL_FAULTS.
 */
#ifndef PL_SPEC_FAILING_H
#define PL_SPEC_FAILING_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/driver.h"
#include "support/check.h"

static _Thread_local uint64_t failing_random; /* each thread has a row of its own, from failing_seed on */
static uint64_t failing_seed;
static int failing_stride = 3;     /* places between two that fail, at most */
enum { FAILING_KEEP_PLACES = 40 }; /* more than the renewal of a lease has */

/* The place that fails next: at the first try `at` is 0. */
static inline long failing_next(long at) {
    if (!failing_random)
        failing_random = failing_seed;
    failing_random = failing_random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return at + 1 + (long)((failing_random >> 33) % (uint64_t)failing_stride);
}

static inline int failing_open(pl__conn_t **conn, const pl_store_options_t *options, pl__role_t role,
                               const pl__conn_t *writer, pl_error_t *error) {
    for (long at = failing_next(0);; at = failing_next(at)) {
        pl__fail_at(at);
        int rc = pl__sqlite_driver.open(conn, options, role, writer, error);
        bool failed = pl__has_failed();
        pl__fail_at(0);
        if (rc == PL_OK || !failed)
            return rc;
        CHECK(!*conn && error->message[0]);
        *error = (pl_error_t){ 0 };
    }
}

static inline int failing_turn(pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena,
                               pl__commit_result_t *turn, pl_error_t *error) {
    for (long at = failing_next(0);; at = failing_next(at)) {
        pl__fail_at(at);
        int rc = pl__sqlite_driver.turn(conn, ops, ask, arena, turn, error);
        bool failed = pl__has_failed();
        pl__fail_at(0);
        if (rc == PL_OK || !failed)
            return rc;
        CHECK(!turn->claims && !arena->head && error->message[0]);
        *turn = PL__COMMIT_RESULT_NONE;
        *error = (pl_error_t){ 0 };
    }
}

static inline void failing_read(pl__conn_t *conn, pl_op_t *ops) {
    for (long at = failing_next(0);; at = failing_next(at)) {
        pl__fail_at(at);
        pl__sqlite_driver.read(conn, ops);
        bool failed = pl__has_failed();
        pl__fail_at(0);
        if (!failed)
            return;
    }
}

/* What has failed is tried again when its time has come, and not at once: so the place goes on from call to call. */
static inline void failing_keep(pl__conn_t *conn, bool idle, int64_t *next, int *aside) {
    static _Thread_local long at;
    at = at < FAILING_KEEP_PLACES ? failing_next(at) : 0; /* 0: none */
    pl__fail_at(at);
    pl__sqlite_driver.keep(conn, idle, next, aside);
    pl__fail_at(0);
}

static inline pl_store_driver_t failing_on(uint64_t seed) {
    pl_store_driver_t driver = pl__sqlite_driver;
    failing_seed = seed;
    driver.open = failing_open;
    driver.turn = failing_turn;
    driver.read = failing_read;
    driver.keep = failing_keep;
    return driver;
}

static inline pl_store_driver_t failing_driver(void) {
    const char *given = getenv("FAILING_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)pl_clock_monotonic_us() | 1;
    printf("FAILING_SEED=%" PRIu64 "\n", seed);
    return failing_on(seed);
}

#endif
