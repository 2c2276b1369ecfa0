/*
 * queue_alloc_test.c - the Nth allocation of the store fails while the verbs of task queues are at work, for every N.
 *
 * A verb that fails has changed nothing, so the session asks again until it is done; at the end the store must hold
 * what it holds when nothing fails. That also shows that every verb can be applied again after its transaction was
 * rolled back, for that is what happens to a verb whose batch broke.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"
#include "support/check.h"

enum { TRIES_MAX = 50, TASKS = 6, FACTS = 8 };

static pl_store_t *store;
static pl_clock_t clock_;
static pl_ids_t ids;
static pl_id_t task_ids[TASKS];

static void wake_cb(void *data) {
    (void)data;
}

/* Out of memory is the only reason to fail, and it passes. */
static bool failed(int rc) {
    CHECK(rc == PL_OK || rc == PL_ENOMEM || rc == PL_EOTHER);
    return rc != PL_OK;
}

#define UNTIL_DONE(statement)                                                                                          \
    do {                                                                                                               \
        int tries_ = 0;                                                                                                \
        while (!(statement) && tries_ < TRIES_MAX)                                                                     \
            tries_++;                                                                                                  \
        CHECK(tries_ < TRIES_MAX);                                                                                     \
    } while (0)

/* Calls op (NULL: it could not be made) and frees it. */
static bool call(pl_op_t *op) {
    if (!op)
        return false;
    int rc = pl_store_call(store, op);
    pl_op_free(op);
    return !failed(rc);
}

static bool join(void) {
    pl_op_t *op = pl_op_new(PL_VERB_join);
    if (!op)
        return false;
    op->u.join = (pl_op_join_t){ .host = PL_STR_LIT("test"), .pid = getpid() };
    if (failed(pl_store_call(store, op))) {
        pl_op_free(op);
        return false;
    }
    pl_ids_init(&ids, op->u.join.number, op->u.join.floor, 0);
    pl_op_free(op);
    return true;
}

static bool set_queues(void) {
    static pl_queue_settings_t queues[3];
    pl_op_t *op = pl_op_new(PL_VERB_queue_set);
    for (int i = 0; i < 3; i++)
        queues[i] = (pl_queue_settings_t){ .rate = -1, .bucket_size = -1, .retry = PL_RETRY_NONE };
    queues[0].name = PL_STR_LIT("pull");
    queues[0].pull = true;
    queues[1].name = PL_STR_LIT("push");
    queues[1].target = PL_STR_LIT("elsewhere");
    queues[1].rate = 10;
    queues[1].max_concurrent = 2;
    queues[2].name = PL_STR_LIT("gone");
    if (op)
        op->u.queue_set = (pl_op_queue_set_t){ queues, 3, false };
    return call(op);
}

/* Two named ones, one of them large, and an unnamed one, in each queue. */
static bool add_tasks(void) {
    static pl_task_new_t tasks[TASKS];
    static char large[3000];
    memset(large, 'x', sizeof large);
    for (int i = 0; i < TASKS; i++) {
        bool pull = i >= TASKS / 2;
        tasks[i] = (pl_task_new_t){ .id = task_ids[i],
                                    .kind = pull ? PL_TASK_PULL : PL_TASK_PUSH,
                                    .queue = pull ? PL_STR_LIT("pull") : PL_STR_LIT("push"),
                                    .name = i % 3 == 0   ? PL_STR_LIT("first")
                                            : i % 3 == 1 ? PL_STR_LIT("large")
                                                         : PL_STR_NONE,
                                    .payload = { large, i % 3 == 1 ? sizeof large : 10 },
                                    .retry = PL_RETRY_NONE };
        tasks[i].retry.limit = 0;
    }
    pl_op_t *op = pl_op_new(PL_VERB_task_add);
    if (op)
        op->u.task_add = (pl_op_task_add_t){ tasks, TASKS, true };
    return call(op);
}

static bool end_claim(const pl_claim_t *claim) {
    pl_op_t *op = pl_op_new(PL_VERB_task_done);
    if (op) {
        op->u.task_done = (pl_op_task_done_t){ .task = claim->task, .claim = claim->fence };
        op->u.task_done.failed = claim->task != task_ids[0];
        op->u.task_done.failure.message = PL_STR_LIT("broken");
    }
    return call(op);
}

/* Takes what there is to be claimed and ends it: the first task well, the others dying. */
static int work(void) {
    pl_batch_t batch;
    int ended = 0;
    pl_store_want(store, 10);
    pl_store_wake(store, true);
    for (int i = 0; i < 400 && ended == 0; i++) {
        usleep(250);
        if (!pl_store_collect(store, &batch))
            continue;
        if (batch.failure.code)
            pl_store_want(store, 10);
        for (const pl_claim_t *claim = batch.claims; claim; claim = claim->next, ended++)
            UNTIL_DONE(end_claim(claim));
        if (batch.failure.code)
            pl_store_wake(store, true);
        pl_batch_free(&batch);
    }
    pl_store_want(store, 0);
    return ended;
}

