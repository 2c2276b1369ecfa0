/*
 * sweep.c - what is old goes: trees that ended long ago, journals, dead tasks, names whose time is over.
 *
 * The ages are the store's options (pl_retention_t). A sweep is made of portions, each a transaction of its own and no
 * longer than those of the verbs that delete (PL__PORTION_US). Portions follow each other when nothing else is to be
 * done. Under load they come between turns, some at a time, and take a quarter of the store's time; half of it when the
 * sweep is late, for what is deleted more slowly than it is made would let the file grow for ever. In virtual time
 * there are none but those of the verb: the engine calls it when time has moved.
 *
 * Trees that somebody began to delete, and did not end since his process is gone, are ended by whoever sees them.
 * Several processes may sweep the same file: each portion looks anew at what is there.
 *
 * A root that is final may have stages that are not, say one whose finalized() is still to be executed: its tree stays,
 * and is looked at again in the next round.
 */
#include <string.h>

#include "store/sqlite/db.h"

enum { ROOTS = 16, DEAD = 64, NAMES = 64 }; /* at a time */
enum { PAUSE_PARTS = 3 };                   /* the pause under load, for each part of work; one when it is late */
enum { BETWEEN_US = 8000 };                 /* portions between two turns, at most: local work waits for all of them */
static const int64_t FIRST_US = 1000 * 1000, SOON_US = 200 * 1000, LATE_US = 600 * 1000000LL, AGAIN_US = 60 * 1000000LL,
                     OVERDUE_US = 2 * 1000000;

static const int STATES[PL__SWEEP_STATES] = { PL_STAGE_DONE, PL_STAGE_ABORTED };

typedef struct {
    pl_id_t id;
    pl_usec_t time;
} old_t;

static pl_usec_t age_of(const pl__conn_t *conn, int state) {
    return state == 0 ? conn->options.retention.done : conn->options.retention.aborted;
}

/* What is older goes; 0: nothing does. */
static pl_usec_t cutoff(const pl__conn_t *conn, pl_usec_t age) {
    return age < 0 || age > conn->now ? 0 : conn->now - age;
}

static int read_old(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    (void)arena;
    *(old_t *)item = (old_t){ sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1) };
    return PL_OK;
}

/* Roots of a state that ended up to `until`, oldest first, but for those that were looked at in this round. */
static int list_roots(pl__conn_t *conn, const pl__sweep_t *sweep, int state, pl_usec_t until, int limit,
                      const old_t **roots, size_t *len) {
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_ROOTS_FINAL, &row, "iiiii", (int64_t)STATES[state], (int64_t)until,
                          (int64_t)sweep->after_time[state], (int64_t)sweep->after_id[state], (int64_t)limit));
    *roots = pl__sql_list(conn, row, &conn->scratch, read_old, sizeof **roots, len, &rc);
    return rc;
}

static int list_dead(pl__conn_t *conn, pl_usec_t until, int limit, const old_t **tasks, size_t *len) {
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_DEAD_OLDEST, &row, "ii", (int64_t)until, (int64_t)limit));
    *tasks = pl__sql_list(conn, row, &conn->scratch, read_old, sizeof **tasks, len, &rc);
    return rc;
}

/* ---- a portion --------------------------------------------------------------------------------------------- */

/* Goes on with the tree that is being deleted. */
static int delete_on(pl__conn_t *conn, pl__sweep_t *sweep, bool *live, bool *more) {
    PL__TRY(pl__tree_delete(conn, sweep->root, &sweep->steps, live, more));
    if (*more)
        return PL_OK;
    sweep->root = 0;
    sweep->swept.trees += !*live;
    return PL_OK;
}

static int delete_root(pl__conn_t *conn, pl__sweep_t *sweep, int state, const old_t *root, bool *more) {
    bool live;
    sweep->root = root->id;
    sweep->steps = (pl_steps_t){ 0 };
    sweep->after_time[state] = root->time;
    sweep->after_id[state] = root->id;
    PL__TRY(delete_on(conn, sweep, &live, more));
    sweep->has_passed = sweep->has_passed || live;
    return PL_OK;
}

