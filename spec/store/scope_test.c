/*
 * scope_test.c - each child of a durable function is a scope of aborts: on SQLite, and on the store in memory/.
 *
 * The tree: a root, a durable function, has two children: `child`, which has a child of its own and a fallback there if
 * that is asked for, and `sibling`.
 */
#include <string.h>

#include "store/memory/driver.h"
#include "support/check.h"
#include "support/failing.h"

static const pl_store_driver_t *driver;
static pl__conn_t *conn;
static pl_clock_t clock_;
static pl_ids_t ids;
static pl_id_t root, child, grandchild, sibling;

/* ---- little language --------------------------------------------------------------------------------------- */

static pl_claim_t *claims; /* all there are */

static void drop_claims(void) {
    for (pl_claim_t *next; claims; claims = next) {
        next = claims->next;
        pl_claim_free(claims);
    }
}

static const pl_claim_t *claim_of(pl_id_t task) {
    for (const pl_claim_t *claim = claims; claim; claim = claim->next)
        if (claim->task == task)
            return claim;
    return NULL;
}

/* Takes op; its claims come in front of those there are. Returns its rc. */
static int apply(pl_op_t *op) {
    pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
    pl__arena_t arena = { 0 };
    pl_error_t error = { 0 };
    pl__ask_t ask = { .wanted = 100 };
    op->next = NULL;
    int rc = driver->turn(conn, op, &ask, &arena, &turn, &error);
    CHECK(rc == PL_OK);
    if (rc != PL_OK)
        printf("%s\n", error.message);
    rc = rc == PL_OK ? op->rc : rc;
    pl_claim_t **tail = &turn.claims;
    while (*tail)
        tail = &(*tail)->next;
    *tail = claims;
    claims = turn.claims;
    pl__arena_free(&arena);
    pl_op_free(op);
    return rc;
}

static pl_stage_new_t stage_of(const char *class_path, unsigned flags) {
    return (pl_stage_new_t){ .id = pl_ids_next(&ids, &clock_),
                             .class_path = pl_str(class_path),
                             .args = PL_STR_LIT("\x80"),
                             .max_attempts = 1,
                             .backoff_seconds = 15,
                             .backoff_factor = 2,
                             .flags = flags };
}

static pl_op_t *outcome(pl_id_t stage, pl_outcome_kind_t kind) {
    const pl_claim_t *of = claim_of(stage);
    pl_op_t *op = pl_op_new(PL_VERB_outcome);
    CHECK(of && of->stage);
    op->u.outcome = (pl_op_outcome_t){ .stage = stage,
                                       .claim = of ? of->fence : 0,
                                       .kind = kind,
                                       .flags = of && of->stage ? of->stage->flags : 0,
                                       .abort_message = PL_STR_LIT("it failed"),
                                       .failure = { .error_class = PL_STR_LIT("E"), .message = PL_STR_LIT("m") } };
    return op;
}

static int run_with(pl_id_t stage, pl_stage_new_t *children, size_t len) {
    pl_op_t *op = outcome(stage, PL_OUTCOME_OK);
    op->u.outcome.children = children;
    op->u.outcome.children_len = len;
    return apply(op);
}

static int finish(pl_id_t stage) {
    pl_fill_t fill = { stage, PL_STR_LIT("\x07") };
    pl_op_t *op = outcome(stage, PL_OUTCOME_OK);
    op->u.outcome.fills = &fill;
    op->u.outcome.fills_len = 1;
    return apply(op);
}

static int finalize(pl_id_t stage) {
    const pl_claim_t *of = claim_of(stage);
    pl_op_t *op = pl_op_new(PL_VERB_finalized);
    op->u.finalized = (pl_op_finalized_t){ .stage = stage, .claim = of ? of->fence : 0 };
    return apply(op);
}

static int fail(pl_id_t stage) {
    return apply(outcome(stage, PL_OUTCOME_ABORT));
}

static int abort_of(pl_id_t stage) {
    pl_op_t *op = pl_op_new(PL_VERB_abort);
    op->u.abort = (pl_op_abort_t){ .stage = stage, .message = PL_STR_LIT("enough") };
    return apply(op);
}

static int resume(pl_id_t stage) {
    pl_op_t *op = pl_op_new(PL_VERB_resume);
    op->u.resume.stage = stage;
    return apply(op);
}

/* By itself, and as the tree has it. */
static int state_of(pl_id_t id) {
    pl_op_t *op = pl_op_new(PL_VERB_stage_get);
    op->u.stage_get.stage = id;
    op->next = NULL;
    driver->read(conn, op);
    int state = op->rc == PL_OK && op->u.stage_get.result ? (int)op->u.stage_get.result->state : -1;
    CHECK(state < 0 || op->u.stage_get.result->root == root);
    pl_op_free(op);
    return state;
}

