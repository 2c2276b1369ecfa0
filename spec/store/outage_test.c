/*
 * outage_test.c - a store whose driver reaches nobody for a while (PL_ELOST), or is in the way of others (PL_EAGAIN):
 * nothing is lost, nothing is done twice, and the order is kept. The driver is the one in memory, behind a line that
 * can be cut. The seed is printed; SEED repeats a run.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/pipeline.h"
#include "store/driver.h"
#include "store/memory/driver.h"
#include "support/check.h"
#include "support/host.h"

enum { OPS = 400, ROOM = 4096 };

static pl_store_t *store;
static pl_clock_t clock_;
static _Atomic bool is_cut;   /* nobody is reached */
static _Atomic int odds;      /* of 100 turns so many fail, by chance */
static _Atomic int turns_cut; /* that have failed */
static void *applied[ROOM];   /* owners of the ops that were committed, in that order: the writer's thread */
static _Atomic int applied_len;
static _Atomic int warnings, infos;
static unsigned random_state;

static int fails(pl_error_t *error) {
    int by_chance = is_cut ? 0 : (int)(rand_r(&random_state) % 100);
    if (!is_cut && by_chance >= odds)
        return PL_OK;
    turns_cut++;
    if (is_cut || by_chance % 2)
        return PL__FAIL(error, PL_ELOST, "the line is cut");
    return PL__FAIL(error, PL_EAGAIN, "somebody was faster");
}

static int turn_cb(pl__conn_t *conn, pl_op_t *ops, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn,
                   pl_error_t *error) {
    int rc = fails(error);
    if (rc == PL_OK)
        rc = pl__memory_driver.turn(conn, ops, ask, arena, turn, error);
    for (const pl_op_t *op = ops; op && rc == PL_OK; op = op->next)
        if (op->owner && applied_len < ROOM)
            applied[applied_len++] = op->owner;
    return rc;
}

static int session_begin_cb(pl__conn_t *conn, pl_usec_t span, int64_t *deadline, pl_error_t *error) {
    return is_cut ? PL__FAIL(error, PL_ELOST, "the line is cut")
                  : pl__memory_driver.session_begin(conn, span, deadline, error);
}

static void read_cb(pl__conn_t *conn, pl_op_t *ops) {
    for (pl_op_t *op = ops; is_cut && op; op = op->next)
        op->rc = PL__FAIL(&op->error, PL_ELOST, "the line is cut");
    if (!is_cut)
        pl__sqlite_driver.read(conn, ops);
}

static void wake_cb(void *data) {
    (void)data;
}

static void log_cb(void *data, int level, const char *text) {
    (void)data;
    warnings += level == PL_LOG_WARNING && strstr(text, "cannot be reached (the line is cut)");
    infos += level == PL_LOG_INFO && strstr(text, "is reached again, after ");
}

static pl_store_driver_t driver_behind_line(void) {
    pl_store_driver_t driver = pl__memory_driver;
    driver.turn = turn_cb;
    driver.session_begin = session_begin_cb;
    return driver;
}

static void open_store(const pl_store_driver_t *driver, const char *path) {
    static pl_log_t log = { log_cb, NULL };
    pl_store_options_t options = { .path = path, .clock = &clock_, .log = &log, .wake = wake_cb, .driver = driver };
    pl_error_t error = { 0 };
    CHECK(pl_store_open(&store, &options, &error) == PL_OK);
    applied_len = turns_cut = warnings = infos = 0;
    odds = 0;
    is_cut = false;
}

static pl_op_t *write_meta(int number) {
    pl_op_t *op = pl_op_new(PL_VERB_meta);
    char *text = pl_op_alloc(op, 16);
    snprintf(text, 16, "%d", number);
    op->u.meta = (pl_op_meta_t){ .key = PL_STR_LIT("key"), .write = true, .value = pl_str(text) };
    op->owner = (void *)(uintptr_t)(number + 1);
    return op;
}

/* Breaks the transaction it is in: there is a task of that id. */
static pl_op_t *add_task(pl_id_t id, int number) {
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    pl_task_new_t *task = pl_op_alloc(op, sizeof *task);
    *task = (pl_task_new_t){ .id = id, .kind = PL_TASK_DEFERRED, .retry = PL_RETRY_NONE };
    op->u.task_add = (pl_op_task_add_t){ .tasks = task, .len = 1 };
    op->owner = (void *)(uintptr_t)(number + 1);
    return op;
}

