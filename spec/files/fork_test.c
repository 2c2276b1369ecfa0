/*
 * fork_test.c - a child after fork that opens the file itself, which its parent had open: what it stores is there,
 * though the parent dies, files are opened and closed, and visitors take themselves for the last.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"
#include "support/check.h"

enum { WRITES = 6 };

static char path[] = "/tmp/pipeline-fork-XXXXXX";
static pl_clock_t clock_;

static void wake_cb(void *data) {
    (void)data;
}

static pl_store_t *open_store(void) {
    pl_store_t *store = NULL;
    pl_error_t error = { 0 };
    pl_store_options_t options = {
        .path = path, .clock = &clock_, .wake = wake_cb, .lease_seconds = 15, .tombstone_seconds = 100
    };
    if (pl_store_open(&store, &options, &error) != PL_OK)
        printf("%s\n", error.message);
    return store;
}

/* Writes the setting of this number, or reads it; whether that went well. */
static bool has_setting(pl_store_t *store, int number, bool write) {
    char key[20];
    snprintf(key, sizeof key, "setting%d", number);
    pl_op_t *op = pl_op_new(PL_VERB_meta);
    op->u.meta.key = pl_str(key);
    op->u.meta.write = write;
    op->u.meta.value = PL_STR_LIT("1");
    bool ok = pl_store_call(store, op) == PL_OK;
    if (!ok)
        printf("setting %d: %s\n", number, op->error.message);
    pl_op_free(op);
    return ok;
}

static void visit(void) {
    static const char *const suffixes[] = { "", "-wal", "-shm" };
    char text[100];
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "%s%s", path, suffixes[i]);
        close(open(text, O_RDONLY));
    }
    snprintf(text, sizeof text, "sqlite3 %s .tables >/dev/null 2>&1", path);
    if (system(text) == -1)
        printf("no shell\n");
}

/* Tells by a byte for each write that went well; the first one lets its parent die. */
static void be_child(int acks) {
    pl_store_t *store = open_store();
    for (int i = 0; store && i < WRITES; i++) {
        if (!has_setting(store, i, true) || write(acks, "+", 1) != 1)
            break;
        usleep(i == 0 ? 200 * 1000 : 0);
        visit();
    }
    fflush(stdout);
    kill(getpid(), SIGKILL);
}

static void be_parent(int acks) {
    pl_store_t *store = open_store();
    if (store && has_setting(store, 100, true) && fork() == 0)
        be_child(acks);
    close(acks);
    pause();
}

int main(void) {
    int pipe_fds[2], acked = 0;
    char byte, command[100];
#ifdef __SANITIZE_THREAD__
    return check_end(); /* it cannot follow threads that are started after a fork */
#endif
    close(mkstemp(path));
    unlink(path);
    pl_clock_init_system(&clock_);
    CHECK(pipe(pipe_fds) == 0);
    pid_t parent = fork();
    if (parent == 0)
        be_parent(pipe_fds[1]);
    close(pipe_fds[1]);
    while (read(pipe_fds[0], &byte, 1) == 1) {
        if (acked++ == 0) {
            kill(parent, SIGKILL);
            waitpid(parent, NULL, 0);
        }
    }
    CHECK(acked == WRITES);
    pl_store_t *store = open_store();
    for (int i = 0; i < acked; i++)
        CHECK(has_setting(store, i, false));
    pl_store_close(store);
    snprintf(command, sizeof command, "rm -f %s %s-*", path, path);
    CHECK(system(command) == 0);
    return check_end();
}
