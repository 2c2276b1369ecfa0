/*
 * session_alloc_test.c - the Nth allocation fails while a session of the store is at work, for every N: first those of
 * the store, then those of SQLite.
 *
 * Of a session whose commit was acknowledged, everything must be there, its row, its task and its stage; else nothing.
 * And the store must be free for the next one.
 */
#include <stdio.h>

#include "faults/session.c"
#include "faults/sqlite_memory.c"

/* ---- every allocation -------------------------------------------------------------------------------------- */

static bool play(long nth, bool of_sqlite) {
    session_open(":memory:", NULL);
    if (of_sqlite)
        sqlite_memory_arm(nth);
    else
        pl__alloc_fail_at(nth);
    bool committed = session_work();
    bool was_hit = of_sqlite ? sqlite_memory_disarm() : pl__alloc_failed();
    pl__alloc_fail_at(0);
    CHECK(session_count() == committed);
    CHECK(committed || was_hit);
    pl_store_close(store);
    return was_hit;
}

int main(void) {
    sqlite_memory_replace();
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
