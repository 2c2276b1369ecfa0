/*
 * tasks.c - lists of tasks, by state. Each state has an index, and a list goes through these one after the other:
 *
 *   phase      rows                        of            in the order of
 *   CLAIMED    claimed                     each queue    id
 *   READY      ready, or to be leased      each queue    their starts
 *   OVERDUE    delayed, and due by now     all queues    eta: they become ready when somebody claims next
 *   DELAYED    delayed                     all queues    eta
 *   DEAD       dead                        each queue    id, newest first
 *
 * What is looked at for a page is bounded; a place in the lists says where the next page goes on.
 */
#include <string.h>

#include "store/sqlite/db.h"

enum { CLAIMED = 1, READY, OVERDUE, DELAYED, DEAD, PHASES = DEAD };

typedef struct {
    pl__conn_t *conn;
    pl_op_t *op;
    const pl__queue_t *only; /* NULL: all queues */
    pl__buf_t found;
    int scanned;
    bool is_full;
} list_t;

/* ---- one task ---------------------------------------------------------------------------------------------- */

static int read_stage(pl__conn_t *conn, pl__arena_t *arena, pl_seen_task_t *task) {
    sqlite3_stmt *row;
    bool found;
    if (!task->stage)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_SEEN, &row, "i", (int64_t)task->stage));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    if (task->is.kind == PL_TASK_RUN) {
        task->attempt = sqlite3_column_int(row, 3) + 1;
        task->attempts = sqlite3_column_int(row, 4);
    }
    int rc = pl__sql_str(row, 0, arena, &task->class_path);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 1, arena, &task->key);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 2, arena, &task->error);
    pl__sql_end(row);
    return rc;
}

static int read_death(pl__conn_t *conn, pl__arena_t *arena, pl_seen_task_t *task) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_DEAD_GET, &row, "i", (int64_t)task->is.id));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    task->is.died = sqlite3_column_int64(row, 0);
    int rc = pl__sql_str(row, 1, arena, &task->is.error_class);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 2, arena, &task->is.message);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 3, arena, &task->is.traceback);
    pl__sql_end(row);
    return rc;
}

static pl_seen_state_t state_of(const pl__conn_t *conn, int state, const pl_task_t *task) {
    switch (state) {
    case PL__TASK_CLAIMED:
        return PL_SEEN_EXECUTING;
    case PL__TASK_DELAYED:
        return task->eta > conn->due ? PL_SEEN_DELAYED : PL_SEEN_READY;
    case PL__TASK_PULL:
        return task->eta <= conn->now ? PL_SEEN_READY : task->tries > 0 ? PL_SEEN_EXECUTING : PL_SEEN_DELAYED;
    case PL__TASK_DEAD:
        return PL_SEEN_DEAD;
    default:
        return PL_SEEN_READY;
    }
}

int pl__seen_read(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl_seen_task_t *task) {
    bool has_detail;
    *task = (pl_seen_task_t){ .stage = sqlite3_column_int64(row, 14) };
    PL__TRY(pl__task_read_row(conn, row, arena, &task->is, &has_detail));
    if (has_detail)
        PL__TRY(pl__task_see_detail(conn, arena, &task->is));
    task->is.payload.len = task->is.payload.len < PL_SEEN_BYTES ? task->is.payload.len : PL_SEEN_BYTES;
    task->state = state_of(conn, sqlite3_column_int(row, 13), &task->is);
    task->attempt = task->is.tries + (task->state != PL_SEEN_DEAD);
    if (sqlite3_column_int(row, 13) == PL__TASK_CLAIMED) {
        PL__TRY(pl__sql_str(row, 15, arena, &task->worker));
        task->since = pl__claim_time(sqlite3_column_int(row, 16));
    }
    PL__TRY(read_stage(conn, arena, task));
    return task->state == PL_SEEN_DEAD ? read_death(conn, arena, task) : PL_OK;
}

/* ---- lists ------------------------------------------------------------------------------------------------- */

enum { SCAN_BYTES = 1024 }; /* of a payload that is looked through: as much work as a task without one */

/* Reads one into an arena of its own, which goes to the op if the task is wanted: of thousands that are looked through
 * for a text, with their payloads, no more than one is in memory at a time. */
static int read_if_wanted(const list_t *list, sqlite3_stmt *row, pl_seen_task_t *task, bool *wanted) {
    const pl_op_tasks_find_t *find = &list->op->u.tasks_find;
    pl__arena_t arena = { NULL };
    int rc = pl__seen_read(list->conn, row, find->text.ptr ? &arena : &list->op->arena, task);
    *wanted = rc == PL_OK && pl_seen_is_wanted(find->states, task->state) && pl_seen_has(task, find->text);
    if (*wanted)
        pl__arena_join(&list->op->arena, &arena);
    else
        pl__arena_free(&arena);
    return rc;
}

static int look_at(list_t *list, sqlite3_stmt *row, int phase) {
    pl_op_tasks_find_t *find = &list->op->u.tasks_find;
    pl_seen_task_t task;
    bool wanted;
    int64_t queue = sqlite3_column_int64(row, 2);
    find->next = (pl_seen_place_t){ phase, queue, sqlite3_column_int64(row, 10), sqlite3_column_int64(row, 7),
                                    sqlite3_column_int64(row, 0) };
    list->scanned++;
    if (list->only && list->only->id != queue)
        return PL_OK;
    PL__TRY(read_if_wanted(list, row, &task, &wanted));
    if (find->text.ptr)
        list->scanned += (int)(task.is.payload.len / SCAN_BYTES);
    if (!wanted)
        return PL_OK;
    pl__buf_add(&list->found, &task, sizeof task);
    find->len++;
    return list->found.rc;
}

