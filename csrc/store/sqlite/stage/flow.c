/*
 * flow.c - what flows between stages: fill, settle, abort.
 *
 * The rules are in store/stage/: here are rows that they are asked about, and what they say is written. Every change of
 * pl_stage.state is one of the STAGE_TO_*, STAGE_INPUTS_FILLED, STAGE_CHILDREN_SETTLED, STAGE_LEAF_*, STAGE_RESUME and
 * STAGE_RETRY statements; the machine is drawn in model.h.
 *
 * Fan-in. A child that settles takes one from its parent's `open` in the same transaction; a slot that is filled for
 * the first time takes one from `missing` of every stage that waits for it. Each edge is touched once, so a fan-in of
 * N costs O(N); what one transaction takes from a stage is gathered (pl__delta_t) and written once, by an UPDATE whose
 * values come from memory (live.c).
 */
#include <stdio.h>

#include "store/sqlite/db.h"
#include "store/stage/plan.h"

int pl__stage_set_final(pl__conn_t *conn, pl_id_t id, pl_stage_state_t state) {
    int64_t flags;
    pl__live_drop(conn, id);
    PL__TRY(
        pl__sql_int(conn, PL__SQL_STAGE_TO_FINAL, &flags, 0, "iii", (int64_t)id, (int64_t)state, (int64_t)conn->now));
    PL__TRY(pl__stage_ended(conn, id, (unsigned)flags, state));
    return pl__note_final(conn, id, state);
}

/* ---- counters ---- */

static pl__delta_t *find_delta(const pl__conn_t *conn, pl_id_t stage) {
    size_t mask = conn->deltas_size - 1;
    size_t at = (size_t)((uint64_t)stage * UINT64_C(0x9e3779b97f4a7c15) >> 20) & mask;
    while (conn->deltas[at].stage && conn->deltas[at].stage != stage)
        at = (at + 1) & mask;
    return &conn->deltas[at];
}

static int grow_deltas(pl__conn_t *conn) {
    pl__delta_t *old = conn->deltas;
    size_t old_size = conn->deltas_size, size = old_size ? old_size * 2 : 64;
    pl__delta_t *fresh = pl__alloc(size * sizeof *fresh);
    if (!fresh)
        return PL_ENOMEM;
    conn->deltas = fresh;
    conn->deltas_size = size;
    for (size_t i = 0; i < old_size; i++)
        if (old[i].stage)
            *find_delta(conn, old[i].stage) = old[i];
    pl__free(old);
    return PL_OK;
}

static int add_delta(pl__conn_t *conn, pl_id_t stage, int missing, int open) {
    if (conn->deltas_len * 2 >= conn->deltas_size)
        PL__TRY(grow_deltas(conn));
    pl__delta_t *delta = find_delta(conn, stage);
    conn->deltas_len += delta->stage == 0;
    delta->stage = stage;
    delta->missing += missing;
    delta->open += open;
    return PL_OK;
}

static int inputs_filled(pl__conn_t *conn, pl_id_t stage, int count) {
    pl__live_t *live;
    PL__TRY(pl__live_get(conn, stage, &live));
    if (!live || live->state != PL_STAGE_WAITING)
        return PL_OK;
    pl__move_t move = pl__rule_filled(&(pl__standing_t){ .state = live->state, .missing = live->missing }, count);
    live->missing = move.missing;
    live->state = move.to;
    if (move.to == PL_STAGE_READY)
        live->started = conn->now;
    PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_INPUTS_FILLED, NULL, "iiiz", (int64_t)stage, (int64_t)move.missing,
                        (int64_t)move.to, live->started));
    if (move.task == PL__NO_TASK)
        return PL_OK;
    pl__pending_t task = { .id = stage,
                           .kind = (pl_task_kind_t)move.task,
                           .queue = live->queue,
                           .priority = live->made.priority,
                           .eta = live->made.eta };
    if (live->made.flags & PL_STAGE_DURABLE)
        PL__TRY(pl__flow_due(conn, stage, &task.eta));
    return pl__task_push(conn, &task);
}

/* The children of the stage have settled; so has the stage, and that may be the last its own parent waits for. */
static int settled(pl__conn_t *conn, const pl__live_t *live, const pl__move_t *move) {
    pl_id_t stage = live->made.id, parent = live->parent;
    unsigned flags = live->made.flags;
    int64_t queue = live->queue;
    int priority = live->made.priority;
    pl__live_drop(conn, stage);
    if (move->task != PL__NO_TASK) {
        PL__TRY(pl__task_push(
            conn,
            &(pl__pending_t){ .id = stage, .kind = (pl_task_kind_t)move->task, .queue = queue, .priority = priority }));
    } else {
        PL__TRY(pl__stage_ended(conn, stage, flags, move->to));
        PL__TRY(pl__note_final(conn, stage, move->to));
    }
    return pl__stage_settled(conn, parent);
}

