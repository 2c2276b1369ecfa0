/*
 * outcome.c - the verbs that move a stage: start, outcome, finalized, fill, retry, abort, status.
 *
 * Each verb checks first and writes afterwards; a refusal leaves the transaction as it was. What becomes of the stage
 * is for the rules to say (store/stage/).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/sqlite/db.h"
#include "store/sqlite/pack.h"
#include "store/sqlite/task/add.h"

enum { RESULT_MAX = 256 }; /* bytes of a value in the row of its stage */

/* What the verbs need to know of a stage before they write. */
typedef struct {
    bool found;
    pl_stage_state_t state;
    pl_id_t root, parent;
    unsigned flags;
    int64_t queue;
    int priority, attempt, max_attempts;
    const pl_output_t *outputs;
    size_t outputs_len;
} brief_t;

static int load_brief(pl__conn_t *conn, pl_id_t id, brief_t *brief) {
    sqlite3_stmt *row;
    pl_str_t outputs;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_BRIEF, &row, "i", (int64_t)id));
    PL__TRY(pl__sql_step(conn, row, &brief->found));
    if (!brief->found)
        return PL_OK;
    brief->state = (pl_stage_state_t)sqlite3_column_int(row, 0);
    brief->root = sqlite3_column_int64(row, 1);
    brief->parent = sqlite3_column_int64(row, 2);
    brief->flags = (unsigned)sqlite3_column_int(row, 3);
    brief->queue = sqlite3_column_int64(row, 4);
    brief->priority = sqlite3_column_int(row, 5);
    brief->attempt = sqlite3_column_int(row, 6);
    brief->max_attempts = sqlite3_column_int(row, 7);
    int rc = pl__sql_str(row, 8, &conn->scratch, &outputs);
    pl__sql_end(row);
    PL__TRY(rc);
    return pl__unpack_outputs(&conn->scratch, id, outputs, &brief->outputs, &brief->outputs_len);
}

/* ---- start ------------------------------------------------------------------------------------------------- */

int pl__verb_start(pl__conn_t *conn, pl_op_t *op) {
    for (size_t i = 0; i < op->u.start.len; i++) {
        pl_stage_new_t *stage = &op->u.start.stages[i];
        int64_t taken = 0;
        if (stage->key.ptr) {
            PL__TRY(pl__stage_rows_flush(conn));
            PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_BY_KEY, &taken, 0, "b", stage->key));
        }
        stage->rc = taken ? PL_EEXISTS : PL_OK;
        if (!taken)
            PL__TRY(pl__stage_insert(conn, stage, stage->id, 0, 0, 0));
    }
    return PL_OK;
}

/* ---- children of a run ------------------------------------------------------------------------------------- */

/* The children of a run, by their default slots, which are known to be unfilled. */
typedef struct {
    pl_id_t *ids; /* ascending */
    pl_id_t *waiters;
    int *missing; /* by the order of the run */
    size_t len;
} fresh_t;

static int list_fresh(pl__conn_t *conn, const pl_op_outcome_t *run, fresh_t *fresh) {
    fresh->len = run->children_len;
    fresh->ids = pl__arena_get(&conn->scratch, fresh->len * sizeof *fresh->ids);
    fresh->waiters = pl__arena_get(&conn->scratch, fresh->len * sizeof *fresh->waiters);
    fresh->missing = pl__arena_get(&conn->scratch, fresh->len * sizeof *fresh->missing);
    if (!fresh->ids || !fresh->waiters || !fresh->missing)
        return PL_ENOMEM;
    for (size_t i = 0; i < fresh->len; i++)
        fresh->ids[i] = run->children[i].id;
    qsort(fresh->ids, fresh->len, sizeof *fresh->ids, pl__compare_ids);
    return PL_OK;
}

/* Who waits for a slot that a child of this run will fill; NULL: it is no such slot. */
static pl_id_t *find_waiter(const fresh_t *fresh, pl_id_t slot) {
    const pl_id_t *place = bsearch(&slot, fresh->ids, fresh->len, sizeof slot, pl__compare_ids);
    return place ? &fresh->waiters[place - fresh->ids] : NULL;
}

static int wait_for_older(pl__conn_t *conn, pl_id_t slot, pl_id_t stage, int kind, int *count) {
    bool filled;
    int added = 0;
    PL__TRY(pl__slot_is_filled(conn, slot, &filled));
    if (!filled)
        PL__TRY(pl__edge_add(conn, slot, stage, kind, &added));
    *count += added;
    return PL_OK;
}

