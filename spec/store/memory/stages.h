/*
 * stages.h - stages: the machine drawn in csrc/store/model.h. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_STAGES_H
#define PL_SPEC_MEMORY_STAGES_H

#include "flows.h"

static int unfilled(pl__conn_t *m, const pl_stage_t *stage) {
    int count = 0;
    for (size_t i = 0; i < stage->inputs_len; i++)
        count += !slot_of(m, stage->inputs[i]);
    for (size_t i = 0; i < stage->after_len; i++) {
        bool twice = false;
        for (size_t j = 0; j < stage->inputs_len; j++)
            twice = twice || stage->inputs[j] == stage->after[i];
        count += !twice && !slot_of(m, stage->after[i]);
    }
    return count;
}

/* It was to be finalized when its abort came: it had settled, also while that abort is held up. */
static bool is_cut_late(const pl_stage_t *stage) {
    return (stage->state == PL_STAGE_ABORTING || stage->state == PL_STAGE_ABORT_HELD) &&
           (stage->flags & PL_STAGE_CUT) == PL_STAGE_CUT_LATE;
}

/* Children that have not settled and, of an async stage, outputs that nobody has filled. */
static int unsettled(pl__conn_t *m, const pl_stage_t *stage) {
    int count = 0;
    EACH(pl_stage_t, child, STAGES)
    count += child->parent == stage->id && !is_final(child) && child->state != PL_STAGE_FINALIZING &&
             !(child->flags & PL_STAGE_FALLBACK_TAKEN) && !is_cut_late(child);
    for (size_t i = 0; i < stage->outputs_len && stage->flags & PL_STAGE_ASYNC; i++)
        count += !slot_of(m, stage->outputs[i].slot);
    return count;
}

static void become_final(pl__conn_t *m, pl_stage_t *stage, pl_stage_state_t state) {
    stage->state = state;
    stage->finalized = m->now;
    end_flow(m, stage);
    EACH(pl_id_t, watched, WATCHED) {
        if (*watched == stage->id)
            note(m, stage->id, state);
    }
}

static void settle(pl__conn_t *m, pl_stage_t *stage) {
    if (stage->flags & PL_STAGE_HAS_FINALIZED) {
        stage->state = PL_STAGE_FINALIZING;
        push_of(m, stage, PL_TASK_FINALIZE, 0);
    } else
        become_final(m, stage, PL_STAGE_DONE);
}

/* Whatever can go on does. */
static void go_on(pl__conn_t *m) {
    for (bool moved = true; moved && m->rc == PL_OK;) {
        moved = false;
        EACH(pl_stage_t, stage, STAGES) {
            bool runs = stage->state == PL_STAGE_WAITING && unfilled(m, stage) == 0;
            bool settles = stage->state == PL_STAGE_RUN && unsettled(m, stage) == 0;
            moved = moved || runs || settles;
            if (runs) {
                stage->state = PL_STAGE_READY;
                stage->started = m->now;
                push_of(m, stage, PL_TASK_RUN, stage->eta);
            } else if (settles)
                settle(m, stage);
        }
    }
}

static void add_stage(pl__conn_t *m, const pl_stage_new_t *new, pl_id_t root, pl_id_t parent) {
    pl_output_t own = { PL_STR_LIT("default"), new->id };
    if (stage_of(m, new->id)) {
        m->rc = PL_ECONSTRAINT;
        m->why = "there is a stage of this id";
        return;
    }
    pl_stage_t *stage = ADD(pl_stage_t, STAGES);
    *stage = (pl_stage_t){ .id = new->id, .root = root, .parent = parent, .flags = new->flags, .eta = new->eta };
    stage->class_path = text(m, new->class_path);
    stage->queue = make_queue(m, new->queue)->set.name;
    stage->base_path = text(m, new->base_path);
    stage->trace = parent && (new->flags &PL_STAGE_TRACED) ? stage_of(m, root)->trace : text(m, new->trace);
    stage->target = text(m, new->target);
    stage->key = text(m, new->key);
    stage->args = new->args.ptr ? text(m, new->args) : PL_STR_LIT("");
    stage->inputs = array(m, new->inputs, (stage->inputs_len = new->inputs_len) * sizeof(pl_id_t));
    stage->after = array(m, new->after, (stage->after_len = new->after_len) * sizeof(pl_id_t));
    stage->outputs_len = new->outputs_len ? new->outputs_len : 1;
    stage->outputs = array(m, new->outputs_len ? new->outputs : &own, stage->outputs_len * sizeof own);
    for (size_t i = 0; i < stage->outputs_len; i++)
        ((pl_output_t *)(uintptr_t)stage->outputs)[i].name = text(m, stage->outputs[i].name);
    if (new->flags & PL_STAGE_DURABLE)
        add_flow(m, new);
    if (new->fallback.ptr)
        *ADD(fallback_t, FALLBACKS) = (fallback_t){ new->id, text(m, new->fallback) };
    stage->max_attempts = new->max_attempts;
    stage->backoff_seconds = new->backoff_seconds;
    stage->backoff_factor = new->backoff_factor;
    stage->timeout = new->timeout;
    stage->priority = new->priority;
    stage->created = m->now;
    stage->state = parent && unfilled(m, stage) > 0 ? PL_STAGE_WAITING : PL_STAGE_READY;
    stage->started = stage->state == PL_STAGE_READY ? m->now : 0;
    if (stage->state == PL_STAGE_READY && !new->hold)
        push_of(m, stage, PL_TASK_RUN, stage->eta);
}

