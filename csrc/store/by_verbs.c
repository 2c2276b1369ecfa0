/*
 * by_verbs.c - a list of ops as a loop over verbs. See by_verbs.h.
 */
#include "store/by_verbs.h"

static void drop_claims(pl__commit_result_t *turn) {
    for (pl_claim_t *claim = turn->claims, *next; claim; claim = next) {
        next = claim->next;
        pl_claim_free(claim);
    }
    *turn = PL__COMMIT_RESULT_NONE;
}

int pl__verbs_end(const pl__verbs_t *verbs, pl__conn_t *conn, int rc, const pl__ask_t *ask, pl__arena_t *arena,
                  pl__commit_result_t *turn, pl_error_t *error) {
    if (rc == PL_OK)
        rc = verbs->finish(conn, ask, arena, turn, error);
    if (rc == PL_OK) {
        int64_t began = pl_clock_monotonic_us();
        rc = verbs->commit(conn, error);
        turn->commit_us = pl_clock_monotonic_us() - began;
    }
    if (rc != PL_OK) {
        verbs->rollback(conn);
        drop_claims(turn);
        pl__arena_free(arena);
    }
    return rc;
}

int pl__verbs_turn(const pl__verbs_t *verbs, pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena,
                   pl__commit_result_t *turn, pl_error_t *error) {
    int rc = verbs->begin(conn, error);
    if (rc != PL_OK)
        return rc;
    for (pl_op_t *op = ops; op && rc == PL_OK; op = op->next) {
        op->rc = PL_OK;
        op->more = false;
        rc = verbs->verb[op->verb](conn, op);
    }
    if (rc != PL_OK)
        verbs->failure(conn, rc, error);
    return pl__verbs_end(verbs, conn, rc, ask, arena, turn, error);
}

void pl__verbs_read(const pl__verbs_t *verbs, pl__conn_t *conn, pl_op_t *ops) {
    for (pl_op_t *op = ops; op; op = op->next) {
        int rc = verbs->begin(conn, &op->error);
        op->rc = rc;
        if (rc != PL_OK)
            continue;
        rc = verbs->verb[op->verb](conn, op);
        if (rc != PL_OK) {
            verbs->failure(conn, rc, &op->error);
            op->rc = rc;
        }
        verbs->rollback(conn); /* nothing was written */
    }
}
