/*
 * why.c - the facts that decide whether a stage, or a task, may start: read here, judged by store/view/start.c, which
 * claims ask as well.
 */
#include <string.h>

#include "store/sqlite/schedule/schedule.h"

enum { OWNER_LOOKED_MAX = 200 }; /* stages before a slot that are looked at, to find whose it is */

/* ---- slots ------------------------------------------------------------------------------------------------- */

static bool takes_slot(const pl_stage_t *stage, pl_why_slot_t *slot) {
    for (size_t i = 0; i < stage->outputs_len; i++) {
        if (stage->outputs[i].slot != slot->slot)
            continue;
        slot->stage = stage->id;
        slot->name = stage->outputs[i].name;
        slot->class_path = stage->class_path;
        slot->key = stage->key;
        slot->state = stage->state;
        slot->flags = stage->flags;
        return true;
    }
    return false;
}

/* A named slot is made with its stage, right behind it. */
static int find_owner(pl__conn_t *conn, pl_id_t root, pl__arena_t *arena, pl_why_slot_t *slot) {
    sqlite3_stmt *row;
    size_t len;
    int rc;
    bool found, done = false;
    pl_stage_t stage;
    PL__TRY(pl__stage_load(conn, slot->slot, false, arena, &stage, &found));
    if (found && takes_slot(&stage, slot))
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGES_BEFORE, &row, "iii", (int64_t)root, (int64_t)slot->slot,
                          (int64_t)OWNER_LOOKED_MAX));
    const pl_id_t *ids = pl__sql_list(conn, row, &conn->scratch, pl__sql_read_id, sizeof *ids, &len, &rc);
    for (size_t i = 0; i < len && rc == PL_OK && !done; i++) {
        rc = pl__stage_load(conn, ids[i], false, arena, &stage, &found);
        done = rc == PL_OK && found && takes_slot(&stage, slot);
    }
    return rc;
}

static int read_slots(pl__conn_t *conn, pl_op_t *op) {
    pl_op_why_get_t *get = &op->u.why_get;
    enum { SLOTS_MAX = 20 };
    const pl_work_t *work = get->stage->work;
    size_t len = work && work->unfilled_len < SLOTS_MAX ? work->unfilled_len : work ? SLOTS_MAX : 0;
    pl_why_slot_t *slots = pl__arena_get(&op->arena, (len + 1) * sizeof *slots);
    if (!slots)
        return PL_ENOMEM;
    for (size_t i = 0; i < len; i++) {
        slots[i] = (pl_why_slot_t){ .slot = work->unfilled[i] };
        PL__TRY(find_owner(conn, get->stage->root, &op->arena, &slots[i]));
    }
    get->slots = slots;
    get->slots_len = len;
    return PL_OK;
}

/* ---- the queue --------------------------------------------------------------------------------------------- */

/* Tasks of pipelines are executed wherever they are. */
static bool is_pulled(const pl_op_why_get_t *get, const pl__queue_t *queue) {
    return queue->pull && get->task.is.kind == PL_TASK_PULL;
}

static int read_gates(pl__conn_t *conn, pl_op_t *op, const pl__queue_t *queue) {
    const pl_op_why_get_t *get = &op->u.why_get;
    pl_start_facts_t *facts = &op->u.why_get.facts;
    const pl_worker_t *workers;
    size_t len;
    facts->gates = (pl_gates_t){ .rate = -1 };
    PL__TRY(pl__limits_ask(conn, queue, &facts->gates));
    if (queue->max_concurrent > 0) {
        PL__TRY(pl__permits_used(conn, queue->id, &op->u.why_get.used));
        facts->gates.max_concurrent = queue->max_concurrent;
        facts->gates.room = queue->max_concurrent - op->u.why_get.used;
    }
    PL__TRY(pl__workers_list(conn, &op->arena, &workers, &len));
    for (size_t i = 0; i < len; i++) {
        bool is_idle = workers[i].serves.ptr && workers[i].serves.len == 0;
        if (workers[i].is_gone || is_idle)
            continue;
        facts->workers++;
        if (pl_queue_is_served(workers[i].serves.ptr, (pl_str_t){ queue->name, queue->len }))
            facts->gates.served = true;
    }
    facts->pull = is_pulled(get, queue);
    return PL_OK;
}

/* Its place among those that are ready, from 1. */
static int read_place(pl__conn_t *conn, const pl__queue_t *queue, const pl_task_t *task, int *place) {
    int64_t before;
    PL__TRY(pl__sql_int(conn, PL__SQL_TASKS_READY_BEFORE, &before, 0, "iiiii", queue->id, (int64_t)task->priority,
                        (int64_t)task->eta, (int64_t)task->id, (int64_t)PL_PLACES_MAX));
    *place = (int)before + 1;
    return PL_OK;
}

/* ---- the task ---------------------------------------------------------------------------------------------- */

static int judge_task(pl__conn_t *conn, pl_op_t *op, int64_t queue_id, bool is_retry, bool is_alone) {
    pl_op_why_get_t *get = &op->u.why_get;
    pl_start_facts_t *facts = &get->facts;
    const pl__queue_t *queue = pl__queue_by_id(conn, queue_id);
    facts->has_task = true;
    facts->eta = get->task.is.eta;
    facts->is_retry = is_retry;
    facts->is_alone = is_alone && facts->eta >= PL_USEC_MAX;
    facts->lacks_class = get->task.is.kind == PL_TASK_RUN && get->task.is.tries > 0;
    facts->is_over = get->task.state == PL_SEEN_EXECUTING || get->task.state == PL_SEEN_DEAD;
    if (!queue || facts->is_over)
        return PL_OK;
    PL__TRY(read_gates(conn, op, queue));
    return get->task.state == PL_SEEN_READY && !is_pulled(get, queue)
               ? read_place(conn, queue, &get->task.is, &facts->place)
               : PL_OK;
}

