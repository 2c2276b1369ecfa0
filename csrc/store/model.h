/*
 * model.h - what a store keeps, as plain C data: stages, slots, tasks, queues, failures, and the names of their states.
 *
 * Strings and arrays are borrowed from the arena of whoever holds the structure: an op, a claim, a batch.
 */
#ifndef PL_STORE_MODEL_H
#define PL_STORE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/ids.h"
#include "base/memory.h"
#include "base/retry.h"

/* ---- stages and tasks -------------------------------------------------------------------------------------- */

/*
 * The states of a stage. store/sqlite/schema/001_initial.sql constrains the same machine.
 *
 *   WAITING ──last input filled──► READY ──run spawned or is async──► RUN ──open = 0──┐
 *      │                           ▲  │ └──run filled all outputs──────────────────────┤
 *      │                   retry ──┘  │                                              ▼
 *      │                              │                    no finalized(): DONE ◄── settle ──► FINALIZING ──► DONE
 *      └──────────── abort ───────────┴──► ABORTING ──finalized()──► ABORTED ──resume──► as the abort found it
 *                                             ▲ │ try_cancel() refused                   (PL_STAGE_CUT)
 *                          complete / fill ───┘ ▼
 *                                          ABORT_HELD
 *
 * A failure aborts the tree; where the stage that failed, or one above it, has a fallback, only the part of the tree
 * from there on: its unfilled outputs get that value, it counts as settled, and it ends ABORTED. Each child of a
 * durable function is a scope of aborts (PL_STAGE_SCOPE): what fails in it, or is aborted from outside, takes only that
 * part of the tree with it, and the function goes on. An aborted scope has settled as soon as it is ABORTED.
 */
#define PL_STAGE_STATES(X)                                                                                             \
    X(WAITING, 0, "waiting")       /* inputs are unfilled: missing > 0 */                                              \
    X(READY, 1, "ready")           /* a RUN task exists (ready, delayed or claimed) */                                 \
    X(RUN, 2, "run")               /* run() is committed; open > 0 */                                                  \
    X(FINALIZING, 3, "finalizing") /* settled; a FINALIZE task exists */                                               \
    X(DONE, 4, "done")                                                                                                 \
    X(ABORTING, 5, "aborting") /* an ABORT task exists */                                                              \
    X(ABORTED, 6, "aborted")                                                                                           \
    X(ABORT_HELD, 7, "abort_held") /* async, try_cancel refused: ends ABORTED at its next complete or callback */

typedef enum {
#define X(name, number, text) PL_STAGE_##name = (number),
    PL_STAGE_STATES(X)
#undef X
} pl_stage_state_t;
PL_API const char *pl_stage_state_name(int state); /* static; "?" if unknown */

/* What a task asks for. */
#define PL_TASK_KINDS(X)                                                                                               \
    X(RUN, 0, "run")                                                                                                   \
    X(FINALIZE, 1, "finalize")                                                                                         \
    X(ABORT, 2, "abort")                                                                                               \
    X(CALLBACK, 3, "callback")                                                                                         \
    X(PUSH, 4, "push")         /* a request to a URL */                                                                \
    X(PULL, 5, "pull")         /* waits for a lease, is never claimed */                                               \
    X(DEFERRED, 6, "deferred") /* a function call */

typedef enum {
#define X(name, number, text) PL_TASK_##name = (number),
    PL_TASK_KINDS(X)
#undef X
} pl_task_kind_t;
PL_API const char *pl_task_kind_name(int kind);

