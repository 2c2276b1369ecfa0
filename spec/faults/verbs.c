/*
 * verbs.c - a store with something of everything, for tests of its verbs: stages that wait, a durable function with a
 * journal and mails, a schedule of which a fire is held back, dead tasks, tasks to be leased. And turns of its driver.
 * Included by the test that uses it, for each test is one file.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlite/db.h"
#include "support/check.h"
#include "support/entry.h"

enum { LEAVES = 400, MANY = 50, STATE_MAX = 1000, TRIES_MAX = 2000 };

static pl__conn_t *conn;
static pl_clock_t clock_;
static pl_ids_t ids;
static pl_claim_t *claims, *leaves;
static pl_id_t waits_root, waits_child, waits_async, flow, flow_child, slot, schedule_id, held_root;

static pl_id_t new_id(void) {
    return pl_ids_next(&ids, &clock_);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static void keep_claims(pl_claim_t *found) {
    for (pl_claim_t *claim = found, *next; claim; claim = next) {
        next = claim->next;
        bool is_leaf = claim->stage && pl_str_eq(claim->stage->class_path, PL_STR_LIT("t.Leaf"));
        claim->next = is_leaf ? leaves : claims;
        *(is_leaf ? &leaves : &claims) = claim;
    }
}

static void drop(pl_claim_t **list) {
    for (pl_claim_t *next; *list; *list = next) {
        next = (*list)->next;
        pl_claim_free(*list);
    }
}

static int turn(pl_op_t *ops, int wanted, pl_error_t *error) {
    pl__arena_t arena = { 0 };
    pl__commit_result_t news = PL__COMMIT_RESULT_NONE;
    int rc = pl__sqlite_driver.turn(conn, ops, &(pl__ask_t){ .wanted = wanted, .look = true }, &arena, &news, error);
    CHECK(rc == PL_OK || !news.claims);
    keep_claims(news.claims);
    pl__arena_free(&arena);
    return rc;
}

/* Nothing fails: one op, or none, and claims. Takes op; its rc. */
static int apply(pl_op_t *op, int wanted) {
    pl_error_t error = { 0 };
    int rc = turn(op, wanted, &error);
    if (rc != PL_OK)
        printf("  %s\n", error.message);
    CHECK(rc == PL_OK);
    rc = op ? op->rc : rc;
    pl_op_free(op);
    return rc;
}

static int fence_of(pl_id_t task) {
    const pl_claim_t *claim = claims;
    while (claim && claim->task != task)
        claim = claim->next;
    return claim ? claim->fence : 0;
}

static int64_t count(const char *sql) {
    sqlite3_stmt *row = NULL;
    CHECK(sqlite3_prepare_v2(conn->db, sql, -1, &row, NULL) == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW);
    int64_t found = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return found;
}

