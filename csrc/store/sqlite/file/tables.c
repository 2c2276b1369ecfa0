/*
 * tables.c - the verb tables_get: how much of the file each table takes, and each index of it.
 *
 * A part is one B-tree, of which all pages are read (the virtual table dbstat), so that other reads come between. The
 * tables of users are told, too: they are in the same file. Parts are found by their place in the schema; if that
 * changes meanwhile, one may be told twice or not at all.
 */
#include <string.h>

#include "store/sqlite/db.h"

static const char TREES[] =
    "SELECT tbl_name, nullif(name, tbl_name) FROM (SELECT 'sqlite_schema' AS tbl_name, 'sqlite_schema' AS name, 0 AS "
    "place UNION ALL SELECT tbl_name, name, rowid FROM main.sqlite_schema WHERE rootpage > 0) ORDER BY place "
    "LIMIT 2 OFFSET ?1";
static const char SIZE[] = "SELECT pgsize, unused FROM dbstat('main', 1) WHERE name = coalesce(?1, ?2)";

/* A query that is made anew each time. Finalize *row. */
static int prepare(pl__conn_t *conn, const char *sql, sqlite3_stmt **row) {
    *row = NULL;
    return pl__sql_rc(conn, sqlite3_prepare_v2(conn->db, sql, -1, row, NULL));
}

/* *any: there is one more row. */
static int step(pl__conn_t *conn, sqlite3_stmt *row, bool *any) {
    int sqlite_rc = sqlite3_step(row);
    *any = sqlite_rc == SQLITE_ROW;
    return sqlite_rc == SQLITE_DONE ? PL_OK : *any ? PL_OK : pl__sql_rc(conn, sqlite_rc);
}

static int find_tree(pl__conn_t *conn, pl_op_t *op) {
    pl_op_tables_get_t *get = &op->u.tables_get;
    sqlite3_stmt *row;
    bool any = false;
    int rc = prepare(conn, TREES, &row);
    if (rc == PL_OK)
        rc = pl__sql_bind(conn, row, 1, "i", (int64_t)get->part);
    if (rc == PL_OK)
        rc = step(conn, row, &any);
    if (rc == PL_OK && any)
        rc = pl__sql_str(row, 0, &op->arena, &get->table);
    if (rc == PL_OK && any)
        rc = pl__sql_str(row, 1, &op->arena, &get->index);
    if (rc == PL_OK && any)
        rc = step(conn, row, &any);
    get->next = any ? get->part + 1 : 0;
    sqlite3_finalize(row);
    return rc;
}

static int read_size(pl__conn_t *conn, pl_op_t *op) {
    pl_op_tables_get_t *get = &op->u.tables_get;
    sqlite3_stmt *row;
    bool any = false;
    int rc = prepare(conn, SIZE, &row);
    if (!row && rc != PL_OK && !sqlite3_compileoption_used("ENABLE_DBSTAT_VTAB")) {
        op->rc = PL__FAIL(&op->error, PL_ESTATE, "this SQLite is built without dbstat, which tells sizes of tables");
        return PL_OK;
    }
    if (rc == PL_OK)
        rc = pl__sql_bind(conn, row, 1, "tt", get->index, get->table);
    if (rc == PL_OK)
        rc = step(conn, row, &any);
    get->bytes = any ? sqlite3_column_int64(row, 0) : 0;
    get->unused = any ? sqlite3_column_int64(row, 1) : 0;
    sqlite3_finalize(row);
    return rc;
}

int pl__verb_tables_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_tables_get_t *get = &op->u.tables_get;
    if (get->part < 0) {
        op->rc = PL_EINVAL;
        return PL_OK;
    }
    get->table = get->index = PL_STR_NONE;
    get->bytes = get->unused = 0;
    PL__TRY(find_tree(conn, op));
    return get->table.ptr ? read_size(conn, op) : PL_OK;
}
