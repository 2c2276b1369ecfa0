/*
 * schedule.c - schedules that are set, fire, are buffered, released, changed and deleted, to be played with something
 * failing in it. Each verb is asked again until it is done; one that failed has done nothing, or, if only the answer
 * was lost, all. So whatever fails, after each failure the file keeps its rules, and at the end it is what it is
 * when nothing fails: each time has fired once. Included by the tests that use it, for each is one file.
 *
 *   roots   buffer_all, one place   1 starts, 2 is buffered, 3 takes its place; ends; 3 starts and ends
 *   calls   buffer_one              1 starts, 2 is buffered, 3 is skipped; ends; 2 starts and ends
 *   ends    terminate_other         1 starts, 2 and 3 each make the one before final and start
 *   aborts  cancel_other            1 starts, 2 aborts it and starts, 3 likewise
 *   gone    buffer_all              1 starts, the others are buffered; it is deleted by its source
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/driver.h"
#include "store/store.h"
#include "support/check.h"
#include "support/file.h"

enum { SCHEDULES = 5, TIMES = 3, TRIES_MAX = 20, FACTS_MAX = 4096 };
#define START INT64_C(1700000000)

static const struct {
    const char *name;
    bool is_task;
    pl_overlap_t overlap;
} PLAN[SCHEDULES] = { { "roots", false, PL_OVERLAP_BUFFER_ALL },
                      { "calls", true, PL_OVERLAP_BUFFER_ONE },
                      { "ends", false, PL_OVERLAP_TERMINATE_OTHER },
                      { "aborts", false, PL_OVERLAP_CANCEL_OTHER },
                      { "gone", false, PL_OVERLAP_BUFFER_ALL } };

static pl_store_t *store;
static pl_clock_t clock_;
static pl_ids_t ids;
static char path[80];
static pl_id_t schedule_ids[SCHEDULES];
static int64_t revisions[SCHEDULES];
static void (*on_failure)(void); /* may end the fault; NULL: it ends by itself */

static void wake_cb(void *data) {
    (void)data;
}

/* ---- what the file must keep --------------------------------------------------------------------------------- */

static const char *const RULES[] = {
    "PRAGMA foreign_key_check",
    "SELECT nominal FROM pl_fire GROUP BY schedule, nominal HAVING count(*) > 1",
    "SELECT id FROM pl_fire WHERE state < 2 AND is_stage = 1 AND target NOT IN (SELECT id FROM pl_stage WHERE state "
    "NOT "
    "IN (4, 6))",
    "SELECT id FROM pl_fire WHERE state < 2 AND is_stage = 0 AND target NOT IN (SELECT id FROM pl_task)",
    "SELECT id FROM pl_stage WHERE (state = 1 AND id NOT IN (SELECT id FROM pl_task WHERE kind < 3)) <> (id IN (SELECT "
    "target FROM pl_fire WHERE state = 0))",
    "SELECT id FROM pl_fire AS b WHERE state = 0 AND NOT EXISTS (SELECT 1 FROM pl_fire WHERE schedule = b.schedule AND "
    "state = 1)",
    "SELECT schedule FROM pl_fire WHERE state = 1 GROUP BY schedule HAVING count(*) > 1",
    "SELECT name FROM pl_schedule AS s WHERE fired <> (SELECT count(*) FROM pl_fire WHERE schedule = s.id AND (state < "
    "4 "
    "OR state = 5 AND unwanted = 1))",
    "SELECT name FROM pl_schedule AS s WHERE dropped <> (SELECT count(*) FROM pl_fire WHERE schedule = s.id AND state "
    "= "
    "5 AND unwanted = 0)",
    "SELECT name FROM pl_schedule AS s WHERE skipped <> (SELECT count(*) FROM pl_fire WHERE schedule = s.id AND state "
    "= "
    "4)",
    "SELECT id FROM pl_fire WHERE is_stage = 1 AND state < 4 AND target NOT IN (SELECT root FROM pl_told)",
    "SELECT root FROM pl_told WHERE root NOT IN (SELECT id FROM pl_stage)",
};

