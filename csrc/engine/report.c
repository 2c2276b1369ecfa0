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

void pl__report_attempt(pl_engine_t *engine, const pl_op_t *op, const pl_stage_t *stage, pl_str_t problem) {
    enum { CLASS_MAX = 100, PROBLEM_MAX = 200 };
    bool is_run = op->verb == PL_VERB_outcome, is_final = op->verb == PL_VERB_finalized;
    const char *what = is_run ? "run of" : is_final ? "finalized of" : "task";
    char id[PL_ID_TEXT_LEN + 1], number[32] = "", then[48] = "";
    if (!may_tell(engine))
        return;
    pl_engine_id_text(engine,
                      is_run     ? op->u.outcome.stage
                      : is_final ? op->u.finalized.stage
                                 : op->u.task_done.task,
                      id);
    if (stage)
        snprintf(number, sizeof number, " of %d", stage->max_attempts);
    bool is_last = op->is_last && (is_run || is_final);
    if (is_last)
        snprintf(then, sizeof then, "%s", is_run ? "; its tree is aborted" : "; it is final without it");
    else if (is_run || is_final)
        snprintf(then, sizeof then, "; runs again in %.3g s", (double)op->rest / 1e6);
    int class_len = !stage ? 0 : stage->class_path.len < CLASS_MAX ? (int)stage->class_path.len : CLASS_MAX;
    int problem_len = problem.len < PROBLEM_MAX ? (int)problem.len : PROBLEM_MAX;
    pl_log(&engine->log, is_last ? PL_LOG_ERROR : PL_LOG_WARNING, "%s %.*s%s%s failed, attempt %d%s: %.*s%s", what,
           class_len, class_len > 0 ? stage->class_path.ptr : "", class_len > 0 ? " " : "", id, op->attempts, number,
           problem_len, problem.ptr, then);
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
    if (!attempt->is_last)
        snprintf(out, size, "; runs again in %.3g s", wait > 0 ? (double)wait / 1e6 : 0.0);
    else if (attempt->kind == PL_TASK_RUN)
        snprintf(out, size, "; its tree is aborted");
    else if (attempt->kind < PL_TASK_CALLBACK)
        snprintf(out, size, "; it is final without it");
    else
        snprintf(out, size, "; it has no retries left");
}

static void report_recorded(pl_engine_t *engine, const pl_attempt_t *attempt) {
    enum { NAME_MAX_SHOWN = 100 };
    bool is_stage = attempt->kind < PL_TASK_CALLBACK;
    pl_str_t name = is_stage ? attempt->class_path : attempt->queue;
    int name_len = !name.ptr ? 0 : name.len < NAME_MAX_SHOWN ? (int)name.len : NAME_MAX_SHOWN;
    char id[PL_ID_TEXT_LEN + 1], whose[PL_ID_TEXT_LEN + NAME_MAX_SHOWN + 16], which[48], then[48];
    pl_engine_id_text(engine, attempt->task, id);
    if (is_stage)
        snprintf(whose, sizeof whose, "%.*s%s%s", name_len, name.ptr ? name.ptr : "", name_len > 0 ? " " : "", id);
    else
        snprintf(whose, sizeof whose, "%s of queue %.*s", id, name_len, name.ptr ? name.ptr : "");
    if (is_stage)
        snprintf(which, sizeof which, "attempt %d of %d", attempt->number, attempt->max);
    else
        snprintf(which, sizeof which, "try %d", attempt->number);
    say_what_next(engine, attempt, then, sizeof then);
    pl_log(&engine->log, attempt->is_last ? PL_LOG_ERROR : PL_LOG_WARNING, "%s %s failed, %s: %.*s%s",
           what_of(attempt->kind), whose, which, (int)attempt->problem.len, attempt->problem.ptr, then);
}

void pl__report_recorded(pl_engine_t *engine, const pl_attempt_t *attempt) {
    for (; attempt; attempt = attempt->next)
        if (may_tell(engine))
            report_recorded(engine, attempt);
}
