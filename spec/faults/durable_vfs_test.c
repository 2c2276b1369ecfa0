/*
 * durable_vfs_test.c - the commit, or the Nth call of SQLite's file system layer in each turn and each read, fails in
 * the lives of durable functions (durable.c), for every N until that is done: once, or from there on until the failure
 * is seen. After a failure the file is whole, and a claim under which something was to be written is still there; at
 * the end, and when the file is opened again, all is as it is when nothing fails.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "faults/durable.c"
#include "faults/fault_vfs.c"
#include "faults/file_faults.h"
#include "support/file.h"

enum { TRIES_MAX = 1000, FEW = 20, BETWEEN = 10 };

static char path[80];
static char *expected[2];

/* ---- commits ----------------------------------------------------------------------------------------------- */

static size_t which; /* of FILE_FAULTS */
static bool is_permanent, refuses;
static long failures;

static int refuse_commit(void *data) {
    (void)data;
    bool refused = refuses;
    refuses = refuses && is_permanent;
    return refused;
}

/* ---- files ------------------------------------------------------------------------------------------------- */

/* A store without functions. */
static void make_empty(void) {
    open_driver(&pl__sqlite_driver, path, NULL);
    durable_prepare();
    close_driver();
}

/* ---- every call -------------------------------------------------------------------------------------------- */

static void arm_file(long nth) {
    if (FILE_FAULTS[which].kinds)
        fault_vfs_arm(FILE_FAULTS[which].kinds, FILE_FAULTS[which].rc, nth, is_permanent);
    else
        refuses = nth == 1; /* there is one in a turn */
}

static void disarm_file(void) {
    refuses = false;
    (void)fault_vfs_disarm();
}

/* The rules of the file are looked at now and then: that takes longer than all else. */
static void failed(const pl_op_t *op) {
    durable_check(op);
    if (++failures % BETWEEN == 0)
        check_rules();
}

/* What is there when the file is opened again. */
static void check_lasting(const char *what, long nth) {
    char *facts = NULL;
    close_driver();
    open_driver(&pl__sqlite_driver, path, "fault");
    facts = durable_facts();
    CHECK(strncmp(facts, expected[1], strcspn(expected[1], "f")) == 0); /* who works on it is another one */
    if (check_failed)
        printf("%s %ld, opened again:\n%s\nnot\n%s\n", what, nth, facts, expected[1]);
    free(facts);
    check_rules();
}

static void play(void) {
    char *facts[2];
    file_write(path, make_empty);
    open_driver(&pl__sqlite_driver, path, "fault");
    durable_begin();
    failures = 0;
    durable_play_failing(false, facts, arm_file, disarm_file, failed);
    durable_compare(facts, expected, FILE_FAULTS[which].what, failures);
    check_lasting(FILE_FAULTS[which].what, failures);
    close_driver();
}

static void expect(bool fails) {
    for (int i = 0; i < 2; i++)
        free(expected[i]);
    file_write(path, make_empty);
    open_driver(&pl__sqlite_driver, path, NULL);
    durable_begin();
    durable_play(fails, expected);
    close_driver();
}

int main(void) {
    const char *directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, sizeof path, "%s/pl_durable_vfs.%ld.db", directory, (long)getpid());
    if (file_hook_commits(refuse_commit) != SQLITE_OK)
        return 1;
    umask(077);
    fault_vfs_register();
    tries_max = TRIES_MAX;
    expect(false);
    for (; which < FILE_FAULTS_LEN; which++) {
        printf("%s:", FILE_FAULTS[which].what);
        for (int permanent = 0; permanent < 2 && check_failed == 0; permanent++) {
            is_permanent = permanent;
            play();
            CHECK(failures > FEW ||
                  (FILE_FAULTS[which].kinds & (FAULT_READ | FAULT_SHM))); /* most of it is there already */
            printf(" %ld", failures);
        }
        printf(" failed\n");
        fflush(stdout);
    }
    for (int i = 0; i < 2; i++)
        free(expected[i]);
    file_remove(path);
    return check_end();
}
