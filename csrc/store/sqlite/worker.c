/*
 * worker.c - workers and their leases, rescue, settings of the file.
 *
 * A worker row is one incarnation of a process. Its lease is renewed by the store thread, and only while it holds
 * claims: at rest nothing is written. A worker whose row was removed by a rescue becomes a new incarnation before it
 * claims again; its old claims are refused by the fence.
 *
 * A rescue buries a worker whose process is gone at once; one whose process lives, though its lease is over, only when
 * it is seen so twice: while a transaction of somebody holds the file, nobody can renew a lease.
 */
#include <string.h>

#include "store/sqlite/db.h"

enum { SUSPECT_US = 400 * 1000 };
enum { RENEWALS = 3, TRIES = 8 }; /* in the time of a lease; in the time between two of those, when one has failed */

static pl_usec_t lease_us(const pl__conn_t *conn) {
    return pl_clock_from_seconds(conn->options.lease_seconds);
}

/* ---- join and leave ---------------------------------------------------------------------------------------- */

static int take_number(pl__conn_t *conn, int number, bool *is_taken) {
    int64_t taken;
    PL__TRY(pl__sql_int(conn, PL__SQL_WORKER_NUMBER_TAKEN, &taken, 0, "i", (int64_t)number));
    *is_taken = !taken && (!conn->notifier || pl__number_take(conn->notifier, number));
    return PL_OK;
}

static int pick_number(pl__conn_t *conn, pl_op_join_t *join, bool *found) {
    *found = false;
    for (int i = 0; i < PL_IDS_WORKERS && !*found; i++) {
        int number = (join->number + i) % PL_IDS_WORKERS;
        PL__TRY(take_number(conn, number, found));
        if (*found)
            join->number = number;
    }
    return PL_OK;
}

static int add_worker(pl__conn_t *conn) {
    int64_t worker;
    PL__TRY(pl__sql_int(conn, PL__SQL_WORKER_NEXT, &worker, 0, ""));
    conn->worker = worker;
    conn->lease_until = pl_clock_add(conn->now, lease_us(conn));
    pl_str_t serves = conn->worker_is_idle ? PL_STR_LIT("") : pl_str(conn->options.serves);
    return pl__sql_run(conn, PL__SQL_WORKER_ADD, NULL, "iitiiitt", (int64_t)conn->worker, (int64_t)conn->worker_number,
                       conn->worker_host, conn->worker_pid, (int64_t)conn->now, (int64_t)conn->lease_until, serves,
                       conn->worker_version);
}

static int remember_host(pl__conn_t *conn, pl_str_t host) {
    char *copy = pl__alloc(host.len + 1);
    if (!copy)
        return PL_ENOMEM;
    if (host.len)
        memcpy(copy, host.ptr, host.len);
    pl__free((void *)(uintptr_t)conn->worker_host.ptr);
    conn->worker_host = (pl_str_t){ copy, host.len };
    return PL_OK;
}

int pl__verb_join(pl__conn_t *conn, pl_op_t *op) {
    pl_op_join_t *join = &op->u.join;
    bool found;
    int64_t others;
    PL__TRY(pick_number(conn, join, &found));
    if (!found) {
        op->rc = PL_ELIMIT;
        return PL_OK;
    }
    PL__TRY(remember_host(conn, join->host));
    conn->worker_number = join->number;
    conn->worker_pid = join->pid;
    conn->worker_version = join->version;
    conn->worker_is_idle = join->is_idle;
    PL__TRY(add_worker(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_GREATEST_ID, &join->floor, 0, ""));
    PL__TRY(pl__sql_int(conn, PL__SQL_WORKERS_OTHER, &others, 0, "i", (int64_t)conn->worker));
    join->worker = conn->worker;
    join->others = conn->others = (int)others;
    conn->notify = true;
    return PL_OK;
}

int pl__verb_leave(pl__conn_t *conn, pl_op_t *op) {
    (void)op;
    if (!conn->worker)
        return PL_OK;
    PL__TRY(pl__sql_run(conn, PL__SQL_TASK_LEAVE, NULL, "i", (int64_t)conn->worker));
    PL__TRY(pl__sql_run(conn, PL__SQL_WORKER_DELETE, NULL, "i", (int64_t)conn->worker));
    conn->has_claims = false; /* the worker's id stays: after a rollback this is applied again */
    conn->notify = true;
    return PL_OK;
}

