/*
 * watch.c - the stages whose ends somebody in this process waits for, and the ends, and aborts, that are to be told.
 */
#include "store/sqlite/db.h"

static size_t watch_place(const pl__conn_t *conn, pl_id_t stage) {
    size_t at = (size_t)((uint64_t)stage * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (conn->watched_size - 1);
    while (conn->watched[at] && conn->watched[at] != stage)
        at = (at + 1) & (conn->watched_size - 1);
    return at;
}

bool pl__is_watched(const pl__conn_t *conn, pl_id_t stage) {
    return conn->watched_len > 0 && conn->watched[watch_place(conn, stage)] == stage;
}

static int watch_resize(pl__conn_t *conn, size_t size) {
    pl_id_t *old = conn->watched;
    size_t old_size = conn->watched_size;
    pl_id_t *fresh = pl__alloc(size * sizeof *fresh);
    if (!fresh)
        return PL_ENOMEM;
    conn->watched = fresh;
    conn->watched_size = size;
    for (size_t i = 0; i < old_size; i++)
        if (old[i])
            conn->watched[watch_place(conn, old[i])] = old[i];
    pl__free(old);
    return PL_OK;
}

int pl__watch_add(pl__conn_t *conn, pl_id_t stage) {
    if (conn->watched_len * 2 >= conn->watched_size)
        PL__TRY(watch_resize(conn, conn->watched_size ? conn->watched_size * 2 : 16));
    size_t at = watch_place(conn, stage);
    conn->watched_len += conn->watched[at] == 0;
    conn->watched[at] = stage;
    return PL_OK;
}

/* Removes and moves later members of the run up, so that no marker of deleted places is needed. */
void pl__watch_remove(pl__conn_t *conn, pl_id_t stage) {
    if (!pl__is_watched(conn, stage))
        return;
    size_t at = watch_place(conn, stage), mask = conn->watched_size - 1;
    conn->watched[at] = 0;
    conn->watched_len--;
    for (size_t i = (at + 1) & mask; conn->watched[i]; i = (i + 1) & mask) {
        pl_id_t moved = conn->watched[i];
        conn->watched[i] = 0;
        conn->watched[watch_place(conn, moved)] = moved;
    }
}

static int note(pl__conn_t *conn, pl_id_t stage, pl_stage_state_t state, bool unwatched) {
    pl_watch_event_t *final = pl__arena_get(&conn->scratch, sizeof *final);
    if (!final)
        return PL_ENOMEM;
    *final = (pl_watch_event_t){
        .next = conn->finals, .stage = stage, .state = state, .ours = true, .unwatched = unwatched
    };
    conn->finals = final;
    return PL_OK;
}

int pl__note_over(pl__conn_t *conn, pl_id_t target, pl_fire_state_t state) {
    if (!conn->fires.live)
        return PL_OK;
    pl__over_t *over = pl__arena_get(&conn->scratch, sizeof *over);
    if (!over)
        return PL_ENOMEM;
    *over = (pl__over_t){ conn->fires.over, target, state };
    conn->fires.over = over;
    return PL_OK;
}

int pl__note_final(pl__conn_t *conn, pl_id_t stage, pl_stage_state_t state) {
    conn->notify = true; /* somebody in another process may wait for it */
    conn->any_final = true;
    bool is_watched = pl__is_watched(conn, stage);
    if (is_watched || conn->tells)
        PL__TRY(note(conn, stage, state, !is_watched));
    return pl__note_over(conn, stage, state == PL_STAGE_DONE ? PL_FIRE_DONE : PL_FIRE_FAILED);
}

int pl__note_abort(pl__conn_t *conn, pl_id_t stage) {
    conn->notify = true; /* it may be another process that executes the run */
    PL__TRY(pl__sql_run(conn, PL__SQL_ABORTS_COUNT, NULL, ""));
    return note(conn, stage, PL_STAGE_ABORTING, false);
}

int pl__note_news(pl__conn_t *conn, pl_id_t stage) {
    conn->notify = true; /* it may be another process that executes it */
    return note(conn, stage, PL_STAGE_READY, false);
}

int pl__check_news(pl__conn_t *conn) {
    sqlite3_stmt *row;
    size_t len;
    int rc;
    if (!conn->has_claims)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_FLOWS_NEWS, &row, "i", (int64_t)conn->worker));
    const pl_id_t *ids = pl__sql_list(conn, row, &conn->scratch, pl__sql_read_id, sizeof *ids, &len, &rc);
    for (size_t i = 0; rc == PL_OK && i < len; i++)
        rc = note(conn, ids[i], PL_STAGE_READY, false);
    return rc;
}

int pl__check_aborts(pl__conn_t *conn) {
    sqlite3_stmt *row;
    size_t len;
    int rc;
    PL__TRY(pl__sql_int(conn, PL__SQL_ABORTS, &conn->aborts, 0, ""));
    if (conn->aborts == conn->aborts_seen)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_RUNS_ABORTED, &row, "iii", (int64_t)conn->worker, (int64_t)PL_TASK_RUN,
                          (int64_t)PL_STAGE_ABORTING));
    const pl_id_t *ids = pl__sql_list(conn, row, &conn->scratch, pl__sql_read_id, sizeof *ids, &len, &rc);
    for (size_t i = 0; rc == PL_OK && i < len; i++)
        rc = note(conn, ids[i], PL_STAGE_ABORTING, false);
    return rc;
}
