/*
 * lease.c - pull queues: leases; and what is done to queued tasks by id or name.
 *
 * A task of a pull queue has state 3 and an eta. While it is delayed or leased the eta is in the future; a lease only
 * moves it. So a lease that runs out needs nobody to notice. The fence is the exact end of the lease as its holder was
 * told (pl_task.claim): whoever leases the task again changes it. The eta may have moved with the wall clock meanwhile
 * (clock.c).
 */
#include <stdlib.h>

#include "store/sqlite/db.h"

/* ---- lease ------------------------------------------------------------------------------------------------- */

/* What one call works with. */
typedef struct {
    pl__queue_t *queue;
    int64_t id;
    pl_retry_t retry; /* of the queue */
    pl_usec_t until;
    bool by_tag;
    pl_str_t tag; /* absent: untagged */
    pl__buf_t list;
} lease_t;

/* Etas before this have passed. On a real clock the moment that is looked at has passed, too; a virtual one stands. */
static int64_t passed(const pl__conn_t *conn) {
    return conn->options.clock->is_virtual ? conn->due : conn->due + 1;
}

static int read_first_tag(pl__conn_t *conn, lease_t *lease, bool *found) {
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_FIRST_TAG, &row, "ii", lease->id, passed(conn)));
    PL__TRY(pl__sql_step(conn, row, found));
    if (!*found)
        return PL_OK;
    int rc = pl__sql_str(row, 0, &conn->scratch, &lease->tag);
    pl__sql_end(row);
    lease->by_tag = true;
    return rc;
}

typedef struct {
    pl_task_t task;
    bool has_detail;
} leased_t;

static int read_leasable(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    leased_t *leased = item;
    return pl__task_read_row(conn, row, arena, &leased->task, &leased->has_detail);
}

/* A lease is a try: the first is always allowed, n in all with a limit of n (Q98). */
static bool may_be_leased(const pl__conn_t *conn, const lease_t *lease, const pl_task_t *task) {
    pl_retry_t retry = pl_retry_merge(task->retry, lease->retry);
    return task->tries == 0 || pl_retry_may(&retry, task->tries + 1, conn->now - task->first_try);
}

static int lease_or_dead_letter(pl__conn_t *conn, lease_t *lease, leased_t *leased, pl__arena_t *arena) {
    static const pl_failure_t used_up = { .error_class = { "TaskLeaseExpiredError", 21 },
                                          .message = { "leased as often as its retry limits allow", 41 } };
    pl_task_t *task = &leased->task;
    if (leased->has_detail)
        PL__TRY(pl__task_read_detail(conn, arena, task));
    if (!may_be_leased(conn, lease, task))
        return pl__task_die(conn, task->id, &used_up, 0, 0);
    task->eta = lease->until;
    task->first_try = task->first_try ? task->first_try : conn->now;
    task->tries++;
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_LEASE, NULL, "iii", (int64_t)task->id, (int64_t)task->eta,
                        (int64_t)task->first_try));
    pl__buf_add(&lease->list, task, sizeof *task);
    return lease->list.rc;
}

/* Leases up to `limit` rows; *seen is how many there were. */
static int lease_some(pl__conn_t *conn, lease_t *lease, int limit, pl__arena_t *arena, size_t *seen) {
    sqlite3_stmt *row;
    int rc;
    pl__sql_t sql = lease->by_tag ? PL__SQL_TASK_LEASABLE_TAG : PL__SQL_TASK_LEASABLE;
    PL__TRY(pl__sql_query(conn, sql, &row, lease->by_tag ? "iiib" : "iii", lease->id, passed(conn), (int64_t)limit,
                          lease->tag));
    leased_t *list = pl__sql_list(conn, row, arena, read_leasable, sizeof *list, seen, &rc);
    for (size_t i = 0; i < *seen && rc == PL_OK; i++)
        rc = lease_or_dead_letter(conn, lease, &list[i], arena);
    return rc;
}

static int lease_all(pl__conn_t *conn, lease_t *lease, int max, pl__arena_t *arena) {
    size_t seen = 1;
    for (int kept = 0; kept < max && seen > 0;) {
        PL__TRY(lease_some(conn, lease, max - kept, arena, &seen));
        kept = (int)(lease->list.len / sizeof(pl_task_t));
    }
    return PL_OK;
}

/* The queue, if it exists and is a pull queue; else NULL and the reason in op->rc. */
static int find_pull_queue(pl__conn_t *conn, pl_op_t *op, pl_str_t name, pl__queue_t **queue) {
    PL__TRY(pl__queue_find(conn, name, queue));
    if (!*queue)
        op->rc = PL_ENOQUEUE;
    else if (!(*queue)->pull)
        op->rc = PL_EMODE;
    if (op->rc != PL_OK)
        *queue = NULL;
    return PL_OK;
}

