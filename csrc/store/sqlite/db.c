/*
 * db.c - statements of a connection: preparing, binding, stepping, reading columns; results as ours.
 *
 * Every statement of the engine is in statements.h, prepared when first used, and kept.
 */
#include "store/sqlite/db.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlite/profile.h"

enum { OPEN_ATTEMPTS = 400, BLOCKED_US = 200 * 1000, BUSY_REPORT_US = 10 * 1000000 };
enum { BUSY_SHORT = 25, BUSY_SLEEP_SHORT_US = 1200 }; /* the file is free soon, mostly */

static const char *const sql_texts[PL__SQL_COUNT] = {
#define X(name, sql) [PL__SQL_##name] = sql,
    PL__STATEMENTS(X)
#undef X
};

#ifdef PL_PROFILE
static const char *const sql_names[PL__SQL_COUNT] = {
#define X(name, sql) [PL__SQL_##name] = #name,
    PL__STATEMENTS(X)
#undef X
};
#endif

/* ---- results ----------------------------------------------------------------------------------------------- */

static int map_rc(int sqlite_rc) {
    if (sqlite_rc == SQLITE_IOERR_NOMEM)
        return PL_ENOMEM;
    if (sqlite_rc == SQLITE_CONSTRAINT_COMMITHOOK) /* the commit failed, no rule was violated */
        return PL_EIO;
    switch (sqlite_rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return PL_OK;
    case SQLITE_NOMEM:
        return PL_ENOMEM;
    case SQLITE_FULL:
        return PL_EFULL;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
        return PL_EIO;
    case SQLITE_CORRUPT:
        return PL_ECORRUPT;
    case SQLITE_NOTADB:
        return PL_ENOTDB;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return PL_EREADONLY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_INTERRUPT:
        return PL_EBUSY;
    case SQLITE_CONSTRAINT:
        return PL_ECONSTRAINT;
    default:
        return PL_EOTHER;
    }
}

static bool may_write(const char *path) {
    return access(path, W_OK) == 0 || (errno != EROFS && errno != EACCES && errno != EPERM);
}

/* The file and its directory: the log and its index are made beside it. */
static bool is_read_only(const char *path) {
    char directory[4096];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) + 1 : 0;
    if (len >= sizeof directory)
        return false;
    memcpy(directory, path, len);
    memcpy(directory + len, ".", 2);
    return !may_write(path) || !may_write(directory);
}

/* SQLite does not say why it cannot open a file, and when it is read-only it does not even know. */
static int cannot_open(pl__conn_t *conn) {
    int number = sqlite3_system_errno(conn->db);
    bool read_only = is_read_only(conn->options.path);
    snprintf(conn->failure, sizeof conn->failure, "%s (SQLite %d): %s", sqlite3_errmsg(conn->db),
             sqlite3_extended_errcode(conn->db), read_only ? pl_result_text(PL_EREADONLY) : strerror(number));
    if (read_only)
        return PL_EREADONLY;
    return number == ENOSPC ? PL_EFULL : PL_EIO;
}

int pl__sql_rc(pl__conn_t *conn, int sqlite_rc) {
    int rc = map_rc(sqlite_rc);
    if (rc != PL_OK)
        snprintf(conn->failure, sizeof conn->failure, "%s (SQLite %d)", sqlite3_errmsg(conn->db),
                 sqlite3_extended_errcode(conn->db));
    return (sqlite_rc & 0xff) == SQLITE_CANTOPEN ? cannot_open(conn) : rc;
}

/* ---- statements -------------------------------------------------------------------------------------------- */

int pl__sql_prepare(pl__conn_t *conn, pl__sql_t id) {
    if (conn->statements[id])
        return PL_OK;
    int rc = pl__sql_rc(
        conn, sqlite3_prepare_v3(conn->db, sql_texts[id], -1, SQLITE_PREPARE_PERSISTENT, &conn->statements[id], NULL));
    PL__PROFILE_NAME(conn, id, sql_names[id]);
    return rc;
}

