/*
 * write.c - the journal of a durable function as it is written: the verbs journal and suspend.
 *
 * Each checks first and writes afterwards; a refusal leaves the transaction as it was. The fence is that of every
 * outcome. All that is written at a time is in one transaction, and in that of whatever else is in the batch.
 *
 * Suspending without a missed wake-up. Who brings news (wake.c) does so in a transaction of his own, before or after
 * that of suspend, for writers come one after the other. Before: the task was claimed, so he has set `dirty`, and
 * suspend is refused. After: he finds the task delayed, and makes it ready. A slot that is filled already, when it is
 * asked for here for the first time, is no news for anybody: so suspend looks for that itself.
 */
#include "store/sqlite/db.h"

enum { INLINE_MAX = 1024, ENTRY_BYTES = 64 };

/* ---- entries ----------------------------------------------------------------------------------------------- */

static int write_entry(pl__conn_t *conn, pl_id_t stage, const pl_entry_t *entry, int64_t *bytes) {
    bool is_large = entry->value.len > INLINE_MAX;
    *bytes += (int64_t)(entry->value.len + entry->name.len + entry->path.len + entry->line.len + ENTRY_BYTES);
    PL__TRY(pl__sql_run(conn, PL__SQL_ENTRY_SET, NULL, "iiziittitizizzib", (int64_t)stage, entry->seq, entry->done,
                        (int64_t)entry->kind, (int64_t)entry->state, entry->path, entry->name, (int64_t)entry->nth,
                        entry->line, (int64_t)entry->opened, (int64_t)entry->closed, (int64_t)entry->attempt,
                        (int64_t)entry->due, (int64_t)entry->ref, (int64_t)is_large,
                        is_large ? PL_STR_NONE : entry->value));
    return is_large ? pl__sql_run(conn, PL__SQL_ENTRY_SET_LARGE, NULL, "iib", (int64_t)stage, entry->seq, entry->value)
                    : PL_OK;
}

static int take_mails(pl__conn_t *conn, pl_id_t stage, const int64_t *taken, size_t len) {
    int64_t count = 0;
    for (size_t i = 0; i < len; i++) {
        int changes;
        PL__TRY(pl__sql_run(conn, PL__SQL_MAIL_DELETE, &changes, "ii", (int64_t)stage, taken[i]));
        if (!changes)
            PL__TRY(pl__sql_run(conn, PL__SQL_MAIL_TAKE, &changes, "ii", (int64_t)stage, taken[i]));
        count += changes > 0;
    }
    return count ? pl__sql_run(conn, PL__SQL_MAILS_TAKEN, NULL, "ii", (int64_t)stage, count) : PL_OK;
}

int pl__journal_check(pl__conn_t *conn, const pl_journal_t *journal, int *rc) {
    *rc = PL_OK;
    for (size_t i = 0; i < journal->tasks_len && *rc == PL_OK; i++) {
        pl_task_new_t *task = &journal->tasks[i];
        PL__TRY(pl__task_check(conn, task));
        for (size_t j = 0; j < i && task->name.ptr; j++)
            if (pl_str_eq(journal->tasks[j].name, task->name) && pl_str_eq(journal->tasks[j].queue, task->queue))
                task->rc = PL_EEXISTS;
        *rc = task->rc;
    }
    return PL_OK;
}

int pl__journal_write(pl__conn_t *conn, pl_id_t stage, pl_id_t root, unsigned flags, const pl_journal_t *journal) {
    int64_t bytes = 0;
    for (size_t i = 0; i < journal->entries_len; i++)
        PL__TRY(write_entry(conn, stage, &journal->entries[i], &bytes));
    if (journal->next)
        PL__TRY(pl__sql_run(conn, PL__SQL_FLOW_WRITTEN, NULL, "iii", (int64_t)stage, journal->next, bytes));
    PL__TRY(pl__run_spawn(conn, stage, root, flags, journal->children, journal->children_len));
    for (size_t i = 0; i < journal->starts_len; i++)
        PL__TRY(pl__stage_insert(conn, &journal->starts[i], journal->starts[i].id, 0, 0, 0));
    for (size_t i = 0; i < journal->tasks_len; i++)
        PL__TRY(pl__task_new(conn, &journal->tasks[i]));
    for (size_t i = 0; i < journal->fills_len; i++)
        PL__TRY(pl__stage_fill(conn, stage, &journal->fills[i]));
    return take_mails(conn, stage, journal->taken, journal->taken_len);
}

/* ---- the verbs --------------------------------------------------------------------------------------------- */

/* What a journal is written for. */
typedef struct {
    pl_id_t root;
    unsigned flags;
} run_t;

/* Whether it may be written: op->rc says. */
static int check(pl__conn_t *conn, pl_op_t *op, pl_id_t stage, int claim, const pl_journal_t *journal, run_t *run) {
    PL__TRY(pl__run_check(conn, stage, claim, &op->rc, &run->root, &run->flags));
    if (op->rc == PL_OK && !(run->flags & PL_STAGE_DURABLE))
        op->rc = PL_ESTATE;
    return op->rc == PL_OK ? pl__journal_check(conn, journal, &op->rc) : PL_OK;
}

int pl__verb_journal(pl__conn_t *conn, pl_op_t *op) {
    const pl_op_journal_t *write = &op->u.journal;
    run_t run;
    PL__TRY(check(conn, op, write->stage, write->claim, &write->journal, &run));
    if (op->rc != PL_OK)
        return PL_OK;
    if (write->journal.entries_len) /* it gets on: workers that die of it are counted anew */
        PL__TRY(pl__sql_run(conn, PL__SQL_TASK_PROGRESS, NULL, "i", (int64_t)write->stage));
    return pl__journal_write(conn, write->stage, run.root, run.flags, &write->journal);
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
    for (size_t i = 0; i < suspend->slots_len; i++) {
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
    PL__TRY(pl__journal_write(conn, suspend->stage, run.root, run.flags, &suspend->journal));
    PL__TRY(pl__deltas_flush(conn)); /* rows of children that are waited for */
    return wait_for(conn, suspend);
}
