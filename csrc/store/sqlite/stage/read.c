/*
 * read.c - the verbs that only look.
 */
#include "store/sqlite/db.h"

static int find_stage(pl__conn_t *conn, pl_id_t *stage, pl_str_t key) {
    return key.ptr ? pl__sql_int(conn, PL__SQL_STAGE_BY_KEY, stage, 0, "b", key) : PL_OK;
}

static int read_work(pl__conn_t *conn, pl_op_t *op, pl_stage_t *stage) {
    pl__fronts_t fronts = { .len = 0 };
    int budget = PL_TALLY_MAX;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__work_read(conn, stage, &op->arena, &fronts));
    return pl__tally_read(conn, stage, &op->arena, &budget);
}

/* *stage is in the arena; NULL: there is none. */
static int read_record(pl__conn_t *conn, pl_id_t id, pl__arena_t *arena, pl_stage_t **stage) {
    bool found = false;
    pl_stage_t *record = pl__arena_get(arena, sizeof *record);
    if (!record)
        return PL_ENOMEM;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__stage_find(conn, id, true, arena, record, &found));
    *stage = found ? record : NULL;
    return PL_OK;
}

int pl__verb_stage_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_stage_get_t *get = &op->u.stage_get;
    PL__TRY(find_stage(conn, &get->stage, get->key));
    PL__TRY(read_record(conn, get->stage, &op->arena, &get->result));
    if (get->result && get->with_work)
        PL__TRY(read_work(conn, op, get->result));
    if (!get->result || !get->with_slots)
        return PL_OK;
    return pl__slots_load(conn, get->result, 1, true, true, &op->arena, &get->slots, &get->slots_len);
}

int pl__stage_read_final(pl__conn_t *conn, pl__arena_t *arena, pl_watch_event_t *final) {
    pl_stage_t *stage;
    PL__TRY(read_record(conn, final->stage, arena, &stage));
    if (!stage || stage->state != final->state)
        return PL_OK;
    PL__TRY(pl__slots_load(conn, stage, 1, true, true, arena, &final->slots, &final->slots_len));
    final->record = stage;
    return PL_OK;
}

static int read_stage(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    return pl__stage_read_row(conn, row, arena, item);
}

static int read_stages(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl_stage_t **stages, size_t *len) {
    int rc;
    *stages = pl__sql_list(conn, row, arena, read_stage, sizeof **stages, len, &rc);
    for (size_t i = 0; rc == PL_OK && i < *len; i++)
        rc = pl__stage_read_large(conn, arena, &(*stages)[i]);
    return rc;
}

int pl__verb_tree_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_tree_get_t *get = &op->u.tree_get;
    pl_stage_t stage;
    bool found;
    sqlite3_stmt *row;
    get->len = 0;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(find_stage(conn, &get->stage, get->key));
    PL__TRY(pl__stage_find(conn, get->stage, true, &op->arena, &stage, &found));
    if (!found)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_TREE, &row, "i", (int64_t)stage.root));
    PL__TRY(read_stages(conn, row, &op->arena, &get->stages, &get->len));
    return pl__slots_load(conn, get->stages, get->len, false, true, &op->arena, &get->slots, &get->slots_len);
}

int pl__verb_roots_list(pl__conn_t *conn, pl_op_t *op) {
    pl_op_roots_list_t *list = &op->u.roots_list;
    sqlite3_stmt *row;
    int64_t before = list->before ? list->before : INT64_MAX;
    int64_t limit = list->limit > 0 ? list->limit : 50;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    if (list->class_path.ptr)
        PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_ROOTS_OF_CLASS, &row, "iit", before, limit + 1, list->class_path));
    else
        PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_ROOTS, &row, "ii", before, limit + 1));
    PL__TRY(read_stages(conn, row, &op->arena, &list->stages, &list->len));
    list->next = 0;
    if (list->len > (size_t)limit) {
        list->len = (size_t)limit;
        list->next = list->stages[list->len - 1].id;
    }
    pl__fronts_t fronts = { .len = 0 };
    for (size_t i = 0; i < list->len; i++)
        PL__TRY(pl__work_read(conn, &list->stages[i], &op->arena, &fronts));
    return pl__slots_load(conn, list->stages, list->len, false, true, &op->arena, &list->slots, &list->slots_len);
}

