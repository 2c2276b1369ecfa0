/*
 * schedule_vfs_test.c - the Nth call of SQLite's file system layer, or the Nth commit, fails while schedules are at
 * work, for every N: once, or from there on until a failure is seen.
 */
#include <stdatomic.h>
#include <stdio.h>

#include "faults/fault_vfs.c"
#include "faults/file_faults.h"
#include "faults/schedule.c"

/* ---- commits ------------------------------------------------------------------------------------------------- */

static _Atomic long countdown; /* 0: none is to fail */
static _Atomic bool is_permanent, is_hit;

static int refuse_commit(void *data) {
    (void)data;
    if (countdown <= 0)
        return 0;
    if (countdown > 1) {
        countdown--;
        return 0;
    }
    if (!is_permanent)
        countdown = 0;
    is_hit = true;
    return 1;
}

/* ---- every call ---------------------------------------------------------------------------------------------- */

static void disarm(void) {
    countdown = 0;
    if (fault_vfs_disarm())
        is_hit = true;
}

static bool play(size_t which, bool permanent, long nth, const char *expected) {
    char facts[FACTS_MAX];
    schedules_open("fault");
    is_hit = false;
    is_permanent = permanent;
    on_failure = permanent ? disarm : NULL;
    if (FILE_FAULTS[which].kinds)
        fault_vfs_arm(FILE_FAULTS[which].kinds, FILE_FAULTS[which].rc, nth, permanent);
    else
        countdown = nth;
    schedules_play();
    disarm();
    on_failure = NULL;
    schedules_close(facts);
    CHECK(strcmp(facts, expected) == 0);
    if (check_failed)
        printf("%s %ld%s: %s\n", FILE_FAULTS[which].what, nth, permanent ? " and on" : "", facts);
    return is_hit;
}

int main(void) {
    char expected[FACTS_MAX];
    if (file_hook_commits(refuse_commit) != SQLITE_OK)
        return 1;
    fault_vfs_register();
    schedules_expect(expected);
    for (size_t i = 0; i < FILE_FAULTS_LEN; i++) {
        printf("%s:", FILE_FAULTS[i].what);
        for (int permanent = 0; permanent < 2; permanent++) {
            long nth = 1;
            while (check_failed == 0 && play(i, permanent, nth, expected))
                nth = schedules_after(nth);
            printf(" up to %ld", nth - 1);
        }
        printf(" calls failed\n");
        fflush(stdout);
    }
    return check_end();
}
