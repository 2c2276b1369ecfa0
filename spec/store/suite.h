/*
 * suite.h - the conformance suite: what every store must do, through store.h alone. This is what its parts share.
 *
 * The suite takes a driver, and asks of it only what it says it can. It is run on SQLite, on the path of the
 * environment variable STORE (default: a file in a temporary directory, and ":memory:" after it), and on the driver
 * in memory/, which shares nothing with SQLite; and on SQLite once more, where each transaction fails at many places
 * before it is done (support/failing.h). Time is virtual. Claims come back with commits, as the engine would
 * take them.
 */
#ifndef PL_SPEC_STORE_SUITE_H
#define PL_SPEC_STORE_SUITE_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/memory/driver.h"
#include "store/store.h"
#include "support/check.h"
#include "support/failing.h"

static pl_store_t *store;
static pl_clock_t clock_;
static pl_ids_t ids;
static pl_id_t worker;
static int wakes;
static bool has_sql, fails_first; /* fails_first: each transaction fails before it is done */

static inline void wake_cb(void *data) {
    (void)data;
    __atomic_add_fetch(&wakes, 1, __ATOMIC_RELAXED);
}

/* ---- little language of the tests -------------------------------------------------------------------------- */

static inline pl_id_t new_id(void) {
    return pl_ids_next(&ids, &clock_);
}

static inline pl_op_t *call(pl_op_t *op) {
    pl_store_call(store, op);
    return op;
}

static inline int call_free(pl_op_t *op) {
    int rc = pl_store_call(store, op);
    pl_op_free(op);
    return rc;
}

static inline pl_stage_new_t stage_of(const char *class_path) {
    return (pl_stage_new_t){ .id = new_id(),
                             .class_path = pl_str(class_path),
                             .args = PL_STR_LIT("\x80"),
                             .max_attempts = 3,
                             .backoff_seconds = 15,
                             .backoff_factor = 2 };
}

static inline int start(pl_stage_new_t *stage) {
    pl_op_t *op = pl_op_new(PL_VERB_start);
    op->u.start = (pl_op_start_t){ stage, 1 };
    int rc = pl_store_call(store, op);
    pl_op_free(op);
    return rc == PL_OK ? stage->rc : rc;
}

/* Asks for up to n tasks; takes away the batch. The list comes back in order; the caller frees each. */
static inline pl_claim_t *claim(int n) {
    pl_batch_t batch;
    pl_claim_t *claims = NULL, **tail = &claims;
    pl_op_t *op = pl_op_new(PL_VERB_meta);
    pl_store_want(store, n);
    op->u.meta.key = PL_STR_LIT("nothing");
    call_free(op); /* a commit for the claims to ride with */
    pl_store_want(store, 0);
    op = pl_op_new(PL_VERB_meta); /* and one to be sure that no turn is under way */
    op->u.meta.key = PL_STR_LIT("nothing");
    call_free(op);
    while (pl_store_collect(store, &batch)) {
        *tail = batch.claims;
        while (*tail)
            tail = &(*tail)->next;
        batch.claims = NULL;
        pl_batch_free(&batch);
    }
    return claims;
}

static inline void free_claims(pl_claim_t *claims) {
    for (pl_claim_t *next; claims; claims = next) {
        next = claims->next;
        pl_claim_free(claims);
    }
}

static inline pl_claim_t *claim_one(pl_id_t task) {
    pl_claim_t *all = claim(1);
    CHECK(all && !all->next && all->task == task);
    return all;
}

static inline pl_op_t *outcome(const pl_claim_t *of, pl_outcome_kind_t kind) {
    pl_op_t *op = pl_op_new(PL_VERB_outcome);
    op->u.outcome = (pl_op_outcome_t){
        .stage = of->task, .claim = of->fence, .kind = kind, .flags = of->stage ? of->stage->flags : 0
    };
    return op;
}

static inline pl_stage_state_t state_of(pl_id_t id) {
    pl_op_t *op = pl_op_new(PL_VERB_stage_get);
    op->u.stage_get.stage = id;
    call(op);
    int state = op->u.stage_get.result ? (int)op->u.stage_get.result->state : -1;
    pl_op_free(op);
    return (pl_stage_state_t)state;
}

