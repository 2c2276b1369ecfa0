/*
 * commit_test.c - the Nth commit fails: a commit hook turns it into a rollback, once, or until the fault is over.
 */
#include <stdatomic.h>
#include <stdio.h>

#include "faults/file_faults.h"
#include "faults/scenario.c"

static _Atomic long countdown;
static _Atomic bool is_armed, is_permanent, is_hit;

static int refuse(void *data) {
    (void)data;
    if (!is_armed)
        return 0;
    long left = countdown--;
    if (left > 1 || (left < 1 && !is_permanent))
        return 0;
    is_hit = true;
    return 1;
}

static void disarm(void) {
    is_armed = false;
}

static bool play(const char *what, long nth, bool permanent) {
    scenario_step(what, nth);
    scenario_path();
    countdown = nth;
    is_permanent = permanent;
    is_hit = false;
    is_armed = true;
    scenario_result_t result = scenario_play(&(scenario_t){ .recover = permanent ? disarm : NULL });
    disarm();
    scenario_check(&result, is_hit);
    return is_hit;
}

static bool once(long nth, void *data) {
    (void)data;
    return play("commit", nth, false);
}

static bool until_recovered(long nth, void *data) {
    (void)data;
    return play("no commit from", nth, true);
}

int main(void) {
    if (file_hook_commits(refuse) != SQLITE_OK)
        return 1;
    long n = scenario_loop(once, NULL, 0, 0, 0);
    printf("%ld commits failed once", n);
    n = scenario_loop(until_recovered, NULL, 0, 0, 0);
    printf(", %ld until recovered\n", n);
    return scenario_end();
}
