/*
 * bulk.c - rows of tasks, many at a time: claiming and finishing (adding is in pending.c).
 *
 * What a statement costs by itself is as much as what it does to one row. So the plain cases, which are nearly all,
 * are written by statements over PL__BULK_IDS ids; what is left over, and what is out of the
 * ordinary, by those for one.
 */
#include "store/sqlite/db.h"

enum { ID_FIRST_CLAIM = 3, ID_FIRST_FINISH = 3, BULK_IDS_MIN = 6 };

/* ---- ids --------------------------------------------------------------------------------------------------- */

/* Runs a statement over `count` ids, one or more; what is not used of its places gets the last id once more. */
static int run_ids(pl__conn_t *conn, sqlite3_stmt *statement, int at, const pl_id_t *ids, size_t count, int *changes) {
    bool row;
    for (size_t i = 0; i < PL__BULK_IDS; i++) {
        int rc = sqlite3_bind_int64(statement, at + (int)i, ids[i < count ? i : count - 1]);
        if (rc != SQLITE_OK)
            return pl__sql_rc(conn, rc);
    }
    int rc = pl__sql_step(conn, statement, &row);
    *changes = sqlite3_changes(conn->db);
    return rc;
}

static int claim_many(pl__conn_t *conn, int number, const pl_id_t *ids, size_t len, int *changes) {
    sqlite3_stmt *statement;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASKS_CLAIM, &statement, "ii", (int64_t)conn->worker, (int64_t)number));
    return run_ids(conn, statement, ID_FIRST_CLAIM, ids, len, changes);
}

/* They were read as ready by this transaction: each must be there. */
int pl__ids_claim(pl__conn_t *conn, int number, const pl_id_t *ids, size_t len) {
    for (size_t count; len > 0; ids += count, len -= count) {
        int changes;
        count = len < BULK_IDS_MIN ? 1 : len < PL__BULK_IDS ? len : PL__BULK_IDS;
        if (count == 1)
            PL__TRY(pl__sql_run(conn, PL__SQL_TASK_CLAIM, &changes, "iii", (int64_t)conn->worker, (int64_t)number,
                                (int64_t)*ids));
        else
            PL__TRY(claim_many(conn, number, ids, count, &changes));
        if (changes != (int)count)
            return PL_ECORRUPT;
    }
    return PL_OK;
}

/* ---- finishing --------------------------------------------------------------------------------------------- */

/* How many of the ends, from the first on, can share a statement: those with the same number of claim. */
static size_t count_alike(const pl_end_t *ends, size_t len) {
    size_t count = 1;
    while (count < len && count < PL__BULK_IDS && ends[count].claim == ends[0].claim)
        count++;
    return count < BULK_IDS_MIN ? 1 : count;
}

int pl__ids_finish(pl__conn_t *conn, pl__sql_t id, int claim, const pl_id_t *ids, size_t len, int *changes) {
    sqlite3_stmt *statement;
    PL__TRY(pl__sql_query(conn, id, &statement, "ii", (int64_t)conn->worker, (int64_t)claim));
    return run_ids(conn, statement, ID_FIRST_FINISH, ids, len, changes);
}

static int finish_many(pl__conn_t *conn, const pl_end_t *ends, size_t len, int *changes) {
    pl_id_t ids[PL__BULK_IDS];
    for (size_t i = 0; i < len; i++)
        ids[i] = ends[i].task;
    return pl__ids_finish(conn, PL__SQL_TASKS_FINISH, ends->claim, ids, len, changes);
}

/* Of those that have gone: what they had beside their rows. */
static int delete_details(pl__conn_t *conn, const pl_end_t *ends, size_t len) {
    pl_id_t ids[PL__BULK_IDS];
    sqlite3_stmt *statement;
    size_t count = 0;
    int changes;
    for (size_t i = 0; i < len; i++)
        if (ends[i].has_detail)
            ids[count++] = ends[i].task;
    if (count == 0)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_DETAILS_DELETE, &statement, ""));
    return run_ids(conn, statement, 1, ids, count, &changes);
}

/* Some of many were not ours: which, only a statement for each can tell. So the transaction is given up, and this op
 * comes again in one of its own. */
static int finish_together(pl__conn_t *conn, pl_op_tasks_done_t *done, const pl_end_t *ends, size_t len) {
    int changes;
    PL__TRY(finish_many(conn, ends, len, &changes));
    done->singly = changes != (int)len;
    if (done->singly)
        return PL_ESTALE;
    PL__TRY(delete_details(conn, ends, len));
    for (size_t i = 0; i < len && conn->fires.live; i++)
        PL__TRY(pl__note_over(conn, ends[i].task, PL_FIRE_DONE));
    return PL_OK;
}

static int finish_one(pl__conn_t *conn, pl_op_tasks_done_t *done, pl_end_t *end) {
    int changes;
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_FINISH, &changes, "iii", (int64_t)end->task, (int64_t)conn->worker,
                        (int64_t)end->claim));
    end->refused = changes == 0;
    done->refused += end->refused;
    if (!end->refused && end->has_detail)
        PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DELETE_DETAIL, NULL, "i", (int64_t)end->task));
    return end->refused ? PL_OK : pl__note_over(conn, end->task, PL_FIRE_DONE);
}

/* The deletion is the fence. */
int pl__verb_tasks_done(pl__conn_t *conn, pl_op_t *op) {
    pl_op_tasks_done_t *done = &op->u.tasks_done;
    pl_end_t *ends = done->ends;
    done->refused = 0;
    for (size_t left = done->len, count; left > 0; ends += count, left -= count) {
        count = done->singly ? 1 : count_alike(ends, left);
        if (count == 1)
            PL__TRY(finish_one(conn, done, ends));
        else
            PL__TRY(finish_together(conn, done, ends, count));
    }
    op->rc = done->refused ? PL_ESTALE : PL_OK;
    conn->freed = true;
    return PL_OK;
}
