/*
 * session_alloc_test.c - the Nth allocation fails while a session of the store is at work, for every N: first those of
 * the store, then those of SQLite.
 *
 * Of a session whose commit was acknowledged, everything must be there, its row, its task and its stage; else nothing.
 * And the store must be free for the next one.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "store/store.h"
#include "support/check.h"

static pl_store_t *store;
static pl_clock_t clock_;
static pl_session_t last_session;
static pl_id_t last_id = 1000;

static void wake_cb(void *data) {
    (void)data;
}

/* ---- SQLite's memory --------------------------------------------------------------------------------------- */

static sqlite3_mem_methods memory;
static _Atomic long countdown;
static _Atomic bool is_hit;

static bool must_fail(void) {
    if (countdown <= 0 || --countdown > 0)
        return false;
    return is_hit = true;
}

static void *failing_malloc(int size) {
    return must_fail() ? NULL : memory.xMalloc(size);
}

static void *failing_realloc(void *old, int size) {
    return must_fail() ? NULL : memory.xRealloc(old, size);
}

static void replace_malloc(void) {
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    sqlite3_mem_methods methods = memory;
    methods.xMalloc = failing_malloc;
    methods.xRealloc = failing_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

/* ---- a session --------------------------------------------------------------------------------------------- */

/* Calls op (NULL: it could not be made), whose session is the last one, and frees it. */
static int call(pl_op_t *op) {
    if (!op)
        return PL_ENOMEM;
    op->session = last_session;
    int rc = pl_store_call(store, op);
    pl_op_free(op);
    return rc;
}

static int begin(void) {
    pl_op_t *op = pl_op_new(PL_VERB_tx_begin);
    last_session++;
    if (op)
        op->u.tx_begin.seconds = 60;
    return call(op);
}

static int end(bool commit) {
    pl_op_t *op;
    while (!(op = pl_op_new(PL_VERB_tx_end)))
        ; /* who has no memory for it now will have it later */
    op->u.tx_end.commit = commit;
    return call(op);
}

static int sql(const char *text, bool query, const pl_value_t *value, int64_t *result) {
    pl_op_t *op = pl_op_new(PL_VERB_sql);
    if (!op)
        return PL_ENOMEM;
    op->session = last_session;
    op->u.sql = (pl_op_sql_t){ .text = pl_str(text), .query = query, .values = value, .values_len = value != NULL };
    int rc = pl_store_call(store, op);
    if (rc == PL_OK && query) {
        CHECK(op->u.sql.rows_len == 1 && op->u.sql.columns_len == 1);
        *result = op->u.sql.rows->values[0].integer;
    }
    pl_op_free(op);
    return rc;
}

static int add_task(void) {
    static pl_task_new_t task;
    static char payload[3000];
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    task = (pl_task_new_t){ .id = ++last_id, .kind = PL_TASK_DEFERRED, .payload = { payload, sizeof payload } };
    task.retry = PL_RETRY_NONE;
    task.name = PL_STR_LIT("n");
    if (op)
        op->u.task_add = (pl_op_task_add_t){ &task, 1, true };
    return call(op);
}

static int start(void) {
    static pl_stage_new_t stage;
    pl_op_t *op = pl_op_new(PL_VERB_start);
    stage = (pl_stage_new_t){
        .id = ++last_id, .class_path = PL_STR_LIT("t.T"), .args = PL_STR_LIT("\x80"), .max_attempts = 1
    };
    if (op)
        op->u.start = (pl_op_start_t){ &stage, 1 };
    return call(op);
}

/* Everything of one session. Returns whether its commit was acknowledged. */
static bool work(void) {
    pl_value_t value = { .kind = PL_VALUE_TEXT, .bytes = PL_STR_LIT("value") };
    int64_t count = 0;
    int rc = begin();
    if (rc != PL_OK) {
        (void)end(false);
        return false;
    }
    rc = sql("INSERT INTO row VALUES (?)", false, &value, NULL);
    if (rc == PL_OK)
        rc = sql("CREATE TABLE made (x)", false, NULL, NULL);
    if (rc == PL_OK)
        rc = add_task();
    if (rc == PL_OK)
        rc = start();
    if (rc == PL_OK)
        rc = sql("SELECT count(*) FROM row", true, NULL, &count);
    CHECK(rc != PL_OK || count == 1);
    int ended = end(rc == PL_OK);
    CHECK(rc == PL_OK || ended == PL_OK || ended == PL_EOVER);
    return rc == PL_OK && ended == PL_OK;
}

static void check(bool committed) {
    static const char *const COUNTS[] = { "SELECT count(*) FROM row",
                                          "SELECT count(*) FROM pl_task_name",
                                          "SELECT count(*) FROM pl_task WHERE kind = 6",
                                          "SELECT count(*) FROM pl_stage",
                                          "SELECT count(*) FROM pl_task_large",
                                          "SELECT count(*) FROM sqlite_schema WHERE name = 'made'" };
    CHECK(begin() == PL_OK);
    for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
        int64_t count = -1;
        CHECK(sql(COUNTS[i], true, NULL, &count) == PL_OK);
        CHECK(count == committed);
    }
    CHECK(sql("INSERT INTO row VALUES (1)", false, NULL, NULL) == PL_OK);
    CHECK(end(true) == PL_OK);
}

/* ---- every allocation -------------------------------------------------------------------------------------- */

static bool play(long nth, bool of_sqlite) {
    pl_error_t error = { 0 };
    pl_store_options_t options = {
        .path = ":memory:", .clock = &clock_, .wake = wake_cb, .lease_seconds = 15, .tombstone_seconds = 3600
    };
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    if (pl_store_open(&store, &options, &error) != PL_OK) {
        CHECK(!"open");
        return false;
    }
    CHECK(begin() == PL_OK && sql("CREATE TABLE row (v)", false, NULL, NULL) == PL_OK && end(true) == PL_OK);
    is_hit = false;
    if (of_sqlite)
        countdown = nth;
    else
        pl__alloc_fail_at(nth);
    bool committed = work();
    bool was_hit = of_sqlite ? is_hit : pl__alloc_failed();
    countdown = 0;
    pl__alloc_fail_at(0);
    check(committed);
    CHECK(committed || was_hit);
    pl_store_close(store);
    return was_hit;
}

int main(void) {
    replace_malloc();
    for (int of_sqlite = 0; of_sqlite < 2; of_sqlite++) {
        long nth = 1;
#ifndef PL_FAULTS
        if (!of_sqlite)
            continue; /* not a build that can make allocations of the store fail */
#endif
        while (check_failed < 10 && play(nth, of_sqlite)) {
            if (check_failed)
                printf("at allocation %ld\n", nth);
            nth++;
        }
        CHECK(nth > 5);
        printf("%ld allocations failed\n", nth - 1);
    }
    return check_end();
}