/* Facts of a class that the store needs without loading it. */
enum {
    PL_STAGE_ASYNC = 1,         /* outputs come from outside */
    PL_STAGE_HAS_FINALIZED = 2, /* completing needs a FINALIZE task */
    PL_STAGE_HAS_TRY_CANCEL = 4,
    PL_STAGE_STRICT = 8,      /* outputs are declared */
    PL_STAGE_TEST = 16,       /* started by start_test */
    PL_STAGE_TASK_RETRY = 32, /* errors are raised again to the caller (P116) */
    PL_STAGE_WAS_RUN = 64,    /* set by the store: run() was committed before the abort came; ask try_cancel() */
    /* Set by the store: what an abort has found, and a resume goes on from. None: no abort, or one of a version that
     * did not say. */
    PL_STAGE_CUT_EARLY = 1 << 7, /* WAITING, READY: run() was not committed */
    PL_STAGE_CUT_OPEN = 2 << 7,  /* RUN */
    PL_STAGE_CUT_LATE = 3 << 7,  /* FINALIZING */
    PL_STAGE_CUT = 3 << 7,
    PL_STAGE_RESUMED = 1 << 9,         /* set by the store, on a root: counts how often its tree was resumed, */
    PL_STAGE_RESUMES = 31 << 9,        /* modulo 32 */
    PL_STAGE_HAS_FALLBACK = 1 << 14,   /* a value is kept for its outputs, should it be aborted; */
    PL_STAGE_FALLBACK_TAKEN = 1 << 15, /* set by the store: it was, and counts as settled */
    /* from 1 << 16 on: the host's own, but for */
    PL_STAGE_HIDDEN = 1 << 17,    /* the host made it itself: not counted among the stages unless it fails */
    PL_STAGE_SCHEDULED = 1 << 18, /* a schedule has started it */
    PL_STAGE_DURABLE = 1 << 20,   /* a durable function: it waits in the middle of its run, and has a journal */
    PL_STAGE_SCOPE = 1 << 21,     /* set by the store, of a child of a durable function: an abort of it ends here */
    PL_STAGE_TRACED = 1 << 22 /* the root belongs to a trace that is kept with it; below the root set by the store */
};

typedef struct {
    pl_str_t name; /* "default" or a declared name */
    pl_id_t slot;
} pl_output_t;

/* A stage to be created, alone (start) or as a child (outcome). */
typedef struct {
    pl_id_t id; /* also its default slot, unless outputs says otherwise */
    pl_str_t class_path;
    pl_str_t queue;        /* absent: "default" */
    pl_str_t base_path;    /* absent: the default base path */
    pl_str_t target;       /* absent: none */
    pl_str_t args;         /* CBOR, see binding/value/codec.h */
    const pl_id_t *inputs; /* slots the arguments refer to: ascending, without duplicates */
    size_t inputs_len;
    const pl_id_t *after; /* slots that must be filled first, values unused: ascending, without duplicates */
    size_t after_len;
    const pl_output_t *outputs; /* every output, "default" first; none: {"default", id} */
    size_t outputs_len;
    int max_attempts; /* >= 1 */
    int max_losses;   /* workers that may die in a row of an attempt; 0: as the queue says */
    double backoff_seconds, backoff_factor;
    double timeout;    /* seconds for one attempt; 0 = none */
    int priority;      /* higher runs first */
    unsigned flags;    /* PL_STAGE_* */
    pl_usec_t eta;     /* 0 = now */
    pl_str_t key;      /* start only: idempotence key, absent = none */
    pl_str_t fallback; /* outcome only, with PL_STAGE_HAS_FALLBACK: CBOR, as the values of slots */
    pl_str_t trace;    /* of a root, with PL_STAGE_TRACED: `traceparent` of what has started it */
    pl_str_t seed;     /* with PL_STAGE_DURABLE: PL_FLOW_SEED bytes */
    int version;       /* with PL_STAGE_DURABLE, >= 1; 0: 1 */
    bool hold;         /* start only: write the records but no task (P9) */
    int rc;            /* start only, result: PL_OK or PL_EEXISTS */
} pl_stage_new_t;

typedef struct {
    pl_id_t slot;
    pl_str_t value; /* CBOR */
} pl_fill_t;

