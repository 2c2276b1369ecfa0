/*
 * queues.c - queues with their figures, and workers.
 */
#include "store/sqlite/db.h"

/* ---- queues ------------------------------------------------------------------------------------------------ */

static int count_ready(pl__conn_t *conn, int64_t id, pl_seen_queue_t *queue) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_QUEUE_SEEN, &row, "iiii", id, (int64_t)conn->now,
                          (int64_t)(conn->now / PL_USEC_PER_SEC), (int64_t)PL_SEEN_COUNT_MAX));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    queue->counts[PL_SEEN_READY] = sqlite3_column_int64(row, 0);
    queue->oldest_ready = sqlite3_column_int64(row, 1);
    queue->counts[PL_SEEN_EXECUTING] = sqlite3_column_int64(row, 2);
    queue->counts[PL_SEEN_DEAD] = sqlite3_column_int64(row, 3);
    queue->executed_last_minute = sqlite3_column_int64(row, 4);
    queue->is_more =
        queue->counts[PL_SEEN_READY] >= PL_SEEN_COUNT_MAX || queue->counts[PL_SEEN_DEAD] >= PL_SEEN_COUNT_MAX;
    pl__sql_end(row);
    return PL_OK;
}

static int count_pulled(pl__conn_t *conn, int64_t id, pl_seen_queue_t *queue) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(
        pl__sql_query(conn, PL__SQL_QUEUE_SEEN_PULL, &row, "iii", id, (int64_t)conn->now, (int64_t)PL_SEEN_COUNT_MAX));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int64_t oldest = sqlite3_column_int64(row, 1); /* tasks of pipelines may be there as well */
    queue->counts[PL_SEEN_READY] += sqlite3_column_int64(row, 0);
    if (oldest && (!queue->oldest_ready || oldest < queue->oldest_ready))
        queue->oldest_ready = oldest;
    queue->counts[PL_SEEN_EXECUTING] += sqlite3_column_int64(row, 2);
    queue->counts[PL_SEEN_DELAYED] += sqlite3_column_int64(row, 3);
    queue->is_more = queue->is_more ||
                     queue->counts[PL_SEEN_READY] + queue->counts[PL_SEEN_EXECUTING] + queue->counts[PL_SEEN_DELAYED] >=
                         PL_SEEN_COUNT_MAX;
    pl__sql_end(row);
    return PL_OK;
}

typedef struct {
    int64_t queue, delayed, overdue, oldest;
} delayed_t;

static int read_delayed(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    (void)arena;
    *(delayed_t *)item = (delayed_t){ sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1),
                                      sqlite3_column_int64(row, 2), sqlite3_column_int64(row, 3) };
    return PL_OK;
}

/* They have no index by queue: those of all queues are counted in one go. */
static int list_delayed(pl__conn_t *conn, const delayed_t **list, size_t *len, bool *is_more) {
    sqlite3_stmt *row;
    int rc;
    int64_t total = 0;
    PL__TRY(
        pl__sql_query(conn, PL__SQL_QUEUES_SEEN_DELAYED, &row, "ii", (int64_t)conn->due, (int64_t)PL_SEEN_COUNT_MAX));
    *list = pl__sql_list(conn, row, &conn->scratch, read_delayed, sizeof **list, len, &rc);
    for (size_t i = 0; i < *len; i++)
        total += (*list)[i].delayed + (*list)[i].overdue;
    *is_more = total >= PL_SEEN_COUNT_MAX;
    return rc;
}

static void add_delayed(const delayed_t *list, size_t len, int64_t id, pl_seen_queue_t *queue) {
    for (size_t i = 0; i < len; i++) {
        if (list[i].queue != id)
            continue;
        queue->counts[PL_SEEN_DELAYED] += list[i].delayed;
        queue->counts[PL_SEEN_READY] += list[i].overdue;
        if (list[i].overdue > 0 && (!queue->oldest_ready || list[i].oldest < queue->oldest_ready))
            queue->oldest_ready = list[i].oldest;
    }
}

static int see_queue(pl__conn_t *conn, pl_op_t *op, const pl__queue_t *known, pl_seen_queue_t *queue) {
    *queue = (pl_seen_queue_t){ .is = { .pull = known->pull,
                                        .paused = known->paused,
                                        .rate = known->rate,
                                        .bucket_size = known->bucket_size,
                                        .max_concurrent = known->max_concurrent,
                                        .retry = known->retry },
                                .tokens = -1 };
    PL__TRY(pl__arena_copy(&op->arena, (pl_str_t){ known->name, known->len }, &queue->is.name));
    PL__TRY(pl__arena_copy(&op->arena, pl_str(known->target), &queue->is.target));
    PL__TRY(count_ready(conn, known->id, queue));
    if (known->rate >= 0)
        PL__TRY(pl__limits_tokens(conn, known, &queue->tokens));
    return known->pull ? count_pulled(conn, known->id, queue) : PL_OK;
}

int pl__verb_queues_seen(pl__conn_t *conn, pl_op_t *op) {
    pl_op_queues_seen_t *get = &op->u.queues_seen;
    const delayed_t *delayed;
    size_t delayed_len;
    bool is_more;
    get->len = 0;
    PL__TRY(pl__task_flush(conn));
    if (conn->role != PL__ROLE_WRITER)
        PL__TRY(pl__queues_load(conn));
    pl_seen_queue_t *list = pl__arena_get(&op->arena, (conn->queues_len + 1) * sizeof *list);
    if (!list)
        return PL_ENOMEM;
    get->queues = list;
    PL__TRY(list_delayed(conn, &delayed, &delayed_len, &is_more));
    for (size_t i = 0; i < conn->queues_len; i++) {
        const pl__queue_t *known = &conn->queues[i];
        if (known->removed || (get->name.ptr && !pl_str_eq(get->name, (pl_str_t){ known->name, known->len })))
            continue;
        PL__TRY(see_queue(conn, op, known, &list[get->len]));
        add_delayed(delayed, delayed_len, known->id, &list[get->len]);
        list[get->len].is_more = list[get->len].is_more || is_more;
        get->len++;
    }
    return PL_OK;
}

/* ---- workers ----------------------------------------------------------------------------------------------- */

static int read_worker(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    pl_worker_t *worker = item;
    *worker = (pl_worker_t){ .id = sqlite3_column_int64(row, 0),
                             .number = sqlite3_column_int(row, 1),
                             .pid = sqlite3_column_int64(row, 3),
                             .started = sqlite3_column_int64(row, 4),
                             .lease_until = sqlite3_column_int64(row, 5),
                             .claims = sqlite3_column_int64(row, 8) };
    worker->is_gone = pl__worker_is_gone(conn, worker->number);
    PL__TRY(pl__sql_str(row, 2, arena, &worker->host));
    PL__TRY(pl__sql_str(row, 6, arena, &worker->serves));
    return pl__sql_str(row, 7, arena, &worker->version);
}

int pl__workers_list(pl__conn_t *conn, pl__arena_t *arena, const pl_worker_t **list, size_t *len) {
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_WORKERS_SEEN, &row, ""));
    *list = pl__sql_list(conn, row, arena, read_worker, sizeof **list, len, &rc);
    return rc;
}

int pl__verb_workers_get(pl__conn_t *conn, pl_op_t *op) {
    PL__TRY(pl__task_flush(conn));
    return pl__workers_list(conn, &op->arena, &op->u.workers_get.workers, &op->u.workers_get.len);
}
