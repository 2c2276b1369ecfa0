/*
 * losses.c - tasks whose worker died while it held their claim.
 *
 * A worker may die of anything, and one loss says nothing about the tasks it held: they go back unspent. But a task
 * that kills its process each time would do so for ever. So losses are counted, since the last outcome of the task,
 * and the last one that is allowed (max_losses of the task or class, else of its queue, else 5) is a failed attempt
 * with a WorkerLostError.
 *
 * Others that were claimed together with such a task are lost with it. So that they do not fail with it, a task that
 * has one loss left is executed alone: of all such tasks of a queue one at a time is ready or claimed, the others are
 * delayed without end (state 1, eta PL_USEC_MAX) until it is done. Whoever is innocent then shows it.
 *
 * Of a queue that was claimed ahead (queue/permits.c) most had not been started. Their first loss is none: they have 0
 * losses now, not NULL, and no such queue is claimed ahead before all of those have had an outcome. So a task that
 * kills its worker is found with few others beside it. Where the first loss would be the last it counts, for the task
 * might be executed twice.
 */
#include <stdio.h>

#include "store/sqlite/db.h"

typedef struct {
    pl_id_t id;
    pl_task_kind_t kind;
    int64_t queue;
    int losses;
    bool is_ahead;                    /* perhaps it was not started */
    double max_of_task, max_of_stage; /* below 0: not set */
} lost_t;

static double number_or(sqlite3_stmt *row, int column, double otherwise) {
    return sqlite3_column_type(row, column) == SQLITE_NULL ? otherwise : sqlite3_column_double(row, column);
}

static int read_lost(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    (void)arena;
    *(lost_t *)item = (lost_t){ .id = sqlite3_column_int64(row, 0),
                                .kind = (pl_task_kind_t)sqlite3_column_int(row, 1),
                                .queue = sqlite3_column_int64(row, 2),
                                .losses = sqlite3_column_int(row, 3) + 1,
                                .max_of_task = number_or(row, 4, -1),
                                .max_of_stage = number_or(row, 5, -1),
                                .is_ahead = sqlite3_column_int(row, 6) != 0 };
    return PL_OK;
}

static double max_losses(pl__conn_t *conn, const lost_t *lost) {
    pl_retry_t own = PL_RETRY_NONE;
    const pl__queue_t *queue = pl__queue_by_id(conn, lost->queue);
    own.losses = lost->max_of_stage >= 0 ? lost->max_of_stage : lost->max_of_task;
    return pl_retry_merge(own, queue ? queue->retry : PL_RETRY_NONE).losses;
}

static int keep(pl_op_t *op, const pl_attempt_t *attempt) {
    pl_attempt_t *kept = pl__arena_get(&op->arena, sizeof *kept);
    if (!kept)
        return PL_ENOMEM;
    *kept = *attempt;
    PL__TRY(pl__arena_copy(&op->arena, attempt->class_path, &kept->class_path));
    PL__TRY(pl__arena_copy(&op->arena, attempt->queue, &kept->queue));
    PL__TRY(pl__arena_copy(&op->arena, attempt->problem, &kept->problem));
    kept->next = op->u.rescue.lost;
    op->u.rescue.lost = kept;
    return PL_OK;
}

static int fail(pl__conn_t *conn, pl_op_t *op, const lost_t *lost, pl_str_t worker) {
    enum { TEXT_MAX = 120 };
    char *text = pl__arena_get(&conn->scratch, TEXT_MAX);
    if (!text)
        return PL_ENOMEM;
    if (lost->losses == 1)
        snprintf(text, TEXT_MAX, "the worker that executed it died");
    else
        snprintf(text, TEXT_MAX, "the workers that executed it died %d times in a row", lost->losses);
    pl_failure_t failure = { .worker = worker, .error_class = PL_STR_LIT("WorkerLostError"), .message = pl_str(text) };
    pl_attempt_t attempt = { .task = lost->id, .kind = lost->kind, .problem = failure.message };
    if (lost->kind < PL_TASK_CALLBACK)
        PL__TRY(pl__stage_lose(conn, lost->id, lost->kind, &failure, &attempt));
    else
        PL__TRY(pl__task_lose(conn, lost->id, lost->kind, &failure, &attempt));
    return attempt.number > 0 ? keep(op, &attempt) : PL_OK;
}

static int lose(pl__conn_t *conn, pl_op_t *op, const lost_t *lost, pl_str_t worker) {
    double max = max_losses(conn, lost);
    if (lost->is_ahead && max > 1)
        return PL_OK;
    if (lost->losses >= max)
        return fail(conn, op, lost, worker);
    if (lost->losses + 1 < max)
        return PL_OK; /* with all the others */
    conn->maybe_alone = true;
    return pl__sql_run(conn, PL__SQL_TASK_SET_ALONE, NULL, "iii", (int64_t)lost->id, (int64_t)lost->losses,
                       (int64_t)PL_USEC_MAX);
}

int pl__tasks_lose(pl__conn_t *conn, pl_op_t *op, pl_id_t owner, pl_str_t worker, int *count) {
    sqlite3_stmt *row;
    size_t len;
    int rc, others;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASKS_LOST, &row, "i", (int64_t)owner));
    const lost_t *list = pl__sql_list(conn, row, &conn->scratch, read_lost, sizeof *list, &len, &rc);
    for (size_t i = 0; i < len && rc == PL_OK; i++)
        rc = lose(conn, op, &list[i], worker);
    PL__TRY(rc);
    *count = (int)len;
    return pl__sql_run(conn, PL__SQL_TASK_RESCUE, &others, "i", (int64_t)owner);
}

int pl__tasks_promote_alone(pl__conn_t *conn) {
    int promoted;
    int64_t any;
    if (!conn->maybe_alone)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_TASK_ANY_ALONE, &any, 0, ""));
    conn->maybe_alone = any != 0;
    if (!any)
        return PL_OK;
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_PROMOTE_ALONE, &promoted, "i", (int64_t)conn->due));
    if (promoted > 0)
        conn->maybe_ready = conn->notify = true;
    return PL_OK;
}
