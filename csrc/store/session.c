/*
 * session.c - the user's own transaction, over many ops.
 *
 * A transaction of the user, over many ops, is a session. It has the writer to itself: while it is open the
 * thread takes ops of the session alone, and everything else gathers. Between two sessions there is a turn for all
 * that has gathered. The thread itself watches the time, so that no user code can hold the file.
 *
 *                     its turn comes                    BEGIN done
 *   (begins) tx_begin ───────────────► BEGINNING ──────────────────────► OPEN ◄──┐ op of the session: answered at once,
 *       │                                  │ cannot begin, or cancelled  │   └───┘ a refused one has changed nothing
 *       │ tx_end: cancelled                ▼                             │
 *       └────────────────────────────► (none) ◄── COMMIT ── tx_end, commit ──────┤
 *                                          ▲ ◄── ROLLBACK ── tx_end ─────────────┤
 *                                          └──── ROLLBACK ── an op broke the transaction; its time is up; the store
 *                                                            closes: later ops of the session are told why
 *
 *   store->session is the number of the one that is BEGINNING or OPEN (begin_session, forget_session write it);
 *   store->session_ends is true once its tx_end is queued; store->last is the last one that ended by itself.
 */
#include "store/turn.h"

static void answer(pl_store_t *store, pl_op_t *op) {
    bool is_awaited = !op->blocking && !op->ahead;
    if (op->rc == PL_EAGAIN) /* its ops have been answered: nobody can repeat them but the caller */
        op->rc = op->error.code = PL_EBUSY;
    pthread_mutex_lock(&store->mutex);
    store->session_is_idle = store->session != 0;
    pl__post_ops(store, op); /* from here on a blocking op may be gone */
    pthread_mutex_unlock(&store->mutex);
    if (is_awaited)
        store->options.wake(store->options.data);
}

/* An op of a session that is over, or has never begun (mutex held). */
void pl__session_refuse(pl_store_t *store, pl_op_t *op) {
    if (op->session == store->last) {
        bool is_first = store->unheard.code != PL_OK && !op->ahead;
        op->error = is_first ? store->unheard : store->last_why;
        op->rc = op->error.code;
        if (is_first)
            store->unheard.code = PL_OK;
    } else
        op->rc = PL__FAIL(&op->error, PL_EOVER, "%s", pl_result_text(PL_EOVER));
}

/* Takes the next one that wants to begin, if there is one (mutex held). */
pl_op_t *pl__session_next(pl_store_t *store) {
    pl_op_t *begin = pl__ops_pop(&store->begins);
    if (begin) {
        store->session = begin->session;
        store->session_ends = false;
        store->session_over = PL_USEC_NEVER;
    }
    return begin;
}

/* The session is over: what is left of its ops is refused. `why`, if it ended by itself; `unheard`, if it was for an op
 * that nobody waits for: what the next one is told. */
static void forget_session(pl_store_t *store, const pl_error_t *why, const pl_error_t *unheard) {
    pthread_mutex_lock(&store->mutex);
    if (why) {
        store->last = store->session;
        store->last_why = *why;
        store->unheard = unheard ? *unheard : (pl_error_t){ 0 };
    }
    pl_op_t *left = pl__ops_take(&store->session_ops);
    for (pl_op_t *op = left; op; op = op->next)
        pl__session_refuse(store, op);
    store->session = 0;
    store->session_ends = store->session_is_idle = false;
    pl__post_ops(store, left);
    pthread_mutex_unlock(&store->mutex);
    store->options.wake(store->options.data);
}

/* Waits for the next op of the session. NULL: there will be none, *why says why not. */
static pl_op_t *next_of_session(pl_store_t *store, int64_t deadline, double seconds, pl_error_t *why) {
    pl_op_t *op = NULL;
    pthread_mutex_lock(&store->mutex);
    while (!op && why->code == PL_OK) {
        if (store->closing || store->no_sessions)
            PL__FAIL(why, PL_EOVER, "the store was closed: the transaction has been rolled back");
        else if (pl_clock_monotonic_us() >= deadline)
            PL__FAIL(why, PL_ETIMEDOUT, "the transaction was held longer than %g s and has been rolled back", seconds);
        else if (!(op = pl__ops_pop(&store->session_ops))) {
            struct timespec until = pl_clock_timespec(deadline);
            pthread_cond_timedwait(&store->writer_cond, &store->mutex, &until);
            store->stats.wakeups++;
        }
    }
    store->session_is_idle = store->session_is_idle && !op;
    pthread_mutex_unlock(&store->mutex);
    return op;
}

/* It is rolled back. */
static void drop_session(pl_store_t *store) {
    pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
    pl__arena_t arena = { NULL };
    pl__fork_enter();
    (void)store->driver->session_end(store->writer, false, &(pl__ask_t){ 0 }, &arena, &turn, &(pl_error_t){ 0 });
    pl__fork_leave();
}

/* A failure of the store, which is no fault of the op. */
static bool is_of_store(int rc) {
    return rc == PL_ENOMEM || rc == PL_EIO || rc == PL_EFULL || rc == PL_EREADONLY || rc == PL_ECORRUPT;
}

