/*
 * roots.c - lists of roots with filters, and their numbers by state and by when they ended.
 *
 * Roots are gone through from the newest on, of one class where that is asked for, and what is looked at for a page is
 * bounded. Where only such are wanted as are few, and are found by what they are doing (their tasks, or that they were
 * aborted), these are sorted instead. `created` grows with the id but for clocks that were set, so where a time of
 * creation begins is found by halving the ids; a margin is left for what was made long before it was committed.
 */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite/db.h"

#define MARGIN_US (INT64_C(3600) * PL_USEC_PER_SEC)

typedef struct {
    pl__conn_t *conn;
    pl_op_t *op;
    pl_id_t *found; /* in scratch: of this page */
    int looked_at, most;
    bool is_full;
} roots_t;

/* ---- one root ---------------------------------------------------------------------------------------------- */

/* What its task does. */
static int read_word(pl__conn_t *conn, pl_root_brief_t *root) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_TASK_BRIEF, &row, "i", (int64_t)root->id));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int state = sqlite3_column_int(row, 0);
    bool is_delayed = state == PL__TASK_DELAYED && sqlite3_column_int64(row, 1) > conn->due;
    root->word = state == PL__TASK_CLAIMED ? PL_WORD_EXECUTING : is_delayed ? PL_WORD_DELAYED : PL_WORD_READY;
    pl__sql_end(row);
    return PL_OK;
}

static int read_message(pl__conn_t *conn, pl__arena_t *arena, pl_root_brief_t *root) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_STATUS_MESSAGE, &row, "i", (int64_t)root->id));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int rc = pl__sql_str(row, 0, arena, &root->message);
    pl__sql_end(row);
    return rc;
}

/* Borrowed from the row until the next step. */
static pl_str_t column(sqlite3_stmt *row, int at) {
    const char *text = sqlite3_column_blob(row, at);
    return text ? (pl_str_t){ text, (size_t)sqlite3_column_bytes(row, at) } : PL_STR_NONE;
}

/* The columns of ROOTS_SCAN. */
static int read_brief(pl__conn_t *conn, const pl_roots_filter_t *filter, sqlite3_stmt *row, pl__arena_t *arena,
                      pl_root_brief_t *root) {
    pl_stage_state_t state = (pl_stage_state_t)sqlite3_column_int(row, 1);
    *root = (pl_root_brief_t){ .id = sqlite3_column_int64(row, 0),
                               .word = pl_stage_word(state),
                               .created = sqlite3_column_int64(row, 2) };
    const pl__queue_t *queue = filter->queue.ptr ? pl__queue_by_id(conn, sqlite3_column_int64(row, 3)) : NULL;
    if (queue)
        root->queue = (pl_str_t){ queue->name, queue->len };
    root->class_path = column(row, 4);
    root->key = column(row, 5);
    root->reason = column(row, 6);
    root->last_error = column(row, 7);
    if (state == PL_STAGE_READY)
        PL__TRY(read_word(conn, root));
    return filter->text.ptr ? read_message(conn, arena, root) : PL_OK;
}

static int look_at(roots_t *roots, sqlite3_stmt *row, bool *is_before) {
    pl_op_roots_find_t *find = &roots->op->u.roots_find;
    pl_root_brief_t root;
    pl__arena_t arena = { NULL }; /* of this one only: thousands are looked through */
    int rc = read_brief(roots->conn, &find->filter, row, &arena, &root);
    bool wanted = rc == PL_OK && pl_root_is_wanted(&find->filter, &root);
    pl__arena_free(&arena);
    PL__TRY(rc);
    roots->looked_at++;
    *is_before = find->filter.since && root.created < find->filter.since - MARGIN_US;
    find->next = root.id;
    if (!wanted)
        return PL_OK;
    if (find->counts)
        find->by_word[root.word]++;
    else
        roots->found[find->len++] = root.id;
    return PL_OK;
}

/* ---- from the newest on ------------------------------------------------------------------------------------ */

