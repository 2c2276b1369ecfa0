/*
 * fire.c - a schedule fires: the row has the time that was expected, or somebody else was first. Then each of the new
 * fires is started, buffered or skipped, as its overlap rule says, and the row has its next time, all in one commit.
 */
#include <stdio.h>

#include "store/sqlite/schedule/schedule.h"

enum { TRIM_EVERY = 16 };

/* ---- one fire ---------------------------------------------------------------------------------------------- */

static int note_fire(pl__conn_t *conn, pl_id_t schedule, const pl_fire_new_t *fire) {
    pl_id_t target = fire->stage ? fire->stage->id : fire->task->id;
    bool is_live = fire->state == PL_FIRE_BUFFERED || fire->state == PL_FIRE_STARTED;
    bool has_ended = fire->state == PL_FIRE_FAILED;
    conn->fires.live = conn->fires.live || is_live;
    return pl__sql_run(conn, PL__SQL_FIRE_ADD, NULL, "iiiiziiizz", (int64_t)fire->id, (int64_t)schedule,
                       (int64_t)fire->nominal, (int64_t)fire->at, (int64_t)fire->previous, (int64_t)fire->reason,
                       (int64_t)fire->state, (int64_t) !!fire->stage, (int64_t)(is_live ? target : 0),
                       (int64_t)(has_ended ? conn->now : 0));
}

static int add_stage(pl__conn_t *conn, pl_str_t name, pl_fire_new_t *fire, bool hold) {
    fire->state = hold ? PL_FIRE_BUFFERED : PL_FIRE_STARTED;
    fire->stage->hold = hold;
    PL__TRY(pl__stage_insert(conn, fire->stage, fire->stage->id, 0, 0, 0));
    PL__TRY(pl__stage_rows_flush(conn)); /* what it is told refers to it */
    return pl__sql_run(conn, PL__SQL_TOLD_ADD, NULL, "itiizit", (int64_t)fire->stage->id, name, (int64_t)fire->nominal,
                       (int64_t)fire->at, (int64_t)fire->previous, (int64_t)fire->reason, fire->local_time);
}

static int add_task(pl__conn_t *conn, pl_fire_new_t *fire, bool hold) {
    fire->task->eta = hold ? PL_USEC_MAX : 0;
    PL__TRY(pl__task_check(conn, fire->task));
    fire->state = fire->task->rc != PL_OK ? PL_FIRE_FAILED : hold ? PL_FIRE_BUFFERED : PL_FIRE_STARTED;
    return fire->task->rc == PL_OK ? pl__task_new(conn, fire->task) : PL_OK;
}

typedef struct {
    pl_op_schedule_fire_t *op;
    pl__schedule_brief_t brief;
    int64_t *counts;
} firing_t;

static int add_work(pl__conn_t *conn, const firing_t *f, pl_fire_new_t *fire, bool hold) {
    return fire->stage ? add_stage(conn, f->brief.name, fire, hold) : add_task(conn, fire, hold);
}

/* Ends, or begins to end, what is running for the sake of a newer fire. At once: what is buffered is given up, too. */
static int end_others(pl__conn_t *conn, const firing_t *f, const pl__live_fires_t *live, bool at_once) {
    enum { TEXT_MAX = 200 };
    pl_str_t name = f->brief.name;
    char *text = pl__arena_get(&conn->scratch, TEXT_MAX);
    if (!text)
        return PL_ENOMEM;
    snprintf(text, TEXT_MAX, "the schedule '%.*s' has fired again", name.len < 100 ? (int)name.len : 100, name.ptr);
    for (size_t i = 0; i < live->running; i++) {
        const pl__live_fire_t *fire = &live->list[i];
        PL__TRY(pl__sql_run(conn, PL__SQL_FIRE_UNWANTED, NULL, "i", (int64_t)fire->id));
        PL__TRY(pl__fire_work_end(conn, fire, at_once, pl_str(text)));
    }
    for (size_t i = live->running; at_once && i < live->len; i++)
        PL__TRY(pl__fire_cancel(conn, f->op->schedule, &live->list[i], f->counts));
    return PL_OK;
}

