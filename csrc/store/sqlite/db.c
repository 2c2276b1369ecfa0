/*
 * db.c - opening a SQLite file, its schema, transactions, and the small helpers every verb is written with.
 *
 * The writer commits into the write-ahead log and never checkpoints by itself; SQLITE_BUSY is waited out by a handler
 * that never gives up: transactions of other processes are short, and their locks end with them.
 */
#include "store/sqlite/db.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUSY_SLEEP_MAX_US = 5000, OTHERS_FIRST_US = 6000, BLOCKED_US = 200 * 1000 };
enum { BUSY_REPORT_US = 10 * 1000000, OPEN_ATTEMPTS = 400 };

static const char *const sql_texts[PL__SQL_COUNT] = {
#define X(name, sql) [PL__SQL_##name] = sql,
    PL__STATEMENTS(X)
#undef X
};

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

static void sqlite_failure(pl__conn_t *conn, int rc, pl_error_t *error) {
    const char *detail = conn->failure[0] ? conn->failure : pl_result_text(rc);
    PL__FAIL(error, rc, "%s: %s", conn->options.path, detail);
}

/* ---- statements -------------------------------------------------------------------------------------------- */

static int prepare(pl__conn_t *conn, pl__sql_t id) {
    if (conn->statements[id])
        return PL_OK;
    return pl__sql_rc(
        conn, sqlite3_prepare_v3(conn->db, sql_texts[id], -1, SQLITE_PREPARE_PERSISTENT, &conn->statements[id], NULL));
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

static int bind_all(pl__conn_t *conn, pl__sql_t id, const char *format, va_list *values) {
    PL__TRY(prepare(conn, id));
    for (int at = 1; *format; format++, at++) {
        int rc = bind_one(conn->statements[id], at, *format, values);
        if (rc != SQLITE_OK)
            return pl__sql_rc(conn, rc);
    }
    return PL_OK;
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
    for (; *format && rc == SQLITE_OK; format++, at++)
        rc = bind_one(statement, at, *format, &values);
    va_end(values);
    return pl__sql_rc(conn, rc);
}

void pl__sql_end(sqlite3_stmt *statement) {
    sqlite3_reset(statement);
}

int pl__sql_step(pl__conn_t *conn, sqlite3_stmt *statement, bool *row) {
    int sqlite_rc = sqlite3_step(statement);
    *row = sqlite_rc == SQLITE_ROW;
    if (*row)
        return PL_OK;
    int rc = pl__sql_rc(conn, sqlite_rc);
    sqlite3_reset(statement);
    return rc;
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
        sqlite3_reset(conn->statements[id]);
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
        sqlite3_reset(conn->statements[id]);
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

/* ---- opening ----------------------------------------------------------------------------------------------- */

static int busy_cb(void *data, int count) {
    pl__conn_t *conn = data;
    long us = count < 7 ? 50L << count : BUSY_SLEEP_MAX_US;
    if (count > BLOCKED_US / BUSY_SLEEP_MAX_US)
        conn->blocked_at = pl_clock_monotonic_us();
    if (us > BUSY_SLEEP_MAX_US)
        us = BUSY_SLEEP_MAX_US;
    if (count > 0 && count % (BUSY_REPORT_US / BUSY_SLEEP_MAX_US) == 0)
        pl_log(conn->options.log, PL_LOG_WARNING, "%s: still waiting for another process to release its lock",
               conn->options.path);
    nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
    return 1;
}

static int log_cb(void *data, sqlite3 *db, const char *name, int pages) {
    (void)db;
    (void)name;
    ((pl__conn_t *)data)->log_pages = pages;
    return SQLITE_OK;
}

/* Runs SQL that has no parameters. Some locks of the log are not waited for by SQLite itself: tried again here. */
int pl__sql_execute(pl__conn_t *conn, const char *sql) {
    int rc = PL_EBUSY;
    for (int i = 0; i < OPEN_ATTEMPTS && rc == PL_EBUSY; i++) {
        if (i > 0)
            nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        rc = pl__sql_rc(conn, sqlite3_exec(conn->db, sql, NULL, NULL, NULL));
    }
    return rc;
}

static int configure_writer(pl__conn_t *conn, pl_error_t *error) {
    PL__TRY(pl__file_check_home(conn));
    PL__TRY(pl__schema_encoding(conn));
    PL__TRY(pl__sql_execute(conn, "PRAGMA journal_mode = WAL"));
    PL__TRY(pl__sql_execute(conn, conn->options.durability_full ? "PRAGMA synchronous = FULL"
                                                                : "PRAGMA synchronous = NORMAL"));
    PL__TRY(pl__sql_execute(
        conn, "PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0; "
              "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -8192; PRAGMA trusted_schema = OFF"));
    PL__TRY(pl__schema_open(conn, error));
    PL__TRY(pl__file_settle(conn));
    sqlite3_wal_hook(conn->db, log_cb, conn);
    PL__TRY(pl__guard_open(conn));
    return pl__queues_load(conn);
}

static int configure(pl__conn_t *conn, pl_error_t *error) {
    sqlite3_extended_result_codes(conn->db, 1);
    sqlite3_busy_handler(conn->db, busy_cb, conn);
    sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    if (conn->role == PL__ROLE_WRITER)
        return configure_writer(conn, error);
    if (conn->role == PL__ROLE_READER) /* the first look opens the log, too */
        return pl__sql_execute(conn, "PRAGMA query_only = ON; PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY; "
                                     "SELECT count(*) FROM main.pl_meta");
    PL__TRY(pl__sql_execute(conn, "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -256"));
    return pl__sql_rc(conn, sqlite3_busy_handler(conn->db, NULL, NULL));
}

static void sqlite_close(pl__conn_t *conn) {
    if (!conn)
        return;
    pl__backup_drop(conn, false);
    for (int i = 0; i < PL__SQL_COUNT; i++)
        sqlite3_finalize(conn->statements[i]);
    pl__file_closing(conn);
    sqlite3_close_v2(conn->db);
    pl__file_closed(conn);
    pl__queues_free(conn);
    pl__free(conn->pending);
    pl__free(conn->deltas);
    pl__free(conn->watched);
    pl__buf_free(&conn->suspects);
    pl__free((void *)(uintptr_t)conn->worker_host.ptr);
    pl__arena_free(&conn->scratch);
    pl__free(conn);
}

static int sqlite_open(pl__conn_t **out, const pl_store_options_t *options, pl__role_t role, const pl__conn_t *writer,
                       pl_error_t *error) {
    *out = NULL;
    pl__conn_t *conn = pl__alloc(sizeof *conn);
    if (!conn)
        return PL__FAIL(error, PL_ENOMEM, "out of memory opening %s", options->path);
    conn->options = *options;
    conn->role = role;
    conn->name_fd = -1;
    conn->next_due = PL_USEC_NEVER;
    conn->due_unknown = conn->maybe_ready = conn->maybe_alone = true;
    conn->renew_at = conn->next_token = conn->session_deadline = PL_USEC_NEVER;
    conn->data_version = -1;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (role == PL__ROLE_WRITER)
        flags |= SQLITE_OPEN_CREATE;
    pl__locks_install();
    if (role == PL__ROLE_WRITER)
        pl__file_create(options);
    int sqlite_rc = sqlite3_open_v2(options->path, &conn->db, flags, options->vfs);
    int rc = conn->db ? pl__sql_rc(conn, sqlite_rc) : PL_ENOMEM;
    if (rc == PL_OK)
        rc = pl__file_opened(conn, writer);
    if (rc == PL_OK)
        rc = configure(conn, error);
    if (rc == PL_OK)
        rc = prepare(conn, PL__SQL_ROLLBACK);
    if (rc != PL_OK) {
        if (rc != PL_ENEWER)
            sqlite_failure(conn, rc, error);
        sqlite_close(conn);
        return rc;
    }
    *out = conn;
    return PL_OK;
}

static const char *sqlite_path(const pl__conn_t *conn) {
    return conn->names[0];
}

/* ---- transactions ------------------------------------------------------------------------------------------ */

static void reset_transaction(pl__conn_t *conn) {
    conn->pending_len = 0;
    if (conn->deltas_len > 0)
        memset(conn->deltas, 0, conn->deltas_size * sizeof *conn->deltas);
    conn->deltas_len = 0;
    conn->finals = NULL;
    conn->ring = conn->freed = false;
    pl__arena_free(&conn->scratch);
}

/* Whoever waits for the file looks every BUSY_SLEEP_MAX_US. Where sessions follow each other closely, none of those
 * looks would ever find it free: so after one that took long, others come first. */
static void let_others_begin(const pl__conn_t *conn) {
    int64_t wait = conn->others > 0 ? conn->others_first - pl_clock_monotonic_us() : 0;
    if (wait > 0 && wait <= OTHERS_FIRST_US)
        nanosleep(&(struct timespec){ .tv_nsec = (long)wait * 1000 }, NULL);
}

/* By a statement prepared while there was memory; should it fail all the same, the next begin tries again. */
static void roll_back(pl__conn_t *conn) {
    for (int i = 0; i < PL__SQL_COUNT; i++)
        if (conn->statements[i])
            sqlite3_reset(conn->statements[i]);
    if (!sqlite3_get_autocommit(conn->db))
        (void)pl__sql_run(conn, PL__SQL_ROLLBACK, NULL, "");
}

static int sqlite_begin(pl__conn_t *conn, pl_error_t *error) {
    if (!sqlite3_get_autocommit(conn->db))
        roll_back(conn);
    conn->failure[0] = 0;
    reset_transaction(conn);
    let_others_begin(conn);
    if (conn->backups)
        pl__backup_drop(conn, true);
    int rc = pl__file_check_again(conn);
    if (rc == PL_OK)
        rc = pl__sql_run(conn, conn->role == PL__ROLE_WRITER ? PL__SQL_BEGIN_WRITE : PL__SQL_BEGIN_READ, NULL, "");
    if (rc == PL_OK && conn->role == PL__ROLE_WRITER)
        rc = pl__queues_refresh(conn);
    if (rc == PL_OK)
        rc = pl__clock_read(conn);
    if (rc != PL_OK) {
        sqlite_failure(conn, rc, error);
        roll_back(conn);
    }
    return rc;
}

static int sqlite_commit(pl__conn_t *conn, pl_error_t *error) {
    int rc = pl__file_check_again(conn);
    if (rc == PL_OK)
        rc = pl__sql_run(conn, PL__SQL_COMMIT, NULL, "");
    if (rc == PL_OK)
        rc = pl__file_check(conn); /* what was written to a file that nobody will find must not be acknowledged */
    if (rc != PL_OK) {
        sqlite_failure(conn, rc, error);
        return rc;
    }
    for (const pl_final_t *final = conn->finals; final; final = final->next)
        if (final->state != PL_STAGE_ABORTING)
            pl__watch_remove(conn, final->stage);
    conn->aborts_seen = conn->aborts;
    reset_transaction(conn);
    return PL_OK;
}

static void sqlite_rollback(pl__conn_t *conn) {
    roll_back(conn);
    reset_transaction(conn);
    if (conn->role == PL__ROLE_WRITER) { /* what we remembered may have been of the lost transaction */
        conn->due_unknown = conn->maybe_ready = conn->maybe_alone = true;
        conn->next_token = PL_USEC_NEVER;
        conn->lease_until = 0;
        conn->data_version = -1; /* settings are read again */
        conn->knows_offset = false;
    }
}

/* What a verb puts off to the end of the transaction borrows from its op, which in a session is gone by then. */
static int sqlite_apply(pl__conn_t *conn, pl_op_t *op) {
    PL__TRY(pl__clock_read(conn));
    PL__TRY(pl__sqlite_driver.verb[op->verb](conn, op));
    PL__TRY(pl__deltas_flush(conn));
    return pl__task_flush(conn);
}

static void sqlite_set_session(pl__conn_t *conn, int64_t deadline) {
    int64_t now = pl_clock_monotonic_us();
    bool took_long = conn->session_deadline != PL_USEC_NEVER && now - conn->session_began > BUSY_SLEEP_MAX_US;
    if (deadline != PL_USEC_NEVER) {
        conn->session_began = now;
        pl__guard_session(conn);
    } else if (took_long)
        conn->others_first = now + OTHERS_FIRST_US;
    conn->session_deadline = deadline;
}

static int sqlite_finish(pl__conn_t *conn, int wanted, bool outside, pl__arena_t *arena, pl__turn_t *turn,
                         pl_error_t *error) {
    int rc = PL_OK;
    if (conn->session_deadline != PL_USEC_NEVER) /* its last op may have been long ago */
        rc = pl__clock_read(conn);
    if (rc == PL_OK)
        rc = pl__claim_finish(conn, wanted, outside, arena, turn);
    if (rc != PL_OK)
        sqlite_failure(conn, rc, error);
    return rc;
}

static int sqlite_log_pages(const pl__conn_t *conn) {
    return conn->log_pages;
}

static int64_t sqlite_log_bytes(pl__conn_t *conn, bool fresh) {
    return fresh && pl__file_check(conn) != PL_OK ? 0 : conn->log_bytes;
}

/* With `truncate` the log is cut to nothing, unless somebody uses it just now. Never waits. */
static int sqlite_checkpoint(pl__conn_t *conn, bool truncate) {
    int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    PL__TRY(pl__file_check(conn));
    int sqlite_rc = sqlite3_wal_checkpoint_v2(conn->db, NULL, mode, NULL, NULL);
    return sqlite_rc == SQLITE_BUSY ? PL_OK : pl__sql_rc(conn, sqlite_rc);
}

/* ---- the table --------------------------------------------------------------------------------------------- */

void pl_store_guard_locks(void) {
    pl__locks_install();
}

const char *pl_store_backend(void) {
    return sqlite3_libversion();
}

const pl_store_driver_t pl__sqlite_driver = {
    .version = PL__DRIVER_VERSION,
    .open = sqlite_open,
    .close = sqlite_close,
    .path = sqlite_path,
    .begin = sqlite_begin,
    .verb = {
#define X(name, write) [PL_VERB_##name] = pl__verb_##name,
        PL_VERBS(X)
#undef X
    },
    .apply = sqlite_apply,
    .set_session = sqlite_set_session,
    .finish = sqlite_finish,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .failure = sqlite_failure,
    .renew = pl__worker_renew,
    .log_pages = sqlite_log_pages,
    .log_bytes = sqlite_log_bytes,
    .checkpoint = sqlite_checkpoint,
};