static void fill_slot(pl__conn_t *m, pl_id_t filler, const pl_fill_t *fill) {
    pl_slot_t *slot = slot_of(m, fill->slot);
    bool is_new = !slot;
    if (is_new)
        slot = ADD(pl_slot_t, SLOTS);
    *slot = (pl_slot_t){
        .id = fill->slot, .filled = true, .value = text(m, fill->value), .filler = filler, .time = m->now
    };
    if (is_new)
        wake_waiters(m, fill->slot);
}

static void add_failure(pl__conn_t *m, const pl_stage_t *stage, const pl_failure_t *failure) {
    char worker[96];
    snprintf(worker, sizeof worker, "%.*s:%lld#1", (int)m->joined.host.len, m->joined.host.ptr,
             (long long)m->joined.pid);
    *ADD(failed_t, FAILURES) = (failed_t){ stage->id,
                                           { .time = m->now,
                                             .attempt = stage->attempt + 1,
                                             .worker = text(m, failure->worker.ptr ? failure->worker : pl_str(worker)),
                                             .error_class = text(m, failure->error_class),
                                             .message = text(m, failure->message),
                                             .traceback = text(m, failure->traceback) } };
}

static unsigned cut_of(const pl_stage_t *stage) {
    return stage->state == PL_STAGE_RUN          ? PL_STAGE_CUT_OPEN
           : stage->state == PL_STAGE_FINALIZING ? PL_STAGE_CUT_LATE
                                                 : PL_STAGE_CUT_EARLY;
}

/* Whether a function that was asked is above it, as far up as `top`. */
static bool is_spared(pl__conn_t *m, const pl_stage_t *stage, pl_id_t top) {
    while (stage->id != top && stage->parent) {
        stage = stage_of(m, stage->parent);
        if (stage->state == PL_STAGE_READY && stage->flags & PL_STAGE_DURABLE)
            return true;
    }
    return false;
}

/* `cut`: how it was found. */
static void abort_stage(pl__conn_t *m, pl_stage_t *stage, bool permitted, unsigned cut) {
    task_t *task = task_of(m, stage->id);
    if (ask(m, stage, task))
        return;
    bool was_run = stage->state == PL_STAGE_RUN && stage->flags & PL_STAGE_ASYNC && !permitted;
    bool has_finalized = stage->flags & PL_STAGE_HAS_FINALIZED, may_ask = stage->flags & PL_STAGE_HAS_TRY_CANCEL;
    bool is_executed = stage->state != PL_STAGE_RUN && task && task->state == CLAIMED;
    if (is_executed && stage->state == PL_STAGE_READY)
        note(m, stage->id, PL_STAGE_ABORTING);
    if (task && !is_executed)
        drop(m, TASKS, task);
    stage->flags = (stage->flags & ~(unsigned)(PL_STAGE_CUT | PL_STAGE_WAS_RUN)) | cut;
    if (!is_executed && !was_run && !has_finalized) {
        become_final(m, stage, PL_STAGE_ABORTED);
        return;
    }
    stage->flags |= was_run ? PL_STAGE_WAS_RUN : 0;
    stage->state = was_run && !may_ask ? PL_STAGE_ABORT_HELD : PL_STAGE_ABORTING;
    if (!is_executed && stage->state == PL_STAGE_ABORTING)
        push_of(m, stage, PL_TASK_ABORT, 0);
}

