/*
 * scenario.c - see scenario.h. Included by the tests that use it, for each test is one file.
 */
#include "faults/scenario.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/pipeline.h"
#include "support/file.h"

enum { STEP_SECONDS_MAX = 60, CHILDREN = 5, RUN_SECONDS = 30 };
#define SECOND PL_USEC_PER_SEC
#define ROOT_VALUE "42"

static struct {
    char directory[64], path[80];
    const char *what;
    long nth;
    int failures;
} test;

typedef struct {
    pl_engine_t *engine;
    int reported;
    bool quiet;  /* nothing is failing: errors are failures of the test */
    int dies_at; /* executions until this process ends; 0: never */
} player_t;

static void complain(int line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void complain(int line, const char *format, ...) {
    va_list values;
    va_start(values, format);
    test.failures++;
    fprintf(stderr, "scenario.c:%d: %s %ld: ", line, test.what ? test.what : "?", test.nth);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
}
#define EXPECT(condition, ...)                                                                                         \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            complain(__LINE__, __VA_ARGS__);                                                                           \
    } while (0)

/* ---- what a host does --------------------------------------------------------------------------------------- */

static void report(player_t *player, const pl_op_t *op) {
    if (op->rc == PL_OK)
        return;
    player->reported++;
    EXPECT(!player->quiet || op->rc == PL_EEXISTS || op->rc == PL_ETOMBSTONE, "verb %d without faults: %s %s",
           (int)op->verb, pl_result_name(op->rc), op->error.message);
}

static void op_done(void *data, pl_op_t *op) {
    report(data, op);
    pl_op_free(op);
}

static void ignore_final(void *data, pl_id_t stage, pl_stage_state_t state) {
    (void)data;
    (void)stage;
    (void)state;
}

static void count_log(void *data, int level, const char *text) {
    player_t *player = data;
    if (level >= PL_LOG_WARNING)
        __atomic_add_fetch(&player->reported, 1, __ATOMIC_RELAXED);
    if (getenv("FAULTS_VERBOSE"))
        fprintf(stderr, "  [%d] %s\n", level, text);
}

/* Copies text to the op. An absent result means that memory ran out. */
static pl_str_t keep(pl_op_t *op, const char *text) {
    pl_str_t out = PL_STR_NONE;
    int rc = pl__arena_copy(&op->arena, pl_str(text), &out);
    return rc == PL_OK ? out : PL_STR_NONE;
}

static pl_stage_new_t new_stage(pl_id_t id, const char *class_path, const char *args) {
    return (pl_stage_new_t){ .id = id,
                             .class_path = pl_str(class_path),
                             .args = pl_str(args),
                             .max_attempts = 3,
                             .backoff_seconds = 1,
                             .backoff_factor = 2 };
}

static bool give_fill(pl_op_t *op, pl_id_t slot, const char *value) {
    pl_fill_t *fill = pl__arena_get(&op->arena, sizeof *fill);
    if (!fill)
        return false;
    *fill = (pl_fill_t){ slot, keep(op, value) };
    op->u.outcome.fills = fill;
    op->u.outcome.fills_len = 1;
    return fill->value.ptr != NULL;
}

