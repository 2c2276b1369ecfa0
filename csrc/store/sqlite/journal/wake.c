/*
 * wake.c - news for durable functions wake them; and what becomes of one otherwise: beginning, holding, the end.
 *
 * Whoever brings news wakes the function if it is suspended, and for a mail only if it wants that. In every other case
 * but one `dirty` is set, for it may be under way, or about to be: the exception is a mail that is not wanted by one
 * that is suspended, whose task is delayed. It finds that mail when it looks next. Who is executing it is told, for it
 * may be waiting for a step: in this process with the commit, in others when they hear of it (pl__check_news).
 */
#include "store/sqlite/db.h"

/* ---- waking ------------------------------------------------------------------------------------------------ */

int pl__flow_wake_task(pl__conn_t *conn, pl_id_t stage, bool *woken) {
    int changes;
    PL__TRY(pl__task_flush(conn)); /* it may have been pushed in this transaction */
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_WAKE, &changes, "ii", (int64_t)stage, (int64_t)conn->due));
    *woken = changes > 0;
    conn->notify = true;
    conn->maybe_ready = conn->maybe_ready || *woken;
    return PL_OK;
}

static int set_dirty(pl__conn_t *conn, pl_id_t stage) {
    conn->notify = true; /* it may be under way in another process */
    return pl__sql_run(conn, PL__SQL_FLOW_SET_DIRTY, NULL, "ii", (int64_t)stage, INT64_C(1));
}

int pl__flow_state(pl__conn_t *conn, pl_id_t stage, pl__flow_state_t *state) {
    sqlite3_stmt *row;
    *state = (pl__flow_state_t){ .found = false };
    PL__TRY(pl__sql_query(conn, PL__SQL_FLOW_NEWS, &row, "i", (int64_t)stage));
    PL__TRY(pl__sql_step(conn, row, &state->found));
    if (!state->found)
        return PL_OK;
    state->mode = (pl_flow_mode_t)sqlite3_column_int(row, 0);
    state->is_dirty = sqlite3_column_int(row, 1) != 0;
    state->mails = sqlite3_column_int64(row, 3);
    state->posted = sqlite3_column_int64(row, 4);
    state->next = sqlite3_column_int64(row, 5);
    state->cancel = (pl_cancel_t)sqlite3_column_int(row, 6);
    int rc = pl__sql_str(row, 2, &conn->scratch, &state->wants);
    pl__sql_end(row);
    return rc;
}

int pl__flow_tell(pl__conn_t *conn, pl_id_t stage, const pl__flow_state_t *state, bool wanted) {
    bool is_suspended = state->mode == PL_FLOW_SUSPENDED, woken = false;
    if (state->mode == PL_FLOW_OVER)
        return PL_OK;
    if (is_suspended && wanted)
        PL__TRY(pl__flow_wake_task(conn, stage, &woken));
    if (woken)
        return pl__sql_run(conn, PL__SQL_FLOW_WAKE, NULL, "i", (int64_t)stage);
    int64_t task;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_RUN_STATE, &task, -1, "i", (int64_t)stage));
    bool is_in_vain = is_suspended && !wanted && task == PL__TASK_DELAYED;
    if (task < 0 || is_in_vain) /* it has not begun to run, or does so no more; or it waits for something else */
        return PL_OK;
    if (task == PL__TASK_CLAIMED)
        PL__TRY(pl__note_news(conn, stage));
    return state->is_dirty ? PL_OK : set_dirty(conn, stage);
}

int pl__flow_wake(pl__conn_t *conn, pl_id_t stage) {
    pl__flow_state_t state;
    PL__TRY(pl__flow_state(conn, stage, &state));
    return state.found ? pl__flow_tell(conn, stage, &state, true) : PL_OK;
}

/* What is said of one that is resumed after its journal went. */
static const pl_str_t JOURNAL_GONE = PL_STR_LIT("it was aborted so long ago that its journal is deleted "
                                                "(journal_retention): it would begin anew, with all its steps");
/* ---- aborts ------------------------------------------------------------------------------------------------ */

/* One that was claimed once has begun, whatever became of that claim: a step may have had its effect before its worker
 * was lost, and nothing is written of that. */
