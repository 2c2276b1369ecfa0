/*
 * failed.c - trees that failed: fallbacks, and the verb resume.
 *
 * A stage that has failed for good aborts the tree. But where itself or one above it has a fallback, only the part of
 * the tree from the nearest such stage on is aborted: that one's unfilled outputs get the value that is kept for them
 * (pl_fallback), and it counts as settled from then on, in the same commit, though finalized() of what is in that part
 * may still be to come. A scope, which each child of a durable function is, ends the abort likewise: the function sees
 * the end of that child, and goes on.
 *
 * An aborted tree goes on from where it failed. What is done stays done, and values stay; so do parts whose fallback
 * was taken, and scopes that were aborted for themselves. Of the others the abort has noted how it found them
 * (PL_STAGE_CUT), so each becomes what it was:
 *
 *   WAITING, READY   looks again for which of its inputs there is no value: WAITING, or READY with a new RUN task
 *   RUN              its children and, of an async stage, its outputs are counted again: RUN; where nothing is left
 *                    open meanwhile, it settles
 *   FINALIZING       FINALIZING, with a new task; finalized() is called again, and hears of no abort
 *
 * Versions before did not note it. There a stage that has children had committed its run; any other one runs again.
 *
 * All of it is one transaction, as the abort was. It takes a look at each stage of the tree, and some statements for
 * each that goes on. What waits for a slot stays in pl_wait, or in the row of that slot's stage, while a tree is
 * aborted; all edges are made sure of all the same, for values may have come since.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/sqlite/db.h"
#include "store/sqlite/pack.h"
#include "store/stage/plan.h"

/* ---- fallbacks --------------------------------------------------------------------------------------------- */

/* How far the failure of a stage reaches: up to where a fallback may be taken, or to a scope; 0: all of the tree. */
typedef struct {
    pl_id_t holder, above; /* of a fallback, and its parent; 0: there is none, or a scope is nearer */
    pl_id_t scope;         /* 0: there is none, or a fallback is nearer */
    bool is_leaf;          /* nothing is below it */
} reach_t;

static int find_reach(pl__conn_t *conn, pl_id_t stage, reach_t *reach) {
    pl__live_t *live;
    *reach = (reach_t){ 0 };
    for (pl_id_t at = stage; at && !reach->holder && !reach->scope; at = reach->above) {
        PL__TRY(pl__live_get(conn, at, &live));
        if (!live)
            return PL_OK;
        pl__standing_t standing = { .state = live->state, .flags = live->made.flags };
        pl__reach_t to = pl__rule_reach(&standing);
        reach->holder = to == PL__REACH_FALLBACK ? at : 0;
        reach->scope = to == PL__REACH_SCOPE ? at : 0;
        reach->is_leaf = pl__rule_is_leaf(&standing);
        reach->above = live->parent;
    }
    return PL_OK;
}

static int read_fallback(pl__conn_t *conn, pl_id_t holder, pl_str_t *value) {
    sqlite3_stmt *row;
    bool found;
    PL__TRY(pl__sql_query(conn, PL__SQL_FALLBACK_GET, &row, "i", (int64_t)holder));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_ECORRUPT;
    int rc = pl__sql_str(row, 0, &conn->scratch, value);
    pl__sql_end(row);
    return rc;
}

static int fill_rest(pl__conn_t *conn, pl_id_t holder, pl_str_t packed, pl_str_t value) {
    const pl_output_t *outputs;
    size_t len;
    PL__TRY(pl__unpack_outputs(&conn->scratch, holder, packed, &outputs, &len));
    for (size_t i = 0; i < len; i++) {
        bool filled;
        PL__TRY(pl__slot_is_filled(conn, outputs[i].slot, &filled));
        if (!filled)
            PL__TRY(pl__stage_fill(conn, holder, &(pl_fill_t){ outputs[i].slot, value }));
    }
    return PL_OK;
}

/* ---- the stages of the tree -------------------------------------------------------------------------------- */

typedef struct {
    int64_t queue;
    pl_usec_t eta;
    int priority;
} rest_t;

typedef struct {
    pl__member_t is;
    rest_t rest;
} row_t;

typedef struct {
    pl__member_t *list;     /* ascending by id */
    pl__resumed_t *resumed; /* `open` counts outputs of its own, too */
    rest_t *rests;
    size_t len;
} members_t;

