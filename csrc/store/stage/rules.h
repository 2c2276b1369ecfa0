/*
 * rules.h - the rules of stages: what becomes of one when something happens to it, or to what it waits for.
 *
 * The machine is drawn in model.h. Here is what decides: pure functions of the few columns of a row that count, without
 * SQL, clock or memory. A driver loads a row (pl__standing_t), asks, and writes what it is told (pl__move_t): the state
 * and its counters, the task that the stage is given, and that its parent waits for one less. So each store has the
 * same rules, and what one of them may do at all is in one table, PL__STAGE_MOVES: each transition with the function
 * that makes it; what a stage answers to whoever wants something of it is in another, PL__STAGE_ANSWERS. Aborts, and
 * what resumes after them, are in abort.h; what becomes of many stages of a tree at once, arrays of them, in plan.h.
 *
 * The functions check what they do by the table (assert), the schema has what holds for each row as CHECK constraints
 * (schema/001_initial.sql), and spec/store/rules_test.c compares all of it, and makes SQLite refuse what is not here
 * while the model of spec/store/model_test.c plays.
 *
 * Invariants of a row: missing > 0 if, and only if, it is WAITING; open > 0 if, and only if, it is RUN; READY,
 * FINALIZING and ABORTING have a task (but for a stage that is held back, pl_stage_new_t.hold), the others have none.
 */
#ifndef PL_STORE_STAGE_RULES_H
#define PL_STORE_STAGE_RULES_H

#include "store/model.h"

/* X(from, to, function that makes it, when) */
#define PL__STAGE_MOVES(X)                                                                                             \
    X(WAITING, READY, pl__rule_filled, "the last of its inputs has been filled")                                       \
    X(READY, RUN, pl__rule_ran, "run() was committed, and something is open")                                          \
    X(READY, FINALIZING, pl__rule_ran, "run() was committed, nothing is open, and it has a finalized()")               \
    X(READY, DONE, pl__rule_ran, "likewise, and it has none")                                                          \
    X(RUN, FINALIZING, pl__rule_settled, "what was open has settled, and it has a finalized()")                        \
    X(RUN, DONE, pl__rule_settled, "likewise, and it has none")                                                        \
    X(RUN, READY, pl__rule_retried, "an async stage is told to run once more")                                         \
    X(FINALIZING, DONE, pl__rule_finalized, "finalized() has ended, or was given up")                                  \
    X(ABORTING, ABORTED, pl__rule_finalized, "likewise")                                                               \
    X(ABORTING, DONE, pl__rule_finalized, "a finalized() that was under way as the abort came has ended")              \
    X(ABORTING, ABORT_HELD, pl__rule_finalized, "try_cancel() has refused")                                            \
    X(WAITING, ABORTING, pl__rule_aborted, "an abort has come, and it has a finalized()")                              \
    X(READY, ABORTING, pl__rule_aborted, "likewise, or its run is under way")                                          \
    X(FINALIZING, ABORTING, pl__rule_aborted, "likewise")                                                              \
    X(RUN, ABORTING, pl__rule_aborted, "likewise, or its try_cancel() is asked")                                       \
    X(RUN, ABORT_HELD, pl__rule_aborted, "an abort has come to an async stage that cannot be asked")                   \
    X(WAITING, ABORTED, pl__rule_aborted, "an abort has come, and it has no finalized()")                              \
    X(READY, ABORTED, pl__rule_aborted, "likewise")                                                                    \
    X(FINALIZING, ABORTED, pl__rule_aborted, "its tree is ended at once")                                              \
    X(RUN, ABORTED, pl__rule_aborted, "an abort has come, and it has no finalized()")                                  \
    X(ABORT_HELD, ABORTING, pl__rule_aborted, "what held it up has come, and it has a finalized()")                    \
    X(ABORT_HELD, ABORTED, pl__rule_aborted, "likewise, and it has none")                                              \
    X(ABORTED, WAITING, pl__rule_resumed, "its tree is resumed, and inputs are unfilled")                              \
    X(ABORTED, READY, pl__rule_resumed, "likewise, and none is")                                                       \
    X(ABORTED, RUN, pl__rule_resumed, "its run had been committed")                                                    \
    X(ABORTED, FINALIZING, pl__rule_resumed, "it had settled")

/* What is said to an outcome of its run, to outputs from outside, to a retry, an abort, and a resume of the tree whose
 * root it is: OK, or why not; and whether its parent waits for it.
 * X(state, outcome, fill, retry, abort, resume, WAITED_FOR or SETTLED) */
