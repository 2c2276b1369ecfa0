/*
 * notifier_test.c - what an engine does on a store whose driver does not notify, proves no death, or is shared with
 * nobody.
 *
 * The driver is SQLite's with less to offer, so that a second engine on the same file, which does notify, plays the
 * other process.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/pipeline.h"
#include "store/driver.h"
#include "store/memory/driver.h"
#include "support/check.h"
#include "support/host.h"

static unsigned offered;
static pl_engine_t *engine; /* the one whose driver offers less */
static int executed;
static _Atomic int looks;

static unsigned can_cb(const pl_store_options_t *options) {
    return pl__sqlite_driver.can(options) & offered;
}

static int turn_cb(pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                   pl_error_t *error) {
    looks += ask->look;
    return pl__sqlite_driver.turn(conn, ops, ask, arena, turn, error);
}

static int memory_turn_cb(pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena,
                          pl__commit_result_t *turn, pl_error_t *error) {
    looks += ask->look;
    return pl__memory_driver.turn(conn, ops, ask, arena, turn, error);
}

static void execute_cb(void *data, pl_claim_t *claim) {
    pl_engine_t *whose = *(pl_engine_t **)data;
    executed++;
    CHECK(pl_engine_claim_done(whose, claim) == PL_OK);
    pl_claim_free(claim);
    pl_engine_stop(whose);
}

static void open_engine(pl_engine_t **out, const char *path, const pl_store_driver_t *driver, bool no_worker) {
    pl_engine_options_t options;
    pl_error_t error = { 0 };
    pl_engine_options_init(&options);
    options.path = path;
    options.driver = driver;
    options.no_worker = no_worker;
    options.host = (pl_host_t){ .execute = execute_cb, .op_done = op_done_cb, .final = final_cb, .data = out };
    CHECK(pl_engine_open(out, &options, &error) == PL_OK);
}

static void add(pl_engine_t *by) {
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    pl_task_new_t task = { .id = pl_engine_new_id(by), .kind = PL_TASK_DEFERRED, .retry = PL_RETRY_NONE };
    op->u.task_add = (pl_op_task_add_t){ .tasks = &task, .len = 1 };
    CHECK(pl_engine_call(by, op) == PL_OK);
    pl_op_free(op);
}

/* Runs for so long; returns how often it has looked for what others did. */
static int looks_within(double seconds) {
    looks = 0;
    CHECK(pl_engine_run(engine, PL_RUN_FOREVER, seconds, false) == PL_ETIMEDOUT);
    return looks;
}

/* Time until a task of another process was executed, in seconds. */
static double takes(pl_engine_t *other) {
    int before = executed;
    int64_t since = pl_clock_monotonic_us();
    add(other);
    CHECK(pl_engine_run(engine, PL_RUN_FOREVER, 20, false) == PL_OK && executed == before + 1);
    return (double)(pl_clock_monotonic_us() - since) / 1e6;
}

static void without_notices_it_looks_less_and_less_often(const char *path) {
    pl_store_driver_t driver = pl__sqlite_driver;
    pl_engine_t *other;
    driver.can = can_cb;
    driver.turn = turn_cb;
    offered = ~(unsigned)(PL__CAN_NOTIFY | PL__CAN_PROVE_DEATH);
    open_engine(&engine, path, &driver, false);
    (void)looks_within(0.01); /* what it does when it begins */
    int first = looks_within(0.7), second = looks_within(2.5);
    CHECK(first >= 1 && first <= 8);
    CHECK(second >= 1 && second <= 5); /* a slow machine may miss some, and none may have more */
    open_engine(&other, path, NULL, true);
    CHECK(takes(other) < 8); /* the pause is 3.2 s by now */
    (void)looks_within(0.01);
    CHECK(takes(other) < 8);
    CHECK(looks_within(0.7) >= 1); /* what was found makes it look more often again */
    pl_engine_close(other);
    pl_engine_close(engine);
}

static void what_is_shared_with_nobody_is_never_looked_at(void) {
    pl_store_driver_t driver = pl__memory_driver;
    pl_engine_facts_t before, after;
    driver.turn = memory_turn_cb;
    open_engine(&engine, "model", &driver, false);
    CHECK(takes(engine) < 5);
    (void)looks_within(0.05);
    pl_engine_facts(engine, &before);
    CHECK(looks_within(0.5) <= 1); /* the one when running begins */
    pl_engine_facts(engine, &after);
    CHECK(after.loop_wakeups - before.loop_wakeups <= 6 && after.other_workers == 0);
    pl_engine_close(engine);
}

int main(void) {
    char directory[] = "/tmp/pipeline-notifier-XXXXXX", path[sizeof directory + 16], command[100];
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/store.db", directory);
    without_notices_it_looks_less_and_less_often(path);
    what_is_shared_with_nobody_is_never_looked_at();
    snprintf(command, sizeof command, "rm -r %s", directory);
    CHECK(system(command) == 0);
    return check_end();
}
