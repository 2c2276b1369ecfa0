/*
 * ends.c - the work of a fire is final: the fire is over, and the next one that is buffered starts in the same commit.
 *
 * Whoever makes a root final, or ends a task, notes that (watch.c); what follows from it is done at the end of the
 * transaction. Where no fire is under way on the file, which the writer remembers, that costs nothing; else a look at
 * an index.
 */
#include <stdio.h>

#include "store/sqlite/schedule/schedule.h"

/* ---- the work ---------------------------------------------------------------------------------------------- */

static int is_stage_live(pl__conn_t *conn, pl_id_t stage, bool *live) {
    int64_t state;
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_STATE, &state, PL_STAGE_ABORTED, "i", (int64_t)stage));
    *live = state != PL_STAGE_DONE && state != PL_STAGE_ABORTED;
    return PL_OK;
}

/* One of this very transaction may not be written yet. */
static int is_task_live(pl__conn_t *conn, pl_id_t task, bool *live) {
    int64_t state;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_TASK_STATE, &state, -1, "i", (int64_t)task));
    *live = state >= 0 && state != PL__TASK_DEAD;
    return PL_OK;
}

static int is_work_live(pl__conn_t *conn, const pl__live_fire_t *fire, bool *live) {
    return fire->is_stage ? is_stage_live(conn, fire->target, live) : is_task_live(conn, fire->target, live);
}

/* Work that was held back begins. False: it is not there any more. */
static int release_stage(pl__conn_t *conn, pl_id_t stage, bool *released) {
    pl__live_t *live;
    PL__TRY(pl__live_get(conn, stage, &live));
    *released = live && live->state == PL_STAGE_READY;
    if (!*released)
        return PL_OK;
    return pl__task_push(
        conn,
        &(pl__pending_t){ .id = stage, .kind = PL_TASK_RUN, .queue = live->queue, .priority = live->made.priority });
}

static int release_task(pl__conn_t *conn, pl_id_t task, bool *released) {
    int changes;
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__sql_run(conn, PL__SQL_WORK_TASK_NOW, &changes, "ii", (int64_t)task, (int64_t)conn->due));
    *released = changes > 0;
    (void)pl__task_waits(conn, conn->due); /* somebody has something to do */
    return PL_OK;
}

int pl__fire_work_end(pl__conn_t *conn, const pl__live_fire_t *fire, bool at_once, pl_str_t message) {
    bool live;
    int64_t state;
    if (fire->is_stage) {
        PL__TRY(is_stage_live(conn, fire->target, &live));
        if (!live)
            return PL_OK;
        return at_once ? pl__stage_end_tree(conn, fire->target, message)
                       : pl__stage_abort_tree(conn, fire->target, message, 0);
    }
    PL__TRY(pl__task_flush(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_TASK_STATE, &state, PL__TASK_DEAD, "i", (int64_t)fire->target));
    bool may_end = state != PL__TASK_DEAD && (at_once || state != PL__TASK_CLAIMED);
    return may_end ? pl__task_end(conn, fire->target) : PL_OK;
}

/* ---- fires ------------------------------------------------------------------------------------------------- */

static int read_live(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    (void)arena;
    *(pl__live_fire_t *)item = (pl__live_fire_t){
        .id = sqlite3_column_int64(row, 0),
        .target = sqlite3_column_int64(row, 1),
        .is_stage = sqlite3_column_int(row, 2) != 0,
        .state = (pl_fire_state_t)sqlite3_column_int(row, 3),
        .reason = (pl_fire_reason_t)sqlite3_column_int(row, 4),
    };
    return PL_OK;
}

static int list_live(pl__conn_t *conn, pl_id_t schedule, pl__live_fires_t *live) {
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__deltas_flush(conn)); /* what this transaction has ended is to be known */
    PL__TRY(pl__sql_query(conn, PL__SQL_FIRES_LIVE, &row, "i", (int64_t)schedule));
    live->list = pl__sql_list(conn, row, &conn->scratch, read_live, sizeof *live->list, &live->len, &rc);
    live->running = 0;
    while (rc == PL_OK && live->running < live->len && live->list[live->running].state == PL_FIRE_STARTED)
        live->running++;
    return rc;
}