static int read_count(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    pl_count_t *count = item;
    (void)conn;
    *count = (pl_count_t){ .ready = sqlite3_column_int64(row, 1),
                           .delayed = sqlite3_column_int64(row, 2),
                           .claimed = sqlite3_column_int64(row, 3),
                           .held = sqlite3_column_int(row, 4) != 0 };
    return pl__sql_str(row, 0, arena, &count->queue);
}

int pl__verb_counts_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_counts_get_t *get = &op->u.counts_get;
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_COUNTS, &row, ""));
    get->counts = pl__sql_list(conn, row, &op->arena, read_count, sizeof *get->counts, &get->len, &rc);
    PL__TRY(rc);
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_COUNT, &get->stages, 0, ""));
    return pl__sql_int(conn, PL__SQL_WORKERS_OTHER, &get->workers, 0, "i", INT64_C(0));
}

static int read_failure(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    pl_failure_t *failure = item;
    (void)conn;
    *failure = (pl_failure_t){ .time = sqlite3_column_int64(row, 0), .attempt = sqlite3_column_int(row, 1) };
    PL__TRY(pl__sql_str(row, 2, arena, &failure->worker));
    PL__TRY(pl__sql_str(row, 3, arena, &failure->error_class));
    PL__TRY(pl__sql_str(row, 4, arena, &failure->message));
    PL__TRY(pl__sql_str(row, 5, arena, &failure->traceback));
    if (sqlite3_column_count(row) == 6)
        return PL_OK;
    failure->stage = sqlite3_column_int64(row, 6);
    PL__TRY(pl__sql_str(row, 7, arena, &failure->class_path));
    return pl__sql_str(row, 8, arena, &failure->key);
}

int pl__verb_failures_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_failures_get_t *get = &op->u.failures_get;
    sqlite3_stmt *row;
    int rc;
    int64_t state;
    get->len = get->latest_len = 0;
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_STATE, &state, -1, "i", (int64_t)get->stage));
    if (state < 0)
        return PL_OK;
    if (get->tree)
        PL__TRY(
            pl__sql_query(conn, PL__SQL_FAILURES_OF_TREE, &row, "ii", (int64_t)get->stage, (int64_t)PL_FAILURES_MAX));
    else
        PL__TRY(pl__sql_query(conn, PL__SQL_FAILURES, &row, "i", (int64_t)get->stage));
    get->failures = pl__sql_list(conn, row, &op->arena, read_failure, sizeof *get->failures, &get->len, &rc);
    if (rc != PL_OK || !get->tree || get->len < PL_FAILURES_MAX)
        return rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_FAILURE_LATEST, &row, "i", (int64_t)get->stage));
    get->latest = pl__sql_list(conn, row, &op->arena, read_failure, sizeof *get->latest, &get->latest_len, &rc);
    return rc;
}

int pl__verb_claim_check(pl__conn_t *conn, pl_op_t *op) {
    pl_op_claim_check_t *check = &op->u.claim_check;
    int64_t is_live;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_TASK_CLAIMED, &is_live, 0, "ii", (int64_t)check->task, (int64_t)check->claim));
    check->is_live = is_live != 0;
    return PL_OK;
}

/* ---- watched stages ---------------------------------------------------------------------------------------------- */

int pl__verb_watch(pl__conn_t *conn, pl_op_t *op) {
    pl_op_watch_t *watch = &op->u.watch;
    int64_t state;
    PL__TRY(pl__deltas_flush(conn));
    if (watch->key.ptr)
        PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_BY_KEY, &watch->stage, 0, "b", watch->key));
    if (watch->unwatch) {
        pl__watch_remove(conn, watch->stage);
        return PL_OK;
    }
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_STATE, &state, -1, "i", (int64_t)watch->stage));
    if (state < 0) {
        op->rc = PL_ENOTFOUND;
        return PL_OK;
    }
    watch->state = (pl_stage_state_t)state;
    bool is_final = state == PL_STAGE_DONE || state == PL_STAGE_ABORTED;
    return is_final ? PL_OK : pl__watch_add(conn, watch->stage);
}
