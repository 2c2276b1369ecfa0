/*
 * space.c - how large the file is, how much of that is free, and how free pages at its end are given back.
 *
 * A file that this version has made can be shrunk a few pages at a time (auto_vacuum = INCREMENTAL): the last pages
 * move to where there is room. It keeps some free pages all the same, for what comes next. A file of an older version
 * cannot: only VACUUM would change that, which takes the file for as long as it takes to write it anew. Its free pages
 * are used again.
 */
#include <sys/stat.h>

#include "store/sqlite/db.h"

enum { STEP_PAGES = 32, KEPT_PAGES = 256, KEPT_PARTS = 8 };
static const int64_t IDLE_US = 1000 * 1000;
enum { VACUUM_INCREMENTAL = 2 };

static int64_t log_bytes(const pl__conn_t *conn) {
    struct stat facts;
    return conn->names[1] && stat(conn->names[1], &facts) == 0 ? (int64_t)facts.st_size : 0;
}

int pl__space_read(pl__conn_t *conn, pl_space_t *space) {
    int64_t pages, free, size, mode;
    PL__TRY(pl__sql_int(conn, PL__SQL_PAGE_COUNT, &pages, 0, ""));
    PL__TRY(pl__sql_int(conn, PL__SQL_PAGES_FREE, &free, 0, ""));
    PL__TRY(pl__sql_int(conn, PL__SQL_PAGE_SIZE, &size, 0, ""));
    PL__TRY(pl__sql_int(conn, PL__SQL_AUTO_VACUUM, &mode, 0, ""));
    *space = (pl_space_t){ .bytes = pages * size,
                           .free = free * size,
                           .page = size,
                           .log = log_bytes(conn),
                           .shrinks = mode == VACUUM_INCREMENTAL };
    return PL_OK;
}

/* How much may be free: some of what is in use, and not too little. */
static int64_t kept(const pl_space_t *space) {
    int64_t part = (space->bytes - space->free) / KEPT_PARTS, least = KEPT_PAGES * space->page;
    return part > least ? part : least;
}

static int shrink(pl__conn_t *conn, void *data) {
    int64_t unused;
    (void)data;
    for (int i = 0; i < STEP_PAGES && !pl__portion_over(conn); i++)
        PL__TRY(pl__sql_int(conn, PL__SQL_SHRINK, &unused, 0, ""));
    return PL_OK;
}

int pl__space_shrink(pl__conn_t *conn, pl__run_t *run, int64_t *at) {
    pl_space_t space;
    int64_t now = pl_clock_monotonic_us(), rested = conn->sweep.busy_at + IDLE_US;
    PL__TRY(pl__space_read(conn, &space));
    if (!space.shrinks || space.free <= kept(&space) + (conn->sweep.shrinks ? 0 : KEPT_PAGES * space.page)) {
        conn->sweep.shrinks = false;
        return PL_OK;
    }
    if (now >= rested) {
        PL__TRY(run(conn, shrink, NULL));
        conn->sweep.shrinks = true;
        rested = now;
    }
    if (rested < *at)
        *at = rested;
    return PL_OK;
}

/* ---- the verb ---------------------------------------------------------------------------------------------- */

enum { COUNTED_MAX = 10000 };

static int count_due(pl__conn_t *conn, pl__sql_t sql, int64_t state, pl_usec_t age, pl_due_t *due) {
    sqlite3_stmt *row;
    bool found;
    *due = (pl_due_t){ 0 };
    pl_usec_t until = age < 0 ? -1 : conn->now - age;
    PL__TRY(pl__sql_query(conn, sql, &row, "iii", (int64_t)until, (int64_t)COUNTED_MAX + 1, state));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    due->count = sqlite3_column_int64(row, 0);
    due->oldest = sqlite3_column_int64(row, 1);
    pl__sql_end(row);
    due->is_more = due->count > COUNTED_MAX;
    due->count -= due->is_more;
    return PL_OK;
}

int pl__verb_space_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_space_get_t *get = &op->u.space_get;
    const pl_retention_t *retention = &conn->options.retention;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__space_read(conn, &get->space));
    PL__TRY(count_due(conn, PL__SQL_ROOTS_DUE, PL_STAGE_DONE, retention->done, &get->done));
    PL__TRY(count_due(conn, PL__SQL_ROOTS_DUE, PL_STAGE_ABORTED, retention->aborted, &get->aborted));
    PL__TRY(count_due(conn, PL__SQL_DEAD_DUE, 0, retention->dead, &get->dead));
    PL__TRY(count_due(conn, PL__SQL_NAMES_DUE, 0, 0, &get->names));
    get->retention = *retention;
    get->sweeps = conn->options.sweeps;
    return PL_OK;
}
