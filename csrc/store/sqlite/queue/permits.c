/*
 * permits.c - max_concurrent: how many tasks of a queue its workers may execute, all together, and claim ahead of that.
 *
 * What a worker executes it has claimed. So where nobody claims more than may be executed, the limit holds when the
 * claims of a queue are no more than it allows. But then exactly so many tasks start with each commit. A worker that
 * ends tasks faster than it commits claims ahead: it has permits then, a row in pl_permit, and its scheduler starts a
 * task only while fewer than that are executed. A task that ends frees its place on the loop, before that is committed.
 *
 *                   claims more than may be executed
 *      counted ───────────────────────────────────────► with permits
 *     (no row)  ◄───────────────────────────────────────  (permits > 0)
 *                   its claims are no more than its permits
 *
 * Invariants, whenever a transaction ends
 *   1. The permits of those who have some, and the claims of the others, are together no more than the limit; where it
 *      was lowered, nobody gets more until that is so again.
 *   2. Who has permits had more claims than that after its own last transaction: nobody keeps what it does not need.
 *   3. Permits only grow while a worker has them. They are given up in a transaction after which its claims are counted
 *      and no more; so nobody has to be asked what is being executed just then.
 *
 * Sharing. A worker that could have less than its share of the limit (the limit by the number of those who want some)
 * says so in its row (waits). While somebody waits nobody claims ahead, and whoever has its share claims no more. It
 * asks those with more than their share (asked): their loops are told to give back what has not started (recalls),
 * which is also how a pause, a purge and a lowered limit reach what is claimed ahead.
 *
 * Where the limit is less than those who want some, the share is one, and a place is left to those who wait when its
 * task has ended.
 *
 * How far ahead. About as many as have ended since the last time, twice: a process whose tasks are slow hoards none. A
 * queue with a rate is not claimed ahead, for its tokens are spent by claims.
 *
 * Permits of a worker go with it: by a foreign key, in the transaction that gives back its claims.
 */
#include "store/sqlite/db.h"

enum { WAY_US = 100 * 1000, WAY_AGAIN_US = 1000 * 1000 };

typedef struct {
    pl_id_t worker;
    int64_t count;     /* of claims, or permits */
    bool waits, asked; /* of a row with permits */
} holder_t;

/* Who has what of a queue. */
typedef struct {
    int64_t mine;    /* claims */
    int64_t others;  /* places of the limit that they have */
    int rivals;      /* other workers that have claims or rows */
    int waiting;     /* of these */
    int64_t richest; /* of these: the most permits */
    int64_t held;    /* own permits; 0: none */
    bool waits, asked;
} survey_t;

static int read_holder(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    (void)arena;
    *(holder_t *)item = (holder_t){ .worker = sqlite3_column_int64(row, 0),
                                    .count = sqlite3_column_int64(row, 1),
                                    .waits = sqlite3_column_int(row, 2) != 0,
                                    .asked = sqlite3_column_int(row, 3) != 0 };
    return PL_OK;
}

static const holder_t *find_holder(const holder_t *list, size_t len, pl_id_t worker) {
    for (size_t i = 0; i < len; i++)
        if (list[i].worker == worker)
            return &list[i];
    return NULL;
}

static int list_holders(pl__conn_t *conn, pl__sql_t id, int64_t of, const holder_t **list, size_t *len) {
    sqlite3_stmt *row;
    int rc;
    PL__TRY(pl__sql_query(conn, id, &row, "i", of));
    *list = pl__sql_list(conn, row, &conn->scratch, read_holder, sizeof **list, len, &rc);
    return rc;
}

/* Whether anybody has a row: asked only after another connection has committed. */
static int look(pl__conn_t *conn) {
    int64_t any;
    if (conn->permits_known)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_PERMITS_ANY, &any, 0, ""));
    conn->any_permits = any != 0;
    conn->permits_known = true;
    return PL_OK;
}

static int survey(pl__conn_t *conn, int64_t queue, survey_t *found) {
    const holder_t *claims, *rows = NULL;
    size_t claims_len, rows_len = 0;
    *found = (survey_t){ 0 };
    PL__TRY(look(conn));
    PL__TRY(list_holders(conn, PL__SQL_QUEUE_CLAIMS, queue, &claims, &claims_len));
    if (conn->any_permits)
        PL__TRY(list_holders(conn, PL__SQL_PERMITS_OF_QUEUE, queue, &rows, &rows_len));
    for (size_t i = 0; i < claims_len; i++) {
        const holder_t *row = find_holder(rows, rows_len, claims[i].worker);
        bool is_mine = claims[i].worker == conn->worker;
        if (is_mine)
            found->mine = claims[i].count;
        else if (!row || row->count == 0)
            found->others += claims[i].count;
        found->rivals += !is_mine && !row && claims[i].count > 0;
    }
    for (size_t i = 0; i < rows_len; i++) {
        bool is_mine = rows[i].worker == conn->worker;
        if (is_mine) {
            found->held = rows[i].count;
            found->waits = rows[i].waits;
            found->asked = rows[i].asked;
        } else {
            found->others += rows[i].count;
            found->richest = rows[i].count > found->richest ? rows[i].count : found->richest;
        }
        found->rivals += !is_mine;
        found->waiting += !is_mine && rows[i].waits;
    }
    return PL_OK;
}