/* The first id behind all roots that were created by `until`, but for what was long under way. */
static int find_end(pl__conn_t *conn, pl_usec_t until, pl_id_t *end) {
    int64_t low = 0, high, created;
    PL__TRY(pl__sql_int(conn, PL__SQL_ROOT_NEWEST, &high, 0, "i", INT64_MAX));
    while (low < high) { /* roots up to low were created by then, those from high on were not, as far as known */
        int64_t middle = low + (high - low) / 2;
        PL__TRY(pl__sql_int(conn, PL__SQL_ROOT_CREATED_FROM, &created, 0, "i", middle));
        if (created > pl_clock_add(until, MARGIN_US))
            high = middle;
        else
            low = middle + 1;
    }
    *end = low + 1;
    return PL_OK;
}

static int scan(roots_t *roots) {
    pl_op_roots_find_t *find = &roots->op->u.roots_find;
    const pl_roots_filter_t *filter = &find->filter;
    pl__conn_t *conn = roots->conn;
    pl_id_t end = find->before ? find->before : INT64_MAX;
    sqlite3_stmt *row;
    bool more, is_before = false;
    if (filter->until && !find->before)
        PL__TRY(find_end(conn, filter->until, &end));
    if (filter->class_path.ptr)
        PL__TRY(pl__sql_query(conn, PL__SQL_ROOTS_SCAN_CLASS, &row, "it", (int64_t)end, filter->class_path));
    else
        PL__TRY(pl__sql_query(conn, PL__SQL_ROOTS_SCAN, &row, "i", (int64_t)end));
    int rc = pl__sql_step(conn, row, &more);
    while (rc == PL_OK && more && !is_before) {
        roots->is_full = roots->looked_at >= roots->most || find->len >= (size_t)find->limit;
        if (roots->is_full)
            break;
        rc = look_at(roots, row, &is_before);
        if (rc == PL_OK)
            rc = pl__sql_step(conn, row, &more);
    }
    pl__sql_end(row);
    find->next = roots->is_full ? find->next : 0;
    return rc;
}

/* Counts by state alone, of all or from a time on: that needs no more than two columns of each. */
static int count_newest(roots_t *roots) {
    pl_op_roots_find_t *find = &roots->op->u.roots_find;
    pl_usec_t since = find->filter.since;
    sqlite3_stmt *row;
    bool more, is_before = false;
    PL__TRY(pl__sql_query(roots->conn, PL__SQL_ROOTS_SCAN_STATES, &row, "i", INT64_MAX));
    int rc = pl__sql_step(roots->conn, row, &more);
    while (rc == PL_OK && more && !is_before && !roots->is_full) {
        pl_stage_state_t state = (pl_stage_state_t)sqlite3_column_int(row, 1);
        pl_root_brief_t root = { .id = sqlite3_column_int64(row, 0),
                                 .word = pl_stage_word(state),
                                 .created = sqlite3_column_int64(row, 2) };
        if (state == PL_STAGE_READY)
            rc = read_word(roots->conn, &root);
        find->by_word[root.word] += root.created >= since;
        is_before = since && root.created < since - MARGIN_US;
        if (rc == PL_OK)
            rc = pl__sql_step(roots->conn, row, &more);
        roots->is_full = more && ++roots->looked_at >= roots->most;
    }
    pl__sql_end(row);
    return rc;
}

/* ---- by what they are doing -------------------------------------------------------------------------------- */

#define BIT(word) (1U << PL_WORD_##word)
#define OF_TASKS (BIT(FINALIZING) | BIT(ABORTING)) /* these have one, too */

/* A root that is open has something live below it: a task, or an async stage, whose outputs somebody waits for. */
static const struct {
    unsigned words; /* roots with these words are found by */
    pl__sql_t sql;
} WAYS[] = {
    { BIT(ABORTED), PL__SQL_ROOTS_ABORTED },
    { BIT(EXECUTING) | BIT(OPEN) | OF_TASKS, PL__SQL_ROOTS_OF_CLAIMED },
    { BIT(READY) | BIT(OPEN) | OF_TASKS, PL__SQL_ROOTS_OF_READY },
    { BIT(DELAYED) | BIT(READY) | BIT(OPEN) | OF_TASKS, PL__SQL_ROOTS_OF_DELAYED },
    { BIT(OPEN), PL__SQL_ROOTS_OF_WAITS },
};