/* A tree that was resumed since it was looked at has another end, now or later: its time begins anew with that. */
static int drop_resumed(pl__conn_t *conn, pl__sweep_t *sweep) {
    int64_t flags;
    if (!sweep->root)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_FLAGS, &flags, 0, "i", (int64_t)sweep->root));
    if (((int)flags & PL_STAGE_RESUMES) != sweep->steps.mark)
        sweep->root = 0;
    return PL_OK;
}

/* What was begun: here, or by others. */
static int sweep_begun(pl__conn_t *conn, pl__sweep_t *sweep, bool *more) {
    bool live;
    *more = false;
    PL__TRY(drop_resumed(conn, sweep));
    do {
        if (!sweep->root) {
            PL__TRY(pl__sql_int(conn, PL__SQL_DELETION_FIRST, &sweep->root, 0, ""));
            sweep->steps = (pl_steps_t){ .phase = PL__TREE_DELETING };
        }
        if (!sweep->root)
            return PL_OK;
        PL__TRY(delete_on(conn, sweep, &live, more));
        *more = *more || pl__portion_over(conn);
    } while (!*more);
    return PL_OK;
}

static int sweep_roots(pl__conn_t *conn, pl__sweep_t *sweep, int state, bool *more) {
    const old_t *roots;
    size_t len;
    pl_usec_t until = cutoff(conn, age_of(conn, state));
    *more = false;
    if (until == 0)
        return PL_OK;
    do {
        PL__TRY(list_roots(conn, sweep, state, until, ROOTS, &roots, &len));
        for (size_t i = 0; i < len && !*more; i++) {
            PL__TRY(delete_root(conn, sweep, state, &roots[i], more));
            *more = *more || pl__portion_over(conn);
        }
    } while (len == ROOTS && !*more);
    return PL_OK;
}

static int sweep_dead(pl__conn_t *conn, pl__sweep_t *sweep, bool *more) {
    const old_t *tasks;
    size_t len;
    pl_usec_t until = cutoff(conn, conn->options.retention.dead);
    *more = false;
    if (until == 0)
        return PL_OK;
    do {
        PL__TRY(list_dead(conn, until, DEAD, &tasks, &len));
        size_t done = 0;
        while (done < len && (done == 0 || !pl__portion_over(conn)))
            PL__TRY(pl__dead_forget(conn, tasks[done++].id));
        sweep->swept.dead += (int64_t)done;
        *more = done < len || len == DEAD;
    } while (*more && !pl__portion_over(conn));
    return PL_OK;
}

static int sweep_names(pl__conn_t *conn, pl__sweep_t *sweep, bool *more) {
    int changes;
    do {
        PL__TRY(pl__names_expire(conn, NAMES, &changes));
        sweep->swept.names += changes;
        *more = changes == NAMES;
    } while (*more && !pl__portion_over(conn));
    return PL_OK;
}

/* The oldest of all that may go, whatever its age. *found: there was one. */
static int delete_oldest(pl__conn_t *conn, pl__sweep_t *sweep, bool *found, bool *more) {
    const old_t *list, *oldest = NULL;
    size_t len;
    int which = 0;
    for (int state = 0; state < PL__SWEEP_STATES; state++) {
        if (age_of(conn, state) < 0)
            continue;
        PL__TRY(list_roots(conn, sweep, state, PL_USEC_MAX, 1, &list, &len));
        if (len > 0 && (!oldest || list->time < oldest->time)) {
            oldest = list;
            which = state;
        }
    }
    if (conn->options.retention.dead >= 0) {
        PL__TRY(list_dead(conn, PL_USEC_MAX, 1, &list, &len));
        if (len > 0 && (!oldest || list->time < oldest->time)) {
            *found = true;
            sweep->swept.dead++;
            return pl__dead_forget(conn, list->id);
        }
    }
    *found = oldest;
    return oldest ? delete_root(conn, sweep, which, oldest, more) : PL_OK;
}

static int is_too_large(pl__conn_t *conn, bool *is_large) {
    pl_space_t space;
    *is_large = false;
    if (conn->options.retention.max_bytes <= 0)
        return PL_OK;
    PL__TRY(pl__space_read(conn, &space));
    *is_large = space.bytes - space.free > conn->options.retention.max_bytes;
    return PL_OK;
}