static int wait_for(pl__conn_t *conn, const fresh_t *fresh, pl_id_t slot, pl_id_t stage, int *missing) {
    pl_id_t *waiter = find_waiter(fresh, slot);
    int added = 1;
    if (!waiter)
        return wait_for_older(conn, slot, stage, PL__WAIT_INPUT, missing);
    if (*waiter == stage)
        return PL_OK;
    if (*waiter > 0)
        PL__TRY(pl__wait_add(conn, slot, *waiter, PL__WAIT_INPUT, NULL));
    if (*waiter)
        PL__TRY(pl__wait_add(conn, slot, stage, PL__WAIT_INPUT, &added));
    *waiter = *waiter ? PL__WAITERS : stage;
    *missing += added;
    return PL_OK;
}

static int wait_for_all(pl__conn_t *conn, const pl_stage_new_t *child, const fresh_t *fresh, int *missing) {
    for (size_t i = 0; i < child->inputs_len; i++)
        PL__TRY(wait_for(conn, fresh, child->inputs[i], child->id, missing));
    for (size_t i = 0; i < child->after_len; i++)
        PL__TRY(wait_for(conn, fresh, child->after[i], child->id, missing));
    return PL_OK;
}

/* First who waits for whom, for that is in the rows. */
static int add_children(pl__conn_t *conn, const pl_op_outcome_t *run, pl_id_t root) {
    fresh_t fresh = { 0 };
    unsigned inherited = (run->flags & PL_STAGE_TRACED) | (run->flags & PL_STAGE_DURABLE ? PL_STAGE_SCOPE : 0);
    if (run->children_len == 0)
        return PL_OK;
    for (size_t i = 0; i < run->children_len && inherited; i++)
        run->children[i].flags |= inherited;
    PL__TRY(list_fresh(conn, run, &fresh));
    for (size_t i = 0; i < fresh.len; i++)
        PL__TRY(wait_for_all(conn, &run->children[i], &fresh, &fresh.missing[i]));
    for (size_t i = 0; i < fresh.len; i++)
        PL__TRY(pl__stage_insert(conn, &run->children[i], root, run->stage, fresh.missing[i],
                                 *find_waiter(&fresh, run->children[i].id)));
    return PL_OK;
}

/* ---- outcome of run ---------------------------------------------------------------------------------------- */

/* Outputs of an async stage that are still to come from outside: each becomes a wait of its own. */
static int await_outputs(pl__conn_t *conn, pl_id_t stage, const brief_t *brief, int *open) {
    for (size_t i = 0; i < brief->outputs_len; i++)
        PL__TRY(wait_for_older(conn, brief->outputs[i].slot, stage, PL__WAIT_OUTPUT, open));
    return PL_OK;
}

static int count_open(pl__conn_t *conn, const pl_op_outcome_t *run, const brief_t *brief, int *open) {
    *open = (int)run->children_len;
    if (!(run->flags & (PL_STAGE_ASYNC | PL_STAGE_DURABLE)))
        return PL_OK;
    /* Children of an earlier run may still be at work, or go on after an abort; those of this one are inserted. */
    if (brief->attempt > 0 || (brief->flags & (PL_STAGE_CUT | PL_STAGE_DURABLE))) {
        int64_t children;
        PL__TRY(pl__deltas_flush(conn)); /* those that settled in this transaction are not counted below */
        PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_UNSETTLED_CHILDREN, &children, 0, "ii", (int64_t)brief->root,
                            (int64_t)run->stage));
        *open = (int)children;
    }
    return run->flags & PL_STAGE_ASYNC ? await_outputs(conn, run->stage, brief, open) : PL_OK;
}

static int to_run(pl__conn_t *conn, const pl_op_outcome_t *run, int open) {
    pl__live_t *live = pl__live_find(conn, run->stage);
    if (live) {
        live->state = PL_STAGE_RUN;
        live->open = open;
        live->made.flags = run->flags;
        live->whole = false;
    }
    return pl__sql_run(conn, PL__SQL_STAGE_TO_RUN, NULL, "iii", (int64_t)run->stage, (int64_t)open,
                       (int64_t)run->flags);
}

int pl__run_spawn(pl__conn_t *conn, pl_id_t stage, pl_id_t root, unsigned flags, pl_stage_new_t *children, size_t len) {
    pl_op_outcome_t run = { .stage = stage, .flags = flags, .children = children, .children_len = len };
    return add_children(conn, &run, root);
}

