/*
 * store.c - opening and closing a store, and handing ops to its threads.
 */
#include <string.h>

#include "store/turn.h"

static int init_locks(pl_store_t *store) {
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0)
        return PL_ENOMEM;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->writer_cond, &monotonic);
    pthread_cond_init(&store->reader_cond, &monotonic);
    pthread_cond_init(&store->aside_cond, NULL);
    pthread_cond_init(&store->done_cond, NULL);
    pthread_condattr_destroy(&monotonic);
    return PL_OK;
}

static char *duplicate(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = pl__alloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

static int copy_options(pl_store_t *store, const pl_store_options_t *options) {
    store->options = *options;
    store->path = duplicate(options->path);
    store->vfs = options->vfs ? duplicate(options->vfs) : NULL;
    store->serves = options->serves ? duplicate(options->serves) : NULL;
    if (!store->path || (options->vfs && !store->vfs) || (options->serves && !store->serves))
        return PL_ENOMEM;
    store->options.path = store->path;
    store->options.vfs = store->vfs;
    store->options.serves = store->serves;
    return PL_OK;
}

static int open_conn(pl_store_t *store, pl__conn_t **out, pl__role_t role, pl_error_t *error) {
    pl__fork_enter();
    int rc = store->driver->open(out, &store->options, role, store->writer, error);
    pl__fork_leave();
    return rc;
}

static void close_conns(pl_store_t *store) {
    pl__fork_enter();
    store->driver->close(store->listener);
    store->driver->close(store->aside);
    store->driver->close(store->reader);
    store->driver->close(store->writer);
    pl__fork_leave();
}

int pl_store_open(pl_store_t **out, const pl_store_options_t *options, pl_error_t *error) {
    *out = NULL;
    if (pl__fork_was_rash())
        return PL__FAIL(
            error, PL_EFORK,
            "%s cannot be opened in this process: it was forked while another thread of its parent had been "
            "at work in a store for seconds, and inherited what that had locked. Fork again, before a store "
            "is opened or when none is at work, or execute a program",
            options->path);
    const pl_store_driver_t *driver = pl__driver_for(options, error);
    if (!driver)
        return PL_EINVAL;
    pl_store_t *store = pl__alloc(sizeof *store);
    if (!store)
        return PL__FAIL(error, PL_ENOMEM, "out of memory opening %s", options->path);
    store->driver = driver;
    store->can = driver->can(options);
    store->reads_apart = (store->can & PL__CAN_READ_APART) != 0;
    store->keep_at = PL_USEC_NEVER;
    pl__ops_init(&store->writes);
    pl__ops_init(&store->reads);
    pl__ops_init(&store->begins);
    pl__ops_init(&store->session_ops);
    pl__batch_init(store);
    int rc = init_locks(store);
    if (rc == PL_OK)
        rc = copy_options(store, options);
    if (rc == PL_OK)
        rc = open_conn(store, &store->writer, PL__ROLE_WRITER, error);
    else
        PL__FAIL(error, rc, "out of memory opening %s", options->path);
    if (rc == PL_OK && store->reads_apart)
        rc = open_conn(store, &store->reader, PL__ROLE_READER, error);
    if (rc == PL_OK && store->can & PL__CAN_NOTIFY)
        rc = open_conn(store, &store->listener, PL__ROLE_LISTENER, error);
    if (rc == PL_OK) {
        store->has_writer = pthread_create(&store->writer_thread, NULL, pl__writer_main, store) == 0;
        if (!store->has_writer)
            rc = PL__FAIL(error, PL_ENOMEM, "cannot start the store thread of %s", options->path);
    }
    if (rc != PL_OK) {
        pl_store_close(store);
        return rc;
    }
    *out = store;
    return PL_OK;
}

static void join_threads(pl_store_t *store) {
    pthread_mutex_lock(&store->mutex);
    store->closing = true;
    store->wanted = 0;
    bool has_aside = store->has_aside;
    pthread_cond_broadcast(&store->writer_cond);
    pthread_cond_broadcast(&store->reader_cond);
    pthread_cond_broadcast(&store->aside_cond);
    pthread_mutex_unlock(&store->mutex);
    if (store->has_writer)
        pthread_join(store->writer_thread, NULL);
    if (store->has_reader)
        pthread_join(store->reader_thread, NULL);
    if (has_aside)
        pthread_join(store->aside_thread, NULL);
}

void pl_store_close(pl_store_t *store) {
    if (!store)
        return;
    join_threads(store);
    close_conns(store);
    pl_batch_free(&store->batch);
    pthread_mutex_destroy(&store->mutex);
    pthread_cond_destroy(&store->writer_cond);
    pthread_cond_destroy(&store->reader_cond);
    pthread_cond_destroy(&store->aside_cond);
    pthread_cond_destroy(&store->done_cond);
    pl__free(store->path);
    pl__free(store->vfs);
    pl__free(store->serves);
    pl__free(store);
}

bool pl_store_serves(const pl_store_t *store, pl_str_t queue) {
    return pl_queue_is_served(store->serves, queue);
}

static bool is_write(pl_verb_t verb) {
    static const bool writes[] = {
#define X(name, write, offer) [PL_VERB_##name] = (write),
        PL_VERBS(X)
#undef X
    };
    return writes[verb];
}

/* A session whose end comes before its turn does not begin. */
static bool cancel_begin(pl_store_t *store, pl_session_t session) {
    for (pl_op_t *begin = store->begins.head; begin; begin = begin->next)
        if (begin->session == session)
            return begin->u.tx_begin.cancelled = true;
    return false;
}

/* As enqueue, for an op of a session. */
static bool enqueue_of_session(pl_store_t *store, pl_op_t *op) {
    if (op->verb == PL_VERB_tx_begin) {
        pl__ops_push(&store->begins, op);
    } else if (op->session == store->session) {
        store->session_ends = store->session_ends || op->verb == PL_VERB_tx_end;
        pl__ops_push(&store->session_ops, op);
    } else {
        op->next = NULL;
        op->rc = PL_OK;
        if (op->verb != PL_VERB_tx_end || op->u.tx_end.commit || !cancel_begin(store, op->session))
            pl__session_refuse(store, op);
        pl__post_ops(store, op);
        return false;
    }
    pthread_cond_signal(&store->writer_cond);
    return true;
}

/* Queues op with the mutex held. Returns false when it was answered instead: then the loop is to be woken. */
static bool enqueue(pl_store_t *store, pl_op_t *op) {
    op->finished = false;
    if (!pl__op_is_sound(op)) {
        op->next = NULL;
        pl__post_ops(store, op);
        return false;
    }
    if (op->session)
        return enqueue_of_session(store, op);
    if (is_write(op->verb) || !store->reads_apart) {
        pl__ops_push(&store->writes, op);
        pthread_cond_signal(&store->writer_cond);
        return true;
    }
    if (!store->has_reader)
        store->has_reader = pthread_create(&store->reader_thread, NULL, pl__reader_main, store) == 0;
    if (!store->has_reader) { /* no thread to be had: the writer can read as well */
        pl__ops_push(&store->writes, op);
        pthread_cond_signal(&store->writer_cond);
        return true;
    }
    pl__ops_push(&store->reads, op);
    pthread_cond_signal(&store->reader_cond);
    return true;
}

void pl_store_submit(pl_store_t *store, pl_op_t *op) {
    op->blocking = false;
    pthread_mutex_lock(&store->mutex);
    bool queued = enqueue(store, op);
    pthread_mutex_unlock(&store->mutex);
    if (!queued)
        store->options.wake(store->options.data);
}

void pl_store_send_ahead(pl_store_t *store, pl_op_t *op) {
    op->ahead = true;
    op->blocking = false;
    pthread_mutex_lock(&store->mutex);
    (void)enqueue(store, op); /* answered or not: the loop hears nothing of it */
    pthread_mutex_unlock(&store->mutex);
}

static void set_wanted(pl_store_t *store, int wanted) {
    store->wanted = wanted > store->uncollected ? wanted - store->uncollected : 0;
    if (store->wanted > 0 && store->ready_left)
        pthread_cond_signal(&store->writer_cond);
}

void pl_store_submit_ahead(pl_store_t *store, pl_op_t *ops, int wanted, int ahead) {
    bool queued = true;
    pthread_mutex_lock(&store->mutex);
    for (pl_op_t *next; ops; ops = next) {
        next = ops->next;
        ops->blocking = false;
        queued = enqueue(store, ops) && queued;
    }
    store->ahead = ahead;
    set_wanted(store, wanted);
    pthread_mutex_unlock(&store->mutex);
    if (!queued)
        store->options.wake(store->options.data);
}

void pl_store_submit_list(pl_store_t *store, pl_op_t *ops, int wanted) {
    pl_store_submit_ahead(store, ops, wanted, 0);
}

int pl_store_call(pl_store_t *store, pl_op_t *op) {
    op->blocking = true;
    pthread_mutex_lock(&store->mutex);
    (void)enqueue(store, op);
    while (!op->finished)
        pthread_cond_wait(&store->done_cond, &store->mutex);
    pthread_mutex_unlock(&store->mutex);
    return op->rc;
}

bool pl_store_would_wait(pl_store_t *store, const pl_op_t *op) {
    bool needs_writer = is_write(op->verb) || !store->reads_apart;
    bool is_tx_begin = op->verb == PL_VERB_tx_begin;
    if (!needs_writer || (op->session && !is_tx_begin))
        return false;
    pthread_mutex_lock(&store->mutex);
    bool waits = store->session != 0 && !store->session_ends && pl_clock_monotonic_us() < store->session_over;
    for (const pl_op_t *begin = store->begins.head; begin; begin = begin->next)
        waits = waits || !begin->u.tx_begin.cancelled;
    waits = waits && !store->no_sessions;
    pthread_mutex_unlock(&store->mutex);
    return waits;
}

bool pl_store_session_is_idle(pl_store_t *store) {
    pthread_mutex_lock(&store->mutex);
    bool is_idle = store->session_is_idle && !store->session_ops.head && !store->batch.ops;
    pthread_mutex_unlock(&store->mutex);
    return is_idle;
}

void pl_store_end_sessions(pl_store_t *store) {
    pthread_mutex_lock(&store->mutex);
    store->no_sessions = true;
    pthread_cond_broadcast(&store->writer_cond);
    pthread_cond_broadcast(&store->reader_cond);
    pthread_mutex_unlock(&store->mutex);
}

void pl_store_want(pl_store_t *store, int wanted) {
    pthread_mutex_lock(&store->mutex);
    set_wanted(store, wanted);
    pthread_mutex_unlock(&store->mutex);
}

void pl_batch_free(pl_batch_t *batch) {
    for (pl_op_t *op = batch->ops, *next; op; op = next) {
        next = op->next;
        pl_op_free(op);
    }
    for (pl_claim_t *claim = batch->claims, *next; claim; claim = next) {
        next = claim->next;
        pl_claim_free(claim);
    }
    pl__arena_free(&batch->arena);
    *batch = (pl_batch_t){ 0 };
}

bool pl_store_collect(pl_store_t *store, pl_batch_t *batch) {
    pthread_mutex_lock(&store->mutex);
    *batch = store->batch;
    store->uncollected -= batch->claims_len;
    pl__batch_init(store);
    pthread_mutex_unlock(&store->mutex);
    return batch->ops || batch->claims || batch->finals || batch->recalls || batch->has_state ||
           batch->failure.code != 0;
}

void pl_store_stats(pl_store_t *store, pl_store_stats_t *stats) {
    pthread_mutex_lock(&store->mutex);
    *stats = store->stats;
    stats->unreachable_since = pl__outage_since(store);
    pthread_mutex_unlock(&store->mutex);
}

void pl_store_facts(const pl_store_t *store, pl_store_facts_t *facts) {
    *facts = (pl_store_facts_t){ .driver = store->driver->name };
    store->driver->facts(store->writer, facts);
    if (!facts->path)
        facts->path = store->path;
}

void pl_store_peers(const pl_store_t *store, pl_store_peers_t *peers) {
    *peers = (pl_store_peers_t){ .possible = (store->can & PL__CAN_SHARE) != 0,
                                 .death_is_certain = (store->can & PL__CAN_PROVE_DEATH) != 0,
                                 .listen_fd = store->listener ? store->driver->listen_fd(store->listener) : -1 };
}

void pl_store_receive(pl_store_t *store, bool *work, bool *gone) {
    unsigned news = store->driver->receive(store->listener);
    *work = (news & PL__NOTIFY_WORK) != 0;
    *gone = (news & PL__NOTIFY_GONE) != 0;
}

const char *pl_store_path(const pl_store_t *store) {
    pl_store_facts_t facts;
    pl_store_facts(store, &facts);
    return facts.path;
}