#define PL__STAGE_ANSWERS(X)                                                                                           \
    X(WAITING, ESTALE, OK, ESTATE, OK, ESTATE, WAITED_FOR)                                                             \
    X(READY, OK, OK, ESTATE, OK, ESTATE, WAITED_FOR)                                                                   \
    X(RUN, ESTALE, OK, OK, OK, ESTATE, WAITED_FOR)                                                                     \
    X(FINALIZING, ESTALE, OK, ESTATE, OK, ESTATE, SETTLED)                                                             \
    X(DONE, ESTALE, EFINAL, ESTATE, EFINAL, ESTATE, SETTLED)                                                           \
    X(ABORTING, EABORTED, EFINAL, ESTATE, EEXISTS, ESTATE, WAITED_FOR)                                                 \
    X(ABORTED, ESTALE, EFINAL, ESTATE, EFINAL, OK, SETTLED)                                                            \
    X(ABORT_HELD, ESTALE, EABORTED, ESTATE, EEXISTS, ESTATE, WAITED_FOR)

enum { PL__NO_TASK = -1 };

/* Where a stage stands. */
typedef struct {
    pl_stage_state_t state;
    unsigned flags; /* PL_STAGE_* */
    int missing;    /* inputs that are unfilled */
    int open;       /* children that have not settled, and outputs that are to come from outside */
} pl__standing_t;

/* What becomes of it. */
typedef struct {
    pl_stage_state_t to; /* perhaps the state it has */
    int missing, open;
    int task;     /* the pl_task_kind_t it is given; PL__NO_TASK */
    bool settles; /* its parent waits for one less from now on */
} pl__move_t;

/* Whether the table has it; a state may always stay as it is. */
bool pl__stage_may(pl_stage_state_t from, pl_stage_state_t to);

static inline bool pl__stage_is_final(pl_stage_state_t state) {
    return state == PL_STAGE_DONE || state == PL_STAGE_ABORTED;
}

/* A new stage that waits for so many slots. `held`: it is given no task yet. */
pl__move_t pl__rule_made(int missing, bool held);
/* `count` of the slots it waits for were filled, each for the first time. Nothing, unless it is WAITING. */
pl__move_t pl__rule_filled(const pl__standing_t *stage, int count);
/* Its run was committed, with these flags from now on, and `open` things to wait for. */
pl__move_t pl__rule_ran(const pl__standing_t *stage, int open);
/* `count` of what it waits for has settled, or was filled. Nothing, unless it is RUN. */
pl__move_t pl__rule_settled(const pl__standing_t *stage, int count);
/* Whether the row of the stage is all that changes when a run with these flags, and without children, is committed: it
 * is DONE then (pl__rule_ran), and only its parent and who waits for its outputs need hear of it. */
bool pl__rule_ends_alone(unsigned flags);
/* Whether its parent waits for it: it has not settled, its fallback was not taken, no abort has found it settled. */
bool pl__rule_is_waited_for(const pl__standing_t *stage);
/* An attempt of its async run is over that is to be repeated. */
pl__move_t pl__rule_retried(const pl__standing_t *stage);
/* A task of a stage, FINALIZE or ABORT, has ended. `held`: its try_cancel() has refused. */
pl__move_t pl__rule_finalized(pl_task_kind_t kind, bool held);

/* ---- what is refused: PL_OK, or why ------------------------------------------------------------------------ */

/* The outcome of a run whose claim is valid. PL_EABORTED: it is to be aborted first; PL_ESTALE. */
int pl__rule_outcome(pl_stage_state_t state);
/* Outputs from outside. PL_EABORTED: it was held up, and is to be aborted now; PL_EFINAL. */
int pl__rule_fill(pl_stage_state_t state);
/* An async stage that is told to run once more, after `attempt` failed attempts. PL_ESTATE, PL_ELIMIT. */
int pl__rule_retry(const pl__standing_t *stage, int attempt, int max_attempts);
/* An abort, of a root or of a scope below it. PL_EFINAL; PL_EEXISTS: it has come before (of a root that `is_requested`
 * tells: it may be ABORTING for a part of the tree alone, in which it has failed). */
int pl__rule_abort(pl_stage_state_t state, bool is_root, bool is_requested);
/* A tree with such a root is to go on after an abort, which was requested. PL_ESTATE. */
int pl__rule_resume(pl_stage_state_t root, bool is_requested);

#endif