static pl__standing_t standing_of(const brief_t *brief) {
    return (pl__standing_t){ .state = brief->state, .flags = brief->flags };
}

static int apply_run(pl__conn_t *conn, const pl_op_outcome_t *run, const brief_t *brief) {
    int open;
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DROP, NULL, "i", (int64_t)run->stage));
    for (size_t i = 0; i < run->fills_len; i++)
        PL__TRY(pl__stage_fill(conn, run->stage, &run->fills[i]));
    PL__TRY(add_children(conn, run, brief->root));
    for (size_t i = 0; i < run->tasks_len; i++)
        PL__TRY(pl__task_new(conn, &run->tasks[i]));
    PL__TRY(count_open(conn, run, brief, &open));
    pl__move_t move = pl__rule_ran(&(pl__standing_t){ .state = brief->state, .flags = run->flags }, open);
    if (move.to == PL_STAGE_RUN)
        return to_run(conn, run, move.open);
    return pl__stage_settle(conn, run->stage, brief->parent, &move, run->flags, brief->queue, brief->priority);
}

static int apply_failure(pl__conn_t *conn, const pl_op_outcome_t *run, const brief_t *brief) {
    pl__live_drop(conn, run->stage);
    PL__TRY(pl__failure_add(conn, run->stage, &run->failure));
    if (run->retry_task && !run->give_up)
        return pl__task_delay(conn, run->stage, PL_TASK_RUN, run->retry_at, 1);
    if (!run->give_up) {
        PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_RETRY, NULL, "iit", (int64_t)run->stage, (int64_t)run->retry_at,
                            run->retry_message));
        return pl__task_delay(conn, run->stage, PL_TASK_RUN, run->retry_at, 0);
    }
    PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_GIVE_UP, NULL, "itt", (int64_t)run->stage, run->retry_message,
                        run->abort_message));
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DROP, NULL, "i", (int64_t)run->stage));
    return pl__stage_fail(conn, brief->root, run->stage, run->abort_message);
}

/* A durable function that was told of an abort has cleaned up: it, and what is still below it. */
static int end_told(pl__conn_t *conn, pl_id_t stage, const brief_t *brief) {
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    return pl__stage_abort_part(conn, brief->root, stage, INT64_MAX, stage);
}

static const pl_str_t SELF_CANCELLED = PL_STR_LIT("it has cancelled itself");

/* It was to be aborted, and ends in another way. If it has asked for that itself, nobody else sees to what is above it,
 * which would wait for it for ever. */
static int end_cancelled(pl__conn_t *conn, pl_id_t stage, const brief_t *brief, pl_str_t reason) {
    pl_str_t message;
    bool is_asked;
    PL__TRY(pl__flow_asker(conn, stage, &conn->scratch, &is_asked, &message));
    return is_asked ? end_told(conn, stage, brief) : pl__stage_fail(conn, brief->root, stage, reason);
}

/* An abort without a message of its own: that of whoever has asked for it holds; else what it failed with. */
static int end_without_message(pl__conn_t *conn, const pl_op_outcome_t *run, const brief_t *brief) {
    enum { TEXT_MAX = 400 };
    pl_cancel_t cancel;
    PL__TRY(pl__flow_cancel(conn, run->stage, &cancel));
    if (cancel == PL_CANCEL_NONE)
        return end_told(conn, run->stage, brief);
    const pl_failure_t *failure = &run->failure;
    char *text = pl__arena_get(&conn->scratch, TEXT_MAX);
    if (!text)
        return PL_ENOMEM;
    int len = failure->message.len < TEXT_MAX ? (int)failure->message.len : TEXT_MAX;
    snprintf(text, TEXT_MAX, "%.*s: %.*s", (int)failure->error_class.len, failure->error_class.ptr, len,
             failure->message.ptr);
    return end_cancelled(conn, run->stage, brief, failure->error_class.ptr ? pl_str(text) : SELF_CANCELLED);
}

static int apply_abort(pl__conn_t *conn, const pl_op_outcome_t *run, const brief_t *brief) {
    if (run->failure.error_class.ptr || !(brief->flags & PL_STAGE_DURABLE))
        PL__TRY(pl__failure_add(conn, run->stage, &run->failure));
    for (size_t i = 0; i < run->failures_len; i++)
        PL__TRY(pl__failure_add(conn, run->stage, &run->failures[i]));
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DROP, NULL, "i", (int64_t)run->stage));
    bool is_told = !run->abort_message.ptr && (brief->flags & PL_STAGE_DURABLE);
    PL__TRY(is_told ? end_without_message(conn, run, brief)
                    : pl__stage_fail(conn, brief->root, run->stage, run->abort_message));
    return run->force ? pl__stage_end_part(conn, brief->root, run->stage) : PL_OK;
}

