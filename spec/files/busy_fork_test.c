/*
 * busy_fork_test.c - a process forks while its stores are at work: each child opens stores of its own, the same file
 * and another one, and finds no mutex locked that the threads of its parent had. One that was forked while a store was
 * at work for longer than a fork waits, or while a transaction or a backup was open, is told that it cannot.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "store/driver.h"
#include "store/store.h"
#include "support/check.h"

enum { FORKS = 150, CHILD_SECONDS = 60, WRITERS = 2 };

static char folder[] = "/tmp/pipeline-forks-XXXXXX";
static pl_clock_t clock_;
static _Atomic bool over;

static void wake_cb(void *data) {
    (void)data;
}

static int try_open(const char *name, pl_store_t **store, pl_error_t *error) {
    char path[100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    pl_store_options_t options = {
        .path = path, .clock = &clock_, .wake = wake_cb, .lease_seconds = 15, .tombstone_seconds = 100
    };
    return pl_store_open(store, &options, error);
}

static pl_store_t *open_store(const char *name) {
    pl_store_t *store = NULL;
    pl_error_t error = { 0 };
    if (try_open(name, &store, &error) != PL_OK)
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

/* The store cannot be opened, and the error names the file and says what to do. */
static bool is_refused(const char *remedy) {
    pl_store_t *store = NULL;
    pl_error_t error = { 0 };
    return try_open("a.db", &store, &error) == PL_EFORK && !store && strstr(error.message, "a.db") &&
           strstr(error.message, remedy);
}

/* Its parent's stores are left alone. So that no leak checker complains of them, it ends by a signal: USR1 is well, and
 * so is USR2. */
static void be_child(void) {
    alarm(CHILD_SECONDS);
    if (pl__fork_was_rash())
        kill(getpid(), is_refused("Fork again") ? SIGUSR2 : SIGKILL);
    pl_store_t *same = open_store("a.db"), *other = open_store("child.db");
    bool ok = same && other && write_setting(same) && write_setting(other);
    pl_store_close(other);
    pl_store_close(same);
    fflush(stdout);
    kill(getpid(), ok ? SIGUSR1 : SIGKILL);
}

/* Of a parent that has something open on the one file: that file, and no other, is not to be used. */
static void be_child_of_holder(void) {
    alarm(CHILD_SECONDS);
    bool is_told = is_refused("fork before or after it") && is_refused("fork before or after it");
    pl_store_t *other = open_store("child.db");
    bool ok = is_told && other && write_setting(other);
    pl_store_close(other);
    kill(getpid(), ok ? SIGUSR2 : SIGKILL);
}

/* Returns the signal that the child ended by. */
static int end_of(void (*child)(void)) {
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        child();
    return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static int end_of_child(void) {
    return end_of(be_child);
}

static void call(pl_store_t *store, pl_op_t *op) {
    CHECK(pl_store_call(store, op) == PL_OK);
    pl_op_free(op);
}

static pl_op_t *of_session(pl_verb_t verb) {
    pl_op_t *op = pl_op_new(verb);
    op->session = 1;
    return op;
}

static void one_of_a_transaction_is_told(void) {
    pl_store_t *store = open_store("a.db");
    pl_op_t *begin = of_session(PL_VERB_tx_begin), *end = of_session(PL_VERB_tx_end);
    CHECK(end_of_child() == SIGUSR1);
    begin->u.tx_begin.seconds = 60;
    call(store, begin);
    CHECK(end_of(be_child_of_holder) == SIGUSR2);
    end->u.tx_end.commit = true;
    call(store, end);
    CHECK(end_of_child() == SIGUSR1);
    pl_store_close(store);
}

static pl_op_t *backup_of(const char *copy, int pages) {
    pl_op_t *op = pl_op_new(PL_VERB_backup);
    op->u.backup.path = pl_str(copy);
    op->u.backup.pages = pages;
    return op;
}

static void one_of_a_backup_is_told(void) {
    pl_store_t *store = open_store("a.db");
    char copy[100];
    snprintf(copy, sizeof copy, "%s/copy.db", folder);
    CHECK(write_setting(store)); /* into the log, which is read from then */
    call(store, backup_of(copy, 1));
    CHECK(end_of(be_child_of_holder) == SIGUSR2);
    call(store, backup_of(copy, INT32_MAX));
    CHECK(access(copy, F_OK) == 0);
    CHECK(end_of_child() == SIGUSR1);
    pl_store_close(store);
}

static void *work_for_long(void *data) {
    pl__fork_enter();
    *(_Atomic bool *)data = true;
    while (!over)
        usleep(1000);
    pl__fork_leave();
    return NULL;
}

/* Another process reads what was before the last commit, so that the log cannot begin anew; until it is closed. */
static FILE *open_reader(pl_store_t *store) {
    char text[200];
    snprintf(text, sizeof text, "sqlite3 %s/a.db", folder);
    FILE *reader = popen(text, "w");
    CHECK(reader != NULL);
    fprintf(reader, "BEGIN;\nSELECT count(*) FROM pl_meta;\n.shell touch %s/reads\n", folder);
    fflush(reader);
    snprintf(text, sizeof text, "%s/reads", folder);
    while (access(text, F_OK) != 0)
        usleep(1000);
    CHECK(write_setting(store));
    return reader;
}

static void *begin_log_anew(void *aside) {
    enum { START_OVER = 3 }; /* of upkeep.c */
    pl__fork_enter();
    CHECK(pl__sqlite_driver.aside(aside, START_OVER) == PL_OK);
    pl__fork_leave();
    return NULL;
}

static void one_waits_for_the_log(void) {
    pthread_t thread;
    pl__conn_t *aside = NULL;
    pl_error_t error = { 0 };
    char path[100];
    pl_store_t *store = open_store("a.db");
    FILE *reader = open_reader(store);
    snprintf(path, sizeof path, "%s/a.db", folder);
    pl_store_options_t options = { .path = path, .clock = &clock_ };
    CHECK(pl__sqlite_driver.open(&aside, &options, PL__ROLE_ASIDE, NULL, &error) == PL_OK);
    CHECK(pthread_create(&thread, NULL, begin_log_anew, aside) == 0);
    usleep(30 * 1000); /* it looks for 100 ms */
    CHECK(end_of_child() == SIGUSR1);
    pthread_join(thread, NULL);
    pclose(reader);
    pl__sqlite_driver.close(aside);
    pl_store_close(store);
}

static void a_rash_one_is_told(void) {
    pthread_t thread;
    _Atomic bool is_inside = false;
    over = false;
    CHECK(pthread_create(&thread, NULL, work_for_long, &is_inside) == 0);
    while (!is_inside)
        usleep(1000);
    CHECK(end_of_child() == SIGUSR2);
    over = true;
    pthread_join(thread, NULL);
    CHECK(end_of_child() == SIGUSR1);
}

int main(void) {
    pthread_t threads[WRITERS];
    static char names[WRITERS][5] = { "a.db", "b.db" };
    int well = 0, told = 0;
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
        int end = end_of_child();
        well += end == SIGUSR1;
        told += end == SIGUSR2; /* where a disk, or the build, is that slow */
        if (end == SIGALRM)
            break; /* one that hangs is enough */
    }
    printf("%d well, %d told\n", well, told);
    CHECK(well + told == FORKS && well > FORKS / 2);
    over = true;
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    one_of_a_transaction_is_told();
    one_of_a_backup_is_told();
    one_waits_for_the_log();
    a_rash_one_is_told();
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK(system(command) == 0);
    return check_end();
}