/* Buffers a fire; with too many, the oldest ones are given up. */
static int buffer(pl__conn_t *conn, const firing_t *f, pl_fire_new_t *fire, const pl__live_fires_t *live, int most) {
    size_t first = live->running, buffered = live->len - live->running;
    for (; buffered >= (size_t)most && buffered > 0; buffered--, first++)
        PL__TRY(pl__fire_cancel(conn, f->op->schedule, &live->list[first], f->counts));
    return add_work(conn, f, fire, true);
}

static int apply_overlap(pl__conn_t *conn, const firing_t *f, pl_fire_new_t *fire, const pl__live_fires_t *live) {
    size_t buffered = live->len - live->running;
    switch (fire->overlap) {
    case PL_OVERLAP_BUFFER_ONE:
        if (buffered == 0)
            return add_work(conn, f, fire, true);
        break;
    case PL_OVERLAP_BUFFER_ALL:
        return buffer(conn, f, fire, live, f->op->buffered_max > 0 ? f->op->buffered_max : 1);
    case PL_OVERLAP_CANCEL_OTHER: /* see make */
        return buffer(conn, f, fire, live, 1);
    case PL_OVERLAP_TERMINATE_OTHER:
        PL__TRY(end_others(conn, f, live, true));
        return add_work(conn, f, fire, false);
    default:
        break;
    }
    fire->state = PL_FIRE_SKIPPED;
    return PL_OK;
}

/* Whether its nominal time has fired before, by whatever but a trigger, or its root is there. */
static int is_taken(pl__conn_t *conn, pl_id_t schedule, const pl_fire_new_t *fire, bool *taken) {
    int64_t found = 0;
    if (fire->reason != PL_REASON_TRIGGER && !fire->again)
        PL__TRY(pl__sql_int(conn, PL__SQL_FIRE_HAS, &found, 0, "ii", (int64_t)schedule, (int64_t)fire->nominal));
    if (!found && fire->stage && fire->stage->key.ptr)
        PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_BY_KEY, &found, 0, "b", fire->stage->key));
    *taken = found != 0;
    return PL_OK;
}

static int make(pl__conn_t *conn, const firing_t *f, pl_fire_new_t *fire) {
    pl__live_fires_t live;
    pl_id_t schedule = f->op->schedule;
    bool taken;
    PL__TRY(pl__fires_live(conn, schedule, &live));
    PL__TRY(is_taken(conn, schedule, fire, &taken));
    fire->state = PL_FIRE_SKIPPED;
    fire->was_fired = taken && fire->reason == PL_REASON_BACKFILL;
    if (fire->was_fired)
        return PL_OK;
    bool waits = live.len > 0 && fire->overlap != PL_OVERLAP_ALLOW_ALL;
    if (!taken)
        PL__TRY(waits ? apply_overlap(conn, f, fire, &live) : add_work(conn, f, fire, false));
    PL__TRY(note_fire(conn, schedule, fire));
    if (waits && fire->overlap == PL_OVERLAP_CANCEL_OTHER && fire->state == PL_FIRE_BUFFERED)
        PL__TRY(end_others(conn, f, &live, false)); /* now that it is noted: the end of the other releases it */
    f->counts[fire->state == PL_FIRE_SKIPPED ? PL_COUNT_skipped : pl__fire_count_of(fire->reason)]++;
    return fire->state == PL_FIRE_FAILED ? pl__fire_result(conn, schedule, false) : PL_OK;
}

/* ---- the verb ---------------------------------------------------------------------------------------------- */

/* The row first: what the work of a fire does to the schedule, such as a pause for failures, comes after it. */
static int move_on(pl__conn_t *conn, const pl_op_schedule_fire_t *fire) {
    pl_usec_t last = fire->len ? fire->fires[fire->len - 1].at : 0;
    if (!fire->nominal)
        return PL_OK;
    return pl__sql_run(conn, PL__SQL_SCHEDULE_FIRED, NULL, "izzzzt", (int64_t)fire->schedule,
                       (int64_t)fire->next_nominal, (int64_t)fire->next_at, (int64_t)fire->last_nominal, (int64_t)last,
                       fire->note);
}