/* What becomes of a durable function that is to be held: where an abort was asked for, that. */
static int hold(pl__conn_t *conn, pl_id_t stage, const brief_t *brief, pl_str_t reason) {
    pl_cancel_t cancel;
    PL__TRY(pl__flow_cancel(conn, stage, &cancel));
    if (cancel == PL_CANCEL_NONE)
        return pl__flow_hold(conn, stage, reason);
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DROP, NULL, "i", (int64_t)stage));
    return cancel == PL_CANCEL_ASKED ? end_cancelled(conn, stage, brief, reason)
                                     : pl__stage_fail(conn, brief->root, stage, reason);
}

/* A durable function ends, or begins anew, though an abort was asked for: *refused. */
static int refuse_end(pl__conn_t *conn, pl_op_t *op, const brief_t *brief, bool *refused) {
    const pl_op_outcome_t *run = &op->u.outcome;
    pl_cancel_t cancel = PL_CANCEL_NONE;
    if ((brief->flags & PL_STAGE_DURABLE) && (run->kind == PL_OUTCOME_OK || run->kind == PL_OUTCOME_CONTINUE))
        PL__TRY(pl__flow_cancel(conn, run->stage, &cancel));
    *refused = cancel != PL_CANCEL_NONE;
    if (!*refused)
        return PL_OK;
    op->rc = PL_EABORTED;
    if (cancel == PL_CANCEL_ASKED)
        return pl__flow_put_back(conn, run->stage);
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DROP, NULL, "i", (int64_t)run->stage));
    return end_cancelled(conn, run->stage, brief, SELF_CANCELLED);
}

static pl_usec_t backoff_until(const pl__conn_t *conn, const pl_stage_t *stage, int failures) {
    double seconds = pl_backoff(stage->backoff_seconds, stage->backoff_factor, failures, PL_BACKOFF_MAX);
    return pl_clock_add(conn->now, pl_clock_from_seconds(seconds));
}

/* An attempt of run() fails for a reason that no run() has told: retried or given up as any other. */
static int fail_attempt(pl__conn_t *conn, pl_id_t id, const brief_t *brief, const pl_failure_t *failure,
                        pl_attempt_t *attempt) {
    enum { TEXT_MAX = 400 };
    pl_stage_t stage;
    pl_id_t scope;
    bool found;
    PL__TRY(pl__stage_load(conn, id, false, &conn->scratch, &stage, &found));
    char *text = pl__arena_get(&conn->scratch, TEXT_MAX), *abort_text = pl__arena_get(&conn->scratch, TEXT_MAX);
    if (!text || !abort_text)
        return PL_ENOMEM;
    int attempts = brief->attempt + 1;
    snprintf(text, TEXT_MAX, "%s: %s", failure->error_class.ptr, failure->message.ptr);
    snprintf(abort_text, TEXT_MAX, "Aborting after %d attempt%s. %s", attempts, attempts == 1 ? "" : "s", text);
    pl_op_outcome_t failed = { .stage = id,
                               .kind = PL_OUTCOME_FAILED,
                               .give_up = attempts >= brief->max_attempts,
                               .retry_at = found ? backoff_until(conn, &stage, stage.attempt) : conn->now,
                               .retry_message = pl_str(text),
                               .abort_message = pl_str(abort_text),
                               .failure = *failure };
    attempt->class_path = found ? stage.class_path : PL_STR_NONE;
    attempt->number = attempts;
    attempt->max = brief->max_attempts;
    attempt->is_last = failed.give_up;
    attempt->again = failed.retry_at;
    PL__TRY(apply_failure(conn, &failed, brief));
    if (!attempt->is_last)
        return PL_OK;
    PL__TRY(pl__stage_scope(conn, id, &scope));
    PL__TRY(pl__stage_load(conn, scope, false, &conn->scratch, &stage, &found));
    attempt->goes_on = found && !stage.abort_requested;
    return PL_OK;
}

/* What was to become real with the run cannot: that fails the attempt, as if asking for it had raised an error inside
 * run(). The op stays as it is, for it may be applied again. */
