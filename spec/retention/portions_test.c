/*
 * portions_test.c - what is done at a time of something long is bounded: rows, steps of SQLite's machine, pages; and so
 * is the processor time, which is printed (F121).
 *
 * The driver is asked for one turn after the other, as the thread of a store does it. Once with the clock out of the
 * way, so that only the count of rows ends a portion and the bounds are the same on every machine; once as it is.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/sqlite/db.h"
#include "support/check.h"
#include "support/pace.h"

enum { WIDE = 8000, SMALL = 800, TASKS = 4000 };

/* Of one portion: rows deleted or changed, steps of the machine, and pages that a commit writes to the log. */
enum { ROWS_MOST = 1100, STEPS_MOST = 250000, PAGES_MOST = 6000 };

static char path[] = "/tmp/pipeline-portions-XXXXXX";

static void run(pl__conn_t *conn, const char *sql) {
    char *error = NULL;
    CHECK(sqlite3_exec(conn->db, sql, NULL, NULL, &error) == SQLITE_OK);
    if (error)
        printf("  %.60s: %s\n", sql, error);
    sqlite3_free(error);
}

/* One tree of many stages, many of few (each with values, failures and a status), one with large values, tasks. */
static void fill(pl__conn_t *conn) {
    char sql[1200];
    snprintf(sql, sizeof sql,
             "BEGIN; WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= %d) "
             "INSERT INTO pl_stage (id, root, parent, state, flags, missing, open, queue, class_path, created, "
             "finalized) SELECT 1, 1, NULL, 4, 0, 0, 0, 1, 'Root', 1, 1 UNION ALL "
             "SELECT i, 1, 1, 4, 0, 0, 0, 1, 'Leaf', 1, 1 FROM n;",
             WIDE);
    run(conn, sql);
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
             "INSERT INTO pl_stage (id, root, parent, state, flags, missing, open, queue, class_path, created, "
             "finalized) SELECT 1000000 + 4 * i + j, 1000000 + 4 * i, nullif(1000000 + 4 * i, 1000000 + 4 * i + j), "
             "4, 0, 0, 0, 1, 'Small', 1, 1 FROM n, (SELECT 0 AS j UNION SELECT 1 UNION SELECT 2 UNION SELECT 3);",
             SMALL);
    run(conn, sql);
    run(conn, "INSERT INTO pl_slot SELECT id, id, 1, x'00' FROM pl_stage WHERE id > 1000000;"
              "INSERT INTO pl_status (stage, time) SELECT id, 1 FROM pl_stage WHERE id > 1000000;"
              "INSERT INTO pl_failure (stage, time, attempt, message) SELECT id, 1, 1, 'no' FROM pl_stage WHERE id > "
              "1000000;"
              "INSERT INTO pl_failure (stage, time, attempt, message) SELECT id, 2, 2, 'no' FROM pl_stage WHERE id > "
              "1000000; UPDATE pl_slot SET value = randomblob(100000) WHERE id < 1000000 + 4 * 100; COMMIT");
}

static void fill_tasks(pl__conn_t *conn) {
    char sql[600];
    snprintf(sql, sizeof sql,
             "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
             "INSERT INTO pl_task (id, kind, state, queue, priority, eta, payload) SELECT i, 4, 4, q.id, 0, 0, x'00' "
             "FROM n, pl_queue AS q WHERE q.name = 'default';"
             "INSERT INTO pl_dead (task, time) SELECT id, 1 FROM pl_task;"
             "INSERT INTO pl_task_name (queue, name, expires) SELECT queue, 'n' || id, 1 FROM pl_task; COMMIT",
             TASKS);
    run(conn, sql);
}

static pl__conn_t *open_conn(const pl_clock_t *clock, int64_t portion_us) {
    pl_store_options_t options = { .path = path,
                                   .clock = clock,
                                   .tombstone_seconds = 1,
                                   .lease_seconds = 15,
                                   .portion_us = portion_us,
                                   .retention = { .done = 1, .aborted = 1, .dead = 1 } };
    pl__conn_t *conn = NULL;
    pl_error_t error = { 0 };
    CHECK(pl__sqlite_driver.open(&conn, &options, PL__ROLE_WRITER, NULL, &error) == PL_OK);
    if (error.code)
        printf("  %s\n", error.message);
    return conn;
}