int pl__fire_count_of(pl_fire_reason_t reason) {
    static const int COUNTS[] = { [PL_REASON_SCHEDULE] = PL_COUNT_fired,
                                  [PL_REASON_CATCH_UP] = PL_COUNT_caught_up,
                                  [PL_REASON_TRIGGER] = PL_COUNT_triggered,
                                  [PL_REASON_BACKFILL] = PL_COUNT_backfilled };
    return COUNTS[reason];
}

/* It was counted as fired when it was buffered; each time is in one count only. */
static int count_dropped(pl__conn_t *conn, pl_id_t schedule, pl_fire_reason_t reason, int64_t *counts) {
    if (!counts)
        return pl__sql_run(conn, PL__SQL_SCHEDULE_DROPPED, NULL, "ii", (int64_t)schedule, (int64_t)reason);
    counts[pl__fire_count_of(reason)]--;
    counts[PL_COUNT_dropped]++;
    return PL_OK;
}

int pl__fire_cancel(pl__conn_t *conn, pl_id_t schedule, const pl__live_fire_t *fire, int64_t *counts) {
    PL__TRY(count_dropped(conn, schedule, fire->reason, counts));
    PL__TRY(pl__sql_run(conn, PL__SQL_FIRE_END, NULL, "iii", (int64_t)fire->id, (int64_t)PL_FIRE_CANCELLED,
                        (int64_t)conn->now));
    pl__live_drop(conn, fire->target);
    if (fire->is_stage)
        return pl__sql_run(conn, PL__SQL_STAGE_DELETE, NULL, "i", (int64_t)fire->target);
    PL__TRY(pl__task_flush(conn));
    return pl__task_end(conn, fire->target);
}

int pl__schedule_brief(pl__conn_t *conn, pl_id_t id, pl__schedule_brief_t *brief) {
    sqlite3_stmt *row;
    PL__TRY(pl__sql_query(conn, PL__SQL_SCHEDULE_BRIEF, &row, "i", (int64_t)id));
    PL__TRY(pl__sql_step(conn, row, &brief->found));
    if (!brief->found)
        return PL_OK;
    brief->revision = sqlite3_column_int64(row, 0);
    brief->next = sqlite3_column_int64(row, 1);
    brief->paused = sqlite3_column_int(row, 2) != 0;
    brief->pause_on_failure = sqlite3_column_int(row, 3);
    brief->failures = sqlite3_column_int(row, 4);
    brief->total = sqlite3_column_int64(row, 5);
    int rc = pl__sql_str(row, 6, &conn->scratch, &brief->name);
    pl__sql_end(row);
    return rc;
}

int pl__fire_result(pl__conn_t *conn, pl_id_t schedule, bool ok) {
    enum { NOTE_MAX = 60 };
    pl__schedule_brief_t brief;
    char note[NOTE_MAX];
    PL__TRY(pl__schedule_brief(conn, schedule, &brief));
    if (!brief.found)
        return PL_OK;
    int failures = ok ? 0 : brief.failures + 1;
    PL__TRY(pl__sql_run(conn, PL__SQL_SCHEDULE_RESULT, NULL, "iiii", (int64_t)schedule, (int64_t)failures,
                        (int64_t)conn->now, (int64_t)(ok ? PL_FIRE_DONE : PL_FIRE_FAILED)));
    if (!brief.pause_on_failure || failures < brief.pause_on_failure || brief.paused)
        return PL_OK;
    snprintf(note, sizeof note, "paused after %d failed fires in a row", failures);
    conn->fires.unknown = true;
    return pl__sql_run(conn, PL__SQL_SCHEDULE_PAUSE, NULL, "it", (int64_t)schedule, pl_str(note));
}

