/*
 * repair.c - the verb repair: mends what one part of a check has found.
 *
 * The statements are those of repairs.h, found by the title of the rule. They are made for a store on which nobody
 * works: whoever asks for them has seen to that, and closes the engine afterwards, since what a connection remembers of
 * queues and tasks is not what the file says any more.
 */
#include <sqlite3.h>
#include <string.h>

#include "store/sqlite/db.h"
#include "store/sqlite/file/repairs.h"
#include "store/sqlite/pack.h"

static const struct {
    const char *title, *sql;
} repairs[] = {
#define X(title, sql) { title, sql },
    PL__REPAIRS(X)
#undef X
};

/* ---- lists of slots, for the statements -------------------------------------------------------------------------- */

static pl_str_t blob_of(sqlite3_value *value) {
    const char *bytes = sqlite3_value_blob(value);
    return (pl_str_t){ bytes, bytes ? (size_t)sqlite3_value_bytes(value) : 0 };
}

/* pl_slot_at(list, n): the slot at place n, from 0; NULL: there are not so many. */
static void slot_at(sqlite3_context *context, int argc, sqlite3_value **argv) {
    pl__arena_t arena = { 0 };
    const pl_id_t *ids = NULL;
    size_t len = 0;
    sqlite3_int64 at = sqlite3_value_int64(argv[1]);
    (void)argc;
    if (pl__unpack_ids(&arena, blob_of(argv[0]), &ids, &len) != PL_OK)
        sqlite3_result_error_nomem(context);
    else if (at >= 0 && (size_t)at < len)
        sqlite3_result_int64(context, ids[at]);
    pl__arena_free(&arena);
}

/* pl_output_at(stage, outputs, n): the slot of its output at place n. */
static void output_at(sqlite3_context *context, int argc, sqlite3_value **argv) {
    pl__arena_t arena = { 0 };
    const pl_output_t *outputs = NULL;
    size_t len = 0;
    sqlite3_int64 at = sqlite3_value_int64(argv[2]);
    (void)argc;
    if (pl__unpack_outputs(&arena, sqlite3_value_int64(argv[0]), blob_of(argv[1]), &outputs, &len) != PL_OK)
        sqlite3_result_error_nomem(context);
    else if (at >= 0 && (size_t)at < len)
        sqlite3_result_int64(context, outputs[at].slot);
    pl__arena_free(&arena);
}

enum { FLAGS = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY };

static int lend_functions(pl__conn_t *conn, bool lend) {
    PL__TRY(pl__sql_rc(
        conn, sqlite3_create_function(conn->db, "pl_slot_at", 2, FLAGS, NULL, lend ? slot_at : NULL, NULL, NULL)));
    return pl__sql_rc(
        conn, sqlite3_create_function(conn->db, "pl_output_at", 3, FLAGS, NULL, lend ? output_at : NULL, NULL, NULL));
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

static const char *statements_for(pl_str_t title) {
    for (size_t i = 0; i < sizeof repairs / sizeof *repairs; i++)
        if (strlen(repairs[i].title) == title.len && memcmp(repairs[i].title, title.ptr, title.len) == 0)
            return repairs[i].sql;
    return NULL;
}

int pl__verb_repair(pl__conn_t *conn, pl_op_t *op) {
    pl_op_repair_t *repair = &op->u.repair;
    const char *sql = statements_for(repair->title);
    repair->mended = 0;
    if (!sql) {
        op->rc = PL_ENOTFOUND;
        return PL_OK;
    }
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    PL__TRY(lend_functions(conn, true));
    int64_t before = sqlite3_total_changes64(conn->db);
    int rc = pl__sql_execute(conn, sql);
    repair->mended = sqlite3_total_changes64(conn->db) - before;
    PL__TRY(lend_functions(conn, false));
    if (rc != PL_ECORRUPT && rc != PL_ECONSTRAINT)
        return rc;
    op->rc = PL__FAIL(&op->error, rc, "'%.*s' cannot be mended: %.200s", (int)repair->title.len, repair->title.ptr,
                      conn->failure);
    return PL_OK;
}
