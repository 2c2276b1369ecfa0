/*
 * rules_toy.h - a store of stages in arrays: the least that a driver must do to follow the rules. For rules_test.c.
 *
 * It knows stages, their default slots, who waits for them, and their tasks; no queues, time, fallbacks or scopes. What
 * becomes of a stage it asks the rules, and it adds and takes from counters, as a driver does.
 */
#ifndef PL_SPEC_STORE_RULES_TOY_H
#define PL_SPEC_STORE_RULES_TOY_H

#include "store/stage/plan.h"
#include "support/check.h"

enum { TOY_STAGES = 24, TOY_INPUTS = 3 };

typedef struct {
    pl__member_t stages[TOY_STAGES];                            /* the ids are 1, 2, ...; a stage is at its id - 1 */
    int tasks[TOY_STAGES];                                      /* the kind of its task; PL__NO_TASK */
    bool filled[TOY_STAGES];                                    /* its default slot has a value */
    bool waits_output[TOY_STAGES];                              /* it waits for that itself */
    int inputs[TOY_STAGES][TOY_INPUTS], inputs_len[TOY_STAGES]; /* places of stages whose slots are its inputs */
    int attempt[TOY_STAGES];
    bool requested; /* the abort of the tree */
    int len;
} toy_t;

static inline bool toy_is_waiting_for(const toy_t *toy, int at, int slot) {
    for (int i = 0; i < toy->inputs_len[at]; i++)
        if (toy->inputs[at][i] == slot)
            return true;
    return false;
}

/* A stage has become what the rules say: its task, and whoever waits for it. */
static inline void toy_settled(toy_t *toy, int at);

static inline void toy_move(toy_t *toy, int at, const pl__move_t *move) {
    pl__member_t *stage = &toy->stages[at];
    CHECK(pl__stage_may(stage->is.state, move->to));
    stage->is.state = move->to;
    stage->is.missing = move->missing;
    stage->is.open = move->open;
    if (move->task != PL__NO_TASK)
        toy->tasks[at] = move->task;
    if (move->settles && stage->parent)
        toy_settled(toy, (int)stage->parent - 1);
}

static inline void toy_settled(toy_t *toy, int at) {
    pl__move_t move = pl__rule_settled(&toy->stages[at].is, toy->stages[at].is.state == PL_STAGE_RUN);
    toy_move(toy, at, &move);
}

static inline void toy_fill(toy_t *toy, int slot) {
    if (toy->filled[slot])
        return;
    toy->filled[slot] = true;
    for (int at = 0; at < toy->len; at++) {
        if (!toy_is_waiting_for(toy, at, slot) || toy->stages[at].is.state != PL_STAGE_WAITING)
            continue;
        pl__move_t move = pl__rule_filled(&toy->stages[at].is, 1);
        toy_move(toy, at, &move);
    }
    bool waits = toy->waits_output[slot];
    toy->waits_output[slot] = false;
    if (waits)
        toy_settled(toy, slot);
}

static inline int toy_count_missing(const toy_t *toy, int at) {
    int missing = 0;
    for (int i = 0; i < toy->inputs_len[at]; i++)
        missing += !toy->filled[toy->inputs[at][i]];
    return missing;
}

/* Inputs are older stages. Returns its place. */
static inline int toy_add(toy_t *toy, int parent, unsigned flags, const int *inputs, int inputs_len) {
    int at = toy->len++;
    toy->stages[at] = (pl__member_t){ .id = at + 1, .parent = parent + 1, .is = { .flags = flags } };
    toy->tasks[at] = PL__NO_TASK;
    for (int i = 0; i < inputs_len; i++)
        if (!toy_is_waiting_for(toy, at, inputs[i]))
            toy->inputs[at][toy->inputs_len[at]++] = inputs[i];
    pl__move_t move = pl__rule_made(toy_count_missing(toy, at), false);
    toy->stages[at].is.state = move.to;
    toy->stages[at].is.missing = move.missing;
    toy->tasks[at] = move.task;
    return at;
}

static inline void toy_abort_one(toy_t *toy, int at, const pl__abort_t *abort) {
    pl__member_t *stage = &toy->stages[at];
    CHECK(pl__stage_may(stage->is.state, abort->to));
    if (abort->drops) {
        toy->tasks[at] = abort->aborts ? PL_TASK_ABORT : PL__NO_TASK;
        stage->is_claimed = false;
    }
    stage->is.state = abort->to;
    stage->is.flags = (stage->is.flags & ~abort->clears) | abort->sets;
    if (abort->to == PL_STAGE_ABORTING || abort->to == PL_STAGE_ABORTED || abort->to == PL_STAGE_ABORT_HELD)
        stage->is.missing = stage->is.open = 0;
}

static inline void toy_abort_now(toy_t *toy, int at) {
    pl__abort_t abort = pl__rule_abort_now(&toy->stages[at].is);
    toy_abort_one(toy, at, &abort);
}

