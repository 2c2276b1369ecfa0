/*
 * suspect_test.c - a worker whose process lives, though its lease is over: when its tasks are taken from it, and when
 * not. Its row and its claim are written by hand, as one that cannot write would leave them, and the lock of its number
 * is held here, where every version of this library holds it: in the file itself, or beside it.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"
#include "support/check.h"

#define NUMBERS_AT (INT64_C(0x40000000) + 1024)
enum { LOOK_US = 1200 * 1000, HOLD_US = 1500 * 1000 }; /* both longer than a suspicion must last */

static pl_store_t *store;
static pl_clock_t clock_;

static void wake_cb(void *data) {
    (void)data;
}

/* Takes the lock of a number, at `at` in the file of that name. Returns the descriptor that holds it. */
static int live(const char *name, int64_t at, int number) {
    int fd = open(name, O_RDWR | O_CLOEXEC);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at + number, .l_len = 1 };
    CHECK(fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0);
    return fd;
}

static void run(sqlite3 *db, const char *sql) {
    CHECK(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
}

static void open_all(const char *path, sqlite3 **db) {
    pl_clock_init_system(&clock_);
    pl_store_options_t options = {
        .path = path, .clock = &clock_, .wake = wake_cb, .lease_seconds = 15, .tombstone_seconds = 100
    };
    pl_error_t error = { 0 };
    CHECK(pl_store_open(&store, &options, &error) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_join);
    op->u.join.host = PL_STR_LIT("host");
    CHECK(pl_store_call(store, op) == PL_OK);
    pl_op_free(op);
    CHECK(sqlite3_open(path, db) == SQLITE_OK);
    sqlite3_busy_timeout(*db, 5000);
    run(*db, "INSERT INTO pl_worker (id, number, host, pid, started, lease_until) VALUES (77, 5, 'host', 1, 1, 2);"
             "INSERT INTO pl_task (id, kind, state, queue, priority, eta, owner) VALUES (9, 6, 2, 1, 0, 1, 77);");
}

/* One look; returns how many workers it gives up. */
static int look(int suspects) {
    pl_op_t *op = pl_op_new(PL_VERB_rescue);
    CHECK(pl_store_call(store, op) == PL_OK);
    CHECK(op->u.rescue.suspects == suspects);
    int given_up = op->u.rescue.workers;
    pl_op_free(op);
    return given_up;
}

/* A look that has to wait until somebody releases the file. */
static int look_behind_lock(sqlite3 *db) {
    pl_batch_t batch;
    run(db, "BEGIN IMMEDIATE");
    pl_store_submit(store, pl_op_new(PL_VERB_rescue));
    usleep(HOLD_US);
    run(db, "COMMIT");
    while (!pl_store_collect(store, &batch) || !batch.ops) {
        pl_batch_free(&batch);
        usleep(1000);
    }
    CHECK(batch.ops->verb == PL_VERB_rescue && batch.ops->u.rescue.suspects == 1);
    int given_up = batch.ops->u.rescue.workers;
    pl_batch_free(&batch);
    return given_up;
}

static void test_suspect(sqlite3 *db) {
    CHECK(look(1) == 0);
    CHECK(look(1) == 0); /* too soon */
    CHECK(look_behind_lock(db) == 0);
    CHECK(look(1) == 0); /* the file has been free for a moment only */
    usleep(LOOK_US);
    CHECK(look(0) == 1);
    CHECK(look(0) == 0);
}

static void test_renewed(sqlite3 *db) {
    run(db, "INSERT INTO pl_worker (id, number, host, pid, started, lease_until) VALUES (78, 5, 'host', 1, 1, 2);"
            "UPDATE pl_task SET state = 2, owner = 78;");
    CHECK(look(1) == 0);
    run(db, "UPDATE pl_worker SET lease_until = 3 WHERE id = 78"); /* over again, but it was renewed */
    usleep(LOOK_US);
    CHECK(look(1) == 0);
    usleep(LOOK_US);
    CHECK(look(0) == 1);
}

/* One that is gone is not suspected, however long its lease lasts; one that lives is, wherever its lock is. */
static void test_gone(sqlite3 *db, const char *beside) {
    const char *again =
        "INSERT INTO pl_worker (id, number, host, pid, started, lease_until) VALUES (79, 6, 'host', 1, 1, 2);"
        "UPDATE pl_task SET state = 2, owner = 79;";
    int fd = live(beside, 0, 6);
    run(db, again);
    CHECK(look(1) == 0);
    run(db, "UPDATE pl_worker SET lease_until = 9223372036854775807 WHERE id = 79");
    CHECK(look(0) == 0);
    close(fd);
    CHECK(look(0) == 1);
}

/* A number whose lock somebody holds is not taken, whether there is a row of that worker or not. */
static void test_number(const char *path, const char *beside) {
    int first = live(path, NUMBERS_AT, 1), second = live(beside, 0, 2);
    pl_op_t *op = pl_op_new(PL_VERB_join);
    op->u.join.host = PL_STR_LIT("host");
    op->u.join.number = 1;
    CHECK(pl_store_call(store, op) == PL_OK && op->u.join.number == 3);
    pl_op_free(op);
    close(first);
    close(second);
}

int main(void) {
    char directory[] = "/tmp/pipeline-suspect-XXXXXX", path[sizeof directory + 32], beside[sizeof path + 16];
    sqlite3 *db;
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/store.db", directory);
    snprintf(beside, sizeof beside, "%s-workers", path);
    open_all(path, &db);
    int lock = live(path, NUMBERS_AT, 5);
    test_suspect(db);
    test_renewed(db);
    close(lock);
    test_gone(db, beside);
    test_number(path, beside);
    sqlite3_close(db);
    pl_store_close(store);
    unlink(path);
    unlink(beside);
    rmdir(directory);
    return check_end();
}