bool pl__worker_is_gone(pl__conn_t *conn, int number) {
    bool is_own = conn->notifier && atomic_load(&conn->notifier->number) == number; /* its own lock keeps nobody out */
    return conn->notifier && !is_own && pl__number_life(conn->notifier, number) == PL__GONE;
}

/* ---- leases ------------------------------------------------------------------------------------------------ */

/* Whoever has declared it dead has committed since. */
static int check_own(pl__conn_t *conn) {
    int64_t is_there;
    if (conn->is_checked)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_WORKER_HAS, &is_there, 0, "i", (int64_t)conn->worker));
    conn->is_checked = true;
    if (!is_there)
        conn->lease_until = 0;
    return PL_OK;
}

int pl__worker_ensure(pl__conn_t *conn) {
    int changed;
    PL__TRY(check_own(conn));
    if (conn->lease_until - conn->now > lease_us(conn) / 2)
        return PL_OK;
    conn->lease_until = pl_clock_add(conn->now, lease_us(conn));
    PL__TRY(pl__sql_run(conn, PL__SQL_WORKER_RENEW, &changed, "ii", (int64_t)conn->worker, (int64_t)conn->lease_until));
    if (changed)
        return PL_OK;
    pl_log(conn->options.log, PL_LOG_WARNING, "%s: another worker declared this one dead; it rejoins under a new id",
           conn->options.path);
    return add_worker(conn);
}

static int renew_portion(pl__conn_t *conn, void *data) {
    (void)data;
    int64_t holding;
    PL__TRY(pl__sql_int(conn, PL__SQL_WORKER_CLAIMS, &holding, 0, "i", (int64_t)conn->worker));
    conn->has_claims = holding != 0;
    if (!conn->has_claims)
        return PL_OK;
    conn->lease_until = pl_clock_add(conn->now, lease_us(conn));
    return pl__sql_run(conn, PL__SQL_WORKER_RENEW, NULL, "ii", (int64_t)conn->worker, (int64_t)conn->lease_until);
}

void pl__worker_renew(pl__conn_t *conn, pl__run_t *run, int64_t *next) {
    int64_t now = pl_clock_monotonic_us(), wait = lease_us(conn) / RENEWALS;
    if (!conn->worker || !conn->has_claims) {
        conn->renew_at = *next = PL_USEC_NEVER;
        return;
    }
    if (conn->renew_at <= now) {
        bool is_first = conn->lease_until > 0; /* after a failure nothing is claimed that has not renewed it */
        int rc = run(conn, renew_portion, NULL);
        if (rc != PL_OK && is_first)
            pl_log(conn->options.log, PL_LOG_WARNING, "%s: the lease of this worker cannot be renewed now: %s",
                   conn->options.path, conn->failure[0] ? conn->failure : pl_result_text(rc));
        if (rc != PL_OK)
            wait /= TRIES; /* the disk may recover before it is over */
        conn->renew_at = PL_USEC_NEVER;
    }
    if (conn->renew_at == PL_USEC_NEVER)
        conn->renew_at = pl_clock_add(now, wait);
    *next = conn->has_claims ? conn->renew_at : PL_USEC_NEVER;
}

/* ---- rescue ------------------------------------------------------------------------------------------------ */

typedef struct {
    pl_id_t id;
    int number;
    int64_t pid;
    pl_usec_t lease_until;
    bool holds;
    pl_str_t name; /* as failures tell it */
} worker_t;

static int read_worker(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    worker_t *worker = item;
    *worker = (worker_t){ sqlite3_column_int64(row, 0), sqlite3_column_int(row, 1),      sqlite3_column_int64(row, 2),
                          sqlite3_column_int64(row, 3), sqlite3_column_int(row, 4) != 0, PL_STR_NONE };
    return pl__sql_str(row, 5, arena, &worker->name);
}

/* A worker whose process lives, but whose lease is over. */
typedef struct {
    pl_id_t worker;
    pl_usec_t lease_until;
    int64_t seen; /* monotonic us: when it was first seen so */
} suspect_t;

/* Its store thread may have waited for the file, which somebody held: it will renew its lease once it gets it. So it is
 * gone only if it has not done so some time after it was first seen, with the file free for that time. */
