/*
 * store.c - the threads of a store and group commit.
 *
 * Threads. The writer owns the writing connection: it takes everything queued, applies it in one transaction and
 * posts the results with one wake-up; while it commits, the next ops gather. The reader serves reads from a second
 * connection, so that status pages never wait behind writes; it is opened with the store, so that no answer is missing
 * later for want of a descriptor. The checkpointer moves the log into the file apart from commits. The threads of both
 * start when they are first needed. A database in memory has the writer only.
 *
 * Locks. One mutex guards everything in pl_store_t below the line marked so; no callback is made while it is held.
 *
 * Sessions. A transaction of the user, over many ops, is a session. It has the writer to itself: while it is open the
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
 *
 * Invariants
 *   1. Room for results is part of what was submitted: posting cannot fail.
 *   2. When a transaction breaks, it is rolled back and each of its ops gets a transaction of its own, so that one bad
 *      op cannot take others with it.
 *   3. Ops of a session are in session_ops only while store->session is theirs; all others are answered at once.
 *   4. wanted + claims not yet collected never exceeds what the loop said it can take.
 */
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "store/driver.h"

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

typedef struct {
    pl_op_t *head, **tail;
} ops_t;

struct pl_store {
    const pl_store_driver_t *driver;
    pl_store_options_t options;
    char *path, *vfs, *serves;
    bool in_memory;
    pl__conn_t *writer, *reader, *checkpointer;
    pthread_t writer_thread, reader_thread, checkpoint_thread;
    int checkpointed_pages; /* the writer thread's: pages of the log when it was last moved */
    int64_t idle_at;        /* the writer thread's: when to look after it if nothing happens, monotonic us */
    int idle_step;          /* the writer thread's: how often that was since something happened */
    /* ---- guarded by mutex ---- */
    pthread_mutex_t mutex;
    pthread_cond_t writer_cond, reader_cond, checkpoint_cond, done_cond;
    bool has_writer, has_reader, has_checkpointer, closing, checkpoint_due, checkpoint_truncates;
    ops_t writes, reads;
    ops_t begins;         /* sessions that wait for their turn: tx_begin */
    pl_session_t session; /* the one that is beginning or open; 0: none */
    ops_t session_ops;    /* its ops */
    bool session_ends;    /* one of them is its tx_end */
    int64_t session_over; /* when its time is up, monotonic us; PL_USEC_NEVER: it is beginning */
    bool session_rests;   /* it is open, and no op of it is under way: from the answer to one until the next is taken */
    bool no_sessions;     /* pl_store_end_sessions was called */
    pl_session_t last;    /* session that ended by itself */
    pl_error_t last_why;
    bool poked, outside, ready_left;
    int wanted, uncollected;
    int64_t renew_at; /* monotonic us */
    pl_batch_t batch; /* gathers until collected */
    pl_op_t **batch_ops_tail;
    pl_claim_t **batch_claims_tail;
    pl_final_t **batch_finals_tail;
    pl_store_stats_t stats;
};

/* ---- lists ------------------------------------------------------------------------------------------------- */

static void ops_init(ops_t *ops) {
    ops->head = NULL;
    ops->tail = &ops->head;
}

static void ops_push(ops_t *ops, pl_op_t *op) {
    op->next = NULL;
    *ops->tail = op;
    ops->tail = &op->next;
}

/* NULL: there is none. */
static pl_op_t *ops_pop(ops_t *ops) {
    pl_op_t *op = ops->head;
    if (!op)
        return NULL;
    ops->head = op->next;
    if (!ops->head)
        ops->tail = &ops->head;
    op->next = NULL;
    return op;
}

static pl_op_t *ops_take(ops_t *ops) {
    pl_op_t *head = ops->head;
    ops_init(ops);
    return head;
}

static void batch_init(pl_store_t *store) {
    store->batch = (pl_batch_t){ 0 };
    store->batch_ops_tail = &store->batch.ops;
    store->batch_claims_tail = &store->batch.claims;
    store->batch_finals_tail = &store->batch.finals;
}

/* ---- posting results (mutex held) -------------------------------------------------------------------------- */

