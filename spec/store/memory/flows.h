/*
 * flows.h - durable functions: what wakes one, what asks it to abort, what becomes of it (csrc/store/durable/flow.h).
 * Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_FLOWS_H
#define PL_SPEC_MEMORY_FLOWS_H

#include "tasks.h"

static void note(pl__conn_t *m, pl_id_t stage, pl_stage_state_t state) {
    pl_watch_event_t *final = room(&m->scratch, sizeof *final);
    *final = (pl_watch_event_t){ .next = m->finals, .stage = stage, .state = state, .ours = true };
    m->finals = final;
}

static void add_flow(pl__conn_t *m, const pl_stage_new_t *new) {
    static const char zeros[PL_FLOW_SEED];
    pl_str_t seed = new->seed.len == PL_FLOW_SEED ? text(m, new->seed) : (pl_str_t){ zeros, sizeof zeros };
    *ADD(flow_t, FLOWS) = (flow_t){
        .is = { .stage = new->id, .seed = seed, .version = new->version > 0 ? new->version : 1, .first = 1, .next = 1 }
    };
}

/* ---- waking ------------------------------------------------------------------------------------------------------ */

static task_t *run_of(pl__conn_t *m, pl_id_t stage) {
    task_t *task = task_of(m, stage);
    return task && task->is.kind == PL_TASK_RUN ? task : NULL;
}

static void be_begun(flow_t *flow) {
    flow->is.mode = PL_FLOW_BEGUN;
    flow->wants = flow->is.reason = PL_STR_NONE;
}

static bool wake_task(pl__conn_t *m, pl_id_t stage) {
    task_t *task = run_of(m, stage);
    if (!task || task->state != DELAYED)
        return false;
    task->state = READY;
    task->is.eta = m->due;
    return true;
}

/* There are news for it. */
static void tell_flow(pl__conn_t *m, flow_t *flow, bool wanted) {
    const task_t *task = run_of(m, flow->is.stage);
    bool is_suspended = flow->is.mode == PL_FLOW_SUSPENDED;
    if (flow->is.mode == PL_FLOW_OVER)
        return;
    if (is_suspended && wanted && wake_task(m, flow->is.stage)) {
        be_begun(flow);
        return;
    }
    if (!task || (is_suspended && !wanted && task->state == DELAYED))
        return;
    if (task->state == CLAIMED)
        note(m, flow->is.stage, PL_STAGE_READY);
    flow->is.dirty = true;
}

static void wake(pl__conn_t *m, pl_id_t stage) {
    flow_t *flow = flow_of(m, stage);
    if (flow)
        tell_flow(m, flow, true);
}

static void wake_waiters(pl__conn_t *m, pl_id_t slot) {
    for (size_t i = m->len[WAITS]; i-- > 0;) {
        wait_t *wait = (wait_t *)(void *)m->items[WAITS] + i;
        pl_id_t stage = wait->stage;
        if (wait->slot != slot)
            continue;
        drop(m, WAITS, wait);
        wake(m, stage);
    }
}

/* ---- holding, and aborts ----------------------------------------------------------------------------------------- */

static void hold_flow(pl__conn_t *m, flow_t *flow, pl_str_t reason) {
    task_t *task = task_of(m, flow->is.stage);
    flow->is.mode = PL_FLOW_HELD;
    flow->wants = PL_STR_NONE;
    flow->is.reason = text(m, reason);
    if (!task)
        return;
    task->state = DELAYED;
    task->is.eta = PL_USEC_MAX;
}

static void let_go(pl__conn_t *m, flow_t *flow) {
    be_begun(flow);
    if (wake_task(m, flow->is.stage) || !run_of(m, flow->is.stage))
        return;
    note(m, flow->is.stage, PL_STAGE_READY);
    flow->is.dirty = true;
}

/* One that has begun is asked, and sees to what is below it. */
static bool ask(pl__conn_t *m, const pl_stage_t *stage, const task_t *task) {
    flow_t *flow = stage->state == PL_STAGE_READY && stage->flags & PL_STAGE_DURABLE ? flow_of(m, stage->id) : NULL;
    if (!flow || !task || task->is.kind != PL_TASK_RUN)
        return false;
    if (flow->is.next == 1 && flow->is.mode == PL_FLOW_BEGUN && task->claim == 0)
        return false;
    if (flow->is.cancel != PL_CANCEL_NONE)
        return true;
    flow->is.cancel = PL_CANCEL_ASKED;
    if (flow->is.mode == PL_FLOW_HELD)
        let_go(m, flow);
    else
        tell_flow(m, flow, true);
    return true;
}

/* ---- eras, and the end ------------------------------------------------------------------------------------------- */

/* Of its journal nothing is left. */
static void begin_era(pl__conn_t *m, flow_t *flow) {
    be_begun(flow);
    flow->is.era++;
    flow->is.first = flow->is.next;
    drop_of(m, ENTRIES, flow->is.stage);
}

/* It is resumed with its tree. One that was asked to abort has undone what it did. */
static void resume_flow(pl__conn_t *m, flow_t *flow) {
    pl_cancel_t cancel = flow->is.cancel;
    be_begun(flow);
    flow->is.cancel = PL_CANCEL_NONE;
    flow->is.deadline = 0;
    if (cancel != PL_CANCEL_NONE)
        begin_era(m, flow);
}

/* The end of a scope is news for the function right above it. That of a function is so for the nearest one above that
 * goes on, if it waits for the end of all below it. */
static void tell_above(pl__conn_t *m, const pl_stage_t *stage) {
    bool is_wanted = stage->flags & PL_STAGE_SCOPE;
    for (pl_id_t at = stage->parent; at; at = stage_of(m, at)->parent) {
        flow_t *above = flow_of(m, at);
        bool goes_on = above && above->is.mode != PL_FLOW_OVER;
        if (goes_on && (is_wanted || above->is.cancel == PL_CANCEL_ASKED))
            tell_flow(m, above, true);
        if (goes_on || !(stage->flags & PL_STAGE_DURABLE))
            return;
        is_wanted = false;
    }
}

/* The stage has become final. */
static void end_flow(pl__conn_t *m, const pl_stage_t *stage) {
    flow_t *flow = stage->flags & PL_STAGE_DURABLE ? flow_of(m, stage->id) : NULL;
    if (flow) {
        be_begun(flow);
        flow->is.mode = PL_FLOW_OVER;
        flow->is.dirty = false;
    }
    if (stage->flags & (PL_STAGE_DURABLE | PL_STAGE_SCOPE))
        tell_above(m, stage);
}

#endif
