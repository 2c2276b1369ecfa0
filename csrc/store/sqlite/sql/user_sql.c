/*
 * user_sql.c - SQL of the user in a session: the verb sql. What it may not do is in guard.c.
 *
 * What fails
 *   a statement   is undone by SQLite and refused in op->rc; the transaction goes on
 *   the memory, the disk, the time of the session, or a statement that made SQLite roll back (RAISE(ROLLBACK),
 *   OR ROLLBACK)  breaks the session
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "store/sqlite/db.h"

/* ---- what went wrong --------------------------------------------------------------------------------------- */

/* Refuses the op: the transaction goes on. */
static int refuse(pl_op_t *op, int rc, const char *text) {
    op->rc = PL__FAIL(&op->error, rc, "%s", text);
    return PL_OK;
}

static bool breaks_session(int rc) {
    return rc == PL_ENOMEM || rc == PL_EFULL || rc == PL_EIO || rc == PL_ECORRUPT || rc == PL_EREADONLY;
}

/* The statement was stopped: SQLite has rolled back what wrote, all of it. */
static int complain_of_stop(pl__conn_t *conn, pl_op_t *op) {
    if (!conn->too_much) {
        snprintf(conn->failure, sizeof conn->failure, "a statement ran longer than the transaction may be held");
        return PL_ETIMEDOUT;
    }
    snprintf(conn->failure, sizeof conn->failure, "the transaction takes more than %d MiB of memory: do less at a time",
             (int)(PL_SQL_MEMORY_MAX >> 20));
    return sqlite3_get_autocommit(conn->db) ? PL_ELIMIT : refuse(op, PL_ELIMIT, conn->failure);
}

/* A call of SQLite failed: refuses the op, or returns what breaks the session. */
static int complain(pl__conn_t *conn, pl_op_t *op, int sqlite_rc) {
    bool is_over = sqlite3_get_autocommit(conn->db);
    if ((sqlite_rc & 0xff) == SQLITE_AUTH || conn->denied[0]) /* after a change of the schema it is SQLITE_SCHEMA */
        return refuse(op, PL_ESQL, conn->denied[0] ? conn->denied : sqlite3_errmsg(conn->db));
    if (sqlite_rc == SQLITE_INTERRUPT)
        return complain_of_stop(conn, op);
    if (sqlite_rc == SQLITE_TOOBIG && !is_over)
        return refuse(op, PL_ELIMIT, "a value, a row or the statement has more than 64 MiB");
    int rc = pl__sql_rc(conn, sqlite_rc);
    if (is_over || breaks_session(rc))
        return rc;
    return refuse(op, rc == PL_ECONSTRAINT ? rc : PL_ESQL, sqlite3_errmsg(conn->db));
}

/* ---- values ------------------------------------------------------------------------------------------------ */