/* Takes from a stage's open. */
static int children_settled(pl__conn_t *conn, pl_id_t stage, int count) {
    pl__live_t *live;
    PL__TRY(pl__live_get(conn, stage, &live));
    if (!live || live->state != PL_STAGE_RUN)
        return PL_OK;
    pl__move_t move = pl__rule_settled(
        &(pl__standing_t){ .state = live->state, .flags = live->made.flags, .open = live->open }, count);
    live->open = move.open;
    PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_CHILDREN_SETTLED, NULL, "iiiz", (int64_t)stage, (int64_t)move.open,
                        (int64_t)move.to, pl__stage_is_final(move.to) ? conn->now : INT64_C(0)));
    return move.settles ? settled(conn, live, &move) : PL_OK;
}

/* A settled stage adds a delta for its parent, so the table may grow while it is emptied: until nothing is left. */
int pl__deltas_flush(pl__conn_t *conn) {
    PL__TRY(pl__stage_rows_flush(conn));
    while (conn->deltas_len > 0) {
        pl__delta_t *list = conn->deltas;
        size_t size = conn->deltas_size;
        int rc = PL_OK;
        conn->deltas = NULL;
        conn->deltas_len = conn->deltas_size = 0;
        for (size_t i = 0; i < size && rc == PL_OK; i++) {
            if (list[i].missing)
                rc = inputs_filled(conn, list[i].stage, list[i].missing);
            if (list[i].open && rc == PL_OK)
                rc = children_settled(conn, list[i].stage, list[i].open);
        }
        pl__free(list);
        PL__TRY(rc);
    }
    return PL_OK;
}

int pl__stage_settled(pl__conn_t *conn, pl_id_t parent) {
    return parent ? add_delta(conn, parent, 0, 1) : PL_OK;
}

int pl__stage_settle(pl__conn_t *conn, pl_id_t id, pl_id_t parent, const pl__move_t *move, unsigned flags,
                     int64_t queue, int priority) {
    pl__live_drop(conn, id);
    if (move->task != PL__NO_TASK) {
        PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_TO_FINALIZING, NULL, "ii", (int64_t)id, (int64_t)flags));
        PL__TRY(pl__task_push(
            conn,
            &(pl__pending_t){ .id = id, .kind = (pl_task_kind_t)move->task, .queue = queue, .priority = priority }));
    } else {
        PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_TO_DONE, NULL, "iii", (int64_t)id, (int64_t)conn->now, (int64_t)flags));
        PL__TRY(pl__stage_ended(conn, id, flags, PL_STAGE_DONE));
        PL__TRY(pl__note_final(conn, id, PL_STAGE_DONE));
    }
    return pl__stage_settled(conn, parent);
}

int pl__stage_ended(pl__conn_t *conn, pl_id_t id, unsigned flags, pl_stage_state_t state) {
    int64_t parent;
    if (flags & PL_STAGE_DURABLE)
        PL__TRY(pl__flow_over(conn, id));
    if (flags & (PL_STAGE_DURABLE | PL_STAGE_SCOPE))
        PL__TRY(pl__flow_tell_above(conn, id, flags));
    if (!pl__rule_settles_late(flags, state))
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_ABOVE, &parent, 0, "i", (int64_t)id));
    return pl__stage_settled(conn, parent);
}

typedef struct {
    pl_id_t stage;
    int kind;
} wait_t;

static int take_waits(pl__conn_t *conn, pl_id_t slot, pl__buf_t *waits) {
    sqlite3_stmt *row;
    bool more;
    PL__TRY(pl__sql_query(conn, PL__SQL_WAITS, &row, "i", (int64_t)slot));
    PL__TRY(pl__sql_step(conn, row, &more));
    while (more) {
        wait_t wait = { sqlite3_column_int64(row, 0), sqlite3_column_int(row, 1) };
        pl__buf_add(waits, &wait, sizeof wait);
        PL__TRY(pl__sql_step(conn, row, &more));
    }
    PL__TRY(waits->rc);
    return waits->len ? pl__sql_run(conn, PL__SQL_WAIT_DELETE, NULL, "i", (int64_t)slot) : PL_OK;
}

