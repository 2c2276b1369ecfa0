/*
 * stage.c - rows of stages and slots: making and reading them. What flows between stages is in flow.c.
 */
#include <stdlib.h>

#include "store/sqlite/db.h"
#include "store/sqlite/pack.h"

enum { LARGE_BYTES = 1024 };

/* ---- creating ---------------------------------------------------------------------------------------------- */

static bool is_large(const pl__stage_row_t *row) {
    return row->args.len + row->inputs.len + row->after.len > LARGE_BYTES;
}

/* What is as it mostly is takes no room: see PL__STAGE_COLUMNS, which reads it. */
static int bind_row(pl__conn_t *conn, sqlite3_stmt *statement, int at, const pl__stage_row_t *row) {
    enum { NONE = -1 };
    const pl_stage_new_t *stage = row->stage;
    bool waits = row->missing > 0, large = is_large(row);
    int64_t attempts = stage->max_attempts == PL__STAGE_ATTEMPTS ? 0 : stage->max_attempts;
    double seconds = stage->backoff_seconds == PL__STAGE_BACKOFF ? NONE : stage->backoff_seconds;
    double factor = stage->backoff_factor == PL__STAGE_FACTOR ? NONE : stage->backoff_factor;
    PL__TRY(pl__sql_bind(conn, statement, at, "iiziiiiitbi", (int64_t)stage->id, (int64_t)row->root,
                         (int64_t)row->parent, (int64_t)(waits ? PL_STAGE_WAITING : PL_STAGE_READY),
                         (int64_t)stage->flags, (int64_t)row->missing, row->queue, (int64_t)stage->priority,
                         stage->class_path, large ? PL_STR_NONE : row->args, (int64_t)conn->now));
    int rc = waits ? sqlite3_bind_null(statement, at + 11) : sqlite3_bind_int64(statement, at + 11, 0);
    PL__TRY(pl__sql_rc(conn, rc));
    return pl__sql_bind(conn, statement, at + 12, "bbbzzmmfttbzz", large ? PL_STR_NONE : row->inputs,
                        large ? PL_STR_NONE : row->after, row->outputs, (int64_t)stage->eta, attempts, seconds, factor,
                        stage->timeout, stage->base_path, stage->target, stage->key, (int64_t)stage->max_losses,
                        (int64_t)row->waiter);
}

/* Writes `count` rows with one statement that takes so many. */
static int write_rows(pl__conn_t *conn, pl__sql_t id, const pl__stage_row_t *rows, int count) {
    enum { ROW_COLUMNS = 25 };
    sqlite3_stmt *statement;
    bool row;
    PL__TRY(pl__sql_query(conn, id, &statement, ""));
    for (int i = 0; i < count; i++)
        PL__TRY(bind_row(conn, statement, i * ROW_COLUMNS + 1, &rows[i]));
    return pl__sql_step(conn, statement, &row);
}

int pl__stage_rows_flush(pl__conn_t *conn) {
    int len = conn->stage_rows_len;
    conn->stage_rows_len = 0;
    if (len == PL__STAGE_ROWS)
        return write_rows(conn, PL__SQL_STAGE_ADD_ROWS, conn->stage_rows, len);
    for (int i = 0; i < len; i++)
        PL__TRY(write_rows(conn, PL__SQL_STAGE_ADD, &conn->stage_rows[i], 1));
    return PL_OK;
}

/* It needs the row of its stage. */
static int write_fallback(pl__conn_t *conn, const pl_stage_new_t *stage) {
    PL__TRY(pl__stage_rows_flush(conn));
    return pl__sql_run(conn, PL__SQL_FALLBACK_ADD, NULL, "ib", (int64_t)stage->id, stage->fallback);
}

/* The trace of a root is the value of it that has no name: none of the user's is like that. */
static int write_trace(pl__conn_t *conn, const pl_stage_new_t *stage) {
    return pl__sql_run(conn, PL__SQL_TRACE_ADD, NULL, "iib", (int64_t)stage->id, (int64_t)conn->now, stage->trace);
}

/* What is long goes to a row of its own, which needs the other one. */
static int write_large(pl__conn_t *conn, const pl__stage_row_t *row) {
    pl__stage_row_t large = *row;
    PL__TRY(pl__stage_rows_flush(conn));
    return pl__sql_run(conn, PL__SQL_STAGE_ADD_LARGE, NULL, "ibbb", (int64_t)large.stage->id, large.args, large.inputs,
                       large.after);
}