static int refuse(pl__conn_t *conn, pl_op_t *op, const brief_t *brief, const pl__refusal_t *refusal) {
    enum { TEXT_MAX = 400 };
    pl_op_outcome_t *run = &op->u.outcome;
    char *problem = pl__arena_get(&op->arena, TEXT_MAX);
    pl_attempt_t *attempt = pl__arena_get(&op->arena, sizeof *attempt);
    pl_failure_t failure = { .time = 0 };
    if (!problem || !attempt)
        return PL_ENOMEM;
    PL__TRY(pl__refusal_explain(conn, refusal, &failure));
    snprintf(problem, TEXT_MAX, "%s: %s", failure.error_class.ptr, failure.message.ptr);
    op->rc = refusal->rc;
    *attempt = (pl_attempt_t){ .task = run->stage, .kind = PL_TASK_RUN, .problem = pl_str(problem), .rc = refusal->rc };
    PL__TRY(fail_attempt(conn, run->stage, brief, &failure, attempt));
    PL__TRY(pl__arena_copy(&op->arena, attempt->class_path, &attempt->class_path));
    run->refused = attempt;
    return PL_OK;
}

/* May the stage, whose claim is ours, take the outcome? An abort that was requested meanwhile is carried out. */
static int check_state(pl__conn_t *conn, pl_op_t *op, brief_t *brief) {
    const pl_op_outcome_t *run = &op->u.outcome;
    PL__TRY(load_brief(conn, run->stage, brief));
    int refused = brief->found ? pl__rule_outcome(brief->state) : PL_ESTALE;
    if (refused != PL_OK)
        op->rc = refused;
    if (refused != PL_EABORTED)
        return PL_OK;
    return pl__stage_abort_now(conn, run->stage, brief->state, brief->flags, brief->queue, brief->priority);
}

/* PL_OK in op->rc when the claim is ours and the stage may take the outcome. */
static int check_outcome(pl__conn_t *conn, pl_op_t *op, brief_t *brief) {
    pl_op_outcome_t *run = &op->u.outcome;
    pl_task_kind_t kind;
    bool ours;
    run->refused = NULL; /* of a transaction that was broken */
    PL__TRY(pl__task_fence(conn, run->stage, run->claim, &ours, &kind, NULL));
    if (!ours || kind != PL_TASK_RUN) {
        op->rc = PL_ESTALE;
        return PL_OK;
    }
    PL__TRY(check_state(conn, op, brief));
    pl__refusal_t refusal = { .rc = op->rc };
    size_t tasks_len = run->kind == PL_OUTCOME_OK ? run->tasks_len : 0;
    if (op->rc == PL_OK)
        PL__TRY(pl__tasks_check(conn, run->tasks, tasks_len, NULL, 0, &refusal));
    if (op->rc == PL_OK && run->journal && refusal.rc == PL_OK)
        PL__TRY(pl__journal_check(conn, run->journal, run->tasks, tasks_len, &refusal));
    return refusal.rc == op->rc ? PL_OK : refuse(conn, op, brief, &refusal);
}

int pl__run_check(pl__conn_t *conn, pl_id_t stage, int claim, int *rc, pl_id_t *root, unsigned *flags, bool *lost) {
    pl_op_t op = { .u.outcome = { .stage = stage } };
    pl_task_kind_t kind;
    brief_t brief = { 0 };
    bool ours;
    PL__TRY(pl__leaves_flush(conn));
    PL__TRY(pl__task_fence(conn, stage, claim, &ours, &kind, lost));
    *rc = ours && kind == PL_TASK_RUN ? PL_OK : PL_ESTALE;
    if (*rc != PL_OK)
        return PL_OK;
    PL__TRY(check_state(conn, &op, &brief));
    *rc = op.rc;
    *root = brief.root;
    *flags = brief.flags;
    return PL_OK;
}

/* ---- leaves ------------------------------------------------------------------------------------------------ */

bool pl__is_leaf(const pl_op_t *op) {
    const pl_op_outcome_t *run = &op->u.outcome;
    return op->verb == PL_VERB_outcome && run->kind == PL_OUTCOME_OK && run->children_len == 0 && run->tasks_len == 0 &&
           run->knows_parent && pl__rule_ends_alone(run->flags);
}

/* The fill of the stage's default slot, if there is just one, and its value fits into the row. */
static const pl_fill_t *find_own(const pl_op_outcome_t *run) {
    const pl_fill_t *own = NULL;
    for (size_t i = 0; i < run->fills_len; i++) {
        if (run->fills[i].slot == run->stage && own)
            return NULL;
        if (run->fills[i].slot == run->stage)
            own = &run->fills[i];
    }
    return own && own->value.ptr && own->value.len <= RESULT_MAX ? own : NULL;
}

