/*
 * completion.c - every way in which a claim ends.
 *
 * Those that end with a result bring the op that tells of it: pl_engine_claim_end. Ends that have nothing to tell share
 * an op: pl_engine_claim_done. An execution that comes to an end without a result (its code was ended from outside, or
 * by a mistake) is a failed attempt: pl_engine_claim_fail. What is not executed after all is given back.
 *
 * Ends of claims are never given up: when the store cannot take one now (disk full, out of memory), the same op is
 * tried again until it can.
 *
 * An end that breaks a rule of the file (a trigger or an index of the user's, damage) comes back with an unexpected
 * code, and would do so again. Left alone, its task would stay claimed for as long as the process lives. So the claim
 * ends in another way:
 *
 *   any end        ──refused──► a failed attempt with that error, retried or given up as any other is
 *   failed attempt ──refused──► given back, without an attempt; it is ready again after a while
 *   given back     ──refused──► said in the log: leaving the store, or the rescue after it, gives it back
 *   ends that shared an op ──refused──► each gets an op of its own: the trouble may be of one alone
 *
 * Where memory is short, the op that was refused is tried again later. Else it goes back to its owner as it is; what is
 * done instead is the engine's own.
 */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#define FALLBACK_SECONDS 1.0
#define FALLBACK_SECONDS_MAX 4096.0

/* Does this code tell of more than what the store was asked about? */
static bool is_unexpected(int rc) {
    return rc == PL_ECONSTRAINT || rc == PL_EOTHER || rc == PL_ECORRUPT || rc == PL_EREADONLY || rc == PL_ENOTDB ||
           rc == PL_EINVAL;
}

static const char *reason(const pl_op_t *op) {
    return op->error.message[0] ? op->error.message : pl_result_text(op->rc);
}

static pl_id_t task_of(const pl_op_t *op) {
    switch (op->verb) {
    case PL_VERB_outcome: /* a control task has the id of its stage */
        return op->u.outcome.stage;
    case PL_VERB_finalized:
        return op->u.finalized.stage;
    default:
        return op->u.task_done.task;
    }
}

static bool has_failed(const pl_op_t *op) {
    if (op->verb == PL_VERB_outcome)
        return op->u.outcome.kind == PL_OUTCOME_FAILED || op->u.outcome.kind == PL_OUTCOME_ABORT;
    if (op->verb == PL_VERB_finalized)
        return op->u.finalized.kind == PL_FINALIZED_FAILED;
    return op->u.task_done.failed;
}

static void prepare(const pl_claim_t *claim, pl_op_t *op) {
    const pl_stage_t *stage = claim->stage;
    int failures = op->verb == PL_VERB_outcome && stage ? stage->attempt : claim->tries;
    op->kind = claim->kind;
    op->attempts = failures + 1;
    op->is_last = stage && op->attempts >= stage->max_attempts;
    bool has_backoff = stage && claim->kind != PL_TASK_CALLBACK;
    op->retry_delay = pl_clock_from_seconds(
        has_backoff ? pl_backoff(stage->backoff_seconds, stage->backoff_factor, failures, PL_BACKOFF_MAX)
                    : pl_backoff(FALLBACK_SECONDS, 2, failures, FALLBACK_SECONDS_MAX));
}

/* It is executed no more. */
static void leave(pl_engine_t *engine, const pl_claim_t *claim) {
    engine->executing--;
    pl__meter_end(engine, claim);
    pl__gate_leave(engine, claim);
}

/* ---- with a result ---------------------------------------------------------------------------------------------- */

void pl_engine_claim_end(pl_engine_t *engine, pl_claim_t *claim, pl_op_t *op) {
    leave(engine, claim);
    prepare(claim, op);
    op->gate = claim->gate;
    if (has_failed(op))
        claim->gate->meter.failed[claim->kind]++;
    else
        claim->gate->meter.succeeded[claim->kind]++;
    if (engine->tells)
        op->event = pl__event_note(engine, op, claim);
    if (op->verb == PL_VERB_outcome && claim->stage) {
        op->u.outcome.knows_parent = true;
        op->u.outcome.parent = claim->stage->parent;
        op->u.outcome.root = claim->stage->root;
    }
    if (op->verb == PL_VERB_finalized && claim->stage)
        op->u.finalized.root = claim->stage->root;
    if (op->verb == PL_VERB_task_done) {
        op->u.task_done.took = pl_clock_steady(&engine->clock) - claim->claimed;
        op->u.task_done.is_plain = claim->is_plain;
        op->u.task_done.has_detail = claim->has_detail;
    }
    pl_engine_submit(engine, op);
}

