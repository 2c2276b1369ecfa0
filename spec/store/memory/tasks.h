/*
 * tasks.h - the verbs of tasks. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_TASKS_H
#define PL_SPEC_MEMORY_TASKS_H

#include "world.h"

/* ---- verbs of tasks ---------------------------------------------------------------------------------------------- */

static void check_task(pl__conn_t *m, pl_task_new_t *new) {
    const pl_stage_t *stage = new->kind == PL_TASK_RUN ? stage_of(m, new->stage) : NULL;
    const queue_t *queue = new->kind >= PL_TASK_PUSH ? queue_of(m, new->queue, false) : NULL;
    const task_t *twin = task_of(m, new->kind == PL_TASK_RUN ? new->stage : new->name_id);
    const name_t *name = new->name.ptr ? name_of(m, new->queue, new->name) : NULL;
    new->rc = PL_OK;
    if (new->kind == PL_TASK_RUN)
        new->rc = !stage ? PL_ENOTFOUND : stage->state != PL_STAGE_READY || twin ? PL_ESTATE : PL_OK;
    else if (new->kind >= PL_TASK_PUSH && !queue)
        new->rc = PL_ENOQUEUE;
    else if (queue && queue->set.pull != (new->kind == PL_TASK_PULL))
        new->rc = PL_EMODE;
    else if (queue && new->name_id)
        new->rc = twin && twin->state != DEAD ? PL_EEXISTS : PL_ETOMBSTONE;
    else if (name)
        new->rc = name->expires ? PL_ETOMBSTONE : PL_EEXISTS;
}

static void take_name(pl__conn_t *m, pl_str_t queue, pl_str_t name, pl_id_t task) {
    EACH(name_t, old, NAMES) {
        if (pl_str_eq(old->queue, queue) && pl_str_eq(old->name, name)) {
            old->expires = 0;
            old->task = task;
            return;
        }
    }
    *ADD(name_t, NAMES) = (name_t){ queue, name, task, 0 };
}

static void add_task(pl__conn_t *m, const pl_task_new_t *new) {
    task_t task = { .is = { .id = new->kind == PL_TASK_RUN ? new->stage : new->id,
                            .kind = new->kind,
                            .queue = make_queue(m, new->queue)->set.name,
                            .name = text(m, new->name),
                            .payload = text(m, new->payload),
                            .priority = new->priority,
                            .eta = new->eta,
                            .retry = PL_RETRY_NONE },
                    .stage = new->kind == PL_TASK_RUN ? 0 : new->stage };
    if (new->kind >= PL_TASK_PUSH) {
        task.is.request = text(m, new->request);
        task.is.tag = new->tag.len ? text(m, new->tag) : PL_STR_NONE;
        task.is.deadline = new->deadline;
        task.is.retry = new->retry;
        task.stage = 0;
    }
    if (new->name.ptr)
        take_name(m, task.is.queue, task.is.name, task.is.id);
    push(m, task);
}

static void do_task_add(pl__conn_t *m, pl_op_t *op) {
    pl_op_task_add_t *add = &op->u.task_add;
    for (size_t i = 0; i < add->len && add->all_or_none; i++) {
        check_task(m, &add->tasks[i]);
        op->rc = add->tasks[i].rc;
        if (op->rc != PL_OK)
            return;
    }
    for (size_t i = 0; i < add->len; i++) {
        check_task(m, &add->tasks[i]);
        if (add->tasks[i].rc == PL_OK)
            add_task(m, &add->tasks[i]);
    }
}

static pl_retry_t retry_of(pl__conn_t *m, const task_t *task) {
    return pl_retry_merge(task->is.retry, queue_of(m, task->is.queue, true)->set.retry);
}