static int tell_waiters(pl__conn_t *conn, pl_id_t slot) {
    pl__buf_t waits = { 0 };
    int rc = take_waits(conn, slot, &waits);
    const wait_t *list = (const wait_t *)(const void *)waits.ptr;
    for (size_t i = 0; rc == PL_OK && i < waits.len / sizeof *list; i++)
        rc = list[i].kind == PL__WAIT_INPUT    ? add_delta(conn, list[i].stage, 1, 0)
             : list[i].kind == PL__WAIT_OUTPUT ? add_delta(conn, list[i].stage, 0, 1)
                                               : pl__flow_wake(conn, list[i].stage);
    pl__buf_free(&waits);
    return rc;
}

int pl__stage_filled_own(pl__conn_t *conn, pl_id_t stage, pl_id_t waiter) {
    if (waiter == PL__WAITERS)
        return tell_waiters(conn, stage);
    return waiter ? add_delta(conn, waiter, 1, 0) : PL_OK;
}

static int slot_filled(pl__conn_t *conn, pl_id_t slot) {
    pl_id_t waiter;
    PL__TRY(pl__edge_waiter(conn, slot, &waiter));
    PL__TRY(pl__stage_filled_own(conn, slot, waiter));
    return waiter ? pl__edge_set_waiter(conn, slot, 0) : PL_OK;
}

int pl__stage_fill(pl__conn_t *conn, pl_id_t filler, const pl_fill_t *fill) {
    int added;
    PL__TRY(pl__sql_run(conn, PL__SQL_SLOT_ADD, &added, "iiib", (int64_t)fill->slot, (int64_t)filler,
                        (int64_t)conn->now, fill->value));
    if (added)
        return slot_filled(conn, fill->slot);
    return pl__sql_run(conn, PL__SQL_SLOT_SET, NULL, "iiib", (int64_t)fill->slot, (int64_t)filler, (int64_t)conn->now,
                       fill->value);
}

int pl__failure_add(pl__conn_t *conn, pl_id_t stage, const pl_failure_t *failure) {
    char worker[96];
    if (failure->worker.ptr)
        return pl__sql_run(conn, PL__SQL_FAILURE_ADD, NULL, "iitttt", (int64_t)stage, (int64_t)conn->now,
                           failure->worker, failure->error_class, failure->message, failure->traceback);
    snprintf(worker, sizeof worker, "%.*s:%lld#%lld", (int)conn->worker_host.len,
             conn->worker_host.ptr ? conn->worker_host.ptr : "", (long long)conn->worker_pid, (long long)conn->worker);
    return pl__sql_run(conn, PL__SQL_FAILURE_ADD, NULL, "iitttt", (int64_t)stage, (int64_t)conn->now, pl_str(worker),
                       failure->error_class, failure->message, failure->traceback);
}

/* ---- abort ------------------------------------------------------------------------------------------------- */

/* What else of a stage counts for its abort. */
typedef struct {
    int64_t queue;
    int priority;
} place_t;

typedef struct {
    pl__member_t is;
    place_t place;
} live_t;

int pl__stage_to_abort(pl__conn_t *conn, pl_id_t id, pl_stage_state_t state, unsigned clears, unsigned sets) {
    pl__live_drop(conn, id);
    return pl__sql_run(conn, PL__SQL_STAGE_TO_ABORT, NULL, "iiii", (int64_t)id, (int64_t)state, (int64_t)sets,
                       (int64_t)clears);
}

static int to_aborted(pl__conn_t *conn, const pl__member_t *stage, const pl__abort_t *abort) {
    pl__live_drop(conn, stage->id);
    PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_TO_ABORTED, NULL, "iiii", (int64_t)stage->id, (int64_t)conn->now,
                        (int64_t)abort->sets, (int64_t)abort->clears));
    PL__TRY(pl__stage_ended(conn, stage->id, (stage->is.flags & ~abort->clears) | abort->sets, PL_STAGE_ABORTED));
    return pl__note_final(conn, stage->id, PL_STAGE_ABORTED);
}

