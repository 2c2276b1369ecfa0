/*
 * guard_functions.c - instr, replace and trim as SQLite has them, for SQL of the user, in time that can be told.
 *
 * SQLite interrupts a statement between the steps of its machine, and a function call is one step. Its own versions of
 * these compare every place of the one text with the whole other: two values of some megabytes take minutes, while the
 * store thread, and everybody who writes to the file, waits. Searching is linear here; trimming looks at the clock.
 * Results are the same to the byte, so that indexes on expressions made elsewhere hold.
 */
#include <string.h>

#include "store/sqlite/db.h"

enum { COMPARISONS = 1 << 20 }; /* between two looks at the clock */

typedef struct {
    const unsigned char *ptr;
    size_t len;
} bytes_t;

/* False: NULL, or no memory for it. */
static bool take(sqlite3_context *context, sqlite3_value *value, bytes_t *bytes) {
    int type = sqlite3_value_type(value);
    if (type == SQLITE_NULL)
        return false;
    bytes->ptr = type == SQLITE_BLOB ? sqlite3_value_blob(value) : sqlite3_value_text(value);
    bytes->len = (size_t)sqlite3_value_bytes(value);
    if (!bytes->ptr && bytes->len == 0)
        bytes->ptr = (const unsigned char *)"";
    if (!bytes->ptr)
        sqlite3_result_error_nomem(context);
    return bytes->ptr;
}

static bool is_inner(unsigned char byte) {
    return (byte & 0xc0) == 0x80;
}

/* ---- instr ------------------------------------------------------------------------------------------------- */

/* Where a text begins in another: at a character, never within one. */
static const unsigned char *find_text(bytes_t text, bytes_t part) {
    if (part.len > 0 && is_inner(part.ptr[0]))
        return part.len <= text.len && memcmp(text.ptr, part.ptr, part.len) == 0 ? text.ptr : NULL;
    return memmem(text.ptr, text.len, part.ptr, part.len);
}

static void instr_cb(sqlite3_context *context, int argc, sqlite3_value **argv) {
    bytes_t text, part;
    (void)argc;
    if (!take(context, argv[0], &text) || !take(context, argv[1], &part))
        return;
    bool blobs = sqlite3_value_type(argv[0]) == SQLITE_BLOB && sqlite3_value_type(argv[1]) == SQLITE_BLOB;
    const unsigned char *found = blobs ? memmem(text.ptr, text.len, part.ptr, part.len) : find_text(text, part);
    sqlite3_int64 place = 0;
    for (const unsigned char *at = text.ptr; found && at <= found; at++)
        place += blobs || at == text.ptr || at == found || !is_inner(*at);
    sqlite3_result_int64(context, place);
}

/* ---- replace ----------------------------------------------------------------------------------------------- */

/* Where the part comes next. Each call of memmem sees a piece of the text only: a build that checks memory looks at all
 * of it, each time, which would take the square of the text where the part comes often. */
static const unsigned char *find_next(const unsigned char *at, const unsigned char *end, bytes_t part) {
    enum { PIECE = 4096 };
    size_t piece = PIECE + 2 * part.len;
    for (; (size_t)(end - at) > piece; at += piece - part.len + 1) {
        const unsigned char *found = memmem(at, piece, part.ptr, part.len);
        if (found)
            return found;
    }
    return memmem(at, (size_t)(end - at), part.ptr, part.len);
}

static size_t count_parts(bytes_t text, bytes_t part) {
    size_t count = 0;
    const unsigned char *at = text.ptr, *end = text.ptr + text.len;
    while ((at = find_next(at, end, part))) {
        count++;
        at += part.len;
    }
    return count;
}

static void put_replaced(unsigned char *out, bytes_t text, bytes_t part, bytes_t with) {
    const unsigned char *at = text.ptr, *end = text.ptr + text.len, *found;
    while ((found = find_next(at, end, part))) {
        memcpy(out, at, (size_t)(found - at));
        out += found - at;
        memcpy(out, with.ptr, with.len);
        out += with.len;
        at = found + part.len;
    }
    memcpy(out, at, (size_t)(end - at));
}