static int bind_value(sqlite3_stmt *statement, int at, const pl_value_t *value) {
    switch (value->kind) {
    case PL_VALUE_INTEGER:
        return sqlite3_bind_int64(statement, at, value->integer);
    case PL_VALUE_REAL:
        return sqlite3_bind_double(statement, at, value->real);
    case PL_VALUE_TEXT:
        return sqlite3_bind_text64(statement, at, value->bytes.ptr, value->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
    case PL_VALUE_BLOB:
        return sqlite3_bind_blob64(statement, at, value->bytes.ptr, value->bytes.len, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(statement, at);
    }
}

static int bind_values(pl__conn_t *conn, pl_op_t *op, sqlite3_stmt *statement) {
    const pl_op_sql_t *sql = &op->u.sql;
    char text[120];
    size_t wanted = (size_t)sqlite3_bind_parameter_count(statement);
    if (wanted != sql->values_len) {
        snprintf(text, sizeof text, "the statement has %zu parameter%s, %zu value%s given", wanted,
                 wanted == 1 ? "" : "s", sql->values_len, sql->values_len == 1 ? " was" : "s were");
        return refuse(op, PL_ESQL, text);
    }
    for (size_t i = 0; i < wanted; i++) {
        int rc = bind_value(statement, (int)i + 1, &sql->values[i]);
        if (rc != SQLITE_OK)
            return complain(conn, op, rc);
    }
    return PL_OK;
}

static int read_value(sqlite3_stmt *statement, int column, pl__arena_t *arena, pl_value_t *value) {
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        value->kind = PL_VALUE_INTEGER;
        value->integer = sqlite3_column_int64(statement, column);
        return PL_OK;
    case SQLITE_FLOAT:
        value->kind = PL_VALUE_REAL;
        value->real = sqlite3_column_double(statement, column);
        return PL_OK;
    case SQLITE_NULL:
        value->kind = PL_VALUE_NULL;
        return PL_OK;
    default:
        value->kind = PL_VALUE_BLOB; /* text or not is all the same to whoever reads it */
        return pl__sql_str(statement, column, arena, &value->bytes);
    }
}

/* ---- rows -------------------------------------------------------------------------------------------------- */

typedef struct {
    pl_row_t *head, **tail;
    size_t len, bytes;
} rows_t;

/* Without making text of numbers. */
static size_t value_bytes(sqlite3_stmt *statement, int column) {
    int type = sqlite3_column_type(statement, column);
    return type == SQLITE_TEXT || type == SQLITE_BLOB ? (size_t)sqlite3_column_bytes(statement, column) : 0;
}

static int add_row(pl_op_t *op, sqlite3_stmt *statement, rows_t *rows) {
    size_t columns = op->u.sql.columns_len, size = sizeof(pl_row_t) + columns * sizeof(pl_value_t);
    for (size_t i = 0; i < columns; i++)
        size += value_bytes(statement, (int)i);
    rows->bytes += size;
    if (rows->bytes > PL_SQL_RESULT_MAX)
        return refuse(op, PL_ELIMIT, "the result has more than 64 MiB: ask for less at a time (LIMIT)");
    pl_row_t *row = pl__arena_get(&op->arena, sizeof *row + columns * sizeof row->values[0]);
    if (!row)
        return PL_ENOMEM;
    for (size_t i = 0; i < columns; i++)
        PL__TRY(read_value(statement, (int)i, &op->arena, &row->values[i]));
    *rows->tail = row;
    rows->tail = &row->next;
    rows->len++;
    return PL_OK;
}

/* The names of the columns of a query. As keys of a row they must differ. */
static int read_columns(pl_op_t *op, sqlite3_stmt *statement) {
    pl_op_sql_t *sql = &op->u.sql;
    char text[200];
    size_t len = (size_t)sqlite3_column_count(statement);
    pl_str_t *columns = pl__arena_get(&op->arena, (len + 1) * sizeof *columns);
    if (!columns)
        return PL_ENOMEM;
    for (size_t i = 0; i < len; i++) {
        const char *name = sqlite3_column_name(statement, (int)i);
        PL__TRY(name ? pl__arena_copy(&op->arena, pl_str(name), &columns[i]) : PL_ENOMEM);
        for (size_t j = 0; j < i; j++) {
            if (!pl_str_eq(columns[i], columns[j]))
                continue;
            snprintf(text, sizeof text, "two columns are called %.100s: give them names with AS", name);
            return refuse(op, PL_ESQL, text);
        }
    }
    sql->columns = columns;
    sql->columns_len = len;
    return PL_OK;
}

static int step_all(pl__conn_t *conn, pl_op_t *op, sqlite3_stmt *statement) {
    pl_op_sql_t *sql = &op->u.sql;
    rows_t rows = { .tail = &rows.head };
    int64_t before = sqlite3_total_changes64(conn->db);
    int sqlite_rc;
    while ((sqlite_rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (sql->query)
            PL__TRY(add_row(op, statement, &rows));
        if (op->rc != PL_OK)
            return PL_OK;
    }
    if (sqlite_rc != SQLITE_DONE)
        return complain(conn, op, sqlite_rc);
    if (sqlite3_total_changes64(conn->db) != before)
        sql->changes += sqlite3_changes64(conn->db);
    sql->rows = rows.head;
    sql->rows_len = rows.len;
    return PL_OK;
}

/* ---- tables of the user ------------------------------------------------------------------------------------ */

/* A statement of the engine's own. */
static int run_own(pl__conn_t *conn, pl__sql_t id) {
    pl__guard_set(conn, false);
    int rc = pl__sql_run(conn, id, NULL, "");
    pl__guard_set(conn, true);
    return rc;
}

static int count_names(pl__conn_t *conn, int64_t *ours) {
    pl__guard_set(conn, false);
    int rc = pl__guard_count_names(conn, ours);
    pl__guard_set(conn, true);
    return rc;
}

/* Of what the authorizer does not see: the new name of a table, and where foreign keys lead. */
static int check_tables(pl__conn_t *conn, pl_op_t *op, int64_t ours) {
    int64_t now_ours;
    char table[8];
    PL__TRY(count_names(conn, &now_ours));
    pl__guard_set(conn, false);
    int rc = pl__guard_find_key(conn, table, sizeof table);
    pl__guard_set(conn, true);
    PL__TRY(rc);
    if (now_ours != ours)
        return refuse(op, PL_ESQL, "names that begin with pl_ are the engine's");
    return table[0] ? refuse(op, PL_ESQL, "a foreign key cannot lead to a table of the engine") : PL_OK;
}

/* A statement that may have done something when it is refused in the end. */
static int run_saved(pl__conn_t *conn, pl_op_t *op, sqlite3_stmt *statement, bool makes_tables) {
    int64_t ours = 0;
    if (makes_tables)
        PL__TRY(count_names(conn, &ours));
    PL__TRY(run_own(conn, PL__SQL_USER_SAVE));
    PL__TRY(step_all(conn, op, statement));
    sqlite3_reset(statement);
    if (op->rc == PL_OK && makes_tables)
        PL__TRY(check_tables(conn, op, ours));
    if (op->rc != PL_OK)
        PL__TRY(run_own(conn, PL__SQL_USER_BACK));
    return run_own(conn, PL__SQL_USER_KEEP);
}

/* ---- the verb ---------------------------------------------------------------------------------------------- */

static int run_statement(pl__conn_t *conn, pl_op_t *op, sqlite3_stmt *statement, bool makes_tables) {
    PL__TRY(bind_values(conn, op, statement));
    if (op->rc == PL_OK && op->u.sql.query)
        PL__TRY(read_columns(op, statement));
    if (op->rc != PL_OK)
        return PL_OK;
    bool may_be_too_much = op->u.sql.query && !sqlite3_stmt_readonly(statement);
    if (makes_tables || may_be_too_much)
        return run_saved(conn, op, statement, makes_tables);
    return step_all(conn, op, statement);
}

/* Prepares the statement at *at and moves *at behind it; what is no statement is skipped. NULL: there is none left. */
static int next_statement(pl__conn_t *conn, const char **at, const char *end, sqlite3_stmt **statement) {
    int rc = SQLITE_OK;
    *statement = NULL;
    conn->makes_tables = false;
    conn->denied[0] = 0;
    while (rc == SQLITE_OK && !*statement && *at < end)
        rc = sqlite3_prepare_v2(conn->db, *at, (int)(end - *at) + 1, statement, at);
    return rc;
}

/* Whether a statement follows, be it right or wrong. */
static bool has_more(pl__conn_t *conn, const char *at, const char *end) {
    sqlite3_stmt *statement;
    bool makes_tables = conn->makes_tables;
    int rc = next_statement(conn, &at, end, &statement);
    sqlite3_finalize(statement);
    conn->makes_tables = makes_tables;
    return rc != SQLITE_OK || statement;
}

static int run_all(pl__conn_t *conn, pl_op_t *op) {
    const pl_op_sql_t *sql = &op->u.sql;
    const char *at = sql->text.ptr, *end = at + sql->text.len;
    bool single = sql->query || sql->values_len > 0;
    for (int n = 0;; n++) {
        sqlite3_stmt *statement;
        int rc = next_statement(conn, &at, end, &statement);
        if (rc != SQLITE_OK)
            return complain(conn, op, rc);
        if (!statement)
            return n == 0 ? refuse(op, PL_ESQL, "there is no statement in it") : PL_OK;
        if (single && has_more(conn, at, end))
            rc = refuse(op, PL_ESQL, "one statement expected: only `execute` without values takes several");
        else
            rc = run_statement(conn, op, statement, conn->makes_tables);
        sqlite3_finalize(statement);
        if (rc != PL_OK || op->rc != PL_OK)
            return rc;
    }
}

int pl__verb_sql(pl__conn_t *conn, pl_op_t *op) {
    pl_op_sql_t *sql = &op->u.sql;
    if (conn->session_deadline == PL_USEC_NEVER)
        return refuse(op, PL_ESTATE, "SQL is possible only in a transaction");
    if (sql->text.len >= INT_MAX || memchr(sql->text.ptr, '\0', sql->text.len))
        return refuse(op, PL_ESQL, "SQL text cannot hold a zero byte");
    sql->changes = sql->rowid = 0;
    sql->columns_len = sql->rows_len = 0;
    sqlite3_set_last_insert_rowid(conn->db, 0);
    pl__guard_heap(true);
    pl__guard_set(conn, true);
    int rc = run_all(conn, op);
    pl__guard_set(conn, false);
    pl__guard_heap(false);
    sql->rowid = sqlite3_last_insert_rowid(conn->db);
    return rc;
}

/* These two are the store thread's: they are no part of a batch. */
int pl__verb_tx_begin(pl__conn_t *conn, pl_op_t *op) {
    (void)conn;
    return refuse(op, PL_ESTATE, "not an op of a session");
}

int pl__verb_tx_end(pl__conn_t *conn, pl_op_t *op) {
    return pl__verb_tx_begin(conn, op);
}
