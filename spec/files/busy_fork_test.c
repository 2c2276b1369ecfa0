/*
 * busy_fork_test.c - a process forks while its stores are at work: each child opens stores of its own, the same file
 * and another one, and finds no mutex locked that the threads of its parent had.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"
#include "support/check.h"

enum { FORKS = 150, CHILD_SECONDS = 60, WRITERS = 2 };

static char folder[] = "/tmp/pipeline-forks-XXXXXX";
static pl_clock_t clock_;
static _Atomic bool over;

static void wake_cb(void *data) {
    (void)data;
}

static pl_store_t *open_store(const char *name) {
    pl_store_t *store = NULL;
    pl_error_t error = { 0 };
    char path[100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    pl_store_options_t options = {
        .path = path, .clock = &clock_, .wake = wake_cb, .lease_seconds = 15, .tombstone_seconds = 100
    };
    if (pl_store_open(&store, &options, &error) != PL_OK)
        printf("%s\n", error.message);
    return store;
}

static bool write_setting(pl_store_t *store) {
    pl_op_t *op = pl_op_new(PL_VERB_meta);
    op->u.meta.key = PL_STR_LIT("setting");
    op->u.meta.write = true;
    op->u.meta.value = PL_STR_LIT("1");
    bool ok = pl_store_call(store, op) == PL_OK;
    if (!ok)
        printf("a setting: %s\n", op->error.message);
    pl_op_free(op);
    return ok;
}

static void *write_all_along(void *name) {
    pl_store_t *store = open_store(name);
    while (store && !over && write_setting(store))
        ;
    pl_store_close(store);
    return NULL;
}

/* Its parent's stores are left alone. So that no leak checker complains of them, it ends by a signal: USR1 is well. */
static void be_child(void) {
    alarm(CHILD_SECONDS);
    pl_store_t *same = open_store("a.db"), *other = open_store("child.db");
    bool ok = same && other && write_setting(same) && write_setting(other);
    pl_store_close(other);
    pl_store_close(same);
    fflush(stdout);
    kill(getpid(), ok ? SIGUSR1 : SIGKILL);
}

int main(void) {
    pthread_t threads[WRITERS];
    static char names[WRITERS][5] = { "a.db", "b.db" };
    int well = 0, status;
    char command[100];
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
    return check_end(); /* the one cannot follow threads of a child, the other leaves its own mutexes locked in one */
#endif
    CHECK(mkdtemp(folder) != NULL);
    pl_clock_init_system(&clock_);
    for (int i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&threads[i], NULL, write_all_along, names[i]) == 0);
    for (int i = 0; i < FORKS; i++) {
        usleep(1000 + i * 37 % 1000);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            be_child();
        if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1)
            well++;
        else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
            break; /* one that hangs is enough */
    }
    CHECK(well == FORKS);
    over = true;
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK(system(command) == 0);
    return check_end();
}
