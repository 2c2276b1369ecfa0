/*
 * limits.c - how many tasks of a queue may start now, and how many did.
 *
 * Concurrency is derived from the claims that live, in the transaction that claims: see permits.c. A rate is a bucket
 * of tokens in the row of the queue: it is filled by the time since tokens_time, and emptied in the same transaction
 * that claims; so both limits hold for all processes on the file together, and neither can leak. A full bucket
 * overflows; but what is less than one token too much is kept, for it means that somebody came late: a process that
 * wakes a little after a token is there does not slow the rate. More than that means that nobody wanted it.
 *
 * Who waits for what
 *   a token        conn->next_token: the loop comes back then
 *   a free place   the end of a claim, in this process (conn->blocked) or in another one (it notifies, see claim.c)
 *   a pause        the change of the settings, which notifies
 */
#include "store/sqlite/db.h"

/* A sum of many small parts may miss a whole number by a little. */
#define ALMOST 1e-6

int pl__limits_tokens(pl__conn_t *conn, const pl__queue_t *queue, double *tokens) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_QUEUE_TOKENS, &row, "i", queue->id));
    PL__TRY(pl__sql_step(conn, row, &found));
    *tokens = queue->bucket_size; /* a full bucket to begin with */
    if (!found)
        return PL_OK;
    if (sqlite3_column_type(row, 0) != SQLITE_NULL) {
        double past = (double)(conn->now - sqlite3_column_int64(row, 1)) / (double)PL_USEC_PER_SEC;
        *tokens = sqlite3_column_double(row, 0) + (past > 0 ? past * queue->rate : 0);
        if (*tokens >= queue->bucket_size + 1)
            *tokens = queue->bucket_size;
    }
    pl__sql_end(row);
    return PL_OK;
}

int pl__limits_ask(pl__conn_t *conn, const pl__queue_t *queue, pl_gates_t *gates) {
    gates->paused = queue->paused;
    gates->rate = queue->rate;
    gates->bucket_size = queue->bucket_size;
    return queue->paused || queue->rate <= 0 ? PL_OK : pl__limits_tokens(conn, queue, &gates->tokens);
}

/* Tokens ran out: when does the next one come, if anything waits for it? */
static int note_next_token(pl__conn_t *conn, const pl__queue_t *queue, double tokens) {
    int64_t any;
    if (queue->rate <= 0 || tokens + ALMOST >= 1)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_QUEUE_ANY_READY, &any, 0, "i", queue->id));
    pl_usec_t wait = pl_clock_from_seconds((1 - tokens) / queue->rate);
    pl_usec_t next = pl_clock_add(conn->steady, wait > 0 ? wait : 1);
    if (any && next < conn->next_token && next < PL_USEC_MAX)
        conn->next_token = next;
    return PL_OK;
}

int pl__limits_spend(pl__conn_t *conn, const pl__queue_t *queue, int allowed, int taken) {
    double tokens;
    if (queue->rate < 0 || queue->paused || (taken == 0 && allowed > 0)) /* no rate, or nothing was ready */
        return PL_OK;
    PL__TRY(pl__limits_tokens(conn, queue, &tokens));
    tokens -= taken;
    if (taken > 0)
        PL__TRY(pl__sql_run(conn, PL__SQL_QUEUE_SET_TOKENS, NULL, "idi", queue->id, tokens > 0 ? tokens : 0.0,
                            (int64_t)conn->now));
    return taken == allowed ? note_next_token(conn, queue, tokens) : PL_OK;
}

void pl__limits_note(pl__conn_t *conn, pl__queue_t *queue, int started) {
    queue->started += started;
    conn->any_started = conn->any_started || started > 0;
}

int pl__limits_count(pl__conn_t *conn) {
    for (size_t i = 0; i < conn->queues_len && conn->any_started; i++) {
        pl__queue_t *queue = &conn->queues[i];
        if (queue->started == 0)
            continue;
        PL__TRY(pl__sql_run(conn, PL__SQL_QUEUE_STARTED, NULL, "iii", queue->id, (int64_t)(conn->now / PL_USEC_PER_SEC),
                            (int64_t)queue->started));
        queue->started = 0;
    }
    conn->any_started = false;
    return PL_OK;
}
