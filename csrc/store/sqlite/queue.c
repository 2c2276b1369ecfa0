/*
 * queue.c - queues: what is remembered of them between transactions, their settings and statistics.
 *
 * Settings are read again at the beginning of a transaction when another connection has committed since the last one
 * (PRAGMA data_version), so that a change made by one process holds for the next claim of every other.
 */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite/db.h"

enum { STATS_SECOND = 1000000 };

/* ---- by name ----------------------------------------------------------------------------------------------- */

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

/* ---- remembered -------------------------------------------------------------------------------------------- */

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
    if (conn->queues_len == conn->queues_size) {
        size_t size = conn->queues_size ? conn->queues_size * 2 : 8;
        pl__queue_t *grown = pl__realloc(conn->queues, size * sizeof *grown);
        if (!grown)
            return PL_ENOMEM;
        conn->queues = grown;
        conn->queues_size = size;
    }
    PL__TRY(grow_names(conn));
    pl__queue_t *place = &conn->queues[conn->queues_len];
    *place = *queue;
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
    forget(conn);
    conn->any_limits = false;
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

/* ---- settings ---------------------------------------------------------------------------------------------- */

static int read_settings(sqlite3_stmt *row, pl__arena_t *arena, pl_queue_settings_t *settings) {
    *settings = (pl_queue_settings_t){ .pull = sqlite3_column_int(row, 0) != 0,
                                       .paused = sqlite3_column_int(row, 1) != 0,
                                       .removed = sqlite3_column_int(row, 2) != 0,
                                       .rate = sqlite3_column_double(row, 3),
                                       .bucket_size = sqlite3_column_double(row, 4),
                                       .max_concurrent = sqlite3_column_int(row, 5),
                                       .retry = pl__retry_read(row, 7) };
    PL__TRY(pl__sql_str(row, 6, arena, &settings->target));
    return pl__sql_str(row, 13, arena, &settings->name);
}

/* What is stored, with what `given` changes. */
static int merge(pl__conn_t *conn, const pl_queue_settings_t *given, bool patch, pl_queue_settings_t *all) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_QUEUE_GET, &row, "t", given->name));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_ENOTFOUND; /* it was made or found before */
    int rc = read_settings(row, &conn->scratch, all);
    pl__sql_end(row);
    PL__TRY(rc);
    if (!patch || given->has_mode)
        all->pull = given->pull;
    if (given->has_paused)
        all->paused = given->paused;
    if (!patch || given->has_rate)
        all->rate = given->rate;
    if (!patch || given->has_bucket_size)
        all->bucket_size = given->bucket_size;
    if (!patch || given->has_max_concurrent)
        all->max_concurrent = given->max_concurrent;
    if (!patch || given->has_target)
        all->target = given->target;
    if (!patch || given->has_retry)
        all->retry = given->retry;
    return PL_OK;
}

static int remove_queue(pl__conn_t *conn, int64_t id) {
    int64_t deleted;
    PL__TRY(pl__task_purge(conn, id, true, &deleted));
    PL__TRY(pl__dead_purge(conn, id, &deleted));
    return pl__sql_run(conn, PL__SQL_QUEUE_REMOVE, NULL, "i", id);
}

static int set_queue(pl__conn_t *conn, pl_queue_settings_t *given, bool patch) {
    pl_queue_settings_t all;
    pl__queue_t *queue;
    int64_t id, has_tasks = 0;
    given->rc = PL_OK;
    if (given->removed) {
        PL__TRY(pl__queue_find(conn, given->name, &queue));
        if (queue)
            return remove_queue(conn, queue->id);
        given->rc = PL_ENOTFOUND;
        return PL_OK;
    }
    PL__TRY(pl__queue_id(conn, given->name, &id));
    PL__TRY(merge(conn, given, patch, &all));
    queue = pl__queue_by_id(conn, id);
    if (queue && queue->pull != all.pull)
        PL__TRY(pl__sql_int(conn, PL__SQL_QUEUE_HAS_TASKS, &has_tasks, 0, "i", id));
    if (has_tasks) {
        given->rc = PL_ESTATE;
        return PL_OK;
    }
    return pl__sql_run(conn, PL__SQL_QUEUE_SET, NULL, "iiimmztmmmmmm", id, (int64_t)all.pull, (int64_t)all.paused,
                       all.rate, all.bucket_size, (int64_t)all.max_concurrent, all.target, all.retry.limit,
                       all.retry.age_limit, all.retry.min_backoff, all.retry.max_backoff, all.retry.doublings,
                       all.retry.losses);
}

int pl__verb_queue_set(pl__conn_t *conn, pl_op_t *op) {
    pl_op_queue_set_t *set = &op->u.queue_set;
    PL__TRY(pl__task_flush(conn));
    for (size_t i = 0; i < set->len; i++)
        PL__TRY(set_queue(conn, &set->queues[i], set->patch));
    conn->maybe_ready = conn->ring = true; /* a limit may have been lifted */
    conn->next_token = PL_USEC_NEVER;
    return pl__queues_load(conn);
}

static int read_item(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    return read_settings(row, arena, item);
}

int pl__verb_queue_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_queue_get_t *get = &op->u.queue_get;
    sqlite3_stmt *row;
    int rc;
    if (get->name.ptr)
        PL__TRY(pl__sql_query(conn, PL__SQL_QUEUE_GET, &row, "t", get->name));
    else
        PL__TRY(pl__sql_query(conn, PL__SQL_QUEUE_LIST, &row, ""));
    get->queues = pl__sql_list(conn, row, &op->arena, read_item, sizeof *get->queues, &get->len, &rc);
    return rc;
}

/* ---- statistics -------------------------------------------------------------------------------------------- */

static int read_tasks(pl__conn_t *conn, int64_t queue, pl_queue_stats_t *stats) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_QUEUE_TASKS, &row, "ii", queue, (int64_t)conn->now));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    stats->tasks = sqlite3_column_int64(row, 0);
    stats->oldest_eta = sqlite3_column_int64(row, 1); /* NULL is 0 */
    stats->in_flight = sqlite3_column_int64(row, 2);
    pl__sql_end(row);
    return PL_OK;
}

static int read_stats(pl__conn_t *conn, pl_queue_stats_t *stats) {
    sqlite3_stmt *row;
    bool found;
    *stats = (pl_queue_stats_t){ .queue = stats->queue, .enforced_rate = -1 };
    PL__TRY(pl__sql_query(conn, PL__SQL_QUEUE_STATS, &row, "ti", stats->queue, (int64_t)(conn->now / STATS_SECOND)));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int64_t queue = sqlite3_column_int64(row, 0);
    bool has_rate = sqlite3_column_type(row, 1) != SQLITE_NULL, paused = sqlite3_column_int(row, 2) != 0;
    stats->known = true;
    stats->enforced_rate = paused ? 0 : has_rate ? sqlite3_column_double(row, 1) : -1;
    stats->executed_last_minute = sqlite3_column_int64(row, 3);
    stats->dead = sqlite3_column_int64(row, 4);
    pl__sql_end(row);
    return read_tasks(conn, queue, stats);
}

int pl__verb_queue_stats(pl__conn_t *conn, pl_op_t *op) {
    pl_op_queue_stats_t *stats = &op->u.queue_stats;
    PL__TRY(pl__task_flush(conn));
    for (size_t i = 0; i < stats->len; i++)
        PL__TRY(read_stats(conn, &stats->queues[i]));
    return PL_OK;
}
