/*
 * scope_test.c - each child of a durable function is a scope of aborts: on SQLite, and on the store in memory/.
 *
 * The tree: a root, a durable function, has two children: `child`, which has a child of its own and a fallback there if
 * that is asked for, and `sibling`.
 */
#include "store/memory/driver.h"
#include "support/turns.h"

static pl_id_t root, child, grandchild, sibling;

/* ---- little language --------------------------------------------------------------------------------------- */

static int run_with(pl_id_t stage, pl_stage_new_t *children, size_t len) {
    pl_op_t *op = outcome(stage, PL_OUTCOME_OK);
    op->u.outcome.children = children;
    op->u.outcome.children_len = len;
    return apply(op);
}

static int finish(pl_id_t stage) {
    return apply(finish_op(stage));
}

static int finalize(pl_id_t stage) {
    pl_op_t *op = new_op(PL_VERB_finalized);
    op->u.finalized = (pl_op_finalized_t){ .stage = stage, .claim = fence_of(stage) };
    return apply(op);
}

static int fail(pl_id_t stage) {
    return apply(outcome(stage, PL_OUTCOME_ABORT));
}

static int abort_of(pl_id_t stage) {
    return abort_by(stage, false);
}

/* By itself, and as the tree has it. */
static int state_in(pl_id_t id) {
    pl_op_t *op = see_stage(id);
    const pl_stage_t *stage = op->rc == PL_OK ? op->u.stage_get.result : NULL;
    int state = stage ? (int)stage->state : -1;
    CHECK(!stage || stage->root == root);
    pl_op_free(op);
    return state;
}

static unsigned flags_of(pl_id_t id) {
    pl_op_t *op = see_stage(id);
    const pl_stage_t *stage = op->u.stage_get.result;
    unsigned flags = stage ? stage->flags : 0;
    pl_op_free(op);
    return flags;
}

enum { RUNS = 1, FALLBACK = 2, FINALIZED = 4, DURABLE_CHILD = 8 };

/* `how` with RUNS: the root has returned, else it is ready with its children there, as far as the store can know. */
static void make_tree(int how) {
    pl_stage_new_t first = stage_of("t.Durable", PL_STAGE_DURABLE);
    root = first.id;
    drop_claims();
    CHECK(start(first) == PL_OK);
    pl_stage_new_t children[2] = { stage_of("t.Child", how & FINALIZED ? PL_STAGE_HAS_FINALIZED : 0),
                                   stage_of("t.Sibling", 0) };
    if (how & FALLBACK) {
        children[0].flags |= PL_STAGE_HAS_FALLBACK;
        children[0].fallback = PL_STR_LIT("\x01");
    }
    children[0].flags |= how & DURABLE_CHILD ? PL_STAGE_DURABLE : 0;
    child = children[0].id;
    sibling = children[1].id;
    CHECK(run_with(root, children, 2) == PL_OK);
    pl_stage_new_t below = stage_of("t.Grandchild", 0);
    grandchild = below.id;
    CHECK(run_with(child, &below, 1) == PL_OK);
    CHECK(state_in(root) == PL_STAGE_RUN && state_in(child) == PL_STAGE_RUN);
    CHECK(state_in(grandchild) == PL_STAGE_READY && state_in(sibling) == PL_STAGE_READY);
    CHECK(!(flags_of(root) & PL_STAGE_SCOPE) && (flags_of(child) & PL_STAGE_SCOPE));
    CHECK((flags_of(grandchild) & PL_STAGE_SCOPE) == (how & DURABLE_CHILD ? PL_STAGE_SCOPE : 0));
}

/* ---- what holds -------------------------------------------------------------------------------------------- */

static void a_failure_ends_the_scope_and_nothing_else(void) {
    make_tree(0);
    CHECK(fail(grandchild) == PL_OK);
    CHECK(state_in(grandchild) == PL_STAGE_ABORTED && state_in(child) == PL_STAGE_ABORTED);
    CHECK(state_in(sibling) == PL_STAGE_READY && state_in(root) == PL_STAGE_RUN);
    check_rules();
    CHECK(finish(sibling) == PL_OK && state_in(root) == PL_STAGE_DONE);
    check_rules();
}

static void the_last_child_may_be_the_aborted_one(void) {
    make_tree(0);
    CHECK(finish(sibling) == PL_OK && state_in(root) == PL_STAGE_RUN);
    CHECK(fail(grandchild) == PL_OK && state_in(root) == PL_STAGE_DONE);
    check_rules();
}

static void an_abort_from_outside_ends_the_scope_of_its_stage(void) {
    make_tree(0);
    CHECK(abort_of(grandchild) == PL_OK);
    CHECK(state_in(child) == PL_STAGE_ABORTED && state_in(sibling) == PL_STAGE_READY);
    CHECK(abort_of(child) == PL_EFINAL && abort_of(grandchild) == PL_EFINAL);
    CHECK(resume(child) == PL_ESTATE && state_in(root) == PL_STAGE_RUN);
    CHECK(finish(sibling) == PL_OK && state_in(root) == PL_STAGE_DONE);
    check_rules();
}

