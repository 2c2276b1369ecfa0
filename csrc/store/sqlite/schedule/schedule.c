/*
 * schedule.c - rows of schedules: writing, reading and deleting them. How they fire is in fire.c.
 */
#include "store/sqlite/db.h"

/* ---- what the writer remembers ----------------------------------------------------------------------------- */

int pl__schedules_refresh(pl__conn_t *conn) {
    int64_t live;
    if (!conn->fires.unknown)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_SCHEDULE_NEXT, &conn->fires.next, PL_USEC_NEVER, ""));
    PL__TRY(pl__sql_int(conn, PL__SQL_FIRES_ANY_LIVE, &live, 0, ""));
    conn->fires.live = live != 0;
    conn->fires.unknown = false;
    return PL_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

static int read_schedule(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    enum { FIRST_COUNT = 15 };
    pl_schedule_t *schedule = item;
    (void)conn;
    *schedule = (pl_schedule_t){
        .id = sqlite3_column_int64(row, 0),
        .revision = sqlite3_column_int64(row, 5),
        .created = sqlite3_column_int64(row, 6),
        .next_nominal = sqlite3_column_int64(row, 7),
        .next_at = sqlite3_column_int64(row, 8),
        .last_nominal = sqlite3_column_int64(row, 9),
        .last_actual = sqlite3_column_int64(row, 10),
        .paused = sqlite3_column_int(row, 11) != 0,
        .pause_on_failure = sqlite3_column_int(row, 13),
        .failures = sqlite3_column_int(row, 14),
    };
    for (int i = 0; i < PL_FIRE_COUNTS_LEN; i++)
        schedule->counts[i] = sqlite3_column_int64(row, FIRST_COUNT + i);
    schedule->last_end = sqlite3_column_int64(row, FIRST_COUNT + PL_FIRE_COUNTS_LEN);
    schedule->last_state = sqlite3_column_int(row, FIRST_COUNT + PL_FIRE_COUNTS_LEN + 1);
    PL__TRY(pl__sql_str(row, 1, arena, &schedule->name));
    PL__TRY(pl__sql_str(row, 2, arena, &schedule->source));
    PL__TRY(pl__sql_str(row, 3, arena, &schedule->times));
    PL__TRY(pl__sql_str(row, 4, arena, &schedule->work));
    return pl__sql_str(row, 12, arena, &schedule->note);
}

/* How its latest fires are getting on. */
static int read_fires_of(pl__conn_t *conn, pl_schedule_t *schedule) {
    sqlite3_stmt *row;
    bool more;
    PL__TRY(pl__sql_query(conn, PL__SQL_FIRES_LIVE, &row, "i", (int64_t)schedule->id));
    PL__TRY(pl__sql_step(conn, row, &more));
    while (more) {
        bool started = sqlite3_column_int(row, 3) == PL_FIRE_STARTED;
        schedule->running += started;
        schedule->buffered += !started;
        PL__TRY(pl__sql_step(conn, row, &more));
    }
    return PL_OK;
}

static int query(pl__conn_t *conn, const pl_op_schedule_get_t *get, sqlite3_stmt **row) {
    int64_t limit = get->limit > 0 ? get->limit : INT64_MAX;
    pl_str_t after = get->after.ptr ? get->after : PL_STR_LIT("");
    if (get->name.ptr)
        return pl__sql_query(conn, PL__SQL_SCHEDULE_BY_NAME, row, "t", get->name);
    if (get->due)
        return pl__sql_query(conn, PL__SQL_SCHEDULES_DUE, row, "ii", (int64_t)get->due, limit);
    if (get->source.ptr)
        return pl__sql_query(conn, PL__SQL_SCHEDULES_OF_SOURCE, row, "tti", get->source, after, limit);
    return pl__sql_query(conn, PL__SQL_SCHEDULES, row, "ti", after, limit);
}

int pl__verb_schedule_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_schedule_get_t *get = &op->u.schedule_get;
    sqlite3_stmt *row;
    int rc;
    get->version = -1;
    if (get->source.ptr)
        PL__TRY(pl__sql_int(conn, PL__SQL_SOURCE_VERSION, &get->version, -1, "t", get->source));
    PL__TRY(query(conn, get, &row));
    pl_schedule_t *list = pl__sql_list(conn, row, &op->arena, read_schedule, sizeof *list, &get->len, &rc);
    PL__TRY(rc);
    get->schedules = list;
    return get->name.ptr && get->len ? read_fires_of(conn, list) : PL_OK;
}

static int read_fire(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    pl_fired_t *fire = item;
    (void)conn;
    *fire = (pl_fired_t){
        .id = sqlite3_column_int64(row, 0),
        .schedule = sqlite3_column_int64(row, 1),
        .target = sqlite3_column_int64(row, 2),
        .is_stage = sqlite3_column_int(row, 3) != 0,
        .nominal = sqlite3_column_int64(row, 5),
        .at = sqlite3_column_int64(row, 6),
        .previous = sqlite3_column_int64(row, 7),
        .ended = sqlite3_column_int64(row, 8),
        .reason = (pl_fire_reason_t)sqlite3_column_int(row, 9),
        .state = (pl_fire_state_t)sqlite3_column_int(row, 10),
    };
    PL__TRY(pl__sql_str(row, 11, arena, &fire->local_time));
    return pl__sql_str(row, 4, arena, &fire->name);
}