static bool run_root(player_t *player, const pl_claim_t *claim, pl_op_t *op) {
    static const struct {
        const char *class_path, *args;
    } plan[CHILDREN] = { { "leaf", "1" }, { "leaf", "2" }, { "leaf", "3" }, { "ask", "" }, { "sum", "" } };
    pl_op_outcome_t *out = &op->u.outcome;
    pl_id_t *inputs = pl__arena_get(&op->arena, (CHILDREN - 1) * sizeof *inputs);
    pl_output_t *outputs = pl__arena_get(&op->arena, sizeof *outputs);
    pl_task_new_t *task = pl__arena_get(&op->arena, sizeof *task);
    out->children = pl__arena_get(&op->arena, CHILDREN * sizeof *out->children);
    if (!inputs || !outputs || !task || !out->children)
        return false;
    for (int i = 0; i < CHILDREN; i++) {
        out->children[i] = new_stage(pl_engine_new_id(player->engine), plan[i].class_path, plan[i].args);
        if (i < CHILDREN - 1)
            inputs[i] = out->children[i].id;
    }
    *outputs = (pl_output_t){ PL_STR_LIT("default"), claim->stage->id };
    pl_stage_new_t *sum = &out->children[CHILDREN - 1];
    sum->inputs = inputs;
    sum->inputs_len = CHILDREN - 1;
    sum->outputs = outputs;
    sum->outputs_len = 1;
    out->children[CHILDREN - 2].flags = PL_STAGE_ASYNC;
    *task = (pl_task_new_t){ .id = pl_engine_new_id(player->engine),
                             .kind = PL_TASK_CALLBACK,
                             .name = PL_STR_LIT("call"),
                             .stage = out->children[CHILDREN - 2].id,
                             .payload = PL_STR_LIT("36"),
                             .eta = pl_engine_now(player->engine) + SECOND };
    out->children_len = CHILDREN;
    out->tasks = task;
    out->tasks_len = 1;
    out->flags = PL_STAGE_HAS_FINALIZED;
    return true;
}

static bool run_leaf(player_t *player, const pl_claim_t *claim, pl_op_t *op) {
    const pl_stage_t *stage = claim->stage;
    if (stage->attempt > 0 || !pl_str_eq(stage->args, PL_STR_LIT("2")))
        return give_fill(op, stage->id, stage->args.ptr);
    op->u.outcome.kind = PL_OUTCOME_FAILED;
    op->u.outcome.failure = (pl_failure_t){ .error_class = PL_STR_LIT("Retry"), .message = PL_STR_LIT("not yet") };
    op->u.outcome.retry_message = PL_STR_LIT("not yet");
    op->u.outcome.retry_at = pl_engine_now(player->engine) + SECOND;
    return true;
}

static bool run_sum(player_t *player, const pl_claim_t *claim, pl_op_t *op) {
    long sum = 0;
    char text[32];
    (void)player;
    for (size_t i = 0; i < claim->stage->inputs_len; i++) {
        const pl_slot_t *slot = pl_slots_find(claim->slots, claim->slots_len, claim->stage->inputs[i]);
        EXPECT(slot && slot->filled, "the sum runs before its input %zu is there", i);
        sum += slot && slot->filled ? strtol(slot->value.ptr, NULL, 10) : 0;
    }
    snprintf(text, sizeof text, "%ld", sum);
    return give_fill(op, claim->stage->outputs[0].slot, text);
}

static bool run_ask(player_t *player, const pl_claim_t *claim, pl_op_t *op) {
    (void)player;
    (void)claim;
    op->u.outcome.flags = PL_STAGE_ASYNC;
    return true;
}

static bool run_bad(player_t *player, const pl_claim_t *claim, pl_op_t *op) {
    (void)player;
    (void)claim;
    op->u.outcome.kind = PL_OUTCOME_FAILED;
    op->u.outcome.flags = PL_STAGE_HAS_FINALIZED;
    op->u.outcome.give_up = true;
    op->u.outcome.failure = (pl_failure_t){ .error_class = PL_STR_LIT("Error"), .message = PL_STR_LIT("never") };
    op->u.outcome.retry_message = op->u.outcome.abort_message = PL_STR_LIT("never");
    return true;
}

static pl_op_t *outcome_of(player_t *player, const pl_claim_t *claim) {
    static const struct {
        const char *class_path;
        bool (*run)(player_t *player, const pl_claim_t *claim, pl_op_t *op);
    } classes[] = {
        { "root", run_root }, { "leaf", run_leaf }, { "sum", run_sum }, { "ask", run_ask }, { "bad", run_bad }
    };
    pl_op_t *op = pl_op_new(PL_VERB_outcome);
    if (!op)
        return NULL;
    op->u.outcome.stage = claim->stage->id;
    op->u.outcome.claim = claim->fence;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (pl_str_eq(claim->stage->class_path, pl_str(classes[i].class_path)) && classes[i].run(player, claim, op))
            return op;
    pl_op_free(op);
    return NULL;
}

static pl_op_t *end_of_final(const pl_claim_t *claim) {
    pl_op_t *op = pl_op_new(PL_VERB_finalized);
    if (op)
        op->u.finalized = (pl_op_finalized_t){ .stage = claim->stage->id, .claim = claim->fence };
    return op;
}

