/*
 * rows.c - rows of queued tasks, as they are read.
 */
#include "store/sqlite/db.h"

int pl__task_read_row(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl_task_t *task, bool *has_detail) {
    *task = (pl_task_t){ .id = sqlite3_column_int64(row, 0),
                         .kind = (pl_task_kind_t)sqlite3_column_int(row, 1),
                         .eta = sqlite3_column_int64(row, 7),
                         .first_try = sqlite3_column_int64(row, 8),
                         .tries = sqlite3_column_int(row, 9),
                         .priority = sqlite3_column_int(row, 10),
                         .status = sqlite3_column_int(row, 11),
                         .retry = PL_RETRY_NONE };
    *has_detail = sqlite3_column_int(row, 12) & PL__TASK_DETAIL;
    PL__TRY(pl__queue_name(conn, sqlite3_column_int64(row, 2), arena, &task->queue));
    PL__TRY(pl__sql_str(row, 3, arena, &task->name));
    PL__TRY(pl__sql_str(row, 4, arena, &task->payload));
    PL__TRY(pl__sql_str(row, 5, arena, &task->request));
    return pl__sql_str(row, 6, arena, &task->tag);
}

static int read_detail(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl_task_t *task) {
    bool found;
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    task->deadline = sqlite3_column_double(row, 2);
    task->retry = pl__retry_read(row, 3);
    int rc = pl__sql_str(row, 0, arena, &task->payload);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 1, arena, &task->request);
    pl__sql_end(row);
    return rc;
}

int pl__task_read_detail(pl__conn_t *conn, pl__arena_t *arena, pl_task_t *task) {
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_GET_DETAIL, &row, "i", (int64_t)task->id));
    return read_detail(conn, row, arena, task);
}

int pl__task_see_detail(pl__conn_t *conn, pl__arena_t *arena, pl_task_t *task) {
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_SEE_DETAIL, &row, "ii", (int64_t)task->id, (int64_t)PL_SEEN_BYTES));
    return read_detail(conn, row, arena, task);
}
