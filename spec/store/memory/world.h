/*
 * world.h - all that a store in memory has, and how it is looked up. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_WORLD_H
#define PL_SPEC_MEMORY_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/by_verbs.h"
#include "store/driver.h"

/* ---- everything there is ----------------------------------------------------------------------------------------- */

enum { READY, DELAYED, CLAIMED, PULL, DEAD }; /* states of a task */
enum {
    QUEUES,
    TASKS,
    NAMES,
    STAGES,
    SLOTS,
    FAILURES,
    STATUSES,
    METAS,
    STARTS,
    WATCHED,
    FALLBACKS,
    FLOWS,
    ENTRIES,
    MAILS,
    CHUNKS,
    VALUES,
    WAITS,
    LISTS
};

typedef struct {
    pl_queue_settings_t set;
    bool has_tokens;
    double tokens; /* at that time */
    pl_usec_t tokens_time;
} queue_t;

typedef struct {
    pl_task_t is;
    int state, claim, executions;
    pl_id_t stage;
    pl_usec_t lease; /* its end, as the holder was told; 0: never leased */
} task_t;

typedef struct {
    pl_str_t queue, name;
    pl_id_t task;
    pl_usec_t expires; /* 0: the task lives */
} name_t;

typedef struct {
    pl_id_t stage;
    pl_failure_t is;
} failed_t;

typedef struct {
    pl_id_t stage;
    pl_status_t is;
} told_t;

typedef struct {
    pl_id_t stage;
    pl_str_t value;
} fallback_t;

/* A durable function, and what is of it. */
typedef struct {
    pl_flow_t is;
    pl_str_t wants;
    int64_t posted; /* mails so far */
} flow_t;

typedef struct {
    pl_id_t stage;
    pl_entry_t is;
} entry_t;

typedef struct {
    pl_id_t stage;
    pl_mail_t is;
    bool taken;
    pl_reply_t reply;
    pl_str_t answer;
} mail_t;

typedef struct {
    pl_id_t stage;
    pl_str_t stream, source;
    int64_t k;
    pl_stream_chunk_t is;
} chunk_t;

typedef struct {
    pl_id_t stage;
    pl_str_t name, value;
    pl_usec_t time;
} value_t;

typedef struct {
    pl_id_t stage, slot;
} wait_t;

typedef struct {
    pl_str_t key, value;
} meta_t;

typedef struct {
    pl_str_t queue;
    int64_t second;
} start_t;

/* Items of a list do not move when others are added. */
enum { ROOM = 1 << 14 };
static const size_t sizes[LISTS] = { sizeof(queue_t),   sizeof(task_t),   sizeof(name_t),     sizeof(pl_stage_t),
                                     sizeof(pl_slot_t), sizeof(failed_t), sizeof(told_t),     sizeof(meta_t),
                                     sizeof(start_t),   sizeof(pl_id_t),  sizeof(fallback_t), sizeof(flow_t),
                                     sizeof(entry_t),   sizeof(mail_t),   sizeof(chunk_t),    sizeof(value_t),
                                     sizeof(wait_t) };

struct pl__conn {
    pl_store_options_t options;
    pl_usec_t now, due;
    char *items[LISTS], *before[LISTS];
    size_t len[LISTS], len_before[LISTS];
    pl__arena_t texts, scratch;
    pl_op_join_t joined;
    pl_watch_event_t *finals;
    int rc; /* the transaction is broken */
    const char *why;
};

#define EACH(type, item, list)                                                                                         \
    for (type *item = (type *)(void *)m->items[list]; item < (type *)(void *)m->items[list] + m->len[list]; item++)
#define ADD(type, list) ((type *)add(m, list))

static void *add(pl__conn_t *m, int list) {
    if (m->len[list] == ROOM)
        abort();
    return memset(m->items[list] + m->len[list]++ * sizes[list], 0, sizes[list]);
}

static void drop(pl__conn_t *m, int list, void *item) {
    char *last = m->items[list] + --m->len[list] * sizes[list];
    memmove(item, (char *)item + sizes[list], (size_t)(last - (char *)item));
}

/* Items of the stage: each begins with its id. */
static void drop_of(pl__conn_t *m, int list, pl_id_t stage) {
    for (size_t i = m->len[list]; i-- > 0;) {
        void *item = m->items[list] + i * sizes[list];
        if (*(pl_id_t *)item == stage)
            drop(m, list, item);
    }
}

static void *room(pl__arena_t *arena, size_t size) {
    void *memory = pl__arena_get(arena, size ? size : 1);
    return memory ? memory : (abort(), NULL);
}

static pl_str_t text(pl__conn_t *m, pl_str_t from) {
    pl_str_t copy;
    return pl__arena_copy(&m->texts, from, &copy) == PL_OK ? copy : (abort(), copy);
}

static const void *array(pl__conn_t *m, const void *from, size_t size) {
    return size ? memcpy(room(&m->texts, size), from, size) : NULL;
}

/* ---- looking up -------------------------------------------------------------------------------------------------- */

