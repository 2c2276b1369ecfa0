/*
 * news.c - the verb journal_get: how far a durable function has come, its entries, and what has come for it.
 *
 * All of it is read at one moment. News are worked out from what is there, so whoever asks twice gets them twice, until
 * what was delivered is written.
 */
#include <stdlib.h>

#include "store/sqlite/db.h"
#include "store/sqlite/pack.h"

/* ---- the function ------------------------------------------------------------------------------------------ */

static int read_flow(sqlite3_stmt *row, pl__arena_t *arena, pl_id_t stage, pl_flow_t *flow) {
    *flow = (pl_flow_t){ .stage = stage,
                         .version = sqlite3_column_int(row, 1),
                         .era = sqlite3_column_int(row, 2),
                         .first = sqlite3_column_int64(row, 3),
                         .next = sqlite3_column_int64(row, 4),
                         .bytes = sqlite3_column_int64(row, 5),
                         .mode = (pl_flow_mode_t)sqlite3_column_int(row, 6),
                         .dirty = sqlite3_column_int(row, 7) != 0,
                         .mails = sqlite3_column_int(row, 8),
                         .created = sqlite3_column_int64(row, 9),
                         .lost = sqlite3_column_int(row, 11),
                         .forked_from = sqlite3_column_int64(row, 12),
                         .forked_at = sqlite3_column_int64(row, 13),
                         .cancel = (pl_cancel_t)sqlite3_column_int(row, 14),
                         .deadline = sqlite3_column_int64(row, 15) };
    PL__TRY(pl__sql_str(row, 0, arena, &flow->seed));
    return pl__sql_str(row, 10, arena, &flow->reason);
}

static int get_flow(pl__conn_t *conn, pl_op_t *op) {
    pl_op_journal_get_t *get = &op->u.journal_get;
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_FLOW_GET, &row, "i", (int64_t)get->stage));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found) {
        op->rc = PL_ENOTFOUND;
        return PL_OK;
    }
    get->flow = pl__arena_get(&op->arena, sizeof *get->flow);
    int rc = get->flow ? read_flow(row, &op->arena, get->stage, get->flow) : PL_ENOMEM;
    pl__sql_end(row);
    return rc;
}

/* ---- entries ----------------------------------------------------------------------------------------------- */

static int read_entry(sqlite3_stmt *row, pl__arena_t *arena, pl_entry_t *entry) {
    *entry = (pl_entry_t){ .seq = sqlite3_column_int64(row, 0),
                           .done = sqlite3_column_int64(row, 1),
                           .kind = (pl_entry_kind_t)sqlite3_column_int(row, 2),
                           .state = (pl_entry_state_t)sqlite3_column_int(row, 3),
                           .nth = sqlite3_column_int(row, 6),
                           .opened = sqlite3_column_int64(row, 8),
                           .closed = sqlite3_column_int64(row, 9),
                           .attempt = sqlite3_column_int(row, 10),
                           .due = sqlite3_column_int64(row, 11),
                           .ref = sqlite3_column_int64(row, 12) };
    PL__TRY(pl__sql_str(row, 4, arena, &entry->path));
    PL__TRY(pl__sql_str(row, 5, arena, &entry->name));
    PL__TRY(pl__sql_str(row, 7, arena, &entry->line));
    return pl__sql_str(row, 13, arena, &entry->value);
}

/* One row more than the page has tells that there are more. */
static int read_page(pl_op_t *op, pl__conn_t *conn, sqlite3_stmt *row, pl__buf_t *list) {
    pl_op_journal_get_t *get = &op->u.journal_get;
    size_t bytes = 0, len = 0;
    bool more;
    PL__TRY(pl__sql_step(conn, row, &more));
    for (; more && len < (size_t)get->limit && bytes < PL_JOURNAL_BYTES_MAX; len++) {
        pl_entry_t entry;
        PL__TRY(read_entry(row, &op->arena, &entry));
        bytes += entry.value.len;
        pl__buf_add(list, &entry, sizeof entry);
        PL__TRY(list->rc);
        PL__TRY(pl__sql_step(conn, row, &more));
    }
    get->len = len;
    get->more = more;
    return PL_OK;
}

static int get_entries(pl__conn_t *conn, pl_op_t *op) {
    pl_op_journal_get_t *get = &op->u.journal_get;
    pl__buf_t list = { 0 };
    sqlite3_stmt *row;
    pl_str_t bytes;
    int64_t first = get->flow->first - 1, after = get->after > first ? get->after : first;
    if (get->limit == 0 || (get->known && get->known == get->flow->next))
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_ENTRIES, &row, "iii", (int64_t)get->stage, after, (int64_t)get->limit + 1));
    int rc = read_page(op, conn, row, &list);
    pl__sql_end(row);
    if (rc == PL_OK && get->len > 0)
        rc = pl__arena_copy(&op->arena, (pl_str_t){ list.ptr, list.len }, &bytes);
    if (rc == PL_OK && get->len > 0)
        get->entries = (const pl_entry_t *)(const void *)bytes.ptr;
    pl__buf_free(&list);
    return rc;
}