/* Writes what an abort makes of the stage. */
static int write_abort(pl__conn_t *conn, const pl__member_t *stage, const place_t *place, const pl__abort_t *abort) {
    if (abort->to == stage->is.state && !abort->drops)
        return PL_OK;
    if (abort->tells)
        PL__TRY(pl__note_abort(conn, stage->id));
    if (abort->drops)
        PL__TRY(pl__sql_run(conn, PL__SQL_TASK_DROP, NULL, "i", (int64_t)stage->id));
    if (abort->to == PL_STAGE_ABORTED)
        return to_aborted(conn, stage, abort);
    PL__TRY(pl__stage_to_abort(conn, stage->id, abort->to, abort->clears, abort->sets));
    pl__pending_t task = { .id = stage->id, .kind = PL_TASK_ABORT, .queue = place->queue, .priority = place->priority };
    return abort->aborts ? pl__task_push(conn, &task) : PL_OK;
}

int pl__stage_abort_now(pl__conn_t *conn, pl_id_t id, pl_stage_state_t state, unsigned flags, int64_t queue,
                        int priority) {
    pl__member_t stage = { .id = id, .is = { .state = state, .flags = flags } };
    pl__abort_t abort = pl__rule_abort_now(&stage.is);
    return write_abort(conn, &stage, &(place_t){ queue, priority }, &abort);
}

static int read_live(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    (void)arena;
    *(live_t *)item = (live_t){
        .is = { .id = sqlite3_column_int64(row, 0),
                .parent = sqlite3_column_int64(row, 5),
                .is = { .state = (pl_stage_state_t)sqlite3_column_int(row, 1),
                        .flags = (unsigned)sqlite3_column_int(row, 2) } },
        .place = { .queue = sqlite3_column_int64(row, 3), .priority = sqlite3_column_int(row, 4) },
    };
    return PL_OK;
}

/* Stages that an abort comes to. */
typedef struct {
    pl__member_t *list;
    place_t *places;
    pl__abort_t *aborts;
    size_t len;
} aborted_t;

static int aborted_init(pl__conn_t *conn, aborted_t *aborted, size_t most) {
    most = most ? most : 1;
    *aborted = (aborted_t){ .list = pl__arena_get(&conn->scratch, most * sizeof *aborted->list),
                            .places = pl__arena_get(&conn->scratch, most * sizeof *aborted->places),
                            .aborts = pl__arena_get(&conn->scratch, most * sizeof *aborted->aborts) };
    return aborted->list && aborted->places && aborted->aborts ? PL_OK : PL_ENOMEM;
}

/* One more. The rule may need to know whether its task is claimed. */
static int aborted_add(pl__conn_t *conn, aborted_t *aborted, const live_t *live) {
    int64_t task = -1;
    if (pl__rule_asks_claim(live->is.is.state))
        PL__TRY(pl__sql_int(conn, PL__SQL_TASK_STATE, &task, -1, "i", (int64_t)live->is.id));
    aborted->list[aborted->len] = live->is;
    aborted->list[aborted->len].is_claimed = task == PL__TASK_CLAIMED;
    aborted->places[aborted->len++] = live->place;
    return PL_OK;
}

static int write_aborts(pl__conn_t *conn, const aborted_t *aborted) {
    for (size_t i = 0; i < aborted->len; i++)
        PL__TRY(write_abort(conn, &aborted->list[i], &aborted->places[i], &aborted->aborts[i]));
    return PL_OK;
}

static bool is_function(const live_t *live) {
    return (live->is.is.flags & PL_STAGE_DURABLE) && live->is.is.state == PL_STAGE_READY;
}

/* What is below those is theirs to abort. */
static bool has_functions(const live_t *live, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (is_function(&live[i]))
            return true;
    return false;
}

/* The columns of both statements are the same. */
static int list_live(pl__conn_t *conn, sqlite3_stmt *row, live_t **live, size_t *len) {
    int rc;
    *live = pl__sql_list(conn, row, &conn->scratch, read_live, sizeof **live, len, &rc);
    return rc;
}

/* A request to abort comes: what this transaction did must be found. */
static int request_abort(pl__conn_t *conn, pl_id_t top, pl_str_t message) {
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    conn->due_unknown = true; /* the next delayed task may be one that is dropped here */
    pl__live_drop(conn, top);
    return pl__sql_run(conn, PL__SQL_STAGE_REQUEST_ABORT, NULL, "it", (int64_t)top, message);
}

static int list_tree(pl__conn_t *conn, pl_id_t root, live_t **live, size_t *len) {
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_LIVE_OF_ROOT, &row, "i", (int64_t)root));
    return list_live(conn, row, live, len);
}