/* Fills the async stage, waiting for the commit, and only then ends the task. */
static pl_op_t *callback(player_t *player, const pl_claim_t *claim) {
    pl_op_t *done = pl_op_new(PL_VERB_task_done), *op = pl_op_new(PL_VERB_fill);
    pl_fill_t *fill = op ? pl__arena_get(&op->arena, sizeof *fill) : NULL;
    if (!done || !fill) {
        pl_op_free(done);
        pl_op_free(op);
        return NULL;
    }
    *fill = (pl_fill_t){ claim->stage->id, claim->payload };
    op->u.fill = (pl_op_fill_t){ .stage = claim->stage->id, .fills = fill, .fills_len = 1 };
    int rc = pl_engine_call(player->engine, op);
    if (rc != PL_EFINAL) /* an earlier try may have filled it and have been told that it had not */
        report(player, op);
    pl_op_free(op);
    done->u.task_done = (pl_op_task_done_t){ .task = claim->task, .claim = claim->fence };
    done->u.task_done.failed = rc != PL_OK && rc != PL_EFINAL;
    done->u.task_done.retry_at = pl_engine_now(player->engine) + SECOND;
    return done;
}

static void execute(void *data, pl_claim_t *claim) {
    player_t *player = data;
    pl_op_t *op;
    if (player->dies_at && --player->dies_at == 0)
        _exit(0);
    if (claim->kind == PL_TASK_RUN)
        op = outcome_of(player, claim);
    else if (claim->kind == PL_TASK_CALLBACK)
        op = callback(player, claim);
    else
        op = end_of_final(claim);
    if (op) {
        pl_engine_claim_end(player->engine, claim, op);
    } else {
        player->reported++;
        pl_engine_claim_drop(player->engine, claim);
    }
    pl_claim_free(claim);
}

/* ---- one session --------------------------------------------------------------------------------------------- */

static int open_engine(player_t *player, const char *vfs) {
    pl_engine_options_t options;
    pl_error_t error = { 0 };
    pl_engine_options_init(&options);
    options.path = test.path;
    options.vfs = vfs;
    options.virtual_time = true;
    options.virtual_start = 1700000000;
    options.seed = 1;
    options.host =
        (pl_host_t){ .execute = execute, .op_done = op_done, .final = ignore_final, .log = count_log, .data = player };
    int rc = pl_engine_open(&player->engine, &options, &error);
    if (rc != PL_OK) {
        player->reported++;
        EXPECT(error.message[0], "opening failed with %s and says nothing", pl_result_name(rc));
        EXPECT(!player->quiet, "opening without faults: %s %s", pl_result_name(rc), error.message);
    }
    return rc;
}

/* Starts both roots by their keys, in one op: both are there afterwards, or neither. */
static bool start_roots(player_t *player) {
    pl_op_t *op = pl_op_new(PL_VERB_start);
    pl_stage_new_t *stages = op ? pl__arena_get(&op->arena, 2 * sizeof *stages) : NULL;
    if (!stages) {
        player->reported++;
        pl_op_free(op);
        return false;
    }
    stages[0] = new_stage(pl_engine_new_id(player->engine), "root", "");
    stages[1] = new_stage(pl_engine_new_id(player->engine), "bad", "");
    for (int i = 0; i < 2; i++) {
        stages[i].key = stages[i].class_path;
        stages[i].flags = PL_STAGE_HAS_FINALIZED;
    }
    op->u.start = (pl_op_start_t){ stages, 2 };
    bool good = pl_engine_call(player->engine, op) == PL_OK;
    report(player, op);
    EXPECT(!good || stages[0].rc == stages[1].rc, "one root was there and the other was not");
    pl_op_free(op);
    return good;
}

static pl_op_t *get_root(player_t *player, const char *key) {
    pl_op_t *op = pl_op_new(PL_VERB_stage_get);
    if (!op) {
        player->reported++;
        return NULL;
    }
    op->u.stage_get.key = pl_str(key);
    op->u.stage_get.with_slots = true;
    if (pl_engine_call(player->engine, op) == PL_OK && op->u.stage_get.result)
        return op;
    report(player, op);
    pl_op_free(op);
    return NULL;
}

