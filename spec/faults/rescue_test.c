/*
 * rescue_test.c - a worker has died in the middle of its tasks; while the next one takes over, the Nth allocation or
 * the Nth call of the file system layer fails. The tasks of the dead one must come back all the same.
 */
#include <stdio.h>

#include "faults/fault_vfs.c"
#include "faults/scenario.c"

enum { EXECUTIONS_MAX = 9 }; /* the crash comes at one of the first executions, another one each time */

static void crash(const char *what, long nth) {
    scenario_step(what, nth);
    scenario_path();
    scenario_crash(1 + (int)(nth % EXECUTIONS_MAX));
}

static bool allocation(long nth, void *data) {
    (void)data;
    crash("rescue, allocation", nth);
    pl__alloc_fail_at(nth);
    scenario_result_t result = scenario_play(&(scenario_t){ 0 });
    bool was_hit = pl__alloc_failed();
    pl__alloc_fail_at(0);
    scenario_check(&result, was_hit);
    return was_hit;
}

static bool call(long nth, void *data) {
    (void)data;
    crash("rescue, call", nth);
    fault_vfs_arm(FAULT_READ | FAULT_WRITE | FAULT_OPEN | FAULT_SHM | FAULT_LOCK, 0, nth, false);
    scenario_result_t result = scenario_play(&(scenario_t){ .vfs = "fault" });
    bool was_hit = fault_vfs_disarm();
    scenario_check(&result, was_hit);
    return was_hit;
}

int main(void) {
    long n = 0;
    fault_vfs_register();
#ifdef PL_FAULTS
    n = scenario_loop(allocation, NULL, 0, 0, 0);
#else
    (void)allocation;
#endif
    printf("%ld allocations, ", n);
    n = scenario_loop(call, NULL, 300, 60, 60);
    printf("%ld calls failed during a rescue\n", n);
    return scenario_end();
}
