/*
 * live_test.c - what a store remembers of live stages is what its file says: after a transaction that was rolled back,
 * when another worker has written, and when there are more stages than are remembered.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"
#include "support/check.h"

enum { MANY = 20000 };

/* A worker: as of a process of its own. */
typedef struct {
    pl_store_t *store;
    pl_ids_t ids;
} worker_t;

static worker_t one, other;
static pl_clock_t clock_;

static void wake_cb(void *data) {
    (void)data;
}

static void open_worker(worker_t *worker, const char *path) {
    pl_error_t error = { 0 };
    pl_store_options_t options = {
        .path = path, .clock = &clock_, .wake = wake_cb, .lease_seconds = 1000, .tombstone_seconds = 100
    };
    CHECK(pl_store_open(&worker->store, &options, &error) == PL_OK);
    pl_op_t *op = pl_op_new(PL_VERB_join);
    op->u.join.host = PL_STR_LIT("host");
    CHECK(pl_store_call(worker->store, op) == PL_OK);
    pl_ids_init(&worker->ids, op->u.join.number, op->u.join.floor, 0);
    pl_op_free(op);
}

static pl_stage_new_t stage_of(worker_t *worker) {
    return (pl_stage_new_t){ .id = pl_ids_next(&worker->ids, &clock_),
                             .class_path = PL_STR_LIT("t.Stage"),
                             .args = PL_STR_LIT("\x80"),
                             .max_attempts = 3,
                             .backoff_seconds = 15,
                             .backoff_factor = 2 };
}

static int call_free(worker_t *worker, pl_op_t *op) {
    int rc = pl_store_call(worker->store, op);
    pl_op_free(op);
    return rc;
}

/* A commit, and all the claims that came with it, at the end of the list. */
static void turn(worker_t *worker, pl_claim_t **claims) {
    pl_batch_t batch;
    pl_op_t *op = pl_op_new(PL_VERB_meta);
    op->u.meta.key = PL_STR_LIT("nothing");
    (void)call_free(worker, op);
    while (*claims)
        claims = &(*claims)->next;
    while (pl_store_collect(worker->store, &batch)) {
        *claims = batch.claims;
        batch.claims = NULL;
        pl_batch_free(&batch);
        while (*claims)
            claims = &(*claims)->next;
    }
}

/* Up to n tasks, those that other workers have made ready included. */
static pl_claim_t *claim(worker_t *worker, int n) {
    pl_claim_t *claims = NULL;
    pl_store_want(worker->store, n);
    pl_store_wake(worker->store, true);
    turn(worker, &claims);
    pl_store_want(worker->store, 0);
    turn(worker, &claims);
    return claims;
}

static pl_op_t *outcome(pl_claim_t *claim, const pl_fill_t *fill) {
    pl_op_t *op = pl_op_new(PL_VERB_outcome);
    op->u.outcome = (pl_op_outcome_t){ .stage = claim->task,
                                       .claim = claim->fence,
                                       .parent = claim->stage->parent,
                                       .knows_parent = true,
                                       .kind = PL_OUTCOME_OK,
                                       .flags = claim->stage->flags,
                                       .fills = fill,
                                       .fills_len = fill ? 1 : 0 };
    return op;
}

static int finish(worker_t *worker, pl_claim_t *claim) {
    pl_fill_t fill = { claim->stage->outputs[0].slot, PL_STR_LIT("\x07") };
    return call_free(worker, outcome(claim, &fill));
}

static void free_claims(pl_claim_t *claims) {
    for (pl_claim_t *next; claims; claims = next) {
        next = claims->next;
        pl_claim_free(claims);
    }
}

static pl_op_t *look(pl_id_t stage) {
    pl_op_t *op = pl_op_new(PL_VERB_stage_get);
    op->u.stage_get.stage = stage;
    return op;
}

static bool is_in(worker_t *worker, pl_id_t stage, pl_stage_state_t state) {
    pl_op_t *op = look(stage);
    CHECK(pl_store_call(worker->store, op) == PL_OK && op->u.stage_get.result);
    bool is = op->u.stage_get.result && op->u.stage_get.result->state == state;
    pl_op_free(op);
    return is;
}

/* A root with two children and one that waits for both and fills the root's slot: ids are root, two, and that. */
static pl_claim_t *fan_out(worker_t *worker, pl_id_t *ids) {
    pl_stage_new_t root = stage_of(worker), children[3] = { stage_of(worker), stage_of(worker), stage_of(worker) };
    pl_output_t output = { PL_STR_LIT("default"), root.id };
    ids[0] = root.id;
    for (int i = 0; i < 3; i++)
        ids[i + 1] = children[i].id;
    children[2].inputs = ids + 1;
    children[2].inputs_len = 2;
    children[2].outputs = &output;
    children[2].outputs_len = 1;
    pl_op_t *op = pl_op_new(PL_VERB_start);
    op->u.start = (pl_op_start_t){ &root, 1 };
    CHECK(call_free(worker, op) == PL_OK);
    pl_claim_t *mine = claim(worker, 1);
    CHECK(mine && mine->task == root.id);
    op = outcome(mine, NULL);
    op->u.outcome.children = children;
    op->u.outcome.children_len = 3;
    CHECK(call_free(worker, op) == PL_OK);
    free_claims(mine);
    return claim(worker, 2);
}