static unsigned flags_of(pl_id_t id) {
    pl_op_t *op = pl_op_new(PL_VERB_stage_get);
    op->u.stage_get.stage = id;
    op->next = NULL;
    driver->read(conn, op);
    unsigned flags = op->u.stage_get.result ? op->u.stage_get.result->flags : 0;
    pl_op_free(op);
    return flags;
}

/* Every rule of the file holds. */
static void check_rules(void) {
    pl_op_t *op = pl_op_new(PL_VERB_check);
    op->next = NULL;
    do {
        op->u.check.part = op->u.check.next;
        driver->read(conn, op);
        CHECK(op->rc == PL_OK && op->u.check.len == 0);
        for (size_t i = 0; i < op->u.check.len; i++)
            printf("%.*s\n", (int)op->u.check.found[i].len, op->u.check.found[i].ptr);
    } while (op->rc == PL_OK && op->u.check.next);
    pl_op_free(op);
}

enum { RUNS = 1, FALLBACK = 2, FINALIZED = 4, DURABLE_CHILD = 8 };

/* `how` with RUNS: the root has returned, else it is ready with its children there, as far as the store can know. */
static void make_tree(int how) {
    pl_stage_new_t first = stage_of("t.Durable", PL_STAGE_DURABLE);
    pl_op_t *op = pl_op_new(PL_VERB_start);
    op->u.start = (pl_op_start_t){ &first, 1 };
    root = first.id;
    drop_claims();
    CHECK(apply(op) == PL_OK);
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
    CHECK(state_of(root) == PL_STAGE_RUN && state_of(child) == PL_STAGE_RUN);
    CHECK(state_of(grandchild) == PL_STAGE_READY && state_of(sibling) == PL_STAGE_READY);
    CHECK(!(flags_of(root) & PL_STAGE_SCOPE) && (flags_of(child) & PL_STAGE_SCOPE));
    CHECK((flags_of(grandchild) & PL_STAGE_SCOPE) == (how & DURABLE_CHILD ? PL_STAGE_SCOPE : 0));
}

/* ---- what holds -------------------------------------------------------------------------------------------- */

static void a_failure_ends_the_scope_and_nothing_else(void) {
    make_tree(0);
    CHECK(fail(grandchild) == PL_OK);
    CHECK(state_of(grandchild) == PL_STAGE_ABORTED && state_of(child) == PL_STAGE_ABORTED);
    CHECK(state_of(sibling) == PL_STAGE_READY && state_of(root) == PL_STAGE_RUN);
    check_rules();
    CHECK(finish(sibling) == PL_OK && state_of(root) == PL_STAGE_DONE);
    check_rules();
}

static void the_last_child_may_be_the_aborted_one(void) {
    make_tree(0);
    CHECK(finish(sibling) == PL_OK && state_of(root) == PL_STAGE_RUN);
    CHECK(fail(grandchild) == PL_OK && state_of(root) == PL_STAGE_DONE);
    check_rules();
}

static void an_abort_from_outside_ends_the_scope_of_its_stage(void) {
    make_tree(0);
    CHECK(abort_of(grandchild) == PL_OK);
    CHECK(state_of(child) == PL_STAGE_ABORTED && state_of(sibling) == PL_STAGE_READY);
    CHECK(abort_of(child) == PL_EFINAL && abort_of(grandchild) == PL_EFINAL);
    CHECK(resume(child) == PL_ESTATE && state_of(root) == PL_STAGE_RUN);
    CHECK(finish(sibling) == PL_OK && state_of(root) == PL_STAGE_DONE);
    check_rules();
}

static void an_abort_of_the_root_takes_all_scopes(void) {
    make_tree(DURABLE_CHILD);
    CHECK(abort_of(root) == PL_OK);
    /* claimed: their outcomes are what ends them */
    CHECK(state_of(sibling) == PL_STAGE_ABORTING && abort_of(sibling) == PL_EEXISTS);
    CHECK(finish(sibling) == PL_EABORTED && finish(grandchild) == PL_EABORTED);
    CHECK(state_of(root) == PL_STAGE_ABORTED && state_of(child) == PL_STAGE_ABORTED);
    CHECK(state_of(grandchild) == PL_STAGE_ABORTED && state_of(sibling) == PL_STAGE_ABORTED);
    check_rules();
    CHECK(resume(root) == PL_OK && state_of(root) == PL_STAGE_RUN && state_of(child) == PL_STAGE_RUN);
    check_rules();
    CHECK(finish(grandchild) == PL_OK && finish(sibling) == PL_OK && state_of(root) == PL_STAGE_DONE);
    check_rules();
}

