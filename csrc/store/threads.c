/*
 * threads.c - the threads of a store: the writer, the reader, and one for upkeep.
 *
 * The writer owns the writing connection: it takes everything queued, applies it in one transaction and posts the
 * results with one wake-up; while it commits, the next ops gather. The reader serves reads from a second connection,
 * so that status pages never wait behind writes; it is opened with the store, so that no answer is missing later for
 * want of a descriptor. What a driver wants done apart from commits is done by a third one, aside. The threads of
 * both start when they are first needed. Where nothing can be read apart, in memory say, there is the writer only.
 */
#include "store/turn.h"

/* ---- what is done aside ------------------------------------------------------------------------------------ */

/* The connection for it, opened when it is first needed. It is told once if it cannot be. */
static bool has_aside_conn(pl_store_t *store, bool *told) {
    pl_error_t error = { 0 };
    if (store->aside)
        return true;
    pl__fork_enter();
    int rc = store->driver->open(&store->aside, &store->options, PL__ROLE_ASIDE, store->writer, &error);
    pl__fork_leave();
    if (rc != PL_OK && !*told)
        pl_log(store->options.log, PL_LOG_ERROR, "no connection for the upkeep of the database: %s", error.message);
    *told = rc != PL_OK;
    return rc == PL_OK;
}

static void *aside_main(void *data) {
    pl_store_t *store = data;
    bool told = false;
    pthread_mutex_lock(&store->mutex);
    while (!store->closing) {
        if (!store->aside_due) {
            pthread_cond_wait(&store->aside_cond, &store->mutex);
            continue;
        }
        int what = store->aside_due;
        pthread_mutex_unlock(&store->mutex);
        bool done = has_aside_conn(store, &told);
        if (done) {
            pl__fork_enter();
            done = store->driver->aside(store->aside, what) == PL_OK;
            pl__fork_leave();
        }
        pthread_mutex_lock(&store->mutex);
        store->aside_due = 0;
        if (done)
            store->stats.checkpoints++;
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

static void do_aside(pl_store_t *store, int what) {
    pthread_mutex_lock(&store->mutex);
    if (!store->has_aside && !store->closing)
        store->has_aside = pthread_create(&store->aside_thread, NULL, aside_main, store) == 0;
    if (!store->aside_due) {
        store->aside_due = what;
        pthread_cond_signal(&store->aside_cond);
    }
    pthread_mutex_unlock(&store->mutex);
}

/* Returns when to come back, monotonic us. */
static int64_t keep(pl_store_t *store, bool idle) {
    int64_t next = PL_USEC_NEVER;
    int aside = 0;
    pl__fork_enter();
    store->driver->keep(store->writer, idle, &next, &aside);
    pl__fork_leave();
    if (aside)
        do_aside(store, aside);
    return next;
}

/* ---- the writer -------------------------------------------------------------------------------------------- */

static bool turn_is_due(const pl_store_t *store) {
    return store->writes.head || store->is_woken || (store->wanted > 0 && store->ready_left);
}

static bool has_work(const pl_store_t *store) {
    return store->begins.head || turn_is_due(store);
}

/* Waits for work with the mutex held. Returns false when the store closes and nothing is left to do. */
static bool wait_for_work(pl_store_t *store) {
    while (!has_work(store)) {
        if (store->closing)
            return false;
        int64_t now = pl_clock_monotonic_us();
        if (store->keep_at <= now) {
            pthread_mutex_unlock(&store->mutex);
            int64_t next = keep(store, true);
            pthread_mutex_lock(&store->mutex);
            store->keep_at = next;
            continue; /* it was awake for that */
        }
        if (store->keep_at == PL_USEC_NEVER) {
            pthread_cond_wait(&store->writer_cond, &store->mutex);
        } else {
            struct timespec until = pl_clock_timespec(store->keep_at);
            pthread_cond_timedwait(&store->writer_cond, &store->mutex, &until);
        }
        store->stats.wakeups++;
    }
    return true;
}

void *pl__writer_main(void *data) {
    pl_store_t *store = data;
    pthread_mutex_lock(&store->mutex);
    while (wait_for_work(store)) {
        bool is_due = turn_is_due(store);
        pl_op_t *ops = pl__ops_take(&store->writes), *begin = pl__session_next(store);
        pl__ask_t ask = { .wanted = store->closing ? 0 : store->wanted,
                          .ahead = store->ahead,
                          .look = store->outside,
                          .tell = store->tells };
        store->is_woken = store->outside = false;
        store->stats.batches++;
        pthread_mutex_unlock(&store->mutex);
        if (is_due)
            pl__turn_run(store, ops, ask);
        if (begin)
            pl__session_run(store, begin);
        int64_t next = keep(store, false);
        store->options.wake(store->options.data);
        pthread_mutex_lock(&store->mutex);
        store->keep_at = next;
        if (store->closing)
            store->wanted = 0;
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

/* ---- the reader -------------------------------------------------------------------------------------------- */

/* Reads, and posts what was read. Returns what was not, for nobody could be reached: *why is the last one's. */
static pl_op_t *read_all(pl_store_t *store, pl_op_t *ops, pl_error_t *why) {
    pl__ops_t done, lost;
    pl__ops_init(&done);
    pl__ops_init(&lost);
    int64_t began = pl_clock_thread_us();
    pl__fork_enter();
    store->driver->read(store->reader, ops);
    pl__fork_leave();
    uint64_t took = (uint64_t)(pl_clock_thread_us() - began);
    for (pl_op_t *op = ops, *next; op; op = next) {
        next = op->next;
        if (op->rc == PL_ELOST)
            *why = op->error;
        pl__ops_push(op->rc == PL_ELOST ? &lost : &done, op);
    }
    pthread_mutex_lock(&store->mutex);
    store->stats.reading_us += took;
    pl__post_ops(store, done.head);
    pthread_mutex_unlock(&store->mutex);
    store->options.wake(store->options.data);
    return lost.head;
}

static void read_until_reached(pl_store_t *store, pl_op_t *ops) {
    pl_error_t why = { 0 };
    while ((ops = read_all(store, ops, &why)))
        if (!pl__outage_wait(store, &store->reader_outage, &store->reader_cond, &why)) {
            pl__refuse_ops(store, ops, &why);
            store->options.wake(store->options.data);
            return;
        }
    pl__outage_over(store, &store->reader_outage);
}

void *pl__reader_main(void *data) {
    pl_store_t *store = data;
    pthread_mutex_lock(&store->mutex);
    for (;;) {
        while (!store->reads.head && !store->closing)
            pthread_cond_wait(&store->reader_cond, &store->mutex);
        pl_op_t *ops = pl__ops_take(&store->reads);
        if (!ops)
            break;
        pthread_mutex_unlock(&store->mutex);
        read_until_reached(store, ops);
        pthread_mutex_lock(&store->mutex);
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}
