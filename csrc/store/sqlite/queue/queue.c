/*
 * queue.c - the verbs of queues: their settings and statistics. What is remembered of queues is in queues.c.
 */
#include "store/sqlite/db.h"

enum { STATS_SECOND = 1000000 };

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
    bool more = true;
    for (pl_steps_t steps = { 0 }; more;) /* all at once: nobody may add to it meanwhile */
        PL__TRY(pl__task_purge(conn, id, true, &steps, &more));
    more = true;
    for (pl_steps_t steps = { 0 }; more;)
        PL__TRY(pl__dead_purge(conn, id, &steps, &more));
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
    conn->maybe_ready = conn->notify = true; /* a limit may have been lifted */
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
