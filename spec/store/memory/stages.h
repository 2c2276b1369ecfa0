/*
 * stages.h - stages and their verbs: the machine drawn in csrc/store/model.h. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_STAGES_H
#define PL_SPEC_MEMORY_STAGES_H

#include "tasks.h"

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

static void note(pl__conn_t *m, pl_id_t stage, pl_stage_state_t state) {
    pl_watch_event_t *final = room(&m->scratch, sizeof *final);
    *final = (pl_watch_event_t){ .next = m->finals, .stage = stage, .state = state, .ours = true };
    m->finals = final;
}

static void become_final(pl__conn_t *m, pl_stage_t *stage, pl_stage_state_t state) {
    stage->state = state;
    stage->finalized = m->now;
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
static void flow(pl__conn_t *m) {
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
    if (!slot)
        slot = ADD(pl_slot_t, SLOTS);
    *slot = (pl_slot_t){
        .id = fill->slot, .filled = true, .value = text(m, fill->value), .filler = filler, .time = m->now
    };
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

/* A durable function that was claimed once is asked, and sees to what is below it. */
static bool ask(pl__conn_t *m, const pl_stage_t *stage, task_t *task) {
    bool is_function = stage->state == PL_STAGE_READY && stage->flags & PL_STAGE_DURABLE;
    if (!is_function || !task || task->claim == 0)
        return false;
    if (!task->asked && task->state == CLAIMED)
        note(m, stage->id, PL_STAGE_READY);
    task->asked = true;
    return true;
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
    flow(m);
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

static void abort_scope(pl__conn_t *m, pl_stage_t *scope, pl_str_t message, pl_id_t permitted) {
    flow(m);
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
    flow(m);
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

/* ---- verbs of stages --------------------------------------------------------------------------------------------- */

static void do_start(pl__conn_t *m, pl_op_t *op) {
    for (size_t i = 0; i < op->u.start.len; i++) {
        pl_stage_new_t *new = &op->u.start.stages[i];
        new->rc = new->key.ptr &&stage_by(m, 0, new->key) ? PL_EEXISTS : PL_OK;
        if (new->rc == PL_OK)
            add_stage(m, new, new->id, 0);
    }
}

static void fail_run(pl__conn_t *m, const pl_op_outcome_t *run, pl_stage_t *stage, task_t *task) {
    add_failure(m, stage, &run->failure);
    if (run->kind == PL_OUTCOME_ABORT || run->give_up) {
        if (run->kind == PL_OUTCOME_FAILED) {
            stage->attempt++;
            stage->retry_message = text(m, run->retry_message);
            stage->abort_message = text(m, run->abort_message);
        }
        drop(m, TASKS, task);
        fail_tree(m, stage, run->abort_message);
        return;
    }
    delay(m, task, run->retry_at, run->retry_task);
    if (run->retry_task)
        return;
    stage->attempt++;
    stage->retry_at = run->retry_at;
    stage->retry_message = text(m, run->retry_message);
}

/* A task of the run cannot be added: the attempt has failed. */
static void refuse_run(pl__conn_t *m, pl_op_t *op, pl_stage_t *stage, task_t *task, const pl_task_new_t *refused) {
    char why[350], last[400], said[300];
    double wait = pl_backoff(stage->backoff_seconds, stage->backoff_factor, stage->attempt, PL_BACKOFF_MAX);
    int attempts = stage->attempt + 1;
    const char *name = refused->rc == PL_EEXISTS      ? "TaskAlreadyExistsError"
                       : refused->rc == PL_ETOMBSTONE ? "TombstonedTaskError"
                       : refused->rc == PL_ENOQUEUE   ? "UnknownQueueError"
                       : refused->rc == PL_EMODE      ? "InvalidQueueModeError"
                                                      : "BadTaskStateError";
    snprintf(said, sizeof said, "task '%.*s': %s", (int)refused->name.len, refused->name.ptr ? refused->name.ptr : "",
             pl_result_text(refused->rc));
    snprintf(why, sizeof why, "%s: %s", name, said);
    snprintf(last, sizeof last, "Aborting after %d attempt%s. %s", attempts, attempts == 1 ? "" : "s", why);
    op->rc = refused->rc;
    fail_run(m,
             &(pl_op_outcome_t){ .kind = PL_OUTCOME_FAILED,
                                 .give_up = attempts >= stage->max_attempts,
                                 .retry_at = pl_clock_add(m->now, pl_clock_from_seconds(wait)),
                                 .retry_message = pl_str(why),
                                 .abort_message = pl_str(last),
                                 .failure = { .error_class = pl_str(name), .message = pl_str(said) } },
             stage, task);
}

/* An op that knows its tree names the right one. */
static void check_root(pl__conn_t *m, const pl_stage_t *stage, pl_id_t root) {
    if (!stage || !root || root == stage->root)
        return;
    m->rc = PL_ECONSTRAINT;
    m->why = "the stage is of another tree";
}

static void do_outcome(pl__conn_t *m, pl_op_t *op) {
    pl_op_outcome_t *run = &op->u.outcome;
    task_t *task = ours(m, run->stage, run->claim);
    pl_stage_t *stage = stage_of(m, run->stage);
    check_root(m, stage, run->root);
    op->rc = task && stage && task->is.kind == PL_TASK_RUN ? PL_OK : PL_ESTALE;
    if (op->rc == PL_OK && stage->state == PL_STAGE_ABORTING) {
        op->rc = PL_EABORTED;
        abort_now(m, stage);
    }
    if (op->rc != PL_OK)
        return;
    if (run->kind != PL_OUTCOME_OK) {
        fail_run(m, run, stage, task);
        return;
    }
    for (size_t i = 0; i < run->tasks_len; i++) {
        pl_task_new_t *new = &run->tasks[i];
        check_task(m, new);
        for (size_t j = 0; j < i && new->name.ptr; j++)
            if (pl_str_eq(run->tasks[j].name, new->name) && pl_str_eq(run->tasks[j].queue, new->queue))
                new->rc = PL_EEXISTS;
        if (new->rc != PL_OK) {
            refuse_run(m, op, stage, task, new);
            return;
        }
    }
    if (task->asked) {
        op->rc = PL_EABORTED;
        delay(m, task, m->due, 0);
        return;
    }
    drop(m, TASKS, task);
    for (size_t i = 0; i < run->fills_len; i++)
        fill_slot(m, run->stage, &run->fills[i]);
    for (size_t i = 0; i < run->children_len; i++) {
        run->children[i].flags |= run->flags & PL_STAGE_DURABLE ? PL_STAGE_SCOPE : 0;
        run->children[i].flags |= run->flags & PL_STAGE_TRACED;
        add_stage(m, &run->children[i], stage->root, stage->id);
    }
    for (size_t i = 0; i < run->tasks_len; i++)
        add_task(m, &run->tasks[i]);
    stage->flags = run->flags;
    stage->state = PL_STAGE_RUN;
}

static void do_finalized(pl__conn_t *m, pl_op_t *op) {
    const pl_op_finalized_t *done = &op->u.finalized;
    task_t *task = ours(m, done->stage, done->claim);
    pl_stage_t *stage = stage_of(m, done->stage);
    check_root(m, stage, done->root);
    op->rc = task && (task->is.kind == PL_TASK_FINALIZE || task->is.kind == PL_TASK_ABORT) ? PL_OK : PL_ESTALE;
    if (op->rc != PL_OK)
        return;
    bool aborts = task->is.kind == PL_TASK_ABORT;
    if (done->kind == PL_FINALIZED_FAILED)
        add_failure(m, stage, &done->failure);
    if (done->kind == PL_FINALIZED_FAILED && !done->give_up) {
        delay(m, task, done->retry_at, 1);
        return;
    }
    drop(m, TASKS, task);
    if (done->kind == PL_FINALIZED_HELD && aborts) {
        stage->state = PL_STAGE_ABORT_HELD;
        stage->flags &= ~(unsigned)PL_STAGE_WAS_RUN;
    } else
        become_final(m, stage, aborts ? PL_STAGE_ABORTED : PL_STAGE_DONE);
}

static void do_fill(pl__conn_t *m, pl_op_t *op) {
    const pl_op_fill_t *fill = &op->u.fill;
    pl_stage_t *stage = stage_of(m, fill->stage);
    check_root(m, stage, fill->root);
    op->rc = !stage                                                 ? PL_ENOTFOUND
             : stage->state == PL_STAGE_ABORT_HELD                  ? PL_EABORTED
             : is_final(stage) || stage->state == PL_STAGE_ABORTING ? PL_EFINAL
                                                                    : PL_OK;
    if (op->rc == PL_EABORTED)
        abort_now(m, stage);
    for (size_t i = 0; i < fill->fills_len && op->rc == PL_OK; i++)
        fill_slot(m, fill->stage, &fill->fills[i]);
}

static void do_retry(pl__conn_t *m, pl_op_t *op) {
    pl_op_retry_t *retry = &op->u.retry;
    pl_stage_t *stage = stage_of(m, retry->stage);
    check_root(m, stage, retry->root);
    if (!stage)
        op->rc = PL_ENOTFOUND;
    else if (stage->state != PL_STAGE_RUN || !(stage->flags & PL_STAGE_ASYNC))
        op->rc = PL_ESTATE;
    else if (stage->attempt + 1 >= stage->max_attempts)
        op->rc = PL_ELIMIT;
    if (op->rc != PL_OK)
        return;
    stage->state = PL_STAGE_READY;
    stage->attempt++;
    stage->retry_at = retry->retry_at;
    stage->retry_message = text(m, retry->message);
    push_of(m, stage, PL_TASK_RUN, retry->retry_at);
}

static void do_abort(pl__conn_t *m, pl_op_t *op) {
    pl_op_abort_t *abort = &op->u.abort;
    pl_stage_t *stage = stage_of(m, abort->stage), *top = stage;
    check_root(m, stage, abort->root);
    while (top && top->parent && !(top->flags & PL_STAGE_SCOPE))
        top = stage_of(m, top->parent);
    bool is_aborted = top && (top->state == PL_STAGE_ABORTING || top->state == PL_STAGE_ABORT_HELD);
    op->rc = !top                                                  ? PL_ENOTFOUND
             : is_final(top)                                       ? PL_EFINAL
             : top->abort_requested || (top->parent && is_aborted) ? PL_EEXISTS
                                                                   : PL_OK;
    pl_id_t permitted = abort->no_permission && top ? top->id : 0;
    if (op->rc == PL_OK && top->parent)
        abort_scope(m, top, abort->message, permitted);
    else if (op->rc == PL_OK)
        abort_tree(m, top->id, abort->message, permitted);
}

static bool has_children(pl__conn_t *m, const pl_stage_t *stage) {
    EACH(pl_stage_t, child, STAGES) {
        if (child->parent == stage->id)
            return true;
    }
    return false;
}

/* In a part of the tree whose fallback was taken, or in a scope that was aborted for itself? */
static bool is_over(pl__conn_t *m, const pl_stage_t *stage) {
    while (stage && !(stage->flags & PL_STAGE_FALLBACK_TAKEN) && !(stage->parent && stage->abort_requested))
        stage = stage->parent ? stage_of(m, stage->parent) : NULL;
    return stage != NULL;
}

static void resume_stage(pl__conn_t *m, pl_stage_t *stage) {
    unsigned cut = stage->flags & PL_STAGE_CUT;
    if (!cut)
        cut = has_children(m, stage) ? PL_STAGE_CUT_OPEN : PL_STAGE_CUT_EARLY;
    stage->flags &= ~(unsigned)(PL_STAGE_CUT | PL_STAGE_WAS_RUN);
    if (!stage->parent)
        stage->flags =
            (stage->flags & ~(unsigned)PL_STAGE_RESUMES) | ((stage->flags + PL_STAGE_RESUMED) & PL_STAGE_RESUMES);
    stage->attempt = 0;
    stage->finalized = stage->retry_at = 0;
    stage->abort_requested = false;
    stage->abort_message = PL_STR_NONE;
    if (cut == PL_STAGE_CUT_OPEN) {
        stage->state = PL_STAGE_RUN;
        return;
    }
    bool is_early = cut == PL_STAGE_CUT_EARLY, waits = is_early && unfilled(m, stage) > 0;
    stage->state = !is_early ? PL_STAGE_FINALIZING : waits ? PL_STAGE_WAITING : PL_STAGE_READY;
    stage->flags |= is_early ? PL_STAGE_CUT_EARLY : 0;
    stage->started = waits ? 0 : is_early ? m->now : stage->started;
    if (waits)
        return;
    push_of(m, stage, is_early ? PL_TASK_RUN : PL_TASK_FINALIZE, is_early ? stage->eta : 0);
    task_of(m, stage->id)->claim = pl__claim_number(m->now);
}

static void do_resume(pl__conn_t *m, pl_op_t *op) {
    pl_op_resume_t *resume = &op->u.resume;
    const pl_stage_t *stage = stage_of(m, resume->stage), *root = stage ? stage_of(m, stage->root) : NULL;
    check_root(m, stage, resume->root);
    resume->stages = 0;
    if (!root) {
        op->rc = PL_ENOTFOUND;
        return;
    }
    if (root->state == PL_STAGE_DONE || (root->state != PL_STAGE_ABORTED && !root->abort_requested))
        op->rc = PL_ESTATE;
    EACH(pl_stage_t, each, STAGES) {
        if (op->rc == PL_OK && each->root == root->id && !is_final(each))
            op->rc = PL_ELIVE;
    }
    if (resume->only_asks)
        return;
    EACH(pl_stage_t, each, STAGES) {
        if (op->rc != PL_OK || each->root != root->id || each->state != PL_STAGE_ABORTED || is_over(m, each))
            continue;
        resume_stage(m, each);
        resume->stages++;
    }
}

static void do_status(pl__conn_t *m, pl_op_t *op) {
    pl_status_t *new = &op->u.status.status;
    told_t *told = NULL;
    op->rc = stage_of(m, op->u.status.stage) ? PL_OK : PL_ENOTFOUND;
    if (op->rc != PL_OK)
        return;
    EACH(told_t, each, STATUSES)
    told = each->stage == op->u.status.stage ? each : told;
    if (!told)
        told = ADD(told_t, STATUSES);
    *told = (told_t){ op->u.status.stage,
                      { text(m, new->message), text(m, new->console_url), text(m, new->links),
                        new->time ? new->time : m->now } };
}

static void delete_stage(pl__conn_t *m, pl_stage_t *stage, int64_t *deleted) {
    for (size_t i = m->len[TASKS]; i-- > 0;) {
        task_t *task = (task_t *)(void *)m->items[TASKS] + i;
        if (task->stage != stage->id)
            continue;
        end(m, task);
        ++*deleted;
    }
    for (size_t i = 0; i < stage->outputs_len; i++) {
        pl_slot_t *slot = slot_of(m, stage->outputs[i].slot);
        *deleted += slot != NULL;
        if (slot)
            drop(m, SLOTS, slot);
    }
    for (size_t i = m->len[FAILURES]; i-- > 0;)
        if (((failed_t *)(void *)m->items[FAILURES])[i].stage == stage->id)
            drop(m, FAILURES, (failed_t *)(void *)m->items[FAILURES] + i);
    for (size_t i = m->len[STATUSES]; i-- > 0;)
        if (((told_t *)(void *)m->items[STATUSES])[i].stage == stage->id)
            drop(m, STATUSES, (told_t *)(void *)m->items[STATUSES] + i);
    for (size_t i = m->len[FALLBACKS]; i-- > 0;)
        if (((fallback_t *)(void *)m->items[FALLBACKS])[i].stage == stage->id)
            drop(m, FALLBACKS, (fallback_t *)(void *)m->items[FALLBACKS] + i);
    drop(m, STAGES, stage);
    ++*deleted;
}

static void do_cleanup(pl__conn_t *m, pl_op_t *op) {
    pl_id_t root = op->u.cleanup.root;
    const pl_stage_t *first = stage_of(m, root);
    op->u.cleanup.deleted = 0;
    op->rc = !first ? PL_ENOTFOUND : first->parent ? PL_ESTATE : PL_OK;
    EACH(pl_stage_t, stage, STAGES) {
        if (op->rc == PL_OK && stage->root == root && !is_final(stage))
            op->rc = PL_ELIVE;
    }
    for (size_t i = m->len[STAGES]; i-- > 0 && op->rc == PL_OK;) {
        pl_stage_t *stage = (pl_stage_t *)(void *)m->items[STAGES] + i;
        if (stage->root == root)
            delete_stage(m, stage, &op->u.cleanup.deleted);
    }
}

static void unwatch(pl__conn_t *m, pl_id_t stage) {
    EACH(pl_id_t, each, WATCHED) {
        if (*each == stage) {
            drop(m, WATCHED, each);
            return;
        }
    }
}

static void do_watch(pl__conn_t *m, pl_op_t *op) {
    pl_op_watch_t *watch = &op->u.watch;
    const pl_stage_t *stage = stage_by(m, watch->stage, watch->key);
    if (stage || watch->key.ptr)
        watch->stage = stage ? stage->id : 0;
    unwatch(m, watch->stage);
    if (watch->unwatch)
        return;
    op->rc = stage ? PL_OK : PL_ENOTFOUND;
    if (!stage)
        return;
    watch->state = stage->state;
    if (!is_final(stage))
        *ADD(pl_id_t, WATCHED) = stage->id;
}

#endif