/* Of the schedules, their fires, and all work. */
static const char FACTS[] =
    "SELECT group_concat(x, ';') FROM (SELECT name || ',' || revision || ',' || coalesce(next_nominal, 0) || ',' || "
    "coalesce(last_nominal, 0) || ',' || fired || ',' || skipped || ',' || dropped || ',' || failures || ',' || paused "
    "AS x FROM pl_schedule UNION ALL SELECT name || ',' || nominal || ',' || state || ',' || unwanted FROM pl_fire "
    "JOIN "
    "pl_schedule ON pl_schedule.id = schedule UNION ALL SELECT 'told,' || name || ',' || nominal FROM pl_told UNION "
    "ALL "
    "SELECT 'stage,' || state || ',' || count(*) FROM pl_stage GROUP BY state UNION ALL SELECT 'task,' || state || ',' "
    "|| count(*) FROM pl_task GROUP BY state UNION ALL SELECT name || ',' || version FROM pl_schedule_source ORDER BY "
    "x)";

static sqlite3 *open_file(void) {
    sqlite3 *db = NULL;
    CHECK(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    return db;
}

/* The first text of a statement; "": it has no rows. */
static void ask(sqlite3 *db, const char *sql, char text[FACTS_MAX]) {
    sqlite3_stmt *row = NULL;
    text[0] = '\0';
    CHECK(sqlite3_prepare_v2(db, sql, -1, &row, NULL) == SQLITE_OK);
    int rc = sqlite3_step(row);
    CHECK(rc == SQLITE_ROW || rc == SQLITE_DONE);
    if (rc == SQLITE_ROW)
        snprintf(text, FACTS_MAX, "%s", (const char *)sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
}

static void check_rules(void) {
    char text[FACTS_MAX];
    sqlite3 *db = open_file();
    for (size_t i = 0; i < sizeof RULES / sizeof *RULES; i++) {
        ask(db, RULES[i], text);
        CHECK(!text[0]);
        if (text[0])
            printf("broken: %s: %s\n", RULES[i], text);
    }
    sqlite3_close(db);
}

/* ---- verbs, until they are done ---------------------------------------------------------------------------------- */

/* Whether it is done: an earlier try that seemed to fail may have been. */
static bool is_done(int rc, int tries) {
    if (rc == PL_OK)
        return true;
    if (rc == PL_ESTALE || rc == PL_EEXISTS || rc == PL_ENOTFOUND || rc == PL_EFINAL) {
        CHECK(tries > 0);
        return true;
    }
    if (on_failure)
        on_failure();
    check_rules();
    return false;
}

/* Calls op (NULL: it could not be made) and frees it. */
static int call(pl_op_t *op) {
    if (!op)
        return PL_ENOMEM;
    int rc = pl_store_call(store, op);
    pl_op_free(op);
    return rc;
}

#define UNTIL_DONE(statement)                                                                                          \
    do {                                                                                                               \
        int tries_ = 0;                                                                                                \
        while (!is_done(statement, tries_) && tries_ < TRIES_MAX)                                                      \
            tries_++;                                                                                                  \
        CHECK(tries_ < TRIES_MAX);                                                                                     \
    } while (0)

static pl_usec_t time_of(int n) {
    return (START + n) * PL_USEC_PER_SEC;
}

static int join(void) {
    pl_op_t *op = pl_op_new(PL_VERB_join);
    if (!op)
        return PL_ENOMEM;
    op->u.join = (pl_op_join_t){ .host = PL_STR_LIT("test"), .pid = getpid() };
    int rc = pl_store_call(store, op);
    if (rc == PL_OK)
        pl_ids_init(&ids, op->u.join.number, op->u.join.floor, 0);
    pl_op_free(op);
    return rc;
}

/* All of them, declared by a source in one op; or, the second time, all but the last, which is removed. */
static int declare(int64_t version, size_t len, bool paused) {
    static pl_schedule_t rows[SCHEDULES];
    static const pl_str_t removed = PL_STR_LIT("gone");
    pl_op_t *op = pl_op_new(PL_VERB_schedule_set);
    for (size_t i = 0; i < len; i++)
        rows[i] = (pl_schedule_t){ .id = schedule_ids[i],
                                   .name = pl_str(PLAN[i].name),
                                   .source = PL_STR_LIT("test"),
                                   .times = PL_STR_LIT("t"),
                                   .work = PL_STR_LIT("w"),
                                   .revision = revisions[i],
                                   .next_nominal = time_of(version == 1 ? 1 : TIMES + 1),
                                   .next_at = time_of(version == 1 ? 1 : TIMES + 1),
                                   .last_nominal = version == 1 ? 0 : time_of(TIMES),
                                   .paused = paused };
    if (op)
        op->u.schedule_set = (pl_op_schedule_set_t){ .schedules = rows,
                                                     .len = len,
                                                     .removed = &removed,
                                                     .removed_len = len < SCHEDULES,
                                                     .source = PL_STR_LIT("test"),
                                                     .version = version,
                                                     .version_before = version == 1 ? -1 : version - 1 };
    return call(op);
}

static void set(int64_t version, size_t len, bool paused) {
    UNTIL_DONE(declare(version, len, paused));
    for (size_t i = 0; i < len; i++)
        revisions[i]++;
}

/* The nth time of a schedule. Its work has ids of its own each time it is tried. */
static int fire_once(int which, int n) {
    static pl_fire_new_t fire;
    static pl_stage_new_t stage;
    static pl_task_new_t task;
    pl_op_t *op = pl_op_new(PL_VERB_schedule_fire);
    char key[32];
    snprintf(key, sizeof key, "%s/%d", PLAN[which].name, n);
    fire = (pl_fire_new_t){ .id = pl_ids_next(&ids, &clock_),
                            .nominal = time_of(n),
                            .at = time_of(n),
                            .previous = n > 1 ? time_of(n - 1) : 0,
                            .overlap = PLAN[which].overlap,
                            .local_time = PL_STR_LIT("then") };
    stage = (pl_stage_new_t){ .id = pl_ids_next(&ids, &clock_),
                              .class_path = PL_STR_LIT("t.T"),
                              .args = PL_STR_LIT("\x80"),
                              .key = pl_str(key),
                              .max_attempts = 1 };
    task = (pl_task_new_t){ .id = stage.id, .kind = PL_TASK_DEFERRED, .payload = PL_STR_LIT("p") };
    task.retry = PL_RETRY_NONE;
    if (PLAN[which].is_task)
        fire.task = &task;
    else
        fire.stage = &stage;
    if (op)
        op->u.schedule_fire = (pl_op_schedule_fire_t){ .schedule = schedule_ids[which],
                                                       .revision = revisions[which],
                                                       .nominal = time_of(n),
                                                       .next_nominal = time_of(n + 1),
                                                       .next_at = time_of(n + 1),
                                                       .last_nominal = time_of(n),
                                                       .buffered_max = 1,
                                                       .fires = &fire,
                                                       .len = 1 };
    return call(op);
}

static int delete_one(const char *name) {
    pl_op_t *op = pl_op_new(PL_VERB_schedule_delete);
    if (op)
        op->u.schedule_delete = (pl_op_schedule_delete_t){ .name = pl_str(name), .abort = true };
    return call(op);
}

/* ---- the work ------------------------------------------------------------------------------------------------ */

static int end_claim(const pl_claim_t *claim) {
    pl_verb_t verb = claim->kind == PL_TASK_RUN  ? PL_VERB_outcome
                     : claim->kind < PL_TASK_RUN ? PL_VERB_finalized
                     : claim->stage              ? PL_VERB_finalized
                                                 : PL_VERB_task_done;
    pl_op_t *op = pl_op_new(verb);
    if (!op)
        return PL_ENOMEM;
    if (verb == PL_VERB_outcome) {
        static pl_fill_t fill;
        fill = (pl_fill_t){ claim->stage->id, PL_STR_LIT("1") };
        op->u.outcome =
            (pl_op_outcome_t){ .stage = claim->task, .claim = claim->fence, .fills = &fill, .fills_len = 1 };
    } else if (verb == PL_VERB_finalized) {
        op->u.finalized = (pl_op_finalized_t){ .stage = claim->task, .claim = claim->fence };
    } else {
        op->u.task_done = (pl_op_task_done_t){ .task = claim->task, .claim = claim->fence };
    }
    return call(op);
}

/* Fires that are not over; -1: the store cannot say. */
static int live_fires(void) {
    int live = 0;
    for (int i = 0; i < SCHEDULES && live >= 0; i++) {
        pl_op_t *op = pl_op_new(PL_VERB_schedule_get);
        if (op)
            op->u.schedule_get.name = pl_str(PLAN[i].name);
        bool good = op && pl_store_call(store, op) == PL_OK;
        if (good && op->u.schedule_get.len)
            live += op->u.schedule_get.schedules->running + op->u.schedule_get.schedules->buffered;
        else if (!good)
            live = -1;
        pl_op_free(op);
    }
    if (live < 0 && on_failure)
        on_failure();
    return live;
}

/* Takes what there is to be claimed and ends it, until no fire is live. */
static void work(void) {
    enum { LOOKS_MAX = 8000, LOOK_US = 250 };
    pl_batch_t batch;
    int looks = 0;
    pl_store_want(store, 10);
    pl_store_wake(store, true);
    while (live_fires() != 0 && looks < LOOKS_MAX) {
        bool any = false;
        for (; !any && looks < LOOKS_MAX && looks % 40 != 39; looks++) {
            if (!pl_store_collect(store, &batch)) {
                usleep(LOOK_US);
                continue;
            }
            for (const pl_claim_t *claim = batch.claims; claim; claim = claim->next, any = true)
                UNTIL_DONE(end_claim(claim));
            if (batch.failure.code && on_failure)
                on_failure();
            pl_batch_free(&batch);
        }
        looks++;
        pl_store_want(store, 10);
        pl_store_wake(store, true);
    }
    CHECK(looks < LOOKS_MAX);
    pl_store_want(store, 0);
}

/* ---- a life ---------------------------------------------------------------------------------------------------- */

static const pl_store_driver_t *schedules_driver; /* NULL: as the path says */

static void open_store(const char *vfs) {
    pl_error_t error = { 0 };
    pl_store_options_t options = {
        .path = path, .vfs = vfs, .clock = &clock_, .wake = wake_cb, .lease_seconds = 15, .tombstone_seconds = 3600
    };
    options.driver = schedules_driver;
    options.durability_full = true; /* or there are no syncs to fail */
    pl_clock_init_virtual(&clock_, time_of(0));
    if (pl_store_open(&store, &options, &error) == PL_OK)
        return;
    printf("cannot open %s: %s\n", path, error.message);
    exit(1);
}

static void make_empty(void) {
    open_store(NULL);
    pl_store_close(store);
}

/* On a fresh file, with nothing failing yet. */
static void schedules_open(const char *vfs) {
    const char *directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, sizeof path, "%s/pl_schedules.%ld.db", directory, (long)getpid());
    umask(077);
    file_write(path, make_empty);
    open_store(vfs);
    CHECK(join() == PL_OK);
    for (int i = 0; i < SCHEDULES; i++) {
        schedule_ids[i] = pl_ids_next(&ids, &clock_);
        revisions[i] = 0;
    }
}

/* What may fail. */
static void schedules_play(void) {
    set(1, SCHEDULES, false);
    for (int n = 1; n <= TIMES; n++) {
        pl_clock_advance_to(&clock_, time_of(n));
        for (int i = 0; i < SCHEDULES; i++) {
            UNTIL_DONE(fire_once(i, n));
            revisions[i]++;
        }
    }
    set(2, SCHEDULES - 1, true);
    set(3, SCHEDULES - 1, false); /* what is buffered and may start, starts */
    work();
    UNTIL_DONE(delete_one("ends"));
}

/* The file as it is left, when nothing fails any more. */
static void schedules_close(char facts[FACTS_MAX]) {
    pl_store_close(store);
    check_rules();
    sqlite3 *db = open_file();
    ask(db, FACTS, facts);
    sqlite3_close(db);
    file_remove(path);
}

/* The next one to fail: each one, or, behind the first forty, fewer and fewer; with FAULTS=full all of them. */
static inline long schedules_after(long nth) {
    const char *how = getenv("FAULTS");
    return nth < 40 || (how && strcmp(how, "full") == 0) ? nth + 1 : nth + 1 + nth / 16;
}

/* What is to be there at the end; says it, and that each time has fired once or is accounted for. */
static void schedules_expect(char facts[FACTS_MAX]) {
    schedules_open(NULL);
    schedules_play();
    schedules_close(facts);
    static const char *const PARTS[] = { /* fired, skipped, dropped, failures, paused; fires; work */
                                         "roots,6,1700000004000000,1700000003000000,2,0,1,0,0",
                                         "calls,6,1700000004000000,1700000003000000,2,1,0,0,0",
                                         "aborts,6,1700000004000000,1700000003000000,3,0,0,0,0",
                                         "roots,1700000002000000,5,0",
                                         "calls,1700000003000000,4,0",
                                         "aborts,1700000002000000,5,1",
                                         "stage,4,5;stage,6,4;test,3;told,aborts,1700000001000000",
                                         "told,roots,1700000003000000"
    };
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++)
        CHECK(strstr(facts, PARTS[i]));
    CHECK(!strstr(facts, "gone,4") && !strstr(facts, ";ends,"));
    if (check_failed)
        printf("%s\n", facts);
}