/* A worker claims its task. Returns whether there is something to execute. */
static inline bool toy_claim(toy_t *toy, int at) {
    if (toy->tasks[at] == PL__NO_TASK || toy->stages[at].is_claimed)
        return false;
    if (pl__rule_is_overtaken(toy->stages[at].is.state, (pl_task_kind_t)toy->tasks[at]))
        toy_abort_now(toy, at);
    toy->stages[at].is_claimed = toy->tasks[at] != PL__NO_TASK;
    return toy->stages[at].is_claimed;
}

/* The run that was claimed has ended well; its children are added, and `fills` tells of its output. */
static inline int toy_outcome(toy_t *toy, int at, bool fills) {
    pl__member_t *stage = &toy->stages[at];
    int rc = pl__rule_outcome(stage->is.state), open = 0;
    if (rc == PL_EABORTED)
        toy_abort_now(toy, at);
    if (rc != PL_OK)
        return rc;
    toy->tasks[at] = PL__NO_TASK;
    stage->is_claimed = false;
    if (fills)
        toy_fill(toy, at);
    for (int i = 0; i < toy->len; i++)
        open += toy->stages[i].parent == stage->id && pl__rule_is_waited_for(&toy->stages[i].is);
    toy->waits_output[at] = (stage->is.flags & PL_STAGE_ASYNC) && !toy->filled[at];
    pl__move_t move = pl__rule_ran(&stage->is, open + toy->waits_output[at]);
    toy_move(toy, at, &move);
    return PL_OK;
}

/* A FINALIZE or ABORT task that was claimed has ended. */
static inline void toy_finalized(toy_t *toy, int at, bool held) {
    pl__move_t move = pl__rule_finalized((pl_task_kind_t)toy->tasks[at], held);
    toy->tasks[at] = PL__NO_TASK;
    toy->stages[at].is_claimed = false;
    toy_move(toy, at, &move);
}

static inline int toy_fill_outside(toy_t *toy, int at) {
    int rc = pl__rule_fill(toy->stages[at].is.state);
    if (rc == PL_EABORTED)
        toy_abort_now(toy, at);
    else if (rc == PL_OK)
        toy_fill(toy, at);
    return rc;
}

static inline int toy_retry(toy_t *toy, int at, int max_attempts) {
    int rc = pl__rule_retry(&toy->stages[at].is, toy->attempt[at], max_attempts);
    if (rc != PL_OK)
        return rc;
    pl__move_t move = pl__rule_retried(&toy->stages[at].is);
    toy->attempt[at]++;
    toy->waits_output[at] = false;
    toy_move(toy, at, &move);
    return PL_OK;
}

static inline void toy_write_aborts(toy_t *toy, const pl__abort_t *aborts) {
    for (int i = 0; i < toy->len; i++)
        toy_abort_one(toy, i, &aborts[i]);
}

static inline int toy_abort(toy_t *toy, int permitted, bool force) {
    pl__abort_t aborts[TOY_STAGES];
    int rc = pl__rule_abort(toy->stages[0].is.state, true, toy->requested);
    if (rc != PL_OK && !(rc == PL_EEXISTS && force))
        return rc;
    toy->requested = true;
    if (force)
        pl__plan_end(toy->stages, (size_t)toy->len, aborts);
    else
        pl__plan_abort(toy->stages, (size_t)toy->len, permitted + 1, aborts);
    toy_write_aborts(toy, aborts);
    return PL_OK;
}

static inline void toy_resume_one(toy_t *toy, int at, const pl__resumed_t *resumed) {
    pl__member_t *stage = &toy->stages[at];
    stage->is.missing = resumed->cut == PL_STAGE_CUT_EARLY ? toy_count_missing(toy, at) : 0;
    stage->is.open = resumed->open + toy->waits_output[at];
    pl__move_t move = pl__rule_resumed(&stage->is, resumed->cut);
    stage->is.flags = pl__rule_resumed_flags(stage->is.flags, resumed->cut, at == 0);
    toy_move(toy, at, &move);
}

static inline int toy_resume(toy_t *toy) {
    pl__resumed_t resumed[TOY_STAGES];
    int rc = pl__rule_resume(toy->stages[0].is.state, toy->requested);
    for (int i = 0; i < toy->len && rc == PL_OK; i++)
        rc = pl__stage_is_final(toy->stages[i].is.state) ? PL_OK : PL_ELIVE;
    if (rc != PL_OK)
        return rc;
    toy->requested = false;
    pl__plan_resume(toy->stages, (size_t)toy->len, resumed);
    for (int i = 0; i < toy->len; i++)
        toy->waits_output[i] =
            resumed[i].cut == PL_STAGE_CUT_OPEN && (toy->stages[i].is.flags & PL_STAGE_ASYNC) && !toy->filled[i];
    for (int i = 0; i < toy->len; i++)
        if (resumed[i].cut)
            toy_resume_one(toy, i, &resumed[i]);
    for (int i = 0; i < toy->len; i++) /* only now, so that those above are what they go on as */
        if (resumed[i].cut == PL_STAGE_CUT_OPEN && resumed[i].open + toy->waits_output[i] == 0)
            toy_settled(toy, i);
    return PL_OK;
}

#endif
