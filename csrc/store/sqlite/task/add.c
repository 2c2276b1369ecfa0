/*
 * add.c - new tasks: what is checked before one is pushed.
 */
#include "store/sqlite/task/add.h"

#include <stdio.h>

#include "store/sqlite/db.h"

/* RUN of a stage that start held back: it must be READY and have no task yet. */
static int check_held_run(pl__conn_t *conn, pl_task_new_t *task) {
    int64_t state, task_state;
    PL__TRY(pl__stage_rows_flush(conn)); /* both may be of this very transaction */
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_STATE, &state, -1, "i", (int64_t)task->stage));
    PL__TRY(pl__sql_int(conn, PL__SQL_TASK_STATE, &task_state, -1, "i", (int64_t)task->stage));
    if (state < 0)
        task->rc = PL_ENOTFOUND;
    else if (state != PL_STAGE_READY || task_state >= 0)
        task->rc = PL_ESTATE;
    return PL_OK;
}

/* Queued tasks need a queue of their mode, and no name that an unnamed task has. */
static int check_queued(pl__conn_t *conn, pl_task_new_t *task) {
    pl__queue_t *queue;
    int64_t state;
    PL__TRY(pl__queue_find(conn, task->queue, &queue));
    if (!queue)
        task->rc = PL_ENOQUEUE;
    else if (queue->pull != (task->kind == PL_TASK_PULL))
        task->rc = PL_EMODE;
    if (task->rc != PL_OK || !task->name_id)
        return PL_OK;
    PL__TRY(pl__task_flush(conn)); /* it may be of this very transaction */
    PL__TRY(pl__sql_int(conn, PL__SQL_TASK_STATE, &state, -1, "i", (int64_t)task->name_id));
    task->rc = state >= 0 && state != PL__TASK_DEAD ? PL_EEXISTS : PL_ETOMBSTONE;
    return PL_OK;
}

int pl__task_check(pl__conn_t *conn, pl_task_new_t *task) {
    pl__queue_t *queue;
    int64_t expires;
    task->rc = PL_OK;
    if (task->kind == PL_TASK_RUN)
        return check_held_run(conn, task);
    if (task->kind >= PL_TASK_PUSH)
        PL__TRY(check_queued(conn, task));
    if (!task->name.ptr || task->rc != PL_OK)
        return PL_OK;
    PL__TRY(pl__queue_find(conn, task->queue, &queue));
    if (!queue) /* it is made with the task, if that is added */
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_NAME_GET, &expires, -1, "it", queue->id, task->name));
    if (expires == 0)
        task->rc = PL_EEXISTS;
    else if (expires > conn->now)
        task->rc = PL_ETOMBSTONE;
    return PL_OK;
}

static pl_str_t queue_of(const pl_task_new_t *task) {
    return task->queue.ptr ? task->queue : PL_STR_LIT("default");
}

/* Two tasks that are one: of a name, of a stage, of a task that had none. PL_OK: they are not. */
static int compare(const pl_task_new_t *task, const pl_task_new_t *other) {
    if (task->kind == PL_TASK_RUN && other->kind == PL_TASK_RUN && task->stage == other->stage)
        return PL_ESTATE;
    bool same_name = task->name.ptr && other->name.ptr && pl_str_eq(task->name, other->name);
    bool same_id = task->name_id && task->name_id == other->name_id;
    return (same_name || same_id) && pl_str_eq(queue_of(task), queue_of(other)) ? PL_EEXISTS : PL_OK;
}

static int find_twin(const pl_task_new_t *task, const pl_task_new_t *others, size_t len) {
    bool may_have_twin = task->name.ptr || task->name_id || task->kind == PL_TASK_RUN;
    int rc = PL_OK;
    for (size_t i = 0; i < len && may_have_twin && rc == PL_OK; i++)
        rc = compare(task, &others[i]);
    return rc;
}