static int sweep_bytes(pl__conn_t *conn, pl__sweep_t *sweep, bool *more) {
    bool is_large, found = true;
    *more = false;
    PL__TRY(is_too_large(conn, &is_large));
    while (is_large && found && !*more) {
        PL__TRY(delete_oldest(conn, sweep, &found, more));
        *more = *more || (found && pl__portion_over(conn));
        PL__TRY(is_too_large(conn, &is_large));
    }
    return PL_OK;
}

/* From the oldest on. */
static void begin_round(pl__sweep_t *sweep) {
    memset(sweep->after_time, 0, sizeof sweep->after_time);
    memset(sweep->after_id, 0, sizeof sweep->after_id);
    sweep->has_passed = false;
    sweep->again_at = 0;
}

static int sweep_some(pl__conn_t *conn, pl__sweep_t *sweep, bool *more) {
    (void)pl__portion_over(conn); /* its time begins */
    if (sweep->again_at != 0 && sweep->again_at <= conn->now)
        begin_round(sweep);
    PL__TRY(sweep_begun(conn, sweep, more));
    for (int state = 0; state < PL__SWEEP_STATES && !*more; state++)
        PL__TRY(sweep_roots(conn, sweep, state, more));
    if (!*more)
        PL__TRY(pl__journals_sweep(conn, sweep, more));
    if (!*more)
        PL__TRY(sweep_dead(conn, sweep, more));
    if (!*more)
        PL__TRY(sweep_names(conn, sweep, more));
    if (!*more)
        PL__TRY(sweep_bytes(conn, sweep, more));
    if (!*more && !sweep->has_passed)
        begin_round(sweep);
    else if (!*more && sweep->again_at == 0)
        sweep->again_at = pl_clock_add(conn->now, AGAIN_US);
    return PL_OK;
}

/* ---- when the next one is due ------------------------------------------------------------------------------ */

typedef struct {
    pl_usec_t next;
    bool any; /* something may go, now or later */
} due_t;

static void note_due(due_t *due, pl_usec_t time, pl_usec_t age) {
    pl_usec_t then = pl_clock_add(time, age);
    if (then < due->next)
        due->next = then;
}

static void note_oldest(const pl__conn_t *conn, due_t *due, const old_t *oldest, size_t len, pl_usec_t age) {
    note_due(due, conn->now, age > SOON_US ? age : SOON_US); /* what ends from now on */
    if (len > 0)
        note_due(due, oldest->time, age);
    due->any = due->any || len > 0;
}

/* The time at which something is old enough, which may have passed; without a change of what is there. */
static int find_next(pl__conn_t *conn, const pl__sweep_t *sweep, pl_usec_t *next) {
    const pl_usec_t dead_age = conn->options.retention.dead, journals_age = pl__journals_age(conn);
    due_t due = { .next = sweep->again_at ? sweep->again_at : PL_USEC_NEVER };
    const old_t *list;
    size_t len;
    int64_t begun, expires, journals;
    bool is_large;
    for (int state = 0; state < PL__SWEEP_STATES; state++)
        if (age_of(conn, state) >= 0) {
            PL__TRY(list_roots(conn, sweep, state, PL_USEC_MAX, 1, &list, &len));
            note_oldest(conn, &due, list, len, age_of(conn, state));
        }
    if (dead_age >= 0) {
        PL__TRY(list_dead(conn, PL_USEC_MAX, 1, &list, &len));
        note_oldest(conn, &due, list, len, dead_age);
    }
    PL__TRY(pl__journals_due(conn, sweep, &journals));
    note_due(&due, journals, 0);
    if (journals_age >= 0)
        note_due(&due, conn->now, journals_age > SOON_US ? journals_age : SOON_US);
    PL__TRY(pl__sql_int(conn, PL__SQL_NAME_NEXT_EXPIRY, &expires, PL_USEC_NEVER, ""));
    note_due(&due, expires, 0);
    note_due(&due, conn->now, pl_clock_from_seconds(conn->options.tombstone_seconds));
    PL__TRY(pl__sql_int(conn, PL__SQL_DELETION_FIRST, &begun, 0, ""));
    PL__TRY(is_too_large(conn, &is_large));
    if (begun || (is_large && due.any))
        note_due(&due, conn->now, 0);
    else if (conn->options.retention.max_bytes > 0) /* it may be passed at any time */
        note_due(&due, conn->now, FIRST_US);
    *next = due.next;
    return PL_OK;
}

