/*
 * durable_alloc_test.c - the Nth allocation fails, of ours and then of SQLite's, in the lives of durable functions
 * (durable.c), for many N; and then each statement of them once.
 */
#include "faults/durable.c"
#include "faults/sqlite_memory.c"

#ifdef PL_FAULTS

static char *expected[2];
static bool was_hit;

static bool checks; /* the rules of the file, now and then: that takes longer than all else */

static void failed(const pl_op_t *op) {
    was_hit = true;
    pl__alloc_fail_at(0); /* it has failed; what is looked at now does not */
    sqlite_memory_countdown = 0;
    durable_check(op);
    if (checks)
        check_rules();
}

static bool play(bool ours, bool fails, long nth) {
    char *facts[2];
    enum { BETWEEN = 20 };
    durable_begin();
    was_hit = false;
    checks = nth % BETWEEN == 0;
    if (ours)
        pl__alloc_fail_at(nth);
    else
        sqlite_memory_arm(nth);
    on_failure = failed;
    durable_play(fails, facts);
    was_hit = (ours ? pl__alloc_failed() : sqlite_memory_disarm()) || was_hit;
    pl__alloc_fail_at(0);
    on_failure = NULL;
    durable_end(checks);
    durable_compare(facts, expected, ours ? "our allocation" : "allocation of SQLite", nth);
    return was_hit;
}

static void expect(bool fails) {
    for (int i = 0; i < 2; i++)
        free(expected[i]);
    durable_begin();
    durable_play(fails, expected);
    durable_end(true);
}

static void fail_each(bool ours, bool fails) {
    long nth = 1;
    expect(fails);
    while (check_failed < 10 && play(ours, fails, nth))
        nth = durable_after(nth, 60);
    CHECK(nth > 50);
    printf("%ld allocations of %s failed\n", nth - 1, ours ? "ours" : "SQLite's");
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
    tries_max = 50;
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
