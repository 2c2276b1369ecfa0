/*
 * threads.c - the threads of a store: the writer, the reader, the checkpointer.
 *
 * The writer owns the writing connection: it takes everything queued, applies it in one transaction and
 * posts the results with one wake-up; while it commits, the next ops gather. The reader serves reads from a second
 * connection, so that status pages never wait behind writes; it is opened with the store, so that no answer is missing
 * later for want of a descriptor. The checkpointer moves the log into the file apart from commits. The threads of both
 * start when they are first needed. A database in memory has the writer only.
 */
#include "store/turn.h"

enum {
    LOG_PAGES_IDLE = 256,        /* worth a checkpoint when nothing has been committed for IDLE_US */
    LOG_PAGES_CHECKPOINT = 8000, /* under load: rare, because its fsync makes those of commits wait */
    LOG_PAGES_LIMIT = 24000,     /* the writer lends a hand, so that the log can start over */
    LOG_BYTES_KEPT = 1 << 20,    /* the file may keep this size when nothing happens */
    IDLE_US = 200 * 1000
};
/* When nothing happens, the log is first moved into the file, then cut; somebody may read from it just then. */
static const int64_t idle_us[] = { IDLE_US, 2 * 1000000, 5 * 1000000, 20 * 1000000, 60 * 1000000 };
enum { IDLE_STEPS = sizeof idle_us / sizeof *idle_us };

/* ---- the log and its checkpointer --------------------------------------------------------------------------- */

/* The checkpointer's connection, opened when it is first needed. It is told once if it cannot be. */
static bool has_checkpoint_conn(pl_store_t *store, bool *told) {
    pl_error_t error = { 0 };
    if (store->checkpointer)
        return true;
    int rc = store->driver->open(&store->checkpointer, &store->options, PL__ROLE_CHECKPOINTER, store->writer, &error);
    if (rc != PL_OK && !*told)
        pl_log(store->options.log, PL_LOG_ERROR, "the log cannot be moved into the file, and grows: %s", error.message);
    *told = rc != PL_OK;
    return rc == PL_OK;
}