int pl__verb_sweep(pl__conn_t *conn, pl_op_t *op) {
    pl_op_sweep_t *args = &op->u.sweep;
    pl_steps_t *steps = pl__op_steps(op, &args->progress);
    pl__sweep_t sweep = conn->has_swept ? conn->swept_to : conn->sweep;
    if (steps->phase++ == 0)
        sweep.swept = (pl_swept_t){ 0 };
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    PL__TRY(sweep_some(conn, &sweep, &op->more));
    if (!op->more)
        PL__TRY(find_next(conn, &sweep, &args->next));
    args->swept = sweep.swept;
    conn->swept_to = sweep;
    conn->has_swept = true;
    return PL_OK;
}

/* ---- upkeep ------------------------------------------------------------------------------------------------ */

typedef struct {
    pl__sweep_t sweep;
    bool more;
    int64_t work; /* what the last portion took, without waiting for the file before and for the disk behind */
} round_t;

static int sweep_portion(pl__conn_t *conn, void *data) {
    round_t *round = data;
    int64_t began = pl_clock_monotonic_us();
    int rc = sweep_some(conn, &round->sweep, &round->more);
    round->work = pl_clock_monotonic_us() - began;
    return rc;
}

/* Nothing is written: a look, outside of a transaction. */
static int look(pl__conn_t *conn, pl_usec_t *next) {
    PL__TRY(pl__file_check(conn));
    conn->now = pl_clock_now(conn->options.clock);
    int rc = find_next(conn, &conn->sweep, next);
    pl__arena_free(&conn->scratch);
    return rc;
}

static int64_t clamp(int64_t us, int64_t least, int64_t most) {
    return us < least ? least : us > most ? most : us;
}

/* Under load as much as is due by the time that has gone by since the last ones: turns may be long. */
static int sweep_between(pl__conn_t *conn, pl__run_t *run, bool idle, int parts) {
    round_t round = { .sweep = conn->sweep };
    int64_t span = pl_clock_monotonic_us() - conn->sweep.ended, work = 0;
    int64_t most = idle ? 0 : clamp(span / parts, 0, BETWEEN_US);
    do {
        PL__TRY(run(conn, sweep_portion, &round));
        conn->sweep = round.sweep;
        work += round.work;
    } while (round.more && work < most);
    conn->sweep.ended = pl_clock_monotonic_us();
    conn->sweep.at = conn->sweep.ended + (!round.more ? SOON_US : idle ? 0 : work * parts);
    return PL_OK;
}

static int keep(pl__conn_t *conn, pl__run_t *run, bool idle, int64_t now) {
    pl_usec_t next;
    PL__TRY(look(conn, &next));
    if (next > conn->now) {
        conn->sweep.at = now + clamp(next - conn->now, SOON_US, LATE_US);
        return idle ? pl__space_shrink(conn, run, &conn->sweep.at) : PL_OK;
    }
    bool late = next + OVERDUE_US < conn->now;
    return sweep_between(conn, run, idle, late ? 1 : PAUSE_PARTS);
}

void pl__sweep_keep(pl__conn_t *conn, pl__run_t *run, bool idle, int64_t *next) {
    if (!conn->options.sweeps || conn->options.clock->is_virtual)
        return;
    int64_t now = pl_clock_monotonic_us();
    if (conn->sweep.at == 0)
        conn->sweep.at = now + FIRST_US;
    if (!idle)
        conn->sweep.busy_at = now;
    if (conn->sweep.at <= now) {
        int rc = keep(conn, run, idle, now);
        if (rc != PL_OK) {
            pl_log(conn->options.log, PL_LOG_WARNING, "%s: what is old cannot be deleted now: %s", conn->options.path,
                   conn->failure[0] ? conn->failure : pl_result_text(rc));
            conn->sweep.at = now + AGAIN_US;
        }
    }
    if (conn->sweep.at < *next)
        *next = conn->sweep.at;
}
