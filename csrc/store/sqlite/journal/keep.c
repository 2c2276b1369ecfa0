/*
 * keep.c - journals of durable functions that are over, and how long they are kept (pl_retention_t).
 *
 * Those that were aborted are kept longer than those that are done, but are listed among them, in the order in which
 * they ended: so a round goes from the oldest on, passes what is to stay, and goes on behind that in the next portion.
 */
#include "store/sqlite/db.h"

enum { FLOWS = 64 }; /* at a time */

typedef struct {
    pl_id_t stage;
    pl_usec_t ended;
    int state;
} over_t;

static int read_over(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    (void)arena;
    *(over_t *)item =
        (over_t){ sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1), sqlite3_column_int(row, 2) };
    return PL_OK;
}

/* Those behind where the round is, up to `until`. */
static int list_over(pl__conn_t *conn, const pl__sweep_t *sweep, pl_usec_t until, const over_t **list, size_t *len) {
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_FLOWS_ENDED, &row, "iiii", sweep->journal_time, (int64_t)sweep->journal,
                          (int64_t)until, (int64_t)FLOWS));
    *list = pl__sql_list(conn, row, &conn->scratch, read_over, sizeof **list, len, &rc);
    return rc;
}

/* Below 0: for ever. */
static pl_usec_t age_of(const pl__conn_t *conn, const over_t *over) {
    const pl_retention_t *ages = &conn->options.retention;
    return over->state == PL_STAGE_DONE ? ages->journals_done : ages->journals_aborted;
}

pl_usec_t pl__journals_age(const pl__conn_t *conn) {
    pl_usec_t done = conn->options.retention.journals_done, aborted = conn->options.retention.journals_aborted;
    return done < 0 || (aborted >= 0 && aborted < done) ? aborted : done;
}

static int sweep_one(pl__conn_t *conn, pl__sweep_t *sweep, const over_t *over) {
    pl_usec_t age = age_of(conn, over);
    if (age >= 0 && over->ended <= conn->now - age)
        PL__TRY(pl__flow_forget(conn, over->stage));
    else if (age >= 0 && pl_clock_add(over->ended, age) < sweep->journals_next)
        sweep->journals_next = pl_clock_add(over->ended, age);
    sweep->journal_time = over->ended;
    sweep->journal = over->stage;
    return PL_OK;
}

int pl__journals_sweep(pl__conn_t *conn, pl__sweep_t *sweep, bool *more) {
    pl_usec_t age = pl__journals_age(conn);
    pl_usec_t until = conn->now - age;
    size_t len = FLOWS;
    *more = false;
    if (age < 0 || age > conn->now)
        return PL_OK;
    if (sweep->journal == 0) /* a round begins */
        sweep->journals_next = PL_USEC_NEVER;
    while (len == FLOWS && !*more) {
        const over_t *list;
        PL__TRY(list_over(conn, sweep, until, &list, &len));
        for (size_t i = 0; i < len && !*more; i++) {
            PL__TRY(sweep_one(conn, sweep, &list[i]));
            *more = pl__portion_over(conn);
        }
    }
    if (*more)
        return PL_OK;
    sweep->journal_time = sweep->journal = 0;
    sweep->journals_until = until;
    return PL_OK;
}

int pl__journals_due(pl__conn_t *conn, const pl__sweep_t *sweep, pl_usec_t *due) {
    pl_usec_t age = pl__journals_age(conn), first;
    *due = PL_USEC_NEVER;
    if (age < 0)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_FLOW_ENDED_FIRST, &first, PL_USEC_NEVER, "ii", sweep->journals_until,
                        (int64_t)PL_USEC_MAX));
    *due = pl_clock_add(first, age);
    if (sweep->journals_next && sweep->journals_next < *due)
        *due = sweep->journals_next;
    return PL_OK;
}