static void a_scope_in_a_scope_ends_alone(void) {
    make_tree(DURABLE_CHILD);
    CHECK(fail(grandchild) == PL_OK);
    CHECK(state_of(grandchild) == PL_STAGE_ABORTED && state_of(child) == PL_STAGE_DONE);
    CHECK(state_of(root) == PL_STAGE_RUN && finish(sibling) == PL_OK && state_of(root) == PL_STAGE_DONE);
    check_rules();
}

static void a_fallback_that_is_nearer_is_taken(void) {
    make_tree(FALLBACK);
    CHECK(fail(grandchild) == PL_OK);
    CHECK(state_of(child) == PL_STAGE_ABORTED && (flags_of(child) & PL_STAGE_FALLBACK_TAKEN));
    CHECK(state_of(root) == PL_STAGE_RUN && finish(sibling) == PL_OK && state_of(root) == PL_STAGE_DONE);
    check_rules();
}

static void a_scope_has_settled_when_its_finalized_has_ended(void) {
    make_tree(FINALIZED);
    CHECK(finish(sibling) == PL_OK && fail(grandchild) == PL_OK);
    CHECK(state_of(child) == PL_STAGE_ABORTING && state_of(root) == PL_STAGE_RUN);
    check_rules();
    CHECK(finalize(child) == PL_OK && state_of(child) == PL_STAGE_ABORTED && state_of(root) == PL_STAGE_DONE);
    check_rules();
}

static void one_that_had_settled_settles_once(void) {
    make_tree(FINALIZED);
    CHECK(finish(grandchild) == PL_OK && state_of(child) == PL_STAGE_FINALIZING);
    CHECK(abort_of(child) == PL_OK && state_of(child) == PL_STAGE_ABORTING);
    check_rules();
    CHECK(state_of(root) == PL_STAGE_RUN && finish(sibling) == PL_OK && state_of(root) == PL_STAGE_DONE);
    check_rules();
}

static void a_scope_that_was_aborted_stays_so_when_its_tree_is_resumed(void) {
    make_tree(0);
    CHECK(fail(grandchild) == PL_OK && abort_of(root) == PL_OK && finish(sibling) == PL_EABORTED);
    CHECK(state_of(root) == PL_STAGE_ABORTED && resume(root) == PL_OK);
    CHECK(state_of(child) == PL_STAGE_ABORTED && state_of(grandchild) == PL_STAGE_ABORTED);
    CHECK(state_of(root) == PL_STAGE_RUN && finish(sibling) == PL_OK && state_of(root) == PL_STAGE_DONE);
    check_rules();
}

static void run_on(const pl_store_driver_t *which) {
    pl_error_t error = { 0 };
    pl_store_options_t options = {
        .path = ":memory:", .driver = which, .clock = &clock_, .lease_seconds = 15, .tombstone_seconds = 3600
    };
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    driver = which;
    printf("store %s\n", which->name);
    CHECK(driver->open(&conn, &options, PL__ROLE_WRITER, NULL, &error) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_join);
    op->u.join = (pl_op_join_t){ .host = PL_STR_LIT("here"), .pid = 1, .version = PL_STR_LIT("1") };
    op->next = NULL;
    pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
    pl__arena_t arena = { 0 };
    CHECK(driver->turn(conn, op, &(pl__ask_t){ 0 }, &arena, &turn, &error) == PL_OK);
    pl_ids_init(&ids, op->u.join.number, op->u.join.floor, 0);
    pl__arena_free(&arena);
    pl_op_free(op);
    a_failure_ends_the_scope_and_nothing_else();
    the_last_child_may_be_the_aborted_one();
    an_abort_from_outside_ends_the_scope_of_its_stage();
    an_abort_of_the_root_takes_all_scopes();
    a_scope_in_a_scope_ends_alone();
    a_fallback_that_is_nearer_is_taken();
    a_scope_has_settled_when_its_finalized_has_ended();
    one_that_had_settled_settles_once();
    a_scope_that_was_aborted_stays_so_when_its_tree_is_resumed();
    drop_claims();
    driver->close(conn);
}

int main(void) {
    run_on(&pl__sqlite_driver);
    run_on(&pl__memory_driver);
    pl_store_driver_t failing = failing_driver();
    run_on(&failing);
    return check_end();
}
