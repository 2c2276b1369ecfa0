/*
 * start.h - may a task start now, and if not, what decides that?
 *
 * Whoever claims asks pl_start_allowed how many tasks of a queue may start, and who explains asks pl_start_reasons
 * about one. Both go through the same gates in the same order, and know nothing but the facts they are given: so an
 * explanation says what a claim would find. Pure functions.
 *
 *   a task       WAITS ──► is there, and due ──► its queue
 *   its queue    UNSERVED ──► PAUSED ──► STOPPED ──► CONCURRENCY ──► RATE ──► it starts in its turn
 */
#ifndef PL_STORE_VIEW_START_H
#define PL_STORE_VIEW_START_H

#include "store/model.h"

/* X(name, number, text). In the order in which they decide. */
#define PL_START_REASONS(X)                                                                                            \
    X(OPEN, 0, "open")                       /* nothing: it may start */                                               \
    X(SLOTS, 1, "slots")                     /* of a stage: inputs are unfilled */                                     \
    X(NOT_ADDED, 2, "not_added")             /* of a stage: its start is left to who has asked for the task */         \
    X(SCHEDULE_PAUSED, 3, "schedule_paused") /* a fire that was held back: its schedule starts nothing */              \
    X(HELD, 4, "held")                       /* until an earlier fire of its schedule is over */                       \
    X(ALONE, 5, "alone")                     /* it is executed alone, and another one such is before it */             \
    X(NO_CLASS, 6, "no_class")               /* its class could not be loaded; again at its eta */                     \
    X(RETRY, 7, "retry")                     /* its last attempt failed; again at its eta */                           \
    X(ETA, 8, "eta")                         /* it is not time yet */                                                  \
    X(PULLED, 9, "pulled")                   /* of a pull queue: nobody has leased it */                               \
    X(NO_WORKER, 10, "no_worker")            /* no worker lives */                                                     \
    X(UNSERVED, 11, "not_served")            /* none of those that live serves its queue */                            \
    X(PAUSED, 12, "queue_paused")            /* its queue is */                                                        \
    X(STOPPED, 13, "rate_zero")              /* the rate of its queue is 0 */                                          \
    X(CONCURRENCY, 14, "concurrency")        /* as many tasks of its queue are executed as may be */                   \
    X(RATE, 15, "rate")                      /* the rate of its queue has no token for it */                           \
    X(PLACE, 16, "place")                    /* others of its queue are before it */                                   \
    X(WORKER, 17, "worker")                  /* it is next: as soon as a worker has room */

typedef enum {
#define X(name, number, text) PL_START_##name = (number),
    PL_START_REASONS(X)
#undef X
        PL_START_REASONS_LEN
} pl_start_reason_t;
PL_API const char *pl_start_reason_name(int reason);

/* What is known of a queue. */
typedef struct {
    bool served; /* by who wants to claim; to explain: by a worker that lives */
    bool paused;
    double rate, bucket_size; /* rate below 0: no limit */
    double tokens;            /* of the rate, now */
    int max_concurrent;       /* 0: no limit */
    int64_t room;             /* of that: how many more may be claimed; may be below 0 */
} pl_gates_t;

/* How many of `wanted` tasks that are ready may start; *reason: what keeps the others back (OPEN: nothing). */
int pl_start_allowed(const pl_gates_t *gates, int wanted, pl_start_reason_t *reason);
/* Whether nothing of the queue has to be counted for its tasks to start. */
static inline bool pl_start_is_free(const pl_gates_t *gates) {
    return gates->served && !gates->paused && gates->rate < 0 && gates->max_concurrent == 0;
}

/* What is known of one task, or of a stage. */
typedef struct {
    bool is_stage;           /* with that: */
    int unfilled;            /* inputs that it waits for */
    bool is_held;            /* a fire of its schedule that is before it is not over; or it is about to be released */
    bool is_schedule_paused; /* which releases nothing then */
    bool has_task;           /* there is one, of the stage; the rest is about it: */
    bool is_over;       /* nothing is to start: it is executed, dead, final, or waits for what is below or outside */
    pl_usec_t now, eta; /* it is delayed until eta, if that is later */
    bool is_retry, lacks_class, is_alone;
    bool pull;
    int workers; /* that live */
    int place;   /* in its queue, from 1; 0: not known */
    pl_gates_t gates;
} pl_start_facts_t;

/* Writes all that keeps it from starting, the deciding one first, which is the first that a claim would come to;
 * returns how many there are. `reasons` has room for PL_START_REASONS_LEN. */
int pl_start_reasons(const pl_start_facts_t *facts, pl_start_reason_t *reasons);

#endif