static bool is_finished(player_t *player) {
    pl_op_t *root = get_root(player, "root"), *bad = get_root(player, "bad");
    bool good = false;
    if (root && bad) {
        const pl_stage_t *stage = root->u.stage_get.result;
        const pl_slot_t *slot = pl_slots_find(root->u.stage_get.slots, root->u.stage_get.slots_len, stage->id);
        good = stage->state == PL_STAGE_DONE && bad->u.stage_get.result->state == PL_STAGE_ABORTED;
        EXPECT(!good || (slot && pl_str_eq(slot->value, PL_STR_LIT(ROOT_VALUE))), "the root has another value");
    }
    pl_op_free(root);
    pl_op_free(bad);
    return good;
}

scenario_result_t scenario_play(const scenario_t *scenario) {
    player_t player = { 0 };
    scenario_result_t result = { 0 };
    result.opened = open_engine(&player, scenario->vfs) == PL_OK;
    if (result.opened) {
        result.started = start_roots(&player);
        int rc = pl_engine_run(player.engine, PL_RUN_ALL, RUN_SECONDS, false);
        if (rc == PL_OK && result.started)
            result.finished = is_finished(&player);
        if (scenario->recover) {
            scenario->recover();
            result.started = start_roots(&player);
            EXPECT(result.started, "starting after the fault was over failed");
            rc = pl_engine_run(player.engine, PL_RUN_ALL, RUN_SECONDS, false);
            EXPECT(rc == PL_OK, "running after the fault was over: %s", pl_result_name(rc));
            result.finished = is_finished(&player);
            EXPECT(result.finished, "not finished after the fault was over");
        }
    }
    pl_engine_close(player.engine);
    result.reported = player.reported;
    return result;
}

void scenario_crash(int executions) {
    pid_t pid = fork();
    int status = -1;
    if (pid == 0) {
        player_t player = { .quiet = true, .dies_at = executions };
        if (open_engine(&player, NULL) == PL_OK && start_roots(&player))
            pl_engine_run(player.engine, PL_RUN_ALL, RUN_SECONDS, false);
        _exit(1);
    }
    EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "the process to crash ended with %d", status);
}

/* ---- looking at the file --------------------------------------------------------------------------------------- */

/* Waits and filled slots, wherever they are. */
#define WAITS "(SELECT slot, stage, kind FROM pl_wait UNION ALL SELECT id, waiter, 0 FROM pl_stage WHERE waiter > 0)"
#define SLOTS "(SELECT id, filler FROM pl_slot UNION ALL SELECT id, id FROM pl_stage WHERE result IS NOT NULL)"

