/*
 * task.c - what a task goes through, and how a claim ends: done, failed, given back.
 *
 * A task is ready, delayed or claimed (pl_task.state):
 *
 *   (pushed) ──eta now──► READY ──claim──► CLAIMED ──end──► gone
 *       └────eta later──► DELAYED ──due──► READY    └──delay / release / rescue──► DELAYED or READY
 *
 * Tasks are pushed in pending.c and claimed in claim.c. Those of pull queues are none of that: they wait for leases
 * (lease.c). A task without retries is dead (dead.c).
 */
#include "store/sqlite/db.h"

/* ---- ending and giving back -------------------------------------------------------------------------------- */

int pl__task_fence(pl__conn_t *conn, pl_id_t task, int claim, bool *ours, pl_task_kind_t *kind, bool *lost) {
    sqlite3_stmt *row;
    bool found;
    *ours = false;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_OWNER, &row, "i", (int64_t)task));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    pl_id_t owner = sqlite3_column_int64(row, 0);
    *ours = owner != 0 && owner == conn->worker && sqlite3_column_int(row, 1) == claim;
    *kind = (pl_task_kind_t)sqlite3_column_int(row, 2);
    if (lost)
        *lost = sqlite3_column_int(row, 3) != 0;
    conn->freed = conn->freed || *ours;
    pl__sql_end(row);
    return PL_OK;
}

int pl__task_delay(pl__conn_t *conn, pl_id_t task, pl_task_kind_t kind, pl_usec_t eta, int tries) {
    bool waits = pl__task_waits(conn, eta);
    return pl__sql_run(conn, PL__SQL_TASK_DELAY, NULL, "iiiii", (int64_t)task, (int64_t)kind,
                       (int64_t)(waits ? PL__TASK_DELAYED : PL__TASK_READY), (int64_t)(waits ? eta : conn->due),
                       (int64_t)tries);
}

typedef struct {
    int64_t queue;
    int tries;
    pl_usec_t first_try;
    pl_retry_t retry;
} retry_info_t;

static int read_limits(pl__conn_t *conn, pl_id_t task, pl_retry_t *retry) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_LIMITS, &row, "i", (int64_t)task));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    *retry = pl__retry_read(row, 0);
    pl__sql_end(row);
    return PL_OK;
}

static int read_retry_info(pl__conn_t *conn, pl_id_t task, retry_info_t *info) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_RETRY_INFO, &row, "i", (int64_t)task));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_ENOTFOUND; /* its fence has just been read */
    *info = (retry_info_t){ .queue = sqlite3_column_int64(row, 0),
                            .tries = sqlite3_column_int(row, 1),
                            .first_try = sqlite3_column_int64(row, 2),
                            .retry = PL_RETRY_NONE };
    bool has_detail = sqlite3_column_int(row, 3) & PL__TASK_DETAIL;
    pl__sql_end(row);
    return has_detail ? read_limits(conn, task, &info->retry) : PL_OK;
}

/* A failed task runs again when its parameters say so, or dies. */
static int fail_by_parameters(pl__conn_t *conn, pl_op_task_done_t *done, pl_task_kind_t kind, pl_attempt_t *attempt) {
    retry_info_t info;
    PL__TRY(read_retry_info(conn, done->task, &info));
    const pl__queue_t *queue = pl__queue_by_id(conn, info.queue);
    pl_retry_t retry = pl_retry_merge(info.retry, queue ? queue->retry : PL_RETRY_NONE);
    pl_usec_t started = pl_clock_add(conn->now, -done->took);
    pl_usec_t first = info.first_try ? info.first_try : started;
    bool may_die = kind >= PL_TASK_PUSH;
    attempt->number = info.tries + 1;
    attempt->queue = queue ? (pl_str_t){ queue->name, queue->len } : PL_STR_NONE;
    if (may_die && (done->give_up || !pl_retry_may(&retry, info.tries + 1, conn->now - first))) {
        done->died = attempt->is_last = true;
        return pl__task_die(conn, done->task, &done->failure, done->status, 1);
    }
    pl_usec_t eta = attempt->again = done->again = pl_clock_add(conn->now, pl_retry_delay(&retry, info.tries + 1));
    return pl__sql_run(conn, PL__SQL_TASK_FAIL, NULL, "iiizi", (int64_t)done->task,
                       (int64_t)(pl__task_waits(conn, eta) ? PL__TASK_DELAYED : PL__TASK_READY), (int64_t)eta,
                       (int64_t)done->status, (int64_t)first);
}

int pl__task_lose(pl__conn_t *conn, pl_id_t task, pl_task_kind_t kind, const pl_failure_t *failure,
                  pl_attempt_t *attempt) {
    return fail_by_parameters(conn, &(pl_op_task_done_t){ .task = task, .failed = true, .failure = *failure }, kind,
                              attempt);
}

/* The commonest end: the deletion is the fence. */
static int finish_plain(pl__conn_t *conn, pl_op_t *op) {
    const pl_op_task_done_t *done = &op->u.task_done;
    int deleted;
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_FINISH, &deleted, "iii", (int64_t)done->task, (int64_t)conn->worker,
                        (int64_t)done->claim));
    if (!deleted)
        op->rc = PL_ESTALE;
    else if (done->has_detail)
        PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DELETE_DETAIL, NULL, "i", (int64_t)done->task));
    conn->freed = true;
    return deleted ? pl__note_over(conn, done->task, PL_FIRE_DONE) : PL_OK;
}

int pl__verb_task_done(pl__conn_t *conn, pl_op_t *op) {
    pl_op_task_done_t *done = &op->u.task_done;
    pl_task_kind_t kind;
    bool ours;
    done->died = false;
    done->again = 0;
    if (!done->failed && done->is_plain)
        return finish_plain(conn, op);
    PL__TRY(pl__task_fence(conn, done->task, done->claim, &ours, &kind, NULL));
    if (!ours) {
        op->rc = PL_ESTALE;
        return PL_OK;
    }
    if (!done->failed) {
        PL__TRY(pl__note_over(conn, done->task, PL_FIRE_DONE));
        return pl__task_end(conn, done->task);
    }
    if (done->retry_at == 0 || done->give_up)
        return fail_by_parameters(conn, done, kind, &(pl_attempt_t){ 0 });
    done->again = done->retry_at;
    return pl__task_delay(conn, done->task, kind, done->retry_at, 1);
}

int pl__verb_release(pl__conn_t *conn, pl_op_t *op) {
    pl_op_release_t *release = &op->u.release;
    pl_usec_t eta = pl_clock_add(conn->now, release->delay);
    bool waits = release->delay > 0 && pl__task_waits(conn, eta);
    for (size_t i = 0; i < release->len; i++)
        PL__TRY(pl__sql_run(conn, waits ? PL__SQL_TASK_RELEASE_LATER : PL__SQL_TASK_RELEASE, NULL,
                            waits ? "iiii" : "iii", (int64_t)release->tasks[i], (int64_t)conn->worker,
                            (int64_t)release->claims[i], (int64_t)eta));
    conn->maybe_ready = conn->maybe_ready || !waits;
    conn->notify = conn->freed = true;
    return PL_OK;
}