/* The op was refused, or has broken the transaction: the session is over. */
static void broken_by(pl_store_t *store, pl_op_t *op, int rc) {
    pl_error_t why = { 0 }, unheard = op->error;
    PL__FAIL(&why, rc == PL_ETIMEDOUT ? rc : PL_EOVER, "the transaction has been rolled back: %.160s",
             op->error.message);
    op->rc = unheard.code = rc;
    forget_session(store, &why, op->ahead && is_of_store(rc) ? &unheard : NULL);
    answer(store, op);
}

/* What an op that nobody waits for was refused for: its error says so, with the first item concerned. */
static void explain_refusal(pl_op_t *op) {
    const pl_task_new_t *task = op->verb == PL_VERB_task_add && op->u.task_add.len > 0 ? op->u.task_add.tasks : NULL;
    while (task && task->rc == PL_OK && task < &op->u.task_add.tasks[op->u.task_add.len - 1])
        task++;
    pl_str_t queue = task && task->queue.ptr ? task->queue : PL_STR_LIT("default");
    if (task && !op->error.message[0])
        PL__FAIL(&op->error, op->rc, "a task could not be added to queue %.*s: %s", (int)queue.len, queue.ptr,
                 pl_result_text(op->rc));
}

/* Applies an op that does not end the session. False: it has broken the transaction. */
static bool apply_of_session(pl_store_t *store, pl_op_t *op) {
    op->rc = PL_OK;
    pl__fork_enter();
    int rc = store->driver->session_apply(store->writer, op);
    pl__fork_leave();
    if (rc == PL_OK && op->ahead && op->rc != PL_OK) { /* whoever gave it takes it for done */
        rc = op->rc;
        explain_refusal(op);
        drop_session(store);
    }
    if (rc == PL_OK)
        answer(store, op);
    else
        broken_by(store, op, rc);
    return rc == PL_OK;
}

static void end_session(pl_store_t *store, pl_op_t *end) {
    pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
    pl__arena_t arena = { NULL };
    pl__ask_t ask = { 0 };
    end->rc = PL_OK;
    if (!end->u.tx_end.commit) {
        drop_session(store);
        forget_session(store, NULL, NULL);
        answer(store, end);
        return;
    }
    pthread_mutex_lock(&store->mutex);
    ask.wanted = store->closing ? 0 : store->wanted;
    ask.ahead = store->ahead;
    ask.tell = store->tells;
    pthread_mutex_unlock(&store->mutex);
    pl__fork_enter();
    end->rc = store->driver->session_end(store->writer, true, &ask, &arena, &turn, &end->error);
    pl__fork_leave();
    forget_session(store, NULL, NULL);
    if (end->rc == PL_OK)
        pl__turn_finish(store, end, &turn, &arena);
    else
        answer(store, end);
}

/* PL_ELOST: it was not reached, and the store is about to close. */
static int begin_session(pl_store_t *store, pl_op_t *begin, int64_t *deadline) {
    pl_usec_t span = pl_clock_from_seconds(begin->u.tx_begin.seconds);
    for (;;) {
        begin->error = (pl_error_t){ 0 };
        pl__fork_enter();
        int rc = store->driver->session_begin(store->writer, span, deadline, &begin->error);
        pl__fork_leave();
        if (rc != PL_ELOST)
            pl__outage_over(store, &store->outage);
        if (rc != PL_ELOST || !pl__outage_wait(store, &store->outage, &store->writer_cond, &begin->error))
            return rc;
    }
}

/* Whether the session that `begin` asks for is open now. */
static bool open_session(pl_store_t *store, pl_op_t *begin, int64_t *deadline) {
    pthread_mutex_lock(&store->mutex);
    bool refused = store->no_sessions || store->closing || begin->u.tx_begin.cancelled;
    pthread_mutex_unlock(&store->mutex);
    if (refused)
        begin->rc = PL__FAIL(&begin->error, PL_ECLOSED, "the store begins no more transactions");
    else
        begin->rc = begin_session(store, begin, deadline);
    if (begin->rc != PL_OK) {
        forget_session(store, NULL, NULL);
        return false;
    }
    pthread_mutex_lock(&store->mutex);
    store->session_over = *deadline;
    pthread_mutex_unlock(&store->mutex);
    return true;
}

void pl__session_run(pl_store_t *store, pl_op_t *begin) {
    int64_t deadline;
    double seconds = begin->u.tx_begin.seconds;
    bool open = open_session(store, begin, &deadline);
    answer(store, begin); /* and belongs to the caller again */
    while (open) {
        pl_error_t why = { 0 };
        pl_op_t *op = next_of_session(store, deadline, seconds, &why);
        if (!op) {
            drop_session(store);
            forget_session(store, &why, NULL);
            return;
        }
        open = op->verb != PL_VERB_tx_end;
        if (open)
            open = apply_of_session(store, op);
        else
            end_session(store, op);
    }
}