static void wait_until_cut(int turns) {
    while (turns_cut < turns)
        usleep(1000);
}

static pl_usec_t unreachable_since(void) {
    pl_store_stats_t stats;
    pl_store_stats(store, &stats);
    return stats.unreachable_since;
}

/* Takes what has come back: in the order in which it was submitted; returns how many. */
static int collect(int first, bool refused) {
    pl_batch_t batch;
    int number = first;
    if (!pl_store_collect(store, &batch))
        return 0;
    for (const pl_op_t *op = batch.ops; op; op = op->next, number++) {
        bool is_bad = op->verb == PL_VERB_task_add && op->rc == PL_ECONSTRAINT;
        CHECK(op->owner == (void *)(uintptr_t)(number + 1));
        CHECK(op->rc == (refused ? PL_ELOST : PL_OK) || is_bad);
    }
    pl_batch_free(&batch);
    return number - first;
}

static void nothing_is_lost_and_the_order_is_kept(void) {
    pl_store_driver_t driver = driver_behind_line();
    int back = 0, bad = 0;
    open_store(&driver, "model");
    odds = 60;
    for (int i = 0; i < OPS;) {
        pl_op_t *first = NULL, **tail = &first;
        for (int n = 1 + (int)(rand_r(&random_state) % 9); n > 0 && i < OPS; n--, i++) {
            bool is_task = i % 7 == 3;
            *tail = is_task ? add_task(i % 14 == 3 ? 5 : 1000 + i, i) : write_meta(i);
            tail = &(*tail)->next;
        }
        pl_store_submit_list(store, first, 0);
        usleep(rand_r(&random_state) % 8000);
        is_cut = i % 100 > 90; /* and now and then for longer */
        back += collect(back, false);
    }
    is_cut = false;
    for (int64_t until = pl_clock_monotonic_us() + 60000000; back < OPS && pl_clock_monotonic_us() < until;) {
        usleep(1000);
        odds = 20;
        back += collect(back, false);
    }
    CHECK(back == OPS && turns_cut > 5);
    for (int i = 0, at = 0; i < OPS; i++) {
        bool is_there = at < applied_len && applied[at] == (void *)(uintptr_t)(i + 1);
        at += is_there;
        bad += !is_there;
        CHECK(is_there || i % 14 == 3); /* the first of these was done, the others break the rule */
        CHECK(i < OPS - 1 || at == applied_len);
    }
    CHECK(bad == (OPS - 3 + 13) / 14 - 1);
    CHECK(unreachable_since() == 0);
    pl_store_close(store);
}

static void since_when_is_told(void) {
    pl_store_driver_t driver = driver_behind_line();
    open_store(&driver, "model");
    pl_op_t *op = write_meta(0);
    CHECK(unreachable_since() == 0);
    is_cut = true;
    pl_store_submit(store, op);
    pl_store_submit(store, write_meta(1));
    wait_until_cut(3);
    CHECK(unreachable_since() == pl_clock_now(&clock_) && warnings == 1 && infos == 0 && applied_len == 0);
    is_cut = false;
    op = write_meta(2);
    CHECK(pl_store_call(store, op) == PL_OK && applied_len == 3);
    pl_op_free(op);
    CHECK(unreachable_since() == 0 && warnings == 1 && infos == 1);
    CHECK(collect(0, false) == 2);
    pl_store_close(store);
}

static void a_session_begins_when_somebody_is_reached(void) {
    pl_store_driver_t driver = driver_behind_line();
    open_store(&driver, "model");
    pl_op_t *begin = pl_op_new(PL_VERB_tx_begin), *op;
    begin->session = 1;
    begin->u.tx_begin.seconds = 30;
    begin->owner = (void *)(uintptr_t)1;
    is_cut = true;
    pl_store_submit(store, begin);
    usleep(50000);
    CHECK(unreachable_since() != 0 && collect(0, false) == 0);
    is_cut = false;
    while (collect(0, false) == 0)
        usleep(1000);
    op = write_meta(7);
    op->session = 1;
    CHECK(pl_store_call(store, op) == PL_OK && unreachable_since() == 0);
    pl_op_free(op);
    op = pl_op_new(PL_VERB_tx_end);
    op->session = 1;
    op->u.tx_end.commit = true;
    CHECK(pl_store_call(store, op) == PL_OK);
    pl_op_free(op);
    pl_store_close(store);
}

