/*
 * queues.c - what is remembered of queues between transactions: ids, names, settings.
 *
 * Settings are read again at the beginning of a transaction when another connection has committed since the last one
 * (PRAGMA data_version), so that a change made by one process holds for the next claim of every other.
 */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite/db.h"

/* ---- by name ----------------------------------------------------------------------------------------------------- */

/* FNV-1a. */
static size_t hash(pl_str_t name) {
    uint64_t sum = 14695981039346656037U;
    for (size_t i = 0; i < name.len; i++)
        sum = (sum ^ (unsigned char)name.ptr[i]) * 1099511628211U;
    return (size_t)(sum ^ sum >> 32);
}

/* Where the queue of that name is, or would be put. There is always a free place. */
static size_t *place_of(const pl__conn_t *conn, pl_str_t name) {
    size_t mask = conn->by_name_size - 1, at = hash(name) & mask;
    for (; conn->by_name[at] > 0; at = (at + 1) & mask) {
        const pl__queue_t *queue = &conn->queues[conn->by_name[at] - 1];
        if (queue->len == name.len && memcmp(queue->name, name.ptr, name.len) == 0)
            break;
    }
    return &conn->by_name[at];
}

/* Room for one more, at most half of it full. */
static int grow_names(pl__conn_t *conn) {
    enum { FIRST = 32 };
    if (conn->by_name_size > 2 * (conn->queues_len + 1))
        return PL_OK;
    size_t size = conn->by_name_size ? conn->by_name_size * 2 : FIRST;
    size_t *names = pl__alloc(size * sizeof *names);
    if (!names)
        return PL_ENOMEM;
    pl__free(conn->by_name);
    conn->by_name = names;
    conn->by_name_size = size;
    memset(names, 0, size * sizeof *names);
    for (size_t i = 0; i < conn->queues_len; i++)
        *place_of(conn, (pl_str_t){ conn->queues[i].name, conn->queues[i].len }) = i + 1;
    return PL_OK;
}

static pl__queue_t *look_up(pl__conn_t *conn, pl_str_t name) {
    size_t at = conn->by_name_size ? *place_of(conn, name) : 0;
    return at ? &conn->queues[at - 1] : NULL;
}

/* ---- remembered -------------------------------------------------------------------------------------------------- */

static void forget(pl__conn_t *conn) {
    for (size_t i = 0; i < conn->queues_len; i++) {
        pl__free(conn->queues[i].name);
        pl__free(conn->queues[i].target);
    }
    conn->queues_len = 0;
    if (conn->by_name_size > 0)
        memset(conn->by_name, 0, conn->by_name_size * sizeof *conn->by_name);
}

void pl__queues_free(pl__conn_t *conn) {
    forget(conn);
    pl__free(conn->queues);
    pl__free(conn->by_name);
    conn->queues = NULL;
    conn->by_name = NULL;
    conn->queues_size = conn->by_name_size = 0;
}

/* A copy with a NUL; an absent string has none. */
static int duplicate(pl_str_t text, char **copy) {
    *copy = text.ptr ? pl__alloc(text.len + 1) : NULL;
    if (!*copy)
        return text.ptr ? PL_ENOMEM : PL_OK;
    memcpy(*copy, text.ptr, text.len);
    return PL_OK;
}

static int remember(pl__conn_t *conn, pl_str_t name, pl_str_t target, const pl__queue_t *queue) {
    enum { FIRST = 8 };
    size_t before = conn->queues_size;
    pl__queue_t *room = pl__reserve(conn->queues, conn->queues_len, &conn->queues_size, FIRST, sizeof *room);
    if (!room)
        return PL_ENOMEM;
    memset(room + before, 0, (conn->queues_size - before) * sizeof *room);
    conn->queues = room;
    PL__TRY(grow_names(conn));
    pl__queue_t *place = &conn->queues[conn->queues_len];
    pl__permit_t permit = place->id == queue->id ? place->permit : (pl__permit_t){ 0 }; /* read again: its pace stays */
    *place = *queue;
    place->permit = permit;
    place->len = name.len;
    place->served = pl_queue_is_served(conn->options.serves, name);
    PL__TRY(duplicate(name, &place->name));
    *place_of(conn, name) = ++conn->queues_len; /* from here on it is forgotten with the others */
    PL__TRY(duplicate(target, &place->target));
    conn->any_limits = conn->any_limits || queue->paused || queue->rate >= 0 || queue->max_concurrent > 0;
    return PL_OK;
}

pl_retry_t pl__retry_read(sqlite3_stmt *row, int column) {
    double values[6];
    for (int i = 0; i < 6; i++) {
        bool is_set = sqlite3_column_type(row, column + i) != SQLITE_NULL;
        values[i] = is_set ? sqlite3_column_double(row, column + i) : -1;
    }
    return (pl_retry_t){ values[0], values[1], values[2], values[3], values[4], values[5] };
}

