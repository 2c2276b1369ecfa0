/*
 * turn.c - one transaction over all that was queued, and how its results get back.
 */
#include "store/turn.h"

enum { TRIES = 9 }; /* of a transaction that others are in the way of, with eight rests between */

void pl__batch_init(pl_store_t *store) {
    store->batch = (pl_batch_t){ 0 };
    store->batch_ops_tail = &store->batch.ops;
    store->batch_claims_tail = &store->batch.claims;
    store->batch_finals_tail = &store->batch.finals;
}

/* ---- posting results (mutex held) -------------------------------------------------------------------------- */

/* Whether people who look at the store see something else after an op of this verb. */
static bool is_change(pl_verb_t verb) {
    static const bool writes[] = {
#define X(name, write, offer) [PL_VERB_##name] = (write),
        PL_VERBS(X)
#undef X
    };
    return writes[verb] && verb != PL_VERB_watch && verb != PL_VERB_meta && verb != PL_VERB_tx_begin &&
           verb != PL_VERB_sql;
}

void pl__post_ops(pl_store_t *store, pl_op_t *op) {
    bool any_blocking = false;
    for (pl_op_t *next; op; op = next) {
        next = op->next;
        if (op->more && op->rc == PL_OK) { /* behind what has gathered meanwhile */
            op->more = false;
            op->portions++;
            pl__ops_push(&store->writes, op);
            continue;
        }
        op->next = NULL;
        op->finished = true;
        store->stats.ops++;
        store->stats.changes += op->rc == PL_OK && is_change(op->verb);
        if (op->ahead) {
            pl_op_free(op);
            continue;
        }
        if (op->blocking) {
            any_blocking = true;
            continue;
        }
        *store->batch_ops_tail = op;
        store->batch_ops_tail = &op->next;
    }
    if (any_blocking)
        pthread_cond_broadcast(&store->done_cond);
}

void pl__refuse_ops(pl_store_t *store, pl_op_t *ops, const pl_error_t *why) {
    for (pl_op_t *op = ops; op; op = op->next) {
        op->error = *why;
        op->rc = op->error.code = PL_ELOST;
    }
    pthread_mutex_lock(&store->mutex);
    pl__post_ops(store, ops);
    pthread_mutex_unlock(&store->mutex);
}

static void post_finals(pl_store_t *store, pl_watch_event_t *final) {
    while (final) { /* nodes stay in the turn's arena, which joins the batch's */
        *store->batch_finals_tail = final;
        store->batch_finals_tail = &final->next;
        final = final->next;
    }
}

static void post_recalls(pl_store_t *store, pl_recall_t *recall) {
    for (pl_recall_t *next; recall; recall = next) {
        next = recall->next;
        recall->next = store->batch.recalls;
        store->batch.recalls = recall;
    }
}

static void post_turn(pl_store_t *store, pl__commit_result_t *turn, pl__arena_t *arena) {
    if (turn->claims) {
        *store->batch_claims_tail = turn->claims;
        for (pl_claim_t *claim = turn->claims; claim; claim = claim->next)
            store->batch_claims_tail = &claim->next;
        store->batch.claims_len += turn->claims_len;
        store->uncollected += turn->claims_len;
        store->wanted = store->wanted > turn->claims_len ? store->wanted - turn->claims_len : 0;
        store->stats.claims += (uint64_t)turn->claims_len;
    }
    post_finals(store, turn->finals);
    post_recalls(store, turn->recalls);
    pl__arena_join(&store->batch.arena, arena);
    store->batch.has_state = true;
    store->batch.ready_left = store->ready_left = turn->ready_left;
    store->batch.next_due = turn->next_due;
    store->batch.next_token = turn->next_token;
    store->batch.next_fire = turn->next_fire;
    store->stats.commits++;
}

/* ---- one turn of the writer -------------------------------------------------------------------------------- */

/* Half of 2^n milliseconds or more, up to all of it, so that two in each other's way part. */
static void rest_before_try(int n) {
    uint64_t us = UINT64_C(1000) << n, random = (uint64_t)pl_clock_monotonic_us() * UINT64_C(0x9e3779b97f4a7c15);
    us = us / 2 + (random >> 32) % (us / 2);
    nanosleep(&(struct timespec){ .tv_nsec = (long)us * 1000 }, NULL);
}

/* One transaction over a list of ops. Returns the result of the transaction; op->rc has the refusals. */
static int transact(pl_store_t *store, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena,
                    pl__commit_result_t *turn, pl_error_t *error) {
    int rc = PL_EAGAIN;
    for (int n = 0; n < TRIES && rc == PL_EAGAIN; n++) {
        if (n > 0)
            rest_before_try(n - 1);
        pl__fork_enter();
        rc = store->driver->turn(store->writer, ops, ask, arena, turn, error);
        pl__fork_leave();
    }
    return rc;
}

void pl__turn_finish(pl_store_t *store, pl_op_t *ops, pl__commit_result_t *turn, pl__arena_t *arena) {
    pthread_mutex_lock(&store->mutex);
    if (ops) /* else there was nothing to write, or nobody waited for the disk */
        store->batch.commit_us = turn->commit_us;
    post_turn(store, turn, arena);
    pl__post_ops(store, ops);
    pthread_mutex_unlock(&store->mutex);
    if (turn->notify && store->can & PL__CAN_NOTIFY)
        store->driver->notify(store->writer, turn->notify);
}