/* A task to be added. */
typedef struct {
    pl_id_t id;
    pl_task_kind_t kind;
    pl_str_t queue; /* absent: "default" */
    pl_str_t name;  /* absent: none; unique in its queue, also for a while after the task is gone */
    pl_id_t stage;  /* CALLBACK: whose; RUN: the stage held back by start */
    pl_str_t payload;
    int priority;
    pl_usec_t eta; /* 0 = now */
    /* PUSH, PULL, DEFERRED: */
    pl_id_t name_id;  /* the name is that of an unnamed task with this id */
    pl_str_t tag;     /* PULL */
    pl_str_t request; /* PUSH: as the host encodes method, URL and headers */
    double deadline;  /* seconds for one dispatch; 0 = none */
    pl_retry_t retry; /* what is below 0 is the queue's */
    int rc;           /* result: PL_OK, PL_EEXISTS, PL_ETOMBSTONE, PL_ENOTFOUND, PL_ESTATE, PL_ENOQUEUE, PL_EMODE */
} pl_task_new_t;

/* Settings of a queue. */
typedef struct {
    pl_str_t name;
    bool pull, paused, removed;
    double rate;        /* tasks started per second; below 0: no limit */
    double bucket_size; /* as many at once; below 0: 5 */
    int max_concurrent; /* tasks being executed at once, over all processes; 0: no limit */
    pl_str_t target;    /* absent: none */
    pl_retry_t retry;
    /* queue_set with `patch`: which of these to change */
    bool has_mode, has_paused, has_rate, has_bucket_size, has_max_concurrent, has_target, has_retry;
    int rc; /* queue_set, result: PL_OK, PL_ESTATE (the mode of a queue that has tasks) */
} pl_queue_settings_t;

/* How long what is over is kept; below 0: for ever. */
typedef struct {
    pl_usec_t done, aborted;                   /* trees, from the end of their root */
    pl_usec_t dead;                            /* tasks without retries left */
    pl_usec_t journals_done, journals_aborted; /* journals of durable functions, from the end of those */
    int64_t max_bytes; /* in use by the file: while it has more the oldest of these go before their time; 0: none */
} pl_retention_t;

/* What a sweep has deleted. */
typedef struct {
    int64_t trees, dead, names;
} pl_swept_t;

/* How large the store is, in bytes. */
typedef struct {
    int64_t bytes, free; /* of the file; of that unused */
    int64_t page;        /* of one page */
    int64_t log;         /* of the file of the log */
    bool shrinks;        /* unused pages can be given back little by little */
} pl_space_t;

/* What may go by now. */
typedef struct {
    int64_t count;
    bool is_more;     /* there is more than that: it was not counted to the end */
    pl_usec_t oldest; /* 0: none */
} pl_due_t;

/* A queued task as read back: leased, or dead. */
typedef struct {
    pl_id_t id;
    pl_task_kind_t kind;
    pl_str_t queue, name, payload, request, tag;
    pl_usec_t eta, first_try;
    int tries, priority, status;
    double deadline;
    pl_retry_t retry;
    pl_usec_t died; /* dead tasks: when, and the last error */
    pl_str_t error_class, message, traceback;
} pl_task_t;

typedef struct {
    pl_str_t message, console_url, links; /* links: CBOR map name -> URL */
    pl_usec_t time;
} pl_status_t;

typedef struct {
    pl_usec_t time;
    int attempt; /* result: which attempt it was of the stage, from 1 */
    pl_str_t worker, error_class, message, traceback;
    pl_id_t stage; /* result of failures_get with `tree`: whose it is */
    pl_str_t class_path, key;
} pl_failure_t;

typedef struct {
    pl_id_t id;
    bool filled;
    pl_str_t value;
    pl_id_t filler; /* the stage that filled it; unfilled: the deepest stage that owns it, 0 if unknown */
    pl_usec_t time;
    size_t cut; /* tree_page: bytes of a value that was too long to be read */
} pl_slot_t;

enum {
    PL_UNFILLED_MAX = 100, /* slots that a pl_work_t names */
    PL_PLACES_MAX = 1000   /* places of a queue that are counted */
};