static const char *const rules[] = {
    "PRAGMA foreign_key_check",
    /* a stage that a task must move on has it, and a control task has such a stage */
    "SELECT id FROM pl_stage WHERE state IN (1, 3, 5) AND id NOT IN (SELECT id FROM pl_task WHERE kind < 3)",
    "SELECT id FROM pl_task WHERE kind < 3 AND id NOT IN (SELECT id FROM pl_stage WHERE state IN (1, 3, 5))",
    "SELECT id FROM pl_task WHERE kind = 3 AND stage NOT IN (SELECT id FROM pl_stage)",
    /* counters are what they count */
    "SELECT id FROM pl_stage AS s WHERE missing <> (SELECT count(*) FROM " WAITS " WHERE stage = s.id AND kind = 0)",
    "SELECT id FROM pl_stage AS s WHERE state = 2 AND open <> (SELECT count(*) FROM pl_wait WHERE stage = s.id AND "
    "kind = 1) + (SELECT count(*) FROM pl_stage AS c WHERE c.parent = s.id AND c.state NOT IN (3, 4, 6))",
    "SELECT slot FROM " WAITS " WHERE slot IN (SELECT id FROM " SLOTS ")",
    "SELECT slot FROM " WAITS " WHERE stage NOT IN (SELECT id FROM pl_stage)",
    /* claims have owners, names have tasks */
    "SELECT id FROM pl_task WHERE state = 2 AND owner NOT IN (SELECT id FROM pl_worker)",
    "SELECT name FROM pl_task_name WHERE expires IS NULL AND name NOT IN (SELECT name FROM pl_task WHERE name NOTNULL)",
    "SELECT name FROM pl_task WHERE name NOTNULL AND name NOT IN (SELECT name FROM pl_task_name WHERE expires IS NULL)",
    /* all of an outcome or nothing of it */
    "SELECT count(*) FROM pl_stage HAVING count(*) NOT IN (0, 2, 7)",
    "SELECT count(*) FROM pl_stage HAVING count(*) < 7 AND EXISTS (SELECT 1 FROM pl_task_name)",
    "SELECT id FROM pl_stage WHERE class_path = 'root' AND (state = 1) <> "
    "((SELECT count(*) FROM pl_stage WHERE parent NOTNULL) = 0)",
    "SELECT id FROM " SLOTS
    " AS v WHERE NOT EXISTS (SELECT 1 FROM pl_stage WHERE id = v.filler AND (state IN (3, 4) OR "
    "class_path = 'ask'))",
    "SELECT id FROM pl_stage WHERE attempt > (class_path = 'bad' OR (class_path = 'leaf' AND args = CAST('2' AS "
    "BLOB)))",
    "SELECT stage FROM pl_failure AS f GROUP BY stage HAVING count(*) <> (SELECT attempt FROM pl_stage WHERE id = "
    "stage)",
};

static const char *const end_rules[] = {
    "SELECT 1 WHERE (SELECT count(*) FROM pl_stage) <> 7",
    "SELECT id FROM pl_stage WHERE state NOT IN (4, 6)",
    "SELECT id FROM pl_stage WHERE (state = 6) <> (class_path = 'bad')",
    "SELECT id FROM pl_task",
    "SELECT slot FROM " WAITS,
    "SELECT id FROM pl_worker",
    "SELECT id FROM pl_stage WHERE attempt <> (class_path = 'bad' OR (class_path = 'leaf' AND args = CAST('2' AS "
    "BLOB)))",
};

static const char *const empty_rules[] = {
    "SELECT id FROM pl_stage",
    "SELECT id FROM " SLOTS,
    "SELECT id FROM pl_failure",
    "SELECT id FROM pl_task",
};

static void check_rule(sqlite3 *db, const char *sql) {
    sqlite3_stmt *row = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &row, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(row);
    if (rc == SQLITE_ROW)
        complain(__LINE__, "the file breaks a rule: %s: %s", sql, (const char *)sqlite3_column_text(row, 0));
    else if (rc != SQLITE_DONE)
        complain(__LINE__, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(row);
}

static void check_integrity(sqlite3 *db) {
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &row, NULL) != SQLITE_OK ||
        sqlite3_step(row) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(row, 0), "ok") != 0)
        complain(__LINE__, "integrity_check: %s", row ? (const char *)sqlite3_column_text(row, 0) : sqlite3_errmsg(db));
    sqlite3_finalize(row);
}

static bool has_schema(sqlite3 *db) {
    sqlite3_stmt *row = NULL;
    bool found = sqlite3_prepare_v2(db, "SELECT count(*) FROM sqlite_schema", -1, &row, NULL) == SQLITE_OK &&
                 sqlite3_step(row) == SQLITE_ROW && sqlite3_column_int(row, 0) > 0;
    sqlite3_finalize(row);
    return found;
}

static void check_file(const char *const *list, size_t len, bool must_exist) {
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(test.path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
        EXPECT(!must_exist, "the file is gone");
    } else {
        check_integrity(db);
        bool has = has_schema(db);
        EXPECT(has || !must_exist, "the schema is gone");
        for (size_t i = 0; has && i < len; i++)
            check_rule(db, list[i]);
    }
    sqlite3_close(db);
}
#define CHECK_FILE(list, must_exist) check_file(list, sizeof(list) / sizeof *(list), must_exist)

/* ---- afterwards -------------------------------------------------------------------------------------------- */