int pl__flow_ask(pl__conn_t *conn, pl_id_t stage, bool *asked) {
    pl__flow_state_t state;
    int64_t claim;
    *asked = false;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__flow_state(conn, stage, &state));
    PL__TRY(pl__sql_int(conn, PL__SQL_RUN_CLAIM, &claim, -1, "i", (int64_t)stage));
    bool has_begun = state.next > 1 || state.mode != PL_FLOW_BEGUN || claim > 0;
    if (!state.found || claim < 0 || !has_begun)
        return PL_OK;
    *asked = true;
    if (state.cancel != PL_CANCEL_NONE)
        return PL_OK;
    PL__TRY(pl__sql_run(conn, PL__SQL_FLOW_BIND, NULL, "iiz", (int64_t)stage, (int64_t)PL_CANCEL_ASKED, INT64_C(0)));
    return state.mode == PL_FLOW_HELD ? pl__flow_let_go(conn, stage) : pl__flow_tell(conn, stage, &state, true);
}

int pl__flow_cancel(pl__conn_t *conn, pl_id_t stage, pl_cancel_t *cancel) {
    pl__flow_state_t state;
    PL__TRY(pl__flow_state(conn, stage, &state));
    *cancel = state.cancel;
    return PL_OK;
}

int pl__flow_put_back(pl__conn_t *conn, pl_id_t stage) {
    PL__TRY(pl__sql_run(conn, PL__SQL_FLOW_WAKE, NULL, "i", (int64_t)stage));
    conn->maybe_ready = conn->notify = true;
    return pl__sql_run(conn, PL__SQL_TASK_SUSPEND, NULL, "iii", (int64_t)stage, (int64_t)PL__TASK_READY,
                       (int64_t)conn->due);
}

/* The end of a scope is news for the function right above it. That of a function is so, too, for the nearest one above
 * that has not ended itself, if it waits for the end of all below it: those between have left this one behind. */
int pl__flow_tell_above(pl__conn_t *conn, pl_id_t stage, unsigned flags) {
    bool is_wanted = flags & PL_STAGE_SCOPE;
    int64_t above = stage;
    while (true) {
        pl__flow_state_t state;
        PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_ABOVE, &above, 0, "i", above));
        if (!above)
            return PL_OK;
        PL__TRY(pl__flow_state(conn, above, &state));
        bool goes_on = state.found && state.mode != PL_FLOW_OVER;
        if (goes_on && (is_wanted || state.cancel == PL_CANCEL_ASKED))
            return pl__flow_tell(conn, above, &state, true);
        if (goes_on || !(flags & PL_STAGE_DURABLE))
            return PL_OK;
        is_wanted = false;
    }
}

/* ---- beginning and end ------------------------------------------------------------------------------------- */

int pl__flow_add(pl__conn_t *conn, const pl_stage_new_t *stage) {
    static const char ZEROS[PL_FLOW_SEED];
    pl_str_t seed = stage->seed.len == PL_FLOW_SEED ? stage->seed : (pl_str_t){ ZEROS, sizeof ZEROS };
    return pl__sql_run(conn, PL__SQL_FLOW_ADD, NULL, "ibi", (int64_t)stage->id, seed,
                       (int64_t)(stage->version > 0 ? stage->version : 1));
}

int pl__flow_over(pl__conn_t *conn, pl_id_t stage) {
    return pl__sql_run(conn, PL__SQL_FLOW_OVER, NULL, "ii", (int64_t)stage, (int64_t)conn->now);
}

/* The next era: of the journal nothing is left. */
static int begin_era(pl__conn_t *conn, pl_id_t stage) {
    int64_t first;
    PL__TRY(pl__sql_int(conn, PL__SQL_FLOW_CONTINUE, &first, 0, "i", (int64_t)stage));
    PL__TRY(pl__sql_run(conn, PL__SQL_JOURNAL_FORGET, NULL, "ii", (int64_t)stage, first));
    return pl__sql_run(conn, PL__SQL_JOURNAL_FORGET_LARGE, NULL, "ii", (int64_t)stage, first);
}

