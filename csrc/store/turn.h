/*
 * turn.h - a store as its own files see it: what its threads share, and what turn.c, session.c, outage.c and threads.c
 * do.
 *
 * Private to csrc/store.
 *
 * Locks. One mutex guards everything in pl_store_t below the line marked so; no callback is made while it is held.
 *
 * Invariants
 *   1. Room for results is part of what was submitted: posting cannot fail.
 *   2. When a transaction breaks, or others are in its way time after time, it is rolled back and each of its ops gets
 *      a transaction of its own, so that one bad op cannot take others with it.
 *   3. Ops of a session are in session_ops only while store->session is theirs; all others are answered at once.
 *   4. When nobody can be reached, ops stay in their order until they were done, or the store closes.
 *   5. wanted + claims not yet collected never exceeds what the loop said it can take.
 */
#ifndef PL_STORE_TURN_H
#define PL_STORE_TURN_H

#include <pthread.h>
#include <time.h>

#include "base/process.h"
#include "store/driver.h"

/* While nobody can be reached: of one thread, which alone writes it. See outage.c. */
typedef struct {
    pl_usec_t since; /* wall clock; 0: the store is reached */
    int64_t began;   /* monotonic us */
    int tries;       /* that have failed */
    bool was_ending; /* before the last of them the store was about to close */
} pl__outage_t;

struct pl_store {
    const pl_store_driver_t *driver;
    pl_store_options_t options;
    char *path, *vfs, *serves;
    unsigned can;     /* the driver, with these options */
    bool reads_apart; /* there is a reader */
    pl__conn_t *writer, *reader, *aside, *listener;
    pthread_t writer_thread, reader_thread, aside_thread;
    /* ---- guarded by mutex ---- */
    pthread_mutex_t mutex;
    pthread_cond_t writer_cond, reader_cond, aside_cond, done_cond;
    bool has_writer, has_reader, has_aside, closing;
    int aside_due; /* what keep asked to be done aside; 0: nothing */
    pl__ops_t writes, reads;
    pl__ops_t begins;      /* sessions that wait for their turn: tx_begin */
    pl_session_t session;  /* the one that is beginning or open; 0: none */
    pl__ops_t session_ops; /* its ops */
    bool session_ends;     /* one of them is its tx_end */
    int64_t session_over;  /* when its time is up, monotonic us; PL_USEC_NEVER: it is beginning */
    bool session_is_idle; /* it is open, and no op of it is under way: from the answer to one until the next is taken */
    bool no_sessions;     /* pl_store_end_sessions was called */
    pl_session_t last;    /* session that ended by itself */
    pl_error_t last_why;
    pl_error_t unheard; /* the failure of an op sent ahead that ended it, until the next op is told; code PL_OK: none */
    bool is_woken, outside, ready_left, tells;
    int wanted, ahead, uncollected;
    int64_t keep_at;  /* monotonic us: when to look after the store if nothing happens */
    pl_batch_t batch; /* gathers until collected */
    pl_op_t **batch_ops_tail;
    pl_claim_t **batch_claims_tail;
    pl_watch_event_t **batch_finals_tail;
    pl_store_stats_t stats;
    pl_histogram_t commit_us, commit_ops;
    pl__outage_t outage, reader_outage; /* the writer's, and the reader's */
};

/* ---- turn.c ---- */
void pl__batch_init(pl_store_t *store);
/* Hands back a list of ops (mutex held); a blocking one may be gone afterwards. */
void pl__post_ops(pl_store_t *store, pl_op_t *op);
/* Hands back ops that were never done, for nobody could be reached (mutex not held). */
void pl__refuse_ops(pl_store_t *store, pl_op_t *ops, const pl_error_t *why);
/* Posts what a committed turn brought, and its ops. */
void pl__turn_finish(pl_store_t *store, pl_op_t *ops, pl__commit_result_t *turn, pl__arena_t *arena);
/* One transaction over all ops, or, if it breaks, one for each; again for as long as nobody can be reached. */
void pl__turn_run(pl_store_t *store, pl_op_t *ops, pl__ask_t ask);

/* ---- session.c ---- */
/* An op of a session that is over, or has never begun (mutex held). */
void pl__session_refuse(pl_store_t *store, pl_op_t *op);
/* Takes the next one that wants to begin, if there is one (mutex held). */
pl_op_t *pl__session_next(pl_store_t *store);
/* From its tx_begin to its end; the writer does nothing else meanwhile. */
void pl__session_run(pl_store_t *store, pl_op_t *begin);

/* ---- outage.c ---- */
/* After PL_ELOST: notes it, and waits until it is time for another try, on the thread's condition (mutex not held).
 * False: there will be none, for the store is about to close. */
bool pl__outage_wait(pl_store_t *store, pl__outage_t *outage, pthread_cond_t *cond, const pl_error_t *why);
/* After anything else. */
void pl__outage_over(pl_store_t *store, pl__outage_t *outage);
/* Wall clock; 0: the store is reached (mutex held). */
pl_usec_t pl__outage_since(const pl_store_t *store);

/* ---- threads.c: mains of the threads, for pthread_create ---- */
void *pl__writer_main(void *data);
void *pl__reader_main(void *data);

#endif