static void clean_up(player_t *player, const char *key) {
    pl_op_t *root = get_root(player, key), *op = pl_op_new(PL_VERB_cleanup);
    if (root && op) {
        op->u.cleanup.root = root->u.stage_get.result->id;
        pl_engine_call(player->engine, op);
        report(player, op);
    }
    pl_op_free(root);
    pl_op_free(op);
}

/* A session without faults: what is missing is started, everything ends, and can be deleted. */
static void finish(const scenario_result_t *before) {
    player_t player = { .quiet = true };
    if (open_engine(&player, NULL) != PL_OK)
        return;
    if (before->started) {
        pl_op_t *root = get_root(&player, "root"), *bad = get_root(&player, "bad");
        EXPECT(root && bad, "a root was lost that had been started");
        pl_op_free(root);
        pl_op_free(bad);
    }
    EXPECT(!before->finished || is_finished(&player), "a result was lost that had been read");
    start_roots(&player);
    int rc = pl_engine_run(player.engine, PL_RUN_ALL, RUN_SECONDS, false);
    EXPECT(rc == PL_OK, "running without faults: %s", pl_result_name(rc));
    EXPECT(is_finished(&player), "not finished without faults");
    pl_engine_close(player.engine);
    CHECK_FILE(rules, true);
    CHECK_FILE(end_rules, true);
    player.engine = NULL;
    if (open_engine(&player, NULL) != PL_OK)
        return;
    clean_up(&player, "root");
    clean_up(&player, "bad");
    pl_engine_close(player.engine);
    CHECK_FILE(empty_rules, true);
}

void scenario_check(const scenario_result_t *result, bool was_hit) {
    EXPECT(result->finished || result->reported > 0, "not finished, and nothing was reported");
    EXPECT(was_hit || result->finished, "not finished although nothing failed");
    CHECK_FILE(rules, result->opened);
    finish(result);
}

/* ---- the test as a whole ------------------------------------------------------------------------------------ */

static void out_of_time(int number) {
    (void)number;
    char text[128];
    int len = snprintf(text, sizeof text, "%s %ld: hangs\n", test.what, test.nth);
    if (write(STDERR_FILENO, text, (size_t)len) < 0 || !getenv("FAULTS_STAY"))
        _exit(1);
    pause();
}

void scenario_step(const char *what, long nth) {
    test.what = what;
    test.nth = nth;
    signal(SIGALRM, out_of_time);
    alarm(STEP_SECONDS_MAX);
    if (getenv("FAULTS_VERBOSE"))
        fprintf(stderr, "%s %ld\n", what, nth);
}

const char *scenario_path(void) {
    if (!test.directory[0]) {
        strcpy(test.directory, "/dev/shm/pipeline-faults-XXXXXX");
        if (!mkdtemp(test.directory)) {
            strcpy(test.directory, "/tmp/pipeline-faults-XXXXXX");
            if (!mkdtemp(test.directory))
                abort();
        }
        snprintf(test.path, sizeof test.path, "%s/t.db", test.directory);
    }
    file_remove(test.path);
    return test.path;
}

int scenario_end(void) {
    if (test.path[0]) {
        file_remove(test.path);
        rmdir(test.directory);
    }
    return test.failures ? 1 : 0;
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

long scenario_loop(bool (*step)(long nth, void *data), void *data, long count, long all, long sample) {
    const char *how = getenv("FAULTS"), *given = getenv("FAULTS_SEED"), *only = getenv("FAULTS_ONLY");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    bool is_full = (how && strcmp(how, "full") == 0) || count <= all + sample;
    long nth = 1, steps = 0;
    if (only)
        return step(strtol(only, NULL, 10), data);
    while ((is_full || nth <= all) && test.failures < 20 && step(nth, data)) {
        nth++;
        steps++;
    }
    if (is_full || nth <= all)
        return steps;
    printf("(random sample of %ld among %ld, FAULTS_SEED=%llu) ", sample, count, (unsigned long long)seed);
    for (uint64_t state = seed * 2 + 1; sample > 0 && test.failures < 20; sample--, steps++)
        step(all + 1 + (long)(next_random(&state) % (uint64_t)(count - all)), data);
    while (step(count, data) && test.failures < 20) { /* to the clean pass */
        count += 1 + count / 50;
        steps++;
    }
    return steps;
}
