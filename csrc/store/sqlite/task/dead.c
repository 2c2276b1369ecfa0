/*
 * dead.c - the dead-letter list: tasks that have no retries left, kept with their last error until somebody revives or
 * purges them. A dead task keeps its row (state 4); its name is a tombstone like that of a task that was done.
 */
#include "store/sqlite/db.h"

/* ---- dying ------------------------------------------------------------------------------------------------- */

int pl__task_die(pl__conn_t *conn, pl_id_t task, const pl_failure_t *failure, int status, int tries) {
    sqlite3_stmt *row;
    bool found;
    pl_str_t name;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_DIE, &row, "iiz", (int64_t)task, (int64_t)tries, (int64_t)status));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int64_t queue = sqlite3_column_int64(row, 0);
    int rc = pl__sql_str(row, 1, &conn->scratch, &name);
    pl__sql_end(row);
    PL__TRY(rc);
    PL__TRY(pl__sql_run(conn, PL__SQL_DEAD_ADD, NULL, "iittt", (int64_t)task, (int64_t)conn->now, failure->error_class,
                        failure->message, failure->traceback));
    if (name.ptr)
        PL__TRY(pl__tombstone_put(conn, queue, name));
    return pl__note_over(conn, task, PL_FIRE_FAILED);
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

static int read_dead(pl__conn_t *conn, pl__arena_t *arena, pl_task_t *task, bool has_detail) {
    sqlite3_stmt *row;
    bool found;
    if (has_detail)
        PL__TRY(pl__task_read_detail(conn, arena, task));
    PL__TRY(pl__sql_query(conn, PL__SQL_DEAD_GET, &row, "i", (int64_t)task->id));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    task->died = sqlite3_column_int64(row, 0);
    int rc = pl__sql_str(row, 1, arena, &task->error_class);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 2, arena, &task->message);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 3, arena, &task->traceback);
    pl__sql_end(row);
    return rc;
}

static int read_task(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    bool has_detail;
    PL__TRY(pl__task_read_row(conn, row, arena, item, &has_detail));
    return read_dead(conn, arena, item, has_detail);
}

int pl__verb_dead_list(pl__conn_t *conn, pl_op_t *op) {
    pl_op_dead_list_t *get = &op->u.dead_list;
    pl__queue_t *queue = NULL;
    sqlite3_stmt *row;
    int rc;
    int64_t before = get->before ? get->before : INT64_MAX, limit = get->limit > 0 ? get->limit : 50;
    get->len = 0;
    get->next = 0;
    if (get->queue.ptr)
        PL__TRY(pl__queue_find(conn, get->queue, &queue));
    if (get->queue.ptr && !queue) {
        op->rc = PL_ENOQUEUE;
        return PL_OK;
    }
    if (queue)
        PL__TRY(pl__sql_query(conn, PL__SQL_DEAD_LIST_OF_QUEUE, &row, "iii", before, limit + 1, queue->id));
    else
        PL__TRY(pl__sql_query(conn, PL__SQL_DEAD_LIST, &row, "ii", before, limit + 1));
    get->tasks = pl__sql_list(conn, row, &op->arena, read_task, sizeof *get->tasks, &get->len, &rc);
    if (get->len > (size_t)limit) {
        get->len = (size_t)limit;
        get->next = get->tasks[get->len - 1].id;
    }
    return rc;
}

/* ---- reviving and purging ---------------------------------------------------------------------------------- */

typedef struct {
    int64_t queue;
    pl_str_t name;
    pl_task_kind_t kind;
    bool found;
} dead_t;

/* `queue` 0: of any. */
static int find_dead(pl__conn_t *conn, pl_id_t task, int64_t queue, dead_t *dead) {
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, PL__SQL_DEAD_TASK, &row, "i", (int64_t)task));
    PL__TRY(pl__sql_step(conn, row, &dead->found));
    if (!dead->found)
        return PL_OK;
    dead->queue = sqlite3_column_int64(row, 0);
    dead->kind = (pl_task_kind_t)sqlite3_column_int(row, 2);
    int rc = pl__sql_str(row, 1, &conn->scratch, &dead->name);
    pl__sql_end(row);
    dead->found = queue == 0 || dead->queue == queue;
    return rc;
}

/* The name must be its own tombstone, or free. */
static int name_is_free(pl__conn_t *conn, pl_id_t task, const dead_t *dead, bool *is_free) {
    sqlite3_stmt *row;
    bool found;
    *is_free = true;
    if (!dead->name.ptr)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_NAME_TASK, &row, "it", dead->queue, dead->name));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    bool live = sqlite3_column_int64(row, 1) == 0, own = sqlite3_column_int64(row, 0) == task;
    *is_free = !live && (own || sqlite3_column_int64(row, 1) <= conn->now);
    pl__sql_end(row);
    return PL_OK;
}