int pl__tasks_check(pl__conn_t *conn, pl_task_new_t *tasks, size_t len, const pl_task_new_t *others, size_t others_len,
                    pl__refusal_t *refusal) {
    for (size_t i = 0; i < len && refusal->rc == PL_OK; i++) {
        PL__TRY(pl__task_check(conn, &tasks[i]));
        if (tasks[i].rc == PL_OK)
            tasks[i].rc = find_twin(&tasks[i], tasks, i);
        if (tasks[i].rc == PL_OK)
            tasks[i].rc = find_twin(&tasks[i], others, others_len);
        if (tasks[i].rc != PL_OK)
            *refusal = (pl__refusal_t){ .rc = tasks[i].rc, .task = &tasks[i] };
    }
    return PL_OK;
}

static const char *error_class_of(int rc) {
    switch (rc) {
    case PL_EEXISTS:
        return "TaskAlreadyExistsError";
    case PL_ETOMBSTONE:
        return "TombstonedTaskError";
    case PL_ENOQUEUE:
        return "UnknownQueueError";
    case PL_EMODE:
        return "InvalidQueueModeError";
    default:
        return "BadTaskStateError";
    }
}

int pl__refusal_explain(pl__conn_t *conn, const pl__refusal_t *refusal, pl_failure_t *failure) {
    enum { TEXT_MAX = 300, SHOWN_MAX = 100 };
    char *text = pl__arena_get(&conn->scratch, TEXT_MAX);
    pl_str_t of = refusal->root ? refusal->root->key : refusal->task->name;
    int shown = of.len < SHOWN_MAX ? (int)of.len : SHOWN_MAX;
    if (!text)
        return PL_ENOMEM;
    if (refusal->root)
        snprintf(text, TEXT_MAX, "a pipeline with the idempotence key '%.*s' exists already", shown, of.ptr);
    else
        snprintf(text, TEXT_MAX, "task '%.*s': %s", shown, of.ptr ? of.ptr : "", pl_result_text(refusal->rc));
    failure->error_class = pl_str(refusal->root ? "PipelineExistsError" : error_class_of(refusal->rc));
    failure->message = pl_str(text);
    return PL_OK;
}

int pl__task_new(pl__conn_t *conn, const pl_task_new_t *task) {
    pl__pending_t pending = { .id = task->id,
                              .stage = task->stage,
                              .kind = task->kind,
                              .priority = task->priority,
                              .eta = task->eta,
                              .name = task->name,
                              .payload = task->payload,
                              .queued = task->kind >= PL_TASK_PUSH ? task : NULL };
    PL__TRY(pl__queue_id(conn, task->queue, &pending.queue));
    if (task->kind == PL_TASK_RUN) {
        pending.id = task->stage;
        pending.stage = 0;
        PL__TRY(pl__flow_due(conn, pending.id, &pending.eta));
    }
    if (task->name.ptr)
        PL__TRY(pl__sql_run(conn, PL__SQL_NAME_ADD, NULL, "iti", pending.queue, task->name, (int64_t)pending.id));
    return pl__task_push(conn, &pending);
}

static int check_room(pl__conn_t *conn, pl_op_t *op) {
    int64_t pages, free_pages, page_size;
    if (conn->options.storage_limit == 0)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_PAGE_COUNT, &pages, 0, ""));
    PL__TRY(pl__sql_int(conn, PL__SQL_PAGES_FREE, &free_pages, 0, ""));
    PL__TRY(pl__sql_int(conn, PL__SQL_PAGE_SIZE, &page_size, 0, ""));
    if ((pages - free_pages) * page_size > conn->options.storage_limit)
        op->rc = PL_ELIMIT;
    return PL_OK;
}

int pl__verb_task_add(pl__conn_t *conn, pl_op_t *op) {
    pl_op_task_add_t *add = &op->u.task_add;
    PL__TRY(check_room(conn, op));
    if (op->rc != PL_OK)
        return PL_OK;
    for (size_t i = 0; i < add->len && add->all_or_none; i++) {
        PL__TRY(pl__task_check(conn, &add->tasks[i]));
        if (add->tasks[i].rc != PL_OK) {
            op->rc = add->tasks[i].rc;
            return PL_OK;
        }
    }
    for (size_t i = 0; i < add->len; i++) { /* checked again: a name may come twice in one call */
        PL__TRY(pl__task_check(conn, &add->tasks[i]));
        if (add->tasks[i].rc == PL_OK)
            PL__TRY(pl__task_new(conn, &add->tasks[i]));
    }
    return PL_OK;
}
