/*
 * schedule_vfs_test.c - the Nth call of SQLite's file system layer, or the Nth commit, fails while schedules are at
 * work, for every N: once, or from there on until a failure is seen.
 */
#include <stdatomic.h>
#include <stdio.h>

#include "faults/fault_vfs.c"
#include "faults/schedule.c"

static const struct {
    const char *what;
    unsigned kinds; /* 0: commits */
    int rc;         /* 0: the natural one */
} FAULTS[] = {
    { "commit", 0, 0 },        { "write", FAULT_WRITE, 0 },
    { "sync", FAULT_SYNC, 0 }, { "disk full", FAULT_WRITE | FAULT_TRUNCATE, SQLITE_FULL },
    { "read", FAULT_READ, 0 }, { "shared memory", FAULT_SHM, 0 },
    { "lock", FAULT_LOCK, 0 },
};

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

/* Called by SQLite for every connection that is opened. */
static int hook_connection(sqlite3 *db, const char **message, const void *api) {
    (void)message;
    (void)api;
    sqlite3_commit_hook(db, refuse_commit, NULL);
    return SQLITE_OK;
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
    if (FAULTS[which].kinds)
        fault_vfs_arm(FAULTS[which].kinds, FAULTS[which].rc, nth, permanent);
    else
        countdown = nth;
    schedules_play();
    disarm();
    on_failure = NULL;
    schedules_close(facts);
    CHECK(strcmp(facts, expected) == 0);
    if (check_failed)
        printf("%s %ld%s: %s\n", FAULTS[which].what, nth, permanent ? " and on" : "", facts);
    return is_hit;
}

int main(void) {
    union { /* the declaration of SQLite hides the arguments */
        int (*hook)(sqlite3 *db, const char **message, const void *api);
        void (*plain)(void);
    } entry = { hook_connection };
    char expected[FACTS_MAX];
    if (sqlite3_auto_extension(entry.plain) != SQLITE_OK)
        return 1;
    fault_vfs_register();
    schedules_expect(expected);
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++) {
        printf("%s:", FAULTS[i].what);
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