/* ---- news -------------------------------------------------------------------------------------------------- */

static int read_open(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    (void)arena;
    *(pl_arrival_t *)item = (pl_arrival_t){ .seq = sqlite3_column_int64(row, 0), .ref = sqlite3_column_int64(row, 1) };
    return PL_OK;
}

static int read_mail(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    pl_mail_t *mail = item;
    (void)conn;
    *mail = (pl_mail_t){ .number = sqlite3_column_int64(row, 0),
                         .kind = (pl_mail_kind_t)sqlite3_column_int(row, 1),
                         .time = sqlite3_column_int64(row, 4) };
    PL__TRY(pl__sql_str(row, 2, arena, &mail->name));
    PL__TRY(pl__sql_str(row, 3, arena, &mail->key));
    return pl__sql_str(row, 5, arena, &mail->value);
}

static int get_slot(pl__conn_t *conn, pl__arena_t *arena, pl_id_t id, pl_arrival_t *arrival, bool *filled) {
    const pl_output_t output = { PL_STR_LIT("default"), id };
    const pl_stage_t owner = { .outputs = &output, .outputs_len = 1 };
    const pl_slot_t *slot;
    size_t len;
    PL__TRY(pl__slots_load(conn, &owner, 1, false, true, arena, &slot, &len));
    *filled = len == 1 && slot->filled;
    if (!*filled)
        return PL_OK;
    arrival->value = slot->value;
    if (!arrival->time)
        arrival->time = slot->time;
    return PL_OK;
}

/* *found: it is final. */
static int get_child(pl__conn_t *conn, pl__arena_t *arena, pl_arrival_t *child, bool *found) {
    const pl_output_t *outputs;
    sqlite3_stmt *row;
    pl_str_t packed;
    size_t len;
    bool filled;
    PL__TRY(pl__sql_query(conn, PL__SQL_CHILD_END, &row, "i", (int64_t)child->ref));
    PL__TRY(pl__sql_step(conn, row, found));
    if (!*found)
        return PL_OK;
    child->state = (pl_stage_state_t)sqlite3_column_int(row, 0);
    child->fallback = ((unsigned)sqlite3_column_int(row, 1) & PL_STAGE_FALLBACK_TAKEN) != 0;
    child->time = sqlite3_column_int64(row, 3);
    int rc = pl__sql_str(row, 2, arena, &child->message);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 4, &conn->scratch, &packed);
    pl__sql_end(row);
    PL__TRY(rc);
    PL__TRY(pl__unpack_outputs(&conn->scratch, child->ref, packed, &outputs, &len));
    return get_slot(conn, arena, outputs[0].slot, child, &filled);
}

static int get_filled(pl__conn_t *conn, pl__arena_t *arena, pl_arrival_t *slot, bool *filled) {
    return get_slot(conn, arena, slot->ref, slot, filled);
}

/* In the order in which they came. */
static int compare_arrivals(const void *a, const void *b) {
    const pl_arrival_t *one = a, *other = b;
    if (one->time != other->time)
        return one->time < other->time ? -1 : 1;
    return (one->seq > other->seq) - (one->seq < other->seq);
}

typedef int get_t(pl__conn_t *conn, pl__arena_t *arena, pl_arrival_t *arrival, bool *is_there);

/* Of the open entries of a kind, those for which something is there. */
static int get_arrivals(pl__conn_t *conn, pl_op_t *op, pl_entry_kind_t kind, get_t *is_there,
                        const pl_arrival_t **arrivals, size_t *count) {
    const pl_op_journal_get_t *get = &op->u.journal_get;
    sqlite3_stmt *row;
    size_t len;
    int rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_ENTRIES_OPEN, &row, "iii", (int64_t)get->stage, (int64_t)get->flow->first,
                          (int64_t)kind));
    pl_arrival_t *list = pl__sql_list(conn, row, &op->arena, read_open, sizeof *list, &len, &rc);
    *count = 0;
    for (size_t i = 0; rc == PL_OK && i < len; i++) {
        bool there = false;
        rc = is_there(conn, &op->arena, &list[i], &there);
        if (there)
            list[(*count)++] = list[i];
    }
    if (*count > 1)
        qsort(list, *count, sizeof *list, compare_arrivals);
    *arrivals = list;
    return rc;
}

static int get_mails(pl__conn_t *conn, pl_op_t *op) {
    pl_op_journal_get_t *get = &op->u.journal_get;
    sqlite3_stmt *row;
    int rc;
    if (get->flow->mails == 0)
        return PL_OK;
    PL__TRY(pl__sql_query(conn, PL__SQL_NEWS_MAILS, &row, "iii", (int64_t)get->stage, get->mail_after,
                          (int64_t)get->mail_limit));
    get->news.mails = pl__sql_list(conn, row, &op->arena, read_mail, sizeof(pl_mail_t), &get->news.mails_len, &rc);
    return rc;
}

