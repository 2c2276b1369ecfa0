/*
 * sweep_statement_test.c - each statement fails once while old work is deleted, in portions as small as can be: every
 * portion fails at many places before it is done, and in the end all that is old is gone, and was counted once.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlite/db.h"
#include "support/failing.h"

enum { TREES = 4, WIDE = 40, TASKS = 12, PORTIONS_MAX = 5000 };

static char path[] = "/tmp/pipeline-sweep-XXXXXX";

static void run(pl__conn_t *conn, const char *sql) {
    char *problem = NULL;
    CHECK(sqlite3_exec(conn->db, sql, NULL, NULL, &problem) == SQLITE_OK);
    if (problem)
        printf("%s\n", problem);
    sqlite3_free(problem);
}

static int64_t count(pl__conn_t *conn, const char *sql) {
    sqlite3_stmt *row = NULL;
    CHECK(sqlite3_prepare_v2(conn->db, sql, -1, &row, NULL) == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW);
    int64_t found = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return found;
}

/* Trees that are over, the first of them wide; dead tasks; names that were taken once. */
static void fill(pl__conn_t *conn) {
    char sql[2000];
    snprintf(
        sql, sizeof sql,
        "BEGIN; INSERT OR IGNORE INTO pl_queue (id, name) VALUES (1, 'default');"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO pl_stage (id, "
        "root, state, flags, missing, open, queue, class_path, created, finalized) SELECT i, i, 4 + i %% 2 * 2, 0, "
        "0, 0, 1, 'a.B', 1, 1 FROM n;"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO pl_stage (id, "
        "root, parent, state, flags, missing, open, queue, class_path, created, finalized) SELECT 1000 + i, 1, 1, 4, "
        "0, 0, 0, 1, 'a.B', 1, 1 FROM n;"
        "INSERT INTO pl_slot SELECT id, id, 1, x'01' FROM pl_stage WHERE id > 1000;"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO pl_task (id, "
        "kind, state, queue, priority, eta, payload) SELECT 5000 + i, 4, 4, 1, 0, 0, x'00' FROM n;"
        "INSERT INTO pl_dead (task, time) SELECT id, 1 FROM pl_task;"
        "INSERT INTO pl_task_name (queue, name, expires) SELECT 1, 'n' || id, 1 FROM pl_task; COMMIT",
        TREES, WIDE, TASKS);
    run(conn, sql);
}

static void all_that_is_old_is_gone_and_counted_once(pl__conn_t *conn) {
    int portions = 0;
    pl_op_t *op = pl_op_new(PL_VERB_sweep);
    fill(conn);
    do {
        pl__arena_t arena = { 0 };
        pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
        pl_error_t error = { 0 };
        CHECK(failing_turn(conn, op, &(pl__ask_t){ 0 }, &arena, &turn, &error) == PL_OK && op->rc == PL_OK);
        op->portions++;
        pl__arena_free(&arena);
    } while (op->more && ++portions < PORTIONS_MAX);
    CHECK(!op->more && portions > 10);
    CHECK(op->u.sweep.swept.trees == TREES && op->u.sweep.swept.dead == TASKS && op->u.sweep.swept.names == TASKS);
    CHECK(count(conn, "SELECT count(*) FROM pl_stage") == 0 && count(conn, "SELECT count(*) FROM pl_slot") == 0);
    CHECK(count(conn, "SELECT count(*) FROM pl_task") == 0 && count(conn, "SELECT count(*) FROM pl_task_name") == 0);
    printf("%d portions; %d trees, %d dead, %d names\n", portions, (int)op->u.sweep.swept.trees,
           (int)op->u.sweep.swept.dead, (int)op->u.sweep.swept.names);
    pl_op_free(op);
}

static void the_store_sweeps_by_itself(pl__conn_t *conn) {
    int64_t next = 0;
    int aside = 0;
    fill(conn);
    conn->options.sweeps = true;
    for (int i = 0; i < PORTIONS_MAX && count(conn, "SELECT count(*) FROM pl_stage") > 0; i++) {
        conn->sweep.at = 1; /* it is time; and once more, for after a failure it waits */
        failing_keep(conn, true, &next, &aside);
        conn->sweep.at = 1;
        pl__sqlite_driver.keep(conn, true, &next, &aside);
    }
    CHECK(count(conn, "SELECT count(*) FROM pl_stage") == 0 && count(conn, "SELECT count(*) FROM pl_slot") == 0);
}

static void ignore(void *data, int level, const char *line) {
    (void)data;
    (void)level;
    (void)line;
}

int main(void) {
    const pl_log_t log = { .cb = ignore };
    pl_clock_t clock;
    pl_error_t error = { 0 };
    pl__conn_t *conn = NULL;
    pl_store_driver_t failing = failing_driver();
    failing_stride = 2;
    int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0);
    pl_clock_init_system(&clock);
    pl_store_options_t options = { .path = path,
                                   .clock = &clock,
                                   .log = &log,
                                   .tombstone_seconds = 1,
                                   .lease_seconds = 15,
                                   .portion_us = 1,
                                   .retention = { .done = 1, .aborted = 1, .dead = 1 } };
    CHECK(failing.open(&conn, &options, PL__ROLE_WRITER, NULL, &error) == PL_OK);
    if (conn) {
        all_that_is_old_is_gone_and_counted_once(conn);
        the_store_sweeps_by_itself(conn);
        failing.close(conn);
    }
    static const char *const BESIDE[] = { "", "-wal", "-shm", "-workers" };
    for (size_t i = 0; i < sizeof BESIDE / sizeof *BESIDE; i++) {
        char name[sizeof path + 16];
        snprintf(name, sizeof name, "%s%s", path, BESIDE[i]);
        unlink(name);
    }
    return check_end();
}
