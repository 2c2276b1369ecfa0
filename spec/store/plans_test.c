/*
 * plans_test.c - no statement of the engine runs by another plan because of statistics, whoever has made them: the user
 * with ANALYZE, somebody with rows of his own in sqlite_stat1. And each of them names the schema of its tables.
 *
 * For each statement the plan without statistics is compared with those under statistics of every extreme: one index
 * that finds a single row while all others find everything, the other way round, tables that are empty or huge. Most
 * keep theirs whatever happens, for they name their index; the others need that a connection of the store has no
 * statistics on these tables, which is looked at with a file that somebody else has analyzed: before it is opened, and
 * while it is open.
 */
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlite/checks.h"
#include "store/sqlite/db.h"
#include "support/check.h"

#include "schema.h"

enum { PLAN_SIZE = 2000, INDEXES_MAX = 64 };

static const struct {
    const char *name, *sql;
} statements[] = {
#define X(name, sql) { #name, sql },
    PL__STATEMENTS(X)
#undef X
};

enum { STATEMENTS = sizeof statements / sizeof *statements };

static char plain[STATEMENTS][PLAN_SIZE];
static struct {
    char table[40], index[40];
    int columns;
} indexes[INDEXES_MAX];
static int indexes_len;

static void run(sqlite3 *db, const char *sql) {
    char *error = NULL;
    CHECK(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK);
    if (error)
        printf("  %s: %s\n", sql, error);
    sqlite3_free(error);
}

static sqlite3 *open_db(void) {
    sqlite3 *db = NULL;
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    for (int i = 0; pl__schema_steps[i].sql; i++)
        run(db, pl__schema_steps[i].sql);
    run(db, "PRAGMA foreign_keys = ON"); /* as that of the writer */
    return db;
}

/* The lines of the plan, one behind the other. */
static void read_plan(sqlite3 *db, const char *sql, char *plan) {
    sqlite3_stmt *row = NULL;
    char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
    size_t len = 0;
    int rc = sqlite3_prepare_v2(db, explain, -1, &row, NULL);
    plan[0] = 0;
    while (rc == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW && len < PLAN_SIZE)
        len += (size_t)snprintf(plan + len, PLAN_SIZE - len, "%s\n", sqlite3_column_text(row, 3));
    if (rc != SQLITE_OK)
        snprintf(plan, PLAN_SIZE, "%s\n", sqlite3_errmsg(db));
    CHECK(rc == SQLITE_OK);
    sqlite3_finalize(row);
    sqlite3_free(explain);
}

static void list_indexes(sqlite3 *db) {
    sqlite3_stmt *row = NULL;
    CHECK(sqlite3_prepare_v2(db,
                             "SELECT m.name, i.name, (SELECT count(*) FROM pragma_index_info(i.name)) "
                             "FROM sqlite_schema AS m, pragma_index_list(m.name) AS i WHERE m.type = 'table'",
                             -1, &row, NULL) == SQLITE_OK);
    while (sqlite3_step(row) == SQLITE_ROW && indexes_len < INDEXES_MAX) {
        snprintf(indexes[indexes_len].table, sizeof indexes->table, "%s", sqlite3_column_text(row, 0));
        snprintf(indexes[indexes_len].index, sizeof indexes->index, "%s", sqlite3_column_text(row, 1));
        indexes[indexes_len++].columns = sqlite3_column_int(row, 2);
    }
    sqlite3_finalize(row);
    CHECK(indexes_len > 15);
}

/* Statistics of one index: of `rows`, each value of its columns has `each`. */
static void plant(sqlite3 *db, int at, long long rows, long long each) {
    char stat[400];
    size_t len = (size_t)snprintf(stat, sizeof stat, "%lld", rows);
    for (int i = 0; i < indexes[at].columns; i++)
        len += (size_t)snprintf(stat + len, sizeof stat - len, " %lld", each);
    char *sql =
        sqlite3_mprintf("INSERT INTO sqlite_stat1 VALUES (%Q, %Q, %Q)", indexes[at].table, indexes[at].index, stat);
    run(db, sql);
    sqlite3_free(sql);
}

/* Tables without an index that has all of their rows have a row of their own. */
static void plant_tables(sqlite3 *db, long long rows) {
    char *sql = sqlite3_mprintf("INSERT INTO sqlite_stat1 SELECT name, NULL, '%lld' FROM sqlite_schema "
                                "WHERE type = 'table' AND name LIKE 'pl@_%%' ESCAPE '@'",
                                rows);
    run(db, sql);
    sqlite3_free(sql);
}

