/*
 * driver.h - what a backend gives a store: turns, reads, sessions, upkeep, and news of other processes.
 *
 * A driver gets all that was queued at once, as a list, and makes one transaction of it: over a network that is one
 * round trip, and locks can be taken in one order. How it does so is its own; one that works verb by verb, as SQLite's
 * does, has help in by_verbs.h. Every function but `can` and `install` is called by the thread that owns the
 * connection, so a driver needs no locks of its own: the listener's is the thread of the loop, the others are the
 * store's.
 *
 * Ops of a list are applied in its order, and each stands or falls alone: a refusal is in op->rc. Whatever else goes
 * wrong breaks the transaction: nothing was done then, and nothing is in *turn.
 *
 * An op that would keep the others waiting may be done in portions: with op->more set it comes again in a later turn.
 */
#ifndef PL_STORE_DRIVER_H
#define PL_STORE_DRIVER_H

#include "store/store.h"

enum { PL__DRIVER_VERSION = 4 };

typedef struct pl__conn pl__conn_t;

/* WRITER: turns, sessions, keep, and notify. READER: reads. ASIDE: what keep asked for. LISTENER: receives notices. */
typedef enum { PL__ROLE_WRITER, PL__ROLE_READER, PL__ROLE_ASIDE, PL__ROLE_LISTENER } pl__role_t;

enum {
    PL__CAN_READ_APART = 1,  /* another connection sees what the writer has committed; else the writer reads, too */
    PL__CAN_SQL = 2,         /* it takes the verb sql in sessions */
    PL__CAN_SHARE = 4,       /* other processes may work on the same data, */
    PL__CAN_NOTIFY = 8,      /* notify each other (else the engine looks now and then), */
    PL__CAN_PROVE_DEATH = 16 /* and are known to be gone as soon as they are; else their leases have to end first */
};

/* What a notice tells. */
enum {
    PL__NOTIFY_WORK = 1, /* a commit of another process: there may be something to claim, or to be told */
    PL__NOTIFY_GONE = 2  /* received only: a worker may be gone */
};

/* What is known of another worker: it lives; nothing, so that its lease decides; it has ended. */
typedef enum { PL__ALIVE, PL__SILENT, PL__GONE } pl__life_t;

/* Asked of a turn, besides its ops. */
typedef struct {
    int wanted; /* claims, at most */
    int ahead;  /* of a queue with max_concurrent: so many more than may be executed. A driver need not heed it */
    bool look;  /* another process may have changed what we watch: trust nothing remembered */
    bool tell;  /* of all stages that become final from now on. A driver need not heed it */
} pl__ask_t;

/* What a committed transaction tells the loop, besides the results in its ops. */
typedef struct {
    pl_claim_t *claims; /* owned list */
    int claims_len;
    pl_watch_event_t *finals; /* lists in the arena given to the turn */
    pl_recall_t *recalls;
    bool ready_left;
    unsigned notify; /* what others should be told of: PL__NOTIFY_* */
    pl_usec_t next_due, next_token;
    pl_usec_t next_fire; /* wall clock: when a schedule fires; PL_USEC_NEVER: none does */
    int64_t commit_us;   /* what the commit itself took, after the last op was applied */
} pl__commit_result_t;
#define PL__COMMIT_RESULT_NONE                                                                                         \
    ((pl__commit_result_t){ .next_due = PL_USEC_NEVER, .next_token = PL_USEC_NEVER, .next_fire = PL_USEC_NEVER })

typedef struct pl_store_driver {
    int version;      /* PL__DRIVER_VERSION, */
    size_t op_size;   /* and sizeof(pl_op_t): both as the driver was compiled */
    const char *name; /* static */
    /* PL__CAN_* of a store opened with these options. */
    unsigned (*can)(const pl_store_options_t *options);
    /* What has to be done once in a process before anybody uses the backend's library. NULL: nothing. Idempotent. */
    void (*install)(void);
    /* `writer`: the first connection of the store, open on the same data; NULL: this is to be it. */
    int (*open)(pl__conn_t **conn, const pl_store_options_t *options, pl__role_t role, const pl__conn_t *writer,
                pl_error_t *error);
    void (*close)(pl__conn_t *conn); /* NULL is fine */
    /* One transaction over all ops (NULL: none), durable when it returns PL_OK; without ops, what it claims may become
     * so a little later. PL_EAGAIN: nothing was done, the same list may be given again. PL_ELOST: nothing was done, and
     * nobody can be reached; it is given again until somebody is. Others: it is broken. In each case ops may be given
     * again, so no result is written over what an op asks. */
    int (*turn)(pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                pl_error_t *error);
    /* Ops that only look, each with a result of its own: op->rc, op->error. PL_ELOST: as in a turn. */
    void (*read)(pl__conn_t *conn, pl_op_t *ops);
    /* A session begins: it may last for `span` from when it has begun; *deadline (monotonic us) is when it must be
     * over. Statements of it are interrupted then. PL_ELOST: as in a turn; later it ends the session. */
    int (*session_begin)(pl__conn_t *conn, pl_usec_t span, int64_t *deadline, pl_error_t *error);
    /* An op of the session; what borrows from it is not put off. Not PL_OK: the session is over, op->error says why. */
    int (*session_apply)(pl__conn_t *conn, pl_op_t *op);
    /* The session is over. With `commit` it ends as a turn does; else, or when that fails, it never was. */
    int (*session_end)(pl__conn_t *conn, bool commit, const pl__ask_t *ask, pl__arena_t *arena,
                       pl__commit_result_t *turn, pl_error_t *error);
    /* Leases, logs and the like: after each turn, and (idle) at *next (monotonic us; PL_USEC_NEVER: never) when
     * nothing has happened until then. *aside, if not 0, is work for a connection of that role, which is told it. */
    void (*keep)(pl__conn_t *conn, bool idle, int64_t *next, int *aside);
    int (*aside)(pl__conn_t *conn, int what);
    /* Drivers with PL__CAN_NOTIFY. After a commit: tells the others. May not wait for the disk, and may get lost. */
    void (*notify)(pl__conn_t *writer, unsigned what);
    /* A descriptor that is readable when a notice has come, as long as the connection is open; -1: none today. */
    int (*listen_fd)(const pl__conn_t *listener);
    /* Reads what has come; returns what it was: PL__NOTIFY_*. */
    unsigned (*receive)(pl__conn_t *listener);
    void (*facts)(const pl__conn_t *conn, pl_store_facts_t *facts);
} pl_store_driver_t;

extern const pl_store_driver_t pl__sqlite_driver;

/* The driver for these options; NULL, with *error set: there is none. */
const pl_store_driver_t *pl__driver_for(const pl_store_options_t *options, pl_error_t *error);

#endif
