/*
 * durable_alloc_test.c - the Nth allocation of each turn and each read fails, of ours and then of SQLite's, in the
 * lives of durable functions (durable.c), for every N until that is done; and then each statement of them once.
 *
 * Where memory is short for what can be done without, the turn is done all the same, and what comes behind that would
 * never fail: so the lives are played several times, each from a later N on.
 */
#include "faults/durable.c"
#include "faults/sqlite_memory.c"

#ifdef PL_FAULTS

enum { BETWEEN = 50, TRIES_MAX = 5000 };

static char *expected[2];
static long first, last, failures, most; /* of N: that to begin with; the last; how many failed; the greatest */
static bool of_ours;

static void arm_memory(long nth) {
    last = first + nth - 1;
    if (of_ours)
        pl__alloc_fail_at(last);
    else
        sqlite_memory_arm(last);
}

static void disarm_memory(void) {
    pl__alloc_fail_at(0);
    (void)sqlite_memory_disarm();
}

/* The rules of the file are looked at now and then: that takes longer than all else. */
static void failed(const pl_op_t *op) {
    durable_check(op);
    most = last > most ? last : most;
    if (++failures % BETWEEN == 0)
        check_rules();
}

static void expect(bool fails) {
    for (int i = 0; i < 2; i++)
        free(expected[i]);
    durable_begin();
    durable_play(fails, expected);
    durable_end(true);
}

/* Returns whether anything has failed. */
static bool play(bool fails) {
    char *facts[2];
    long before = failures;
    durable_begin();
    durable_play_failing(fails, facts, arm_memory, disarm_memory, failed);
    durable_end(true);
    durable_compare(facts, expected, of_ours ? "our allocations from" : "allocations of SQLite from", first);
    return failures > before;
}

static void fail_each(bool ours, bool fails) {
    of_ours = ours;
    failures = most = 0;
    expect(fails);
    for (first = 1; check_failed < 10 && play(fails); first = first * 3)
        ;
    CHECK(failures > 100);
    printf("%ld allocations of %s failed, the %ldth of a turn at most\n", failures, ours ? "ours" : "SQLite's", most);
}

/* Each transaction fails at every statement and piece of memory, one after the other, before it is done. */
static void fail_all(bool fails) {
    char *facts[2];
    expect(fails);
    pl_store_driver_t plain = driver, failing = failing_driver();
    failing_stride = 1;
    driver = failing;
    durable_begin();
    durable_play(fails, facts);
    driver = plain;
    durable_end(true);
    durable_compare(facts, expected, "each statement, FAILING_SEED", (long)failing_seed);
}

#endif

int main(void) {
#ifdef PL_FAULTS
    sqlite_memory_replace();
    tries_max = TRIES_MAX;
    open_driver(&pl__sqlite_driver, ":memory:", NULL);
    durable_prepare();
    for (int fails = 0; fails < 2; fails++) {
        fail_each(true, fails);
        fail_each(false, fails);
        fail_all(fails);
    }
    for (int i = 0; i < 2; i++)
        free(expected[i]);
    close_driver();
#else
    puts("skipped: not a build that can make allocations fail");
#endif
    return check_end();
}
