/*
 * event.h - what happens in an engine, for those who look on: hooks, traces, the log.
 *
 * Nothing is told of, and nothing is kept for it, until pl_engine_tell. What ends a claim is told of when its commit
 * has come back, and only if the store has taken it; so every event is about something that holds.
 */
#ifndef PL_ENGINE_TELEMETRY_EVENT_H
#define PL_ENGINE_TELEMETRY_EVENT_H

#include "store/model.h"

typedef enum {
    PL_EVENT_ENDED,   /* an attempt: well, or failed */
    PL_EVENT_FINAL,   /* a stage is done or aborted: by a commit of this process */
    PL_EVENT_PAUSED,  /* a queue was paused by this process */
    PL_EVENT_JOINED,  /* another worker is there */
    PL_EVENT_LOST,    /* another worker is gone, and this process has given its tasks back */
    PL_EVENT_STOPPING /* the engine finishes what runs */
} pl_event_what_t;

/* Strings are borrowed: see pl_event_copy, and pl_host_t.event. */
typedef struct pl_event {
    struct pl_event *next;
    pl_event_what_t what;
    pl_id_t task; /* ENDED: of the task, which is that of the stage in its own life; FINAL: the stage */
    pl_id_t stage, root;
    pl_task_kind_t kind;
    pl_stage_state_t state; /* FINAL */
    int claim, attempt, max_attempts;
    bool failed, will_retry, died;
    bool sampled; /* ENDED: its trace is, as what has started its root says, or by the id of that, or of a task */
    bool more;    /* another one follows at once: the host may link them by `next` until the last has come */
    bool owned;   /* the host's: whether it is one of its own copies */
    int status;   /* of an answer; 0: none */
    pl_str_t queue, name, class_path, key, error_class, message, traceback;
    pl_str_t request;         /* ENDED: of a task, if it names a trace and traces are told of; of a stage: what is kept
                                 with its root, if it belongs to a trace (pl_stage_t.trace) */
    pl_usec_t eta, time;      /* wall clock; time: when it happened */
    pl_usec_t started, ended; /* steady clock: of the attempt */
    pl_usec_t again;          /* wall clock: when it runs again; 0: its queue has said so, or never */
    int worker;               /* number; of JOINED and LOST, with */
    int64_t pid;
} pl_event_t;

/* Returns owned: a copy with all its strings, one block for pl__free; NULL: no memory. */
pl_event_t *pl__event_dup(const pl_event_t *event) PL__MUST_USE;

struct pl_engine;
struct pl_op;
struct pl_end;
struct pl_claim;
struct pl_attempt;

/* For the engine's rooms; all of them only while it tells. */
/* What will be told of the claim that `op` ends, in the memory of the op. NULL: there is none, and nothing is told. */
pl_event_t *pl__event_note(struct pl_engine *engine, struct pl_op *op, const struct pl_claim *claim);
/* `op` takes the place of the one that `event` was noted with. */
void pl__event_move(struct pl_op *op, const pl_event_t *event);
/* An op has come back, and before anybody else sees it. */
void pl__event_op(struct pl_engine *engine, const struct pl_op *op);
/* An attempt that the store itself has recorded as failed. */
void pl__event_recorded(struct pl_engine *engine, const struct pl_attempt *attempt);
void pl__event_tell(struct pl_engine *engine, pl_event_t *event);

#endif