/* What is in the file, in numbers. */
static void read_state(char state[STATE_MAX]) {
    static const char SQL[] =
        "SELECT (SELECT count(*) || ',' || total(state) || ',' || total(eta % 1000003) || ',' || total(tries) || ',' "
        "|| "
        "count(owner) FROM pl_task) || ';' || (SELECT count(*) || ',' || total(state) || ',' || total(open) || ',' || "
        "total(missing) || ',' || total(flags) || ',' || total(attempt) || ',' || count(result) || ',' || "
        "total(abort_requested) FROM pl_stage) || ';' || (SELECT count(*) FROM pl_slot) || ',' || (SELECT count(*) "
        "FROM "
        "pl_wait) || ',' || (SELECT count(*) || ',' || total(mode) || ',' || total(next) || ',' || total(mails) FROM "
        "pl_flow) || ';' || (SELECT count(*) FROM pl_journal) || ',' || (SELECT count(*) || ',' || total(taken) FROM "
        "pl_mail) || ',' || (SELECT count(*) FROM pl_value) || ',' || (SELECT count(*) FROM pl_chunk) || ';' || "
        "(SELECT "
        "count(*) || ',' || total(revision) FROM pl_schedule) || ',' || (SELECT count(*) || ',' || total(state) FROM "
        "pl_fire) || ';' || (SELECT count(*) FROM pl_dead) || ',' || (SELECT count(*) || ',' || count(expires) FROM "
        "pl_task_name) || ',' || (SELECT count(*) || ',' || total(paused) || ',' || total(removed) FROM pl_queue) || "
        "',' || (SELECT count(*) FROM pl_status) || ',' || (SELECT count(*) FROM pl_failure) || ',' || (SELECT "
        "count(*) "
        "FROM pl_meta) || ',' || (SELECT count(*) FROM pl_worker)";
    sqlite3_stmt *row = NULL;
    state[0] = 0;
    CHECK(sqlite3_prepare_v2(conn->db, SQL, -1, &row, NULL) == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW);
    snprintf(state, STATE_MAX, "%s", (const char *)sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
}

/* ---- what there is ---------------------------------------------------------------------------------------------- */

static pl_stage_new_t stage_of(pl_id_t id, const char *class_path, unsigned flags) {
    return (pl_stage_new_t){ .id = id,
                             .class_path = pl_str(class_path),
                             .args = PL_STR_LIT("\x80"),
                             .max_attempts = 2,
                             .backoff_seconds = 15,
                             .backoff_factor = 2,
                             .flags = flags,
                             .seed = PL_STR_LIT("0123456789abcdef") };
}

static pl_op_t *start_op(pl_stage_new_t *stage) {
    pl_op_t *op = pl_op_new(PL_VERB_start);
    op->u.start = (pl_op_start_t){ stage, 1 };
    return op;
}

static pl_id_t start(const char *class_path, unsigned flags, const char *key) {
    pl_stage_new_t stage = stage_of(new_id(), class_path, flags);
    stage.key = key ? pl_str(key) : PL_STR_NONE;
    if (flags & PL_STAGE_TRACED)
        stage.trace = PL_STR_LIT("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    CHECK(apply(start_op(&stage), MANY) == PL_OK);
    return stage.id;
}

static pl_op_t *outcome_op(pl_id_t stage, pl_outcome_kind_t kind, unsigned flags) {
    pl_op_t *op = pl_op_new(PL_VERB_outcome);
    op->u.outcome = (pl_op_outcome_t){
        .stage = stage, .claim = fence_of(stage), .kind = kind, .flags = flags, .give_up = kind == PL_OUTCOME_FAILED
    };
    if (kind != PL_OUTCOME_OK)
        op->u.outcome.failure = (pl_failure_t){ .error_class = PL_STR_LIT("E"), .message = PL_STR_LIT("no") };
    op->u.outcome.abort_message = PL_STR_LIT("it failed");
    return op;
}

static void run_with(pl_id_t root, unsigned flags, pl_stage_new_t *children, size_t len, int wanted) {
    pl_op_t *op = outcome_op(root, PL_OUTCOME_OK, flags);
    op->u.outcome.children = children;
    op->u.outcome.children_len = len;
    CHECK(apply(op, wanted) == PL_OK);
}

static pl_task_new_t task_of(pl_task_kind_t kind, const char *queue, const char *name) {
    return (pl_task_new_t){ .id = new_id(),
                            .kind = kind,
                            .queue = pl_str(queue),
                            .name = name ? pl_str(name) : PL_STR_NONE,
                            .payload = PL_STR_LIT("payload"),
                            .tag = kind == PL_TASK_PULL ? PL_STR_LIT("tag") : PL_STR_NONE,
                            .retry = { 0, -1, -1, -1, -1, -1 } };
}

static pl_id_t add(pl_task_kind_t kind, const char *queue, const char *name, pl_usec_t eta) {
    pl_task_new_t task = task_of(kind, queue, name);
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    task.eta = eta;
    op->u.task_add = (pl_op_task_add_t){ &task, 1, true };
    CHECK(apply(op, MANY) == PL_OK && task.rc == PL_OK);
    return task.id;
}

static pl_id_t make_dead(const char *name) {
    pl_id_t task = add(PL_TASK_DEFERRED, "calls", name, 0);
    pl_op_t *op = pl_op_new(PL_VERB_task_done);
    op->u.task_done = (pl_op_task_done_t){
        .task = task, .claim = fence_of(task), .failed = true, .failure = { .message = PL_STR_LIT("broken") }
    };
    CHECK(apply(op, 0) == PL_OK);
    return task;
}

static void set_queues(void) {
    static pl_queue_settings_t queues[3];
    static const char *const NAMES[] = { "pull", "calls", "limited" };
    for (int i = 0; i < 3; i++)
        queues[i] = (pl_queue_settings_t){
            .name = pl_str(NAMES[i]), .rate = -1, .bucket_size = -1, .pull = i == 0, .retry = PL_RETRY_NONE
        };
    queues[2].rate = 5;
    queues[2].max_concurrent = 3;
    queues[2].target = PL_STR_LIT("elsewhere");
    pl_op_t *op = pl_op_new(PL_VERB_queue_set);
    op->u.queue_set = (pl_op_queue_set_t){ queues, 3, false };
    CHECK(apply(op, 0) == PL_OK);
}

/* A root whose leaves are all claimed: one ends in each transaction. */
static void make_leaves(void) {
    static pl_stage_new_t children[LEAVES];
    pl_id_t root = start("t.Parent", 0, NULL);
    for (int i = 0; i < LEAVES; i++)
        children[i] = stage_of(new_id(), "t.Leaf", 0);
    run_with(root, 0, children, LEAVES, LEAVES);
    for (int i = 0; i < 10; i++)
        CHECK(apply(NULL, LEAVES) == PL_OK);
}

/* One that waits for what an asynchronous one gives; it has failed once, and says what it does. */
static void make_waiting(void) {
    pl_stage_new_t children[2];
    waits_root = start("t.Waits", PL_STAGE_TRACED, "waits");
    children[0] = stage_of(waits_async = new_id(), "t.Ask", PL_STAGE_ASYNC);
    children[1] = stage_of(waits_child = new_id(), "t.Sum", 0);
    children[1].inputs = &waits_async;
    children[1].inputs_len = 1;
    run_with(waits_root, PL_STAGE_TRACED, children, 2, MANY);
    CHECK(apply(outcome_op(waits_async, PL_OUTCOME_OK, PL_STAGE_ASYNC), 0) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_status);
    op->u.status = (pl_op_status_t){ waits_root, { .message = PL_STR_LIT("half done") } };
    CHECK(apply(op, 0) == PL_OK);
}

static pl_entry_t entry_of(int64_t seq, int64_t done, pl_entry_kind_t kind, pl_id_t ref) {
    return entry_with(seq, done, kind, ref, PL_STR_LIT("\x01"));
}

static void send(pl_mail_kind_t kind, const char *name, const char *key) {
    pl_mail_new_t mail = { .stage = flow,
                           .kind = kind,
                           .name = pl_str(name),
                           .key = key ? pl_str(key) : PL_STR_NONE,
                           .value = PL_STR_LIT("\x01") };
    pl_op_t *op = pl_op_new(PL_VERB_signal);
    op->u.signal = (pl_op_signal_t){ &mail, 1 };
    CHECK(apply(op, MANY) == PL_OK && mail.rc == PL_OK);
}

/* A durable function with a child, values, a stream, and mails. */
static void make_flow(void) {
    flow = start("t.Flow", PL_STAGE_DURABLE, "flow");
    slot = new_id();
    pl_entry_t entries[2] = { entry_of(1, 2, PL_ENTRY_STEP, 0), entry_of(3, 0, PL_ENTRY_CHILD, flow_child = new_id()) };
    pl_stage_new_t below = stage_of(flow_child, "t.Below", 0);
    pl_value_new_t values[2] = { { PL_STR_LIT("u"), PL_STR_LIT("\x01") }, { PL_STR_LIT("v"), PL_STR_LIT("\x02") } };
    pl_chunk_new_t chunks[2] = {
        { .stream = PL_STR_LIT("s"), .source = PL_STR_LIT("~0"), .k = 1, .value = PL_STR_LIT("c") },
        { .stream = PL_STR_LIT("t"), .source = PL_STR_LIT("~0"), .k = 1, .value = PL_STR_LIT("c") }
    };
    pl_op_t *op = pl_op_new(PL_VERB_journal);
    op->u.journal = (pl_op_journal_t){ .stage = flow,
                                       .claim = fence_of(flow),
                                       .journal = { .entries = entries,
                                                    .entries_len = 2,
                                                    .next = 4,
                                                    .children = &below,
                                                    .children_len = 1,
                                                    .values = values,
                                                    .values_len = 2,
                                                    .chunks = chunks,
                                                    .chunks_len = 2 } };
    CHECK(apply(op, MANY) == PL_OK && fence_of(flow_child));
    send(PL_MAIL_SIGNAL, "go", "k");
    send(PL_MAIL_UPDATE, "change", NULL);
}

static pl_fire_new_t fire_of(pl_stage_new_t *stage) {
    return (pl_fire_new_t){ .id = new_id(),
                            .nominal = pl_clock_now(&clock_),
                            .at = pl_clock_now(&clock_),
                            .reason = PL_REASON_TRIGGER,
                            .overlap = PL_OVERLAP_BUFFER_ALL,
                            .local_time = PL_STR_LIT("now"),
                            .stage = stage };
}

static pl_op_t *fire_op(pl_fire_new_t *fire) {
    pl_op_t *op = pl_op_new(PL_VERB_schedule_fire);
    op->u.schedule_fire =
        (pl_op_schedule_fire_t){ .schedule = schedule_id, .buffered_max = 5, .fires = fire, .len = 1 };
    return op;
}

static pl_op_t *schedule_op(pl_schedule_t *schedule, const char *name, int64_t known) {
    *schedule = (pl_schedule_t){ .id = new_id(),
                                 .name = pl_str(name),
                                 .times = PL_STR_LIT("t"),
                                 .work = PL_STR_LIT("w"),
                                 .revision = known,
                                 .next_nominal = pl_clock_now(&clock_) + INT64_C(3600000000),
                                 .next_at = pl_clock_now(&clock_) + INT64_C(3600000000) };
    pl_op_t *op = pl_op_new(PL_VERB_schedule_set);
    op->u.schedule_set = (pl_op_schedule_set_t){ .schedules = schedule, .len = 1, .version_before = -1 };
    return op;
}

/* One fire has started, another one is held back. */
static void make_schedule(void) {
    pl_schedule_t schedule;
    CHECK(apply(schedule_op(&schedule, "hourly", 0), 0) == PL_OK);
    schedule_id = schedule.id;
    for (int i = 0; i < 2; i++) {
        pl_stage_new_t stage = stage_of(held_root = new_id(), "t.Fired", 0);
        pl_fire_new_t fire = fire_of(&stage);
        CHECK(apply(fire_op(&fire), MANY) == PL_OK);
        CHECK(fire.state == (i ? PL_FIRE_BUFFERED : PL_FIRE_STARTED));
        pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + 1000);
    }
}

static void make_all(void) {
    pl_op_t *op = pl_op_new(PL_VERB_join);
    op->u.join = (pl_op_join_t){ .host = PL_STR_LIT("here"), .pid = 1, .version = PL_STR_LIT("1") };
    CHECK(apply(op, 0) == PL_OK);
    set_queues();
    make_leaves();
    make_waiting();
    make_flow();
    make_schedule();
    add(PL_TASK_PULL, "pull", "named", 0);
    add(PL_TASK_PULL, "pull", NULL, 0);
    add(PL_TASK_DEFERRED, "limited", NULL, 0);
    add(PL_TASK_DEFERRED, "calls", "later", pl_clock_now(&clock_) + INT64_C(7200000000));
    make_dead("dead");
}
