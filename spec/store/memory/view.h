/*
 * view.h - what people look at. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_VIEW_H
#define PL_SPEC_MEMORY_VIEW_H

#include "shown.h"

static void do_ids_find(pl__conn_t *m, pl_op_t *op) {
    pl_op_ids_find_t *find = &op->u.ids_find;
    pl_id_t *roots = room(&op->arena, m->len[STAGES] * sizeof *roots);
    pl_id_t *stages = room(&op->arena, m->len[STAGES] * sizeof *stages);
    find->roots_len = find->stages_len = 0;
    EACH(pl_stage_t, stage, STAGES) {
        bool is_in = stage->id >= find->from && stage->id <= find->to;
        if (is_in)
            stages[find->stages_len++] = stage->id;
        if (is_in && !stage->parent)
            roots[find->roots_len++] = stage->id;
    }
    qsort(roots, find->roots_len, sizeof *roots, by_id_alone);
    qsort(stages, find->stages_len, sizeof *stages, by_id_alone);
    find->roots = roots;
    find->stages = stages;
    find->roots_len = find->roots_len > (size_t)find->limit ? (size_t)find->limit : find->roots_len;
    find->stages_len = find->stages_len > (size_t)find->limit ? (size_t)find->limit : find->stages_len;
}

/* ---- roots ------------------------------------------------------------------------------------------------------- */

static pl_root_brief_t brief_of(pl__conn_t *m, const pl_stage_t *root) {
    pl_root_brief_t brief = { .id = root->id,
                              .word = pl_stage_word(root->state),
                              .created = root->created,
                              .class_path = root->class_path,
                              .queue = root->queue.ptr ? root->queue : PL_STR_LIT("default"),
                              .key = root->key,
                              .reason = root->abort_message,
                              .last_error = root->retry_message,
                              .message = root->status.message };
    const task_t *task = root->state == PL_STAGE_READY ? task_of(m, root->id) : NULL;
    if (task)
        brief.word = task->state == CLAIMED                            ? PL_WORD_EXECUTING
                     : task->state == DELAYED && task->is.eta > m->due ? PL_WORD_DELAYED
                                                                       : PL_WORD_READY;
    return brief;
}

static void do_roots_find(pl__conn_t *m, pl_op_t *op) {
    pl_op_roots_find_t *find = &op->u.roots_find;
    size_t all;
    const pl_stage_t *roots = stages_of(m, &op->arena, 0, &all);
    find->stages = room(&op->arena, all * sizeof *roots);
    find->len = 0;
    find->next = 0;
    memset(find->by_word, 0, sizeof find->by_word);
    while (all-- > 0 && !find->next) {
        pl_root_brief_t brief = brief_of(m, &roots[all]);
        if ((find->before && brief.id >= find->before) || !pl_root_is_wanted(&find->filter, &brief))
            continue;
        if (find->counts)
            find->by_word[brief.word]++;
        else if (find->len == (size_t)find->limit)
            find->next = find->stages[find->len - 1].id;
        else {
            find->stages[find->len] = roots[all];
            find->stages[find->len].tally = tally_of(m, &op->arena, &roots[all]);
            find->len++;
        }
    }
}

/* ---- tasks ------------------------------------------------------------------------------------------------------- */

static pl_seen_state_t seen_state(const pl__conn_t *m, const task_t *task) {
    switch (task->state) {
    case CLAIMED:
        return PL_SEEN_EXECUTING;
    case DELAYED:
        return task->is.eta > m->due ? PL_SEEN_DELAYED : PL_SEEN_READY;
    case PULL:
        return task->is.eta <= m->now ? PL_SEEN_READY : task->is.tries > 0 ? PL_SEEN_EXECUTING : PL_SEEN_DELAYED;
    default:
        return task->state == DEAD ? PL_SEEN_DEAD : PL_SEEN_READY;
    }
}

static pl_seen_task_t see(pl__conn_t *m, const task_t *task) {
    pl_seen_task_t seen = { .is = task->is, .state = seen_state(m, task), .attempt = task->is.tries + 1 };
    seen.stage = task->is.kind < PL_TASK_CALLBACK ? task->is.id : task->stage;
    const pl_stage_t *stage = stage_of(m, seen.stage);
    if (stage) {
        seen.class_path = stage->class_path;
        seen.key = stage->key;
        seen.error = stage->abort_message.ptr ? stage->abort_message : stage->retry_message;
    }
    if (stage && task->is.kind == PL_TASK_RUN) {
        seen.attempt = stage->attempt + 1;
        seen.attempts = stage->max_attempts;
    }
    return seen;
}

/* Where it stands in a list; see store/sqlite/view/tasks.c. */
static pl_seen_place_t place_of(pl__conn_t *m, const task_t *task) {
    pl_seen_place_t at = { .priority = task->is.priority, .eta = task->is.eta, .id = task->is.id };
    for (const queue_t *queue = (void *)m->items[QUEUES]; queue->set.name.ptr != task->is.queue.ptr; queue++)
        at.queue++;
    at.phase = task->state == CLAIMED                        ? 1
               : task->state == READY || task->state == PULL ? 2
               : task->state == DEAD                         ? 5
                                                             : 4;
    if (task->state == DELAYED && task->is.eta <= m->due)
        at.phase = 3;
    return at;
}

