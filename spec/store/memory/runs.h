/*
 * runs.h - the verbs of stages. Part of driver.c.
 */
#ifndef PL_SPEC_MEMORY_RUNS_H
#define PL_SPEC_MEMORY_RUNS_H

#include "journals.h"

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
    if (run->give_up) {
        stage->attempt++;
        stage->retry_message = text(m, run->retry_message);
        stage->abort_message = text(m, run->abort_message);
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

/* A task of the run, or a root, cannot be added: the attempt has failed. */
static void refuse_run(pl__conn_t *m, pl_op_t *op, pl_stage_t *stage, task_t *task, const refusal_t *refused) {
    char why[350], last[400], said[300];
    double wait = pl_backoff(stage->backoff_seconds, stage->backoff_factor, stage->attempt, PL_BACKOFF_MAX);
    int attempts = stage->attempt + 1;
    const char *name = refused->root                  ? "PipelineExistsError"
                       : refused->rc == PL_EEXISTS    ? "TaskAlreadyExistsError"
                       : refused->rc == PL_ETOMBSTONE ? "TombstonedTaskError"
                       : refused->rc == PL_ENOQUEUE   ? "UnknownQueueError"
                       : refused->rc == PL_EMODE      ? "InvalidQueueModeError"
                                                      : "BadTaskStateError";
    pl_str_t of = refused->root ? refused->root->key : refused->task->name;
    if (refused->root)
        snprintf(said, sizeof said, "a pipeline with the idempotence key '%.*s' exists already", (int)of.len, of.ptr);
    else
        snprintf(said, sizeof said, "task '%.*s': %s", (int)of.len, of.ptr ? of.ptr : "", pl_result_text(refused->rc));
    snprintf(why, sizeof why, "%s: %s", name, said);
    snprintf(last, sizeof last, "Aborting after %d attempt%s. %s", attempts, attempts == 1 ? "" : "s", why);
    op->rc = refused->rc;
    op->u.outcome.refused = room(&op->arena, sizeof(pl_attempt_t));
    *(pl_attempt_t *)(uintptr_t)op->u.outcome.refused =
        (pl_attempt_t){ .rc = op->rc, .number = attempts, .is_last = attempts >= stage->max_attempts };
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

/* A durable function that was told of an abort has cleaned up: it, and what is still below it. */
static void end_told(pl__conn_t *m, const pl_stage_t *stage) {
    go_on(m);
    abort_part(m, stage->id, stage->id);
}

/* It was to be aborted, and ends in another way: as it was told; or, if it has asked for that itself, as one that
 * fails. */
static void end_cancelled(pl__conn_t *m, pl_stage_t *stage, pl_str_t reason) {
    const pl_stage_t *told = stage;
    while (told && !told->abort_requested && !(told->flags & PL_STAGE_FALLBACK_TAKEN))
        told = stage_of(m, told->parent);
    if (told)
        end_told(m, stage);
    else
        fail_tree(m, stage, reason);
}

static void abort_run(pl__conn_t *m, const pl_op_outcome_t *run, pl_stage_t *stage, task_t *task) {
    bool is_function = stage->flags & PL_STAGE_DURABLE;
    if (run->failure.error_class.ptr || !is_function)
        add_failure(m, stage, &run->failure);
    for (size_t i = 0; i < run->failures_len; i++)
        add_failure(m, stage, &run->failures[i]);
    drop(m, TASKS, task);
    bool is_told = is_function && !run->abort_message.ptr;
    char why[400];
    snprintf(why, sizeof why, "%.*s: %.*s", (int)run->failure.error_class.len, run->failure.error_class.ptr,
             (int)run->failure.message.len, run->failure.message.ptr);
    if (is_told && flow_of(m, stage->id)->is.cancel != PL_CANCEL_NONE)
        end_cancelled(m, stage, run->failure.error_class.ptr ? pl_str(why) : PL_STR_LIT("it has cancelled itself"));
    else if (is_told)
        end_told(m, stage);
    else
        fail_tree(m, stage, run->abort_message);
    if (run->force)
        end_part(m, stage->id);
}

/* It is to be held; where an abort was asked for, that. */
static void hold_run(pl__conn_t *m, pl_stage_t *stage, task_t *task, pl_str_t reason) {
    flow_t *flow = flow_of(m, stage->id);
    if (flow->is.cancel == PL_CANCEL_NONE) {
        hold_flow(m, flow, reason);
        return;
    }
    drop(m, TASKS, task);
    if (flow->is.cancel == PL_CANCEL_ASKED)
        end_cancelled(m, stage, reason);
    else
        fail_tree(m, stage, reason);
}

/* It ends, or begins anew, though an abort was asked for. */
static bool refuse_end(pl__conn_t *m, pl_op_t *op, pl_stage_t *stage, task_t *task) {
    const pl_op_outcome_t *run = &op->u.outcome;
    flow_t *flow = stage->flags & PL_STAGE_DURABLE ? flow_of(m, stage->id) : NULL;
    bool ends = run->kind == PL_OUTCOME_OK || run->kind == PL_OUTCOME_CONTINUE;
    if (!flow || !ends || flow->is.cancel == PL_CANCEL_NONE)
        return false;
    op->rc = PL_EABORTED;
    if (flow->is.cancel == PL_CANCEL_ASKED) {
        be_begun(flow);
        delay(m, task, m->due, 0);
        return true;
    }
    drop(m, TASKS, task);
    end_cancelled(m, stage, PL_STR_LIT("it has cancelled itself"));
    return true;
}

static void continue_run(pl__conn_t *m, const pl_op_outcome_t *run, pl_stage_t *stage, task_t *task) {
    begin_era(m, flow_of(m, stage->id));
    stage->args = run->args.ptr ? text(m, run->args) : PL_STR_LIT("");
    stage->inputs_len = 0;
    stage->started = m->now;
    delay(m, task, m->due, 0);
}

static void end_run(pl__conn_t *m, const pl_op_outcome_t *run, pl_stage_t *stage, task_t *task) {
    drop(m, TASKS, task);
    for (size_t i = 0; i < run->fills_len; i++)
        fill_slot(m, run->stage, &run->fills[i]);
    spawn(m, stage, run->flags, run->children, run->children_len);
    for (size_t i = 0; i < run->tasks_len; i++)
        add_task(m, &run->tasks[i]);
    stage->flags = run->flags;
    stage->state = PL_STAGE_RUN;
}

static void do_outcome(pl__conn_t *m, pl_op_t *op) {
    pl_op_outcome_t *run = &op->u.outcome;
    task_t *task = ours(m, run->stage, run->claim);
    pl_stage_t *stage = stage_of(m, run->stage);
    refusal_t refused = { .rc = PL_OK };
    size_t tasks_len = run->kind == PL_OUTCOME_OK ? run->tasks_len : 0;
    check_root(m, stage, run->root);
    run->refused = NULL;
    op->rc = task && stage && task->is.kind == PL_TASK_RUN ? PL_OK : PL_ESTALE;
    if (op->rc == PL_OK && stage->state == PL_STAGE_ABORTING) {
        op->rc = PL_EABORTED;
        abort_now(m, stage);
    }
    if (op->rc != PL_OK)
        return;
    check_tasks(m, run->tasks, tasks_len, NULL, 0, &refused);
    if (run->journal)
        check_journal(m, run->journal, run->tasks, tasks_len, &refused);
    if (refused.rc != PL_OK) {
        refuse_run(m, op, stage, task, &refused);
        return;
    }
    if (run->journal)
        write_journal(m, stage, run->journal);
    if (refuse_end(m, op, stage, task))
        return;
    if (run->kind == PL_OUTCOME_HELD)
        hold_run(m, stage, task, run->retry_message);
    else if (run->kind == PL_OUTCOME_CONTINUE)
        continue_run(m, run, stage, task);
    else if (run->kind == PL_OUTCOME_FAILED)
        fail_run(m, run, stage, task);
    else if (run->kind == PL_OUTCOME_ABORT)
        abort_run(m, run, stage, task);
    else
        end_run(m, run, stage, task);
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
    if (op->rc == PL_EEXISTS && abort->force)
        op->rc = PL_OK;
    if (op->rc == PL_OK && abort->force) {
        go_on(m);
        top->abort_requested = true;
        top->abort_message = text(m, abort->message);
        end_part(m, top->id);
    } else if (op->rc == PL_OK && top->parent)
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
    if (stage->flags & PL_STAGE_DURABLE)
        resume_flow(m, flow_of(m, stage->id));
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
    op->rc = stage_of(m, op->u.status.stage) ? PL_OK : PL_ENOTFOUND;
    if (op->rc == PL_OK)
        show_status(m, op->u.status.stage, &op->u.status.status);
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
    static const int lists[] = { FAILURES, STATUSES, FALLBACKS, FLOWS, ENTRIES, MAILS, CHUNKS, VALUES, WAITS };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        drop_of(m, lists[i], stage->id);
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
