/*
 * guard.c - what SQL of the user may not do.
 *
 * The user's tables lie in the same file as the engine's, whose names begin with pl_. While a statement of the user is
 * prepared or runs, conn->guarded is true, and:
 *
 *   the authorizer   refuses what would harm the engine: writing its tables, hanging triggers, indexes or foreign keys
 *                    on them, names of that kind in any schema, transaction control, other files, settings of the
 *                    connection. It is set once, for setting it makes SQLite prepare every statement anew.
 *   a look at the    finds what the authorizer does not see: the new name of a renamed table (also of the tables that
 *   schema, after    a renamed virtual table keeps), and where foreign keys lead.
 *   limits           bound the length of a value and of a LIKE pattern; a look now and then bounds time and memory,
 *                    and a limit of the heap what is taken between two looks. Functions that can take long in one step
 *                    are our own, see guard_functions.c.
 *
 * Statements of the engine name their schema (main.pl_task), so that nothing temporary can come in their way; this is
 * the second fence, for no such name can arise.
 *
 * Invariant: conn->guarded is false whenever a statement of the engine is prepared or runs.
 */
#include <string.h>

#include "store/sqlite/db.h"

#define HEAP_MAX ((int64_t)512 * 1024 * 1024)

enum {
    PROGRESS_STEPS = 2000, /* of SQLite's machine between two looks: well below a millisecond */
    PATTERN_MAX = 1000     /* bytes of a pattern: LIKE compares each of them with each byte of the text, at worst */
};

/* ---- the authorizer ---------------------------------------------------------------------------------------- */

static bool begins_with(const char *name, const char *prefix) {
    return name && sqlite3_strnicmp(name, prefix, (int)strlen(prefix)) == 0;
}

static bool is_ours(const char *name) {
    return begins_with(name, "pl_");
}

static int deny(pl__conn_t *conn, const char *format, const char *name) {
    sqlite3_snprintf(sizeof conn->denied, conn->denied, format, name);
    return SQLITE_DENY;
}

/* Those that only tell something, and the user's own version number. */
static bool is_harmless_pragma(const char *name) {
    static const char *const HARMLESS[] = {
        "table_info",      "table_xinfo",   "table_list",         "index_list",        "index_info",
        "index_xinfo",     "database_list", "foreign_key_list",   "foreign_key_check", "integrity_check",
        "quick_check",     "user_version",  "data_version",       "page_count",        "page_size",
        "freelist_count",  "encoding",      "defer_foreign_keys", "function_list",     "collation_list",
        "compile_options", "module_list",   "pragma_list",
    };
    for (size_t i = 0; i < sizeof HARMLESS / sizeof *HARMLESS; i++)
        if (sqlite3_stricmp(name, HARMLESS[i]) == 0)
            return true;
    return false;
}

/* load_extension brings code, fts3_tokenizer takes the address of some. */
static int guard_function(pl__conn_t *conn, const char *name) {
    bool is_code = sqlite3_stricmp(name, "load_extension") == 0 || sqlite3_stricmp(name, "fts3_tokenizer") == 0;
    return is_code ? deny(conn, "%s is not possible here", name) : SQLITE_OK;
}

static int guard_read(pl__conn_t *conn, const char *table) {
    if (sqlite3_stricmp(table, "pl_meta") == 0)
        return deny(conn, "%s holds the secret of the store", table);
    return sqlite3_stricmp(table, "sqlite_dbpage") ? SQLITE_OK : deny(conn, "%s is not possible here", table);
}

static int guard_write(pl__conn_t *conn, const char *table) {
    if (is_ours(table))
        return deny(conn, "%s is the engine's: it can be read, not written", table);
    return sqlite3_stricmp(table, "sqlite_dbpage") ? SQLITE_OK : deny(conn, "%s is not possible here", table);
}

