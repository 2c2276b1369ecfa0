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

enum { TRIES_MAX = 1000, FEW = 20, BETWEEN = 10 };

static char path[80];
static char *expected[2];

/* ---- commits ----------------------------------------------------------------------------------------------- */

static size_t which; /* of FAULTS */
static bool is_permanent, refuses;
static long failures;

static int refuse_commit(void *data) {
    (void)data;
    bool refused = refuses;
    refuses = refuses && is_permanent;
    return refused;
}

/* Called by SQLite for every connection that is opened. */
static int hook_connection(sqlite3 *db, const char **message, const void *api) {
    (void)message;
    (void)api;
    sqlite3_commit_hook(db, refuse_commit, NULL);
    return SQLITE_OK;
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static void remove_files(void) {
    static const char *const suffixes[] = { "", "-wal", "-shm", "-journal", "-workers" };
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

/* A store without functions, which is made once: that takes longer than all that is tried with it. */
static void write_empty(void) {
    enum { BYTES_MAX = 1024 * 1024 };
    static char bytes[BYTES_MAX];
    static size_t len;
    remove_files();
    if (!len) {
        open_driver(&pl__sqlite_driver, path, NULL);
        durable_prepare();
        close_driver();
        FILE *made = fopen(path, "rb");
        len = made ? fread(bytes, 1, sizeof bytes, made) : 0;
        CHECK(len > 0 && len < sizeof bytes && fclose(made) == 0);
        remove_files();
    }
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, len, file) == len && fclose(file) == 0);
}

/* ---- every call -------------------------------------------------------------------------------------------- */

static void arm_file(long nth) {
    if (FAULTS[which].kinds)
        fault_vfs_arm(FAULTS[which].kinds, FAULTS[which].rc, nth, is_permanent);
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
    write_empty();
    open_driver(&pl__sqlite_driver, path, "fault");
    durable_begin();
    failures = 0;
    arm = arm_file;
    disarm = disarm_file;
    on_failure = failed;
    durable_play(false, facts);
    arm = NULL;
    on_failure = NULL;
    durable_compare(facts, expected, FAULTS[which].what, failures);
    check_lasting(FAULTS[which].what, failures);
    close_driver();
}

static void expect(bool fails) {
    for (int i = 0; i < 2; i++)
        free(expected[i]);
    write_empty();
    open_driver(&pl__sqlite_driver, path, NULL);
    durable_begin();
    durable_play(fails, expected);
    close_driver();
}

int main(void) {
    union { /* the declaration of SQLite hides the arguments */
        int (*hook)(sqlite3 *db, const char **message, const void *api);
        void (*plain)(void);
    } entry = { hook_connection };
    const char *directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, sizeof path, "%s/pl_durable_vfs.%ld.db", directory, (long)getpid());
    if (sqlite3_auto_extension(entry.plain) != SQLITE_OK)
        return 1;
    umask(077);
    fault_vfs_register();
    tries_max = TRIES_MAX;
    expect(false);
    for (; which < sizeof FAULTS / sizeof *FAULTS; which++) {
        printf("%s:", FAULTS[which].what);
        for (int permanent = 0; permanent < 2 && check_failed == 0; permanent++) {
            is_permanent = permanent;
            play();
            CHECK(failures > FEW || (FAULTS[which].kinds & (FAULT_READ | FAULT_SHM))); /* most of it is there already */
            printf(" %ld", failures);
        }
        printf(" failed\n");
        fflush(stdout);
    }
    for (int i = 0; i < 2; i++)
        free(expected[i]);
    remove_files();
    return check_end();
}