static void finish_last(worker_t *worker, const pl_id_t *ids) {
    CHECK(is_in(worker, ids[3], PL_STAGE_READY));
    pl_claim_t *last = claim(worker, 5);
    CHECK(last && last->task == ids[3] && last->slots_len == 2 && last->slots[0].filled && last->slots[1].filled);
    CHECK(finish(worker, last) == PL_OK);
    CHECK(is_in(worker, ids[0], PL_STAGE_DONE));
    free_claims(last);
}

/* The op in the middle makes the transaction write its counters; the last breaks it; then each comes alone. */
static void what_a_broken_transaction_did_is_forgotten(void) {
    pl_id_t ids[4];
    pl_claim_t *both = fan_out(&one, ids), *none = NULL;
    CHECK(both && both->next && both->task == ids[1]);
    pl_fill_t fill = { both->task, PL_STR_LIT("\x07") };
    pl_stage_new_t twice = stage_of(&one);
    twice.id = ids[0];
    pl_op_t *op = outcome(both, &fill), *middle = pl_op_new(PL_VERB_fill), *bad = pl_op_new(PL_VERB_start);
    middle->u.fill.stage = 7; /* there is none, but first the counters are written */
    bad->u.start = (pl_op_start_t){ &twice, 1 };
    op->next = middle;
    middle->next = bad;
    pl_store_submit_list(one.store, op, 0);
    turn(&one, &none);
    CHECK(!none && is_in(&one, ids[1], PL_STAGE_DONE) && is_in(&one, ids[3], PL_STAGE_WAITING));
    CHECK(finish(&one, both->next) == PL_OK);
    free_claims(both);
    finish_last(&one, ids);
}

static void what_another_worker_did_is_seen(void) {
    pl_id_t ids[4];
    pl_claim_t *mine = fan_out(&one, ids);
    CHECK(mine && mine->next);
    pl_op_t *op = pl_op_new(PL_VERB_release);
    op->u.release = (pl_op_release_t){ .tasks = &mine->next->task, .claims = &mine->next->fence, .len = 1 };
    CHECK(call_free(&one, op) == PL_OK);
    pl_claim_t *theirs = claim(&other, 1);
    CHECK(theirs && theirs->task == ids[2] && finish(&other, theirs) == PL_OK);
    CHECK(is_in(&one, ids[3], PL_STAGE_WAITING));
    CHECK(finish(&one, mine) == PL_OK);
    free_claims(mine);
    free_claims(theirs);
    finish_last(&other, ids); /* who met none of them before it was ready */
    mine = fan_out(&other, ids);
    op = pl_op_new(PL_VERB_abort);
    op->u.abort = (pl_op_abort_t){ .stage = ids[0], .message = PL_STR_LIT("enough") };
    CHECK(call_free(&one, op) == PL_OK);
    CHECK(finish(&other, mine) == PL_EABORTED && is_in(&other, ids[3], PL_STAGE_ABORTED));
    CHECK(finish(&other, mine->next) == PL_EABORTED && is_in(&other, ids[0], PL_STAGE_ABORTED));
    free_claims(mine);
}

static pl_str_t number(char *text, int i) {
    snprintf(text, 16, "\x4a%010d", i);
    return pl_str(text);
}

static void what_is_not_remembered_is_read(void) {
    static pl_stage_new_t children[MANY];
    static char args[MANY][16];
    pl_stage_new_t root = stage_of(&one);
    char text[16];
    pl_op_t *op = pl_op_new(PL_VERB_start);
    op->u.start = (pl_op_start_t){ &root, 1 };
    CHECK(call_free(&one, op) == PL_OK);
    pl_claim_t *mine = claim(&one, 1);
    op = outcome(mine, NULL);
    for (int i = 0; i < MANY; i++) {
        children[i] = stage_of(&one);
        children[i].args = number(args[i], i);
    }
    op->u.outcome.children = children;
    op->u.outcome.children_len = MANY;
    CHECK(call_free(&one, op) == PL_OK);
    free_claims(mine);
    int seen = 0;
    for (int rounds = 0; seen < MANY && rounds < MANY; rounds++) {
        pl_claim_t *some = claim(&one, 4096), *none = NULL;
        pl_op_t *first = NULL, **tail = &first;
        for (pl_claim_t *each = some; each; each = each->next, seen++) {
            if (each->task != children[seen].id || !pl_str_eq(each->stage->args, number(text, seen)))
                CHECK(!"the next stage, and its arguments");
            *tail = outcome(each, NULL);
            tail = &(*tail)->next;
        }
        pl_store_submit_list(one.store, first, 0);
        turn(&one, &none);
        free_claims(some);
        CHECK(!none && is_in(&one, root.id, seen < MANY ? PL_STAGE_RUN : PL_STAGE_DONE));
    }
    CHECK(seen == MANY);
}

int main(void) {
    char path[] = "/tmp/pipeline-live-XXXXXX", name[sizeof path + 12];
    close(mkstemp(path));
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    open_worker(&one, path);
    open_worker(&other, path);
    what_a_broken_transaction_did_is_forgotten();
    what_another_worker_did_is_seen();
    what_is_not_remembered_is_read();
    pl_store_close(one.store);
    pl_store_close(other.store);
    static const char *const SUFFIXES[] = { "", "-wal", "-shm", "-workers" };
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, SUFFIXES[i]);
        unlink(name);
    }
    return check_end();
}
