/*
 * upkeep.c - what has to be done now and then: the lease of the worker, the write-ahead log, and the sweep (sweep.c).
 *
 * The log is moved into the file by a checkpoint, apart from commits, because its fsync makes those wait. Under load
 * that is rare. When nothing happens the log is first moved, then cut; somebody may read from it just then, so that is
 * tried again, with longer and longer pauses.
 */

#include <time.h>

#include "store/sqlite/db.h"

enum {
    LOG_PAGES_IDLE = 256,        /* worth a checkpoint when nothing has been committed for the first pause */
    LOG_PAGES_CHECKPOINT = 8000, /* under load */
    LOG_PAGES_LIMIT = 24000,     /* the writer lends a hand, or all writers wait a moment: the log has to start over */
    LOG_BYTES_KEPT = 1 << 20     /* the file may keep this size when nothing happens */
};
static const int64_t idle_us[] = { 200 * 1000, 2 * 1000000, 5 * 1000000, 20 * 1000000, 60 * 1000000 };
enum { IDLE_STEPS = sizeof idle_us / sizeof *idle_us };

enum { MOVE = 1, CUT = 2, START_OVER = 3 }; /* what is done aside */
enum { RESTART_LOOKS = 400, RESTART_LOOK_US = 250, START_OVER_MOVES = 3 };

/* Moves the log into the file, or cuts it to nothing, unless somebody uses it just now. Never waits. */
static int checkpoint(pl__conn_t *conn, bool cut) {
    int mode = cut ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    PL__TRY(pl__file_check(conn));
    int sqlite_rc = sqlite3_wal_checkpoint_v2(conn->db, NULL, mode, NULL, NULL);
    return sqlite_rc == SQLITE_BUSY ? PL_OK : pl__sql_rc(conn, sqlite_rc);
}

/* Locks of the log are held meanwhile, which a child would have for ever: a fork waits. */
static int look_again_cb(void *data, int count) {
    (void)data;
    nanosleep(&(struct timespec){ .tv_nsec = RESTART_LOOK_US * 1000 }, NULL);
    return count < RESTART_LOOKS;
}

/* All of the log is moved into the file, and it begins anew. PL_EAGAIN: somebody reads from it, or writes. */
static int restart(pl__conn_t *conn) {
    sqlite3_busy_handler(conn->db, look_again_cb, NULL);
    int sqlite_rc = sqlite3_wal_checkpoint_v2(conn->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    int rc = pl__sql_rc(conn, sqlite_rc);
    PL__TRY(pl__sql_wait(conn, conn->role == PL__ROLE_WRITER));
    return sqlite_rc == SQLITE_BUSY ? PL_EAGAIN : rc;
}

/* Several processes write without a pause, so that the log is never moved to its end by looking on: somebody has
 * always added to it meanwhile, and it would grow for ever. Most of it is moved so all the same; the rest, which is
 * little, while nobody can write. Readers of what is old are in the way: then it is tried again when it has grown. */
static int start_over(pl__conn_t *conn) {
    for (int i = 0; i < START_OVER_MOVES; i++)
        PL__TRY(checkpoint(conn, false));
    int rc = restart(conn);
    return rc == PL_EAGAIN ? PL_OK : rc;
}

int pl__upkeep_aside(pl__conn_t *conn, int what) {
    return what == START_OVER ? start_over(conn) : checkpoint(conn, what == CUT);
}

/*
 * The disk has failed while commits that were not synced were in the log. The system may have given up what it was to
 * write, and says so once only; whatever follows in the log cannot be read again without that. So all of it is moved
 * into the file, out of what the system still has.
 */
int pl__log_save(pl__conn_t *conn) {
    if (!conn->log.is_doubtful)
        return PL_OK;
    PL__TRY(restart(conn));
    conn->log.is_doubtful = conn->log.is_ahead = false;
    conn->log.sync_at = PL_USEC_NEVER;
    return PL_OK;
}

int pl__log_sync(pl__conn_t *conn) {
    sqlite3_file *log = NULL;
    conn->log.sync_at = PL_USEC_NEVER;
    int sqlite_rc = sqlite3_file_control(conn->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (sqlite_rc == SQLITE_OK && log && log->pMethods)
        sqlite_rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
    if (sqlite_rc == SQLITE_OK) {
        conn->log.is_ahead = false;
        return PL_OK;
    }
    conn->log.is_doubtful = true;
    pl_log(conn->options.log, PL_LOG_ERROR, "%s: what was committed last may not be on disk (%s): it is written again",
           conn->options.path, sqlite3_errstr(sqlite_rc));
    return PL_EIO;
}

/* The log is moved into the file when it has grown by LOG_PAGES_CHECKPOINT, or by less when there is time for it. */
static void after_turn(pl__conn_t *conn, int *aside) {
    if (conn->log.pages < conn->log.moved_pages)
        conn->log.moved_pages = 0; /* it started over */
    int grown = conn->log.pages - conn->log.moved_pages;
    if (grown >= LOG_PAGES_CHECKPOINT) {
        conn->log.moved_pages = conn->log.pages;
        if (conn->log.pages >= LOG_PAGES_LIMIT && conn->others == 0)
            (void)checkpoint(conn, false);
        else
            *aside = conn->log.pages >= LOG_PAGES_LIMIT ? START_OVER : MOVE;
    }
    bool is_large = grown >= LOG_PAGES_IDLE || conn->log.bytes > LOG_BYTES_KEPT;
    conn->log.idle_step = 0;
    conn->log.idle_at = is_large ? pl_clock_monotonic_us() + idle_us[0] : PL_USEC_NEVER;
}

/* Nothing has happened for a while. */
static void while_idle(pl__conn_t *conn, int64_t now, int *aside) {
    conn->log.idle_at = PL_USEC_NEVER;
    conn->folder.until = 0; /* a look at the log itself */
    int64_t bytes = pl__file_check(conn) == PL_OK ? conn->log.bytes : 0;
    if (bytes <= LOG_BYTES_KEPT && conn->log.idle_step > 0)
        return;
    conn->log.moved_pages = conn->log.pages;
    *aside = conn->log.idle_step > 0 ? CUT : MOVE;
    if (conn->log.idle_step + 1 < IDLE_STEPS)
        conn->log.idle_step++;
    conn->log.idle_at = now + idle_us[conn->log.idle_step];
}

void pl__upkeep_keep(pl__conn_t *conn, pl__run_t *run, bool idle, int64_t *next, int *aside) {
    int64_t now = idle ? pl_clock_monotonic_us() : 0;
    *next = PL_USEC_NEVER;
    pl__worker_renew(conn, run, next);
    if (!idle && conn->names[0])
        after_turn(conn, aside);
    else if (idle && conn->log.idle_at <= now)
        while_idle(conn, now, aside);
    if (conn->log.sync_at != PL_USEC_NEVER && conn->log.sync_at <= pl_clock_monotonic_us())
        (void)pl__log_sync(conn); /* before the next commit it is seen to */
    int pages = conn->log.pages;
    pl__sweep_keep(conn, run, idle, next);
    if (idle && conn->log.pages != pages) /* it has written to the log */
        after_turn(conn, aside);
    if (conn->log.idle_at < *next)
        *next = conn->log.idle_at;
    if (conn->log.sync_at < *next)
        *next = conn->log.sync_at;
}