/* ---- one portion after the other --------------------------------------------------------------------------- */

typedef struct {
    int portions;
    int64_t rows, steps, pages, us; /* the most of one portion */
    int64_t all;                    /* rows of all of them */
} most_t;

static int64_t thread_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t steps_taken(const pl__conn_t *conn) {
    int64_t steps = 0;
    for (int i = 0; i < PL__SQL_COUNT; i++)
        if (conn->statements[i]) {
            steps += sqlite3_stmt_status(conn->statements[i], SQLITE_STMTSTATUS_VM_STEP, 1);
        }
    return steps;
}

static int pages_written(const pl__conn_t *conn) {
    int pages = 0, unused;
    (void)sqlite3_db_status(conn->db, SQLITE_DBSTATUS_CACHE_WRITE, &pages, &unused, 1);
    return pages;
}

static void note(int64_t *most, int64_t found) {
    if (found > *most)
        *most = found;
}

static most_t portions_of(pl__conn_t *conn, pl_op_t *op, const char *what) {
    most_t most = { 0 };
    pl__ask_t ask = { 0 };
    do {
        pl__arena_t arena = { 0 };
        pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
        pl_error_t error = { 0 };
        op->more = false;
        (void)steps_taken(conn);
        (void)pages_written(conn);
        int64_t rows = sqlite3_total_changes64(conn->db), us = thread_us();
        int rc = pl__sqlite_driver.turn(conn, op, &ask, &arena, &turn, &error);
        note(&most.us, thread_us() - us);
        rows = sqlite3_total_changes64(conn->db) - rows;
        note(&most.rows, rows);
        note(&most.steps, steps_taken(conn));
        note(&most.pages, pages_written(conn));
        most.all += rows;
        most.portions++;
        op->portions++;
        CHECK(rc == PL_OK && op->rc == PL_OK);
        pl__arena_free(&arena);
        if (rc != PL_OK || op->rc != PL_OK)
            break;
    } while (op->more);
    printf("  %-12s %5d portions, at most %4d rows, %6d steps, %5d pages, %6.2f ms of the processor\n", what,
           most.portions, (int)most.rows, (int)most.steps, (int)most.pages, (double)most.us / 1000);
    return most;
}

static void check_bounds(pl__conn_t *conn, pl_verb_t verb, pl_str_t queue, const char *what, int64_t rows_least) {
    pl_op_t *op = pl_op_new(verb);
    if (verb == PL_VERB_cleanup)
        op->u.cleanup.root = 1;
    if (verb == PL_VERB_purge)
        op->u.purge.queue = queue;
    if (verb == PL_VERB_dead_revive)
        op->u.dead_revive.all = true;
    if (verb == PL_VERB_dead_purge)
        op->u.dead_purge.all = true;
    most_t most = portions_of(conn, op, what);
    CHECK(most.all >= rows_least);
    CHECK(most.rows <= ROWS_MOST);
    CHECK(most.steps <= STEPS_MOST);
    CHECK(most.pages <= PAGES_MOST);
    pl_op_free(op);
}

/* A task whose name is over takes a few names along whose time is over, and does not look through all of them. */
static void check_name(pl__conn_t *conn) {
    pl_error_t error = { 0 };
    CHECK(pl__sqlite_verbs.begin(conn, &error) == PL_OK);
    (void)steps_taken(conn);
    CHECK(pl__tombstone_put(conn, 1, PL_STR_LIT("n1")) == PL_OK);
    CHECK(steps_taken(conn) < 1000);
    pl__sqlite_verbs.rollback(conn);
}

static int count(pl__conn_t *conn, const char *sql) {
    sqlite3_stmt *row = NULL;
    int found = -1;
    CHECK(sqlite3_prepare_v2(conn->db, sql, -1, &row, NULL) == SQLITE_OK);
    if (row && sqlite3_step(row) == SQLITE_ROW)
        found = sqlite3_column_int(row, 0);
    sqlite3_finalize(row);
    return found;
}

static void sweep_once(pl__conn_t *conn, pl_op_t *op) {
    pl__arena_t arena = { 0 };
    pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
    pl_error_t error = { 0 };
    op->more = false;
    CHECK(pl__sqlite_driver.turn(conn, op, &(pl__ask_t){ 0 }, &arena, &turn, &error) == PL_OK && op->rc == PL_OK);
    op->portions++;
    pl__arena_free(&arena);
}