/* ---- an abort ---------------------------------------------------------------------------------------------- */

int pl__flow_asker(pl__conn_t *conn, pl_id_t stage, pl__arena_t *arena, bool *is_asked, pl_str_t *message) {
    sqlite3_stmt *row;
    bool found;
    *is_asked = false;
    *message = PL_STR_NONE;
    for (pl_id_t at = stage; at && !*is_asked;) {
        PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_ABOVE, &row, "i", (int64_t)at));
        PL__TRY(pl__sql_step(conn, row, &found));
        if (!found)
            return PL_OK;
        at = sqlite3_column_int64(row, 0);
        *is_asked =
            sqlite3_column_int(row, 2) != 0 || ((unsigned)sqlite3_column_int(row, 1) & PL_STAGE_FALLBACK_TAKEN) != 0;
        int rc = *is_asked ? pl__sql_str(row, 3, arena, message) : PL_OK;
        pl__sql_end(row);
        PL__TRY(rc);
    }
    return PL_OK;
}

typedef struct {
    pl_id_t id, parent, top; /* top: the child of the function that it is below of, or is; 0: neither */
    bool is_live, is_told;
} below_t;

static int read_below(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    int state = sqlite3_column_int(row, 1);
    unsigned flags = (unsigned)sqlite3_column_int(row, 2);
    (void)conn;
    (void)arena;
    *(below_t *)item =
        (below_t){ .id = sqlite3_column_int64(row, 0),
                   .parent = sqlite3_column_int64(row, 5),
                   .is_live = (flags & PL_STAGE_DURABLE) && state != PL_STAGE_DONE && state != PL_STAGE_ABORTED };
    return PL_OK;
}

static int compare_below(const void *a, const void *b) {
    return pl__compare_ids(&((const below_t *)a)->id, &((const below_t *)b)->id);
}

static below_t *find_below(below_t *list, size_t len, pl_id_t id) {
    const below_t wanted = { .id = id };
    return bsearch(&wanted, list, len, sizeof *list, compare_below);
}

/* Adds the child that it is below of, or is, unless it is there. */
static void add_live(below_t *list, size_t at, pl_id_t *live, size_t *len) {
    below_t *top = find_below(list, at + 1, list[at].top);
    if (!list[at].is_live || !top || top->is_told)
        return;
    top->is_told = true;
    live[(*len)++] = top->id;
}

/* Ascending by id, so that a parent comes before its children. */
static int get_live(pl__conn_t *conn, pl_op_t *op) {
    pl_op_journal_get_t *get = &op->u.journal_get;
    sqlite3_stmt *row;
    pl_id_t root;
    size_t len;
    int rc;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_BRIEF, &row, "i", (int64_t)get->stage));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    root = sqlite3_column_int64(row, 1);
    pl__sql_end(row);
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_PART, &row, "iii", (int64_t)root, (int64_t)get->stage, INT64_MAX));
    below_t *list = pl__sql_list(conn, row, &conn->scratch, read_below, sizeof *list, &len, &rc);
    PL__TRY(rc);
    pl_id_t *live = pl__arena_get(&op->arena, (len ? len : 1) * sizeof *live);
    if (!live)
        return PL_ENOMEM;
    for (size_t i = 0; i < len; i++) {
        const below_t *parent = list[i].parent == get->stage ? NULL : find_below(list, i, list[i].parent);
        list[i].top = list[i].parent == get->stage ? list[i].id : parent ? parent->top : 0;
        add_live(list, i, live, &get->news.live_len);
    }
    get->news.live = live;
    return PL_OK;
}

static int get_cancel(pl__conn_t *conn, pl_op_t *op) {
    pl_news_t *news = &op->u.journal_get.news;
    if (op->u.journal_get.flow->cancel != PL_CANCEL_ASKED)
        return PL_OK;
    news->cancel = true;
    PL__TRY(pl__flow_asker(conn, op->u.journal_get.stage, &op->arena, &news->is_abort, &news->message));
    return get_live(conn, op);
}

int pl__verb_journal_get(pl__conn_t *conn, pl_op_t *op) {
    pl_op_journal_get_t *get = &op->u.journal_get;
    get->flow = NULL;
    get->len = 0;
    get->more = false;
    get->news = (pl_news_t){ 0 };
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(get_flow(conn, op));
    if (op->rc != PL_OK)
        return PL_OK;
    PL__TRY(get_entries(conn, op));
    if (get->mail_limit == 0)
        return PL_OK;
    PL__TRY(get_arrivals(conn, op, PL_ENTRY_CHILD, get_child, &get->news.children, &get->news.children_len));
    PL__TRY(get_arrivals(conn, op, PL_ENTRY_SLOT, get_filled, &get->news.slots, &get->news.slots_len));
    PL__TRY(get_cancel(conn, op));
    return get_mails(conn, op);
}
