/*
 * abort.c - what an abort makes of stages, and what goes on afterwards. See abort.h.
 */
#include "store/stage/abort.h"

#include <assert.h>

/* What an abort finds stays with the stage. */
static unsigned cut_of(pl_stage_state_t state) {
    switch (state) {
    case PL_STAGE_WAITING:
    case PL_STAGE_READY:
        return PL_STAGE_CUT_EARLY;
    case PL_STAGE_RUN:
        return PL_STAGE_CUT_OPEN;
    case PL_STAGE_FINALIZING:
        return PL_STAGE_CUT_LATE;
    default:
        return 0; /* it was aborted before: that is noted already */
    }
}

static pl__abort_t become(const pl__standing_t *stage, pl_stage_state_t to) {
    unsigned cut = cut_of(stage->state);
    assert(pl__stage_may(stage->state, to));
    return (pl__abort_t){
        .to = to, .clears = cut ? PL_STAGE_WAS_RUN | PL_STAGE_CUT : PL_STAGE_WAS_RUN, .sets = cut, .drops = true
    };
}

/* Nobody executes it, and nobody need be asked. */
static pl__abort_t carry_out(const pl__standing_t *stage) {
    bool has_finalized = stage->flags & PL_STAGE_HAS_FINALIZED;
    pl__abort_t abort = become(stage, has_finalized ? PL_STAGE_ABORTING : PL_STAGE_ABORTED);
    abort.aborts = has_finalized;
    return abort;
}

static pl__abort_t abort_running(const pl__standing_t *stage, bool permitted) {
    if (!(stage->flags & PL_STAGE_ASYNC) || permitted)
        return carry_out(stage);
    bool can_ask = stage->flags & PL_STAGE_HAS_TRY_CANCEL;
    pl__abort_t abort = become(stage, can_ask ? PL_STAGE_ABORTING : PL_STAGE_ABORT_HELD);
    abort.sets |= PL_STAGE_WAS_RUN;
    abort.drops = abort.aborts = can_ask;
    return abort;
}

bool pl__rule_asks_claim(pl_stage_state_t state) {
    return state == PL_STAGE_WAITING || state == PL_STAGE_READY || state == PL_STAGE_FINALIZING;
}

pl__abort_t pl__rule_aborted(const pl__standing_t *stage, bool permitted, bool claimed) {
    if (stage->state == PL_STAGE_RUN)
        return abort_running(stage, permitted);
    if (!pl__rule_asks_claim(stage->state))
        return (pl__abort_t){ .to = stage->state };
    if (!claimed)
        return carry_out(stage);
    pl__abort_t abort = become(stage, PL_STAGE_ABORTING);
    abort.drops = false;
    abort.tells = stage->state == PL_STAGE_READY;
    return abort;
}

pl__abort_t pl__rule_abort_now(const pl__standing_t *stage) {
    assert(stage->state == PL_STAGE_ABORTING || stage->state == PL_STAGE_ABORT_HELD);
    return carry_out(stage);
}

/* An ABORT task is what carries it out; the others know nothing of it. */
bool pl__rule_is_overtaken(pl_stage_state_t state, pl_task_kind_t kind) {
    return state == PL_STAGE_ABORTING && (kind == PL_TASK_RUN || kind == PL_TASK_FINALIZE);
}

pl__abort_t pl__rule_ended(const pl__standing_t *stage) {
    pl__abort_t abort = become(stage, PL_STAGE_ABORTED);
    abort.tells = stage->state == PL_STAGE_READY || stage->state == PL_STAGE_ABORTING; /* its run may be under way */
    return abort;
}

pl__reach_t pl__rule_reach(const pl__standing_t *stage) {
    enum { FALLBACK = PL_STAGE_HAS_FALLBACK | PL_STAGE_FALLBACK_TAKEN };
    if (stage->state <= PL_STAGE_RUN && (stage->flags & FALLBACK) == PL_STAGE_HAS_FALLBACK)
        return PL__REACH_FALLBACK;
    return stage->flags & PL_STAGE_SCOPE ? PL__REACH_SCOPE : PL__REACH_ON;
}

/* A retried async stage has children of an earlier run, and a durable function those that it waits for. */
bool pl__rule_is_leaf(const pl__standing_t *stage) {
    return stage->state != PL_STAGE_RUN && !(stage->flags & (PL_STAGE_ASYNC | PL_STAGE_DURABLE));
}

bool pl__rule_settles_late(unsigned flags, pl_stage_state_t state) {
    pl__standing_t before = { .state = PL_STAGE_ABORTING, .flags = flags };
    return (flags & PL_STAGE_SCOPE) && state == PL_STAGE_ABORTED && pl__rule_is_waited_for(&before);
}

/* Versions before did not note it: there a stage that has children had committed its run; any other one runs again. */
unsigned pl__rule_resumes_from(unsigned flags, bool has_children) {
    unsigned cut = flags & PL_STAGE_CUT;
    return cut ? cut : has_children ? PL_STAGE_CUT_OPEN : PL_STAGE_CUT_EARLY;
}

pl__move_t pl__rule_resumed(const pl__standing_t *stage, unsigned cut) {
    pl__move_t move = { PL_STAGE_FINALIZING, 0, 0, PL_TASK_FINALIZE, false };
    if (cut == PL_STAGE_CUT_EARLY)
        move = pl__rule_made(stage->missing, false);
    else if (cut == PL_STAGE_CUT_OPEN)
        move = (pl__move_t){ PL_STAGE_RUN, 0, stage->open ? stage->open : 1, PL__NO_TASK, false };
    assert(pl__stage_may(stage->state, move.to));
    return move;
}

/* One that runs again still says that its run was not committed: children of an earlier run may be there. */
unsigned pl__rule_resumed_flags(unsigned flags, unsigned cut, bool is_root) {
    flags &= ~(unsigned)(PL_STAGE_WAS_RUN | PL_STAGE_CUT);
    if (cut == PL_STAGE_CUT_EARLY)
        flags |= PL_STAGE_CUT_EARLY;
    return is_root ? (flags & ~(unsigned)PL_STAGE_RESUMES) | ((flags + PL_STAGE_RESUMED) & PL_STAGE_RESUMES) : flags;
}