/* The row of a leaf that is done. It takes the value of its default slot, for which nobody waits any more then. */
static int write_leaf(pl__conn_t *conn, const pl_op_outcome_t *run, const pl_fill_t *own, bool *updated) {
    const pl__live_t *live = pl__live_find(conn, run->stage);
    bool same_flags = live && live->made.flags == run->flags;
    pl_id_t waiter;
    int changes;
    pl__move_t move = pl__rule_ran(&(pl__standing_t){ .state = PL_STAGE_READY, .flags = run->flags }, 0);
    PL__TRY(pl__edge_waiter(conn, run->stage, &waiter));
    pl__live_drop(conn, run->stage);
    PL__TRY(pl__sql_run(conn, same_flags ? PL__SQL_STAGE_LEAF_DONE : PL__SQL_STAGE_LEAF_DONE_FLAGS, &changes,
                        same_flags ? "iizbi" : "iizbii", (int64_t)run->stage, (int64_t)conn->now,
                        own ? INT64_C(0) : (int64_t)waiter, own ? own->value : PL_STR_NONE, (int64_t)move.to,
                        (int64_t)run->flags));
    *updated = changes > 0;
    if (own && *updated && waiter)
        pl__result_note(conn, run->stage, own->value);
    return own && *updated ? pl__stage_filled_own(conn, run->stage, waiter) : PL_OK;
}

/* Its task, which was ours, is deleted. */
static int end_leaf(pl__conn_t *conn, pl_op_t *op) {
    const pl_op_outcome_t *run = &op->u.outcome;
    const pl_fill_t *own = find_own(run);
    bool updated;
    PL__TRY(write_leaf(conn, run, own, &updated));
    if (!updated)
        return check_state(conn, op, &(brief_t){ 0 });
    for (size_t i = 0; i < run->fills_len; i++)
        if (&run->fills[i] != own)
            PL__TRY(pl__stage_fill(conn, run->stage, &run->fills[i]));
    PL__TRY(pl__note_final(conn, run->stage, PL_STAGE_DONE));
    return pl__stage_settled(conn, run->parent);
}

/* The deletion of the task is the fence. */
static int fence_leaf(pl__conn_t *conn, pl_op_t *op) {
    int deleted;
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_FINISH_RUN, &deleted, "iii", (int64_t)op->u.outcome.stage,
                        (int64_t)conn->worker, (int64_t)op->u.outcome.claim));
    if (deleted)
        return end_leaf(conn, op);
    op->rc = PL_ESTALE;
    return PL_OK;
}

/* As fence_leaf, of many with the same number of claim. If some of them are not ours, which, only a statement for each
 * can tell. So the transaction is given up, and they come again in transactions of their own. */
static int fence_leaves(pl__conn_t *conn, pl_op_t **ops, int len) {
    pl_id_t ids[PL__BULK_IDS];
    int deleted;
    for (int i = 0; i < len; i++)
        ids[i] = ops[i]->u.outcome.stage;
    PL__TRY(pl__ids_finish(conn, PL__SQL_TASKS_FINISH_RUN, ops[0]->u.outcome.claim, ids, (size_t)len, &deleted));
    if (deleted != len)
        return PL_ESTALE;
    for (int i = 0; i < len; i++)
        PL__TRY(end_leaf(conn, ops[i]));
    return PL_OK;
}

int pl__leaves_flush(pl__conn_t *conn) {
    enum { FEW = 6 };
    pl_op_t **ops = conn->leaves;
    int left = conn->leaves_len, count;
    conn->leaves_len = 0;
    conn->freed = conn->freed || left > 0;
    for (; left > 0; ops += count, left -= count) {
        for (count = 1; count < left && ops[count]->u.outcome.claim == ops[0]->u.outcome.claim;)
            count++;
        for (int i = 0; i < count && count < FEW; i++)
            PL__TRY(fence_leaf(conn, ops[i]));
        if (count >= FEW)
            PL__TRY(fence_leaves(conn, ops, count));
    }
    return PL_OK;
}

static int add_leaf(pl__conn_t *conn, pl_op_t *op) {
    if (conn->leaves_len == PL__BULK_IDS)
        PL__TRY(pl__leaves_flush(conn));
    conn->leaves[conn->leaves_len++] = op;
    return PL_OK;
}

