/*
 * sqlite_alloc_test.c - the Nth allocation of SQLite fails: once, and from there on until memory is to be had again.
 */
#include <limits.h>
#include <stdio.h>

#include "faults/scenario.c"

static sqlite3_mem_methods memory;
static _Atomic long countdown;
static _Atomic bool is_armed, is_permanent, is_hit;

static bool must_fail(void) {
    if (!is_armed)
        return false;
    long left = countdown--;
    if (left > 1 || (left < 1 && !is_permanent))
        return false;
    is_hit = true;
    return true;
}

static void *failing_malloc(int size) {
    return must_fail() ? NULL : memory.xMalloc(size);
}

static void *failing_realloc(void *old, int size) {
    return must_fail() ? NULL : memory.xRealloc(old, size);
}

static void arm(long nth, bool permanent) {
    countdown = nth;
    is_permanent = permanent;
    is_hit = false;
    is_armed = true;
}

static void disarm(void) {
    is_armed = false;
}

static bool once(long nth, void *data) {
    (void)data;
    scenario_step("allocation of SQLite", nth);
    scenario_path();
    arm(nth, false);
    scenario_result_t result = scenario_play(&(scenario_t){ 0 });
    disarm();
    scenario_check(&result, is_hit);
    return is_hit;
}

static bool until_recovered(long nth, void *data) {
    (void)data;
    scenario_step("no memory for SQLite from allocation", nth);
    scenario_path();
    arm(nth, true);
    scenario_result_t result = scenario_play(&(scenario_t){ .recover = disarm });
    disarm();
    scenario_check(&result, is_hit);
    return is_hit;
}

/* How many there are when nothing fails. */
static long count_all(void) {
    scenario_step("counting", 0);
    scenario_path();
    arm(LONG_MAX, false);
    scenario_result_t result = scenario_play(&(scenario_t){ 0 });
    disarm();
    scenario_check(&result, false);
    return LONG_MAX - countdown;
}

int main(void) {
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory) != SQLITE_OK)
        return 1;
    sqlite3_mem_methods failing = memory;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) != SQLITE_OK)
        return 1;
    long count = count_all();
    long n = scenario_loop(once, NULL, count, 100, 150);
    printf("of %ld allocations %ld failed once", count, n);
    n = scenario_loop(until_recovered, NULL, count, 20, 60);
    printf(", %ld until recovered\n", n);
    return scenario_end();
}
