/*
 * vfs_test.c - the Nth call of SQLite's file system layer fails, for every N: once, and from there on until the fault
 * is over, when the same session must go on and finish.
 */
#include <limits.h>
#include <stdio.h>

#include "faults/fault_vfs.c"
#include "faults/scenario.c"

typedef struct {
    const char *what;
    unsigned kinds;
    int rc; /* 0: the natural one */
} fault_t;

static const fault_t faults[] = {
    { "write", FAULT_WRITE, 0 },       { "disk full", FAULT_WRITE | FAULT_TRUNCATE, SQLITE_FULL },
    { "sync", FAULT_SYNC, 0 },         { "truncate", FAULT_TRUNCATE, 0 },
    { "open", FAULT_OPEN, 0 },         { "read", FAULT_READ, 0 },
    { "shared memory", FAULT_SHM, 0 }, { "lock", FAULT_LOCK, 0 },
};

static bool was_hit;

static void recover(void) {
    was_hit = fault_vfs_disarm();
}

static bool once(long nth, void *data) {
    const fault_t *fault = data;
    scenario_step(fault->what, nth);
    scenario_path();
    fault_vfs_arm(fault->kinds, fault->rc, nth, false);
    scenario_result_t result = scenario_play(&(scenario_t){ .vfs = "fault" });
    was_hit = fault_vfs_disarm();
    scenario_check(&result, was_hit);
    return was_hit;
}

static bool until_recovered(long nth, void *data) {
    const fault_t *fault = data;
    scenario_step(fault->what, nth);
    scenario_path();
    fault_vfs_arm(fault->kinds, fault->rc, nth, true);
    scenario_result_t result = scenario_play(&(scenario_t){ .vfs = "fault", .recover = recover });
    if (!result.opened)
        recover();
    scenario_check(&result, was_hit);
    return was_hit;
}

/* How many calls there are when nothing fails. */
static long count_calls(const fault_t *fault) {
    scenario_step("counting", 0);
    scenario_path();
    fault_vfs_arm(fault->kinds, 0, LONG_MAX, false);
    scenario_result_t result = scenario_play(&(scenario_t){ .vfs = "fault" });
    fault_vfs_disarm();
    scenario_check(&result, false);
    return fault_vfs_calls();
}

int main(void) {
    fault_vfs_register();
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        fault_t fault = faults[i];
        long count = count_calls(&fault);
        long n = scenario_loop(once, &fault, count, 60, 20);
        printf("%s: %ld calls, %ld failed once", fault.what, count, n);
        n = scenario_loop(until_recovered, &fault, count, 20, 20);
        printf(", %ld until recovered\n", n);
        fflush(stdout);
    }
    return scenario_end();
}