int pl__verb_outcome(pl__conn_t *conn, pl_op_t *op) {
    brief_t brief = { 0 };
    if (pl__is_leaf(op))
        return add_leaf(conn, op);
    PL__TRY(pl__leaves_flush(conn));
    PL__TRY(check_outcome(conn, op, &brief));
    if (op->rc != PL_OK)
        return PL_OK;
    if (op->u.outcome.journal)
        PL__TRY(pl__journal_write(conn, op->u.outcome.stage, brief.root, brief.flags, op->u.outcome.journal,
                                  pl__run_spawn));
    bool refused;
    PL__TRY(refuse_end(conn, op, &brief, &refused));
    if (refused)
        return PL_OK;
    switch (op->u.outcome.kind) {
    case PL_OUTCOME_HELD:
        return hold(conn, op->u.outcome.stage, &brief, op->u.outcome.retry_message);
    case PL_OUTCOME_CONTINUE:
        return pl__flow_continue(conn, op->u.outcome.stage, op->u.outcome.args);
    case PL_OUTCOME_FAILED:
        return apply_failure(conn, &op->u.outcome, &brief);
    case PL_OUTCOME_ABORT:
        return apply_abort(conn, &op->u.outcome, &brief);
    default:
        return apply_run(conn, &op->u.outcome, &brief);
    }
}

/* ---- outcome of finalized ---------------------------------------------------------------------------------- */

/* What finalized() or try_cancel() came to, of a task that is ours. */
static int apply_finalized(pl__conn_t *conn, const pl_op_finalized_t *done, pl_task_kind_t kind) {
    if (done->kind == PL_FINALIZED_FAILED) {
        PL__TRY(pl__failure_add(conn, done->stage, &done->failure));
        if (!done->give_up)
            return pl__task_delay(conn, done->stage, kind, done->retry_at, 1);
    }
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DROP, NULL, "i", (int64_t)done->stage));
    pl__move_t move = pl__rule_finalized(kind, done->kind == PL_FINALIZED_HELD);
    if (move.to == PL_STAGE_ABORT_HELD)
        return pl__stage_to_abort(conn, done->stage, move.to, PL_STAGE_WAS_RUN, 0);
    return pl__stage_set_final(conn, done->stage, move.to);
}

int pl__verb_finalized(pl__conn_t *conn, pl_op_t *op) {
    pl_op_finalized_t *done = &op->u.finalized;
    pl_task_kind_t kind;
    bool ours;
    PL__TRY(pl__task_fence(conn, done->stage, done->claim, &ours, &kind, NULL));
    if (!ours || (kind != PL_TASK_FINALIZE && kind != PL_TASK_ABORT)) {
        op->rc = PL_ESTALE;
        return PL_OK;
    }
    return apply_finalized(conn, done, kind);
}

int pl__stage_lose(pl__conn_t *conn, pl_id_t id, pl_task_kind_t kind, const pl_failure_t *failure,
                   pl_attempt_t *attempt) {
    brief_t brief = { 0 };
    pl_stage_t stage;
    int64_t tries;
    bool found;
    PL__TRY(load_brief(conn, id, &brief));
    if (kind == PL_TASK_RUN && brief.found && brief.state == PL_STAGE_READY && (brief.flags & PL_STAGE_DURABLE)) {
        PL__TRY(pl__failure_add(conn, id, failure));
        return hold(conn, id, &brief, failure->message);
    }
    if (kind == PL_TASK_RUN && brief.found && brief.state == PL_STAGE_READY)
        return fail_attempt(conn, id, &brief, failure, attempt);
    if (kind == PL_TASK_RUN || !brief.found) /* it is to be aborted instead: whoever claims it next sees to that */
        return pl__task_delay(conn, id, kind, conn->due, 0);
    PL__TRY(pl__sql_int(conn, PL__SQL_TASK_TRIES, &tries, 0, "i", (int64_t)id));
    PL__TRY(pl__stage_load(conn, id, false, &conn->scratch, &stage, &found));
    *attempt = (pl_attempt_t){ .task = id,
                               .kind = kind,
                               .class_path = stage.class_path,
                               .number = (int)tries + 1,
                               .max = brief.max_attempts,
                               .is_last = tries + 1 >= brief.max_attempts,
                               .again = backoff_until(conn, &stage, (int)tries),
                               .problem = attempt->problem };
    return apply_finalized(conn,
                           &(pl_op_finalized_t){ .stage = id,
                                                 .kind = PL_FINALIZED_FAILED,
                                                 .give_up = attempt->is_last,
                                                 .retry_at = attempt->again,
                                                 .failure = *failure },
                           kind);
}

