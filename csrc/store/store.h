/*
 * store.h - the memory: the verbs (op.h) over plain C data, and the thread that applies them.
 *
 * Design. The loop thread builds an op (a block of plain data with room for its result), submits it and goes on.
 * The store thread takes everything queued, applies it in one transaction, commits, and hands the ops back in one
 * batch with one wake-up. Claims of new tasks ride in the same transaction. Nothing here includes lua.h or uv.h.
 *
 * Invariants
 *   1. An op comes back (in a batch, or from pl_store_call) after the commit, never before.
 *   2. Each op stands or falls alone: a verb checks everything first and writes afterwards; when a write fails all
 *      the same, the batch is rolled back and its ops are applied one per transaction.
 *   3. A claim belongs to one (worker, claim number); a verb with a stale one changes nothing (PL_ESTALE).
 *   4. Ops of a session (op->session) come back before its commit; what they did is there after its tx_end, or not at
 *      all. Between its tx_begin and its tx_end no other op is applied; they wait.
 *
 * Who owns an op when is told in op.h, what a claim is in claim.h, what the nouns mean in model.h.
 */
#ifndef PL_STORE_STORE_H
#define PL_STORE_STORE_H

#include "base/clock.h"
#include "base/histogram.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/result.h"
#include "base/retry.h"
#include "store/claim.h"
#include "store/model.h"
#include "store/op.h"

typedef struct pl_store pl_store_t;
struct pl_store_driver;

typedef struct {
    const char *path;                     /* a file, or ":memory:" */
    bool durability_full;                 /* synchronous=FULL, else NORMAL */
    const struct pl_store_driver *driver; /* NULL: SQLite */
    const char *vfs;                      /* NULL: the default one */
    int file_mode;      /* permissions of a file that is made; 0: 0600; what an existing one may allow to others */
    bool must_exist;    /* only what is a store is opened */
    const char *serves; /* names of the queues whose tasks are claimed, each with a line break behind; NULL: all */
    const pl_clock_t *clock;
    const pl_log_t *log;
    void (*wake)(void *data); /* from a store thread: something waits to be collected */
    void *data;
    double lease_seconds;     /* default 15 */
    double tombstone_seconds; /* how long the name of a finished task stays taken; default 9 days */
    int64_t storage_limit;    /* bytes in use above which task_add is refused (PL_ELIMIT); 0: none */
    pl_retention_t retention; /* how long what is over is kept */
    bool sweeps;              /* deletes what is older; else only the verb does */
    int64_t portion_us;       /* tests: how long a portion may take; 0: the default */
} pl_store_options_t;

/* What the store thread brings back since the last time, for the loop thread. */
typedef struct {
    pl_op_t *ops;       /* owned list, in the order finished */
    pl_claim_t *claims; /* owned list, in the order to be run */
    int claims_len;
    pl_watch_event_t
        *finals;          /* watched stages that became final, runs that were aborted; in the batch's arena, as are */
    pl_recall_t *recalls; /* queues whose claims are asked back, newest first */
    bool has_state;       /* the fields below are of a commit (reads alone bring none) */
    bool ready_left;      /* more is ready than was wanted */
    pl_usec_t next_due;   /* eta of the next delayed task, PL_USEC_NEVER if none */
    pl_usec_t next_fire;  /* wall clock: when a schedule fires next, or NEVER */
    pl_usec_t next_token; /* steady clock: when a queue whose rate holds ready tasks back may start one; or NEVER */
    int64_t commit_us;    /* what the last commit itself took, after its ops were applied; 0: there was none */
    pl_error_t failure;   /* code != 0: claiming failed, want is back at 0 */
    pl__arena_t arena;
} pl_batch_t;

/* Opens or creates the file, brings its schema up to date and starts the threads. */
int pl_store_open(pl_store_t **store, const pl_store_options_t *options, pl_error_t *error) PL__MUST_USE;
/* Applies what is queued, joins the threads and frees everything, undelivered batches included. NULL is fine. */
void pl_store_close(pl_store_t *store);

