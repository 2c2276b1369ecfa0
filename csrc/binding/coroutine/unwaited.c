/*
 * unwaited.c - ops that nobody waits for: what is to be said of their results is said in the log.
 */
#include "binding/coroutine/unwaited.h"

#include "binding/telemetry/sink.h"

static void log_refused(pl__handle_t *h, int level, pl_id_t task, int rc, const char *detail) {
    pl__log(h, level, "the end of task %lld was refused: %s (%s)%s%s", (long long)task, pl_result_text(rc),
            pl_result_name(rc), detail[0] != '\0' ? ": " : "", detail);
}

/* Of ends that shared an op those are told that were refused; what failed as a whole is tried one by one. */
static void log_ends(pl__handle_t *h, const pl_op_t *op) {
    const pl_op_tasks_done_t *done = &op->u.tasks_done;
    if (op->rc != PL_ESTALE)
        pl__log(h, PL_LOG_ERROR, "the ends of %zu tasks were refused together: %s (%s)%s%s", done->len,
                pl_result_text(op->rc), pl_result_name(op->rc), op->error.message[0] != '\0' ? ": " : "",
                op->error.message);
    for (size_t i = 0; op->rc == PL_ESTALE && i < done->len; i++)
        if (done->ends[i].refused)
            log_refused(h, PL_LOG_WARNING, done->ends[i].task, PL_ESTALE, "");
}

/* The result of an op that nobody waits for. */
static void log_result(pl__handle_t *h, const pl_op_t *op) {
    if (op->verb == PL_VERB_tasks_done) {
        log_ends(h, op);
        return;
    }
    int level = op->rc == PL_EABORTED ? PL_LOG_INFO : op->rc == PL_ESTALE ? PL_LOG_WARNING : PL_LOG_ERROR;
    pl_id_t id = op->verb == PL_VERB_task_done ? op->u.task_done.task
                 : op->verb == PL_VERB_outcome ? op->u.outcome.stage
                                               : op->u.finalized.stage;
    log_refused(h, level, id, op->rc, op->error.message);
}

static int cut(pl_str_t text) {
    enum { SHOWN_MAX = 200 };
    return text.len < SHOWN_MAX ? (int)text.len : SHOWN_MAX;
}

/* A task that nobody will execute any more is worth a line. */
static void log_death(pl__handle_t *h, const pl_op_task_done_t *done) {
    pl_str_t name = done->failure.error_class, message = done->failure.message;
    pl__log(h, PL_LOG_WARNING, "task %lld has no retries left and is kept among the dead ones: %.*s: %.*s",
            (long long)done->task, cut(name), name.ptr ? name.ptr : "", cut(message), message.ptr ? message.ptr : "");
}

bool pl__unwaited_result(pl__handle_t *h, const pl_op_t *op) {
    bool died = op->verb == PL_VERB_task_done && op->rc == PL_OK && op->u.task_done.died;
    if (died)
        log_death(h, &op->u.task_done);
    else if (op->rc != PL_OK)
        log_result(h, op);
    return died || op->rc != PL_OK;
}
