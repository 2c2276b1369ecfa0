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