/* One that is aborting may have refused to be cancelled, and one that waits is found by nothing. */
#define FOUND_BY_WAY (BIT(ABORTED) | BIT(EXECUTING) | BIT(READY) | BIT(DELAYED) | BIT(FINALIZING) | BIT(OPEN))

static int newest_first(const void *a, const void *b) {
    pl_id_t left = *(const pl_id_t *)a, right = *(const pl_id_t *)b;
    return (left < right) - (left > right);
}

/* All that may be wanted, newest first; *are_few: false if they are not found so, or are too many. */
static int list_candidates(roots_t *roots, pl_id_t **ids, size_t *len, bool *are_few) {
    const pl_roots_filter_t *filter = &roots->op->u.roots_find.filter;
    pl__conn_t *conn = roots->conn;
    int seen = 0;
    *len = 0;
    *are_few = filter->words && !(filter->words & ~FOUND_BY_WAY);
    *ids = pl__arena_get(&conn->scratch, (size_t)PL_ROOTS_CANDIDATES_MAX * sizeof **ids);
    if (!*ids)
        return PL_ENOMEM;
    for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS && *are_few; i++) {
        sqlite3_stmt *row;
        bool more;
        if (!(filter->words & WAYS[i].words))
            continue;
        PL__TRY(pl__sql_query(conn, WAYS[i].sql, &row, ""));
        int rc = pl__sql_step(conn, row, &more);
        for (; rc == PL_OK && more && seen < PL_ROOTS_CANDIDATES_MAX; seen++) {
            pl_id_t root = sqlite3_column_int64(row, 0); /* 0: a task that is of no stage */
            if (root)
                (*ids)[(*len)++] = root;
            rc = pl__sql_step(conn, row, &more);
        }
        *are_few = !more;
        pl__sql_end(row);
        PL__TRY(rc);
    }
    qsort(*ids, *len, sizeof **ids, newest_first);
    return PL_OK;
}

static int go_through(roots_t *roots, const pl_id_t *ids, size_t len) {
    pl_op_roots_find_t *find = &roots->op->u.roots_find;
    pl_id_t last = find->before ? find->before : INT64_MAX;
    for (size_t i = 0; i < len; i++) {
        sqlite3_stmt *row;
        bool found, is_before;
        if (ids[i] >= last) /* another page's, or found twice */
            continue;
        roots->is_full = find->len >= (size_t)find->limit;
        if (roots->is_full)
            break;
        last = ids[i];
        PL__TRY(pl__sql_query(roots->conn, PL__SQL_ROOT_BRIEF, &row, "i", (int64_t)ids[i]));
        PL__TRY(pl__sql_step(roots->conn, row, &found));
        int rc = found ? look_at(roots, row, &is_before) : PL_OK;
        pl__sql_end(row);
        PL__TRY(rc);
    }
    find->next = roots->is_full ? find->next : 0;
    return PL_OK;
}

/* ---- the verb ---------------------------------------------------------------------------------------------- */

static int load_found(roots_t *roots) {
    pl_op_roots_find_t *find = &roots->op->u.roots_find;
    pl__conn_t *conn = roots->conn;
    pl__fronts_t fronts = { .len = 0 };
    int budget = PL_TALLY_PAGE_MAX;
    size_t len = 0;
    find->stages = pl__arena_get(&roots->op->arena, (find->len + 1) * sizeof *find->stages);
    if (!find->stages)
        return PL_ENOMEM;
    for (size_t i = 0; i < find->len; i++) {
        pl_stage_t *stage = &find->stages[len];
        bool is_there;
        PL__TRY(pl__stage_find(conn, roots->found[i], true, &roots->op->arena, stage, &is_there));
        if (!is_there) /* its tree is being deleted */
            continue;
        PL__TRY(pl__work_read(conn, stage, &roots->op->arena, &fronts));
        PL__TRY(pl__tally_read(conn, stage, &roots->op->arena, &budget));
        len++;
    }
    find->len = len;
    return PL_OK;
}

