/*
 * schedule_statement_test.c - each statement fails once while schedules are at work: every transaction fails at many
 * places before it is done, and what is there at the end is what is there without that.
 */
#include <stdio.h>

#include "faults/schedule.c"
#include "support/failing.h"

int main(void) {
    char expected[FACTS_MAX], facts[FACTS_MAX];
    pl_store_driver_t failing = failing_driver();
    failing_stride = 1;
    schedules_expect(expected);
    schedules_driver = &failing;
    schedules_open(NULL);
    schedules_play();
    schedules_close(facts);
    CHECK(strcmp(facts, expected) == 0);
    if (check_failed)
        printf("%s\nnot\n%s\n", facts, expected);
    return check_end();
}
