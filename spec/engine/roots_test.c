/*
 * roots_test.c - whoever ends a claim of a stage tells the store the tree: every op that does so, of whatever kind, has
 * the root that its claim had. The driver looks at them; the store is the one in memory.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/pipeline.h"
#include "store/driver.h"
#include "store/memory/driver.h"
#include "support/check.h"

static pl_engine_t *engine;
static pl_id_t root;
static pl_stage_new_t children[2];
static int outcomes, failures, finalized; /* ops that the driver has seen */

static void look_at(const pl_op_t *op) {
    if (op->verb == PL_VERB_outcome) {
        outcomes++;
        failures += op->u.outcome.kind == PL_OUTCOME_FAILED;
        CHECK(op->u.outcome.root == root);
    } else if (op->verb == PL_VERB_finalized) {
        finalized++;
        CHECK(op->u.finalized.root == root);
    }
}

static int turn_cb(pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                   pl_error_t *error) {
    for (const pl_op_t *op = ops; op; op = op->next)
        look_at(op);
    return pl__memory_driver.turn(conn, ops, ask, arena, turn, error);
}

static pl_stage_new_t stage_of(unsigned flags) {
    return (pl_stage_new_t){ .id = pl_engine_new_id(engine),
                             .class_path = PL_STR_LIT("t.Stage"),
                             .args = PL_STR_LIT("\x80"),
                             .max_attempts = 2,
                             .backoff_seconds = 1,
                             .backoff_factor = 1,
                             .flags = flags };
}

static pl_op_t *end_of_run(const pl_claim_t *claim) {
    pl_op_t *op = pl_op_new(PL_VERB_outcome);
    pl_fill_t *fill = pl_op_alloc(op, sizeof *fill);
    op->u.outcome = (pl_op_outcome_t){ .stage = claim->task, .claim = claim->fence, .flags = claim->stage->flags };
    if (claim->task == root) {
        children[0] = stage_of(0);
        children[1] = stage_of(0);
        op->u.outcome.children = children;
        op->u.outcome.children_len = 2;
    }
    *fill = (pl_fill_t){ claim->task, PL_STR_LIT("\x07") };
    op->u.outcome.fills = fill;
    op->u.outcome.fills_len = 1;
    return op;
}

/* The first attempt of the first child fails. */
static void execute_cb(void *data, pl_claim_t *claim) {
    (void)data;
    bool fails = claim->task == children[0].id && claim->stage->attempt == 0;
    if (fails) {
        CHECK(pl_engine_claim_fail(engine, claim, PL_STR_LIT("no luck")) == PL_OK);
    } else if (claim->kind == PL_TASK_RUN) {
        pl_engine_claim_end(engine, claim, end_of_run(claim));
    } else {
        pl_op_t *op = pl_op_new(PL_VERB_finalized);
        op->u.finalized = (pl_op_finalized_t){ .stage = claim->task, .claim = claim->fence };
        pl_engine_claim_end(engine, claim, op);
    }
    pl_claim_free(claim);
}

static void op_done_cb(void *data, pl_op_t *op) {
    (void)data;
    CHECK(op->rc == PL_OK);
    pl_op_free(op);
}

static void final_cb(void *data, pl_id_t stage, pl_stage_state_t state) {
    (void)data;
    (void)stage;
    (void)state;
}

static void log_cb(void *data, int level, const char *text) {
    (void)data;
    CHECK(level < PL_LOG_ERROR && strstr(text, "no luck"));
}

int main(void) {
    pl_store_driver_t driver = pl__memory_driver;
    pl_engine_options_t options;
    pl_error_t error = { 0 };
    driver.turn = turn_cb;
    pl_engine_options_init(&options);
    options.path = "model";
    options.driver = &driver;
    options.virtual_time = true;
    options.virtual_start = 1700000000;
    options.host = (pl_host_t){ .execute = execute_cb, .op_done = op_done_cb, .final = final_cb, .log = log_cb };
    CHECK(pl_engine_open(&engine, &options, &error) == PL_OK);
    pl_stage_new_t stage = stage_of(PL_STAGE_HAS_FINALIZED);
    root = stage.id;
    pl_op_t *op = pl_op_new(PL_VERB_start);
    op->u.start = (pl_op_start_t){ &stage, 1 };
    CHECK(pl_engine_call(engine, op) == PL_OK);
    pl_op_free(op);
    CHECK(pl_engine_run(engine, PL_RUN_ALL, -1, false) == PL_OK);
    CHECK(outcomes == 4 && failures == 1 && finalized == 1);
    op = pl_op_new(PL_VERB_stage_get);
    op->u.stage_get.stage = root;
    CHECK(pl_engine_call(engine, op) == PL_OK && op->u.stage_get.result->state == PL_STAGE_DONE);
    pl_op_free(op);
    pl_engine_close(engine);
    return check_end();
}