static int check_suspect(pl__conn_t *conn, pl_op_rescue_t *rescue, const worker_t *worker, bool *is_gone) {
    suspect_t *list = (suspect_t *)(void *)conn->suspects.ptr;
    int64_t now = pl_clock_monotonic_us();
    size_t len = conn->suspects.len / sizeof *list, at = 0;
    while (at < len && list[at].worker != worker->id)
        at++;
    bool is_known = at < len && list[at].lease_until == worker->lease_until && list[at].seen > conn->blocked_at;
    *is_gone = is_known && now - list[at].seen >= SUSPECT_US;
    rescue->suspects += !*is_gone;
    suspect_t suspect = { worker->id, worker->lease_until, now };
    if (at == len) {
        pl__buf_add(&conn->suspects, &suspect, sizeof suspect);
        int rc = conn->suspects.rc;
        conn->suspects.rc = PL_OK;
        return rc;
    }
    if (!is_known)
        list[at] = suspect;
    return PL_OK;
}

static int check_worker(pl__conn_t *conn, pl_op_rescue_t *rescue, const worker_t *worker, bool *is_gone) {
    bool lease_over = worker->lease_until < conn->now;
    *is_gone = conn->notifier ? pl__number_life(conn->notifier, worker->number) == PL__GONE : lease_over;
    if (*is_gone || !lease_over || !worker->holds)
        return PL_OK;
    return check_suspect(conn, rescue, worker, is_gone);
}

/* Whoever asked is told of it. The array has room for all. */
static void note_peer(pl_op_rescue_t *rescue, const worker_t *worker, bool is_gone) {
    rescue->peers[rescue->peers_len++] = (pl_peer_t){ worker->id, worker->number, worker->pid, is_gone };
}

static int remove_worker(pl__conn_t *conn, pl_op_t *op, const worker_t *worker) {
    pl_op_rescue_t *rescue = &op->u.rescue;
    int tasks;
    PL__TRY(pl__tasks_lose(conn, op, worker->id, worker->name, &tasks));
    PL__TRY(pl__sql_run(conn, PL__SQL_WORKER_DELETE, NULL, "i", (int64_t)worker->id));
    rescue->workers++;
    rescue->tasks += tasks;
    conn->maybe_ready = conn->due_unknown = conn->notify = true;
    return PL_OK;
}

int pl__verb_rescue(pl__conn_t *conn, pl_op_t *op) {
    pl_op_rescue_t *rescue = &op->u.rescue;
    sqlite3_stmt *row;
    size_t len;
    int rc;
    rescue->workers = rescue->tasks = rescue->others = rescue->suspects = 0;
    rescue->lost = NULL; /* of a transaction that was broken */
    rescue->peers_len = 0;
    PL__TRY(pl__sql_query(conn, PL__SQL_WORKERS, &row, ""));
    const worker_t *workers = pl__sql_list(conn, row, &conn->scratch, read_worker, sizeof *workers, &len, &rc);
    rescue->peers = rc == PL_OK && len > 0 ? pl__arena_get(&op->arena, len * sizeof *rescue->peers) : NULL;
    if (rc == PL_OK && len > 0 && !rescue->peers)
        rc = PL_ENOMEM;
    for (size_t i = 0; rc == PL_OK && i < len; i++) {
        bool is_gone;
        if (workers[i].id == conn->worker)
            continue;
        PL__TRY(check_worker(conn, rescue, &workers[i], &is_gone));
        if (is_gone)
            PL__TRY(remove_worker(conn, op, &workers[i]));
        rescue->others += !is_gone;
        note_peer(rescue, &workers[i], is_gone);
    }
    conn->others = rescue->others;
    return rc;
}

/* ---- settings ---------------------------------------------------------------------------------------------- */

/* The value to be written stays in the op until the result is complete: a broken transaction is tried again. */
int pl__verb_meta(pl__conn_t *conn, pl_op_t *op) {
    pl_op_meta_t *meta = &op->u.meta;
    sqlite3_stmt *row;
    bool found;
    pl_str_t value = PL_STR_NONE;
    if (meta->write)
        PL__TRY(pl__sql_run(conn, meta->if_absent ? PL__SQL_META_ADD : PL__SQL_META_SET, NULL, "tb", meta->key,
                            meta->value));
    PL__TRY(pl__sql_query(conn, PL__SQL_META_GET, &row, "t", meta->key));
    PL__TRY(pl__sql_step(conn, row, &found));
    int rc = found ? pl__sql_str(row, 0, &op->arena, &value) : PL_OK;
    if (found)
        pl__sql_end(row);
    else
        op->rc = PL_ENOTFOUND;
    PL__TRY(rc);
    meta->value = value;
    return PL_OK;
}