static int remember_row(pl__conn_t *conn, sqlite3_stmt *row) {
    const char *name = (const char *)sqlite3_column_text(row, 1);
    bool has_rate = sqlite3_column_type(row, 5) != SQLITE_NULL;
    pl__queue_t queue = { .id = sqlite3_column_int64(row, 0),
                          .pull = sqlite3_column_int(row, 2) != 0,
                          .paused = sqlite3_column_int(row, 3) != 0,
                          .removed = sqlite3_column_int(row, 4) != 0,
                          .rate = has_rate ? sqlite3_column_double(row, 5) : -1,
                          .bucket_size = sqlite3_column_double(row, 6),
                          .max_concurrent = sqlite3_column_int(row, 7),
                          .retry = pl__retry_read(row, 8) };
    const char *target = (const char *)sqlite3_column_text(row, 14);
    return remember(conn, pl_str(name ? name : ""), pl_str(target), &queue);
}

int pl__queues_load(pl__conn_t *conn) {
    sqlite3_stmt *row;
    bool more;
    PL__TRY(pl__limits_count(conn)); /* what this transaction has started is remembered here, too */
    forget(conn);
    conn->any_limits = conn->permits_known = conn->is_checked = false;
    conn->data_version = -1; /* until all went well */
    PL__TRY(pl__sql_query(conn, PL__SQL_QUEUES, &row, ""));
    int rc = pl__sql_step(conn, row, &more);
    while (rc == PL_OK && more) {
        rc = remember_row(conn, row);
        if (rc == PL_OK)
            rc = pl__sql_step(conn, row, &more);
    }
    pl__sql_end(row);
    PL__TRY(rc);
    return pl__sql_int(conn, PL__SQL_DATA_VERSION, &conn->data_version, -1, "");
}

int pl__queues_refresh(pl__conn_t *conn) {
    int64_t version;
    PL__TRY(pl__sql_int(conn, PL__SQL_DATA_VERSION, &version, -1, ""));
    if (version == conn->data_version)
        return PL_OK;
    conn->fires.unknown = true;
    conn->knows_offset = false; /* the other one may have moved the ends of durations */
    PL__TRY(pl__schema_refresh(conn));
    return pl__queues_load(conn);
}

/* The remembered queue, whether removed or not; NULL: there is none. */
static int find(pl__conn_t *conn, pl_str_t name, pl__queue_t **queue) {
    if (!name.ptr)
        name = PL_STR_LIT("default");
    *queue = look_up(conn, name);
    if (*queue)
        return PL_OK;
    if (conn->role == PL__ROLE_WRITER) /* it has looked when the transaction began */
        return PL_OK;
    PL__TRY(pl__queues_load(conn));
    *queue = look_up(conn, name);
    return PL_OK;
}

int pl__queue_find(pl__conn_t *conn, pl_str_t name, pl__queue_t **queue) {
    PL__TRY(find(conn, name, queue));
    if (*queue && (*queue)->removed)
        *queue = NULL;
    return PL_OK;
}

static int compare_queues(const void *a, const void *b) {
    int64_t left = ((const pl__queue_t *)a)->id, right = ((const pl__queue_t *)b)->id;
    return (left > right) - (left < right);
}

/* They are in the order of their ids: read so, and a new one has the greatest. */
pl__queue_t *pl__queue_by_id(pl__conn_t *conn, int64_t id) {
    pl__queue_t wanted = { .id = id };
    if (conn->queues_len == 0)
        return NULL;
    return bsearch(&wanted, conn->queues, conn->queues_len, sizeof wanted, compare_queues);
}

int pl__queue_id(pl__conn_t *conn, pl_str_t name, int64_t *id) {
    pl__queue_t *queue;
    PL__TRY(find(conn, name, &queue));
    if (queue && queue->removed) {
        PL__TRY(pl__sql_run(conn, PL__SQL_QUEUE_REVIVE, NULL, "i", queue->id));
        queue->removed = false;
    }
    if (queue) {
        *id = queue->id;
        return PL_OK;
    }
    if (!name.ptr)
        name = PL_STR_LIT("default");
    PL__TRY(pl__sql_run(conn, PL__SQL_QUEUE_ADD, NULL, "t", name));
    *id = sqlite3_last_insert_rowid(conn->db);
    return remember(conn, name, PL_STR_NONE,
                    &(pl__queue_t){ .id = *id, .rate = -1, .bucket_size = 5, .retry = PL_RETRY_NONE });
}

int pl__queue_name(pl__conn_t *conn, int64_t id, pl__arena_t *arena, pl_str_t *name) {
    for (int pass = 0; pass < 2; pass++) {
        const pl__queue_t *queue = pl__queue_by_id(conn, id);
        if (queue)
            return pl__arena_copy(arena, (pl_str_t){ queue->name, queue->len }, name);
        PL__TRY(pl__queues_load(conn));
    }
    return pl__arena_copy(arena, PL_STR_LIT("?"), name);
}
