/*
 * clock.c - the times of a transaction, and what becomes of durations in the file when the wall clock is set.
 *
 * What is kept in the file as the end of a duration is kept as a time on the wall clock: pauses between two attempts,
 * leases of workers and of pulled tasks, ages of tasks, tokens of rates, tombstones. All processes on the file have the
 * same system under them, and so the same offset of the wall clock from the time since the system was started. The
 * file keeps that offset (pl_meta, "clock"). Whoever finds it changed, which means that the wall clock was set, moves
 * the ends by as much, in the transaction that finds it, before anything is compared with them; others find it done:
 * whoever sees that another connection has committed reads the offset of the file again. (The clock may be set and set
 * back while a process rests; its own memory of the offset would then look right, and the file's be another.)
 *
 * Etas that were given as such do not move: they are due when the wall clock says so.
 *
 * After a restart of the system the offset says nothing; then the wall clock is believed. A step of less than
 * PL__CLOCK_STEP_US is not looked at: a clock that drifts, or is corrected little by little, is followed in such steps.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlite/db.h"

enum { BOOT_MAX = 40 };
#define BOOT_FILE "/proc/sys/kernel/random/boot_id"

/* Which start of the system this is; "-" where it cannot be known. */
static void read_boot(char boot[BOOT_MAX + 1]) {
    int fd = open(BOOT_FILE, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, boot, BOOT_MAX);
    if (fd >= 0)
        close(fd);
    boot[len > 0 ? len : 0] = 0;
    boot[strcspn(boot, "\n")] = 0;
    if (!boot[0])
        strcpy(boot, "-");
}

/* What the file says: found is false when it says nothing of this start of the system. */
static int read_known(pl__conn_t *conn, const char *boot, int64_t *offset, bool *found) {
    sqlite3_stmt *row;
    pl_str_t text = PL_STR_NONE;
    char known[BOOT_MAX + 1];
    PL__TRY(pl__sql_query(conn, PL__SQL_META_GET, &row, "t", PL_STR_LIT("clock")));
    PL__TRY(pl__sql_step(conn, row, found));
    if (!*found)
        return PL_OK;
    int rc = pl__sql_str(row, 0, &conn->scratch, &text);
    pl__sql_end(row);
    PL__TRY(rc);
    char copy[BOOT_MAX + 32] = "";
    if (text.len < sizeof copy)
        memcpy(copy, text.ptr ? text.ptr : "", text.len);
    *found = sscanf(copy, "%" SCNd64 " %40s", offset, known) == 2 && strcmp(known, boot) == 0;
    return PL_OK;
}

static int write_known(pl__conn_t *conn, const char *boot, int64_t offset) {
    char text[BOOT_MAX + 32];
    snprintf(text, sizeof text, "%" PRId64 " %s", offset, boot);
    return pl__sql_run(conn, PL__SQL_META_SET, NULL, "tb", PL_STR_LIT("clock"), pl_str(text));
}

/* The wall clock was set forward by `step` (back, if negative): so are the ends of durations. */
static int move_ends(pl__conn_t *conn, int64_t step) {
    static const pl__sql_t MOVES[] = {
        PL__SQL_MOVE_STAGE_RETRIES, PL__SQL_MOVE_RETRIES, PL__SQL_MOVE_FIRST_TRIES,
        PL__SQL_MOVE_WORKERS,       PL__SQL_MOVE_TOKENS,  PL__SQL_MOVE_TOMBSTONES,
    };
    for (size_t i = 0; i < sizeof MOVES / sizeof MOVES[0]; i++)
        PL__TRY(pl__sql_run(conn, MOVES[i], NULL, "i", step));
    /* in two steps: their keys change, and none may meet one that has not changed yet */
    PL__TRY(pl__sql_run(conn, PL__SQL_MOVE_STARTED, NULL, "i", step / PL_USEC_PER_SEC));
    PL__TRY(pl__sql_run(conn, PL__SQL_MOVED_STARTED, NULL, ""));
    /* what could be leased before can be leased now, too: a clock that was set back makes nothing wait again */
    PL__TRY(pl__sql_run(conn, PL__SQL_MOVE_LEASES, NULL, "ii", step,
                        pl_clock_add(pl_clock_now(conn->options.clock), -step)));
    pl_log(conn->options.log, PL_LOG_INFO, "%s: the wall clock was set %s by %.3f s; pauses and leases go on as before",
           conn->options.path, step > 0 ? "forward" : "back", (double)llabs(step) / (double)PL_USEC_PER_SEC);
    conn->notify = true;
    return PL_OK;
}

static int follow(pl__conn_t *conn, int64_t offset) {
    char boot[BOOT_MAX + 1];
    int64_t known;
    bool found;
    if (conn->knows_offset && llabs(offset - conn->offset) < PL__CLOCK_STEP_US)
        return PL_OK;
    read_boot(boot);
    PL__TRY(read_known(conn, boot, &known, &found));
    if (found && llabs(offset - known) < PL__CLOCK_STEP_US) {
        offset = known;
    } else {
        if (found)
            PL__TRY(move_ends(conn, offset - known));
        PL__TRY(write_known(conn, boot, offset));
    }
    if (llabs(offset - conn->offset) >= PL__CLOCK_STEP_US) { /* what this connection remembers did not move */
        conn->lease_until = 0;                               /* renewed before it counts */
        conn->maybe_ready = conn->due_unknown = true;
        conn->next_token = PL_USEC_NEVER;
    }
    conn->offset = offset;
    conn->knows_offset = true;
    return PL_OK;
}

static pl_usec_t *retry_of(pl_op_t *op) {
    switch (op->verb) {
    case PL_VERB_outcome:
        return &op->u.outcome.retry_at;
    case PL_VERB_finalized:
        return &op->u.finalized.retry_at;
    case PL_VERB_task_done:
        return &op->u.task_done.retry_at;
    case PL_VERB_retry:
        return &op->u.retry.retry_at;
    default:
        return NULL;
    }
}

void pl__clock_fit(pl__conn_t *conn, pl_op_t *op) {
    pl_usec_t *at = op->clock && conn->knows_offset ? retry_of(op) : NULL;
    if (!at || !*at || llabs(conn->offset - op->clock) < PL__CLOCK_STEP_US)
        return;
    *at = pl_clock_add(*at, conn->offset - op->clock);
    op->clock = conn->offset; /* for when it is done again */
}

static void look(pl__conn_t *conn) {
    conn->now = pl_clock_now(conn->options.clock);
    if (conn->now == 0) /* virtual time may begin there; what is stored has 0, or NULL, for no time */
        conn->now = 1;
    conn->due = pl_clock_due_at(conn->options.clock, conn->now);
    conn->steady = pl_clock_steady(conn->options.clock);
}

/* The ends fit the `now` that was looked at. */
static bool fits(const pl__conn_t *conn) {
    return conn->knows_offset && llabs(pl_clock_offset_of(conn->now) - conn->offset) < PL__CLOCK_STEP_US;
}

/* The clock may be set between two looks at it: then the ends and `now` would not fit each other, so look again. */
int pl__clock_read(pl__conn_t *conn) {
    enum { LOOKS = 10 };
    bool follows = conn->role == PL__ROLE_WRITER && !conn->options.clock->is_virtual;
    look(conn);
    for (int left = LOOKS; follows && !fits(conn) && left > 0; left--) {
        PL__TRY(follow(conn, pl_clock_offset()));
        look(conn);
    }
    return PL_OK;
}
