/*
 * suspect_test.c - a worker whose process lives, though its lease is over: when its tasks are taken from it, and when
 * not. Its row and its claim are written by hand, as one that cannot write would leave them.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"
#include "support/check.h"

enum { LOOK_US = 1200 * 1000, HOLD_US = 1500 * 1000 }; /* both longer than a suspicion must last */

static pl_store_t *store;
static pl_clock_t clock_;

static void wake_cb(void *data) {
    (void)data;
}

static bool lives(void *data, int number, int64_t pid) {
    (void)data;
    (void)number;
    (void)pid;
    return true;
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
    run(*db, "INSERT INTO pl_worker VALUES (77, 5, 'host', 1, 1, 2);"
             "INSERT INTO pl_task (id, kind, state, queue, priority, eta, owner) VALUES (9, 6, 2, 1, 0, 1, 77);");
}

static pl_op_t *rescue(void) {
    pl_op_t *op = pl_op_new(PL_VERB_rescue);
    op->u.rescue.is_alive = lives;
    return op;
}

/* One look; returns how many workers it gives up. */
static int look(int suspects) {
    pl_op_t *op = rescue();
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
    pl_store_submit(store, rescue());
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
    run(db, "INSERT INTO pl_worker VALUES (78, 5, 'host', 1, 1, 2);"
            "UPDATE pl_task SET state = 2, owner = 78;");
    CHECK(look(1) == 0);
    run(db, "UPDATE pl_worker SET lease_until = 3 WHERE id = 78"); /* over again, but it was renewed */
    usleep(LOOK_US);
    CHECK(look(1) == 0);
    usleep(LOOK_US);
    CHECK(look(0) == 1);
}

int main(void) {
    char directory[] = "/tmp/pipeline-suspect-XXXXXX", path[sizeof directory + 32];
    sqlite3 *db;
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/store.db", directory);
    open_all(path, &db);
    test_suspect(db);
    test_renewed(db);
    sqlite3_close(db);
    pl_store_close(store);
    unlink(path);
    rmdir(directory);
    return check_end();
}