/* Goes through a query until it ends or the page is full. */
static int go_through(list_t *list, sqlite3_stmt *row, int phase) {
    const pl_op_tasks_find_t *find = &list->op->u.tasks_find;
    bool more;
    int rc = pl__sql_step(list->conn, row, &more);
    while (rc == PL_OK && more) {
        list->is_full = find->len >= (size_t)find->limit || list->scanned >= PL_SEEN_SCAN_MAX;
        if (list->is_full)
            break;
        rc = look_at(list, row, phase);
        if (rc == PL_OK)
            rc = pl__sql_step(list->conn, row, &more);
    }
    pl__sql_end(row);
    return rc;
}

/* Of a queue, behind `from` (zeroed: from the beginning). */
static int list_queue(list_t *list, int phase, const pl__queue_t *queue, const pl_seen_place_t *from) {
    pl__conn_t *conn = list->conn;
    sqlite3_stmt *row;
    int64_t begin = INT64_MIN;
    if (phase == CLAIMED)
        PL__TRY(pl__sql_query(conn, PL__SQL_TASKS_SEEN_CLAIMED, &row, "ii", queue->id, (int64_t)from->id));
    else if (phase == DEAD)
        PL__TRY(pl__sql_query(conn, PL__SQL_TASKS_SEEN_DEAD, &row, "ii", queue->id,
                              from->id ? (int64_t)from->id : INT64_MAX));
    else if (queue->pull)
        PL__TRY(pl__sql_query(conn, PL__SQL_TASKS_SEEN_PULL, &row, "iii", queue->id, from->id ? from->eta : begin,
                              (int64_t)from->id));
    else
        PL__TRY(pl__sql_query(conn, PL__SQL_TASKS_SEEN_READY, &row, "iiii", queue->id,
                              from->id ? from->priority : INT64_MAX, from->id ? from->eta : begin, (int64_t)from->id));
    return go_through(list, row, phase);
}

static int list_queues(list_t *list, int phase) {
    static const pl_seen_place_t beginning;
    for (size_t i = 0; i < list->conn->queues_len && !list->is_full; i++) {
        const pl__queue_t *queue = &list->conn->queues[i];
        bool is_first = list->op->u.tasks_find.from.phase == phase && list->op->u.tasks_find.from.queue == queue->id;
        if ((list->only && list->only != queue) ||
            (list->op->u.tasks_find.from.phase == phase && list->op->u.tasks_find.from.queue > queue->id))
            continue;
        PL__TRY(list_queue(list, phase, queue, is_first ? &list->op->u.tasks_find.from : &beginning));
    }
    return PL_OK;
}

static int list_delayed(list_t *list, int phase) {
    bool goes_on = list->op->u.tasks_find.from.phase == phase;
    int64_t begin = phase == OVERDUE ? INT64_MIN : list->conn->due + 1,
            end = phase == OVERDUE ? list->conn->due : INT64_MAX;
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(list->conn, PL__SQL_TASKS_SEEN_DELAYED, &row, "iii",
                          goes_on ? list->op->u.tasks_find.from.eta : begin,
                          goes_on ? (int64_t)list->op->u.tasks_find.from.id : INT64_C(0), end));
    return go_through(list, row, phase);
}

/* Whether a phase has tasks of the states that are wanted. */
static bool is_asked_for(unsigned states, int phase) {
    static const unsigned of_phase[PHASES + 1] = { [CLAIMED] = 1U << PL_SEEN_EXECUTING,
                                                   [READY] = 1U << PL_SEEN_READY | 1U << PL_SEEN_EXECUTING |
                                                             1U << PL_SEEN_DELAYED, /* of pull queues */
                                                   [OVERDUE] = 1U << PL_SEEN_READY,
                                                   [DELAYED] = 1U << PL_SEEN_DELAYED,
                                                   [DEAD] = 1U << PL_SEEN_DEAD };
    return states == 0 || (states & of_phase[phase]);
}

static int list_phases(list_t *list) {
    const pl_op_tasks_find_t *find = &list->op->u.tasks_find;
    for (int phase = list->op->u.tasks_find.from.phase ? list->op->u.tasks_find.from.phase : CLAIMED;
         phase <= PHASES && !list->is_full; phase++) {
        if (!is_asked_for(find->states, phase))
            continue;
        bool is_of_all = phase == OVERDUE || phase == DELAYED;
        PL__TRY(is_of_all ? list_delayed(list, phase) : list_queues(list, phase));
    }
    return PL_OK;
}

int pl__verb_tasks_find(pl__conn_t *conn, pl_op_t *op) {
    pl_op_tasks_find_t *find = &op->u.tasks_find;
    list_t list = { .conn = conn, .op = op };
    pl__queue_t *queue = NULL;
    find->len = 0;
    find->next = find->from;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    if (conn->role != PL__ROLE_WRITER)
        PL__TRY(pl__queues_load(conn));
    if (find->queue.ptr)
        PL__TRY(pl__queue_find(conn, find->queue, &queue));
    if (find->queue.ptr && !queue) {
        op->rc = PL_ENOQUEUE;
        return PL_OK;
    }
    list.only = queue;
    int rc = list_phases(&list);
    if (rc == PL_OK)
        rc = list.found.rc;
    pl_seen_task_t *tasks = rc == PL_OK ? pl__arena_get(&op->arena, list.found.len ? list.found.len : 1) : NULL;
    if (rc == PL_OK && !tasks)
        rc = PL_ENOMEM;
    if (rc == PL_OK && list.found.len)
        memcpy(tasks, list.found.ptr, list.found.len);
    find->tasks = tasks;
    find->is_more = list.is_full;
    pl__buf_free(&list.found);
    return rc;
}