static void post_ops(pl_store_t *store, pl_op_t *op) {
    bool any_blocking = false;
    for (pl_op_t *next; op; op = next) {
        next = op->next;
        op->next = NULL;
        op->finished = true;
        store->stats.ops++;
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

static void post_finals(pl_store_t *store, pl_final_t *final) {
    while (final) { /* nodes stay in the turn's arena, which joins the batch's */
        *store->batch_finals_tail = final;
        store->batch_finals_tail = &final->next;
        final = final->next;
    }
}

static void post_turn(pl_store_t *store, pl__turn_t *turn, pl__arena_t *arena) {
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
    pl__arena_join(&store->batch.arena, arena);
    store->batch.has_state = true;
    store->batch.ready_left = store->ready_left = turn->ready_left;
    store->batch.next_due = turn->next_due;
    store->batch.next_token = turn->next_token;
    store->stats.commits++;
}

/* ---- one turn of the writer -------------------------------------------------------------------------------- */

static void drop_claims(pl__turn_t *turn) {
    for (pl_claim_t *claim = turn->claims, *next; claim; claim = next) {
        next = claim->next;
        pl_claim_free(claim);
    }
    *turn = (pl__turn_t){ .next_due = PL_USEC_NEVER, .next_token = PL_USEC_NEVER };
}

/* Finishes and commits the work of a transaction, or, if that or the work failed (rc), rolls it back. */
static int conclude(pl_store_t *store, int rc, int wanted, bool outside, pl__arena_t *arena, pl__turn_t *turn,
                    pl_error_t *error) {
    const pl_store_driver_t *driver = store->driver;
    if (rc == PL_OK)
        rc = driver->finish(store->writer, wanted, outside, arena, turn, error);
    if (rc == PL_OK)
        rc = driver->commit(store->writer, error);
    if (rc != PL_OK) {
        driver->rollback(store->writer);
        drop_claims(turn);
        pl__arena_free(arena);
    }
    return rc;
}

/* One transaction over a list of ops. Returns the result of the transaction; op->rc has the refusals. */
static int transact(pl_store_t *store, pl_op_t *ops, int wanted, bool outside, pl__arena_t *arena, pl__turn_t *turn,
                    pl_error_t *error) {
    const pl_store_driver_t *driver = store->driver;
    int rc = driver->begin(store->writer, error);
    if (rc != PL_OK)
        return rc;
    for (pl_op_t *op = ops; op && rc == PL_OK; op = op->next) {
        op->rc = PL_OK;
        rc = driver->verb[op->verb](store->writer, op);
    }
    if (rc != PL_OK)
        driver->failure(store->writer, rc, error);
    return conclude(store, rc, wanted, outside, arena, turn, error);
}

static void finish_turn(pl_store_t *store, pl_op_t *ops, pl__turn_t *turn, pl__arena_t *arena) {
    pthread_mutex_lock(&store->mutex);
    post_turn(store, turn, arena);
    post_ops(store, ops);
    pthread_mutex_unlock(&store->mutex);
    if (turn->ring && store->options.ring)
        store->options.ring(store->options.data);
}

static void run_alone(pl_store_t *store, pl_op_t *op) {
    pl__turn_t turn = { .next_due = PL_USEC_NEVER, .next_token = PL_USEC_NEVER };
    pl__arena_t arena = { NULL };
    pl_error_t error = { 0 };
    op->next = NULL;
    int rc = transact(store, op, 0, false, &arena, &turn, &error);
    if (rc == PL_OK) {
        finish_turn(store, op, &turn, &arena);
        return;
    }
    op->rc = rc;
    op->error = error;
    pthread_mutex_lock(&store->mutex);
    post_ops(store, op);
    pthread_mutex_unlock(&store->mutex);
}

static void claiming_failed(pl_store_t *store, const pl_error_t *error) {
    pthread_mutex_lock(&store->mutex);
    store->wanted = 0;
    store->batch.failure = *error;
    pthread_mutex_unlock(&store->mutex);
}

static void run_turn(pl_store_t *store, pl_op_t *ops, int wanted, bool outside) {
    pl__turn_t turn = { .next_due = PL_USEC_NEVER, .next_token = PL_USEC_NEVER };
    pl__arena_t arena = { NULL };
    pl_error_t error = { 0 };
    int rc = transact(store, ops, wanted, outside, &arena, &turn, &error);
    if (rc == PL_OK) {
        finish_turn(store, ops, &turn, &arena);
    } else if (!ops) {
        claiming_failed(store, &error);
    } else {
        for (pl_op_t *op = ops, *next; op; op = next) {
            next = op->next;
            run_alone(store, op);
        }
        if (wanted > 0) /* nothing was claimed: come again for that */
            pl_store_poke(store, outside);
    }
}

static void want_checkpoint(pl_store_t *store, bool truncate);

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

/* ---- sessions ---------------------------------------------------------------------------------------------- */

static void answer(pl_store_t *store, pl_op_t *op) {
    bool is_awaited = !op->blocking;
    pthread_mutex_lock(&store->mutex);
    store->session_rests = store->session != 0;
    post_ops(store, op); /* from here on a blocking op may be gone */
    pthread_mutex_unlock(&store->mutex);
    if (is_awaited)
        store->options.wake(store->options.data);
}

/* An op of a session that is over, or has never begun (mutex held). */
static void refuse_op(const pl_store_t *store, pl_op_t *op) {
    if (op->session == store->last) {
        op->error = store->last_why;
        op->rc = op->error.code;
    } else
        op->rc = PL__FAIL(&op->error, PL_EOVER, "%s", pl_result_text(PL_EOVER));
}

/* Takes the next one that wants to begin, if there is one (mutex held). */
static pl_op_t *begin_session(pl_store_t *store) {
    pl_op_t *begin = ops_pop(&store->begins);
    if (begin) {
        store->session = begin->session;
        store->session_ends = false;
        store->session_over = PL_USEC_NEVER;
    }
    return begin;
}

/* The session is over: what is left of its ops is refused. `why`, if it ended by itself. */
static void forget_session(pl_store_t *store, const pl_error_t *why) {
    store->driver->set_session(store->writer, PL_USEC_NEVER);
    pthread_mutex_lock(&store->mutex);
    if (why) {
        store->last = store->session;
        store->last_why = *why;
    }
    pl_op_t *left = ops_take(&store->session_ops);
    for (pl_op_t *op = left; op; op = op->next)
        refuse_op(store, op);
    store->session = 0;
    store->session_ends = store->session_rests = false;
    post_ops(store, left);
    pthread_mutex_unlock(&store->mutex);
    store->options.wake(store->options.data);
}

static struct timespec monotonic_time(int64_t us) {
    return (struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
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
        else if (!(op = ops_pop(&store->session_ops))) {
            struct timespec until = monotonic_time(deadline);
            pthread_cond_timedwait(&store->writer_cond, &store->mutex, &until);
            store->stats.wakeups++;
        }
    }
    store->session_rests = store->session_rests && !op;
    pthread_mutex_unlock(&store->mutex);
    return op;
}

/* Applies an op that does not end the session. False: it has broken the transaction. */
static bool apply_of_session(pl_store_t *store, pl_op_t *op) {
    op->rc = PL_OK;
    int rc = store->driver->apply(store->writer, op);
    if (rc == PL_OK) {
        answer(store, op);
        return true;
    }
    pl_error_t why = { 0 };
    store->driver->failure(store->writer, rc, &op->error);
    store->driver->rollback(store->writer);
    op->rc = rc;
    PL__FAIL(&why, rc == PL_ETIMEDOUT ? rc : PL_EOVER, "the transaction has been rolled back: %.160s",
             op->error.message);
    forget_session(store, &why);
    answer(store, op);
    return false;
}

static void end_session(pl_store_t *store, pl_op_t *end) {
    pl__turn_t turn = { .next_due = PL_USEC_NEVER, .next_token = PL_USEC_NEVER };
    pl__arena_t arena = { NULL };
    end->rc = PL_OK;
    if (!end->u.tx_end.commit) {
        store->driver->rollback(store->writer);
        forget_session(store, NULL);
        answer(store, end);
        return;
    }
    pthread_mutex_lock(&store->mutex);
    int wanted = store->closing ? 0 : store->wanted;
    pthread_mutex_unlock(&store->mutex);
    end->rc = conclude(store, PL_OK, wanted, false, &arena, &turn, &end->error);
    forget_session(store, NULL);
    if (end->rc == PL_OK)
        finish_turn(store, end, &turn, &arena);
    else
        answer(store, end);
}

/* Whether the session that `begin` asks for is open now. */
static bool open_session(pl_store_t *store, pl_op_t *begin, int64_t *deadline) {
    pthread_mutex_lock(&store->mutex);
    bool refused = store->no_sessions || store->closing || begin->u.tx_begin.cancelled;
    pthread_mutex_unlock(&store->mutex);
    if (refused)
        begin->rc = PL__FAIL(&begin->error, PL_ECLOSED, "the store begins no more transactions");
    else
        begin->rc = store->driver->begin(store->writer, &begin->error);
    *deadline = pl_clock_add(pl_clock_monotonic_us(), pl_clock_from_seconds(begin->u.tx_begin.seconds));
    if (begin->rc != PL_OK) {
        forget_session(store, NULL);
        return false;
    }
    store->driver->set_session(store->writer, *deadline);
    pthread_mutex_lock(&store->mutex);
    store->session_over = *deadline;
    pthread_mutex_unlock(&store->mutex);
    return true;
}

static void run_session(pl_store_t *store, pl_op_t *begin) {
    int64_t deadline;
    double seconds = begin->u.tx_begin.seconds;
    bool open = open_session(store, begin, &deadline);
    answer(store, begin); /* and belongs to the caller again */
    while (open) {
        pl_error_t why = { 0 };
        pl_op_t *op = next_of_session(store, deadline, seconds, &why);
        if (!op) {
            store->driver->rollback(store->writer);
            forget_session(store, &why);
            return;
        }
        open = op->verb != PL_VERB_tx_end;
        if (open)
            open = apply_of_session(store, op);
        else
            end_session(store, op);
    }
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
            struct timespec until = monotonic_time(due);
            pthread_cond_timedwait(&store->writer_cond, &store->mutex, &until);
        }
        store->stats.wakeups++;
    }
    return true;
}