/* Takes op; it comes back in a batch. */
void pl_store_submit(pl_store_t *store, pl_op_t *op);
/* Takes op, of a session, for good: it does not come back, and nobody waits for it. If it is refused, or breaks the
 * transaction, the session is over, and the next op of it is told what happened. */
void pl_store_send_ahead(pl_store_t *store, pl_op_t *op);
/* Takes a list of ops (in order) and says how many more tasks this process can take, as pl_store_want does. */
void pl_store_submit_list(pl_store_t *store, pl_op_t *ops, int wanted);
/* The same, and says how many of a queue with max_concurrent may be claimed beyond that: whoever gives more than 0
 * heeds the permits of claims, and recalls. */
void pl_store_submit_ahead(pl_store_t *store, pl_op_t *ops, int wanted, int ahead);
/* Blocks until op is committed, for as long as it takes; returns op->rc. The op is the caller's again. Batches go on
 * gathering. */
int pl_store_call(pl_store_t *store, pl_op_t *op);
/* Whether op, which is not queued, would have to wait until somebody ends a session: if that is the caller, it must
 * not. False when the store itself will end it, for its time is up. */
bool pl_store_would_wait(pl_store_t *store, const pl_op_t *op);
/* Whether a session is open and nothing will happen before its next op: all that was asked of it has been collected. */
bool pl_store_session_is_idle(pl_store_t *store);
/* The store is about to be closed: rolls back the session that is open, and refuses all others from now on; what waits
 * because nobody can be reached is tried once more, and then refused (PL_ELOST). */
void pl_store_end_sessions(pl_store_t *store);
/* How many more tasks this process can take now. Replaces the last value, less what is on its way. */
void pl_store_want(pl_store_t *store, int wanted);
/* Asks for a turn of the store thread even with nothing queued: a task fell due, or (outside) another process sent
 * a notice. */
void pl_store_wake(pl_store_t *store, bool outside);
/* Whether the ends of all stages are to be told of, and not only of those that are watched. Any thread. */
void pl_store_tell_finals(pl_store_t *store, bool on);
/* Moves what waits into *batch; false if nothing does. Calls no done function. */
bool pl_store_collect(pl_store_t *store, pl_batch_t *batch);
void pl_batch_free(pl_batch_t *batch); /* what is still in it, not the struct */

typedef struct {
    uint64_t commits, ops, claims, batches, checkpoints, wakeups;
    uint64_t changes;            /* ops of this process after which the store is another one to whoever looks at it */
    uint64_t reading_us;         /* processor time of what was read apart from writes */
    pl_usec_t unreachable_since; /* wall clock: nobody is reached, and what is asked waits; 0: the store is reached */
} pl_store_stats_t;
void pl_store_stats(pl_store_t *store, pl_store_stats_t *stats);
/* How long transactions took (us), and of how many ops they were. */
void pl_store_meter(pl_store_t *store, pl_histogram_t *us, pl_histogram_t *ops);
bool pl_store_serves(const pl_store_t *store, pl_str_t queue); /* whether it claims tasks of that queue */

typedef struct {
    const char *driver;  /* static: its name */
    const char *version; /* static: of the database library */
    const char *path;    /* borrows until close: the name of the store, with all links followed */
    const char *log;     /* borrows until close: a file that every commit of any process writes to; NULL: none */
} pl_store_facts_t;
void pl_store_facts(const pl_store_t *store, pl_store_facts_t *facts);
const char *pl_store_path(const pl_store_t *store); /* as in its facts */

/* ---- other processes on the same store: by the thread that runs the loop ---- */
typedef struct {
    bool possible;         /* there may be some; else the rest says nothing */
    bool death_is_certain; /* it is known at once when one is gone; else its lease has to end first */
    int listen_fd; /* readable when pl_store_receive has something to tell; -1: nobody notifies, look now and then */
} pl_store_peers_t;
void pl_store_peers(const pl_store_t *store, pl_store_peers_t *peers);
/* What is new: a commit of another one that may have made work for this one; one that may be gone. */
void pl_store_receive(pl_store_t *store, bool *work, bool *gone);

/* Before anything else in the process uses the database library: its locks of files belong from now on to open files,
 * not to the process. Idempotent. */
void pl_store_guard_locks(void);

#endif