static void *checkpoint_main(void *data) {
    pl_store_t *store = data;
    bool told = false;
    pthread_mutex_lock(&store->mutex);
    while (!store->closing) {
        if (!store->checkpoint_due) {
            pthread_cond_wait(&store->checkpoint_cond, &store->mutex);
            continue;
        }
        bool truncate = store->checkpoint_truncates;
        pthread_mutex_unlock(&store->mutex);
        bool done =
            has_checkpoint_conn(store, &told) && store->driver->checkpoint(store->checkpointer, truncate) == PL_OK;
        pthread_mutex_lock(&store->mutex);
        store->checkpoint_due = false;
        if (done)
            store->stats.checkpoints++;
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

/* With `truncate`, which is for when there is nothing else to do, the log is given back to the file system. */
static void want_checkpoint(pl_store_t *store, bool truncate) {
    if (store->in_memory)
        return;
    pthread_mutex_lock(&store->mutex);
    if (!store->has_checkpointer && !store->closing)
        store->has_checkpointer = pthread_create(&store->checkpoint_thread, NULL, checkpoint_main, store) == 0;
    if (!store->checkpoint_due) {
        store->checkpoint_due = true;
        store->checkpoint_truncates = truncate;
        pthread_cond_signal(&store->checkpoint_cond);
    }
    pthread_mutex_unlock(&store->mutex);
}

/* The log is moved into the file when it has grown by LOG_PAGES_CHECKPOINT, or by less when there is time for it. */
static void after_turn(pl_store_t *store) {
    int pages = store->driver->log_pages(store->writer);
    if (pages < store->checkpointed_pages)
        store->checkpointed_pages = 0; /* it started over */
    int grown = pages - store->checkpointed_pages;
    if (grown >= LOG_PAGES_CHECKPOINT) {
        store->checkpointed_pages = pages;
        if (pages >= LOG_PAGES_LIMIT)
            store->driver->checkpoint(store->writer, false);
        else
            want_checkpoint(store, false);
    }
    bool is_large = grown >= LOG_PAGES_IDLE || store->driver->log_bytes(store->writer, false) > LOG_BYTES_KEPT;
    store->idle_step = 0;
    store->idle_at = is_large && !store->in_memory ? pl_clock_monotonic_us() + idle_us[0] : PL_USEC_NEVER;
    store->options.wake(store->options.data);
}

/* Nothing has happened for a while. */
static void care_for_log(pl_store_t *store, int64_t now) {
    store->idle_at = PL_USEC_NEVER;
    if (store->driver->log_bytes(store->writer, true) <= LOG_BYTES_KEPT && store->idle_step > 0)
        return;
    store->checkpointed_pages = store->driver->log_pages(store->writer);
    want_checkpoint(store, store->idle_step > 0);
    if (store->idle_step + 1 < IDLE_STEPS)
        store->idle_step++;
    store->idle_at = now + idle_us[store->idle_step];
}

/* ---- the writer -------------------------------------------------------------------------------------------- */

static bool turn_is_due(const pl_store_t *store) {
    return store->writes.head || store->poked || (store->wanted > 0 && store->ready_left);
}

static bool has_work(const pl_store_t *store) {
    return store->begins.head || turn_is_due(store);
}

/* What falls due while the writer has nothing to do; the mutex is held, but not meanwhile. */
static void keep_house(pl_store_t *store, int64_t now) {
    pthread_mutex_unlock(&store->mutex);
    int64_t next = store->renew_at;
    if (store->renew_at <= now)
        store->driver->renew(store->writer, &next);
    if (store->idle_at <= now)
        care_for_log(store, now);
    pthread_mutex_lock(&store->mutex);
    store->renew_at = next;
}

/* Waits for work with the mutex held. Returns false when the store closes and nothing is left to do. */
static bool wait_for_work(pl_store_t *store) {
    while (!has_work(store)) {
        if (store->closing)
            return false;
        int64_t now = pl_clock_monotonic_us();
        int64_t due = store->renew_at < store->idle_at ? store->renew_at : store->idle_at;
        if (due == PL_USEC_NEVER) {
            pthread_cond_wait(&store->writer_cond, &store->mutex);
        } else if (due <= now) {
            keep_house(store, now);
        } else {
            struct timespec until = pl__monotonic_time(due);
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
        int wanted = store->closing ? 0 : store->wanted;
        bool outside = store->outside;
        store->poked = store->outside = false;
        store->stats.batches++;
        pthread_mutex_unlock(&store->mutex);
        if (is_due)
            pl__turn_run(store, ops, wanted, outside);
        if (begin)
            pl__session_run(store, begin);
        int64_t next = PL_USEC_NEVER;
        store->driver->renew(store->writer, &next);
        after_turn(store);
        pthread_mutex_lock(&store->mutex);
        store->renew_at = next;
        if (store->closing)
            store->wanted = 0;
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

/* ---- the reader -------------------------------------------------------------------------------------------- */

static void serve_read(pl_store_t *store, pl_op_t *op) {
    int rc = store->driver->begin(store->reader, &op->error);
    if (rc == PL_OK) {
        op->rc = PL_OK;
        rc = store->driver->verb[op->verb](store->reader, op);
        if (rc != PL_OK)
            store->driver->failure(store->reader, rc, &op->error);
        store->driver->rollback(store->reader); /* nothing was written */
    }
    if (rc != PL_OK)
        op->rc = rc;
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
        for (pl_op_t *op = ops; op; op = op->next)
            serve_read(store, op);
        pthread_mutex_lock(&store->mutex);
        pl__post_ops(store, ops);
        pthread_mutex_unlock(&store->mutex);
        store->options.wake(store->options.data);
        pthread_mutex_lock(&store->mutex);
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}
