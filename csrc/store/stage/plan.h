/*
 * plan.h - the rules over a part of a tree: many stages given as an array, and what becomes of them as another.
 *
 * A driver reads the stages of a tree in one go, asks, and writes what it is told in whatever way is cheapest for it:
 * with a statement for each, or with one for all of them. Pure functions, as those of rules.h and abort.h.
 *
 * Stages are ascending by id, so that each comes after its parent.
 */
#ifndef PL_STORE_STAGE_PLAN_H
#define PL_STORE_STAGE_PLAN_H

#include "store/stage/abort.h"

/* A stage among others of its tree. */
typedef struct {
    pl_id_t id, parent; /* 0: it is the root */
    pl__standing_t is;
    bool is_claimed; /* for an abort: somebody executes its task */
    bool was_told;   /* for a resume: it was told to abort, as the root or as a scope of its own */
} pl__member_t;

/* The part of a tree from one stage on, found stage by stage in their order. What is below one that was left out is
 * left out, too: a durable function that was asked to abort ends by itself what is below it. */
typedef struct {
    pl_id_t top;
    pl_id_t *ids; /* has room for all of them; borrowed */
    size_t len;
} pl__part_t;

bool pl__part_has(const pl__part_t *part, pl_id_t stage, pl_id_t parent);
void pl__part_add(pl__part_t *part, pl_id_t stage);

/* What an abort makes of each. `permitted` need not ask its try_cancel(). */
void pl__plan_abort(const pl__member_t *list, size_t len, pl_id_t permitted, pl__abort_t *aborts);
/* They are ended at once; what is final stays as it is. */
void pl__plan_end(const pl__member_t *list, size_t len, pl__abort_t *aborts);

/* What each of a tree goes on as after an abort. */
typedef struct {
    unsigned cut; /* what it goes on from, a PL_STAGE_CUT_*; 0: it does not */
    int open;     /* children that it waits for then */
    bool has_children;
    bool is_over; /* in a part whose fallback was taken, or in a scope that was aborted for itself */
} pl__resumed_t;

/* Of all stages of the tree. */
void pl__plan_resume(const pl__member_t *list, size_t len, pl__resumed_t *resumed);

#endif