static int bind_bytes(sqlite3_stmt *statement, int at, pl_str_t value, bool is_text) {
    if (!value.ptr)
        return sqlite3_bind_null(statement, at);
    if (is_text)
        return sqlite3_bind_text64(statement, at, value.ptr, value.len, SQLITE_STATIC, SQLITE_UTF8);
    return sqlite3_bind_blob64(statement, at, value.ptr, value.len, SQLITE_STATIC);
}

static int bind_one(sqlite3_stmt *statement, int at, char kind, va_list *values) {
    if (kind == 't' || kind == 'b')
        return bind_bytes(statement, at, va_arg(*values, pl_str_t), kind == 't');
    if (kind == 'd' || kind == 'f' || kind == 'm') {
        double number = va_arg(*values, double);
        bool is_null = (kind == 'f' && number == 0) || (kind == 'm' && number < 0);
        return is_null ? sqlite3_bind_null(statement, at) : sqlite3_bind_double(statement, at, number);
    }
    int64_t integer = va_arg(*values, int64_t);
    return kind == 'z' && integer == 0 ? sqlite3_bind_null(statement, at) : sqlite3_bind_int64(statement, at, integer);
}

/* Not PL_OK: a test wants this one to fail. */
static int fail(pl__conn_t *conn) {
    if (!pl__must_fail())
        return PL_OK;
    snprintf(conn->failure, sizeof conn->failure, "a test made it fail");
    return PL_EIO;
}

static int bind_all(pl__conn_t *conn, pl__sql_t id, const char *format, va_list *values) {
    PL__TRY(pl__sql_prepare(conn, id));
    PL__TRY(fail(conn));
    int rc = SQLITE_OK;
    PL__PROFILE_FROM;
    for (int at = 1; *format && rc == SQLITE_OK; format++, at++)
        rc = bind_one(conn->statements[id], at, *format, values);
    PL__PROFILE_TO(conn->statements[id], 1);
    return rc == SQLITE_OK ? PL_OK : pl__sql_rc(conn, rc);
}

int pl__sql_query(pl__conn_t *conn, pl__sql_t id, sqlite3_stmt **statement, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int rc = bind_all(conn, id, format, &values);
    va_end(values);
    *statement = conn->statements[id];
    return rc;
}

int pl__sql_bind(pl__conn_t *conn, sqlite3_stmt *statement, int at, const char *format, ...) {
    va_list values;
    int rc = SQLITE_OK;
    va_start(values, format);
    PL__PROFILE_FROM;
    for (; *format && rc == SQLITE_OK; format++, at++)
        rc = bind_one(statement, at, *format, &values);
    PL__PROFILE_TO(statement, 0);
    va_end(values);
    return pl__sql_rc(conn, rc);
}

void pl__sql_end(sqlite3_stmt *statement) {
    PL__PROFILE_FROM;
    sqlite3_reset(statement);
    PL__PROFILE_TO(statement, 0);
}

int pl__sql_step(pl__conn_t *conn, sqlite3_stmt *statement, bool *row) {
    int rc = fail(conn);
    *row = false;
    if (rc == PL_OK) {
        PL__PROFILE_FROM;
        int sqlite_rc = sqlite3_step(statement);
        PL__PROFILE_TO(statement, 0);
        *row = sqlite_rc == SQLITE_ROW;
        if (*row)
            return PL_OK;
        rc = pl__sql_rc(conn, sqlite_rc);
    }
    pl__sql_end(statement);
    return rc;
}

int pl__sql_read_id(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    (void)arena;
    *(pl_id_t *)item = sqlite3_column_int64(row, 0);
    return PL_OK;
}

void *pl__sql_list(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl__sql_read_t *read, size_t size,
                   size_t *len, int *rc) {
    pl__buf_t list = { 0 };
    bool more = false;
    void *item = pl__arena_get(arena, size), *items = NULL;
    *len = 0;
    *rc = item ? pl__sql_step(conn, row, &more) : PL_ENOMEM;
    while (*rc == PL_OK && more) {
        *rc = read(conn, row, arena, item);
        pl__buf_add(&list, item, size);
        if (*rc == PL_OK)
            *rc = list.rc;
        if (*rc == PL_OK)
            *rc = pl__sql_step(conn, row, &more);
    }
    pl__sql_end(row);
    if (*rc == PL_OK && list.len > 0) {
        items = pl__arena_get(arena, list.len);
        *rc = items ? PL_OK : PL_ENOMEM;
    }
    if (items) {
        memcpy(items, list.ptr, list.len);
        *len = list.len / size;
    }
    pl__buf_free(&list);
    return items;
}