/* Room for one more end. The first few are in the op's own block, because a lone one is the common case at rest. */
static int ends_reserve(pl_engine_t *engine) {
    enum { ENDS_FIRST = 16, ENDS_MAX = 512 };
    pl_op_t *op = engine->ends;
    if (op && op->u.tasks_done.len < op->u.tasks_done.size)
        return PL_OK;
    bool is_new = !op || op->u.tasks_done.size == ENDS_MAX;
    if (is_new)
        op = pl_op_new(PL_VERB_tasks_done);
    size_t size = is_new ? ENDS_FIRST : ENDS_MAX;
    pl_end_t *ends = op ? pl__arena_get(&op->arena, size * sizeof *ends) : NULL;
    if (!ends) {
        if (is_new)
            pl_op_free(op);
        return PL_ENOMEM;
    }
    pl_op_tasks_done_t *done = &op->u.tasks_done;
    if (done->len > 0)
        memcpy(ends, done->ends, done->len * sizeof *ends);
    done->ends = ends;
    done->size = size;
    if (is_new)
        pl_engine_submit(engine, op);
    engine->ends = op;
    return PL_OK;
}

int pl_engine_claim_done(pl_engine_t *engine, const pl_claim_t *claim) {
    int rc = ends_reserve(engine);
    if (rc != PL_OK)
        return rc;
    pl_op_tasks_done_t *done = &engine->ends->u.tasks_done;
    done->ends[done->len++] = (pl_end_t){
        .task = claim->task, .claim = claim->fence, .kind = (uint8_t)claim->kind, .has_detail = claim->has_detail
    };
    if (engine->tells)
        done->ends[done->len - 1].event = pl__event_note(engine, engine->ends, claim);
    claim->gate->meter.succeeded[claim->kind]++;
    pl__outbox_count(engine);
    leave(engine, claim);
    return PL_OK;
}

/* ---- as a failed attempt ---------------------------------------------------------------------------------------- */

typedef struct {
    pl_str_t error_class, message;
    pl_str_t retry, abort; /* as the status tree shows it */
} problem_t;

/* Copies into the op that will tell of it. */
static int explain(pl_op_t *op, const char *error_class, pl_str_t message, problem_t *problem) {
    enum { TEXT_MAX = 500 };
    char *retry = pl__arena_get(&op->arena, TEXT_MAX), *abort = pl__arena_get(&op->arena, TEXT_MAX);
    if (!retry || !abort)
        return PL_ENOMEM;
    int len = message.len < TEXT_MAX ? (int)message.len : TEXT_MAX;
    snprintf(retry, TEXT_MAX, "%s: %.*s", error_class, len, message.ptr);
    snprintf(abort, TEXT_MAX, "Aborting after %d attempt%s. %s", op->attempts, op->attempts == 1 ? "" : "s", retry);
    problem->error_class = pl_str(error_class);
    problem->retry = pl_str(retry);
    problem->abort = pl_str(abort);
    return pl__arena_copy(&op->arena, message, &problem->message);
}

/* `op`, which knows its attempts, becomes the end of an attempt with that problem of what `like` was to end. */
static void become_failure(const pl_op_t *like, pl_op_t *op, const problem_t *problem, pl_usec_t now) {
    pl_usec_t at = pl_clock_add(now, op->retry_delay);
    op->clock = pl_clock_offset();
    pl_failure_t failure = {
        .attempt = op->attempts, .error_class = problem->error_class, .message = problem->message, .time = now
    };
    if (op->verb == PL_VERB_outcome)
        op->u.outcome = (pl_op_outcome_t){ .stage = like->u.outcome.stage,
                                           .root = like->u.outcome.root,
                                           .claim = like->u.outcome.claim,
                                           .kind = PL_OUTCOME_FAILED,
                                           .flags = like->u.outcome.flags,
                                           .knows_parent = like->u.outcome.knows_parent,
                                           .parent = like->u.outcome.parent,
                                           .give_up = op->is_last,
                                           .retry_at = at,
                                           .retry_message = problem->retry,
                                           .abort_message = problem->abort,
                                           .failure = failure };
    else if (op->verb == PL_VERB_finalized)
        op->u.finalized = (pl_op_finalized_t){ .stage = like->u.finalized.stage,
                                               .root = like->u.finalized.root,
                                               .claim = like->u.finalized.claim,
                                               .kind = PL_FINALIZED_FAILED,
                                               .give_up = op->is_last,
                                               .retry_at = at,
                                               .failure = failure };
    else
        op->u.task_done = (pl_op_task_done_t){ .task = like->u.task_done.task,
                                               .claim = like->u.task_done.claim,
                                               .failed = true,
                                               .took = like->u.task_done.took,
                                               .failure = failure };
}