/* Between two looks at a wide tree that is old enough it is resumed, and ends again: from then on its time counts. */
static void check_resumed(pl__conn_t *conn, const pl_clock_t *clock) {
    char sql[200];
    pl_op_t *op = pl_op_new(PL_VERB_sweep);
    fill(conn);
    sweep_once(conn, op);
    CHECK(op->more && conn->sweep.root == 1);
    snprintf(sql, sizeof sql, "UPDATE pl_stage SET flags = flags + %d, finalized = %lld WHERE id = 1", PL_STAGE_RESUMED,
             (long long)(pl_clock_now(clock) + 3600 * PL_USEC_PER_SEC));
    run(conn, sql);
    for (int i = 0; i < 1000 && op->more; i++)
        sweep_once(conn, op);
    CHECK(!op->more);
    CHECK(count(conn, "SELECT count(*) FROM pl_stage WHERE root = 1") == WIDE + 1);
    CHECK(count(conn, "SELECT count(*) FROM pl_stage WHERE root <> 1") == 0);
    pl_op_free(op);
    run(conn, "DELETE FROM pl_stage");
}

static int count_cb(void *data) {
    ++*(int *)data;
    return 0;
}

/* Under load the sweep comes between two turns of the store. After long ones it does several portions, or it would fall
 * behind; never more than some milliseconds of them, so how many that are depends on the machine. */
static void check_pace(const pl_clock_t *clock) {
    enum { LOOKS = 40, TURN_US = 30000 };
    int commits = 0, most = 0, aside = 0;
    pl__conn_t *conn = open_conn(clock, 200);
    if (!conn)
        return;
    fill(conn);
    conn->options.sweeps = true;
    (void)sqlite3_commit_hook(conn->db, count_cb, &commits);
    for (int i = 0; i < LOOKS && most < 4; i++) {
        int64_t next;
        conn->sweep.at = 1;                                    /* it is time, */
        conn->sweep.ended = pl_clock_monotonic_us() - TURN_US; /* and a turn has just ended */
        commits = 0;
        pl__sqlite_driver.keep(conn, false, &next, &aside);
        most = commits > most ? commits : most;
    }
    CHECK(most >= 4);
    pl__sqlite_driver.close(conn);
}

static void remove_file(void) {
    static const char *const BESIDE[] = { "", "-wal", "-shm", "-workers" };
    char name[sizeof path + 16];
    for (size_t i = 0; i < sizeof BESIDE / sizeof *BESIDE; i++) {
        snprintf(name, sizeof name, "%s%s", path, BESIDE[i]);
        unlink(name);
    }
}

static void check(int64_t portion_us) {
    pl_clock_t clock;
    pl_clock_init_system(&clock);
    pl__conn_t *conn = open_conn(&clock, portion_us);
    if (!conn)
        return;
    check_resumed(conn, &clock);
    fill(conn);
    check_bounds(conn, PL_VERB_cleanup, PL_STR_NONE, "cleanup", WIDE);
    fill_tasks(conn);
    check_name(conn);
    check_bounds(conn, PL_VERB_sweep, PL_STR_NONE, "sweep", 4 * SMALL * 5 + 3 * TASKS);
    fill_tasks(conn);
    check_bounds(conn, PL_VERB_dead_revive, PL_STR_NONE, "revive", 2 * TASKS);
    run(conn, "UPDATE pl_task_name SET expires = 1");
    check_bounds(conn, PL_VERB_purge, PL_STR_LIT("default"), "purge", TASKS);
    run(conn, "DELETE FROM pl_task_name");
    fill_tasks(conn);
    check_bounds(conn, PL_VERB_dead_purge, PL_STR_NONE, "purge dead", 2 * TASKS);
    pl__sqlite_driver.close(conn);
    remove_file();
    if (portion_us < PL_USEC_PER_SEC)
        check_pace(&clock);
    remove_file();
}

int main(void) {
    int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0);
    printf("only rows end a portion\n");
    check(INT64_C(3600) * PL_USEC_PER_SEC);
    printf("as it is\n");
    check(pace() == 1 ? 0 : (int64_t)PL__PORTION_US * pace());
    return check_end();
}
