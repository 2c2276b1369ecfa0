/*
 * session_alloc_test.c - the Nth allocation fails while a session of the store is at work, for every N: first those of
 * the store, then those of SQLite.
 *
 * Of a session whose commit was acknowledged, everything must be there, its row, its task and its stage; else nothing.
 * And the store must be free for the next one.
 */
#include <stdio.h>

#include "faults/session.c"

/* ---- SQLite's memory --------------------------------------------------------------------------------------- */

static sqlite3_mem_methods memory;
static _Atomic long countdown;
static _Atomic bool is_hit;

static bool must_fail(void) {
    if (countdown <= 0 || --countdown > 0)
        return false;
    return is_hit = true;
}

static void *failing_malloc(int size) {
    return must_fail() ? NULL : memory.xMalloc(size);
}

static void *failing_realloc(void *old, int size) {
    return must_fail() ? NULL : memory.xRealloc(old, size);
}

static void replace_malloc(void) {
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    sqlite3_mem_methods methods = memory;
    methods.xMalloc = failing_malloc;
    methods.xRealloc = failing_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

/* ---- every allocation -------------------------------------------------------------------------------------- */

static bool play(long nth, bool of_sqlite) {
    session_open(":memory:", NULL);
    is_hit = false;
    if (of_sqlite)
        countdown = nth;
    else
        pl__alloc_fail_at(nth);
    bool committed = session_work();
    bool was_hit = of_sqlite ? is_hit : pl__alloc_failed();
    countdown = 0;
    pl__alloc_fail_at(0);
    CHECK(session_count() == committed);
    CHECK(committed || was_hit);
    pl_store_close(store);
    return was_hit;
}

int main(void) {
    replace_malloc();
    for (int of_sqlite = 0; of_sqlite < 2; of_sqlite++) {
        long nth = 1;
#ifndef PL_FAULTS
        if (!of_sqlite)
            continue; /* not a build that can make allocations of the store fail */
#endif
        while (check_failed < 10 && play(nth, of_sqlite)) {
            if (check_failed)
                printf("at allocation %ld\n", nth);
            nth++;
        }
        CHECK(nth > 5);
        printf("%ld allocations failed\n", nth - 1);
    }
    return check_end();
}