/* The row of this worker. Without permits, and waiting for none, it has no row. */
static int put_row(pl__conn_t *conn, int64_t queue, int64_t permits, bool waits) {
    if (permits == 0 && !waits)
        return pl__sql_run(conn, PL__SQL_PERMIT_DELETE, NULL, "ii", queue, (int64_t)conn->worker);
    conn->any_permits = true;
    return pl__sql_run(conn, PL__SQL_PERMIT_SET, NULL, "iiii", queue, (int64_t)conn->worker, permits, (int64_t)waits);
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* How many may be claimed beyond what may be executed. */
static int ahead_of(pl__conn_t *conn, const pl__queue_t *queue, const survey_t *found, int64_t *ahead) {
    const pl__permit_t *permit = &queue->permit;
    bool is_within = found->held > 0 || found->mine <= permit->most; /* what is being executed */
    int64_t any_losses;
    *ahead = least(conn->ahead, 2 * permit->ended);
    if (permit->recalled || found->waiting > 0 || permit->most <= 0 || !is_within || queue->rate >= 0 ||
        queue->retry.losses == 1)
        *ahead = 0;
    if (*ahead == 0)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_QUEUE_ANY_LOSSES, &any_losses, 0, "i", queue->id));
    if (any_losses)
        *ahead = 0;
    return PL_OK;
}

/* Everybody is to have one at least. */
static int64_t own_share(const pl__permit_t *permit) {
    return permit->share > 0 ? permit->share : 1;
}

/* Where the limit is less than those who want some, whoever has ended a task leaves the place to others for a while. If
 * they do not take it, for their loop may be busy, they are not waited for again so soon. */
static bool gives_way(pl__conn_t *conn, pl__permit_t *permit, int64_t room) {
    if (permit->share > 0)
        return false;
    if (room <= 0)
        permit->way_again = 0; /* they have taken it */
    else if (conn->freed && permit->way_again <= conn->steady) {
        permit->way_until = pl_clock_add(conn->steady, WAY_US);
        permit->way_again = pl_clock_add(conn->steady, WAY_AGAIN_US);
    }
    if (room <= 0 || permit->way_until <= conn->steady)
        return false;
    if (permit->way_until < conn->next_token)
        conn->next_token = permit->way_until;
    return true;
}

static int note_recall(pl__conn_t *conn, int64_t queue) {
    pl_recall_t *recall = pl__arena_get(&conn->scratch, sizeof *recall);
    if (!recall)
        return PL_ENOMEM;
    *recall = (pl_recall_t){ conn->recalls, queue };
    conn->recalls = recall;
    return PL_OK;
}

int pl__permits_used(pl__conn_t *conn, int64_t queue, int64_t *used) {
    survey_t found;
    conn->permits_known = false;
    PL__TRY(survey(conn, queue, &found));
    *used = found.others + (found.held > 0 ? found.held : found.mine);
    return PL_OK;
}

int pl__permits_ask(pl__conn_t *conn, pl__queue_t *queue, int64_t *free) {
    pl__permit_t *permit = &queue->permit;
    survey_t found;
    int64_t ahead;
    PL__TRY(survey(conn, queue->id, &found));
    if (permit->seen != conn->finishes)
        permit->ended = permit->claimed > found.mine ? permit->claimed - found.mine : 0;
    permit->seen = conn->finishes;
    permit->claimed = found.mine;
    permit->most = queue->max_concurrent - found.others;
    permit->held = found.held;
    permit->waits = found.waits;
    permit->recalled = found.held > 0 && (found.asked || found.held > permit->most);
    if (permit->recalled)
        PL__TRY(note_recall(conn, queue->id));
    permit->share = queue->max_concurrent / (1 + found.rivals);
    permit->asks = found.richest > permit->share;
    PL__TRY(ahead_of(conn, queue, &found, &ahead));
    permit->is_ahead = ahead > 0;
    int64_t room = permit->most - found.mine + ahead;
    if (found.waiting > 0) {
        room = gives_way(conn, permit, room) ? 0 : least(room, own_share(permit) - found.mine);
        conn->notify = conn->notify || conn->freed; /* there is room for them now */
    }
    *free = room;
    return PL_OK;
}