static int read_task(pl__conn_t *conn, pl_op_t *op, pl_id_t id) {
    pl_op_why_get_t *get = &op->u.why_get;
    sqlite3_stmt *row;
    int64_t queue = 0;
    bool is_retry = false, is_alone = false;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_SEEN, &row, "i", (int64_t)id));
    PL__TRY(pl__sql_step(conn, row, &get->has_task));
    if (!get->has_task)
        return PL_OK;
    queue = sqlite3_column_int64(row, 2);
    is_retry = sqlite3_column_int(row, 17) != 0;
    is_alone = sqlite3_column_int(row, 18) != 0;
    int rc = pl__seen_read(conn, row, &op->arena, &get->task);
    pl__sql_end(row);
    return rc == PL_OK ? judge_task(conn, op, queue, is_retry, is_alone) : rc;
}

/* ---- the verb ---------------------------------------------------------------------------------------------- */

static int read_stage(pl__conn_t *conn, pl_op_t *op, bool *found) {
    pl_op_why_get_t *get = &op->u.why_get;
    pl__fronts_t fronts = { .len = 0 };
    pl_stage_t *stage = pl__arena_get(&op->arena, sizeof *stage);
    if (!stage)
        return PL_ENOMEM;
    PL__TRY(pl__stage_find(conn, get->id, true, &op->arena, stage, found));
    if (!*found)
        return PL_OK;
    PL__TRY(pl__work_read(conn, stage, &op->arena, &fronts));
    get->stage = stage;
    get->facts.is_stage = true;
    get->facts.unfilled = stage->state == PL_STAGE_WAITING ? stage->missing : 0;
    get->facts.is_over = stage->state == PL_STAGE_RUN || stage->state == PL_STAGE_DONE ||
                         stage->state == PL_STAGE_ABORTED || stage->state == PL_STAGE_ABORT_HELD;
    return get->facts.unfilled ? read_slots(conn, op) : PL_OK;
}

/* The first fire of its schedule that is not over: those that have started come before those that are held back. */
static int read_earlier(pl__conn_t *conn, pl_op_why_get_t *get, pl_id_t schedule) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_FIRES_LIVE, &row, "i", (int64_t)schedule));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    get->earlier = sqlite3_column_int64(row, 1);
    pl__sql_end(row);
    if (get->earlier == get->id)
        get->earlier = 0;
    return PL_OK;
}

/* A root without a task, or a task without a time, is one that its schedule holds back, or not: with return_task. */
static int read_fire(pl__conn_t *conn, pl_op_t *op) {
    pl_op_why_get_t *get = &op->u.why_get;
    pl__schedule_brief_t brief;
    sqlite3_stmt *row;
    bool found;
    bool may_be = get->has_task ? get->facts.eta >= PL_USEC_MAX : get->stage && get->stage->state == PL_STAGE_READY;
    if (!may_be)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_FIRE_OF_TARGET, &row, "i", (int64_t)get->id));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    pl_id_t schedule = sqlite3_column_int64(row, 1);
    bool is_buffered = sqlite3_column_int(row, 2) == PL_FIRE_BUFFERED;
    pl__sql_end(row);
    if (!is_buffered)
        return PL_OK;
    PL__TRY(read_earlier(conn, get, schedule));
    PL__TRY(pl__schedule_brief(conn, schedule, &brief));
    get->facts.is_schedule_paused = brief.found && brief.paused;
    get->facts.is_held = get->earlier || !get->facts.is_schedule_paused;
    return brief.found ? pl__arena_copy(&op->arena, brief.name, &get->schedule) : PL_OK;
}

static int find_named(pl__conn_t *conn, pl_op_t *op) {
    pl_op_why_get_t *get = &op->u.why_get;
    pl__queue_t *queue;
    if (get->id)
        return PL_OK;
    PL__TRY(pl__queue_find(conn, get->queue, &queue));
    return queue ? pl__sql_int(conn, PL__SQL_NAME_TASK, &get->id, 0, "it", queue->id, get->name) : PL_OK;
}

int pl__verb_why_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_why_get_t *get = &op->u.why_get;
    bool found = false;
    get->facts = (pl_start_facts_t){ .now = conn->due };
    get->stage = NULL;
    get->has_task = false;
    get->slots_len = 0;
    get->earlier = 0;
    get->schedule = PL_STR_NONE;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    if (conn->role != PL__ROLE_WRITER)
        PL__TRY(pl__queues_load(conn));
    PL__TRY(find_named(conn, op));
    PL__TRY(read_stage(conn, op, &found));
    PL__TRY(read_task(conn, op, get->id));
    PL__TRY(read_fire(conn, op));
    if (!found && !get->has_task) {
        op->rc = PL_ENOTFOUND;
        return PL_OK;
    }
    get->reasons_len = pl_start_reasons(&get->facts, get->reasons);
    return PL_OK;
}
