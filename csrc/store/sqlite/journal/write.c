/*
 * write.c - the verbs journal and suspend: a durable function writes, and waits.
 *
 * Each checks first and writes afterwards; a refusal leaves the transaction as it was. The fence is that of every
 * outcome. All that is written at a time is in one transaction, and in that of whatever else is in the batch.
 *
 * Suspending without a missed wake-up. Who brings news (wake.c) does so in a transaction of his own, before or after
 * that of suspend, for writers come one after the other. Before: the task was claimed, so he has set `dirty`, and
 * suspend is refused. After: he finds the task delayed, and makes it ready. A slot that is filled already, when it is
 * asked for here for the first time, is no news for anybody: so suspend looks for that itself. And it looks once more
 * behind what it has written: a slot that it fills, a child that ends with that, and a mail to itself are news for it.
 */
#include "store/sqlite/db.h"
#include "store/sqlite/task/add.h"

/* ---- the verbs --------------------------------------------------------------------------------------------- */

/* What a journal is written for. */
typedef struct {
    pl_id_t root;
    unsigned flags;
    bool lost; /* its task counts workers that died of it */
} run_t;

/* Whether it may be written: op->rc says. */
static int check(pl__conn_t *conn, pl_op_t *op, pl_id_t stage, int claim, const pl_journal_t *journal, run_t *run) {
    PL__TRY(pl__run_check(conn, stage, claim, &op->rc, &run->root, &run->flags, &run->lost));
    if (op->rc == PL_OK && !(run->flags & PL_STAGE_DURABLE))
        op->rc = PL_ESTATE;
    pl__refusal_t refusal = { .rc = op->rc };
    if (op->rc == PL_OK)
        PL__TRY(pl__journal_check(conn, journal, NULL, 0, &refusal));
    op->rc = refusal.rc;
    return PL_OK;
}

int pl__verb_journal(pl__conn_t *conn, pl_op_t *op) {
    const pl_op_journal_t *write = &op->u.journal;
    run_t run;
    PL__TRY(check(conn, op, write->stage, write->claim, &write->journal, &run));
    if (op->rc != PL_OK)
        return PL_OK;
    if (write->journal.entries_len && run.lost) /* it gets on: workers that die of it are counted anew */
        PL__TRY(pl__sql_run(conn, PL__SQL_TASK_PROGRESS, NULL, "i", (int64_t)write->stage));
    return pl__journal_write(conn, write->stage, run.root, run.flags, &write->journal, pl__run_spawn);
}

/* *there: one of the slots is filled, or news came since it was looked last, which counts as looked at from here on. */
static int look_for_news(pl__conn_t *conn, const pl_op_suspend_t *suspend, bool *there) {
    sqlite3_stmt *row;
    bool found;
    *there = false;
    PL__TRY(pl__sql_query(conn, PL__SQL_FLOW_NEWS, &row, "i", (int64_t)suspend->stage));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_ECORRUPT;
    bool is_dirty = sqlite3_column_int(row, 1) != 0;
    pl__sql_end(row);
    if (is_dirty) {
        *there = true;
        return pl__sql_run(conn, PL__SQL_FLOW_SET_DIRTY, NULL, "ii", (int64_t)suspend->stage, INT64_C(0));
    }
    for (size_t i = 0; i < suspend->slots_len && !*there; i++)
        PL__TRY(pl__slot_is_filled(conn, suspend->slots[i], there));
    return PL_OK;
}

static int wait_for(pl__conn_t *conn, const pl_op_suspend_t *suspend) {
    pl_usec_t due = suspend->due < PL_USEC_MAX ? suspend->due : PL_USEC_MAX;
    bool has_news = false;
    if (suspend->hold)
        return pl__flow_hold(conn, suspend->stage, suspend->reason);
    if (suspend->journal.fills_len || suspend->journal.mails_len)
        PL__TRY(look_for_news(conn, suspend, &has_news));
    due = has_news ? conn->due : due;
    for (size_t i = 0; i < suspend->slots_len && !has_news; i++) {
        int added;
        PL__TRY(pl__edge_add(conn, suspend->slots[i], suspend->stage, PL__WAIT_DURABLE, &added));
    }
    PL__TRY(
        pl__sql_run(conn, PL__SQL_FLOW_SUSPEND, NULL, "ibt", (int64_t)suspend->stage, suspend->wants, suspend->reason));
    bool waits = pl__task_waits(conn, due);
    return pl__sql_run(conn, PL__SQL_TASK_SUSPEND, NULL, "iii", (int64_t)suspend->stage,
                       (int64_t)(waits ? PL__TASK_DELAYED : PL__TASK_READY), (int64_t)(waits ? due : conn->due));
}

int pl__verb_suspend(pl__conn_t *conn, pl_op_t *op) {
    pl_op_suspend_t *suspend = &op->u.suspend;
    run_t run;
    suspend->refused = false;
    PL__TRY(pl__deltas_flush(conn)); /* children that have settled in this transaction are news */
    PL__TRY(check(conn, op, suspend->stage, suspend->claim, &suspend->journal, &run));
    if (op->rc == PL_OK)
        PL__TRY(look_for_news(conn, suspend, &suspend->refused));
    if (op->rc != PL_OK || suspend->refused)
        return PL_OK;
    PL__TRY(pl__journal_write(conn, suspend->stage, run.root, run.flags, &suspend->journal, pl__run_spawn));
    PL__TRY(pl__deltas_flush(conn)); /* rows of children that are waited for */
    return wait_for(conn, suspend);
}
