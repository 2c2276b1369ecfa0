/*
 * delete.c - the verb cleanup, and what becomes of a tree that is deleted.
 *
 * A small tree goes in one transaction. One that takes longer goes in portions, each in a transaction of its own, so
 * that others have their turns between: first its stages are looked at, for none may be live; then, with the first
 * portion that deletes, its root gets a row in pl_deletion and loses its idempotence key. From that commit on nobody
 * finds the tree by any of its ids, and whoever has a file with such rows goes on with it (sweep.c), so that a crash
 * leaves nothing half deleted. Until then a tree that was aborted may be resumed: it is looked at from the beginning
 * then. Children go before their parents, the root is the last.
 */
#include "store/sqlite/db.h"
#include "store/sqlite/pack.h"

enum { LOOKS = 256, DELETES = 32 }; /* at a time */
enum { LOOKS_MOST = 16 };           /* times, in a portion */

/* ---- what nobody is to find -------------------------------------------------------------------------------- */

int pl__stage_is_deleted(pl__conn_t *conn, pl_id_t root, bool *is_deleted) {
    int64_t found;
    PL__TRY(pl__sql_int(conn, PL__SQL_DELETION_HAS, &found, 0, "i", (int64_t)root));
    *is_deleted = found != 0;
    return PL_OK;
}

int pl__stage_find(pl__conn_t *conn, pl_id_t id, bool with_status, pl__arena_t *arena, pl_stage_t *stage, bool *found) {
    bool is_deleted = false;
    PL__TRY(pl__stage_load(conn, id, with_status, arena, stage, found));
    if (*found)
        PL__TRY(pl__stage_is_deleted(conn, stage->root, &is_deleted));
    *found = *found && !is_deleted;
    return PL_OK;
}

/* ---- looking ----------------------------------------------------------------------------------------------- */

/* One chunk. steps->at: the last one looked at. */
static int look_at_some(pl__conn_t *conn, pl_id_t root, pl_steps_t *steps, bool *live, bool *more) {
    sqlite3_stmt *row;
    int64_t n = 0;
    *live = false;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_STATES_AFTER, &row, "iii", (int64_t)root, steps->at, (int64_t)LOOKS));
    int rc = pl__sql_step(conn, row, more);
    while (rc == PL_OK && *more && !*live) {
        int state = sqlite3_column_int(row, 1);
        *live = state != PL_STAGE_DONE && state != PL_STAGE_ABORTED;
        steps->at = sqlite3_column_int64(row, 0);
        n++;
        rc = pl__sql_step(conn, row, more);
    }
    pl__sql_end(row);
    *more = n == LOOKS;
    return rc;
}

/* Unless the tree is resumed (look_again), final is for ever, only what is live makes stages, and these have greater
 * ids than what makes them. So a look in the order of ids finds every live one, even if it takes several transactions:
 * a stage that was made behind it would have been made by one that was seen, and was final. */
static int look(pl__conn_t *conn, pl_id_t root, pl_steps_t *steps, bool *live, bool *more) {
    *more = true;
    for (int i = 0; i < LOOKS_MOST && *more && (i == 0 || !pl__portion_over(conn)); i++) {
        PL__TRY(look_at_some(conn, root, steps, live, more));
        if (*live)
            return PL_OK;
    }
    if (!*more)
        *steps = (pl_steps_t){ .count = steps->count, .phase = PL__TREE_DELETING, .mark = steps->mark };
    return PL_OK;
}

/* ---- deleting ---------------------------------------------------------------------------------------------- */

typedef struct {
    pl_id_t id;
    pl_str_t outputs; /* packed */
    bool has_result;  /* the value of its default slot is in its row */
    unsigned flags;
} member_t;

static int read_member(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    member_t *member = item;
    (void)conn;
    member->id = sqlite3_column_int64(row, 0);
    member->has_result = sqlite3_column_int(row, 2) != 0;
    member->flags = (unsigned)sqlite3_column_int(row, 3);
    return pl__sql_str(row, 1, arena, &member->outputs);
}

/* The stage, with its values, what waits for those, and its callback tasks. Status and failures go with it. */
static int delete_member(pl__conn_t *conn, const member_t *member, int64_t *count) {
    const pl_output_t *outputs;
    size_t len;
    int changes;
    PL__TRY(pl__unpack_outputs(&conn->scratch, member->id, member->outputs, &outputs, &len));
    PL__TRY(pl__task_end_of_stage(conn, member->id, &changes));
    *count += changes;
    for (size_t i = 0; i < len; i++) {
        bool is_here = member->has_result && outputs[i].slot == member->id; /* filled: nobody waits for it any more */
        *count += is_here;
        if (is_here)
            continue;
        PL__TRY(pl__sql_run(conn, PL__SQL_SLOT_DELETE, &changes, "i", (int64_t)outputs[i].slot));
        PL__TRY(pl__sql_run(conn, PL__SQL_WAIT_DELETE, NULL, "i", (int64_t)outputs[i].slot));
        *count += changes > 0;
    }
    if (member->flags & PL_STAGE_DURABLE)
        PL__TRY(pl__flow_delete(conn, member->id));
    if (member->flags & PL_STAGE_TRACED)
        PL__TRY(pl__sql_run(conn, PL__SQL_TRACE_DELETE, NULL, "i", (int64_t)member->id));
    ++*count; /* a value counts as a record wherever it is */
    return pl__sql_run(conn, PL__SQL_STAGE_DELETE, NULL, "i", (int64_t)member->id);
}