static void do_task_done(pl__conn_t *m, pl_op_t *op) {
    pl_op_task_done_t *done = &op->u.task_done;
    task_t *task = ours(m, done->task, done->claim);
    done->died = false;
    op->rc = task ? PL_OK : PL_ESTALE;
    if (!task || !done->failed) {
        end(m, task);
        return;
    }
    if (done->retry_at && !done->give_up) {
        delay(m, task, done->retry_at, 1);
        return;
    }
    pl_retry_t retry = retry_of(m, task);
    pl_usec_t first = task->is.first_try ? task->is.first_try : pl_clock_add(m->now, -done->took);
    done->died =
        task->is.kind >= PL_TASK_PUSH && (done->give_up || !pl_retry_may(&retry, task->is.tries + 1, m->now - first));
    task->is.tries++;
    task->is.status = done->status;
    task->executions += done->status != 0;
    if (done->died) {
        die(m, task, &done->failure);
        return;
    }
    task->is.first_try = first;
    task->is.eta = pl_clock_add(m->now, pl_retry_delay(&retry, task->is.tries));
    task->state = task->is.eta > m->due ? DELAYED : READY;
}

static void do_tasks_done(pl__conn_t *m, pl_op_t *op) {
    pl_op_tasks_done_t *done = &op->u.tasks_done;
    done->refused = 0;
    for (size_t i = 0; i < done->len; i++) {
        task_t *task = ours(m, done->ends[i].task, done->ends[i].claim);
        done->ends[i].refused = !task;
        done->refused += !task;
        if (task)
            drop(m, TASKS, task);
    }
    op->rc = done->refused ? PL_ESTALE : PL_OK;
}

static void do_release(pl__conn_t *m, pl_op_t *op) {
    const pl_op_release_t *release = &op->u.release;
    pl_usec_t eta = pl_clock_add(m->now, release->delay);
    for (size_t i = 0; i < release->len; i++) {
        task_t *task = ours(m, release->tasks[i], release->claims[i]);
        bool later = release->delay > 0 && eta > m->due;
        if (task)
            task->state = later ? DELAYED : READY;
        if (task && later)
            task->is.eta = eta;
    }
}

/* ---- queued tasks from outside ----------------------------------------------------------------------------------- */

static int by_eta(const void *a, const void *b) {
    const pl_task_t *x = a, *y = b;
    return x->eta != y->eta ? (x->eta > y->eta) - (x->eta < y->eta) : (x->id > y->id) - (x->id < y->id);
}

static int by_start(const void *a, const void *b) {
    const pl_task_t *x = a, *y = b;
    return x->priority != y->priority ? (x->priority < y->priority) - (x->priority > y->priority) : by_eta(a, b);
}

static int by_age(const void *a, const void *b) {
    const pl_task_t *x = a, *y = b;
    return (x->id < y->id) - (x->id > y->id);
}

/* A copy of all tasks in this order. */
static const task_t *sorted(pl__conn_t *m, int (*compare)(const void *a, const void *b)) {
    task_t *copy = room(&m->scratch, m->len[TASKS] * sizeof *copy);
    memcpy(copy, m->items[TASKS], m->len[TASKS] * sizeof *copy);
    qsort(copy, m->len[TASKS], sizeof *copy, compare);
    return copy;
}

static const queue_t *pull_queue(pl__conn_t *m, pl_op_t *op, pl_str_t name) {
    const queue_t *queue = queue_of(m, name, false);
    op->rc = !queue ? PL_ENOQUEUE : !queue->set.pull ? PL_EMODE : PL_OK;
    return op->rc == PL_OK ? queue : NULL;
}

static bool same(pl_str_t a, pl_str_t b) {
    return a.ptr && b.ptr ? pl_str_eq(a, b) : !a.ptr && !b.ptr;
}