static void an_abort_of_the_root_takes_all_scopes(void) {
    make_tree(DURABLE_CHILD);
    CHECK(abort_of(root) == PL_OK);
    /* claimed: their outcomes are what ends them */
    CHECK(state_in(sibling) == PL_STAGE_ABORTING && abort_of(sibling) == PL_EEXISTS);
    CHECK(finish(sibling) == PL_EABORTED && finish(grandchild) == PL_EABORTED);
    CHECK(state_in(root) == PL_STAGE_ABORTED && state_in(child) == PL_STAGE_ABORTED);
    CHECK(state_in(grandchild) == PL_STAGE_ABORTED && state_in(sibling) == PL_STAGE_ABORTED);
    check_rules();
    CHECK(resume(root) == PL_OK && state_in(root) == PL_STAGE_RUN && state_in(child) == PL_STAGE_RUN);
    check_rules();
    CHECK(finish(grandchild) == PL_OK && finish(sibling) == PL_OK && state_in(root) == PL_STAGE_DONE);
    check_rules();
}

static void a_scope_in_a_scope_ends_alone(void) {
    make_tree(DURABLE_CHILD);
    CHECK(fail(grandchild) == PL_OK);
    CHECK(state_in(grandchild) == PL_STAGE_ABORTED && state_in(child) == PL_STAGE_DONE);
    CHECK(state_in(root) == PL_STAGE_RUN && finish(sibling) == PL_OK && state_in(root) == PL_STAGE_DONE);
    check_rules();
}

static void a_fallback_that_is_nearer_is_taken(void) {
    make_tree(FALLBACK);
    CHECK(fail(grandchild) == PL_OK);
    CHECK(state_in(child) == PL_STAGE_ABORTED && (flags_of(child) & PL_STAGE_FALLBACK_TAKEN));
    CHECK(state_in(root) == PL_STAGE_RUN && finish(sibling) == PL_OK && state_in(root) == PL_STAGE_DONE);
    check_rules();
}

static void a_scope_has_settled_when_its_finalized_has_ended(void) {
    make_tree(FINALIZED);
    CHECK(finish(sibling) == PL_OK && fail(grandchild) == PL_OK);
    CHECK(state_in(child) == PL_STAGE_ABORTING && state_in(root) == PL_STAGE_RUN);
    check_rules();
    CHECK(finalize(child) == PL_OK && state_in(child) == PL_STAGE_ABORTED && state_in(root) == PL_STAGE_DONE);
    check_rules();
}

static void one_that_had_settled_settles_once(void) {
    make_tree(FINALIZED);
    CHECK(finish(grandchild) == PL_OK && state_in(child) == PL_STAGE_FINALIZING);
    CHECK(abort_of(child) == PL_OK && state_in(child) == PL_STAGE_ABORTING);
    check_rules();
    CHECK(state_in(root) == PL_STAGE_RUN && finish(sibling) == PL_OK && state_in(root) == PL_STAGE_DONE);
    check_rules();
}

static void a_scope_that_was_aborted_stays_so_when_its_tree_is_resumed(void) {
    make_tree(0);
    CHECK(fail(grandchild) == PL_OK && abort_of(root) == PL_OK && finish(sibling) == PL_EABORTED);
    CHECK(state_in(root) == PL_STAGE_ABORTED && resume(root) == PL_OK);
    CHECK(state_in(child) == PL_STAGE_ABORTED && state_in(grandchild) == PL_STAGE_ABORTED);
    CHECK(state_in(root) == PL_STAGE_RUN && finish(sibling) == PL_OK && state_in(root) == PL_STAGE_DONE);
    check_rules();
}

static void run_on(const pl_store_driver_t *which) {
    printf("store %s\n", which->name);
    open_driver(which, ":memory:", NULL);
    a_failure_ends_the_scope_and_nothing_else();
    the_last_child_may_be_the_aborted_one();
    an_abort_from_outside_ends_the_scope_of_its_stage();
    an_abort_of_the_root_takes_all_scopes();
    a_scope_in_a_scope_ends_alone();
    a_fallback_that_is_nearer_is_taken();
    a_scope_has_settled_when_its_finalized_has_ended();
    one_that_had_settled_settles_once();
    a_scope_that_was_aborted_stays_so_when_its_tree_is_resumed();
    close_driver();
}

int main(void) {
    run_on(&pl__sqlite_driver);
    run_on(&pl__memory_driver);
    pl_store_driver_t failing = failing_driver();
    run_on(&failing);
    return check_end();
}