/* In a file of that size there are few enough to count them without looking at each for an end: half the time. */
static int count_all_done(roots_t *roots, int64_t aborted, bool *is_counted) {
    enum { ROOT_BYTES = 120 }; /* in the file, at least, with its entries of indexes */
    const int64_t most = 2 * (int64_t)PL_ROOTS_COUNT_MAX * ROOT_BYTES;
    int64_t pages, bytes, over;
    PL__TRY(pl__sql_int(roots->conn, PL__SQL_PAGE_COUNT, &pages, 0, ""));
    PL__TRY(pl__sql_int(roots->conn, PL__SQL_PAGE_SIZE, &bytes, 0, ""));
    *is_counted = pages * bytes <= most && aborted < PL_ROOTS_COUNT_MAX;
    if (!*is_counted)
        return PL_OK;
    PL__TRY(pl__sql_int(roots->conn, PL__SQL_ROOTS_COUNT_OVER, &over, 0, ""));
    roots->op->u.roots_find.by_word[PL_WORD_DONE] = over - aborted;
    return PL_OK;
}

/* Where they were not all met, what is over is counted by its index. */
static int count_final(roots_t *roots) {
    pl_op_roots_find_t *find = &roots->op->u.roots_find;
    bool is_counted;
    find->is_more = roots->is_full;
    if (!roots->is_full || !pl_roots_filter_is_empty(&find->filter))
        return PL_OK;
    PL__TRY(pl__sql_int(roots->conn, PL__SQL_ROOTS_COUNT_FINAL, &find->by_word[PL_WORD_ABORTED], 0, "ii",
                        (int64_t)PL_STAGE_ABORTED, (int64_t)PL_ROOTS_COUNT_MAX));
    PL__TRY(count_all_done(roots, find->by_word[PL_WORD_ABORTED], &is_counted));
    return is_counted ? PL_OK
                      : pl__sql_int(roots->conn, PL__SQL_ROOTS_COUNT_FINAL, &find->by_word[PL_WORD_DONE], 0, "ii",
                                    (int64_t)PL_STAGE_DONE, (int64_t)PL_ROOTS_COUNT_MAX);
}

static int find_by_key(roots_t *roots) {
    pl_op_roots_find_t *find = &roots->op->u.roots_find;
    pl_id_t id;
    PL__TRY(pl__sql_int(roots->conn, PL__SQL_STAGE_BY_KEY, &id, 0, "b", find->filter.key));
    return go_through(roots, &id, id != 0);
}

/* Whether nothing but the time of creation chooses. */
static bool is_by_time(const pl_roots_filter_t *filter) {
    pl_roots_filter_t rest = *filter;
    rest.since = 0;
    return pl_roots_filter_is_empty(&rest);
}

int pl__verb_roots_find(pl__conn_t *conn, pl_op_t *op) {
    pl_op_roots_find_t *find = &op->u.roots_find;
    roots_t roots = { .conn = conn, .op = op, .most = PL_ROOTS_SCAN_MAX };
    pl_id_t *ids;
    size_t len;
    bool are_few = false;
    find->len = 0;
    find->next = 0;
    find->is_more = false;
    memset(find->by_word, 0, sizeof find->by_word);
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    if (conn->role != PL__ROLE_WRITER)
        PL__TRY(pl__queues_load(conn));
    roots.found = pl__arena_get(&conn->scratch, ((size_t)find->limit + 1) * sizeof *roots.found);
    if (!roots.found)
        return PL_ENOMEM;
    if (find->counts && is_by_time(&find->filter)) {
        PL__TRY(count_newest(&roots));
        return count_final(&roots);
    }
    PL__TRY(list_candidates(&roots, &ids, &len, &are_few));
    if (find->filter.key.ptr)
        PL__TRY(find_by_key(&roots));
    else
        PL__TRY(are_few ? go_through(&roots, ids, len) : scan(&roots));
    return find->counts ? count_final(&roots) : load_found(&roots);
}

int pl__verb_roots_over(pl__conn_t *conn, pl_op_t *op) {
    pl_op_roots_over_t *over = &op->u.roots_over;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_ROOTS_COUNT_ENDED, &over->done, 0, "iiii", (int64_t)PL_STAGE_DONE,
                        (int64_t)over->since, (int64_t)over->before, over->limit));
    return pl__sql_int(conn, PL__SQL_ROOTS_COUNT_ENDED, &over->aborted, 0, "iiii", (int64_t)PL_STAGE_ABORTED,
                       (int64_t)over->since, (int64_t)over->before, over->limit);
}
