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

int pl__rule_outcome(pl_stage_state_t state) {
    return state == PL_STAGE_READY ? PL_OK : state == PL_STAGE_ABORTING ? PL_EABORTED : PL_ESTALE;
}

int pl__rule_fill(pl_stage_state_t state) {
    if (state == PL_STAGE_ABORT_HELD)
        return PL_EABORTED;
    return pl__stage_is_final(state) || state == PL_STAGE_ABORTING ? PL_EFINAL : PL_OK;
}

int pl__rule_retry(const pl__standing_t *stage, int attempt, int max_attempts) {
    if (stage->state != PL_STAGE_RUN || !(stage->flags & PL_STAGE_ASYNC))
        return PL_ESTATE;
    return attempt + 1 >= max_attempts ? PL_ELIMIT : PL_OK;
}
