/*
 * tally.c - how many stages are below one, and how many of these are done; bounded, for trees may be large.
 */
#include "store/sqlite/db.h"

static void count_row(sqlite3_stmt *row, const pl_stage_t *stage, pl_tally_t *tally) {
    bool is_child = sqlite3_column_int64(row, 0) == stage->id, is_done = sqlite3_column_int(row, 1) == PL_STAGE_DONE;
    tally->children += is_child;
    tally->children_done += is_child && is_done;
    tally->stages++;
    tally->stages_done += is_done;
}

int pl__tally_read(pl__conn_t *conn, pl_stage_t *stage, pl__arena_t *arena, int *budget) {
    sqlite3_stmt *row;
    bool more;
    int left = *budget < PL_TALLY_MAX ? *budget : PL_TALLY_MAX;
    pl_tally_t *tally = pl__arena_get(arena, sizeof *tally);
    if (!tally)
        return PL_ENOMEM;
    *tally = (pl_tally_t){ .children = 0 };
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_TALLY, &row, "iii", (int64_t)stage->root, (int64_t)stage->id,
                          (int64_t)PL_STAGE_HIDDEN));
    int rc = pl__sql_step(conn, row, &more);
    for (; rc == PL_OK && more && left > 0; left--, --*budget) {
        count_row(row, stage, tally);
        rc = pl__sql_step(conn, row, &more);
    }
    tally->is_more = more;
    if (stage->parent) /* what else comes behind it in the tree need not be below it */
        tally->stages = tally->stages_done = 0;
    pl__sql_end(row);
    stage->tally = tally;
    return rc;
}