/* As many as the portion has room for, at least one. *len: rows there were; *left: not all of them are deleted. */
static int delete_rows(pl__conn_t *conn, sqlite3_stmt *row, int64_t *count, size_t *len, bool *left) {
    int rc;
    const member_t *members = pl__sql_list(conn, row, &conn->scratch, read_member, sizeof *members, len, &rc);
    *left = false;
    for (size_t i = 0; rc == PL_OK && i < *len && !*left; i++) {
        rc = delete_member(conn, &members[i], count);
        *left = i + 1 < *len && pl__portion_over(conn);
    }
    return rc;
}

/* Those that are not the root. */
static int delete_below(pl__conn_t *conn, pl_id_t root, pl_steps_t *steps, bool *more) {
    size_t len;
    bool left;
    do {
        sqlite3_stmt *row;
        PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_LAST_OF_TREE, &row, "ii", (int64_t)root, (int64_t)DELETES));
        PL__TRY(delete_rows(conn, row, &steps->count, &len, &left));
        *more = left || len == DELETES;
    } while (*more && !pl__portion_over(conn));
    return PL_OK;
}

/* From now on nobody finds the tree. */
static int unlink_tree(pl__conn_t *conn, pl_id_t root) {
    int changes;
    PL__TRY(pl__sql_run(conn, PL__SQL_DELETION_ADD, &changes, "i", (int64_t)root));
    return changes ? pl__sql_run(conn, PL__SQL_STAGE_DROP_KEY, NULL, "i", (int64_t)root) : PL_OK;
}

/* Was the tree resumed since the first portion? Then what was seen of it counts no more. */
static int look_again(pl__conn_t *conn, pl_id_t root, pl_steps_t *steps) {
    int64_t flags;
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_FLAGS, &flags, 0, "i", (int64_t)root));
    int mark = (int)flags & PL_STAGE_RESUMES;
    if (mark != steps->mark)
        *steps = (pl_steps_t){ .count = steps->count, .phase = PL__TREE_LOOKING, .mark = mark };
    return PL_OK;
}

int pl__tree_delete(pl__conn_t *conn, pl_id_t root, pl_steps_t *steps, bool *live, bool *more) {
    sqlite3_stmt *row;
    size_t len;
    bool left;
    *live = *more = false;
    (void)pl__portion_over(conn); /* its time begins */
    PL__TRY(look_again(conn, root, steps));
    if (steps->phase == PL__TREE_LOOKING) {
        PL__TRY(look(conn, root, steps, live, more));
        *more = *more || (!*live && pl__portion_over(conn));
    }
    if (*live || *more)
        return PL_OK;
    PL__TRY(delete_below(conn, root, steps, more));
    if (*more)
        return unlink_tree(conn, root);
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_OUTPUTS, &row, "i", (int64_t)root));
    PL__TRY(delete_rows(conn, row, &steps->count, &len, &left));
    return pl__sql_run(conn, PL__SQL_DELETION_END, NULL, "i", (int64_t)root);
}

/* ---- the verb ---------------------------------------------------------------------------------------------- */

int pl__verb_cleanup(pl__conn_t *conn, pl_op_t *op) {
    pl_op_cleanup_t *cleanup = &op->u.cleanup;
    pl_steps_t *steps = pl__op_steps(op, &cleanup->progress);
    pl_stage_t stage;
    bool found, live;
    cleanup->deleted = steps->count;
    PL__TRY(pl__deltas_flush(conn));
    PL__TRY(pl__task_flush(conn));
    if (steps->phase == PL__TREE_LOOKING) {
        PL__TRY(pl__stage_find(conn, cleanup->root, false, &conn->scratch, &stage, &found));
        op->rc = !found ? PL_ENOTFOUND : stage.parent ? PL_ESTATE : PL_OK;
        if (op->rc != PL_OK)
            return PL_OK;
    }
    PL__TRY(pl__tree_delete(conn, cleanup->root, steps, &live, &op->more));
    cleanup->deleted = steps->count;
    op->rc = live ? PL_ELIVE : PL_OK;
    return PL_OK;
}
