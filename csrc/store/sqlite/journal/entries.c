/*
 * entries.c - what a durable function writes at a time: entries of its journal, and all that becomes real with them.
 */
#include "store/sqlite/db.h"
#include "store/sqlite/task/add.h"

enum { INLINE_MAX = 1024 };

/* One that is written anew may have had a long value. A row that is updated leaves the last rowid as it is, which costs
 * nothing to look at; a new one may have the same number as the one before it in another table, which does no harm. */
static int write_large(pl__conn_t *conn, pl_id_t stage, const pl_entry_t *entry, bool is_large, bool is_new) {
    if (is_large)
        return pl__sql_run(conn, PL__SQL_ENTRY_SET_LARGE, NULL, "iib", (int64_t)stage, entry->seq, entry->value);
    return is_new ? PL_OK : pl__sql_run(conn, PL__SQL_ENTRY_DROP_LARGE, NULL, "ii", (int64_t)stage, entry->seq);
}

static int write_entry(pl__conn_t *conn, pl_id_t stage, const pl_entry_t *entry, int64_t *bytes) {
    bool is_large = entry->value.len > INLINE_MAX;
    *bytes += pl_entry_bytes(entry);
    sqlite3_int64 before = sqlite3_last_insert_rowid(conn->db);
    PL__TRY(pl__sql_run(conn, PL__SQL_ENTRY_SET, NULL, "iiziittitizizzib", (int64_t)stage, entry->seq, entry->done,
                        (int64_t)entry->kind, (int64_t)entry->state, entry->path, entry->name, (int64_t)entry->nth,
                        entry->line, (int64_t)entry->opened, (int64_t)entry->closed, (int64_t)entry->attempt,
                        (int64_t)entry->due, (int64_t)entry->ref, (int64_t)is_large,
                        is_large ? PL_STR_NONE : entry->value));
    return write_large(conn, stage, entry, is_large, sqlite3_last_insert_rowid(conn->db) != before);
}

static int take_mails(pl__conn_t *conn, pl_id_t stage, const int64_t *taken, size_t len) {
    int64_t count = 0;
    for (size_t i = 0; i < len; i++) {
        int changes;
        PL__TRY(pl__sql_run(conn, PL__SQL_MAIL_DELETE, &changes, "ii", (int64_t)stage, taken[i]));
        if (!changes)
            PL__TRY(pl__sql_run(conn, PL__SQL_MAIL_TAKE, &changes, "ii", (int64_t)stage, taken[i]));
        count += changes > 0;
    }
    return count ? pl__sql_run(conn, PL__SQL_MAILS_TAKEN, NULL, "ii", (int64_t)stage, count) : PL_OK;
}

static int check_root(pl__conn_t *conn, const pl_stage_new_t *roots, size_t at, pl__refusal_t *refusal) {
    int64_t taken = 0;
    if (!roots[at].key.ptr)
        return PL_OK;
    PL__TRY(pl__stage_rows_flush(conn));
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_BY_KEY, &taken, 0, "b", roots[at].key));
    for (size_t i = 0; i < at && !taken; i++)
        taken = roots[i].key.ptr && pl_str_eq(roots[i].key, roots[at].key);
    if (taken)
        *refusal = (pl__refusal_t){ .rc = PL_EEXISTS, .root = &roots[at] };
    return PL_OK;
}

int pl__journal_check(pl__conn_t *conn, const pl_journal_t *journal, const pl_task_new_t *others, size_t others_len,
                      pl__refusal_t *refusal) {
    PL__TRY(pl__tasks_check(conn, journal->tasks, journal->tasks_len, others, others_len, refusal));
    for (size_t i = 0; i < journal->starts_len && refusal->rc == PL_OK; i++)
        PL__TRY(check_root(conn, journal->starts, i, refusal));
    return PL_OK;
}

int pl__journal_write(pl__conn_t *conn, pl_id_t stage, pl_id_t root, unsigned flags, const pl_journal_t *journal,
                      pl__spawn_t *spawn) {
    int64_t bytes = 0;
    for (size_t i = 0; i < journal->entries_len; i++)
        PL__TRY(write_entry(conn, stage, &journal->entries[i], &bytes));
    if (journal->next)
        PL__TRY(pl__sql_run(conn, PL__SQL_FLOW_WRITTEN, NULL, "iii", (int64_t)stage, journal->next, bytes));
    if (journal->cancel || journal->deadline)
        PL__TRY(pl__sql_run(conn, PL__SQL_FLOW_BIND, NULL, "iiz", (int64_t)stage, (int64_t)journal->cancel,
                            (int64_t)journal->deadline));
    PL__TRY(spawn(conn, stage, root, flags, journal->children, journal->children_len));
    for (size_t i = 0; i < journal->starts_len; i++)
        PL__TRY(pl__stage_insert(conn, &journal->starts[i], journal->starts[i].id, 0, 0, 0));
    for (size_t i = 0; i < journal->tasks_len; i++)
        PL__TRY(pl__task_new(conn, &journal->tasks[i]));
    for (size_t i = 0; i < journal->fills_len; i++)
        PL__TRY(pl__stage_fill(conn, stage, &journal->fills[i]));
    PL__TRY(take_mails(conn, stage, journal->taken, journal->taken_len));
    return pl__shown_write(conn, stage, journal);
}
