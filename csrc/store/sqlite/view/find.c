/*
 * find.c - stages by the beginning of their ids.
 */
#include "store/sqlite/db.h"

static int list_ids(pl__conn_t *conn, pl_op_t *op, pl__sql_t sql, const pl_id_t **ids, size_t *len) {
    const pl_op_ids_find_t *find = &op->u.ids_find;
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__sql_query(conn, sql, &row, "iii", (int64_t)find->from, (int64_t)find->to, (int64_t)find->limit));
    *ids = pl__sql_list(conn, row, &op->arena, pl__sql_read_id, sizeof **ids, len, &rc);
    return rc;
}

int pl__verb_ids_find(pl__conn_t *conn, pl_op_t *op) {
    pl_op_ids_find_t *find = &op->u.ids_find;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(list_ids(conn, op, PL__SQL_ROOT_IDS, &find->roots, &find->roots_len));
    return list_ids(conn, op, PL__SQL_STAGE_IDS, &find->stages, &find->stages_len);
}
