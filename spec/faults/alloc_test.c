/*
 * alloc_test.c - the Nth allocation of the engine fails, for every N.
 */
#include "base/memory.h"

#include <stdio.h>

#include "faults/scenario.c"

static bool step(long nth, void *data) {
    (void)data;
    scenario_step("allocation", nth);
    scenario_path();
    pl__alloc_fail_at(nth);
    scenario_result_t result = scenario_play(&(scenario_t){ 0 });
    bool was_hit = pl__alloc_failed();
    pl__alloc_fail_at(0);
    scenario_check(&result, was_hit);
    return was_hit;
}

int main(void) {
#ifdef PL_FAULTS
    long steps = scenario_loop(step, NULL, 0, 0, 0);
    printf("%ld allocations failed\n", steps);
#else
    (void)step;
    puts("skipped: not a build that can make allocations fail");
#endif
    return scenario_end();
}