static void who_closes_waits_for_nobody(void) {
    pl_store_driver_t driver = driver_behind_line();
    open_store(&driver, "model");
    is_cut = true;
    pl_store_submit(store, write_meta(0));
    pl_store_submit(store, write_meta(1));
    wait_until_cut(6);
    int64_t since = pl_clock_monotonic_us();
    pl_store_end_sessions(store);
    pl_op_t *leave = pl_op_new(PL_VERB_leave);
    CHECK(pl_store_call(store, leave) == PL_ELOST && strcmp(leave->error.message, "the line is cut") == 0);
    pl_op_free(leave);
    CHECK(collect(0, true) == 2);
    pl_store_close(store);
    CHECK(pl_clock_monotonic_us() - since < 5000000);
}

static void reads_wait_as_well(const char *path) {
    pl_store_driver_t driver = pl__sqlite_driver;
    driver.read = read_cb;
    open_store(&driver, path);
    pl_op_t *op = write_meta(3);
    CHECK(pl_store_call(store, op) == PL_OK);
    pl_op_free(op);
    is_cut = true;
    op = pl_op_new(PL_VERB_queue_get);
    op->owner = (void *)(uintptr_t)1;
    pl_store_submit(store, op);
    for (int i = 0; i < 5000 && unreachable_since() == 0; i++)
        usleep(1000);
    CHECK(unreachable_since() == pl_clock_now(&clock_) && warnings == 1);
    is_cut = false;
    int back = 0;
    for (int i = 0; i < 5000 && back == 0; i++, usleep(1000))
        back = collect(0, false);
    CHECK(back == 1);
    op = pl_op_new(PL_VERB_counts_get);
    CHECK(pl_store_call(store, op) == PL_OK && unreachable_since() == 0 && infos == 1);
    pl_op_free(op);
    pl_store_close(store);
}

/* ---- with an engine ---------------------------------------------------------------------------------------------- */

static pl_engine_t *engine;
static int executed;

static void execute_cb(void *data, pl_claim_t *claim) {
    (void)data;
    executed++;
    is_cut = executed == 1; /* the end of the first one cannot be told */
    CHECK(pl_engine_claim_done(engine, claim) == PL_OK);
    pl_claim_free(claim);
}

static void an_engine_goes_on_after_an_outage(void) {
    pl_store_driver_t driver = driver_behind_line();
    pl_engine_options_t options;
    pl_engine_facts_t facts;
    pl_error_t error = { 0 };
    pl_engine_options_init(&options);
    options.path = "model";
    options.driver = &driver;
    options.concurrency = 1;
    options.host = (pl_host_t){ .execute = execute_cb, .op_done = op_done_cb, .final = final_cb, .log = log_cb };
    CHECK(pl_engine_open(&engine, &options, &error) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    pl_task_new_t tasks[3];
    for (int i = 0; i < 3; i++)
        tasks[i] = (pl_task_new_t){ .id = pl_engine_new_id(engine), .kind = PL_TASK_DEFERRED, .retry = PL_RETRY_NONE };
    op->u.task_add = (pl_op_task_add_t){ .tasks = tasks, .len = 3 };
    CHECK(pl_engine_call(engine, op) == PL_OK);
    pl_op_free(op);
    CHECK(pl_engine_run(engine, PL_RUN_READY, 0.2, false) == PL_ETIMEDOUT); /* it waits, and executes nothing new */
    pl_engine_facts(engine, &facts);
    CHECK(executed == 1 && facts.store.unreachable_since > 0);
    is_cut = false;
    CHECK(pl_engine_run(engine, PL_RUN_READY, 20, false) == PL_OK);
    pl_engine_facts(engine, &facts);
    CHECK(executed == 3 && facts.store.unreachable_since == 0);
    is_cut = true;
    int64_t since = pl_clock_monotonic_us();
    pl_engine_close(engine);
    CHECK(pl_clock_monotonic_us() - since < 5000000);
}

int main(void) {
    char directory[] = "/tmp/pipeline-outage-XXXXXX", path[sizeof directory + 16], command[100];
    const char *seed = getenv("SEED");
    random_state = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
    printf("seed %u\n", random_state);
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/store.db", directory);
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    nothing_is_lost_and_the_order_is_kept();
    since_when_is_told();
    a_session_begins_when_somebody_is_reached();
    who_closes_waits_for_nobody();
    reads_wait_as_well(path);
    an_engine_goes_on_after_an_outage();
    snprintf(command, sizeof command, "rm -r %s", directory);
    CHECK(system(command) == 0);
    return check_end();
}