/* ---- from outside ------------------------------------------------------------------------------------------ */

/* A stage of a tree that is being deleted is not found; all of it is final. */
static int find_brief(pl__conn_t *conn, pl_id_t id, brief_t *brief) {
    bool is_deleted = false;
    PL__TRY(load_brief(conn, id, brief));
    if (brief->found && pl__stage_is_final(brief->state))
        PL__TRY(pl__stage_is_deleted(conn, brief->root, &is_deleted));
    brief->found = brief->found && !is_deleted;
    return PL_OK;
}

int pl__verb_fill(pl__conn_t *conn, pl_op_t *op) {
    pl_op_fill_t *fill = &op->u.fill;
    brief_t brief = { 0 };
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(find_brief(conn, fill->stage, &brief));
    if (!brief.found) {
        op->rc = PL_ENOTFOUND;
        return PL_OK;
    }
    int refused = pl__rule_fill(brief.state);
    if (refused != PL_OK)
        op->rc = refused;
    if (refused == PL_EABORTED)
        return pl__stage_abort_now(conn, fill->stage, brief.state, brief.flags, brief.queue, brief.priority);
    if (refused != PL_OK)
        return PL_OK;
    for (size_t i = 0; i < fill->fills_len; i++)
        PL__TRY(pl__stage_fill(conn, fill->stage, &fill->fills[i]));
    return PL_OK;
}

int pl__verb_retry(pl__conn_t *conn, pl_op_t *op) {
    pl_op_retry_t *retry = &op->u.retry;
    brief_t brief = { 0 };
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(find_brief(conn, retry->stage, &brief));
    pl__standing_t standing = standing_of(&brief);
    int refused = brief.found ? pl__rule_retry(&standing, brief.attempt, brief.max_attempts) : PL_ENOTFOUND;
    if (refused != PL_OK) {
        op->rc = refused;
        return PL_OK;
    }
    pl__move_t move = pl__rule_retried(&standing);
    for (size_t i = 0; i < brief.outputs_len; i++)
        PL__TRY(pl__sql_run(conn, PL__SQL_WAIT_DELETE_OUTPUT, NULL, "ii", (int64_t)brief.outputs[i].slot,
                            (int64_t)retry->stage));
    pl__live_drop(conn, retry->stage);
    PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_RETRY, NULL, "iit", (int64_t)retry->stage, (int64_t)retry->retry_at,
                        retry->message));
    return pl__task_push(conn, &(pl__pending_t){ .id = retry->stage,
                                                 .kind = (pl_task_kind_t)move.task,
                                                 .queue = brief.queue,
                                                 .priority = brief.priority,
                                                 .eta = retry->retry_at });
}

/* Whether the scope of the stage, which is found, may be aborted: what op->rc says. */
static int check_abort(pl__conn_t *conn, pl_op_t *op, pl_id_t root, pl_id_t *scope) {
    pl_stage_t top = { 0 };
    bool found = false;
    PL__TRY(pl__stage_scope(conn, op->u.abort.stage, scope));
    if (*scope)
        PL__TRY(pl__stage_load(conn, *scope, false, &conn->scratch, &top, &found));
    op->rc = found ? pl__rule_abort(top.state, *scope == root, top.abort_requested) : PL_ENOTFOUND;
    return PL_OK;
}

int pl__verb_abort(pl__conn_t *conn, pl_op_t *op) {
    pl_op_abort_t *abort = &op->u.abort;
    brief_t brief = { 0 };
    pl_id_t scope = 0;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(find_brief(conn, abort->stage, &brief));
    if (!brief.found)
        op->rc = PL_ENOTFOUND;
    else
        PL__TRY(check_abort(conn, op, brief.root, &scope));
    if (op->rc == PL_EEXISTS && abort->force)
        op->rc = PL_OK;
    if (op->rc != PL_OK)
        return PL_OK;
    if (abort->force)
        return scope != brief.root ? pl__stage_end_scope(conn, brief.root, scope, abort->message)
                                   : pl__stage_end_tree(conn, brief.root, abort->message);
    pl_id_t permitted = abort->no_permission ? scope : 0;
    if (scope != brief.root)
        return pl__stage_abort_scope(conn, brief.root, scope, abort->message, permitted);
    return pl__stage_abort_tree(conn, brief.root, abort->message, permitted);
}
