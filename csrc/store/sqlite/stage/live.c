/*
 * live.c - live stages as the writer knows them: those it has made, and those whose counters it has read.
 *
 * A stage that is made here is mostly run and ended here. Remembered, its counters change by one UPDATE without a
 * SELECT before it, and the claim of its run is made without reading what was written a moment ago.
 *
 * What is remembered is what this connection's transaction would read. So all of it is forgotten when a transaction is
 * rolled back, and when another connection has committed (PRAGMA data_version); and whoever changes the row of a stage
 * changes what is remembered, or drops it. There is never need of it: when there is no memory, or too much would be
 * remembered, the oldest go, and rows are read again.
 */
#include "store/sqlite/stage/live.h"

#include <string.h>

#include "store/sqlite/db.h"

enum { PLACES_FIRST = 64, LIVES_MAX = 16384, BYTES_MAX = 4 * 1024 * 1024, WHOLE_MAX = 1024 };

/* ---- places ---------------------------------------------------------------------------------------------------- */

static size_t place_of(const pl__lives_t *lives, pl_id_t id) {
    size_t mask = lives->places_len - 1, at = (size_t)((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & mask;
    while (lives->places[at] && lives->places[at]->made.id != id)
        at = (at + 1) & mask;
    return at;
}

static bool grow(pl__lives_t *lives) {
    pl__lives_t grown = { .places_len = lives->places_len ? lives->places_len * 2 : PLACES_FIRST };
    if (lives->len * 2 < lives->places_len)
        return true;
    grown.places = pl__alloc(grown.places_len * sizeof *grown.places);
    if (!grown.places)
        return false;
    for (pl__live_t *live = lives->oldest; live; live = live->newer)
        grown.places[place_of(&grown, live->made.id)] = live;
    pl__free(lives->places);
    lives->places = grown.places;
    lives->places_len = grown.places_len;
    return true;
}

/* Takes it off its place, and moves later members of the run up, so that no marker of deleted places is needed. */
static void unplace(pl__lives_t *lives, pl_id_t id) {
    size_t at = place_of(lives, id), mask = lives->places_len - 1;
    lives->places[at] = NULL;
    for (size_t i = (at + 1) & mask; lives->places[i]; i = (i + 1) & mask) {
        pl__live_t *moved = lives->places[i];
        lives->places[i] = NULL;
        lives->places[place_of(lives, moved->made.id)] = moved;
    }
}

static void drop(pl__lives_t *lives, pl__live_t *live) {
    unplace(lives, live->made.id);
    *(live->older ? &live->older->newer : &lives->oldest) = live->newer;
    *(live->newer ? &live->newer->older : &lives->newest) = live->older;
    lives->len--;
    lives->bytes -= live->size;
    pl__free(live);
}

/* Takes live; its id is not among them. */
static bool put(pl__lives_t *lives, pl__live_t *live) {
    while (lives->oldest && (lives->len == LIVES_MAX || lives->bytes + live->size > BYTES_MAX))
        drop(lives, lives->oldest);
    if (!grow(lives)) {
        pl__free(live);
        return false;
    }
    lives->places[place_of(lives, live->made.id)] = live;
    live->older = lives->newest;
    *(lives->newest ? &lives->newest->newer : &lives->oldest) = live;
    lives->newest = live;
    lives->len++;
    lives->bytes += live->size;
    return true;
}

/* ---- remembering ----------------------------------------------------------------------------------------------- */

pl__live_t *pl__live_find(const pl__conn_t *conn, pl_id_t id) {
    const pl__lives_t *lives = &conn->lives;
    return lives->len > 0 ? lives->places[place_of(lives, id)] : NULL;
}

void pl__live_drop(pl__conn_t *conn, pl_id_t id) {
    pl__live_t *live = pl__live_find(conn, id);
    if (live)
        drop(&conn->lives, live);
}

void pl__lives_clear(pl__conn_t *conn) {
    pl__lives_t *lives = &conn->lives;
    for (pl__live_t *live = lives->oldest, *next; live; live = next) {
        next = live->newer;
        pl__free(live);
    }
    pl__free(lives->places);
    *lives = (pl__lives_t){ .version = lives->version };
}

void pl__lives_refresh(pl__conn_t *conn) {
    if (conn->lives.version != conn->data_version)
        pl__lives_clear(conn);
    conn->lives.version = conn->data_version;
}

static pl__live_t *make(pl_id_t id, size_t bytes) {
    pl__live_t *live = pl__alloc(sizeof *live + bytes);
    if (!live)
        return NULL;
    live->size = sizeof *live + bytes;
    live->made.id = id;
    return live;
}

/* How many bytes the strings and lists of a stage are. */
static size_t count_bytes(const pl_stage_new_t *stage) {
    size_t bytes = stage->class_path.len + stage->base_path.len + stage->target.len + stage->args.len + stage->key.len;
    for (size_t i = 0; i < stage->outputs_len; i++)
        bytes += sizeof *stage->outputs + stage->outputs[i].name.len;
    return bytes + (stage->inputs_len + stage->after_len) * sizeof *stage->inputs;
}

static const void *copy(char **at, const void *from, size_t len) {
    char *to = *at;
    if (len > 0)
        memcpy(to, from, len);
    *at = to + len;
    return to;
}

static pl_str_t copy_str(char **at, pl_str_t from) {
    return from.ptr ? (pl_str_t){ copy(at, from.ptr, from.len), from.len } : PL_STR_NONE;
}

/* Lists first, for they are aligned as `bytes` is. */
static void copy_whole(pl__live_t *live, const pl_stage_new_t *stage) {
    char *at = live->bytes;
    live->made = *stage;
    live->made.outputs = copy(&at, stage->outputs, stage->outputs_len * sizeof *stage->outputs);
    live->made.inputs = copy(&at, stage->inputs, stage->inputs_len * sizeof *stage->inputs);
    live->made.after = copy(&at, stage->after, stage->after_len * sizeof *stage->after);
    for (size_t i = 0; i < stage->outputs_len; i++)
        ((pl_output_t *)(uintptr_t)live->made.outputs)[i].name = copy_str(&at, stage->outputs[i].name);
    live->made.class_path = copy_str(&at, stage->class_path);
    live->made.base_path = copy_str(&at, stage->base_path);
    live->made.target = copy_str(&at, stage->target);
    live->made.args = copy_str(&at, stage->args);
    live->made.key = copy_str(&at, stage->key);
    live->made.queue = live->made.fallback = live->made.trace = PL_STR_NONE;
    live->whole = true;
}

void pl__live_add(pl__conn_t *conn, const pl_stage_new_t *stage, pl_id_t root, pl_id_t parent, int64_t queue,
                  int missing, pl_id_t waiter) {
    size_t bytes = count_bytes(stage);
    bool whole = bytes <= WHOLE_MAX;
    pl__live_t *live = make(stage->id, whole ? bytes : 0);
    if (!live)
        return;
    live->root = root;
    live->parent = parent;
    live->queue = queue;
    live->missing = missing;
    live->waiter = waiter;
    live->state = missing > 0 ? PL_STAGE_WAITING : PL_STAGE_READY;
    live->created = conn->now;
    live->started = missing > 0 ? 0 : conn->now;
    live->made.flags = stage->flags;
    live->made.priority = stage->priority;
    live->made.eta = stage->eta;
    if (whole)
        copy_whole(live, stage);
    pl__live_drop(conn, stage->id);
    (void)put(&conn->lives, live);
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

int pl__live_get(pl__conn_t *conn, pl_id_t id, pl__live_t **live) {
    sqlite3_stmt *row;
    bool found;
    *live = pl__live_find(conn, id);
    if (*live)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_LIVE, &row, "i", (int64_t)id));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    pl__live_t *read = make(id, 0);
    if (read) {
        read->root = sqlite3_column_int64(row, 0);
        read->parent = sqlite3_column_int64(row, 1);
        read->state = (pl_stage_state_t)sqlite3_column_int(row, 2);
        read->made.flags = (unsigned)sqlite3_column_int(row, 3);
        read->missing = sqlite3_column_int(row, 4);
        read->open = sqlite3_column_int(row, 5);
        read->queue = sqlite3_column_int64(row, 6);
        read->made.priority = sqlite3_column_int(row, 7);
        read->made.eta = sqlite3_column_int64(row, 8);
        read->waiter = sqlite3_column_int64(row, 9);
    }
    pl__sql_end(row);
    if (!read || !put(&conn->lives, read))
        return PL_ENOMEM;
    *live = read;
    return PL_OK;
}
