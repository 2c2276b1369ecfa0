/*
 * work.c - what a live stage waits for, for those who look: slots that are not filled, a time, its turn in the queue,
 * or the worker that executes its task.
 *
 * A task is found by its key. Places in a queue come from its first tasks, which are read once for all stages of a
 * page.
 */
#include <stdlib.h>

#include "store/sqlite/db.h"

static int add_unfilled(pl__conn_t *conn, pl_id_t slot, pl_work_t *work, pl_id_t *list) {
    bool filled;
    PL__TRY(pl__slot_is_filled(conn, slot, &filled));
    if (!filled)
        list[work->unfilled_len++] = slot;
    return PL_OK;
}

static int find_unfilled(pl__conn_t *conn, const pl_stage_t *stage, pl__arena_t *arena, pl_work_t *work) {
    size_t most = stage->missing < PL_UNFILLED_MAX ? (size_t)stage->missing : PL_UNFILLED_MAX;
    pl_id_t *list = pl__arena_get(arena, (most ? most : 1) * sizeof *list);
    if (!list)
        return PL_ENOMEM;
    for (size_t i = 0; i < stage->inputs_len && work->unfilled_len < most; i++)
        PL__TRY(add_unfilled(conn, stage->inputs[i], work, list));
    for (size_t i = 0; i < stage->after_len && work->unfilled_len < most; i++) {
        const pl_id_t *slot = &stage->after[i];
        if (!stage->inputs_len || !bsearch(slot, stage->inputs, stage->inputs_len, sizeof *slot, pl__compare_ids))
            PL__TRY(add_unfilled(conn, *slot, work, list));
    }
    work->unfilled = list;
    return PL_OK;
}

/* Of an async stage: `open` counts these and its children. */
static int count_outputs(pl__conn_t *conn, const pl_stage_t *stage, pl_work_t *work) {
    for (size_t i = 0; (stage->flags & PL_STAGE_ASYNC) && i < stage->outputs_len; i++) {
        bool filled;
        PL__TRY(pl__slot_is_filled(conn, stage->outputs[i].slot, &filled));
        work->outputs_open += !filled;
    }
    return PL_OK;
}

/* ---- places in queues -------------------------------------------------------------------------------------- */

/* The first tasks of a queue; NULL: those of too many other queues are known already. */
static int find_front(pl__conn_t *conn, pl__fronts_t *fronts, int64_t queue, const pl__front_t **front) {
    sqlite3_stmt *row;
    int rc;
    *front = NULL;
    for (size_t i = 0; i < fronts->len && !*front; i++)
        if (fronts->list[i].queue == queue)
            *front = &fronts->list[i];
    if (*front || fronts->len == PL__FRONTS)
        return PL_OK;
    pl__front_t *fresh = &fronts->list[fronts->len];
    fresh->queue = queue;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_READY, &row, "ii", queue, (int64_t)PL_PLACES_MAX));
    fresh->ids = pl__sql_list(conn, row, &conn->scratch, pl__sql_read_id, sizeof *fresh->ids, &fresh->len, &rc);
    PL__TRY(rc);
    fronts->len++;
    *front = fresh;
    return PL_OK;
}

static int find_place(pl__conn_t *conn, pl__fronts_t *fronts, int64_t queue, pl_id_t id, int *place) {
    const pl__front_t *front;
    size_t at = 0;
    PL__TRY(find_front(conn, fronts, queue, &front));
    while (front && at < front->len && front->ids[at] != id)
        at++;
    *place = front ? (int)at + 1 : 0;
    return PL_OK;
}

/* ---- tasks ------------------------------------------------------------------------------------------------- */

static int find_task(pl__conn_t *conn, const pl_stage_t *stage, pl__arena_t *arena, pl__fronts_t *fronts,
                     pl_work_t *work) {
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_OF_STAGE, &row, "i", (int64_t)stage->id));
    PL__TRY(pl__sql_step(conn, row, &work->has_task));
    if (!work->has_task)
        return PL_OK;
    int state = sqlite3_column_int(row, 0);
    pl_usec_t eta = sqlite3_column_int64(row, 1);
    int64_t queue = sqlite3_column_int64(row, 2);
    work->paused = sqlite3_column_int(row, 3) != 0;
    int rc = pl__sql_str(row, 4, arena, &work->worker), claim = sqlite3_column_int(row, 5);
    pl__sql_end(row);
    PL__TRY(rc);
    work->claimed = state == PL__TASK_CLAIMED;
    work->since = work->claimed ? pl__claim_time(claim) : 0;
    if (state == PL__TASK_DELAYED && eta > conn->due)
        work->until = eta;
    return work->claimed || work->until ? PL_OK : find_place(conn, fronts, queue, stage->id, &work->place);
}

int pl__work_read(pl__conn_t *conn, pl_stage_t *stage, pl__arena_t *arena, pl__fronts_t *fronts) {
    if (stage->state == PL_STAGE_DONE || stage->state == PL_STAGE_ABORTED)
        return PL_OK;
    pl_work_t *work = pl__arena_get(arena, sizeof *work);
    if (!work)
        return PL_ENOMEM;
    *work = (pl_work_t){ .outputs_open = 0 };
    stage->work = work;
    if (stage->state == PL_STAGE_WAITING)
        return find_unfilled(conn, stage, arena, work);
    if (stage->state == PL_STAGE_RUN)
        return count_outputs(conn, stage, work);
    return find_task(conn, stage, arena, fronts, work);
}