/* One of them. */
typedef struct {
    pl_id_t id, parent;
    unsigned flags, cut;
    const rest_t *rest;
} member_t;

static member_t member_of(const members_t *members, size_t i) {
    const pl__member_t *is = &members->list[i];
    unsigned cut = members->resumed[i].cut;
    unsigned flags = cut ? pl__rule_resumed_flags(is->is.flags, cut, !is->parent) : is->is.flags;
    return (member_t){ is->id, is->parent, flags, cut, &members->rests[i] };
}

static int read_member(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item) {
    (void)conn;
    (void)arena;
    *(row_t *)item = (row_t){
        .is = { .id = sqlite3_column_int64(row, 0),
                .parent = sqlite3_column_int64(row, 1),
                .is = { .state = (pl_stage_state_t)sqlite3_column_int(row, 2),
                        .flags = (unsigned)sqlite3_column_int(row, 3) },
                .was_told = sqlite3_column_int(row, 7) != 0 },
        .rest = { .queue = sqlite3_column_int64(row, 4),
                  .priority = sqlite3_column_int(row, 5),
                  .eta = sqlite3_column_int64(row, 6) },
    };
    return PL_OK;
}

static int read_members(pl__conn_t *conn, pl_id_t root, members_t *members) {
    sqlite3_stmt *row;
    size_t *len = &members->len;
    int rc;
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_MEMBERS, &row, "i", (int64_t)root));
    const row_t *rows = pl__sql_list(conn, row, &conn->scratch, read_member, sizeof *rows, len, &rc);
    PL__TRY(rc);
    members->list = pl__arena_get(&conn->scratch, *len * sizeof *members->list);
    members->resumed = pl__arena_get(&conn->scratch, *len * sizeof *members->resumed);
    members->rests = pl__arena_get(&conn->scratch, *len * sizeof *members->rests);
    if (!members->list || !members->resumed || !members->rests)
        return PL_ENOMEM;
    for (size_t i = 0; i < *len; i++) {
        members->list[i] = rows[i].is;
        members->rests[i] = rows[i].rest;
    }
    return PL_OK;
}

/* ---- one of them ------------------------------------------------------------------------------------------- */

/* The slots it names that have no value; it waits for them from here on. */
static int wait_for(pl__conn_t *conn, const member_t *member, const pl_id_t *slots, size_t len, const pl_id_t *known,
                    size_t known_len, int *count) {
    for (size_t i = 0; i < len; i++) {
        bool filled;
        int added;
        if (known_len && bsearch(&slots[i], known, known_len, sizeof *known, pl__compare_ids))
            continue;
        PL__TRY(pl__slot_is_filled(conn, slots[i], &filled));
        if (filled)
            continue;
        PL__TRY(pl__edge_add(conn, slots[i], member->id, PL__WAIT_INPUT, &added));
        ++*count;
    }
    return PL_OK;
}

static int wait_for_outputs(pl__conn_t *conn, const member_t *member, pl_str_t packed, int *count) {
    const pl_output_t *outputs;
    size_t len;
    PL__TRY(pl__unpack_outputs(&conn->scratch, member->id, packed, &outputs, &len));
    for (size_t i = 0; i < len; i++) {
        bool filled;
        int added;
        PL__TRY(pl__slot_is_filled(conn, outputs[i].slot, &filled));
        if (filled)
            continue;
        PL__TRY(pl__edge_add(conn, outputs[i].slot, member->id, PL__WAIT_OUTPUT, &added));
        ++*count;
    }
    return PL_OK;
}

typedef struct {
    pl_str_t inputs, after, outputs; /* packed */
} slots_t;

static int read_slots(pl__conn_t *conn, pl_id_t stage, slots_t *slots) {
    sqlite3_stmt *row;
    bool found;
    *slots = (slots_t){ PL_STR_NONE, PL_STR_NONE, PL_STR_NONE };
    PL__TRY(pl__sql_query(conn, PL__SQL_STAGE_SLOTS, &row, "i", (int64_t)stage));
    PL__TRY(pl__sql_step(conn, row, &found));
    if (!found)
        return PL_OK;
    int rc = pl__sql_str(row, 0, &conn->scratch, &slots->inputs);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 1, &conn->scratch, &slots->after);
    if (rc == PL_OK)
        rc = pl__sql_str(row, 2, &conn->scratch, &slots->outputs);
    pl__sql_end(row);
    return rc;
}