static int sign(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

static int compare_places(const pl_seen_place_t *a, const pl_seen_place_t *b) {
    int order = sign(a->phase, b->phase);
    if (order == 0 && a->phase != 3 && a->phase != 4)
        order = sign(a->queue, b->queue);
    if (order == 0 && a->phase == 2)
        order = sign(b->priority, a->priority);
    if (order == 0 && a->phase >= 2 && a->phase <= 4)
        order = sign(a->eta, b->eta);
    return order ? order : a->phase == 5 ? sign(b->id, a->id) : sign(a->id, b->id);
}

typedef struct {
    pl_seen_place_t at;
    const task_t *task;
} placed_t;

static int by_place(const void *a, const void *b) {
    return compare_places(&((const placed_t *)a)->at, &((const placed_t *)b)->at);
}

static void do_tasks_find(pl__conn_t *m, pl_op_t *op) {
    pl_op_tasks_find_t *find = &op->u.tasks_find;
    const queue_t *queue = find->queue.ptr ? queue_of(m, find->queue, false) : NULL;
    placed_t *placed = room(&m->scratch, m->len[TASKS] * sizeof *placed);
    pl_seen_task_t *tasks = room(&op->arena, m->len[TASKS] * sizeof *tasks);
    size_t len = 0;
    find->len = 0;
    find->tasks = tasks;
    find->is_more = false;
    if (find->queue.ptr && !queue) {
        op->rc = PL_ENOQUEUE;
        return;
    }
    EACH(task_t, task, TASKS)
    placed[len++] = (placed_t){ place_of(m, task), task };
    qsort(placed, len, sizeof *placed, by_place);
    pl_seen_place_t from = find->from;
    for (size_t i = 0; i < len && !find->is_more; i++) {
        pl_seen_task_t seen = see(m, placed[i].task);
        if ((from.phase && compare_places(&placed[i].at, &from) <= 0) ||
            (queue && seen.is.queue.ptr != queue->set.name.ptr) || !pl_seen_is_wanted(find->states, seen.state) ||
            !pl_seen_has(&seen, find->text))
            continue;
        find->is_more = find->len == (size_t)find->limit;
        if (find->is_more)
            break;
        tasks[find->len++] = seen;
        find->next = placed[i].at;
    }
}

/* ---- why -------------------------------------------------------------------------------------------------------- */

static void judge(pl__conn_t *m, pl_op_t *op, const task_t *task) {
    pl_op_why_get_t *get = &op->u.why_get;
    pl_start_facts_t *facts = &get->facts;
    const queue_t *queue = queue_of(m, task->is.queue, true);
    get->has_task = facts->has_task = true;
    get->task = see(m, task);
    facts->eta = task->is.eta;
    facts->pull = queue->set.pull;
    facts->lacks_class = task->is.kind == PL_TASK_RUN && task->is.tries > 0;
    facts->is_over = get->task.state == PL_SEEN_EXECUTING || get->task.state == PL_SEEN_DEAD;
    facts->workers = m->joined.worker != 0;
    facts->gates = (pl_gates_t){ .served = facts->workers > 0, .paused = queue->set.paused, .rate = -1 };
    if (queue->set.max_concurrent > 0) {
        facts->gates.max_concurrent = queue->set.max_concurrent;
        facts->gates.room = queue->set.max_concurrent - count(m, queue, CLAIMED);
    }
}

static void do_why_get(pl__conn_t *m, pl_op_t *op) {
    pl_op_why_get_t *get = &op->u.why_get;
    const name_t *name = get->id ? NULL : name_of(m, get->queue, get->name);
    get->id = name ? name->task : get->id;
    const pl_stage_t *stage = stage_of(m, get->id);
    const task_t *task = task_of(m, get->id);
    get->facts = (pl_start_facts_t){ .now = m->due };
    get->stage = NULL;
    get->has_task = false;
    get->slots_len = 0;
    op->rc = stage || task ? PL_OK : PL_ENOTFOUND;
    if (stage) {
        pl_stage_t *seen = room(&op->arena, sizeof *seen);
        *seen = view(m, stage, true);
        get->stage = seen;
        get->facts.is_stage = true;
        get->facts.unfilled = seen->missing;
        get->facts.is_over = is_final(stage) || stage->state == PL_STAGE_RUN || stage->state == PL_STAGE_ABORT_HELD;
    }
    if (task)
        judge(m, op, task);
    get->reasons_len = pl_start_reasons(&get->facts, get->reasons);
}

/* ---- queues and workers ------------------------------------------------------------------------------------------ */

static void do_queues_seen(pl__conn_t *m, pl_op_t *op) {
    pl_op_queues_seen_t *get = &op->u.queues_seen;
    pl_seen_queue_t *list = room(&op->arena, m->len[QUEUES] * sizeof *list);
    get->queues = list;
    get->len = 0;
    EACH(queue_t, queue, QUEUES) {
        if (queue->set.removed || (get->name.ptr && !pl_str_eq(get->name, queue->set.name)))
            continue;
        pl_seen_queue_t *seen = &list[get->len++];
        *seen = (pl_seen_queue_t){ .is = queue->set, .tokens = -1 };
        EACH(task_t, task, TASKS) {
            if (task->is.queue.ptr != queue->set.name.ptr)
                continue;
            pl_seen_state_t state = seen_state(m, task);
            seen->counts[state]++;
            if (state == PL_SEEN_READY && (!seen->oldest_ready || task->is.eta < seen->oldest_ready))
                seen->oldest_ready = task->is.eta;
        }
    }
}

static void do_workers_get(pl__conn_t *m, pl_op_t *op) {
    pl_worker_t *worker = room(&op->arena, sizeof *worker);
    op->u.workers_get.workers = worker;
    op->u.workers_get.len = m->joined.worker != 0;
    *worker = (pl_worker_t){ .id = m->joined.worker,
                             .number = m->joined.number,
                             .pid = m->joined.pid,
                             .host = m->joined.host,
                             .version = m->joined.version };
    EACH(task_t, task, TASKS)
    worker->claims += task->state == CLAIMED;
}

#endif
