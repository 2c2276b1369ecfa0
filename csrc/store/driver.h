/*
 * driver.h - what a backend gives the store thread: connections, transactions, and one function per verb.
 *
 * A verb returns PL_OK when it did its work or refused it (the refusal is in op->rc); any other result means that
 * the transaction is broken and must be rolled back. Verbs run on the thread that owns the connection, so a backend
 * needs no locks of its own. SQLite is the first backend; a second one is a second table of this kind.
 */
#ifndef PL_STORE_DRIVER_H
#define PL_STORE_DRIVER_H

#include "store/store.h"

enum { PL__DRIVER_VERSION = 2 };

typedef struct pl__conn pl__conn_t;

typedef enum { PL__ROLE_WRITER, PL__ROLE_READER, PL__ROLE_CHECKPOINTER } pl__role_t;

/* What a committed transaction tells the loop, besides the results in its ops. */
typedef struct {
    pl_claim_t *claims; /* owned list */
    int claims_len;
    pl_final_t *finals; /* list in the arena given to finish */
    bool ready_left;
    bool ring;
    pl_usec_t next_due, next_token;
} pl__turn_t;

typedef struct pl_store_driver {
    int version;
    /* `writer`: the first connection of the store, open on the same files; NULL: this is to be it. */
    int (*open)(pl__conn_t **conn, const pl_store_options_t *options, pl__role_t role, const pl__conn_t *writer,
                pl_error_t *error);
    void (*close)(pl__conn_t *conn);
    /* Borrows until close: the name of the store with all links followed; NULL: it has none. */
    const char *(*path)(const pl__conn_t *conn);
    int (*begin)(pl__conn_t *conn, pl_error_t *error);
    int (*verb[PL_VERB_COUNT])(pl__conn_t *conn, pl_op_t *op);
    /* An op of a session: as its verb, and nothing is put off that borrows from the op. */
    int (*apply)(pl__conn_t *conn, pl_op_t *op);
    /* A session begins: its statements are interrupted at `deadline` (monotonic us). PL_USEC_NEVER: it is over. */
    void (*set_session)(pl__conn_t *conn, int64_t deadline);
    /* Ends the transaction's work: claims up to `wanted` tasks, fills *turn. `outside`: another process may have
     * changed what we watch. */
    int (*finish)(pl__conn_t *conn, int wanted, bool outside, pl__arena_t *arena, pl__turn_t *turn, pl_error_t *error);
    int (*commit)(pl__conn_t *conn, pl_error_t *error);
    void (*rollback)(pl__conn_t *conn);
    /* Detail of the last broken verb. */
    void (*failure)(pl__conn_t *conn, int rc, pl_error_t *error);
    /* Renews the worker's lease; *next is when to come back (monotonic us), PL_USEC_NEVER while nothing is claimed. */
    int (*renew)(pl__conn_t *conn, int64_t *next);
    /* Pages in the log that no checkpoint has moved yet; checkpoint moves them, and with `truncate` cuts the log. */
    int (*log_pages)(const pl__conn_t *conn);
    /* Size of the log: now, or (not fresh) after the last commit. */
    int64_t (*log_bytes)(pl__conn_t *conn, bool fresh);
    int (*checkpoint)(pl__conn_t *conn, bool truncate);
} pl_store_driver_t;

extern const pl_store_driver_t pl__sqlite_driver;

#endif
