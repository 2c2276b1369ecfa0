/*
 * seen.h - what people look at: verbs that find stages, tasks and workers, for lists of them and for one of them.
 *
 * All of these only read. What they look through is bounded, so that a page of a store with a million roots comes as
 * soon as one of a small store: a page may have fewer items than asked for, or none, and goes on while `next` is there.
 */
#ifndef PL_STORE_VIEW_SEEN_H
#define PL_STORE_VIEW_SEEN_H

#include "store/model.h"
#include "store/view/start.h"

enum {
    PL_TALLY_MAX = 10000,      /* stages of a tree that are counted, */
    PL_TALLY_PAGE_MAX = 40000, /* and of all trees of a page */
};

/* ids_find: stages with ids in a range, by id: of roots, and of all stages, up to `limit` each. */
typedef struct {
    pl_id_t from, to; /* inclusive */
    int limit;
    const pl_id_t *roots, *stages; /* results */
    size_t roots_len, stages_len;
} pl_op_ids_find_t;

/* What a task is doing, as people see it. Of a pull queue: to be leased, leased, or to be leased later. */
#define PL_SEEN_STATES(X)                                                                                              \
    X(EXECUTING, 0, "executing")                                                                                       \
    X(READY, 1, "ready")                                                                                               \
    X(DELAYED, 2, "delayed")                                                                                           \
    X(DEAD, 3, "dead")

typedef enum {
#define X(name, number, text) PL_SEEN_##name = (number),
    PL_SEEN_STATES(X)
#undef X
        PL_SEEN_STATES_LEN
} pl_seen_state_t;
PL_API const char *pl_seen_state_name(int state);

/* A task as it is shown. */
typedef struct {
    pl_task_t is; /* payload and request: up to PL_SEEN_BYTES of each */
    pl_seen_state_t state;
    pl_id_t stage;       /* whose; 0: it belongs to none */
    pl_str_t class_path; /* of the stage, */
    pl_str_t key;        /* its idempotence key, */
    pl_str_t error;      /* and why its last attempt failed */
    int attempt, attempts;
    pl_str_t worker; /* executing: host:pid; absent: it is gone */
    pl_usec_t since; /* executing: since when, to the second; 0: not known */
} pl_seen_task_t;

/* Where a list of tasks goes on. Zeroed: at its beginning. */
typedef struct {
    int phase; /* which state, in the order of pl_seen_state_t, from 1 */
    int64_t queue, priority, eta;
    pl_id_t id;
} pl_seen_place_t;

enum {
    PL_SEEN_BYTES = 65536,     /* of a payload; longer ones are cut */
    PL_SEEN_SCAN_MAX = 20000,  /* tasks that are looked at for a page */
    PL_SEEN_COUNT_MAX = 100000 /* tasks of a queue that are counted, of each state */
};

/* tasks_find: by state, each in its own order: those executing by id, ready ones as they will start, delayed ones by
 * time, dead ones newest first. PL_ENOQUEUE. */
typedef struct {
    pl_str_t queue;       /* absent: all */
    unsigned states;      /* 1 << pl_seen_state_t of those wanted; 0: all */
    pl_str_t text;        /* found in name, class, key, tag, URL, payload or error; capitals do not count */
    pl_seen_place_t from; /* where to go on */
    int limit;
    const pl_seen_task_t *tasks; /* results */
    size_t len;
    pl_seen_place_t next; /* where the next page goes on */
    bool is_more;
} pl_op_tasks_find_t;

/* Whether `part` is in the text: ASCII letters are the same large and small. */
bool pl_text_has(pl_str_t text, pl_str_t part);
/* Whether it is in one of the texts of a task; an absent part is. */
bool pl_seen_has(const pl_seen_task_t *task, pl_str_t part);
bool pl_seen_is_wanted(unsigned states, pl_seen_state_t state);

/* A queue as it is shown. */
typedef struct {
    pl_queue_settings_t is;
    int64_t counts[PL_SEEN_STATES_LEN];
    bool is_more; /* there are more than PL_SEEN_COUNT_MAX of a state: they were not counted to the end */
    pl_usec_t oldest_ready;
    double tokens; /* of its rate, now; below 0: it has none */
    int64_t executed_last_minute;
} pl_seen_queue_t;

/* queues_seen: settings and figures of the queues that are not removed, by name. */
typedef struct {
    pl_str_t name; /* absent: all */
    const pl_seen_queue_t *queues;
    size_t len;
} pl_op_queues_seen_t;

/* A worker as it is shown. */
typedef struct {
    pl_id_t id;
    int number;
    int64_t pid;
    pl_str_t host, version; /* version absent: of a version that did not say */
    pl_str_t serves; /* names of queues, each with a line break behind; empty: it executes nothing; absent: all */
    pl_usec_t started, lease_until;
    int64_t claims;
    bool is_gone; /* as far as the system can tell */
} pl_worker_t;

/* An input that a stage waits for, and whose output it is. */
typedef struct {
    pl_id_t slot, stage; /* stage 0: not found */
    pl_str_t name, class_path, key;
    pl_stage_state_t state; /* of the stage */
    unsigned flags;
} pl_why_slot_t;

/* why_get: what is known of why a stage, or a task, does not start. Of a stage the id; of a task its id, or queue and
 * name. PL_ENOTFOUND. */
typedef struct {
    pl_id_t id;
    pl_str_t queue, name;    /* count when id is 0 */
    const pl_stage_t *stage; /* results; NULL: a task that is of no stage */
    bool has_task;           /* of that: */
    pl_seen_task_t task;     /* of the stage, or the one asked for */
    pl_start_facts_t facts;  /* as pl_start_reasons was given them */
    pl_start_reason_t reasons[PL_START_REASONS_LEN];
    int reasons_len;
    int64_t used;      /* places of max_concurrent */
    pl_str_t schedule; /* of a fire that is held back: its name, and */
    pl_id_t earlier;   /* what a fire before it has started, or is held back as well; 0: none */
    const pl_why_slot_t *slots;
    size_t slots_len;
} pl_op_why_get_t;

/* workers_get: by number. */
typedef struct {
    const pl_worker_t *workers;
    size_t len;
} pl_op_workers_get_t;

#endif