int pl__stage_abort_tree(pl__conn_t *conn, pl_id_t root, pl_str_t message, pl_id_t permitted) {
    aborted_t aborted;
    live_t *live;
    size_t len;
    PL__TRY(request_abort(conn, root, message));
    PL__TRY(list_tree(conn, root, &live, &len));
    if (has_functions(live, len))
        return pl__stage_abort_part(conn, root, root, INT64_MAX, permitted);
    PL__TRY(aborted_init(conn, &aborted, len));
    for (size_t i = 0; i < len; i++)
        PL__TRY(aborted_add(conn, &aborted, &live[i]));
    pl__plan_abort(aborted.list, aborted.len, permitted, aborted.aborts);
    return write_aborts(conn, &aborted);
}

/* The stages of the part, in their order. A durable function that has begun is asked instead, and goes on until it has
 * cleaned up; it aborts by itself what is below it. */
static int find_part(pl__conn_t *conn, const live_t *live, size_t len, pl_id_t top, bool asks, aborted_t *aborted) {
    pl__part_t part = { .top = top, .ids = pl__arena_get(&conn->scratch, (len ? len : 1) * sizeof *part.ids) };
    if (!part.ids)
        return PL_ENOMEM;
    for (size_t i = 0; i < len; i++) {
        bool asked = false;
        if (!pl__part_has(&part, live[i].is.id, live[i].is.parent))
            continue;
        if (asks && is_function(&live[i]))
            PL__TRY(pl__flow_ask(conn, live[i].is.id, &asked));
        if (asked)
            continue;
        pl__part_add(&part, live[i].is.id);
        PL__TRY(aborted_add(conn, aborted, &live[i]));
    }
    return PL_OK;
}

static int list_part(pl__conn_t *conn, pl_id_t root, pl_id_t top, pl_id_t last, bool asks, aborted_t *aborted) {
    sqlite3_stmt *row;
    live_t *live;
    size_t len;
    conn->due_unknown = true;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_PART, &row, "iii", (int64_t)root, (int64_t)top, (int64_t)last));
    PL__TRY(list_live(conn, row, &live, &len));
    PL__TRY(aborted_init(conn, aborted, len));
    return find_part(conn, live, len, top, asks, aborted);
}

int pl__stage_abort_part(pl__conn_t *conn, pl_id_t root, pl_id_t top, pl_id_t last, pl_id_t permitted) {
    aborted_t aborted;
    PL__TRY(list_part(conn, root, top, last, true, &aborted));
    pl__plan_abort(aborted.list, aborted.len, permitted, aborted.aborts);
    return write_aborts(conn, &aborted);
}

int pl__stage_scope(pl__conn_t *conn, pl_id_t stage, pl_id_t *scope) {
    sqlite3_stmt *row;
    bool found;
    *scope = 0;
    for (pl_id_t at = stage, parent; at && !*scope; at = parent) {
        PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_ABOVE, &row, "i", (int64_t)at));
        PL__TRY(pl__sql_step(conn, row, &found));
        if (!found)
            return PL_OK;
        parent = sqlite3_column_int64(row, 0);
        if (!parent || ((unsigned)sqlite3_column_int(row, 1) & PL_STAGE_SCOPE))
            *scope = at;
        pl__sql_end(row);
    }
    return PL_OK;
}

int pl__stage_abort_scope(pl__conn_t *conn, pl_id_t root, pl_id_t scope, pl_str_t message, pl_id_t permitted) {
    PL__TRY(request_abort(conn, scope, message));
    return pl__stage_abort_part(conn, root, scope, INT64_MAX, permitted);
}

int pl__stage_end_part(pl__conn_t *conn, pl_id_t root, pl_id_t top) {
    aborted_t aborted;
    conn->freed = true;
    PL__TRY(list_part(conn, root, top, INT64_MAX, false, &aborted));
    pl__plan_end(aborted.list, aborted.len, aborted.aborts);
    return write_aborts(conn, &aborted);
}

int pl__stage_end_scope(pl__conn_t *conn, pl_id_t root, pl_id_t scope, pl_str_t message) {
    PL__TRY(request_abort(conn, scope, message));
    return pl__stage_end_part(conn, root, scope);
}

int pl__stage_end_tree(pl__conn_t *conn, pl_id_t root, pl_str_t message) {
    aborted_t aborted;
    live_t *live;
    size_t len;
    conn->freed = true;
    PL__TRY(request_abort(conn, root, message));
    PL__TRY(list_tree(conn, root, &live, &len));
    PL__TRY(aborted_init(conn, &aborted, len));
    for (size_t i = 0; i < len; i++)
        PL__TRY(aborted_add(conn, &aborted, &live[i]));
    pl__plan_end(aborted.list, aborted.len, aborted.aborts);
    return write_aborts(conn, &aborted);
}