int pl__stage_insert(pl__conn_t *conn, const pl_stage_new_t *stage, pl_id_t root, pl_id_t parent, int missing,
                     pl_id_t waiter) {
    if (conn->stage_rows_len == PL__STAGE_ROWS)
        PL__TRY(pl__stage_rows_flush(conn));
    pl__stage_row_t *row = &conn->stage_rows[conn->stage_rows_len];
    *row = (pl__stage_row_t){ .stage = stage,
                              .root = root,
                              .parent = parent,
                              .waiter = waiter,
                              .missing = missing,
                              .args = stage->args.ptr ? stage->args : PL_STR_LIT("") };
    PL__TRY(pl__pack_ids(&conn->scratch, stage->inputs, stage->inputs_len, &row->inputs));
    PL__TRY(pl__pack_ids(&conn->scratch, stage->after, stage->after_len, &row->after));
    PL__TRY(pl__pack_outputs(&conn->scratch, stage->id, stage->outputs, stage->outputs_len, &row->outputs));
    PL__TRY(pl__queue_id(conn, stage->queue, &row->queue));
    conn->stage_rows_len++;
    pl__live_add(conn, stage, root, parent, row->queue, missing, waiter);
    int64_t queue = row->queue;
    if (is_large(row))
        PL__TRY(write_large(conn, row));
    if (stage->fallback.ptr)
        PL__TRY(write_fallback(conn, stage));
    if (stage->trace.ptr)
        PL__TRY(write_trace(conn, stage));
    if (stage->flags & PL_STAGE_DURABLE) {
        PL__TRY(pl__stage_rows_flush(conn));
        PL__TRY(pl__flow_add(conn, stage));
    }
    if (missing > 0 || stage->hold)
        return PL_OK;
    return pl__task_push(
        conn,
        &(pl__pending_t){
            .id = stage->id, .kind = PL_TASK_RUN, .queue = queue, .priority = stage->priority, .eta = stage->eta });
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

static int read_strings(sqlite3_stmt *row, pl__arena_t *arena, pl_stage_t *stage) {
    PL__TRY(pl__sql_str(row, 10, arena, &stage->class_path));
    PL__TRY(pl__sql_str(row, 11, arena, &stage->args));
    PL__TRY(pl__sql_str(row, 23, arena, &stage->base_path));
    PL__TRY(pl__sql_str(row, 24, arena, &stage->target));
    PL__TRY(pl__sql_str(row, 25, arena, &stage->key));
    PL__TRY(pl__sql_str(row, 27, arena, &stage->retry_message));
    return pl__sql_str(row, 28, arena, &stage->abort_message);
}

static int read_slots(sqlite3_stmt *row, pl__arena_t *arena, pl_stage_t *stage) {
    pl_str_t inputs, after, outputs;
    PL__TRY(pl__sql_str(row, 15, arena, &inputs));
    PL__TRY(pl__sql_str(row, 16, arena, &after));
    PL__TRY(pl__sql_str(row, 17, arena, &outputs));
    PL__TRY(pl__unpack_ids(arena, inputs, &stage->inputs, &stage->inputs_len));
    PL__TRY(pl__unpack_ids(arena, after, &stage->after, &stage->after_len));
    return pl__unpack_outputs(arena, stage->id, outputs, &stage->outputs, &stage->outputs_len);
}

static int read_status(sqlite3_stmt *row, pl__arena_t *arena, pl_stage_t *stage) {
    enum { FIRST = 30 };
    stage->has_status = sqlite3_column_count(row) > FIRST && sqlite3_column_type(row, FIRST) != SQLITE_NULL;
    if (!stage->has_status)
        return PL_OK;
    stage->status.time = sqlite3_column_int64(row, FIRST);
    PL__TRY(pl__sql_str(row, FIRST + 1, arena, &stage->status.message));
    PL__TRY(pl__sql_str(row, FIRST + 2, arena, &stage->status.console_url));
    return pl__sql_str(row, FIRST + 3, arena, &stage->status.links);
}

int pl__stage_read_row(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl_stage_t *stage) {
    *stage = (pl_stage_t){
        .id = sqlite3_column_int64(row, 0),
        .root = sqlite3_column_int64(row, 1),
        .parent = sqlite3_column_int64(row, 2),
        .state = (pl_stage_state_t)sqlite3_column_int(row, 3),
        .flags = (unsigned)sqlite3_column_int(row, 4),
        .missing = sqlite3_column_int(row, 5),
        .open = sqlite3_column_int(row, 6),
        .attempt = sqlite3_column_int(row, 7),
        .priority = sqlite3_column_int(row, 9),
        .created = sqlite3_column_int64(row, 12),
        .started = sqlite3_column_int64(row, 13),
        .finalized = sqlite3_column_int64(row, 14),
        .eta = sqlite3_column_int64(row, 18),
        .max_attempts = sqlite3_column_int(row, 19),
        .backoff_seconds = sqlite3_column_double(row, 20),
        .backoff_factor = sqlite3_column_double(row, 21),
        .timeout = sqlite3_column_double(row, 22),
        .retry_at = sqlite3_column_int64(row, 26),
        .abort_requested = sqlite3_column_int(row, 29) != 0,
    };
    int64_t queue = sqlite3_column_int64(row, 8);
    PL__TRY(read_strings(row, arena, stage));
    PL__TRY(read_slots(row, arena, stage));
    PL__TRY(read_status(row, arena, stage));
    return pl__queue_name(conn, queue, arena, &stage->queue);
}

/* What is longer than conn->value_max is left out, and *cut tells how long it is. */
static int read_value(pl__conn_t *conn, sqlite3_stmt *row, int column, pl__arena_t *arena, pl_str_t *value,
                      size_t *cut) {
    size_t len = (size_t)sqlite3_column_bytes(row, column);
    *value = PL_STR_NONE;
    *cut = conn->value_max > 0 && len > conn->value_max ? len : 0;
    return *cut ? PL_OK : pl__sql_str(row, column, arena, value);
}

int pl__stage_read_large(pl__conn_t *conn, pl__arena_t *arena, pl_stage_t *stage) {
    sqlite3_stmt *row;
    bool found;
    pl_str_t inputs, after;
    if (stage->args.ptr)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_GET_LARGE, &row, "i", (int64_t)stage->id));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int rc = read_value(conn, row, 0, arena, &stage->args, &stage->args_cut);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 1, arena, &inputs);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 2, arena, &after);
    pl__sql_end(row);
    PL__TRY(rc);
    PL__TRY(pl__unpack_ids(arena, inputs, &stage->inputs, &stage->inputs_len));
    return pl__unpack_ids(arena, after, &stage->after, &stage->after_len);
}