static void *writer_main(void *data) {
    pl_store_t *store = data;
    pthread_mutex_lock(&store->mutex);
    while (wait_for_work(store)) {
        bool is_due = turn_is_due(store);
        pl_op_t *ops = ops_take(&store->writes), *begin = begin_session(store);
        int wanted = store->closing ? 0 : store->wanted;
        bool outside = store->outside;
        store->poked = store->outside = false;
        store->stats.batches++;
        pthread_mutex_unlock(&store->mutex);
        if (is_due)
            run_turn(store, ops, wanted, outside);
        if (begin)
            run_session(store, begin);
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

/* ---- reader and checkpointer ------------------------------------------------------------------------------- */

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

static void *reader_main(void *data) {
    pl_store_t *store = data;
    pthread_mutex_lock(&store->mutex);
    for (;;) {
        while (!store->reads.head && !store->closing)
            pthread_cond_wait(&store->reader_cond, &store->mutex);
        pl_op_t *ops = ops_take(&store->reads);
        if (!ops)
            break;
        pthread_mutex_unlock(&store->mutex);
        for (pl_op_t *op = ops; op; op = op->next)
            serve_read(store, op);
        pthread_mutex_lock(&store->mutex);
        post_ops(store, ops);
        pthread_mutex_unlock(&store->mutex);
        store->options.wake(store->options.data);
        pthread_mutex_lock(&store->mutex);
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

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

/* ---- life -------------------------------------------------------------------------------------------------- */

static int init_locks(pl_store_t *store) {
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0)
        return PL_ENOMEM;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->writer_cond, &monotonic);
    pthread_cond_init(&store->reader_cond, NULL);
    pthread_cond_init(&store->checkpoint_cond, NULL);
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
    store->in_memory = strcmp(store->path, ":memory:") == 0;
    return PL_OK;
}

int pl_store_open(pl_store_t **out, const pl_store_options_t *options, pl_error_t *error) {
    *out = NULL;
    pl_store_t *store = pl__alloc(sizeof *store);
    if (!store)
        return PL__FAIL(error, PL_ENOMEM, "out of memory opening %s", options->path);
    store->driver = &pl__sqlite_driver;
    store->renew_at = store->idle_at = PL_USEC_NEVER;
    ops_init(&store->writes);
    ops_init(&store->reads);
    ops_init(&store->begins);
    ops_init(&store->session_ops);
    batch_init(store);
    int rc = init_locks(store);
    if (rc == PL_OK)
        rc = copy_options(store, options);
    if (rc == PL_OK)
        rc = store->driver->open(&store->writer, &store->options, PL__ROLE_WRITER, NULL, error);
    else
        PL__FAIL(error, rc, "out of memory opening %s", options->path);
    if (rc == PL_OK && !store->in_memory)
        rc = store->driver->open(&store->reader, &store->options, PL__ROLE_READER, store->writer, error);
    if (rc == PL_OK) {
        store->has_writer = pthread_create(&store->writer_thread, NULL, writer_main, store) == 0;
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
    bool has_checkpointer = store->has_checkpointer;
    pthread_cond_broadcast(&store->writer_cond);
    pthread_cond_broadcast(&store->reader_cond);
    pthread_cond_broadcast(&store->checkpoint_cond);
    pthread_mutex_unlock(&store->mutex);
    if (store->has_writer)
        pthread_join(store->writer_thread, NULL);
    if (store->has_reader)
        pthread_join(store->reader_thread, NULL);
    if (has_checkpointer)
        pthread_join(store->checkpoint_thread, NULL);
}

void pl_store_close(pl_store_t *store) {
    if (!store)
        return;
    join_threads(store);
    store->driver->close(store->checkpointer);
    store->driver->close(store->reader);
    store->driver->close(store->writer);
    pl_batch_free(&store->batch);
    pthread_mutex_destroy(&store->mutex);
    pthread_cond_destroy(&store->writer_cond);
    pthread_cond_destroy(&store->reader_cond);
    pthread_cond_destroy(&store->checkpoint_cond);
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
#define X(name, write) [PL_VERB_##name] = (write),
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
        ops_push(&store->begins, op);
    } else if (op->session == store->session) {
        store->session_ends = store->session_ends || op->verb == PL_VERB_tx_end;
        ops_push(&store->session_ops, op);
    } else {
        op->next = NULL;
        op->rc = PL_OK;
        if (op->verb != PL_VERB_tx_end || op->u.tx_end.commit || !cancel_begin(store, op->session))
            refuse_op(store, op);
        post_ops(store, op);
        return false;
    }
    pthread_cond_signal(&store->writer_cond);
    return true;
}

/* Queues op with the mutex held. Returns false when it was answered instead: then the loop is to be woken. */
static bool enqueue(pl_store_t *store, pl_op_t *op) {
    op->finished = false;
    if (op->session)
        return enqueue_of_session(store, op);
    if (is_write(op->verb) || store->in_memory) {
        ops_push(&store->writes, op);
        pthread_cond_signal(&store->writer_cond);
        return true;
    }
    if (!store->has_reader)
        store->has_reader = pthread_create(&store->reader_thread, NULL, reader_main, store) == 0;
    if (!store->has_reader) { /* no thread to be had: the writer can read as well */
        ops_push(&store->writes, op);
        pthread_cond_signal(&store->writer_cond);
        return true;
    }
    ops_push(&store->reads, op);
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

static void set_wanted(pl_store_t *store, int wanted) {
    store->wanted = wanted > store->uncollected ? wanted - store->uncollected : 0;
    if (store->wanted > 0 && store->ready_left)
        pthread_cond_signal(&store->writer_cond);
}

void pl_store_submit_list(pl_store_t *store, pl_op_t *ops, int wanted) {
    bool queued = true;
    pthread_mutex_lock(&store->mutex);
    for (pl_op_t *next; ops; ops = next) {
        next = ops->next;
        ops->blocking = false;
        queued = enqueue(store, ops) && queued;
    }
    set_wanted(store, wanted);
    pthread_mutex_unlock(&store->mutex);
    if (!queued)
        store->options.wake(store->options.data);
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
    bool needs_writer = is_write(op->verb) || store->in_memory;
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

bool pl_store_session_rests(pl_store_t *store) {
    pthread_mutex_lock(&store->mutex);
    bool rests = store->session_rests && !store->session_ops.head && !store->batch.ops;
    pthread_mutex_unlock(&store->mutex);
    return rests;
}

void pl_store_end_sessions(pl_store_t *store) {
    pthread_mutex_lock(&store->mutex);
    store->no_sessions = true;
    pthread_cond_broadcast(&store->writer_cond);
    pthread_mutex_unlock(&store->mutex);
}

void pl_store_want(pl_store_t *store, int wanted) {
    pthread_mutex_lock(&store->mutex);
    set_wanted(store, wanted);
    pthread_mutex_unlock(&store->mutex);
}

void pl_store_poke(pl_store_t *store, bool outside) {
    pthread_mutex_lock(&store->mutex);
    store->poked = true;
    store->outside = store->outside || outside;
    pthread_cond_signal(&store->writer_cond);
    pthread_mutex_unlock(&store->mutex);
}

bool pl_store_collect(pl_store_t *store, pl_batch_t *batch) {
    pthread_mutex_lock(&store->mutex);
    *batch = store->batch;
    store->uncollected -= batch->claims_len;
    batch_init(store);
    pthread_mutex_unlock(&store->mutex);
    return batch->ops || batch->claims || batch->finals || batch->has_state || batch->failure.code != 0;
}

void pl_store_stats(pl_store_t *store, pl_store_stats_t *stats) {
    pthread_mutex_lock(&store->mutex);
    *stats = store->stats;
    pthread_mutex_unlock(&store->mutex);
}

const char *pl_store_path(const pl_store_t *store) {
    const char *path = store->driver->path(store->writer);
    return path ? path : store->path;
}
