/*
 * by_verbs.h - turns and reads for drivers that apply one verb after the other, each reading and writing as it goes.
 */
#ifndef PL_STORE_BY_VERBS_H
#define PL_STORE_BY_VERBS_H

#include "store/driver.h"

/* A verb returns PL_OK when it did its work or refused it (the refusal is in op->rc); any other result means that the
 * transaction is broken and must be rolled back. */
typedef int pl__verb_fn(pl__conn_t *conn, pl_op_t *op);

typedef struct {
    int (*begin)(pl__conn_t *conn, pl_error_t *error);
    pl__verb_fn *verb[PL_VERB_COUNT];
    /* Ends the transaction's work: claims, and what a turn tells. */
    int (*finish)(pl__conn_t *conn, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                  pl_error_t *error);
    int (*commit)(pl__conn_t *conn, pl_error_t *error);
    void (*rollback)(pl__conn_t *conn);
    /* Detail of the last broken verb. */
    void (*failure)(pl__conn_t *conn, int rc, pl_error_t *error);
} pl__verbs_t;

/* For pl_store_driver_t.turn. */
int pl__verbs_turn(const pl__verbs_t *verbs, pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena,
                   pl__commit_result_t *turn, pl_error_t *error);
/* Finishes and commits the work of a transaction, or, if that or the work (rc) failed, rolls it back. */
int pl__verbs_end(const pl__verbs_t *verbs, pl__conn_t *conn, int rc, const pl__ask_t *ask, pl__arena_t *arena,
                  pl__commit_result_t *turn, pl_error_t *error);
/* For pl_store_driver_t.read: a transaction for each op, which is then rolled back. */
void pl__verbs_read(const pl__verbs_t *verbs, pl__conn_t *conn, pl_op_t *ops);

#endif