static int release_next(pl__conn_t *conn, pl_id_t schedule, bool *again) {
    pl__live_fires_t live;
    bool released;
    *again = false;
    PL__TRY(list_live(conn, schedule, &live));
    if (live.running > 0 || live.len == 0)
        return PL_OK;
    const pl__live_fire_t *next = &live.list[0];
    PL__TRY(next->is_stage ? release_stage(conn, next->target, &released)
                           : release_task(conn, next->target, &released));
    *again = !released;
    if (!released) {
        PL__TRY(count_dropped(conn, schedule, next->reason, NULL));
        return pl__sql_run(conn, PL__SQL_FIRE_END, NULL, "iii", (int64_t)next->id, (int64_t)PL_FIRE_CANCELLED,
                           (int64_t)conn->now);
    }
    if (next->is_stage)
        PL__TRY(pl__sql_run(conn, PL__SQL_TOLD_AT, NULL, "ii", (int64_t)next->target, (int64_t)conn->now));
    return pl__sql_run(conn, PL__SQL_FIRE_START, NULL, "ii", (int64_t)next->id, (int64_t)conn->now);
}

int pl__fires_release(pl__conn_t *conn, pl_id_t schedule) {
    pl__schedule_brief_t brief;
    PL__TRY(pl__schedule_brief(conn, schedule, &brief));
    for (bool again = brief.found && !brief.paused; again;)
        PL__TRY(release_next(conn, schedule, &again));
    return PL_OK;
}

static int is_over(pl__conn_t *conn, pl_id_t target, pl_fire_state_t state) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_FIRE_OF_TARGET, &row, "i", (int64_t)target));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    pl_id_t fire = sqlite3_column_int64(row, 0), schedule = sqlite3_column_int64(row, 1);
    bool was_started = sqlite3_column_int(row, 2) == PL_FIRE_STARTED, unwanted = sqlite3_column_int(row, 3) != 0;
    pl_fire_reason_t reason = (pl_fire_reason_t)sqlite3_column_int(row, 4);
    pl__sql_end(row);
    if (!was_started || (unwanted && state == PL_FIRE_FAILED))
        state = PL_FIRE_CANCELLED;
    if (!was_started)
        PL__TRY(count_dropped(conn, schedule, reason, NULL));
    conn->fires.unknown = true; /* it may have been the last one that was live */
    PL__TRY(pl__sql_run(conn, PL__SQL_FIRE_END, NULL, "iii", (int64_t)fire, (int64_t)state, (int64_t)conn->now));
    if (state != PL_FIRE_CANCELLED)
        PL__TRY(pl__fire_result(conn, schedule, state == PL_FIRE_DONE));
    return pl__fires_release(conn, schedule);
}

int pl__fires_flush(pl__conn_t *conn) {
    if (!conn->fires.live)
        return PL_OK;
    PL__TRY(pl__deltas_flush(conn)); /* what has settled has ended, too */
    while (conn->fires.over) {
        pl__over_t *list = NULL; /* the oldest first */
        for (pl__over_t *over = conn->fires.over, *next; over; over = next) {
            next = over->next;
            over->next = list;
            list = over;
        }
        conn->fires.over = NULL;
        for (; list; list = list->next)
            PL__TRY(is_over(conn, list->target, list->state));
    }
    return PL_OK;
}

int pl__fires_live(pl__conn_t *conn, pl_id_t schedule, pl__live_fires_t *live) {
    bool any_over = false;
    PL__TRY(list_live(conn, schedule, live));
    for (size_t i = 0; i < live->running; i++) {
        bool is_live;
        PL__TRY(is_work_live(conn, &live->list[i], &is_live));
        if (is_live)
            continue;
        any_over = true;
        PL__TRY(is_over(conn, live->list[i].target, PL_FIRE_CANCELLED));
    }
    return any_over ? list_live(conn, schedule, live) : PL_OK;
}

int pl__fires_end(pl__conn_t *conn, pl_id_t schedule, bool abort) {
    pl__live_fires_t live;
    PL__TRY(list_live(conn, schedule, &live));
    for (size_t i = live.len; i > live.running; i--)
        PL__TRY(pl__fire_cancel(conn, schedule, &live.list[i - 1], NULL));
    for (size_t i = 0; abort && i < live.running; i++)
        PL__TRY(pl__fire_work_end(conn, &live.list[i], false, PL_STR_LIT("its schedule was deleted")));
    return PL_OK;
}