static int revive(pl__conn_t *conn, pl_task_ref_t *ref, int64_t queue) {
    dead_t dead = { 0 };
    bool is_free;
    PL__TRY(find_dead(conn, ref->id, queue, &dead));
    ref->rc = dead.found ? PL_OK : PL_ENOTFOUND;
    if (!dead.found)
        return PL_OK;
    PL__TRY(name_is_free(conn, ref->id, &dead, &is_free));
    if (!is_free) {
        ref->rc = PL_EEXISTS;
        return PL_OK;
    }
    int64_t state = dead.kind == PL_TASK_PULL ? PL__TASK_PULL : PL__TASK_READY;
    PL__TRY(pl__sql_run(conn, PL__SQL_DEAD_DELETE, NULL, "i", (int64_t)ref->id));
    PL__TRY(pl__sql_run(conn, PL__SQL_DEAD_REVIVE, NULL, "iii", (int64_t)ref->id, state, (int64_t)conn->now));
    if (dead.name.ptr)
        PL__TRY(pl__sql_run(conn, PL__SQL_NAME_ADD, NULL, "iti", dead.queue, dead.name, (int64_t)ref->id));
    conn->maybe_ready = conn->notify = true;
    return PL_OK;
}

/* 0 in *id: all queues, when no name is given. PL_ENOQUEUE goes to op->rc. */
static int find_queue(pl__conn_t *conn, pl_op_t *op, pl_str_t name, int64_t *id) {
    pl__queue_t *queue;
    *id = 0;
    if (!name.ptr)
        return PL_OK;
    PL__TRY(pl__queue_find(conn, name, &queue));
    if (queue)
        *id = queue->id;
    else
        op->rc = PL_ENOQUEUE;
    return PL_OK;
}

static int revive_all(pl__conn_t *conn, int64_t queue, pl_steps_t *steps, bool *more) {
    const pl_id_t *ids;
    size_t len;
    (void)pl__portion_over(conn); /* its time begins */
    do {
        PL__TRY(pl__dead_ids(conn, queue, steps->at, &ids, &len));
        for (size_t i = 0; i < len && (i == 0 || !pl__portion_over(conn)); i++) {
            pl_task_ref_t ref = { .id = ids[i] };
            PL__TRY(revive(conn, &ref, queue));
            steps->at = ids[i];
            steps->count += ref.rc == PL_OK;
        }
        *more = len > 0;
    } while (*more && !pl__portion_over(conn));
    return PL_OK;
}

int pl__verb_dead_revive(pl__conn_t *conn, pl_op_t *op) {
    pl_op_dead_revive_t *args = &op->u.dead_revive;
    pl_steps_t *steps = pl__op_steps(op, &args->progress);
    int64_t queue;
    args->revived = 0;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(find_queue(conn, op, args->queue, &queue));
    if (op->rc != PL_OK)
        return PL_OK;
    if (args->all)
        PL__TRY(revive_all(conn, queue, steps, &op->more));
    args->revived = steps->count;
    for (size_t i = 0; !args->all && i < args->len; i++) {
        PL__TRY(revive(conn, &args->tasks[i], queue));
        args->revived += args->tasks[i].rc == PL_OK;
    }
    return PL_OK;
}

static int forget(pl__conn_t *conn, pl_id_t task, int64_t queue, int64_t *deleted) {
    dead_t dead = { 0 };
    PL__TRY(find_dead(conn, task, queue, &dead));
    if (!dead.found)
        return PL_OK;
    ++*deleted;
    return pl__dead_forget(conn, task);
}

int pl__verb_dead_purge(pl__conn_t *conn, pl_op_t *op) {
    pl_op_dead_purge_t *args = &op->u.dead_purge;
    pl_steps_t *steps = pl__op_steps(op, &args->progress);
    int64_t queue;
    args->deleted = 0;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(find_queue(conn, op, args->queue, &queue));
    if (op->rc != PL_OK)
        return PL_OK;
    if (args->all)
        PL__TRY(pl__dead_purge(conn, queue, steps, &op->more));
    args->deleted = steps->count;
    for (size_t i = 0; !args->all && i < args->len; i++)
        PL__TRY(forget(conn, args->tasks[i].id, queue, &args->deleted));
    return PL_OK;
}