int pl__sql_run(pl__conn_t *conn, pl__sql_t id, int *changes, const char *format, ...) {
    va_list values;
    bool row = false;
    va_start(values, format);
    int rc = bind_all(conn, id, format, &values);
    va_end(values);
    if (rc == PL_OK)
        rc = pl__sql_step(conn, conn->statements[id], &row);
    if (row)
        pl__sql_end(conn->statements[id]);
    if (changes)
        *changes = sqlite3_changes(conn->db);
    return rc;
}

int pl__sql_int(pl__conn_t *conn, pl__sql_t id, int64_t *value, int64_t otherwise, const char *format, ...) {
    va_list values;
    bool row = false;
    va_start(values, format);
    int rc = bind_all(conn, id, format, &values);
    va_end(values);
    *value = otherwise;
    if (rc == PL_OK)
        rc = pl__sql_step(conn, conn->statements[id], &row);
    if (row) {
        if (sqlite3_column_type(conn->statements[id], 0) != SQLITE_NULL)
            *value = sqlite3_column_int64(conn->statements[id], 0);
        pl__sql_end(conn->statements[id]);
    }
    return rc;
}

int pl__sql_str(sqlite3_stmt *statement, int column, pl__arena_t *arena, pl_str_t *out) {
    *out = PL_STR_NONE;
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return PL_OK;
    const void *bytes = sqlite3_column_blob(statement, column);
    int len = sqlite3_column_bytes(statement, column);
    if (!bytes && len > 0)
        return PL_ENOMEM;
    return pl__arena_copy(arena, (pl_str_t){ bytes ? bytes : "", (size_t)len }, out);
}

/* Runs SQL that has no parameters. Some locks of the log are not waited for by SQLite itself: tried again here. */
int pl__sql_execute(pl__conn_t *conn, const char *sql) {
    int rc = PL_EBUSY;
    PL__TRY(fail(conn));
    for (int i = 0; i < OPEN_ATTEMPTS && rc == PL_EBUSY; i++) {
        if (i > 0)
            pl__fork_sleep(5000);
        rc = pl__sql_rc(conn, sqlite3_exec(conn->db, sql, NULL, NULL, NULL));
    }
    return rc;
}

static int busy_cb(void *data, int count) {
    pl__conn_t *conn = data;
    long us = count < 5 ? 50L << count : count < BUSY_SHORT ? BUSY_SLEEP_SHORT_US : PL__BUSY_SLEEP_MAX_US;
    if (count > BLOCKED_US / PL__BUSY_SLEEP_MAX_US)
        conn->blocked_at = pl_clock_monotonic_us();
    if (count > 0 && count % (BUSY_REPORT_US / PL__BUSY_SLEEP_MAX_US) == 0)
        pl_log(conn->options.log, PL_LOG_WARNING, "%s: still waiting for another process to release its lock",
               conn->options.path);
    pl__fork_sleep(us);
    return 1;
}

int pl__sql_wait(pl__conn_t *conn, bool on) {
    return pl__sql_rc(conn, sqlite3_busy_handler(conn->db, on ? busy_cb : NULL, conn));
}

bool pl__portion_over(pl__conn_t *conn) {
    if (conn->session_deadline != PL_USEC_NEVER)
        return false;
    int64_t now = pl_clock_monotonic_us(), changes = sqlite3_total_changes64(conn->db);
    if (conn->portion_until == 0) {
        conn->portion_until = now + (conn->options.portion_us > 0 ? conn->options.portion_us : PL__PORTION_US);
        conn->portion_changes = changes + PL__PORTION_ROWS;
    }
    return now >= conn->portion_until || changes >= conn->portion_changes;
}