/* What a live stage waits for. */
typedef struct {
    const pl_id_t *unfilled; /* WAITING: inputs, PL_UNFILLED_MAX at most */
    size_t unfilled_len;
    int outputs_open; /* RUN, of an async stage: outputs that count as open */
    bool has_task;    /* the others: a task to run, finalize or abort it is there; with that: */
    bool claimed;     /* by */
    pl_str_t worker;  /* host:pid; absent: it is gone */
    pl_usec_t since;  /* claimed: since when, to the second; 0: not known */
    pl_usec_t until;  /* when the task may run; 0: now */
    int place;        /* in its queue, from 1; PL_PLACES_MAX + 1: behind these; 0: not counted */
    bool paused;      /* its queue starts nothing: it is paused, or has rate 0 */
} pl_work_t;

/* How many stages are below one, and how many of these are done. */
typedef struct {
    int64_t children, children_done;
    int64_t stages, stages_done; /* of a root: in its whole tree, itself not counted */
    bool is_more;                /* there are more than that: they were not counted to the end */
} pl_tally_t;

/* A stage as read back. Absent strings have their defaults. */
typedef struct {
    pl_id_t id, root, parent; /* parent 0: a root */
    pl_str_t class_path, queue, base_path, target, key;
    pl_str_t args;
    pl_str_t trace; /* with PL_STAGE_TRACED, of a claim and stage_get: that of its root */
    const pl_id_t *inputs, *after;
    size_t inputs_len, after_len;
    const pl_output_t *outputs; /* never empty: "default" first */
    size_t outputs_len;
    int attempt; /* failed attempts so far: 0, 1, … */
    int max_attempts;
    double backoff_seconds, backoff_factor, timeout;
    int priority;
    unsigned flags;
    pl_stage_state_t state;
    bool abort_requested;
    int missing, open;
    pl_usec_t created, eta, started, finalized; /* started: last became ready; 0 = not yet */
    pl_usec_t retry_at;                         /* 0 = never retried */
    pl_str_t retry_message, abort_message;
    bool has_status;
    pl_status_t status;
    size_t args_cut;         /* tree_page: bytes of arguments that were too long to be read; 0: args has them */
    int64_t children;        /* tree_page, if asked to count: how many it has; below 0: not counted */
    int64_t children_done;   /* of these: how many are done */
    const pl_work_t *work;   /* tree_page, roots_list, stage_get if asked for: of a live one; else NULL */
    const pl_tally_t *tally; /* stage_get and roots_find, if asked for; else NULL */
} pl_stage_t;

/* With PL_STAGE_ABORTING: the tree of the stage was aborted while its run is, perhaps here, under way. With
 * PL_STAGE_READY: there are news for its run, which is likewise. */
typedef struct pl_final {
    struct pl_final *next;
    pl_id_t stage;
    pl_stage_state_t state;
    bool ours;      /* it has become so by this commit, and not by one of another process */
    bool unwatched; /* nobody waits for it: all that become final are told of */
    /* As the commit left it, so that whoever waits for it need not ask: with its slots, as stage_get has them. NULL: a
     * driver need not read it. */
    const pl_stage_t *record;
    const pl_slot_t *slots;
    size_t slots_len;
} pl_watch_event_t;

/* What was claimed of this queue and has not started is to be given back (verb release). */
typedef struct pl_recall {
    struct pl_recall *next;
    int64_t queue; /* queue_id of claims */
} pl_recall_t;

/* Looks a slot up by id; NULL if it is not among them. */
PL_API const pl_slot_t *pl_slots_find(const pl_slot_t *slots, size_t len, pl_id_t id);
/* Whether a queue is among those of pl_store_options_t.serves. */
bool pl_queue_is_served(const char *serves, pl_str_t name);

/* ---- values of SQL ----------------------------------------------------------------------------------------- */

typedef enum { PL_VALUE_NULL, PL_VALUE_INTEGER, PL_VALUE_REAL, PL_VALUE_TEXT, PL_VALUE_BLOB } pl_value_kind_t;

typedef struct {
    pl_value_kind_t kind;
    int64_t integer;
    double real;
    pl_str_t bytes; /* TEXT (UTF-8), BLOB */
} pl_value_t;

typedef struct pl_row {
    struct pl_row *next;
    pl_value_t values[];
} pl_row_t;

#endif
