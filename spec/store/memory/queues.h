/*
 * queues.h - the verbs of queues. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_QUEUES_H
#define PL_SPEC_MEMORY_QUEUES_H

#include "tasks.h"

static int set_queue(pl__conn_t *m, const pl_queue_settings_t *given, bool patch) {
    queue_t *queue = given->removed ? queue_of(m, given->name, false) : make_queue(m, given->name);
    if (!queue)
        return PL_ENOTFOUND;
    pl_queue_settings_t set = queue->set;
    if (given->removed) {
        purge(m, queue, true);
        forget_all(m, queue);
        queue->set = plain;
        queue->set.name = set.name;
        queue->set.removed = true;
        return PL_OK;
    }
    set.pull = !patch || given->has_mode ? given->pull : set.pull;
    set.paused = given->has_paused ? given->paused : set.paused;
    set.rate = !patch || given->has_rate ? given->rate : set.rate;
    set.bucket_size = !patch || given->has_bucket_size ? given->bucket_size : set.bucket_size;
    set.max_concurrent = !patch || given->has_max_concurrent ? given->max_concurrent : set.max_concurrent;
    set.target = !patch || given->has_target ? text(m, given->target) : set.target;
    set.retry = !patch || given->has_retry ? given->retry : set.retry;
    EACH(task_t, task, TASKS) {
        bool is_queued = task->is.kind >= PL_TASK_PUSH && task->state != DEAD;
        if (set.pull != queue->set.pull && is_queued && task->is.queue.ptr == queue->set.name.ptr)
            return PL_ESTATE;
    }
    queue->has_tokens = queue->has_tokens && queue->set.rate >= 0;
    queue->set = set;
    return PL_OK;
}

static void do_queue_set(pl__conn_t *m, pl_op_t *op) {
    pl_op_queue_set_t *set = &op->u.queue_set;
    for (size_t i = 0; i < set->len; i++)
        set->queues[i].rc = set_queue(m, &set->queues[i], set->patch);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const queue_t *)a)->set.name.ptr, ((const queue_t *)b)->set.name.ptr);
}

static void do_queue_get(pl__conn_t *m, pl_op_t *op) {
    pl_op_queue_get_t *get = &op->u.queue_get;
    pl_queue_settings_t *list = room(&op->arena, m->len[QUEUES] * sizeof *list);
    queue_t *all = room(&m->scratch, m->len[QUEUES] * sizeof *all);
    memcpy(all, m->items[QUEUES], m->len[QUEUES] * sizeof *all);
    qsort(all, m->len[QUEUES], sizeof *all, by_name);
    get->queues = list;
    get->len = 0;
    for (size_t i = 0; i < m->len[QUEUES]; i++)
        if (get->name.ptr ? pl_str_eq(all[i].set.name, get->name) : !all[i].set.removed)
            list[get->len++] = all[i].set;
}

static int count(pl__conn_t *m, const queue_t *queue, int state) {
    int n = 0;
    EACH(task_t, task, TASKS)
    n += task->is.queue.ptr == queue->set.name.ptr && task->state == state;
    return n;
}

static void read_stats(pl__conn_t *m, pl_queue_stats_t *stats) {
    const queue_t *queue = queue_of(m, stats->queue, false);
    *stats = (pl_queue_stats_t){ .queue = stats->queue, .known = queue != NULL, .enforced_rate = -1 };
    if (!queue)
        return;
    stats->enforced_rate = queue->set.paused ? 0 : queue->set.rate;
    stats->dead = count(m, queue, DEAD);
    EACH(start_t, start, STARTS)
    stats->executed_last_minute +=
        start->queue.ptr == queue->set.name.ptr && start->second > m->now / PL_USEC_PER_SEC - 60;
    EACH(task_t, task, TASKS) {
        if (task->is.queue.ptr != queue->set.name.ptr || task->state == DEAD)
            continue;
        stats->tasks++;
        stats->in_flight += task->state == CLAIMED || (task->state == PULL && task->is.tries && task->is.eta > m->now);
        if (task->is.eta <= m->now && (!stats->oldest_eta || task->is.eta < stats->oldest_eta))
            stats->oldest_eta = task->is.eta;
    }
}

static void do_queue_stats(pl__conn_t *m, pl_op_t *op) {
    for (size_t i = 0; i < op->u.queue_stats.len; i++)
        read_stats(m, &op->u.queue_stats.queues[i]);
}

static void do_counts_get(pl__conn_t *m, pl_op_t *op) {
    pl_op_counts_get_t *get = &op->u.counts_get;
    pl_count_t *counts = room(&op->arena, m->len[QUEUES] * sizeof *counts);
    queue_t *all = room(&m->scratch, m->len[QUEUES] * sizeof *all);
    memcpy(all, m->items[QUEUES], m->len[QUEUES] * sizeof *all);
    qsort(all, m->len[QUEUES], sizeof *all, by_name);
    for (size_t i = 0; i < m->len[QUEUES]; i++)
        counts[i] = (pl_count_t){ all[i].set.name, all[i].set.paused || all[i].set.rate == 0, count(m, &all[i], READY),
                                  count(m, &all[i], DELAYED), count(m, &all[i], CLAIMED) };
    get->counts = counts;
    get->len = m->len[QUEUES];
    EACH(pl_stage_t, stage, STAGES)
    get->stages += !(stage->flags & PL_STAGE_HIDDEN) || stage->attempt > 0;
    get->workers = m->joined.worker != 0;
}

#endif