static int count(pl__conn_t *conn, pl_id_t schedule, const int64_t *counts) {
    return pl__sql_run(conn, PL__SQL_SCHEDULE_COUNT, NULL, "iiiiiiiiii", (int64_t)schedule, counts[PL_COUNT_fired],
                       counts[PL_COUNT_caught_up], counts[PL_COUNT_triggered], counts[PL_COUNT_backfilled],
                       counts[PL_COUNT_skipped], counts[PL_COUNT_skipped_paused], counts[PL_COUNT_skipped_gap],
                       counts[PL_COUNT_missed], counts[PL_COUNT_dropped]);
}

static int trim(pl__conn_t *conn, pl_id_t schedule) {
    int64_t last;
    PL__TRY(
        pl__sql_int(conn, PL__SQL_FIRES_OLD, &last, 0, "iii", (int64_t)schedule, INT64_MAX, (int64_t)PL_FIRES_KEPT));
    pl_usec_t backfills = conn->now - PL_BACKFILLS_KEPT_SECONDS * PL_USEC_PER_SEC;
    return last ? pl__sql_run(conn, PL__SQL_FIRES_TRIM, NULL, "iii", (int64_t)schedule, last, (int64_t)backfills)
                : PL_OK;
}

/* Makes them in their order. A failure may pause the schedule: then those that are left are times in a pause, unless
 * somebody wants them all the same. */
static int make_all(pl__conn_t *conn, firing_t *f) {
    const pl_op_schedule_fire_t *op = f->op;
    int64_t before = f->counts[PL_COUNT_fired] + f->counts[PL_COUNT_caught_up], used = 0;
    for (size_t i = 0; i < op->len && (!op->left || used < op->left); i++) {
        pl_fire_new_t *fire = &op->fires[i];
        bool by_clock = fire->reason == PL_REASON_SCHEDULE || fire->reason == PL_REASON_CATCH_UP;
        if (by_clock && f->brief.paused) {
            fire->state = PL_FIRE_SKIPPED;
            f->counts[PL_COUNT_skipped_paused]++;
            continue;
        }
        PL__TRY(make(conn, f, fire));
        used = f->counts[PL_COUNT_fired] + f->counts[PL_COUNT_caught_up] - before;
        if (fire->state == PL_FIRE_FAILED)
            PL__TRY(pl__schedule_brief(conn, op->schedule, &f->brief));
    }
    return op->left && used >= op->left ? pl__sql_run(conn, PL__SQL_SCHEDULE_FINISH, NULL, "i", (int64_t)op->schedule)
                                        : PL_OK;
}

int pl__verb_schedule_fire(pl__conn_t *conn, pl_op_t *op) {
    pl_op_schedule_fire_t *fire = &op->u.schedule_fire;
    int64_t counts[PL_FIRE_COUNTS_LEN];
    firing_t f = { .op = fire, .counts = counts };
    for (int i = 0; i < PL_FIRE_COUNTS_LEN; i++)
        counts[i] = fire->counts[i];
    PL__TRY(pl__fires_flush(conn));
    PL__TRY(pl__schedule_brief(conn, fire->schedule, &f.brief));
    bool is_other =
        fire->nominal && (f.brief.next != fire->nominal || f.brief.paused || f.brief.revision != fire->revision);
    op->rc = !f.brief.found ? PL_ENOTFOUND : is_other ? PL_ESTALE : PL_OK;
    if (op->rc != PL_OK)
        return PL_OK;
    conn->fires.unknown = true;
    PL__TRY(move_on(conn, fire));
    PL__TRY(make_all(conn, &f));
    PL__TRY(count(conn, fire->schedule, counts));
    if (fire->pause_note.ptr)
        PL__TRY(pl__sql_run(conn, PL__SQL_SCHEDULE_PAUSE, NULL, "it", (int64_t)fire->schedule, fire->pause_note));
    return f.brief.total % TRIM_EVERY == 0 ? trim(conn, fire->schedule) : PL_OK;
}
