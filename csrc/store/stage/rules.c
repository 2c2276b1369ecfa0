/*
 * rules.c - what becomes of stages: made, filled, run, settled, retried, finalized. See rules.h.
 */
#include "store/stage/rules.h"

#include <assert.h>

enum { STATES = PL_STAGE_ABORT_HELD + 1 };

bool pl__stage_may(pl_stage_state_t from, pl_stage_state_t to) {
    static const bool may[STATES][STATES] = {
#define X(from, to, function, when) [PL_STAGE_##from][PL_STAGE_##to] = true,
        PL__STAGE_MOVES(X)
#undef X
    };
    return from == to || may[from][to];
}

static pl__move_t stay(const pl__standing_t *stage) {
    return (pl__move_t){ stage->state, stage->missing, stage->open, PL__NO_TASK, false };
}

static pl__move_t become(const pl__standing_t *stage, pl_stage_state_t to, int task, bool settles) {
    assert(pl__stage_may(stage->state, to));
    return (pl__move_t){ to, 0, 0, task, settles };
}

/* Nothing is open any more. */
static pl__move_t settle(const pl__standing_t *stage) {
    if (stage->flags & PL_STAGE_HAS_FINALIZED)
        return become(stage, PL_STAGE_FINALIZING, PL_TASK_FINALIZE, true);
    return become(stage, PL_STAGE_DONE, PL__NO_TASK, true);
}

pl__move_t pl__rule_made(int missing, bool held) {
    assert(missing >= 0);
    if (missing > 0)
        return (pl__move_t){ PL_STAGE_WAITING, missing, 0, PL__NO_TASK, false };
    return (pl__move_t){ PL_STAGE_READY, 0, 0, held ? PL__NO_TASK : PL_TASK_RUN, false };
}

pl__move_t pl__rule_filled(const pl__standing_t *stage, int count) {
    if (stage->state != PL_STAGE_WAITING)
        return stay(stage);
    pl__move_t move = stay(stage);
    move.missing -= count;
    assert(move.missing >= 0);
    return move.missing > 0 ? move : become(stage, PL_STAGE_READY, PL_TASK_RUN, false);
}

pl__move_t pl__rule_ran(const pl__standing_t *stage, int open) {
    assert(stage->state == PL_STAGE_READY && open >= 0);
    if (open == 0)
        return settle(stage);
    pl__move_t move = become(stage, PL_STAGE_RUN, PL__NO_TASK, false);
    move.open = open;
    return move;
}

pl__move_t pl__rule_settled(const pl__standing_t *stage, int count) {
    if (stage->state != PL_STAGE_RUN)
        return stay(stage);
    pl__move_t move = stay(stage);
    move.open -= count;
    assert(move.open >= 0);
    return move.open > 0 ? move : settle(stage);
}

pl__move_t pl__rule_retried(const pl__standing_t *stage) {
    assert(stage->state == PL_STAGE_RUN);
    return become(stage, PL_STAGE_READY, PL_TASK_RUN, false);
}

/* Of a FINALIZE task it is FINALIZING; or an abort has come meanwhile, of which the task knows nothing. */
pl__move_t pl__rule_finalized(pl_task_kind_t kind, bool held) {
    pl__standing_t stage = { .state = PL_STAGE_ABORTING };
    assert(kind == PL_TASK_FINALIZE || kind == PL_TASK_ABORT);
    if (kind == PL_TASK_ABORT && held)
        return become(&stage, PL_STAGE_ABORT_HELD, PL__NO_TASK, false);
    return become(&stage, kind == PL_TASK_ABORT ? PL_STAGE_ABORTED : PL_STAGE_DONE, PL__NO_TASK, false);
}

typedef struct {
    int outcome, fill, retry, abort, resume;
    bool is_waited_for;
} answer_t;

static const answer_t *answer_of(pl_stage_state_t state) {
    enum { WAITED_FOR = true, SETTLED = false };
    static const answer_t answers[STATES] = {
#define X(state, outcome, fill, retry, abort, resume, waited)                                                          \
    [PL_STAGE_##state] = { PL_##outcome, PL_##fill, PL_##retry, PL_##abort, PL_##resume, waited },
        PL__STAGE_ANSWERS(X)
#undef X
    };
    return &answers[state];
}

bool pl__rule_ends_alone(unsigned flags) {
    enum { OTHERS = PL_STAGE_ASYNC | PL_STAGE_DURABLE | PL_STAGE_SCOPE };
    pl__standing_t ran = { .state = PL_STAGE_READY, .flags = flags };
    return !(flags & OTHERS) && pl__rule_ran(&ran, 0).to == PL_STAGE_DONE;
}

bool pl__rule_is_waited_for(const pl__standing_t *stage) {
    bool had_settled = (stage->flags & PL_STAGE_FALLBACK_TAKEN) || (stage->flags & PL_STAGE_CUT) == PL_STAGE_CUT_LATE;
    return answer_of(stage->state)->is_waited_for && !had_settled;
}

int pl__rule_outcome(pl_stage_state_t state) {
    return answer_of(state)->outcome;
}

int pl__rule_fill(pl_stage_state_t state) {
    return answer_of(state)->fill;
}

int pl__rule_retry(const pl__standing_t *stage, int attempt, int max_attempts) {
    int rc = stage->flags & PL_STAGE_ASYNC ? answer_of(stage->state)->retry : PL_ESTATE;
    return rc == PL_OK && attempt + 1 >= max_attempts ? PL_ELIMIT : rc;
}

int pl__rule_abort(pl_stage_state_t state, bool is_root, bool is_requested) {
    int rc = answer_of(state)->abort;
    if (rc == PL_OK && is_requested)
        return PL_EEXISTS;
    return rc == PL_EEXISTS && is_root && !is_requested ? PL_OK : rc;
}

int pl__rule_resume(pl_stage_state_t root, bool is_requested) {
    return is_requested && !pl__stage_is_final(root) ? PL_OK : answer_of(root)->resume;
}