static inline int finish_with(const pl_claim_t *of, pl_id_t slot) {
    pl_fill_t fill = { slot, PL_STR_LIT("\x07") };
    pl_op_t *op = outcome(of, PL_OUTCOME_OK);
    op->u.outcome.fills = &fill;
    op->u.outcome.fills_len = 1;
    return call_free(op);
}

/* Whether a check finds nothing; what it finds is printed. */
static inline bool is_sound(void) {
    size_t found = 0;
    int part = 0;
    do {
        pl_op_t *op = pl_op_new(PL_VERB_check);
        op->u.check.part = part;
        CHECK(call(op)->rc == PL_OK);
        for (size_t i = 0; i < op->u.check.len; i++)
            printf("%.*s\n", (int)op->u.check.found[i].len, op->u.check.found[i].ptr);
        found += op->u.check.len;
        part = op->u.check.next;
        pl_op_free(op);
    } while (part);
    return found == 0;
}

static inline void advance(double seconds) {
    pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + pl_clock_from_seconds(seconds));
}

/* ---- sessions ---------------------------------------------------------------------------------------------- */

static pl_session_t session;

static inline pl_op_t *of_session(pl_verb_t verb) {
    pl_op_t *op = pl_op_new(verb);
    op->session = session;
    return op;
}

static inline int begin(double seconds) {
    session++;
    pl_op_t *op = of_session(PL_VERB_tx_begin);
    op->u.tx_begin.seconds = seconds;
    return call_free(op);
}

static inline int end(bool commit) {
    pl_op_t *op = of_session(PL_VERB_tx_end);
    op->u.tx_end.commit = commit;
    return call_free(op);
}

/* ---- stores ------------------------------------------------------------------------------------------------ */

static inline void join(void) {
    pl_op_t *op = pl_op_new(PL_VERB_join);
    op->u.join.host = PL_STR_LIT("test");
    op->u.join.pid = getpid();
    CHECK(call(op)->rc == PL_OK);
    worker = op->u.join.worker;
    pl_ids_init(&ids, op->u.join.number, op->u.join.floor, 0);
    pl_op_free(op);
}

static inline void try_on(const pl_store_driver_t *driver, const char *path, void (*all)(void)) {
    pl_error_t error = { 0 };
    pl_store_options_t options = { .path = path,
                                   .driver = driver,
                                   .durability_full = true,
                                   .clock = &clock_,
                                   .wake = wake_cb,
                                   .lease_seconds = 15,
                                   .tombstone_seconds = 3600 };
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    has_sql = (driver->can(&options) & PL__CAN_SQL) != 0;
    printf("store %s, %s\n", path, driver->name);
    if (pl_store_open(&store, &options, &error) != PL_OK) {
        printf("%s\n", error.message);
        CHECK(!"open");
        return;
    }
    join();
    all();
    CHECK(__atomic_load_n(&wakes, __ATOMIC_RELAXED) > 0 && worker > 0);
    pl_store_close(store);
}

static inline void remove_files(const char *path) {
    static const char *const leftovers[] = { "", "-wal", "-shm", "-workers" };
    for (size_t i = 0; i < sizeof leftovers / sizeof *leftovers; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, leftovers[i]);
        unlink(name);
    }
}

static inline int try_everywhere(void (*all)(void)) {
    char directory[] = "/tmp/pipeline-conformance-XXXXXX", path[sizeof directory + 32];
    if (getenv("STORE")) {
        try_on(&pl__sqlite_driver, getenv("STORE"), all);
        return check_end();
    }
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/store.db", directory);
    try_on(&pl__sqlite_driver, path, all);
    try_on(&pl__sqlite_driver, ":memory:", all);
    try_on(&pl__memory_driver, "model", all);
    pl_store_driver_t failing = failing_driver();
    remove_files(path);
    fails_first = true;
    try_on(&failing, path, all);
    fails_first = false;
    remove_files(path);
    rmdir(directory);
    return check_end();
}

#endif