/* Those that may run by another plan where there are statistics. */
static bool needs_none(const char *name) {
    static const char *const NEEDS[] = {
        "QUEUE_LIST",       "TASK_COUNTS",        "DEAD_LIST",          "TASKS_AFTER",  "MOVE_STAGE_RETRIES",
        "TASK_READY",       "STAGE_LIVE_OF_ROOT", "MOVE_LEASES",        "TASKS_CLAIM",  "TASKS_FINISH",
        "TASKS_FINISH_RUN", "TASK_PROMOTE",       "TASK_PROMOTE_ALONE", "NAMES_FORGET", "STAGE_LAST_OF_TREE",
        "DEAD_IDS",         "FIRES_OLD",          "SCHEDULES",          "STAGE_IDS",    "FIRES_AFTER",
        "FLOWS_LIVE",       "DETAILS_DELETE",
    };
    for (size_t i = 0; i < sizeof NEEDS / sizeof *NEEDS; i++)
        if (strcmp(name, NEEDS[i]) == 0)
            return true;
    return false;
}

typedef enum { EVERY_ONE, READS, WITH_STATISTICS } which_t;

static void compare_plans(sqlite3 *db, which_t which, const char *when) {
    char plan[PLAN_SIZE];
    for (int i = 0; i < STATEMENTS; i++) {
        bool is_read = strncmp(statements[i].sql, "SELECT", 6) == 0;
        if ((which == WITH_STATISTICS && needs_none(statements[i].name)) || (which == READS && !is_read))
            continue;
        read_plan(db, statements[i].sql, plan);
        bool same = strcmp(plan, plain[i]) == 0;
        CHECK(same);
        if (!same)
            printf("  %s, %s: %s-- now --\n%s", statements[i].name, when, plain[i], plan);
    }
}

/* One index has (rows, each), while the others have another pair; -1: none. */
static void compare(sqlite3 *db, int chosen, const long long chosen_stat[2], const long long other_stat[2]) {
    run(db, "DELETE FROM sqlite_stat1");
    plant_tables(db, other_stat[0]);
    for (int i = 0; i < indexes_len; i++)
        plant(db, i, i == chosen ? chosen_stat[0] : other_stat[0], i == chosen ? chosen_stat[1] : other_stat[1]);
    run(db, "ANALYZE sqlite_schema");
    compare_plans(db, WITH_STATISTICS, chosen < 0 ? "all indexes" : indexes[chosen].index);
}

static const long long NOTHING[] = { 1, 1 }, SHARP[] = { 100000000, 1 }, BLUNT[] = { 100000000, 100000000 };

static void check_plans(void) {
    sqlite3 *db = open_db();
    list_indexes(db);
    for (int i = 0; i < STATEMENTS; i++)
        read_plan(db, statements[i].sql, plain[i]);
    run(db, "ANALYZE");
    compare(db, -1, NOTHING, NOTHING);
    compare(db, -1, NOTHING, SHARP);
    compare(db, -1, NOTHING, BLUNT);
    for (int i = 0; i < indexes_len; i++) {
        compare(db, i, SHARP, BLUNT);
        compare(db, i, BLUNT, SHARP);
        compare(db, i, NOTHING, BLUNT);
        compare(db, i, SHARP, NOTHING);
    }
    sqlite3_close(db);
}

/* ---- a file of the store ----------------------------------------------------------------------------------- */

static char path[] = "/tmp/pipeline-plans-XXXXXX";

/* What somebody else does: ANALYZE, then rows of his own, and a table so that everybody reads the schema again. */
static void analyze(const long long stat[2]) {
    sqlite3 *db = NULL;
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    run(db, "CREATE TABLE IF NOT EXISTS mine (a); INSERT INTO mine VALUES (1); ANALYZE; DELETE FROM sqlite_stat1 "
            "WHERE tbl LIKE 'pl@_%' ESCAPE '@'");
    plant_tables(db, stat[0]);
    for (int i = 0; i < indexes_len; i++)
        plant(db, i, stat[0], stat[1]);
    run(db, "DROP TABLE IF EXISTS other; CREATE TABLE other (a)");
    sqlite3_close(db);
}

static pl__conn_t *open_conn(pl__role_t role, const pl_clock_t *clock, const pl__conn_t *writer) {
    pl_store_options_t options = { .path = path, .clock = clock, .tombstone_seconds = 1, .lease_seconds = 15 };
    pl__conn_t *conn = NULL;
    pl_error_t error = { 0 };
    CHECK(pl__sqlite_driver.open(&conn, &options, role, writer, &error) == PL_OK);
    if (error.code)
        printf("  %s\n", error.message);
    return conn;
}

static void compare_in_turn(pl__conn_t *conn, const char *when) {
    pl_error_t error = { 0 };
    CHECK(pl__sqlite_verbs.begin(conn, &error) == PL_OK);
    compare_plans(conn->db, conn->role == PL__ROLE_WRITER ? EVERY_ONE : READS, when);
    if (conn->role == PL__ROLE_WRITER)
        CHECK(pl__sqlite_verbs.commit(conn, &error) == PL_OK);
    else
        pl__sqlite_verbs.rollback(conn);
}

