/*
 * purge.c - queues are emptied: the verbs purge and dead_purge, in portions.
 *
 * What is to go is what was there when the verb began: tasks with ids up to the greatest one then. They are looked
 * through by id, for no index has all tasks of a queue.
 */
#include "store/sqlite/db.h"

enum { CHUNK = 128 }; /* rows at a time */
enum { BEGINNING = 0, TASKS = 1, NAMES = 2 };

/* ---- tasks ------------------------------------------------------------------------------------------------- */

typedef struct {
    pl_id_t id;
    int64_t queue;
    int kind, state;
    bool has_detail;
    pl_str_t name;
} item_t;

static int read_task(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    item_t *task = item;
    (void)conn;
    *task = (item_t){ .id = sqlite3_column_int64(row, 0),
                      .queue = sqlite3_column_int64(row, 1),
                      .kind = sqlite3_column_int(row, 2),
                      .state = sqlite3_column_int(row, 3),
                      .has_detail = sqlite3_column_int(row, 4) & PL__TASK_DETAIL };
    return pl__sql_str(row, 5, arena, &task->name);
}

static int delete_task(pl__conn_t *conn, const item_t *task, bool forget_names) {
    pl_usec_t until = pl_clock_add(conn->now, pl_clock_from_seconds(conn->options.tombstone_seconds));
    if (task->name.ptr && forget_names)
        PL__TRY(pl__sql_run(conn, PL__SQL_NAME_FORGET, NULL, "it", task->queue, task->name));
    else if (task->name.ptr)
        PL__TRY(pl__sql_run(conn, PL__SQL_TOMBSTONE_PUT, NULL, "iti", task->queue, task->name, (int64_t)until));
    if (task->has_detail)
        PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DELETE_DETAIL, NULL, "i", (int64_t)task->id));
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DROP, NULL, "i", (int64_t)task->id));
    return pl__note_over(conn, task->id, PL_FIRE_CANCELLED);
}

static int delete_chunk(pl__conn_t *conn, int64_t queue, bool forget_names, pl_steps_t *steps, bool *more) {
    sqlite3_stmt *row;
    size_t len, i;
    int rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASKS_AFTER, &row, "iii", steps->at, steps->bound, (int64_t)CHUNK));
    const item_t *tasks = pl__sql_list(conn, row, &conn->scratch, read_task, sizeof *tasks, &len, &rc);
    for (i = 0; rc == PL_OK && i < len && (i == 0 || !pl__portion_over(conn)); i++) {
        steps->at = tasks[i].id;
        if (tasks[i].queue != queue || tasks[i].kind < PL_TASK_CALLBACK || tasks[i].state == PL__TASK_DEAD)
            continue;
        rc = delete_task(conn, &tasks[i], forget_names);
        steps->count++;
    }
    *more = i < len || len == CHUNK;
    return rc;
}

/* Tombstones; names of tasks that live, being of stages or new, stay. */
static int forget_chunk(pl__conn_t *conn, int64_t queue, bool *more) {
    int changes;
    PL__TRY(pl__sql_run(conn, PL__SQL_NAMES_FORGET, &changes, "ii", queue, (int64_t)CHUNK));
    *more = changes == CHUNK;
    return PL_OK;
}

int pl__task_purge(pl__conn_t *conn, int64_t queue, bool forget_names, pl_steps_t *steps, bool *more) {
    (void)pl__portion_over(conn); /* its time begins */
    if (steps->phase == BEGINNING) {
        PL__TRY(pl__sql_int(conn, PL__SQL_TASK_GREATEST, &steps->bound, 0, ""));
        steps->phase = TASKS;
    }
    conn->freed = conn->due_unknown = true;
    if (steps->phase == TASKS) /* what was claimed of them ahead is not to start */
        PL__TRY(pl__permits_recall(conn, queue));
    *more = true;
    while (*more && steps->phase == TASKS) {
        PL__TRY(delete_chunk(conn, queue, forget_names, steps, more));
        if (!*more && forget_names)
            steps->phase = NAMES;
        if (pl__portion_over(conn)) {
            *more = *more || steps->phase == NAMES;
            return PL_OK;
        }
    }
    while (steps->phase == NAMES) {
        PL__TRY(forget_chunk(conn, queue, more));
        if (!*more || pl__portion_over(conn))
            return PL_OK;
    }
    return PL_OK;
}

int pl__verb_purge(pl__conn_t *conn, pl_op_t *op) {
    pl_op_purge_t *purge = &op->u.purge;
    pl_steps_t *steps = pl__op_steps(op, &purge->progress);
    pl__queue_t *queue;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__queue_find(conn, purge->queue, &queue));
    if (!queue) {
        op->rc = PL_ENOQUEUE;
        return PL_OK;
    }
    PL__TRY(pl__task_purge(conn, queue->id, purge->forget_names, steps, &op->more));
    purge->deleted = steps->count;
    return PL_OK;
}

/* ---- dead tasks -------------------------------------------------------------------------------------------- */

int pl__dead_ids(pl__conn_t *conn, int64_t queue, pl_id_t after, const pl_id_t **ids, size_t *len) {
    sqlite3_stmt *row;
    int rc;
    if (queue)
        PL__TRY(pl__sql_query(conn, PL__SQL_DEAD_IDS_OF_QUEUE, &row, "iii", (int64_t)after, (int64_t)CHUNK, queue));
    else
        PL__TRY(pl__sql_query(conn, PL__SQL_DEAD_IDS, &row, "ii", (int64_t)after, (int64_t)CHUNK));
    *ids = pl__sql_list(conn, row, &conn->scratch, pl__sql_read_id, sizeof **ids, len, &rc);
    return rc;
}

int pl__dead_forget(pl__conn_t *conn, pl_id_t task) {
    PL__TRY(pl__sql_run(conn, PL__SQL_DEAD_DELETE, NULL, "i", (int64_t)task));
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DELETE_DETAIL, NULL, "i", (int64_t)task));
    return pl__sql_run(conn, PL__SQL_TASK_DROP, NULL, "i", (int64_t)task);
}

int pl__dead_purge(pl__conn_t *conn, int64_t queue, pl_steps_t *steps, bool *more) {
    const pl_id_t *ids;
    size_t len;
    (void)pl__portion_over(conn); /* its time begins */
    do {
        PL__TRY(pl__dead_ids(conn, queue, steps->at, &ids, &len));
        for (size_t i = 0; i < len && (i == 0 || !pl__portion_over(conn)); i++) {
            PL__TRY(pl__dead_forget(conn, ids[i]));
            steps->at = ids[i];
            steps->count++;
        }
        *more = len > 0;
    } while (*more && !pl__portion_over(conn));
    return PL_OK;
}