static int count_inputs(pl__conn_t *conn, const member_t *member, const slots_t *slots, int *missing) {
    const pl_id_t *inputs, *after;
    size_t inputs_len, after_len;
    PL__TRY(pl__unpack_ids(&conn->scratch, slots->inputs, &inputs, &inputs_len));
    PL__TRY(pl__unpack_ids(&conn->scratch, slots->after, &after, &after_len));
    PL__TRY(wait_for(conn, member, inputs, inputs_len, NULL, 0, missing));
    return wait_for(conn, member, after, after_len, inputs, inputs_len, missing);
}

static int write_move(pl__conn_t *conn, const member_t *member, const pl__move_t *move) {
    pl__live_drop(conn, member->id);
    if (member->flags & PL_STAGE_DURABLE)
        PL__TRY(pl__flow_again(conn, member->id));
    PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_RESUME, NULL, "iiiiii", (int64_t)member->id, (int64_t)move->to,
                        (int64_t)move->missing, (int64_t)move->open, (int64_t)member->flags, (int64_t)conn->now));
    if (move->task == PL__NO_TASK)
        return PL_OK;
    pl__pending_t task = { .id = member->id,
                           .kind = (pl_task_kind_t)move->task,
                           .queue = member->rest->queue,
                           .priority = member->rest->priority,
                           .eta = move->task == PL_TASK_RUN ? member->rest->eta : 0 };
    if ((member->flags & PL_STAGE_DURABLE) && move->task == PL_TASK_RUN)
        PL__TRY(pl__flow_due(conn, member->id, &task.eta));
    return pl__task_push(conn, &task);
}

static int resume_one(pl__conn_t *conn, const members_t *members, size_t i) {
    const member_t member = member_of(members, i);
    int *open = &members->resumed[i].open;
    slots_t slots;
    pl__standing_t is = members->list[i].is;
    if (!member.cut)
        return PL_OK;
    bool waits_for_outputs = member.cut == PL_STAGE_CUT_OPEN && (member.flags & PL_STAGE_ASYNC);
    if (member.cut == PL_STAGE_CUT_EARLY || waits_for_outputs)
        PL__TRY(read_slots(conn, member.id, &slots));
    if (member.cut == PL_STAGE_CUT_EARLY)
        PL__TRY(count_inputs(conn, &member, &slots, &is.missing));
    if (waits_for_outputs)
        PL__TRY(wait_for_outputs(conn, &member, slots.outputs, open));
    is.open = *open;
    pl__move_t move = pl__rule_resumed(&is, member.cut);
    return write_move(conn, &member, &move);
}

/* ---- all of them ------------------------------------------------------------------------------------------- */

/* Somebody may still execute a task that was taken away from him (pl__stage_end_tree): the claims of the new ones have
 * greater numbers. */
static int raise_claims(pl__conn_t *conn, const members_t *members) {
    PL__TRY(pl__task_flush(conn));
    for (size_t i = 0; i < members->len; i++)
        if (members->resumed[i].cut && members->resumed[i].cut != PL_STAGE_CUT_OPEN)
            PL__TRY(pl__sql_run(conn, PL__SQL_TASK_SET_CLAIM, NULL, "ii", (int64_t)members->list[i].id,
                                (int64_t)pl__claim_number(conn->now)));
    return PL_OK;
}

/* The fire that has started a root was made in the same moment: it is among those with ids near by. 0: it is gone. */
static int find_fire(pl__conn_t *conn, pl_id_t root, pl_id_t *fire) {
    static const int64_t MOMENT = INT64_C(60000) << (PL_IDS_WORKER_BITS + PL_IDS_SEQUENCE_BITS);
    sqlite3_stmt *row;
    bool more;
    *fire = 0;
    PL__TRY(pl__sql_query(conn, PL__SQL_FIRES_AFTER, &row, "i", (int64_t)root - MOMENT));
    int rc = pl__sql_step(conn, row, &more);
    while (rc == PL_OK && more && !*fire && sqlite3_column_int64(row, 0) < root + MOMENT) {
        int state = sqlite3_column_int(row, 2);
        if (sqlite3_column_int64(row, 1) == root && (state == PL_FIRE_FAILED || state == PL_FIRE_CANCELLED))
            *fire = sqlite3_column_int64(row, 0);
        rc = pl__sql_step(conn, row, &more);
    }
    pl__sql_end(row);
    return rc;
}

