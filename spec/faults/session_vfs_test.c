/*
 * session_vfs_test.c - the Nth call of SQLite's file system layer fails while a session of the store is at work, for
 * every N: once, from there on until the work has failed, and from there on until the store is closed.
 *
 * Whatever was acknowledged as committed is there, in the same store and when the file is opened again. What was not
 * is there as a whole or not at all: when a sync fails after the last byte was written, nobody can know. The store goes
 * on as soon as the fault is over.
 */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "faults/fault_vfs.c"
#include "faults/file_faults.h"
#include "faults/session.c"
#include "support/file.h"

static const file_fault_t FAULTS[] = {
    { "write", FAULT_WRITE, 0 }, { "disk full", FAULT_WRITE | FAULT_TRUNCATE, SQLITE_FULL },
    { "sync", FAULT_SYNC, 0 },   { "truncate", FAULT_TRUNCATE, 0 },
    { "read", FAULT_READ, 0 },   { "shared memory", FAULT_SHM, 0 },
    { "lock", FAULT_LOCK, 0 },
};

typedef enum { ONCE, UNTIL_FAILED, UNTIL_CLOSED } faulty_t;

static char path[80];

/* Checks what is left of a session; returns how often it is there. */
static int check_left(bool committed) {
    int left = session_count();
    CHECK(left == 1 || (left == 0 && !committed));
    return left;
}

static bool play(const file_fault_t *fault, faulty_t mode, long nth) {
    file_remove(path);
    session_open(path, "fault");
    fault_vfs_arm(fault->kinds, fault->rc, nth, mode != ONCE);
    bool committed = session_work();
    int left = -1;
    bool was_hit = false;
    if (mode != UNTIL_CLOSED) {
        was_hit = fault_vfs_disarm();
        CHECK(committed || was_hit);
        left = check_left(committed);
    }
    pl_store_close(store);
    if (mode == UNTIL_CLOSED)
        was_hit = fault_vfs_disarm();
    session_open(path, "fault");
    int reopened = check_left(committed);
    CHECK(left < 0 || reopened == left);
    pl_store_close(store);
    return was_hit;
}

int main(void) {
    const char *directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, sizeof path, "%s/pl_session_vfs.%ld.db", directory, (long)getpid());
    fault_vfs_register();
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++) {
        printf("%s:", FAULTS[i].what);
        for (faulty_t mode = ONCE; mode <= UNTIL_CLOSED; mode++) {
            long nth = 1;
            while (check_failed < 10 && play(&FAULTS[i], mode, nth)) {
                if (check_failed)
                    fprintf(stderr, "%s %ld, mode %d\n", FAULTS[i].what, nth, (int)mode);
                nth++;
            }
            printf(" %ld", nth - 1);
        }
        printf(" calls failed\n");
        fflush(stdout);
    }
    file_remove(path);
    return check_end();
}
