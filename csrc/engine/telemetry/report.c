/*
 * report.c - what the log says of attempts that have failed in here, and not in a host's code.
 *
 * Each is a warning: whose it was, which attempt of how many, what failed, and when it runs again; one that was the
 * last is an error. Many may fail alike at once, so that only a few lines are written in a while; the next one tells
 * how many were left out.
 */
#include "engine/engine.h"

#include <stdio.h>

enum { BURST = 5 };
static const pl_usec_t WINDOW = 10 * 1000000;

static bool may_tell(pl_engine_t *engine) {
    pl__told_t *told = &engine->told;
    pl_usec_t now = pl_clock_steady(&engine->clock);
    if (told->count == 0 || now - told->since >= WINDOW) {
        if (told->count > BURST)
            pl_log(&engine->log, PL_LOG_WARNING, "%d more attempts have failed and were not told of",
                   told->count - BURST);
        *told = (pl__told_t){ .since = now };
    }
    return told->count++ < BURST;
}

static const char *what_of(pl_task_kind_t kind) {
    switch (kind) {
    case PL_TASK_RUN:
        return "run of";
    case PL_TASK_FINALIZE:
        return "finalized of";
    case PL_TASK_ABORT:
        return "abort of";
    case PL_TASK_CALLBACK:
        return "callback task";
    case PL_TASK_PUSH:
        return "push task";
    default:
        return "deferred task";
    }
}

static void say_what_next(pl_engine_t *engine, const pl_attempt_t *attempt, char *out, size_t size) {
    pl_usec_t wait = attempt->again - pl_clock_now(&engine->clock);
    if (!attempt->is_last && attempt->again == 0)
        out[0] = 0; /* its queue decides */
    else if (!attempt->is_last)
        snprintf(out, size, "; runs again in %.3g s", wait > 0 ? (double)wait / 1e6 : 0.0);
    else if (attempt->kind == PL_TASK_RUN)
        snprintf(out, size, attempt->goes_on ? "; its fallback is taken" : "; its tree is aborted");
    else if (attempt->kind < PL_TASK_CALLBACK)
        snprintf(out, size, "; it is final without it");
    else
        snprintf(out, size, "; it has no retries left");
}

static int shown(pl_str_t text, int most) {
    return !text.ptr ? 0 : text.len < (size_t)most ? (int)text.len : most;
}

static void report(pl_engine_t *engine, const pl_attempt_t *attempt) {
    enum { NAME_MAX_SHOWN = 100, PROBLEM_MAX_SHOWN = 240 };
    bool is_stage = attempt->kind < PL_TASK_CALLBACK;
    pl_str_t name = is_stage ? attempt->class_path : attempt->queue;
    int len = shown(name, NAME_MAX_SHOWN);
    char id[PL_ID_TEXT_LEN + 1], whose[PL_ID_TEXT_LEN + NAME_MAX_SHOWN + 16], which[48], then[48];
    if (!may_tell(engine))
        return;
    pl_engine_id_text(engine, attempt->task, id);
    if (is_stage)
        snprintf(whose, sizeof whose, "%.*s%s%s", len, len > 0 ? name.ptr : "", len > 0 ? " " : "", id);
    else
        snprintf(whose, sizeof whose, "%s%s%.*s", id, len > 0 ? " of queue " : "", len, len > 0 ? name.ptr : "");
    if (is_stage && attempt->max > 0)
        snprintf(which, sizeof which, "attempt %d of %d", attempt->number, attempt->max);
    else
        snprintf(which, sizeof which, "%s %d", is_stage ? "attempt" : "try", attempt->number);
    say_what_next(engine, attempt, then, sizeof then);
    pl_log(&engine->log, attempt->is_last ? PL_LOG_ERROR : PL_LOG_WARNING, "%s %s failed, %s: %.*s%s",
           what_of(attempt->kind), whose, which, shown(attempt->problem, PROBLEM_MAX_SHOWN), attempt->problem.ptr,
           then);
}

void pl__report_recorded(pl_engine_t *engine, const pl_attempt_t *attempt) {
    for (; attempt; attempt = attempt->next) {
        report(engine, attempt);
        if (engine->tells)
            pl__event_recorded(engine, attempt);
    }
}

void pl__report_attempt(pl_engine_t *engine, const pl_op_t *op, const pl_claim_t *claim, pl_str_t problem) {
    bool is_stage = op->verb != PL_VERB_task_done;
    const pl_stage_t *stage = claim && is_stage ? claim->stage : NULL;
    report(engine, &(pl_attempt_t){ .task = op->verb == PL_VERB_outcome     ? op->u.outcome.stage
                                            : op->verb == PL_VERB_finalized ? op->u.finalized.stage
                                                                            : op->u.task_done.task,
                                    .kind = op->kind,
                                    .class_path = stage ? stage->class_path : PL_STR_NONE,
                                    .queue = claim ? claim->queue : PL_STR_NONE,
                                    .number = op->attempts,
                                    .max = stage ? stage->max_attempts : 0,
                                    .is_last = is_stage && op->is_last,
                                    .again = is_stage ? pl_clock_add(pl_clock_now(&engine->clock), op->retry_delay) : 0,
                                    .problem = problem });
}