/* One that was told to clean up has undone what it did: it begins anew. */
int pl__flow_again(pl__conn_t *conn, pl_id_t stage) {
    pl_cancel_t cancel;
    PL__TRY(pl__flow_cancel(conn, stage, &cancel));
    PL__TRY(pl__sql_run(conn, PL__SQL_FLOW_AGAIN, NULL, "iit", (int64_t)stage, (int64_t)PL_USEC_MAX, JOURNAL_GONE));
    return cancel == PL_CANCEL_NONE ? PL_OK : begin_era(conn, stage);
}

int pl__flow_forget(pl__conn_t *conn, pl_id_t stage) {
    static const pl__sql_t PARTS[] = { PL__SQL_JOURNAL_DELETE, PL__SQL_JOURNAL_DELETE_LARGE, PL__SQL_MAILS_DELETE };
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++)
        PL__TRY(pl__sql_run(conn, PARTS[i], NULL, "i", (int64_t)stage));
    return pl__sql_run(conn, PL__SQL_FLOW_FORGET, NULL, "ii", (int64_t)stage, (int64_t)PL_USEC_MAX);
}

int pl__flow_continue(pl__conn_t *conn, pl_id_t stage, pl_str_t args) {
    pl__live_drop(conn, stage);
    PL__TRY(begin_era(conn, stage));
    PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_CONTINUE, NULL, "ibi", (int64_t)stage, args.ptr ? args : PL_STR_LIT(""),
                        (int64_t)conn->now));
    PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_DROP_LARGE, NULL, "i", (int64_t)stage));
    conn->maybe_ready = conn->notify = true;
    return pl__sql_run(conn, PL__SQL_TASK_SUSPEND, NULL, "iii", (int64_t)stage, (int64_t)PL__TASK_READY,
                       (int64_t)conn->due);
}

int pl__flow_delete(pl__conn_t *conn, pl_id_t stage) {
    static const pl__sql_t ALL[] = { PL__SQL_JOURNAL_DELETE, PL__SQL_JOURNAL_DELETE_LARGE, PL__SQL_MAILS_DELETE,
                                     PL__SQL_CHUNKS_DELETE,  PL__SQL_VALUES_DELETE,        PL__SQL_FLOW_DELETE };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
        PL__TRY(pl__sql_run(conn, ALL[i], NULL, "i", (int64_t)stage));
    return PL_OK;
}

/* ---- holding ----------------------------------------------------------------------------------------------- */

int pl__flow_hold(pl__conn_t *conn, pl_id_t stage, pl_str_t reason) {
    pl__live_drop(conn, stage);
    PL__TRY(pl__sql_run(conn, PL__SQL_FLOW_HOLD, NULL, "it", (int64_t)stage, reason));
    return pl__sql_run(conn, PL__SQL_TASK_SUSPEND, NULL, "iii", (int64_t)stage, (int64_t)PL__TASK_DELAYED,
                       (int64_t)PL_USEC_MAX);
}

int pl__flow_ask_hold(pl__conn_t *conn, pl_id_t stage, pl_str_t reason) {
    PL__TRY(pl__sql_run(conn, PL__SQL_FLOW_HOLD, NULL, "it", (int64_t)stage, reason));
    PL__TRY(pl__note_news(conn, stage));
    return set_dirty(conn, stage);
}

int pl__flow_due(pl__conn_t *conn, pl_id_t stage, pl_usec_t *eta) {
    pl__flow_state_t state;
    PL__TRY(pl__flow_state(conn, stage, &state));
    if (state.found && state.mode == PL_FLOW_HELD)
        *eta = PL_USEC_MAX;
    return PL_OK;
}

int pl__flow_let_go(pl__conn_t *conn, pl_id_t stage) {
    int64_t task;
    bool woken;
    PL__TRY(pl__sql_run(conn, PL__SQL_FLOW_WAKE, NULL, "i", (int64_t)stage));
    PL__TRY(pl__flow_wake_task(conn, stage, &woken));
    if (woken)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_RUN_STATE, &task, -1, "i", (int64_t)stage));
    if (task < 0)
        return PL_OK;
    PL__TRY(pl__note_news(conn, stage)); /* it is still being executed */
    return set_dirty(conn, stage);
}