int pl__stage_read_trace(pl__conn_t *conn, pl__arena_t *arena, pl_stage_t *stage) {
    sqlite3_stmt *row;
    bool found;
    if (!(stage->flags & PL_STAGE_TRACED))
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_TRACE_GET, &row, "i", (int64_t)stage->root));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int rc = pl__sql_str(row, 0, arena, &stage->trace);
    pl__sql_end(row);
    return rc;
}

int pl__stage_load(pl__conn_t *conn, pl_id_t id, bool with_status, pl__arena_t *arena, pl_stage_t *stage, bool *found) {
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, with_status ? PL__SQL_STAGE_GET : PL__SQL_STAGE_GET_PLAIN, &row, "i", (int64_t)id));
    PL__TRY(pl__sql_step(conn, row, found));
    if (!*found)
        return PL_OK;
    int rc = pl__stage_read_row(conn, row, arena, stage);
    pl__sql_end(row);
    PL__TRY(rc);
    PL__TRY(pl__stage_read_trace(conn, arena, stage));
    return pl__stage_read_large(conn, arena, stage);
}

/* ---- slots ------------------------------------------------------------------------------------------------- */

/* Of a row with the filler, if `column` is above 0, and time and value from `column` on. */
static int read_slot(pl__conn_t *conn, sqlite3_stmt *row, int column, pl__arena_t *arena, pl_slot_t *slot) {
    PL__TRY(pl__sql_step(conn, row, &slot->filled));
    if (!slot->filled)
        return PL_OK;
    slot->filler = column > 0 ? sqlite3_column_int64(row, 0) : slot->id;
    slot->time = sqlite3_column_int64(row, column);
    int rc = read_value(conn, row, column + 1, arena, &slot->value, &slot->cut);
    pl__sql_end(row);
    return rc;
}

