/*
 * lease_test.c - the lease of a worker is renewed in time, though the disk or memory fails now and then: each statement
 * and each piece of memory of a renewal fails once. Then it is tried again long before the lease is over, and whoever
 * claims meanwhile does not take for granted what was not written. And a worker that others have declared dead rejoins,
 * though that fails, too, before it is done.
 */
#include <stdlib.h>
#include <unistd.h>

#include "store/sqlite/db.h"
#include "support/file.h"
#include "support/turns.h"

static char directory[] = "/tmp/pipeline-lease-XXXXXX", path[sizeof directory + 16];

enum { SOON_US = 15 * PL_USEC_PER_SEC / 20 }; /* of a lease of 15 s, which is renewed when a third of it has gone by */

static int warnings;

static void log_cb(void *data, int level, const char *text) {
    (void)data;
    warnings += level == PL_LOG_WARNING && strstr(text, "the lease of this worker cannot be renewed now: ");
}

static pl_usec_t lease_in_file(void) {
    return file_number(path, "SELECT lease_until FROM pl_worker WHERE id = ?1", conn->worker);
}

/* Returns when the driver wants to come back. */
static int64_t keep(void) {
    int64_t next = 0;
    int aside = 0;
    driver.keep(conn, true, &next, &aside);
    return next;
}

/* A renewal is due, and the nth of what it needs fails. Returns whether it did; `renewed`: the lease was all the same.
 */
static bool renew(long nth, bool *renewed) {
    pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + PL_USEC_PER_SEC);
    pl_usec_t before = lease_in_file();
    int warned = warnings;
    conn->renew_at = pl_clock_monotonic_us();
    pl__fail_at(nth);
    int64_t next = keep();
    bool failed = pl__has_failed();
    pl__fail_at(0);
    *renewed = lease_in_file() > before;
    CHECK(failed || *renewed);
    if (!*renewed) {
        CHECK(next - pl_clock_monotonic_us() <= SOON_US);
        CHECK(warnings == warned + 1);
    }
    return failed;
}

static void it_is_tried_again_soon(void) {
    bool renewed = false;
    long nth = 0, late = 0;
    while (renew(++nth, &renewed)) {
        if (renewed)
            continue;
        late++;
        pl_usec_t before = lease_in_file();
        conn->renew_at = pl_clock_monotonic_us(); /* soon has come */
        int warned = warnings;
        int64_t next = keep();
        CHECK(lease_in_file() > before && warnings == warned);
        CHECK(next - pl_clock_monotonic_us() > SOON_US);
    }
    printf("%ld renewals failed\n", late);
    CHECK(late >= 4); /* BEGIN, what is held, the lease, COMMIT */
}

static void who_claims_meanwhile_renews_it(void) {
    bool renewed = false;
    for (long nth = 1; renew(nth, &renewed); nth++) {
        if (renewed)
            continue;
        CHECK(start(stage_of("c", 0)) == PL_OK && look() >= 0);
        CHECK(lease_in_file() - pl_clock_now(&clock_) > 14 * PL_USEC_PER_SEC);
    }
}

/* ---- a worker that was declared dead ----------------------------------------------------------------------------- */

static long place; /* what fails of the transaction in which it rejoins */
static bool has_failed;

static void arm_once(long nth) {
    pl__fail_at(nth == 1 ? place : 0);
}

static void disarm_once(void) {
    has_failed = has_failed || pl__has_failed();
    pl__fail_at(0);
}

static void somebody_joins(const pl_op_t *ops) {
    (void)ops;
    file_execute(path,
                 "UPDATE pl_meta SET value = value + 1 WHERE key = 'last_worker';"
                 "INSERT INTO pl_worker (id, number, host, pid, started, lease_until)"
                 " SELECT value, value % 1000 + 9, 'elsewhere', 77, 1, 2 FROM pl_meta WHERE key = 'last_worker';");
}

static int64_t pid_of_claimer(pl_id_t task) {
    return file_number(path, "SELECT pid FROM pl_task JOIN pl_worker ON owner = pl_worker.id WHERE pl_task.id = ?1",
                       task);
}

/* Were it to keep the id that it had in the transaction that is undone, that would be the next one's, too. */
static void it_rejoins_as_nobody_else(void) {
    tries_max = 2;
    on_failure = somebody_joins;
    for (place = 1, has_failed = true; has_failed; place++) {
        file_execute(path, "UPDATE pl_task SET state = 0, owner = NULL WHERE owner IS NOT NULL; DELETE FROM pl_worker");
        drop_claims();
        has_failed = false;
        conn->maybe_ready = true; /* as others have told it */
        arm = arm_once;
        disarm = disarm_once;
        CHECK(look() > 0);
        arm = NULL;
        CHECK(claims && pid_of_claimer(claims->task) == 1);
    }
    tries_max = 1;
    on_failure = NULL;
    printf("%ld places failed\n", place - 2);
}

int main(void) {
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/store.db", directory);
    open_driver(&pl__sqlite_driver, path, NULL);
    static const pl_log_t log = { .cb = log_cb };
    conn->options.log = &log;
    CHECK(start(stage_of("c", 0)) == PL_OK && claims);
    it_is_tried_again_soon();
    who_claims_meanwhile_renews_it();
    it_rejoins_as_nobody_else();
    check_rules();
    close_driver();
    file_remove(path);
    rmdir(directory);
    return check_end();
}
