/*
 * session.c - one session of the store, to be played with something failing in it: a row and a table of the user's, a
 * task with a name and a long payload, another one that nobody waits for, and a stage. Of it everything must be there,
 * or nothing, and the store must be free for the next one. Included by the tests that use it, for each is one file.
 */
#include <sqlite3.h>
#include <stdlib.h>
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

/* A task without a name, which nobody waits for. */
static int send_task(void) {
    static pl_task_new_t task;
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    if (!op)
        return PL_ENOMEM;
    task = (pl_task_new_t){ .id = ++last_id, .kind = PL_TASK_DEFERRED, .payload = PL_STR_LIT("p") };
    task.retry = PL_RETRY_NONE;
    op->session = last_session;
    op->u.task_add = (pl_op_task_add_t){ &task, 1, true };
    pl_store_send_ahead(store, op);
    return PL_OK;
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
static bool session_work(void) {
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
        rc = send_task();
    if (rc == PL_OK)
        rc = start();
    if (rc == PL_OK)
        rc = sql("SELECT count(*) FROM row", true, NULL, &count);
    CHECK(rc != PL_OK || count == 1);
    int ended = end(rc == PL_OK);
    CHECK(rc == PL_OK || ended == PL_OK || ended == PL_EOVER);
    return rc == PL_OK && ended == PL_OK;
}

/* What there is of it: 0 or 1 of each, or -1 if it is neither all nor nothing. */
static int session_count(void) {
    static const char *const COUNTS[] = { "SELECT count(*) FROM row WHERE v = 'value'",
                                          "SELECT count(*) FROM pl_task_name",
                                          "SELECT count(*) FROM pl_task WHERE kind = 6 AND name = 'n'",
                                          "SELECT count(*) FROM pl_task WHERE kind = 6 AND name IS NULL",
                                          "SELECT count(*) FROM pl_stage",
                                          "SELECT count(*) FROM pl_task_detail",
                                          "SELECT count(*) FROM sqlite_schema WHERE name = 'made'" };
    int64_t first = -1;
    CHECK(begin() == PL_OK);
    for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
        int64_t count = -1;
        CHECK(sql(COUNTS[i], true, NULL, &count) == PL_OK);
        if (i == 0)
            first = count;
        else if (count != first)
            first = -1;
    }
    CHECK(sql("INSERT INTO row VALUES (1)", false, NULL, NULL) == PL_OK);
    CHECK(end(true) == PL_OK);
    return (int)first;
}

/* With nothing failing. */
static void session_open(const char *path, const char *vfs) {
    pl_error_t error = { 0 };
    pl_store_options_t options = {
        .path = path, .vfs = vfs, .clock = &clock_, .wake = wake_cb, .lease_seconds = 15, .tombstone_seconds = 3600
    };
    options.durability_full = true; /* or there are no syncs to fail */
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    bool opened = pl_store_open(&store, &options, &error) == PL_OK;
    CHECK(opened);
    if (!opened)
        exit(check_end());
    CHECK(begin() == PL_OK && sql("CREATE TABLE IF NOT EXISTS row (v)", false, NULL, NULL) == PL_OK);
    CHECK(end(true) == PL_OK);
}