static void check_file(void) {
    static const long long *const STATS[] = { NOTHING, SHARP, BLUNT };
    char beside[sizeof path + 16];
    pl_clock_t clock;
    pl_clock_init_system(&clock);
    int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0);
    pl__conn_t *writer = open_conn(PL__ROLE_WRITER, &clock, NULL), *reader = open_conn(PL__ROLE_READER, &clock, writer);
    for (size_t i = 0; writer && reader && i < sizeof STATS / sizeof *STATS; i++) {
        analyze(STATS[i]);
        compare_in_turn(writer, "of an open file");
        compare_in_turn(reader, "of a reader");
        compare_in_turn(writer, "of an open file, later");
        pl__sqlite_driver.close(reader);
        pl__sqlite_driver.close(writer);
        analyze(STATS[i]);
        writer = open_conn(PL__ROLE_WRITER, &clock, NULL);
        reader = open_conn(PL__ROLE_READER, &clock, writer);
        compare_in_turn(reader, "of a reader of a new file");
        compare_in_turn(writer, "of a new file");
    }
    sqlite3 *db = NULL;
    sqlite3_stmt *row = NULL;
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(db, "SELECT tbl FROM sqlite_stat1", -1, &row, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(row) == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(row, 0), "mine") == 0);
    CHECK(sqlite3_step(row) == SQLITE_DONE);
    sqlite3_finalize(row);
    sqlite3_close(db);
    pl__sqlite_driver.close(reader);
    pl__sqlite_driver.close(writer);
    unlink(path);
    snprintf(beside, sizeof beside, "%s-workers", path);
    unlink(beside);
}

/* ---- what they look through -------------------------------------------------------------------------------- */

/* No statement sorts or looks through a table without an index, but for those that are about all of it. */
static bool is_about_all(const char *name) {
    static const char *const ALL[] = {
        "NAMES_OURS",
        "NAMES_OURS_TEMP",
        "TABLES_NAMING_OURS",
        "SCHEMA_OURS",
        "QUEUES",
        "QUEUE_LIST",
        "QUEUE_TASKS",
        "WORKERS",
        "WORKERS_OTHER",
        "RUNS_ABORTED",
        "TASKS_LOST",
        "TASK_LEAVE",
        "TASK_RESCUE",
        "TASK_ADD_ROWS",
        "TASK_COUNTS",
        "DELETION_FIRST",
        "ROOTS_DUE",
        "DEAD_DUE",
        "NAMES_DUE",
        "MOVE_LEASES",
        "MOVE_FIRST_TRIES",
        "MOVE_WORKERS",
        "MOVE_TOKENS",
        "STAGE_COUNT",
        "MOVE_STAGE_RETRIES",
        "MOVE_STARTED",
        "STAGE_ADD_ROWS",
        "QUEUE_CLAIMS", /* of all workers */
        "ROOTS_ABORTED",
        "ROOTS_COUNT_FINAL",
        "ROOTS_COUNT_ENDED",
        "ROOTS_COUNT_OVER",
        "ROOTS_OF_CLAIMED",
        "ROOTS_OF_READY",
        "ROOTS_OF_DELAYED",
        "ROOTS_OF_WAITS",
        "TASKS_READY_BEFORE",
        "TASKS_SEEN_CLAIMED",
        "QUEUE_SEEN",
        "QUEUE_SEEN_PULL",
        "QUEUES_SEEN_DELAYED",
        "WORKERS_SEEN",
        "FLOWS_NEWS",
        "FLOWS_COUNT", /* for metrics, seldom */
    };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
        if (strcmp(name, ALL[i]) == 0)
            return true;
    return false;
}

static void check_scans(void) {
    for (int i = 0; i < STATEMENTS; i++) {
        bool is_scan = strstr(plain[i], "SCAN ") && !strstr(plain[i], "SCAN CONSTANT ROW");
        bool fine = is_about_all(statements[i].name) || !(is_scan || strstr(plain[i], "TEMP B-TREE"));
        CHECK(fine);
        if (!fine)
            printf("  %s: %s", statements[i].name, plain[i]);
    }
}

/* A name of the engine's behind these words must have its schema before it. */
static void check_names(const char *name, const char *sql) {
    static const char *const WORDS[] = { "FROM pl_", "INTO pl_",     "UPDATE pl_",  "JOIN pl_",
                                         ", pl_",    "FROM sqlite_", "FROM pragma_" };
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        bool found = strstr(sql, WORDS[i]) != NULL;
        CHECK(!found);
        if (found)
            printf("  %s: %s\n", name, sql);
    }
}

int main(void) {
    static const char *const CHECKS[] = {
#define X(title, sql) sql,
        PL__CHECKS(X)
#undef X
    };
    for (int i = 0; i < STATEMENTS; i++)
        check_names(statements[i].name, statements[i].sql);
    for (size_t i = 0; i < sizeof CHECKS / sizeof *CHECKS; i++)
        check_names("check", CHECKS[i]);
    check_plans();
    check_file();
    check_scans();
    return check_end();
}