/* One that is not being executed, without asking it. */
static void abort_now(pl__conn_t *m, pl_stage_t *stage) {
    task_t *task = task_of(m, stage->id);
    if (task)
        drop(m, TASKS, task);
    stage->state = PL_STAGE_RUN;
    abort_stage(m, stage, true, stage->flags & PL_STAGE_CUT);
}

static void abort_tree(pl__conn_t *m, pl_id_t root, pl_str_t message, pl_id_t permitted) {
    go_on(m);
    pl_stage_t *first = stage_of(m, root);
    first->abort_requested = true;
    first->abort_message = text(m, message);
    EACH(pl_stage_t, stage, STAGES) {
        bool is_live = !is_final(stage) && stage->state != PL_STAGE_ABORTING && stage->state != PL_STAGE_ABORT_HELD;
        if (stage->root == root && is_live && !is_spared(m, stage, root))
            abort_stage(m, stage, stage->id == permitted, cut_of(stage));
    }
}

static bool is_below(pl__conn_t *m, const pl_stage_t *stage, pl_id_t top) {
    while (stage && stage->id != top)
        stage = stage->parent ? stage_of(m, stage->parent) : NULL;
    return stage != NULL;
}

/* All that is live below it, itself included. */
static void abort_part(pl__conn_t *m, pl_id_t top, pl_id_t permitted) {
    EACH(pl_stage_t, stage, STAGES) {
        bool is_live = !is_final(stage) && stage->state != PL_STAGE_ABORTING && stage->state != PL_STAGE_ABORT_HELD;
        if (is_live && is_below(m, stage, top) && !is_spared(m, stage, top))
            abort_stage(m, stage, stage->id == permitted, cut_of(stage));
    }
}

/* All of it is over at once, and nobody is asked. */
static void end_part(pl__conn_t *m, pl_id_t top) {
    EACH(pl_stage_t, stage, STAGES) {
        task_t *task = task_of(m, stage->id);
        bool is_aborted = stage->state == PL_STAGE_ABORTING || stage->state == PL_STAGE_ABORT_HELD;
        if (is_final(stage) || !is_below(m, stage, top))
            continue;
        if (stage->state == PL_STAGE_READY || stage->state == PL_STAGE_ABORTING)
            note(m, stage->id, PL_STAGE_ABORTING);
        stage->flags &= ~(unsigned)PL_STAGE_WAS_RUN;
        if (!is_aborted)
            stage->flags = (stage->flags & ~(unsigned)PL_STAGE_CUT) | cut_of(stage);
        if (task)
            drop(m, TASKS, task);
        become_final(m, stage, PL_STAGE_ABORTED);
    }
}

static void abort_scope(pl__conn_t *m, pl_stage_t *scope, pl_str_t message, pl_id_t permitted) {
    go_on(m);
    scope->abort_requested = true;
    scope->abort_message = text(m, message);
    abort_part(m, scope->id, permitted);
}

static void take_fallback(pl__conn_t *m, pl_stage_t *holder, pl_id_t failed, pl_str_t message) {
    pl_str_t value = PL_STR_NONE;
    EACH(fallback_t, each, FALLBACKS) {
        if (each->stage == holder->id)
            value = each->value;
    }
    abort_part(m, holder->id, failed);
    holder->flags |= PL_STAGE_FALLBACK_TAKEN;
    holder->abort_message = text(m, message);
    for (size_t i = 0; i < holder->outputs_len; i++)
        if (!slot_of(m, holder->outputs[i].slot))
            fill_slot(m, holder->id, &(pl_fill_t){ holder->outputs[i].slot, value });
}

/* Aborts the tree, or what is below the nearest fallback or scope. */
static void fail_tree(pl__conn_t *m, const pl_stage_t *failed, pl_str_t message) {
    go_on(m);
    for (pl_stage_t *stage = stage_of(m, failed->id); stage; stage = stage_of(m, stage->parent)) {
        bool is_unsettled =
            stage->state == PL_STAGE_WAITING || stage->state == PL_STAGE_READY || stage->state == PL_STAGE_RUN;
        if (is_unsettled && (stage->flags & PL_STAGE_HAS_FALLBACK) && !(stage->flags & PL_STAGE_FALLBACK_TAKEN)) {
            take_fallback(m, stage, failed->id, message);
            return;
        }
        if (stage->flags & PL_STAGE_SCOPE) {
            abort_scope(m, stage, message, failed->id);
            return;
        }
    }
    abort_tree(m, failed->root, message, failed->id);
}

#endif
