/*
 * turns.h - a driver of a store without its threads: ops in transactions of the test's own, and the claims that come
 * with them.
 *
 * Where something is made to fail, a turn or a read that has failed is done again, up to `tries_max` times: it has
 * changed nothing, so whatever failed, what is there at the end is the same.
 */
#ifndef PL_SPEC_TURNS_H
#define PL_SPEC_TURNS_H

#include <stdlib.h>
#include <string.h>

#include "store/driver.h"
#include "support/check.h"
#include "support/failing.h"

static pl_store_driver_t driver;
static pl__conn_t *conn;
static pl_clock_t clock_;
static pl_ids_t ids;
static pl_claim_t *claims; /* all there are, newest first */
static int tries_max = 1;
static void (*arm)(long nth); /* NULL: nothing. Before each try of a turn or read: the nth of something is to fail, */
static void (*disarm)(void);  /* and after it: nothing fails any more */
static void (*on_failure)(const pl_op_t *ops); /* of a turn with those; NULL: of another one, or of a read */

static inline pl_id_t new_id(void) {
    return pl_ids_next(&ids, &clock_);
}

/* ---- claims ------------------------------------------------------------------------------------------------ */

static inline void drop_claims(void) {
    for (pl_claim_t *next; claims; claims = next) {
        next = claims->next;
        pl_claim_free(claims);
    }
}

static inline const pl_claim_t *claim_of(pl_id_t task) {
    for (const pl_claim_t *claim = claims; claim; claim = claim->next)
        if (claim->task == task)
            return claim;
    return NULL;
}

/* The number of that claim; 0: there is none. */
static inline int fence_of(pl_id_t task) {
    const pl_claim_t *of = claim_of(task);
    return of ? of->fence : 0;
}

/* ---- tries ------------------------------------------------------------------------------------------------- */

static inline void begin_try(int i) {
    if (arm)
        arm(i + 1);
}

static inline void end_try(void) {
    if (arm)
        disarm();
}

/* What is looked at now does not fail. */
static inline void try_failed(const pl_op_t *ops) {
    void (*armed)(long nth) = arm;
    arm = NULL;
    if (on_failure)
        on_failure(ops);
    arm = armed;
}

/* ---- transactions and reads -------------------------------------------------------------------------------- */

/* Ops are made by the host: that may be where memory fails. */
static inline pl_op_t *new_op(pl_verb_t verb) {
    pl_op_t *op = NULL;
    for (int i = 0; i < tries_max && !op; i++)
        op = pl_op_new(verb);
    return op ? op : (abort(), op);
}

/* Those of a list, in one transaction; they stay the caller's. `wanted`: claims. Returns how many came. */
static inline int turn_of(pl_op_t **ops, int len, int wanted) {
    pl__commit_result_t turn = PL__COMMIT_RESULT_NONE;
    int rc = PL_EOTHER;
    for (int i = 0; i < len; i++)
        ops[i]->next = i + 1 < len ? ops[i + 1] : NULL;
    for (int i = 0; i < tries_max && rc != PL_OK; i++) {
        pl__arena_t arena = { 0 };
        pl_error_t error = { 0 };
        turn = PL__COMMIT_RESULT_NONE;
        begin_try(i);
        rc = driver.turn(conn, len ? ops[0] : NULL, &(pl__ask_t){ .wanted = wanted, .look = i > 0 }, &arena, &turn,
                         &error);
        end_try();
        pl__arena_free(&arena);
        if (rc == PL_OK)
            break;
        CHECK(!turn.claims && error.message[0]);
        try_failed(len ? ops[0] : NULL);
        if (i + 1 == tries_max)
            printf("%s\n", error.message);
    }
    CHECK(rc == PL_OK);
    pl_claim_t **tail = &turn.claims;
    while (*tail)
        tail = &(*tail)->next;
    *tail = claims;
    claims = turn.claims;
    return turn.claims_len;
}

/* Takes op. Returns its rc. What is done in portions is done to its end. */
static inline int apply(pl_op_t *op) {
    (void)turn_of(&op, 1, 100);
    while (op->more && op->rc == PL_OK) {
        op->more = false;
        op->portions++;
        (void)turn_of(&op, 1, 100);
    }
    int rc = op->rc;
    pl_op_free(op);
    return rc;
}

static inline int look(void) {
    return turn_of(NULL, 0, 100);
}

/* Gives op back. */
static inline pl_op_t *see(pl_op_t *op) {
    for (int i = 0; i < tries_max; i++) {
        op->next = NULL;
        op->rc = PL_OK;
        begin_try(i);
        driver.read(conn, op);
        end_try();
        if (op->rc == PL_OK || op->rc == PL_ENOTFOUND)
            break;
        try_failed(NULL);
    }
    return op;
}