/* An op that ends the claim, of the verb that its kind of task has. */
static pl_op_t *end_of(const pl_claim_t *claim) {
    bool is_final = claim->kind == PL_TASK_FINALIZE || claim->kind == PL_TASK_ABORT;
    pl_op_t *op = pl_op_new(claim->kind == PL_TASK_RUN ? PL_VERB_outcome
                            : is_final                 ? PL_VERB_finalized
                                                       : PL_VERB_task_done);
    if (!op)
        return NULL;
    if (op->verb == PL_VERB_outcome)
        op->u.outcome = (pl_op_outcome_t){ .stage = claim->task,
                                           .claim = claim->fence,
                                           .flags = claim->stage ? claim->stage->flags : 0 };
    else if (op->verb == PL_VERB_finalized)
        op->u.finalized = (pl_op_finalized_t){ .stage = claim->task, .claim = claim->fence };
    else
        op->u.task_done = (pl_op_task_done_t){ .task = claim->task, .claim = claim->fence };
    return op;
}

int pl_engine_claim_fail(pl_engine_t *engine, pl_claim_t *claim, pl_str_t text) {
    problem_t problem;
    pl_op_t *op = end_of(claim);
    if (!op)
        return PL_ENOMEM;
    prepare(claim, op);
    int rc = explain(op, "UnexpectedPipelineError", text, &problem);
    if (rc != PL_OK) {
        pl_op_free(op);
        return rc;
    }
    become_failure(op, op, &problem, pl_clock_now(&engine->clock));
    pl__report_attempt(engine, op, claim, problem.retry);
    pl_engine_claim_end(engine, claim, op);
    return PL_OK;
}

/* ---- given back ------------------------------------------------------------------------------------------------- */

/* Gives claims back without spending an attempt. Without memory for that, leaving the store does the same later. */
static void release(pl_engine_t *engine, const pl_claim_t *claims, int len, pl_usec_t delay) {
    pl_op_t *op = pl_op_new(PL_VERB_release);
    pl_id_t *tasks = op ? pl__arena_get(&op->arena, (size_t)len * sizeof *tasks) : NULL;
    int *numbers = tasks ? pl__arena_get(&op->arena, (size_t)len * sizeof *numbers) : NULL;
    if (!numbers) {
        pl_op_free(op);
        return;
    }
    for (int i = 0; i < len; i++, claims = claims->next) {
        tasks[i] = claims->task;
        numbers[i] = claims->fence;
    }
    op->u.release = (pl_op_release_t){ tasks, numbers, (size_t)len, delay };
    op->owner = engine; /* ours: no host hears of it */
    pl_engine_submit(engine, op);
}

void pl__completion_release(pl_engine_t *engine, const pl_claim_t *claims, int len) {
    release(engine, claims, len, 0);
}

void pl__completion_wait_released(pl_engine_t *engine) {
    pl_engine_timer_start(engine, &engine->release_timer, PL__RELEASE_DELAY_US);
}

void pl_engine_claim_ended(pl_engine_t *engine, const pl_claim_t *claim) {
    leave(engine, claim);
}

void pl_engine_claim_release(pl_engine_t *engine, pl_claim_t *claim) {
    leave(engine, claim);
    claim->next = NULL;
    release(engine, claim, 1, 0);
}

/* Whoever drops a claim cannot execute it now; claiming it again at once would only drop it again, without end. */
void pl_engine_claim_drop(pl_engine_t *engine, pl_claim_t *claim) {
    leave(engine, claim);
    claim->next = NULL;
    release(engine, claim, 1, PL__RELEASE_DELAY_US);
    pl__completion_wait_released(engine);
}

static int release_instead(const pl_op_t *op, pl_op_t *instead) {
    pl_id_t *task = pl__arena_get(&instead->arena, sizeof *task);
    int *claim = task ? pl__arena_get(&instead->arena, sizeof *claim) : NULL;
    if (!claim)
        return PL_ENOMEM;
    *task = op->verb == PL_VERB_outcome     ? op->u.outcome.stage
            : op->verb == PL_VERB_finalized ? op->u.finalized.stage
                                            : op->u.task_done.task;
    *claim = op->verb == PL_VERB_outcome     ? op->u.outcome.claim
             : op->verb == PL_VERB_finalized ? op->u.finalized.claim
                                             : op->u.task_done.claim;
    instead->u.release = (pl_op_release_t){ task, claim, 1, PL__RELEASE_DELAY_US };
    return PL_OK;
}

/* ---- one by one ------------------------------------------------------------------------------------------------- */

static pl_op_t *single_end(const pl_end_t *end) {
    pl_op_t *op = pl_op_new(PL_VERB_task_done);
    if (!op)
        return NULL;
    op->u.task_done =
        (pl_op_task_done_t){ .task = end->task, .claim = end->claim, .is_plain = true, .has_detail = end->has_detail };
    op->kind = (pl_task_kind_t)end->kind;
    op->attempts = 1;
    op->retry_delay = pl_clock_from_seconds(FALLBACK_SECONDS);
    pl__event_move(op, end->event);
    return op;
}