static void do_lease(pl__conn_t *m, pl_op_t *op) {
    pl_op_lease_t *args = &op->u.lease;
    const queue_t *queue = pull_queue(m, op, args->queue);
    const task_t *all = sorted(m, by_eta);
    bool by_tag = args->by_tag;
    pl_str_t tag = args->tag.len ? args->tag : PL_STR_NONE;
    pl_task_t *leased = room(&op->arena, m->len[TASKS] * sizeof *leased);
    args->tasks = leased;
    args->len = 0;
    for (size_t i = 0; i < m->len[TASKS] && queue && !queue->set.paused && args->len < (size_t)args->max; i++) {
        task_t *task = task_of(m, all[i].is.id);
        if (task->state != PULL || task->is.queue.ptr != queue->set.name.ptr || task->is.eta >= m->due)
            continue;
        if (args->group && !by_tag) {
            by_tag = true;
            tag = task->is.tag;
        }
        if (by_tag && !same(task->is.tag, tag))
            continue;
        pl_retry_t retry = retry_of(m, task);
        if (task->is.tries > 0 && !pl_retry_may(&retry, task->is.tries + 1, m->now - task->is.first_try)) {
            die(m, task,
                &(pl_failure_t){ .error_class = PL_STR_LIT("TaskLeaseExpiredError"),
                                 .message = PL_STR_LIT("leased as often as its retry limits allow") });
            task->is.status = 0;
            continue;
        }
        task->is.tries++;
        task->is.first_try = task->is.first_try ? task->is.first_try : m->now;
        task->is.eta = task->lease = pl_clock_add(m->now, pl_clock_from_seconds(args->seconds));
        leased[args->len++] = task->is;
    }
}

/* A live queued task; ref->rc tells why it is not. */
static task_t *find_task(pl__conn_t *m, pl_task_ref_t *ref, const queue_t *queue) {
    const name_t *name = ref->id ? NULL : name_of(m, queue->set.name, ref->name);
    task_t *task = task_of(m, ref->id ? ref->id : name ? name->task : 0);
    if (task && (task->is.queue.ptr != queue->set.name.ptr || task->is.kind < PL_TASK_CALLBACK || task->state == DEAD))
        task = NULL;
    ref->rc = task ? PL_OK : ref->id || name ? PL_ETOMBSTONE : PL_ENOTFOUND;
    return task;
}

static void do_lease_modify(pl__conn_t *m, pl_op_t *op) {
    pl_op_lease_modify_t *modify = &op->u.lease_modify;
    const queue_t *queue = pull_queue(m, op, modify->queue);
    if (queue && queue->set.paused)
        op->rc = PL_EPAUSED;
    if (op->rc != PL_OK)
        return;
    task_t *task = find_task(m, &modify->task, queue);
    op->rc = modify->task.rc;
    if (task && ((task->lease ? task->lease : task->is.eta) != modify->eta || task->is.eta <= m->now))
        op->rc = PL_ELEASE;
    if (op->rc == PL_OK)
        task->is.eta = task->lease = modify->until =
            pl_clock_add(modify->seconds > 0 ? m->now : m->due, pl_clock_from_seconds(modify->seconds));
}

static void do_task_delete(pl__conn_t *m, pl_op_t *op) {
    pl_op_task_delete_t *delete = &op->u.task_delete;
    const queue_t *queue = queue_of(m, delete->queue, false);
    op->rc = queue ? PL_OK : PL_ENOQUEUE;
    for (size_t i = 0; i < delete->len && queue; i++) {
        task_t *task = find_task(m, &delete->tasks[i], queue);
        if (task && queue->set.pull)
            started(m, queue->set.name);
        end(m, task);
    }
}

static int64_t purge(pl__conn_t *m, const queue_t *queue, bool forget_names) {
    int64_t deleted = 0;
    for (size_t i = m->len[NAMES]; i-- > 0 && forget_names;) {
        name_t *name = (name_t *)(void *)m->items[NAMES] + i;
        const task_t *task = name->expires ? NULL : task_of(m, name->task);
        if (name->queue.ptr == queue->set.name.ptr && !(task && task->is.kind < PL_TASK_CALLBACK))
            drop(m, NAMES, name);
    }
    for (size_t i = m->len[TASKS]; i-- > 0;) {
        task_t *task = (task_t *)(void *)m->items[TASKS] + i;
        if (task->is.queue.ptr != queue->set.name.ptr || task->is.kind < PL_TASK_CALLBACK || task->state == DEAD)
            continue;
        end(m, task);
        deleted++;
    }
    return deleted;
}

static void do_purge(pl__conn_t *m, pl_op_t *op) {
    const queue_t *queue = queue_of(m, op->u.purge.queue, false);
    op->rc = queue ? PL_OK : PL_ENOQUEUE;
    if (queue)
        op->u.purge.deleted = purge(m, queue, op->u.purge.forget_names);
}

