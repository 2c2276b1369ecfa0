/*
 * pending.c - tasks that were pushed in this transaction and are not written yet: rows, one by one or many at a time.
 */
#include "store/sqlite/db.h"

enum { INLINE_MAX = 1024, ROW_COLUMNS = 12 };

/* ---- pushing ----------------------------------------------------------------------------------------------------- */

int pl__task_push(pl__conn_t *conn, const pl__pending_t *task) {
    enum { FIRST = 64 };
    pl__pending_t *room = pl__reserve(conn->pending, conn->pending_len, &conn->pending_size, FIRST, sizeof *room);
    if (!room)
        return PL_ENOMEM;
    conn->pending = room;
    conn->pending[conn->pending_len] = *task;
    if (conn->pending[conn->pending_len].eta == 0)
        conn->pending[conn->pending_len].eta = conn->due;
    conn->pending_len++;
    return PL_OK;
}

bool pl__has_detail(const pl_task_new_t *queued) {
    const pl_retry_t *retry = &queued->retry;
    bool has_retry = retry->limit >= 0 || retry->age_limit >= 0 || retry->min_backoff >= 0 || retry->max_backoff >= 0 ||
                     retry->doublings >= 0 || retry->losses >= 0;
    return has_retry || queued->deadline != 0 || queued->payload.len + queued->request.len > INLINE_MAX;
}

/* ---- rows, many at a time ---------------------------------------------------------------------------------------- */

bool pl__is_ordinary(const pl__pending_t *task) {
    return task->queued ? !pl__has_detail(task->queued) : task->stage == 0;
}

static int bind_row(pl__conn_t *conn, sqlite3_stmt *statement, int at, const pl__rows_t *rows, int row) {
    const pl__pending_t *task = &conn->pending[rows->tasks[row]];
    const pl_task_new_t *queued = task->queued;
    bool claimed = rows->states[row] == PL__TASK_CLAIMED;
    return pl__sql_bind(conn, statement, at, "iiiiiiiztbbb", (int64_t)task->id, (int64_t)task->kind,
                        (int64_t)rows->states[row], task->queue, (int64_t)task->priority, (int64_t)task->eta,
                        (int64_t)(claimed ? pl__claim_number(conn->now) : 0),
                        claimed ? (int64_t)conn->worker : INT64_C(0), task->name, task->payload,
                        queued ? queued->request : PL_STR_NONE, queued && queued->tag.len ? queued->tag : PL_STR_NONE);
}

/* Writes `count` rows from `first` with one statement that takes so many. */
static int write_rows(pl__conn_t *conn, pl__sql_t id, const pl__rows_t *rows, int first, int count) {
    sqlite3_stmt *statement;
    bool row;
    PL__TRY(pl__sql_query(conn, id, &statement, ""));
    for (int i = 0; i < count; i++)
        PL__TRY(bind_row(conn, statement, i * ROW_COLUMNS + 1, rows, first + i));
    return pl__sql_step(conn, statement, &row);
}

int pl__rows_add(pl__conn_t *conn, pl__rows_t *rows, size_t task, int state) {
    rows->tasks[rows->len] = task;
    rows->states[rows->len++] = state;
    if (rows->len < PL__BULK_ROWS)
        return PL_OK;
    rows->len = 0;
    return write_rows(conn, PL__SQL_TASK_ADD_ROWS, rows, 0, PL__BULK_ROWS);
}

int pl__rows_flush(pl__conn_t *conn, pl__rows_t *rows) {
    for (int i = 0; i < rows->len; i++)
        PL__TRY(write_rows(conn, PL__SQL_TASK_ADD_ROW, rows, i, 1));
    rows->len = 0;
    return PL_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

bool pl__task_waits(pl__conn_t *conn, pl_usec_t eta) {
    bool waits = eta > conn->due;
    if (waits && eta < conn->next_due && eta < PL_USEC_MAX)
        conn->next_due = eta;
    conn->maybe_ready = conn->maybe_ready || !waits;
    conn->notify = true;
    return waits;
}

static int insert_detail(pl__conn_t *conn, const pl_task_new_t *queued) {
    const pl_retry_t *retry = &queued->retry;
    return pl__sql_run(conn, PL__SQL_TASK_ADD_DETAIL, NULL, "ibbfmmmmmm", (int64_t)queued->id, queued->payload,
                       queued->request, queued->deadline, retry->limit, retry->age_limit, retry->min_backoff,
                       retry->max_backoff, retry->doublings, retry->losses);
}

/* What is out of the ordinary. Rows that are claimed stay narrow: the details are in a row of their own. */
int pl__task_insert(pl__conn_t *conn, const pl__pending_t *task, int state) {
    const pl_task_new_t *queued = task->queued;
    bool claimed = state == PL__TASK_CLAIMED;
    if (queued)
        PL__TRY(insert_detail(conn, queued));
    return pl__sql_run(conn, PL__SQL_TASK_ADD, NULL, "iiiiiiizztbib", (int64_t)task->id, (int64_t)task->kind,
                       (int64_t)state, task->queue, (int64_t)task->priority, (int64_t)task->eta,
                       (int64_t)(claimed ? pl__claim_number(conn->now) : 0),
                       claimed ? (int64_t)conn->worker : INT64_C(0), (int64_t)task->stage, task->name,
                       queued ? PL_STR_NONE : task->payload, (int64_t)(queued ? PL__TASK_DETAIL : 0),
                       queued && queued->tag.len ? queued->tag : PL_STR_NONE);
}

/* The state of a task that is not claimed at once, and what that means for those who wait. */
static int unclaimed_state(pl__conn_t *conn, const pl__pending_t *task) {
    if (task->kind == PL_TASK_PULL)
        return PL__TASK_PULL;
    return pl__task_waits(conn, task->eta) ? PL__TASK_DELAYED : PL__TASK_READY;
}

int pl__task_insert_unclaimed(pl__conn_t *conn, pl__rows_t *rows, size_t i) {
    const pl__pending_t *task = &conn->pending[i];
    int state = unclaimed_state(conn, task);
    return pl__is_ordinary(task) ? pl__rows_add(conn, rows, i, state) : pl__task_insert(conn, task, state);
}

int pl__task_flush(pl__conn_t *conn) {
    pl__rows_t rows = { .len = 0 };
    for (size_t i = 0; i < conn->pending_len; i++)
        PL__TRY(pl__task_insert_unclaimed(conn, &rows, i));
    PL__TRY(pl__rows_flush(conn, &rows));
    conn->pending_len = 0;
    return PL_OK;
}