static void replace_cb(sqlite3_context *context, int argc, sqlite3_value **argv) {
    sqlite3 *db = sqlite3_context_db_handle(context);
    bytes_t text, part, with;
    (void)argc;
    if (!take(context, argv[0], &text) || !take(context, argv[1], &part))
        return;
    if (part.len == 0 || part.ptr[0] == 0) { /* whatever the third is; and a blob becomes a text all the same */
        if (sqlite3_value_text(argv[0]))
            sqlite3_result_value(context, argv[0]);
        else
            sqlite3_result_error_nomem(context);
        return;
    }
    if (!take(context, argv[2], &with))
        return;
    size_t count = count_parts(text, part), size = text.len - count * part.len + count * with.len;
    if (size > (size_t)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, -1)) {
        sqlite3_result_error_toobig(context);
        return;
    }
    unsigned char *out = sqlite3_malloc64(size + 1);
    if (!out) {
        sqlite3_result_error_nomem(context);
        return;
    }
    put_replaced(out, text, part, with);
    sqlite3_result_text64(context, (char *)out, size, sqlite3_free, SQLITE_UTF8);
}

/* ---- trim -------------------------------------------------------------------------------------------------- */

enum { AT_LEFT = 1, AT_RIGHT = 2 };

typedef struct {
    const pl__conn_t *conn;
    int64_t comparisons;
    bool late;
} patience_t;

static bool is_late(patience_t *patience) {
    if (++patience->comparisons % COMPARISONS == 0 && patience->conn->guarded)
        patience->late = pl_clock_monotonic_us() >= patience->conn->session_deadline;
    return patience->late;
}

/* Bytes of the character of `set` at one end of the text; 0: none is there. */
static size_t match_end(bytes_t text, bytes_t set, bool left, patience_t *patience) {
    size_t len;
    for (size_t at = 0; at < set.len && !is_late(patience); at += len) {
        for (len = 1; set.ptr[at] >= 0xc0 && at + len < set.len && is_inner(set.ptr[at + len]);)
            len++;
        if (len <= text.len && memcmp(text.ptr + (left ? 0 : text.len - len), set.ptr + at, len) == 0)
            return len;
    }
    return 0;
}

static void trim(sqlite3_context *context, sqlite3_value **argv, int sides) {
    patience_t patience = { .conn = sqlite3_user_data(context) };
    bytes_t text, set;
    if (!take(context, argv[0], &text) || !take(context, argv[1], &set))
        return;
    for (size_t len; sides & AT_LEFT && (len = match_end(text, set, true, &patience)) > 0; text.len -= len)
        text.ptr += len;
    for (size_t len; sides & AT_RIGHT && (len = match_end(text, set, false, &patience)) > 0;)
        text.len -= len;
    if (patience.late)
        sqlite3_result_error_code(context, SQLITE_INTERRUPT);
    else
        sqlite3_result_text64(context, (const char *)text.ptr, text.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void trim_cb(sqlite3_context *context, int argc, sqlite3_value **argv) {
    (void)argc;
    trim(context, argv, AT_LEFT | AT_RIGHT);
}

static void ltrim_cb(sqlite3_context *context, int argc, sqlite3_value **argv) {
    (void)argc;
    trim(context, argv, AT_LEFT);
}

static void rtrim_cb(sqlite3_context *context, int argc, sqlite3_value **argv) {
    (void)argc;
    trim(context, argv, AT_RIGHT);
}

/* ---- all of them ------------------------------------------------------------------------------------------- */

int pl__guard_functions(pl__conn_t *conn) {
    static const struct {
        const char *name;
        int argc;
        void (*call)(sqlite3_context *, int, sqlite3_value **);
    } FUNCTIONS[] = {
        { "instr", 2, instr_cb }, { "replace", 3, replace_cb }, { "trim", 2, trim_cb },
        { "ltrim", 2, ltrim_cb }, { "rtrim", 2, rtrim_cb },
    };
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++)
        PL__TRY(pl__sql_rc(conn, sqlite3_create_function(conn->db, FUNCTIONS[i].name, FUNCTIONS[i].argc, flags, conn,
                                                         FUNCTIONS[i].call, NULL, NULL)));
    return PL_OK;
}