/* ---- dead tasks -------------------------------------------------------------------------------------------------- */

static task_t *dead_of(pl__conn_t *m, pl_id_t id, const queue_t *queue) {
    task_t *task = task_of(m, id);
    return task && task->state == DEAD && (!queue || task->is.queue.ptr == queue->set.name.ptr) ? task : NULL;
}

static void do_dead_list(pl__conn_t *m, pl_op_t *op) {
    pl_op_dead_list_t *get = &op->u.dead_list;
    const queue_t *queue = get->queue.ptr ? queue_of(m, get->queue, false) : NULL;
    const task_t *all = sorted(m, by_age);
    size_t limit = get->limit > 0 ? (size_t)get->limit : 50;
    pl_task_t *dead = room(&op->arena, m->len[TASKS] * sizeof *dead);
    get->tasks = dead;
    get->len = 0;
    get->next = 0;
    op->rc = get->queue.ptr && !queue ? PL_ENOQUEUE : PL_OK;
    for (size_t i = 0; i < m->len[TASKS] && op->rc == PL_OK && !get->next; i++) {
        if (!dead_of(m, all[i].is.id, queue) || (get->before && all[i].is.id >= get->before))
            continue;
        if (get->len == limit)
            get->next = dead[limit - 1].id;
        else
            dead[get->len++] = all[i].is;
    }
}

static int revive(pl__conn_t *m, pl_id_t id, const queue_t *queue) {
    task_t *task = dead_of(m, id, queue);
    if (!task)
        return PL_ENOTFOUND;
    const name_t *name = task->is.name.ptr ? name_of(m, task->is.queue, task->is.name) : NULL;
    if (name && (!name->expires || name->task != id))
        return PL_EEXISTS;
    task->state = task->is.kind == PL_TASK_PULL ? PULL : READY;
    task->is.eta = m->now;
    task->is.tries = task->is.status = task->executions = 0;
    task->is.first_try = task->is.died = 0;
    task->is.error_class = task->is.message = task->is.traceback = PL_STR_NONE;
    if (task->is.name.ptr)
        take_name(m, task->is.queue, task->is.name, id);
    return PL_OK;
}

static void do_dead_revive(pl__conn_t *m, pl_op_t *op) {
    pl_op_dead_revive_t *args = &op->u.dead_revive;
    const queue_t *queue = args->queue.ptr ? queue_of(m, args->queue, false) : NULL;
    op->rc = args->queue.ptr && !queue ? PL_ENOQUEUE : PL_OK;
    args->revived = 0;
    for (size_t i = 0; i < args->len && !args->all && op->rc == PL_OK; i++) {
        args->tasks[i].rc = revive(m, args->tasks[i].id, queue);
        args->revived += args->tasks[i].rc == PL_OK;
    }
    if (args->all && op->rc == PL_OK) {
        const task_t *all = sorted(m, by_age);
        for (size_t i = m->len[TASKS]; i-- > 0;)
            args->revived += revive(m, all[i].is.id, queue) == PL_OK;
    }
}

static int64_t forget(pl__conn_t *m, pl_id_t id, const queue_t *queue) {
    task_t *task = dead_of(m, id, queue);
    if (task)
        drop(m, TASKS, task);
    return task != NULL;
}

static int64_t forget_all(pl__conn_t *m, const queue_t *queue) {
    const task_t *all = sorted(m, by_age);
    int64_t deleted = 0;
    for (size_t i = m->len[TASKS]; i-- > 0;)
        deleted += forget(m, all[i].is.id, queue);
    return deleted;
}

static void do_dead_purge(pl__conn_t *m, pl_op_t *op) {
    pl_op_dead_purge_t *args = &op->u.dead_purge;
    const queue_t *queue = args->queue.ptr ? queue_of(m, args->queue, false) : NULL;
    op->rc = args->queue.ptr && !queue ? PL_ENOQUEUE : PL_OK;
    args->deleted = args->all && op->rc == PL_OK ? forget_all(m, queue) : 0;
    for (size_t i = 0; i < args->len && !args->all && op->rc == PL_OK; i++)
        args->deleted += forget(m, args->tasks[i].id, queue);
}

#endif
