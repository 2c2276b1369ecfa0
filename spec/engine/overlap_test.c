/*
 * overlap_test.c - what is done in one long turn of the loop goes to the store while the turn goes on, so that both
 * threads are at work; but where a commit takes longer than the turn, all of it goes in one.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "engine/pipeline.h"
#include "store/driver.h"
#include "store/memory/driver.h"
#include "support/check.h"
#include "support/host.h"

enum { TASKS = 96, TASK_US = 2000, SLOW_COMMIT_US = 60 * 1000 * 1000 };

static pl_engine_t *engine;
static int64_t commit_us;             /* what the driver says that a commit takes; 0: what it takes */
static int executed, ended_meanwhile; /* of the tasks claimed first, which are executed in one turn of the loop */
static atomic_int claimed_first, ended, commits_of_ends; /* as the store's thread has seen it */

static int turn_cb(pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                   pl_error_t *error) {
    int rc = pl__memory_driver.turn(conn, ops, ask, arena, turn, error), ends = 0;
    for (const pl_op_t *op = ops; op; op = op->next)
        if (op->verb == PL_VERB_tasks_done)
            ends += (int)op->u.tasks_done.len;
    if (atomic_load(&claimed_first) == 0)
        atomic_store(&claimed_first, turn->claims_len);
    atomic_fetch_add(&ended, ends);
    atomic_fetch_add(&commits_of_ends, ends > 0);
    if (commit_us > 0)
        turn->commit_us = commit_us;
    return rc;
}

static void execute_cb(void *data, pl_claim_t *claim) {
    (void)data;
    int64_t until = pl_clock_monotonic_us() + TASK_US;
    while (pl_clock_monotonic_us() < until)
        continue;
    if (++executed == atomic_load(&claimed_first))
        ended_meanwhile = atomic_load(&ended);
    CHECK(pl_engine_claim_done(engine, claim) == PL_OK);
    pl_claim_free(claim);
}

static void add_tasks(void) {
    static pl_task_new_t tasks[TASKS];
    memset(tasks, 0, sizeof tasks);
    for (int i = 0; i < TASKS; i++) {
        tasks[i] = (pl_task_new_t){ .id = pl_engine_new_id(engine),
                                    .kind = PL_TASK_DEFERRED,
                                    .payload = PL_STR_LIT("\x80"),
                                    .retry = PL_RETRY_NONE };
    }
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    op->u.task_add = (pl_op_task_add_t){ tasks, TASKS, false };
    CHECK(pl_engine_call(engine, op) == PL_OK);
    pl_op_free(op);
}

static void run_tasks(int64_t said_us) {
    pl_store_driver_t driver = pl__memory_driver;
    pl_engine_options_t options;
    pl_error_t error = { 0 };
    commit_us = said_us;
    executed = ended_meanwhile = 0;
    atomic_store(&claimed_first, 0);
    atomic_store(&ended, 0);
    atomic_store(&commits_of_ends, 0);
    driver.turn = turn_cb;
    pl_engine_options_init(&options);
    options.path = "model";
    options.driver = &driver;
    options.concurrency = TASKS;
    options.host = (pl_host_t){ .execute = execute_cb, .op_done = op_done_cb, .final = final_cb };
    CHECK(pl_engine_open(&engine, &options, &error) == PL_OK);
    add_tasks();
    CHECK(pl_engine_run(engine, PL_RUN_READY, -1, false) == PL_OK);
    CHECK(executed == TASKS && atomic_load(&ended) == TASKS && atomic_load(&claimed_first) >= TASKS / 2);
    pl_engine_close(engine);
}

int main(void) {
    run_tasks(0);
    CHECK(ended_meanwhile > 0);
    run_tasks(SLOW_COMMIT_US);
    CHECK(ended_meanwhile == 0 && atomic_load(&commits_of_ends) <= 2);
    return check_end();
}
