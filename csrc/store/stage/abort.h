/*
 * abort.h - the rules of aborts: what an abort makes of a stage, how far a failure reaches, and what goes on then.
 *
 * Pure functions, as those of rules.h. An abort comes to all stages of a tree, or of a part of it. What becomes of one:
 *
 *   found as              its task           becomes
 *   WAITING               none               ABORTING with a task if it has a finalized(), else ABORTED
 *   READY, FINALIZING     not claimed        likewise, in place of that task
 *   READY, FINALIZING     claimed            ABORTING; it keeps that task, the outcome of which is refused, and
 *                                            carries the abort out. A finalized() that succeeds meanwhile counts
 *   RUN                   none               likewise as WAITING; an async stage is asked first whether it may
 *                                            (try_cancel()), but for the one whose failure it was; one that cannot be
 *                                            asked is ABORT_HELD until it is completed from outside
 *
 * What it was is noted in its flags (PL_STAGE_CUT), for a resume.
 */
#ifndef PL_STORE_STAGE_ABORT_H
#define PL_STORE_STAGE_ABORT_H

#include "store/stage/rules.h"

/* What an abort makes of a stage. */
typedef struct {
    pl_stage_state_t to;
    unsigned clears, sets; /* flags, in this order */
    bool drops;            /* the task it may have is deleted; */
    bool aborts;           /* an ABORT task is given instead */
    bool tells;            /* who executes its run is told */
} pl__abort_t;

/* Whether the rule needs to know if the task of a stage in this state is claimed. */
bool pl__rule_asks_claim(pl_stage_state_t state);
/* An abort comes. `permitted`: it need not ask its try_cancel(). */
pl__abort_t pl__rule_aborted(const pl__standing_t *stage, bool permitted, bool claimed);
/* The abort that has come earlier is carried out: nobody executes it any more, or what held it up has come. What it
 * was has been noted then. */
pl__abort_t pl__rule_abort_now(const pl__standing_t *stage);
/* A task is claimed: whether the abort has come before that, so that it is carried out instead (pl__rule_abort_now). */
bool pl__rule_is_overtaken(pl_stage_state_t state, pl_task_kind_t kind);
/* Its tree is ended at once: nobody is asked. */
pl__abort_t pl__rule_ended(const pl__standing_t *stage);

/* How far the failure of a stage reaches: asked of it, and of what is above it, upwards. */
typedef enum {
    PL__REACH_ON,       /* further up */
    PL__REACH_FALLBACK, /* to here: the fallback of this stage is taken, and it counts as settled */
    PL__REACH_SCOPE     /* to here: a scope of aborts */
} pl__reach_t;
pl__reach_t pl__rule_reach(const pl__standing_t *stage);
/* Whether the stage, which has failed, has nothing below it: its run was not committed, and no earlier one was. */
bool pl__rule_is_leaf(const pl__standing_t *stage);
/* A stage that is final now had flags: whether its parent waits for one less only from now on. */
bool pl__rule_settles_late(unsigned flags, pl_stage_state_t state);

/* What an ABORTED stage goes on from: a PL_STAGE_CUT_*. */
unsigned pl__rule_resumes_from(unsigned flags, bool has_children);
/* It goes on from there, with so many inputs that are unfilled, and so many things open. One that had run, and has
 * nothing open any more, is RUN with one thing that settles next. */
pl__move_t pl__rule_resumed(const pl__standing_t *stage, unsigned cut);
/* Its flags then. */
unsigned pl__rule_resumed_flags(unsigned flags, unsigned cut, bool is_root);

#endif