int pl__verb_fires_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_fires_get_t *get = &op->u.fires_get;
    sqlite3_stmt *row;
    int64_t id = 0;
    int rc;
    get->len = 0;
    if (get->target) {
        PL__TRY(pl__sql_query(conn, PL__SQL_TOLD, &row, "i", (int64_t)get->target));
    } else {
        PL__TRY(pl__sql_int(conn, PL__SQL_SCHEDULE_REVISION, &id, 0, "t", get->name));
        if (!id) {
            op->rc = PL_ENOTFOUND;
            return PL_OK;
        }
        PL__TRY(pl__sql_query(conn, PL__SQL_FIRES, &row, "iii", id, get->before ? (int64_t)get->before : INT64_MAX,
                              (int64_t)(get->limit > 0 ? get->limit : PL_FIRES_KEPT)));
    }
    get->fires = pl__sql_list(conn, row, &op->arena, read_fire, sizeof *get->fires, &get->len, &rc);
    return rc;
}

/* ---- writing ----------------------------------------------------------------------------------------------- */

static int find(pl__conn_t *conn, pl_str_t name, int64_t *id, int64_t *revision) {
    sqlite3_stmt *row;
    bool found;
    *id = *revision = 0;
    PL__TRY(pl__sql_query(conn, PL__SQL_SCHEDULE_REVISION, &row, "t", name));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    *id = sqlite3_column_int64(row, 0);
    *revision = sqlite3_column_int64(row, 1);
    pl__sql_end(row);
    return PL_OK;
}

/* Sets the rc of each, and that of the op, before anything is written. */
static int check(pl__conn_t *conn, pl_op_t *op) {
    pl_op_schedule_set_t *set = &op->u.schedule_set;
    for (size_t i = 0; i < set->len; i++) {
        pl_schedule_t *schedule = &set->schedules[i];
        int64_t id, revision;
        PL__TRY(find(conn, schedule->name, &id, &revision));
        schedule->rc = revision == schedule->revision ? PL_OK
                       : !id                          ? PL_ENOTFOUND
                       : schedule->revision == 0      ? PL_EEXISTS
                                                      : PL_ESTALE;
        if (schedule->rc != PL_OK)
            op->rc = PL_ESTALE;
        else if (id)
            schedule->id = id;
    }
    if (!set->source.ptr)
        return PL_OK;
    int64_t version;
    PL__TRY(pl__sql_int(conn, PL__SQL_SOURCE_VERSION, &version, -1, "t", set->source));
    if (version != set->version_before)
        op->rc = PL_ESTALE;
    return PL_OK;
}

static int write_one(pl__conn_t *conn, pl_schedule_t *s) {
    if (s->revision == 0)
        return pl__sql_run(conn, PL__SQL_SCHEDULE_ADD, NULL, "ittbbizzzitz", (int64_t)s->id, s->name, s->source,
                           s->times, s->work, (int64_t)conn->now, (int64_t)s->next_nominal, (int64_t)s->next_at,
                           (int64_t)s->last_nominal, (int64_t)s->paused, s->note, (int64_t)s->pause_on_failure);
    PL__TRY(pl__sql_run(conn, PL__SQL_SCHEDULE_SET, NULL, "itbbzzzitzi", (int64_t)s->id, s->source, s->times, s->work,
                        (int64_t)s->next_nominal, (int64_t)s->next_at, (int64_t)s->last_nominal, (int64_t)s->paused,
                        s->note, (int64_t)s->pause_on_failure, s->counts[PL_COUNT_skipped_paused]));
    return pl__fires_release(conn, s->id); /* what was buffered while it was paused */
}

static int delete_by_name(pl__conn_t *conn, pl_str_t name, bool abort, bool *found) {
    int64_t id, revision;
    PL__TRY(find(conn, name, &id, &revision));
    *found = id != 0;
    if (!id)
        return PL_OK;
    PL__TRY(pl__fires_end(conn, id, abort));
    conn->fires.unknown = true;
    return pl__sql_run(conn, PL__SQL_SCHEDULE_DELETE, NULL, "i", id);
}

int pl__verb_schedule_set(pl__conn_t *conn, pl_op_t *op) {
    pl_op_schedule_set_t *set = &op->u.schedule_set;
    PL__TRY(pl__fires_flush(conn));
    PL__TRY(check(conn, op));
    if (op->rc != PL_OK)
        return PL_OK;
    conn->fires.unknown = conn->notify = true;
    for (size_t i = 0; i < set->len; i++)
        PL__TRY(write_one(conn, &set->schedules[i]));
    for (size_t i = 0; i < set->removed_len; i++) {
        bool found;
        PL__TRY(delete_by_name(conn, set->removed[i], set->abort, &found));
    }
    return set->source.ptr ? pl__sql_run(conn, PL__SQL_SOURCE_SET, NULL, "ti", set->source, set->version) : PL_OK;
}

int pl__verb_schedule_delete(pl__conn_t *conn, pl_op_t *op) {
    bool found;
    PL__TRY(delete_by_name(conn, op->u.schedule_delete.name, op->u.schedule_delete.abort, &found));
    if (!found)
        op->rc = PL_ENOTFOUND;
    return PL_OK;
}