/* It is not over any more. */
static int reopen_fire(pl__conn_t *conn, const pl__member_t *root) {
    pl_id_t fire;
    if (!(root->is.flags & PL_STAGE_SCHEDULED))
        return PL_OK;
    PL__TRY(find_fire(conn, root->id, &fire));
    if (!fire)
        return PL_OK;
    conn->fires.unknown = conn->fires.live = true;
    return pl__sql_run(conn, PL__SQL_FIRE_REOPEN, NULL, "i", (int64_t)fire);
}

int pl__stage_fail(pl__conn_t *conn, pl_id_t root, pl_id_t stage, pl_str_t message) {
    reach_t reach;
    slots_t slots;
    pl_str_t value;
    PL__TRY(pl__deltas_flush(conn)); /* what this transaction did must be found */
    PL__TRY(pl__task_flush(conn));
    PL__TRY(find_reach(conn, stage, &reach));
    if (reach.scope)
        return pl__stage_abort_scope(conn, root, reach.scope, message, stage);
    if (!reach.holder)
        return pl__stage_abort_tree(conn, root, message, stage);
    pl_id_t holder = reach.holder;
    pl__live_drop(conn, holder); /* first of all, so that who ends ABORTED below knows that he has settled */
    PL__TRY(pl__sql_run(conn, PL__SQL_STAGE_TAKE_FALLBACK, NULL, "it", (int64_t)holder, message));
    PL__TRY(pl__stage_abort_part(conn, root, holder, reach.is_leaf ? holder : INT64_MAX, stage));
    PL__TRY(read_fallback(conn, holder, &value));
    PL__TRY(read_slots(conn, holder, &slots));
    PL__TRY(fill_rest(conn, holder, slots.outputs, value));
    return pl__stage_settled(conn, reach.above);
}

/* Those whose run was committed, and that wait for nothing any more. */
static int settle_members(pl__conn_t *conn, const members_t *members) {
    for (size_t i = 0; i < members->len; i++) {
        if (members->resumed[i].cut != PL_STAGE_CUT_OPEN || members->resumed[i].open > 0)
            continue;
        const member_t member = member_of(members, i);
        pl__move_t move = pl__rule_settled(&(pl__standing_t){ PL_STAGE_RUN, member.flags, 0, 1 }, 1);
        PL__TRY(pl__stage_settle(conn, member.id, member.parent, &move, member.flags, member.rest->queue,
                                 member.rest->priority));
    }
    return PL_OK;
}

static int resume_tree(pl__conn_t *conn, pl_id_t root, int64_t *count) {
    members_t members;
    PL__TRY(read_members(conn, root, &members));
    assert(members.len > 0); /* the root is there */
    pl__plan_resume(members.list, members.len, members.resumed);
    *count = 0;
    for (size_t i = 0; i < members.len; i++) {
        PL__TRY(resume_one(conn, &members, i));
        *count += members.resumed[i].cut != 0;
    }
    PL__TRY(raise_claims(conn, &members));
    PL__TRY(reopen_fire(conn, &members.list[0])); /* before the root may settle, which ends it */
    return settle_members(conn, &members);
}

static int check(pl__conn_t *conn, pl_op_t *op, pl_id_t *root_id) {
    pl_stage_t stage, root;
    int64_t live;
    bool found;
    PL__TRY(pl__stage_find(conn, op->u.resume.stage, false, &conn->scratch, &stage, &found));
    if (found)
        PL__TRY(pl__stage_load(conn, stage.root, false, &conn->scratch, &root, &found));
    if (!found) {
        op->rc = PL_ENOTFOUND;
        return PL_OK;
    }
    *root_id = root.id;
    op->rc = pl__rule_resume(root.state, root.abort_requested);
    if (op->rc != PL_OK)
        return PL_OK;
    PL__TRY(pl__sql_int(conn, PL__SQL_STAGE_ANY_LIVE, &live, 0, "i", (int64_t)root.id));
    op->rc = live ? PL_ELIVE : PL_OK;
    return PL_OK;
}

int pl__verb_resume(pl__conn_t *conn, pl_op_t *op) {
    pl_id_t root = 0;
    PL__TRY(pl__deltas_flush(conn)); /* what this transaction did must be found */
    PL__TRY(pl__task_flush(conn));
    PL__TRY(check(conn, op, &root));
    return op->rc == PL_OK && !op->u.resume.only_asks ? resume_tree(conn, root, &op->u.resume.stages) : PL_OK;
}