/* Leases the earliest, gives it back, and deletes it. */
static bool lease_one(pl_id_t *leased, pl_usec_t *eta) {
    pl_op_t *op = pl_op_new(PL_VERB_lease);
    if (!op)
        return false;
    op->u.lease = (pl_op_lease_t){ .queue = PL_STR_LIT("pull"), .seconds = 60, .max = 2, .group = true };
    bool done = !failed(pl_store_call(store, op));
    if (done && op->u.lease.len > 0) {
        *leased = op->u.lease.tasks[0].id;
        *eta = op->u.lease.tasks[0].eta;
    }
    CHECK(!done || op->u.lease.len == 2);
    pl_op_free(op);
    return done;
}

static bool modify(pl_id_t task, pl_usec_t eta) {
    pl_op_t *op = pl_op_new(PL_VERB_lease_modify);
    if (op)
        op->u.lease_modify = (pl_op_lease_modify_t){ .queue = PL_STR_LIT("pull"), .task.id = task, .eta = eta };
    return call(op);
}

static bool delete (pl_id_t task) {
    pl_task_ref_t ref = { .id = task };
    pl_op_t *op = pl_op_new(PL_VERB_task_delete);
    if (op)
        op->u.task_delete = (pl_op_task_delete_t){ PL_STR_LIT("pull"), &ref, 1 };
    return call(op);
}

static bool revive(void) {
    pl_task_ref_t ref = { .id = task_ids[1] };
    pl_op_t *op = pl_op_new(PL_VERB_dead_revive);
    if (op)
        op->u.dead_revive = (pl_op_dead_revive_t){ .tasks = &ref, .len = 1 };
    return call(op);
}

static bool purge(void) {
    pl_op_t *op = pl_op_new(PL_VERB_purge);
    if (op)
        op->u.purge = (pl_op_purge_t){ .queue = PL_STR_LIT("gone") };
    return call(op);
}

static bool remove_queue(void) {
    static pl_queue_settings_t gone;
    gone = (pl_queue_settings_t){ .name = PL_STR_LIT("gone"), .removed = true };
    pl_op_t *op = pl_op_new(PL_VERB_queue_set);
    if (op)
        op->u.queue_set = (pl_op_queue_set_t){ &gone, 1, true };
    return call(op);
}

static bool read_facts(int64_t facts[FACTS]) {
    pl_queue_stats_t stats[3] = { { .queue = PL_STR_LIT("push") },
                                  { .queue = PL_STR_LIT("pull") },
                                  { .queue = PL_STR_LIT("gone") } };
    pl_op_t *op = pl_op_new(PL_VERB_queue_stats);
    if (op)
        op->u.queue_stats = (pl_op_queue_stats_t){ stats, 3 };
    if (!call(op))
        return false;
    facts[0] = stats[0].tasks;
    facts[1] = stats[0].dead;
    facts[2] = stats[0].in_flight;
    facts[3] = stats[1].tasks;
    facts[4] = stats[1].dead;
    facts[5] = stats[1].in_flight;
    facts[6] = stats[2].known;
    op = pl_op_new(PL_VERB_dead_list);
    if (!op || failed(pl_store_call(store, op))) {
        pl_op_free(op);
        return false;
    }
    facts[7] = (int64_t)op->u.dead_list.len;
    pl_op_free(op);
    return true;
}

static void session(int64_t facts[FACTS]) {
    pl_id_t leased = 0;
    pl_usec_t eta = 0;
    UNTIL_DONE(join());
    for (int i = 0; i < TASKS; i++)
        task_ids[i] = pl_ids_next(&ids, &clock_);
    UNTIL_DONE(set_queues());
    UNTIL_DONE(add_tasks());
    int ended = 0;
    for (int i = 0; i < 10 && ended < 3; i++)
        ended += work();
    CHECK(ended == 3);
    pl_clock_advance_to(&clock_, pl_clock_now(&clock_) + PL_USEC_PER_SEC);
    UNTIL_DONE(lease_one(&leased, &eta));
    UNTIL_DONE(modify(leased, eta));
    UNTIL_DONE(delete (leased));
    UNTIL_DONE(revive());
    UNTIL_DONE(purge());
    UNTIL_DONE(remove_queue());
    UNTIL_DONE(read_facts(facts));
}

static bool play(long nth, int64_t facts[FACTS]) {
    pl_error_t error = { 0 };
    pl_store_options_t options = { .path = ":memory:", .clock = &clock_, .wake = wake_cb, .lease_seconds = 15 };
    options.tombstone_seconds = 3600;
    pl_clock_init_virtual(&clock_, INT64_C(1700000000) * PL_USEC_PER_SEC);
    if (pl_store_open(&store, &options, &error) != PL_OK) {
        CHECK(!"open");
        return false;
    }
    pl__alloc_fail_at(nth);
    session(facts);
    bool was_hit = pl__alloc_failed();
    pl__alloc_fail_at(0);
    pl_store_close(store);
    return was_hit;
}

int main(void) {
#ifdef PL_FAULTS
    int64_t expected[FACTS], facts[FACTS];
    long nth = 1;
    play(0, expected);
    CHECK(expected[0] == 1 && expected[1] == 1 && expected[3] == 2 && expected[5] == 1 && !expected[6]);
    while (check_failed < 10 && play(nth, facts)) {
        CHECK(memcmp(facts, expected, sizeof facts) == 0);
        if (check_failed)
            printf("at allocation %ld\n", nth);
        nth++;
    }
    printf("%ld allocations failed\n", nth - 1);
#else
    (void)play;
    puts("skipped: not a build that can make allocations fail");
#endif
    return check_end();
}