int pl__verb_lease(pl__conn_t *conn, pl_op_t *op) {
    pl_op_lease_t *args = &op->u.lease;
    pl__queue_t *queue;
    bool any = true;
    pl_str_t copy = PL_STR_NONE;
    args->len = 0;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(find_pull_queue(conn, op, args->queue, &queue));
    if (!queue || queue->paused)
        return PL_OK;
    lease_t lease = { .id = queue->id,
                      .retry = queue->retry,
                      .by_tag = args->by_tag,
                      .tag = args->tag.len ? args->tag : PL_STR_NONE,
                      .until = pl_clock_add(conn->now, pl_clock_from_seconds(args->seconds)) };
    if (args->group && !args->by_tag)
        PL__TRY(read_first_tag(conn, &lease, &any));
    int rc = any ? lease_all(conn, &lease, args->max, &op->arena) : PL_OK;
    if (rc == PL_OK)
        rc = pl__arena_copy(&op->arena, (pl_str_t){ lease.list.ptr, lease.list.len }, &copy);
    args->tasks = (const pl_task_t *)(const void *)copy.ptr;
    args->len = copy.len / sizeof *args->tasks;
    pl__buf_free(&lease.list);
    return rc;
}

/* ---- by id or name ----------------------------------------------------------------------------------------- */

typedef struct {
    pl_usec_t eta, lease; /* lease: its end, as the holder knows it */
} ends_t;

/* Finds the id of a queued task; ref->rc tells whether it lives. An id was a task's, once. */
static int find_task(pl__conn_t *conn, pl_task_ref_t *ref, int64_t queue, pl_id_t *id, ends_t *ends) {
    sqlite3_stmt *row;
    bool found;
    *id = ref->id;
    ref->rc = ref->id ? PL_ETOMBSTONE : PL_ENOTFOUND;
    if (!ref->id) {
        PL__TRY(pl__sql_query(conn, PL__SQL_NAME_TASK, &row, "it", queue, ref->name));
        PL__TRY(pl__sql_step(conn, row, &found));
        if (!found)
            return PL_OK;
        *id = sqlite3_column_int64(row, 0);
        if (sqlite3_column_int64(row, 1) == 0 || sqlite3_column_int64(row, 1) > conn->now)
            ref->rc = PL_ETOMBSTONE;
        pl__sql_end(row);
    }
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_LEASED, &row, "ii", (int64_t)*id, queue));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    if (sqlite3_column_int(row, 1) != PL__TASK_DEAD)
        ref->rc = PL_OK;
    *ends = (ends_t){ .eta = sqlite3_column_int64(row, 0), .lease = sqlite3_column_int64(row, 2) };
    pl__sql_end(row);
    return PL_OK;
}

int pl__verb_lease_modify(pl__conn_t *conn, pl_op_t *op) {
    pl_op_lease_modify_t *modify = &op->u.lease_modify;
    pl__queue_t *queue;
    pl_id_t id;
    ends_t ends = { 0 };
    PL__TRY(pl__task_flush(conn));
    PL__TRY(find_pull_queue(conn, op, modify->queue, &queue));
    if (!queue)
        return PL_OK;
    if (queue->paused) {
        op->rc = PL_EPAUSED;
        return PL_OK;
    }
    PL__TRY(find_task(conn, &modify->task, queue->id, &id, &ends));
    op->rc = modify->task.rc;
    if (op->rc == PL_OK && (ends.lease != modify->eta || ends.eta <= conn->now))
        op->rc = PL_ELEASE;
    if (op->rc != PL_OK)
        return PL_OK;
    modify->until = pl_clock_add(modify->seconds > 0 ? conn->now : conn->due, pl_clock_from_seconds(modify->seconds));
    return pl__sql_run(conn, PL__SQL_TASK_SET_ETA, NULL, "ii", (int64_t)id, (int64_t)modify->until);
}

int pl__verb_task_delete(pl__conn_t *conn, pl_op_t *op) {
    pl_op_task_delete_t *delete = &op->u.task_delete;
    pl__queue_t *queue;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__queue_find(conn, delete->queue, &queue));
    if (!queue) {
        op->rc = PL_ENOQUEUE;
        return PL_OK;
    }
    for (size_t i = 0; i < delete->len; i++) {
        pl_id_t id;
        ends_t ends;
        PL__TRY(find_task(conn, &delete->tasks[i], queue->id, &id, &ends));
        if (delete->tasks[i].rc != PL_OK)
            continue;
        PL__TRY(pl__task_end(conn, id));
        pl__limits_note(conn, queue, queue->pull); /* a pulled task is done when it is deleted */
    }
    conn->freed = true;
    return PL_OK;
}