/* PL_ELOST: nothing was done; else it is posted. */
static int run_alone(pl_store_t *store, pl_op_t *op, bool tell, pl_error_t *error) {
    pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
    pl__arena_t arena = { NULL };
    op->next = NULL;
    int rc = transact(store, op, &(pl__ask_t){ .tell = tell }, &arena, &turn, error);
    if (rc == PL_ELOST)
        return rc;
    pl__outage_over(store, &store->outage);
    if (rc == PL_OK) {
        pl__turn_finish(store, op, &turn, &arena);
        return PL_OK;
    }
    op->rc = error->code = rc == PL_EAGAIN ? PL_EBUSY : rc;
    op->error = *error;
    pthread_mutex_lock(&store->mutex);
    pl__post_ops(store, op);
    pthread_mutex_unlock(&store->mutex);
    return PL_OK;
}

static void claiming_failed(pl_store_t *store, const pl_error_t *error) {
    pthread_mutex_lock(&store->mutex);
    store->wanted = 0;
    store->batch.failure = *error;
    pthread_mutex_unlock(&store->mutex);
}

/* A transaction for each. PL_ELOST: not for what is left of *ops. */
static int run_one_by_one(pl_store_t *store, pl_op_t **ops, const pl__ask_t *ask, pl_error_t *error) {
    while (*ops) {
        pl_op_t *op = *ops, *next = op->next;
        *error = (pl_error_t){ 0 };
        if (run_alone(store, op, ask->tell, error) == PL_ELOST) {
            op->next = next;
            return PL_ELOST;
        }
        *ops = next;
    }
    if (ask->wanted > 0) /* nothing was claimed: come again for that */
        pl_store_wake(store, ask->look);
    return PL_OK;
}

static void count_commit(pl_store_t *store, const pl_op_t *ops, int64_t us) {
    int64_t len = 0;
    for (; ops; ops = ops->next)
        len++;
    pthread_mutex_lock(&store->mutex);
    pl__histogram_add(&store->commit_us, PL_HISTOGRAM_TIME_FIRST, us);
    pl__histogram_add(&store->commit_ops, PL_HISTOGRAM_COUNT_FIRST, len);
    pthread_mutex_unlock(&store->mutex);
}

void pl_store_meter(pl_store_t *store, pl_histogram_t *us, pl_histogram_t *ops) {
    pthread_mutex_lock(&store->mutex);
    *us = store->commit_us;
    *ops = store->commit_ops;
    pthread_mutex_unlock(&store->mutex);
}

/* PL_ELOST: what is left of *ops was not done, and nothing was claimed. */
static int run_once(pl_store_t *store, pl_op_t **ops, const pl__ask_t *ask, pl_error_t *error) {
    pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
    pl__arena_t arena = { NULL };
    int64_t began = pl_clock_monotonic_us();
    int rc = transact(store, *ops, ask, &arena, &turn, error);
    if (rc == PL_ELOST)
        return rc;
    if (rc == PL_OK)
        count_commit(store, *ops, pl_clock_monotonic_us() - began);
    pl__outage_over(store, &store->outage);
    if (rc != PL_OK && *ops)
        return run_one_by_one(store, ops, ask, error);
    if (rc == PL_OK)
        pl__turn_finish(store, *ops, &turn, &arena);
    else
        claiming_failed(store, error);
    return PL_OK;
}

/* What was queued during an outage goes with what waits for its end, and what is asked for may be another by now. */
static void take_more(pl_store_t *store, pl_op_t **ops, pl__ask_t *ask) {
    pthread_mutex_lock(&store->mutex);
    while (*ops)
        ops = &(*ops)->next;
    *ops = pl__ops_take(&store->writes);
    ask->wanted = store->closing ? 0 : store->wanted;
    ask->look = ask->look || store->outside;
    store->is_woken = store->outside = false;
    pthread_mutex_unlock(&store->mutex);
}

void pl__turn_run(pl_store_t *store, pl_op_t *ops, pl__ask_t ask) {
    pl_error_t error = { 0 };
    while (run_once(store, &ops, &ask, &error) == PL_ELOST) {
        if (!pl__outage_wait(store, &store->outage, &store->writer_cond, &error)) {
            pl__refuse_ops(store, ops, &error);
            return;
        }
        take_more(store, &ops, &ask);
        error = (pl_error_t){ 0 };
    }
}

void pl_store_tell_finals(pl_store_t *store, bool on) {
    pthread_mutex_lock(&store->mutex);
    store->tells = on;
    store->is_woken = true;
    pthread_cond_signal(&store->writer_cond);
    pthread_mutex_unlock(&store->mutex);
}

void pl_store_wake(pl_store_t *store, bool outside) {
    pthread_mutex_lock(&store->mutex);
    store->is_woken = true;
    store->outside = store->outside || outside;
    pthread_cond_signal(&store->writer_cond);
    pthread_mutex_unlock(&store->mutex);
}
