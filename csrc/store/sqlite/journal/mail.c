/*
 * mail.c - what is sent to durable functions from outside: the verbs signal and flow_set.
 */
#include <string.h>

#include "store/sqlite/db.h"

/* ---- mails ------------------------------------------------------------------------------------------------- */

static bool wants(pl_str_t names, pl_str_t name) {
    for (size_t at = 0; at < names.len;) {
        size_t len = strnlen(names.ptr + at, names.len - at);
        bool is_all = at + len == names.len && len == 1 && names.ptr[at] == '*';
        if (is_all || pl_str_eq((pl_str_t){ names.ptr + at, len }, name))
            return true;
        at += len + 1;
    }
    return false;
}

/* Values are looked at again when one is large, or many small ones have come: the bound is passed by little. */
enum { MAILS_FEW = 8, MAIL_SMALL = 4096, MAILS_BETWEEN = 256 };

static int is_full(pl__conn_t *conn, const pl_mail_new_t *mail, const pl__flow_state_t *state, bool *full) {
    int64_t bytes;
    *full = state->mails >= PL_MAILS_MAX;
    bool is_due = mail->value.len > MAIL_SMALL || state->posted % MAILS_BETWEEN == 0;
    if (*full || state->mails < MAILS_FEW || !is_due)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_MAIL_BYTES, &bytes, 0, "i", (int64_t)mail->stage));
    *full = bytes + (int64_t)mail->value.len > PL_MAILS_BYTES_MAX;
    return PL_OK;
}

/* mail->rc says whether it can be posted. */
static int check_mail(pl__conn_t *conn, pl_mail_new_t *mail, const pl__flow_state_t *state) {
    int64_t stage_state, had = 0;
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_STATE, &stage_state, -1, "i", (int64_t)mail->stage));
    if (state->found && mail->key.ptr)
        PL__TRY(pl__sql_int(conn, PL__SQL_MAIL_BY_KEY, &had, 0, "itb", (int64_t)mail->stage, mail->name, mail->key));
    mail->number = had;
    bool full = false;
    if (state->found)
        PL__TRY(is_full(conn, mail, state, &full));
    bool is_over = stage_state == PL_STAGE_DONE || stage_state == PL_STAGE_ABORTED;
    mail->rc = stage_state < 0 ? PL_ENOTFOUND
               : !state->found ? PL_ESTATE
               : is_over       ? PL_EFINAL
               : had           ? PL_EEXISTS
               : full          ? PL_ELIMIT
                               : PL_OK;
    return PL_OK;
}

int pl__mail_post(pl__conn_t *conn, pl_mail_new_t *mail) {
    pl__flow_state_t state;
    PL__TRY(pl__stage_rows_flush(conn)); /* it may be for one that is made in this very transaction */
    if (mail->idempotence.ptr)           /* anew, should this be another try */
        PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_BY_KEY, &mail->stage, 0, "b", mail->idempotence));
    if (!mail->stage && mail->start) {
        mail->start->key = mail->idempotence;
        mail->stage = mail->start->id;
        PL__TRY(pl__stage_insert(conn, mail->start, mail->stage, 0, 0, 0));
        PL__TRY(pl__stage_rows_flush(conn));
    }
    PL__TRY(pl__flow_state(conn, mail->stage, &state));
    PL__TRY(check_mail(conn, mail, &state));
    if (mail->rc != PL_OK)
        return PL_OK;
    PL__TRY(pl__sql_run(conn, PL__SQL_MAIL_ADD, NULL, "iiitbib", (int64_t)mail->stage, state.posted + 1,
                        (int64_t)mail->kind, mail->name, mail->key, (int64_t)conn->now, mail->value));
    PL__TRY(pl__sql_run(conn, PL__SQL_MAIL_POSTED, NULL, "ii", (int64_t)mail->stage, state.posted + 1));
    mail->number = state.posted + 1;
    bool is_wanted = mail->kind == PL_MAIL_UPDATE || wants(state.wants, mail->name); /* an update is at least refused */
    return pl__flow_tell(conn, mail->stage, &state, is_wanted);
}

int pl__verb_signal(pl__conn_t *conn, pl_op_t *op) {
    PL__TRY(pl__deltas_flush(conn));
    for (size_t i = 0; i < op->u.signal.len; i++)
        PL__TRY(pl__mail_post(conn, &op->u.signal.mails[i]));
    return PL_OK;
}

/* ---- holding, and letting go on ---------------------------------------------------------------------------- */

int pl__verb_flow_set(pl__conn_t *conn, pl_op_t *op) {
    const pl_op_flow_set_t *set = &op->u.flow_set;
    pl__flow_state_t state;
    int64_t stage, task;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_STATE, &stage, -1, "i", (int64_t)set->stage));
    PL__TRY(pl__flow_state(conn, set->stage, &state));
    PL__TRY(pl__sql_int(conn, PL__SQL_TASK_STATE, &task, PL__TASK_READY, "i", (int64_t)set->stage));
    bool is_held = state.mode == PL_FLOW_HELD;
    if (stage < 0)
        op->rc = PL_ENOTFOUND;
    else if (!state.found)
        op->rc = PL_ESTATE;
    else if (stage == PL_STAGE_DONE || stage == PL_STAGE_ABORTED)
        op->rc = PL_EFINAL;
    else if ((stage != PL_STAGE_WAITING && stage != PL_STAGE_READY) || is_held == set->hold)
        op->rc = PL_ESTATE;
    if (op->rc != PL_OK)
        return PL_OK;
    if (set->hold)
        return task == PL__TASK_CLAIMED ? pl__flow_ask_hold(conn, set->stage, set->reason)
                                        : pl__flow_hold(conn, set->stage, set->reason);
    PL__TRY(pl__flow_let_go(conn, set->stage));
    return set->reason.ptr ? pl__sql_run(conn, PL__SQL_FLOW_SET_REASON, NULL, "it", (int64_t)set->stage, set->reason)
                           : PL_OK;
}