static queue_t *queue_of(pl__conn_t *m, pl_str_t name, bool removed_too) {
    EACH(queue_t, queue, QUEUES) {
        if (pl_str_eq(queue->set.name, name.ptr ? name : PL_STR_LIT("default")))
            return removed_too || !queue->set.removed ? queue : NULL;
    }
    return NULL;
}

static const pl_queue_settings_t plain = { .rate = -1, .bucket_size = -1, .retry = PL_RETRY_NONE };

static queue_t *make_queue(pl__conn_t *m, pl_str_t name) {
    queue_t *queue = queue_of(m, name, true);
    if (!queue) {
        queue = ADD(queue_t, QUEUES);
        queue->set = plain;
        queue->set.name = text(m, name.ptr ? name : PL_STR_LIT("default"));
    }
    queue->set.removed = false;
    return queue;
}

static task_t *task_of(pl__conn_t *m, pl_id_t id) {
    EACH(task_t, task, TASKS) {
        if (task->is.id == id)
            return task;
    }
    return NULL;
}

static name_t *name_of(pl__conn_t *m, pl_str_t queue, pl_str_t name) {
    EACH(name_t, each, NAMES) {
        if (pl_str_eq(each->queue, queue.ptr ? queue : PL_STR_LIT("default")) && pl_str_eq(each->name, name))
            return each->expires && each->expires <= m->now ? NULL : each;
    }
    return NULL;
}

static pl_stage_t *stage_of(pl__conn_t *m, pl_id_t id) {
    EACH(pl_stage_t, stage, STAGES) {
        if (stage->id == id)
            return stage;
    }
    return NULL;
}

static pl_stage_t *stage_by(pl__conn_t *m, pl_id_t id, pl_str_t key) {
    EACH(pl_stage_t, stage, STAGES) {
        if (key.ptr ? pl_str_eq(stage->key, key) : stage->id == id)
            return stage;
    }
    return NULL;
}

static pl_slot_t *slot_of(pl__conn_t *m, pl_id_t id) {
    EACH(pl_slot_t, slot, SLOTS) {
        if (slot->id == id)
            return slot;
    }
    return NULL;
}

static flow_t *flow_of(pl__conn_t *m, pl_id_t stage) {
    EACH(flow_t, flow, FLOWS) {
        if (flow->is.stage == stage)
            return flow;
    }
    return NULL;
}

static bool is_final(const pl_stage_t *stage) {
    return stage->state == PL_STAGE_DONE || stage->state == PL_STAGE_ABORTED;
}

/* ---- tasks ------------------------------------------------------------------------------------------------------- */

static void started(pl__conn_t *m, pl_str_t queue) {
    *ADD(start_t, STARTS) = (start_t){ queue, m->now / PL_USEC_PER_SEC };
}

/* A durable function that is held gets a task that waits. */
static void push(pl__conn_t *m, task_t task) {
    const flow_t *flow = task.is.kind == PL_TASK_RUN ? flow_of(m, task.is.id) : NULL;
    if (task_of(m, task.is.id)) {
        m->rc = PL_ECONSTRAINT;
        m->why = "there is a task of this id";
        return;
    }
    task.is.eta = flow && flow->is.mode == PL_FLOW_HELD ? PL_USEC_MAX : task.is.eta ? task.is.eta : m->due;
    task.state = task.is.kind == PL_TASK_PULL ? PULL : task.is.eta > m->due ? DELAYED : READY;
    *ADD(task_t, TASKS) = task;
}

static void push_of(pl__conn_t *m, const pl_stage_t *stage, pl_task_kind_t kind, pl_usec_t eta) {
    push(m, (task_t){ .is = { .id = stage->id,
                              .kind = kind,
                              .queue = stage->queue,
                              .priority = stage->priority,
                              .eta = eta,
                              .retry = PL_RETRY_NONE } });
}

static void put_tombstone(pl__conn_t *m, const task_t *task) {
    name_t *name = task->is.name.ptr ? name_of(m, task->is.queue, task->is.name) : NULL;
    if (name)
        name->expires = pl_clock_add(m->now, pl_clock_from_seconds(m->options.tombstone_seconds));
}

static void end(pl__conn_t *m, task_t *task) {
    if (task)
        put_tombstone(m, task);
    if (task)
        drop(m, TASKS, task);
}

static task_t *ours(pl__conn_t *m, pl_id_t id, int claim) {
    task_t *task = task_of(m, id);
    return task && task->state == CLAIMED && task->claim == claim ? task : NULL;
}

static void delay(pl__conn_t *m, task_t *task, pl_usec_t eta, int tries) {
    task->state = eta > m->due ? DELAYED : READY;
    task->is.eta = eta > m->due ? eta : m->due;
    task->is.tries += tries;
}

static void die(pl__conn_t *m, task_t *task, const pl_failure_t *failure) {
    put_tombstone(m, task);
    task->state = DEAD;
    task->is.died = m->now;
    task->is.error_class = text(m, failure->error_class);
    task->is.message = text(m, failure->message);
    task->is.traceback = text(m, failure->traceback);
}

#endif