/* Making or dropping a thing called `name`, on the table `of` (NULL: it is a table itself). */
static int guard_schema(pl__conn_t *conn, const char *name, const char *of) {
    if (is_ours(name))
        return deny(conn, "%s: names that begin with pl_ are the engine's", name);
    return is_ours(of) ? deny(conn, "%s is the engine's: it can be read, not changed", of) : SQLITE_OK;
}

static int guard_rest(pl__conn_t *conn, int action, const char *first, const char *second) {
    switch (action) {
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        return deny(conn, "%s: the transaction begins and ends with the function", first);
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
        return deny(conn, "%s", "a transaction is about one file: ATTACH and DETACH are not possible");
    case SQLITE_PRAGMA:
        return is_harmless_pragma(first) ? SQLITE_OK : deny(conn, "PRAGMA %s is not possible here", first);
    case SQLITE_FUNCTION:
        return guard_function(conn, second);
    case SQLITE_READ:
        return guard_read(conn, first);
    case SQLITE_ANALYZE: /* without a name these are about all tables: the engine's are left out */
        return is_ours(first) ? SQLITE_IGNORE : SQLITE_OK;
    case SQLITE_REINDEX:
        return is_ours(first) || begins_with(first, "sqlite_autoindex_pl_") ? SQLITE_IGNORE : SQLITE_OK;
    default:
        return SQLITE_OK;
    }
}

static int guard_cb(void *data, int action, const char *first, const char *second, const char *db,
                    const char *trigger) {
    pl__conn_t *conn = data;
    (void)db;
    (void)trigger;
    if (!conn->guarded)
        return SQLITE_OK;
    switch (action) {
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
        if (begins_with(first, "sqlite_stat"))
            return deny(conn, "%s is written by ANALYZE alone", first);
        return guard_write(conn, first);
    case SQLITE_DELETE:
        return guard_write(conn, first);
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_VTABLE:
        conn->makes_tables = true;
        return guard_schema(conn, first, NULL);
    case SQLITE_ALTER_TABLE:
        conn->makes_tables = true;
        return guard_schema(conn, NULL, second);
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_TEMP_VIEW:
    case SQLITE_DROP_VTABLE:
        return guard_schema(conn, first, NULL);
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_TEMP_TRIGGER:
        return guard_schema(conn, first, second);
    default:
        return guard_rest(conn, action, first, second);
    }
}

/* ---- time and memory --------------------------------------------------------------------------------------- */

/* What this connection keeps in its caches: pages of temporary tables among them. */
static int64_t cached_bytes(pl__conn_t *conn) {
    int now = 0, most;
    sqlite3_db_status(conn->db, SQLITE_DBSTATUS_CACHE_USED, &now, &most, 0);
    return now;
}

/* SQLite counts for the whole process; others in it take little meanwhile. A store in memory is not counted: its
 * tables are what it is for. */
static int64_t used_bytes(pl__conn_t *conn) {
    return sqlite3_memory_used() - (conn->in_memory ? cached_bytes(conn) : 0);
}

void pl__guard_session(pl__conn_t *conn) {
    conn->memory_before = used_bytes(conn);
}

static int progress_cb(void *data) {
    pl__conn_t *conn = data;
    conn->too_much = used_bytes(conn) - conn->memory_before > PL_SQL_MEMORY_MAX;
    return conn->too_much || pl_clock_monotonic_us() >= conn->session_deadline;
}

/*
 * A row of 2000 columns with 64 MiB each is made between two looks, hence a limit of the heap. It holds for the whole
 * process, as does the mutex, but no longer than statements of users run, and so far above what is in use that others
 * meet it only when the process would soon be out of memory anyway. Limits of the host program are kept.
 */
static struct {
    int users;
    int64_t hard, soft, ours; /* the host's; ours, 0: not set */
} heap;

static void limit_heap(void) {
    int64_t ours = sqlite3_memory_used() + HEAP_MAX, hard = sqlite3_hard_heap_limit64(-1);
    if (heap.users == 0) {
        heap.hard = hard;
        heap.soft = sqlite3_soft_heap_limit64(-1);
        heap.ours = 0;
    }
    if (hard == 0 || hard > ours || (hard == heap.ours && ours > hard)) {
        sqlite3_hard_heap_limit64(ours);
        heap.ours = ours;
    }
}