/* Whether this worker has to wait for the others; asks them, if so. Even if nothing is ready: they may have it. */
static int wait_for_others(pl__conn_t *conn, const pl__queue_t *queue, bool *waits) {
    const pl__permit_t *permit = &queue->permit;
    int64_t any_ready = 0;
    int asked = 0;
    bool has_less = permit->most < own_share(permit);
    if (has_less && !permit->asks)
        PL__TRY(pl__sql_int(conn, PL__SQL_QUEUE_ANY_READY, &any_ready, 0, "i", queue->id));
    *waits = has_less && (permit->asks || any_ready);
    if (!*waits)
        return PL_OK;
    PL__TRY(pl__sql_run(conn, PL__SQL_PERMITS_ASK, &asked, "iii", queue->id, (int64_t)conn->worker, permit->share));
    conn->notify = conn->notify || asked > 0 || !permit->waits;
    return PL_OK;
}

int pl__permits_settle(pl__conn_t *conn, pl__queue_t *queue, bool is_short, int claimed) {
    pl__permit_t *permit = &queue->permit;
    int64_t held = permit->held;
    bool waits = false;
    permit->claimed += claimed;
    if (is_short)
        PL__TRY(wait_for_others(conn, queue, &waits));
    if (permit->claimed <= held || permit->claimed <= permit->most)
        held = 0;
    else if (permit->is_ahead)
        held = permit->most;
    if (held == permit->held && waits == permit->waits)
        return PL_OK;
    conn->notify = conn->notify || held < permit->held || waits < permit->waits;
    permit->held = held;
    permit->waits = waits;
    return put_row(conn, queue->id, held, waits);
}

int pl__permits_recall(pl__conn_t *conn, int64_t queue) {
    PL__TRY(look(conn));
    conn->notify = conn->notify || conn->any_permits;
    return conn->any_permits ? pl__sql_run(conn, PL__SQL_PERMITS_ASK, NULL, "iii", queue, INT64_C(0), INT64_C(0))
                             : PL_OK;
}

/* ---- the end of a transaction ------------------------------------------------------------------------------------ */

/* What of a queue holds no longer, whether or not something was to be claimed from it. */
static int finish_row(pl__conn_t *conn, const holder_t *row) {
    int64_t id = row->worker, mine; /* the list is one of queues */
    const pl__queue_t *queue = pl__queue_by_id(conn, id);
    bool may_stay =
        queue && !queue->removed && !queue->paused && queue->rate < 0 && queue->max_concurrent >= row->count;
    bool is_seen = queue && queue->permit.seen == conn->finishes;
    if (is_seen)
        mine = queue->permit.claimed;
    else
        PL__TRY(pl__sql_int(conn, PL__SQL_QUEUE_CLAIMS_OF, &mine, 0, "ii", id, (int64_t)conn->worker));
    if (row->count > 0 && (row->asked || !may_stay))
        PL__TRY(note_recall(conn, id));
    int64_t permits = mine > row->count ? row->count : 0;
    bool waits = row->waits && is_seen;
    if (permits == row->count && waits == row->waits)
        return PL_OK;
    conn->notify = true;
    return put_row(conn, id, permits, waits);
}

static int hand_over(pl__conn_t *conn, pl__arena_t *arena, pl__commit_result_t *turn) {
    for (const pl_recall_t *recall = conn->recalls; recall; recall = recall->next) {
        pl_recall_t *copy = pl__arena_get(arena, sizeof *copy);
        if (!copy)
            return PL_ENOMEM;
        *copy = (pl_recall_t){ turn->recalls, recall->queue };
        turn->recalls = copy;
    }
    return PL_OK;
}

int pl__permits_finish(pl__conn_t *conn, pl__arena_t *arena, pl__commit_result_t *turn) {
    const holder_t *rows;
    size_t len;
    PL__TRY(look(conn));
    if (!conn->any_permits || conn->worker == 0)
        return hand_over(conn, arena, turn);
    PL__TRY(list_holders(conn, PL__SQL_PERMITS_OF_WORKER, (int64_t)conn->worker, &rows, &len));
    for (size_t i = 0; i < len; i++)
        PL__TRY(finish_row(conn, &rows[i]));
    conn->permits_known = conn->permits_known && len > 0; /* perhaps they were the last ones */
    return hand_over(conn, arena, turn);
}