/* A default slot that was filled by its own stage is most often in the row of that. */
static int load_slot(pl__conn_t *conn, pl_id_t id, pl__arena_t *arena, pl_slot_t *slot) {
    sqlite3_stmt *row;
    pl_str_t value;
    *slot = (pl_slot_t){ .id = id };
    if (conn->value_max == 0 && pl__result_find(conn, id, &value)) {
        *slot = (pl_slot_t){ .id = id, .filled = true, .filler = id, .time = conn->now };
        return pl__arena_copy(arena, value, &slot->value);
    }
    PL__TRY(pl__sql_query(conn, PL__SQL_SLOT_GET_RESULT, &row, "i", (int64_t)id));
    PL__TRY(read_slot(conn, row, 0, arena, slot));
    if (slot->filled)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_SLOT_GET, &row, "i", (int64_t)id));
    return read_slot(conn, row, 1, arena, slot);
}

int pl__compare_ids(const void *a, const void *b) {
    pl_id_t left = *(const pl_id_t *)a, right = *(const pl_id_t *)b;
    return (left > right) - (left < right);
}

static size_t sort_unique(pl_id_t *ids, size_t len) {
    if (len == 0)
        return 0;
    qsort(ids, len, sizeof *ids, pl__compare_ids);
    size_t kept = 1;
    for (size_t i = 1; i < len; i++)
        if (ids[i] != ids[kept - 1])
            ids[kept++] = ids[i];
    return kept;
}

/* The distinct slots of these stages, ascending. */
static int collect_slots(const pl_stage_t *stages, size_t len, bool with_inputs, bool with_outputs, pl__arena_t *arena,
                         pl_id_t **ids, size_t *ids_len) {
    size_t total = 0;
    for (size_t i = 0; i < len; i++)
        total += (with_inputs ? stages[i].inputs_len : 0) + (with_outputs ? stages[i].outputs_len : 0);
    *ids_len = 0;
    *ids = pl__arena_get(arena, (total ? total : 1) * sizeof **ids);
    if (!*ids)
        return PL_ENOMEM;
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        for (size_t j = 0; with_inputs && j < stages[i].inputs_len; j++)
            (*ids)[at++] = stages[i].inputs[j];
        for (size_t j = 0; with_outputs && j < stages[i].outputs_len; j++)
            (*ids)[at++] = stages[i].outputs[j].slot;
    }
    *ids_len = sort_unique(*ids, at);
    return PL_OK;
}

/* An unfilled slot tells the deepest stage that owns it (P182): the last one by id, for children follow parents. */
static void name_owners(const pl_stage_t *stages, size_t len, pl_slot_t *slots, size_t slots_len) {
    for (size_t i = 0; i < len; i++) {
        for (size_t j = 0; j < stages[i].outputs_len; j++) {
            pl_slot_t *slot = (pl_slot_t *)(uintptr_t)pl_slots_find(slots, slots_len, stages[i].outputs[j].slot);
            if (slot && !slot->filled && slot->filler < stages[i].id)
                slot->filler = stages[i].id;
        }
    }
}

int pl__slots_load(pl__conn_t *conn, const pl_stage_t *stages, size_t len, bool with_inputs, bool with_outputs,
                   pl__arena_t *arena, const pl_slot_t **slots, size_t *slots_len) {
    pl_id_t *ids;
    *slots = NULL;
    PL__TRY(collect_slots(stages, len, with_inputs, with_outputs, arena, &ids, slots_len));
    if (*slots_len == 0)
        return PL_OK;
    pl_slot_t *list = pl__arena_get(arena, *slots_len * sizeof *list);
    if (!list)
        return PL_ENOMEM;
    for (size_t i = 0; i < *slots_len; i++)
        PL__TRY(load_slot(conn, ids[i], arena, &list[i]));
    name_owners(stages, len, list, *slots_len);
    *slots = list;
    return PL_OK;
}

/* ---- what a stage says of itself -------------------------------------------------------------------------- */

int pl__verb_status(pl__conn_t *conn, pl_op_t *op) {
    pl_op_status_t *set = &op->u.status;
    int64_t state;
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_STATE, &state, -1, "i", (int64_t)set->stage));
    if (state < 0) {
        op->rc = PL_ENOTFOUND;
        return PL_OK;
    }
    pl_usec_t time = set->status.time ? set->status.time : conn->now;
    return pl__sql_run(conn, PL__SQL_STATUS_SET, NULL, "iittb", (int64_t)set->stage, (int64_t)time, set->status.message,
                       set->status.console_url, set->status.links);
}