/* Every rule of the file holds. */
static inline void check_rules(void) {
    pl_op_t *op = new_op(PL_VERB_check);
    do {
        op->u.check.part = op->u.check.next;
        CHECK(see(op)->rc == PL_OK && op->u.check.len == 0);
        for (size_t i = 0; i < op->u.check.len; i++)
            printf("%.*s\n", (int)op->u.check.found[i].len, op->u.check.found[i].ptr);
    } while (op->rc == PL_OK && op->u.check.next);
    pl_op_free(op);
}

/* ---- stages ------------------------------------------------------------------------------------------------ */

static inline pl_stage_new_t stage_as(pl_id_t id, const char *class_path, unsigned flags) {
    return (pl_stage_new_t){ .id = id,
                             .class_path = pl_str(class_path),
                             .args = PL_STR_LIT("\x80"),
                             .max_attempts = 1,
                             .backoff_seconds = 15,
                             .backoff_factor = 2,
                             .flags = flags,
                             .seed = PL_STR_LIT("0123456789abcdef") };
}

static inline pl_stage_new_t stage_of(const char *class_path, unsigned flags) {
    return stage_as(new_id(), class_path, flags);
}

static inline int start(pl_stage_new_t first) {
    pl_op_t *op = new_op(PL_VERB_start);
    op->u.start = (pl_op_start_t){ &first, 1 };
    return apply(op);
}

/* The caller's. */
static inline pl_op_t *see_stage(pl_id_t id) {
    pl_op_t *op = new_op(PL_VERB_stage_get);
    op->u.stage_get.stage = id;
    return see(op);
}

/* Below 0: there is none. */
static inline int state_of(pl_id_t id) {
    pl_op_t *op = see_stage(id);
    int state = op->rc == PL_OK && op->u.stage_get.result ? (int)op->u.stage_get.result->state : -1;
    pl_op_free(op);
    return state;
}

static inline pl_op_t *outcome(pl_id_t stage, pl_outcome_kind_t kind) {
    const pl_claim_t *of = claim_of(stage);
    pl_op_t *op = new_op(PL_VERB_outcome);
    op->u.outcome = (pl_op_outcome_t){ .stage = stage,
                                       .claim = of ? of->fence : 0,
                                       .kind = kind,
                                       .flags = of && of->stage ? of->stage->flags : 0,
                                       .retry_message = PL_STR_LIT("why"),
                                       .abort_message = PL_STR_LIT("it failed"),
                                       .failure = { .error_class = PL_STR_LIT("E"), .message = PL_STR_LIT("m") } };
    return op;
}

static inline const pl_fill_t *fill_of(pl_id_t slot) {
    static pl_fill_t fill;
    fill = (pl_fill_t){ slot, PL_STR_LIT("\x07") };
    return &fill;
}

static inline pl_op_t *finish_op(pl_id_t stage) {
    pl_op_t *op = outcome(stage, PL_OUTCOME_OK);
    op->u.outcome.fills = fill_of(stage);
    op->u.outcome.fills_len = 1;
    return op;
}

static inline int abort_by(pl_id_t stage, bool force) {
    pl_op_t *op = new_op(PL_VERB_abort);
    op->u.abort = (pl_op_abort_t){ .stage = stage, .message = PL_STR_LIT("enough"), .force = force };
    return apply(op);
}

static inline int resume(pl_id_t stage) {
    pl_op_t *op = new_op(PL_VERB_resume);
    op->u.resume.stage = stage;
    return apply(op);
}

static inline int clean_up(pl_id_t stage) {
    pl_op_t *op = new_op(PL_VERB_cleanup);
    op->u.cleanup.root = stage;
    return apply(op);
}

/* ---- stores ------------------------------------------------------------------------------------------------ */

/* A worker joins. */
static inline void open_driver(const pl_store_driver_t *of, const char *path, const char *vfs) {
    pl_error_t error = { 0 };
    pl_store_options_t options = { .path = path,
                                   .vfs = vfs,
                                   .durability_full = true,
                                   .clock = &clock_,
                                   .lease_seconds = 15,
                                   .tombstone_seconds = 3600 };
    driver = *of;
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    CHECK(driver.open(&conn, &options, PL__ROLE_WRITER, NULL, &error) == PL_OK);
    pl_op_t *op = new_op(PL_VERB_join);
    op->u.join = (pl_op_join_t){ .host = PL_STR_LIT("here"), .pid = 1, .version = PL_STR_LIT("1") };
    (void)turn_of(&op, 1, 0);
    pl_ids_init(&ids, op->u.join.number, op->u.join.floor, 0);
    pl_op_free(op);
}

static inline void close_driver(void) {
    drop_claims();
    driver.close(conn);
}

#endif