static void restore_heap(void) {
    if (heap.ours != 0 && sqlite3_hard_heap_limit64(-1) == heap.ours) {
        sqlite3_hard_heap_limit64(heap.hard);
        sqlite3_soft_heap_limit64(heap.soft);
    }
}

void pl__guard_heap(bool on) {
    sqlite3_mutex *mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
    sqlite3_mutex_enter(mutex);
    if (on)
        limit_heap();
    heap.users += on ? 1 : -1;
    if (heap.users == 0)
        restore_heap();
    sqlite3_mutex_leave(mutex);
}

static void set_limit(pl__conn_t *conn, int limit, int *other) {
    *other = sqlite3_limit(conn->db, limit, *other);
}

void pl__guard_set(pl__conn_t *conn, bool on) {
    if (conn->guarded == on)
        return;
    conn->guarded = on;
    conn->too_much = false;
    set_limit(conn, SQLITE_LIMIT_LENGTH, &conn->other_length);
    set_limit(conn, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, &conn->other_pattern);
    sqlite3_progress_handler(conn->db, on ? PROGRESS_STEPS : 0, on ? progress_cb : NULL, conn);
}

int pl__guard_open(pl__conn_t *conn) {
    conn->other_length = (int)PL_SQL_RESULT_MAX;
    conn->other_pattern = PATTERN_MAX;
    conn->in_memory = strcmp(conn->options.path, ":memory:") == 0;
    sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(conn->db, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0, NULL);
    PL__TRY(pl__guard_functions(conn));
    return pl__sql_rc(conn, sqlite3_set_authorizer(conn->db, guard_cb, conn));
}

/* ---- a look at the schema ---------------------------------------------------------------------------------- */

int pl__guard_count_names(pl__conn_t *conn, int64_t *ours) {
    int64_t temporary;
    PL__TRY(pl__sql_int(conn, PL__SQL_NAMES_OURS, ours, 0, ""));
    PL__TRY(pl__sql_int(conn, PL__SQL_NAMES_OURS_TEMP, &temporary, 0, ""));
    *ours += temporary;
    return PL_OK;
}

/* A PRAGMA that names the schema, for a temporary table of that name hides it, and one named pragma_foreign_key_list
 * the function. */
static int has_key_to_ours(pl__conn_t *conn, const char *table, bool *has) {
    sqlite3_stmt *row = NULL;
    char *sql = sqlite3_mprintf("PRAGMA main.foreign_key_list(\"%w\")", table);
    int rc = sql ? sqlite3_prepare_v2(conn->db, sql, -1, &row, NULL) : SQLITE_NOMEM;
    while (rc == SQLITE_OK && !*has && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        *has = is_ours((const char *)sqlite3_column_text(row, 2));
        rc = SQLITE_OK;
    }
    rc = pl__sql_rc(conn, rc);
    sqlite3_finalize(row);
    sqlite3_free(sql);
    return rc;
}

int pl__guard_find_key(pl__conn_t *conn, char *table, size_t size) {
    sqlite3_stmt *row;
    bool more, found = false;
    table[0] = 0;
    PL__TRY(pl__sql_query(conn, PL__SQL_TABLES_NAMING_OURS, &row, ""));
    int rc = pl__sql_step(conn, row, &more);
    while (rc == PL_OK && more && !found) {
        const char *name = (const char *)sqlite3_column_text(row, 0);
        rc = name ? has_key_to_ours(conn, name, &found) : PL_ENOMEM;
        if (found)
            sqlite3_snprintf((int)size, table, "%s", name);
        else if (rc == PL_OK)
            rc = pl__sql_step(conn, row, &more);
    }
    pl__sql_end(row);
    return rc;
}
