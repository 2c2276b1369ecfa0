/*
 * schedule_alloc_test.c - the Nth allocation fails while schedules are at work, for every N: first those of the store,
 * then those of SQLite.
 */
#include <stdio.h>

#include "faults/schedule.c"
#include "faults/sqlite_memory.c"

static bool play(long nth, bool of_sqlite, const char *expected) {
    char facts[FACTS_MAX];
    schedules_open(NULL);
    if (of_sqlite)
        sqlite_memory_arm(nth);
    else
        pl__alloc_fail_at(nth);
    schedules_play();
    bool was_hit = of_sqlite ? sqlite_memory_disarm() : pl__alloc_failed();
    pl__alloc_fail_at(0);
    schedules_close(facts);
    CHECK(strcmp(facts, expected) == 0);
    if (check_failed)
        printf("at allocation %ld: %s\n", nth, facts);
    return was_hit;
}

int main(void) {
    char expected[FACTS_MAX];
    sqlite_memory_replace();
    schedules_expect(expected);
    for (int of_sqlite = 0; of_sqlite < 2; of_sqlite++) {
        long nth = 1;
#ifndef PL_FAULTS
        if (!of_sqlite)
            continue; /* not a build that can make allocations of the store fail */
#endif
        while (check_failed == 0 && play(nth, of_sqlite, expected))
            nth = schedules_after(nth);
        CHECK(nth > 50);
        printf("up to %ld allocations failed\n", nth - 1);
    }
    return check_end();
}
