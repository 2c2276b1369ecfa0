/*
 * rows.c - rows of queued tasks, as they are read.
 */
#include "store/sqlite/db.h"

int pl__task_read_row(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl_task_t *task, bool *large) {
    *task = (pl_task_t){ .id = sqlite3_column_int64(row, 0),
                         .kind = (pl_task_kind_t)sqlite3_column_int(row, 1),
                         .eta = sqlite3_column_int64(row, 7),
                         .first_try = sqlite3_column_int64(row, 8),
                         .tries = sqlite3_column_int(row, 9),
                         .priority = sqlite3_column_int(row, 10),
                         .status = sqlite3_column_int(row, 11),
                         .deadline = sqlite3_column_double(row, 12),
                         .retry = pl__retry_read(row, 13) };
    *large = sqlite3_column_int(row, 19) != 0;
    PL__TRY(pl__queue_name(conn, sqlite3_column_int64(row, 2), arena, &task->queue));
    PL__TRY(pl__sql_str(row, 3, arena, &task->name));
    PL__TRY(pl__sql_str(row, 4, arena, &task->payload));
    PL__TRY(pl__sql_str(row, 5, arena, &task->request));
    return pl__sql_str(row, 6, arena, &task->tag);
}

static int read_large(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl_str_t *payload, pl_str_t *request) {
    bool found;
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int rc = pl__sql_str(row, 0, arena, payload);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 1, arena, request);
    pl__sql_end(row);
    return rc;
}

int pl__task_read_large(pl__conn_t *conn, pl_id_t task, pl__arena_t *arena, pl_str_t *payload, pl_str_t *request) {
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_GET_LARGE, &row, "i", (int64_t)task));
    return read_large(conn, row, arena, payload, request);
}

int pl__task_see_large(pl__conn_t *conn, pl__arena_t *arena, pl_task_t *task) {
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_SEE_LARGE, &row, "ii", (int64_t)task->id, (int64_t)PL_SEEN_BYTES));
    return read_large(conn, row, arena, &task->payload, &task->request);
}
