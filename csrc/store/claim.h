/*
 * claim.h - a task handed to this process, with all that its execution needs.
 */
#ifndef PL_STORE_CLAIM_H
#define PL_STORE_CLAIM_H

#include "base/memory.h"
#include "store/model.h"

/* A task handed to this process. Owned: free with pl_claim_free. */
typedef struct pl_claim {
    struct pl_claim *next;
    struct pl__slab *slab; /* whose memory it is */
    pl__arena_t arena;
    pl_id_t task;
    pl_task_kind_t kind;
    int fence; /* the number of this claim, greater than those before: with the worker, what an end is checked by */
    int tries; /* failed executions before this one (X-AppEngine-TaskRetryCount) */
    int priority;
    pl_usec_t eta;
    pl_usec_t claimed; /* when, on the steady clock */
    pl_usec_t started; /* the engine's: when its execution began, on the same clock */
    pl_str_t queue, name, payload;
    int64_t queue_id;       /* the store's own */
    int permits;            /* so many tasks of its queue may be executed at once by this process; 0: all that it has */
    struct pl__gate *gate;  /* the engine's: see place.c */
    pl_str_t request;       /* PUSH */
    pl_str_t target;        /* PUSH: of the queue */
    double deadline;        /* PUSH, DEFERRED: seconds; 0 = none */
    bool is_plain;          /* it has no name */
    bool has_detail;        /* part of it is in a row of its own: its end is to say so */
    int executions, status; /* failures that had an answer, and the status of the last one (0: none) */
    pl_stage_t *stage;      /* whose run, finalized, abort or callback; NULL if it is gone */
    const pl_slot_t *slots; /* ascending by id: filled inputs, and for all kinds but RUN the outputs */
    size_t slots_len;
    size_t bytes; /* of payload, arguments and values */
} pl_claim_t;

/*
 * The number of a claim is the second in which it was made, or, where that is not more, one more than that of the claim
 * before. So it tells two claims of a task from each other whatever the clock does, and tells who looks at the task
 * since when it has been claimed. Earlier versions counted claims.
 */
int pl__claim_number(pl_usec_t now);
pl_usec_t pl__claim_time(int number); /* 0: it does not say */
/* For the store. Returns owned: an empty claim, or NULL. Claims of one transaction share *slab, NULL at first, until
 * pl__claims_made, which comes before another thread gets any of them. */
typedef struct pl__slab pl__slab_t;
pl_claim_t *pl__claim_new(pl__slab_t **slab) PL__MUST_USE;
void pl__claims_made(pl__slab_t **slab);
PL_API void pl_claim_free(pl_claim_t *claim);

#endif