static void free_list(pl_op_t *list) {
    for (pl_op_t *op = list, *next; op; op = next) {
        next = op->next;
        pl_op_free(op);
    }
}

/* All or none: what was submitted would be refused as stale if it came again. */
static int split(pl_engine_t *engine, const pl_op_tasks_done_t *done) {
    pl_op_t *list = NULL;
    for (size_t i = done->len; i > 0; i--) {
        pl_op_t *op = single_end(&done->ends[i - 1]);
        if (!op) {
            free_list(list);
            return PL_ENOMEM;
        }
        op->next = list;
        list = op;
    }
    for (pl_op_t *op = list, *next; op; op = next) {
        next = op->next;
        pl_engine_submit(engine, op);
    }
    return PL_OK;
}

/* ---- in another way --------------------------------------------------------------------------------------------- */

static int submit_instead(pl_engine_t *engine, const pl_op_t *op) {
    bool gives_back = has_failed(op);
    problem_t problem;
    pl_op_t *instead = pl_op_new(gives_back ? PL_VERB_release : op->verb);
    if (!instead)
        return PL_ENOMEM;
    instead->kind = op->kind;
    instead->attempts = op->attempts;
    instead->is_last = op->is_last;
    instead->retry_delay = op->retry_delay;
    instead->owner = engine; /* ours: no host hears of it */
    pl__event_move(instead, op->event);
    int rc = gives_back ? release_instead(op, instead) : explain(instead, "StoreError", pl_str(reason(op)), &problem);
    if (rc != PL_OK) {
        pl_op_free(instead);
        return rc;
    }
    if (!gives_back) {
        become_failure(op, instead, &problem, pl_clock_now(&engine->clock));
        pl__report_attempt(engine, instead, NULL, problem.retry);
    }
    pl_engine_submit(engine, instead);
    if (gives_back)
        pl__completion_wait_released(engine);
    return PL_OK;
}

static int fall_back(pl_engine_t *engine, const pl_op_t *op) {
    if (op->verb == PL_VERB_outcome && op->u.outcome.refused && op->u.outcome.refused->rc == op->rc)
        pl__report_recorded(engine, op->u.outcome.refused);
    if (!is_unexpected(op->rc))
        return PL_OK;
    if (op->verb == PL_VERB_tasks_done)
        return split(engine, &op->u.tasks_done);
    if (op->verb == PL_VERB_release) {
        pl_log(&engine->log, PL_LOG_ERROR, "a task stays claimed until this engine is closed: %s", reason(op));
        return PL_OK;
    }
    if (op->owner == engine) /* of others the host tells */
        pl_log(&engine->log, PL_LOG_ERROR, "task %lld: the store also rejected the fallback result: %s",
               (long long)task_of(op), reason(op));
    return submit_instead(engine, op);
}

/* ---- refused for now -------------------------------------------------------------------------------------------- */

static void retry_failed_cb(pl_timer_t *timer) {
    pl_engine_t *engine = timer->data;
    for (pl_op_t *op = pl__ops_take(&engine->failed), *next; op; op = next) {
        next = op->next;
        pl__ops_push(&engine->outbox, op);
    }
    engine->failed_len = 0;
}

/* What was given back is due now: the store will say so. */
static void released_cb(pl_timer_t *timer) {
    (void)timer;
}

static bool is_transient(int rc) {
    return rc == PL_EFULL || rc == PL_EIO || rc == PL_ENOMEM || rc == PL_EBUSY || rc == PL_ESCHEMA || rc == PL_ELOST;
}

static void try_later(pl_engine_t *engine, pl_op_t *op) {
    if (!engine->failed_timer.active) {
        pl_log(&engine->log, PL_LOG_ERROR, "the store could not take a result and will be asked again: %s",
               op->error.message[0] ? op->error.message : pl_result_text(op->rc));
        pl_engine_timer_start(engine, &engine->failed_timer, PL__RETRY_US);
    }
    pl__ops_push(&engine->failed, op);
    engine->failed_len++;
}

void pl__completion_init(pl_engine_t *engine) {
    pl__ops_init(&engine->failed);
    engine->failed_timer = (pl_timer_t){ .fire = retry_failed_cb, .data = engine };
    engine->release_timer = (pl_timer_t){ .fire = released_cb, .data = engine };
}

bool pl__completion_back(pl_engine_t *engine, pl_op_t *op) {
    if (op->verb == PL_VERB_task_done && op->rc == PL_OK && op->u.task_done.died && op->gate)
        op->gate->meter.dead[op->kind]++;
    if (!is_transient(op->rc) && fall_back(engine, op) == PL_OK)
        return true;
    try_later(engine, op);
    return false;
}
