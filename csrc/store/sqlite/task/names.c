/*
 * names.c - names of tasks, and their tombstones.
 *
 * A name is taken while its task lives, and for some time after: pl_task_name keeps it as a tombstone until it expires.
 */
#include "store/sqlite/db.h"

enum { EXPIRES = 4 }; /* tombstones that go when one is made */

static pl_usec_t tombstone_until(const pl__conn_t *conn) {
    return pl_clock_add(conn->now, pl_clock_from_seconds(conn->options.tombstone_seconds));
}

typedef struct {
    int64_t queue;
    pl_str_t name;
} tombstone_t;

static int read_tombstone(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    tombstone_t *tombstone = item;
    (void)conn;
    tombstone->queue = sqlite3_column_int64(row, 0);
    return pl__sql_str(row, 1, arena, &tombstone->name);
}

/* One by one: a DELETE of a list of pairs looks through all names of each queue. */
int pl__names_expire(pl__conn_t *conn, int limit, int *deleted) {
    sqlite3_stmt *row;
    size_t len;
    int rc;
    *deleted = 0;
    PL__TRY(pl__sql_query(conn, PL__SQL_NAMES_EXPIRED, &row, "ii", (int64_t)conn->now, (int64_t)limit));
    const tombstone_t *list = pl__sql_list(conn, row, &conn->scratch, read_tombstone, sizeof *list, &len, &rc);
    for (size_t i = 0; rc == PL_OK && i < len; i++)
        rc = pl__sql_run(conn, PL__SQL_NAME_FORGET, NULL, "it", list[i].queue, list[i].name);
    *deleted = (int)len;
    return rc;
}

int pl__tombstone_put(pl__conn_t *conn, int64_t queue, pl_str_t name) {
    int deleted;
    PL__TRY(pl__sql_run(conn, PL__SQL_TOMBSTONE_PUT, NULL, "iti", queue, name, (int64_t)tombstone_until(conn)));
    return pl__names_expire(conn, EXPIRES, &deleted);
}

int pl__task_end_of_stage(pl__conn_t *conn, pl_id_t stage, int *count) {
    sqlite3_stmt *row;
    bool found;
    *count = 0;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_DELETE_OF_STAGE, &row, "i", (int64_t)stage));
    int rc = pl__sql_step(conn, row, &found);
    while (rc == PL_OK && found) {
        pl_str_t name;
        int64_t queue = sqlite3_column_int64(row, 0);
        ++*count;
        rc = pl__sql_str(row, 1, &conn->scratch, &name);
        if (rc == PL_OK && name.ptr)
            rc = pl__tombstone_put(conn, queue, name);
        if (rc == PL_OK)
            rc = pl__sql_step(conn, row, &found);
    }
    pl__sql_end(row);
    conn->due_unknown = conn->due_unknown || *count > 0; /* the next delayed task may be among them */
    return rc;
}

int pl__task_end(pl__conn_t *conn, pl_id_t task) {
    sqlite3_stmt *row;
    bool found;
    pl_str_t name;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_DELETE, &row, "i", (int64_t)task));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int64_t queue = sqlite3_column_int64(row, 0);
    bool has_detail = sqlite3_column_int(row, 2) & PL__TASK_DETAIL;
    int rc = pl__sql_str(row, 1, &conn->scratch, &name);
    pl__sql_end(row);
    PL__TRY(rc);
    if (has_detail)
        PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DELETE_DETAIL, NULL, "i", (int64_t)task));
    if (name.ptr)
        PL__TRY(pl__tombstone_put(conn, queue, name));
    return pl__note_over(conn, task, PL_FIRE_CANCELLED);
}
