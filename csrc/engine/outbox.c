/*
 * outbox.c - what goes out to the store: ops, and how many claims are wanted.
 *
 * How much is wanted. A process can take as many tasks as it has places free for them (place.c). Under load that alone
 * would mean a commit per `concurrency` tasks, so it also asks for some times as many as it finished since the last
 * batch (prefetch): claims then ride with completions in large commits, and the store, which is what takes longest, has
 * the next ones to claim while these are executed. A process whose tasks are slow finishes few, so it hoards few. After
 * claims could not be made, nothing is wanted for PL__RETRY_US.
 *
 * When it goes out. At the end of each turn of the loop; but a turn can be long, and if all of it went out at its end,
 * the store would rest while the loop is at work, and the loop while the store is. So it is offered after everything
 * that is executed, and goes out as soon as there is something of it (PORTION), and to gather it has taken as long as
 * a commit: then at most twice the commits are made that would do, and where commits take long (a slow disk), what is
 * done in that time shares one all the same.
 */
#include "engine/engine.h"

#define BUFFER_BYTES_MAX ((size_t)4 * 1024 * 1024)

enum { PORTION = 32, GATHERING_US_MIN = 250 };

/* ---- out -------------------------------------------------------------------------------------------------------- */

static pl_op_t *outbox_take(pl_engine_t *engine) {
    engine->ends = NULL;
    return pl__ops_take(&engine->outbox);
}

static void want_again_cb(pl_timer_t *timer) {
    pl_engine_t *engine = timer->data;
    pl__outbox_wake(engine, true);
}

void pl__outbox_init(pl_engine_t *engine) {
    pl__ops_init(&engine->outbox);
    engine->want_timer = (pl_timer_t){ .fire = want_again_cb, .data = engine };
}

/* Whether nothing new is to begin: what comes back claimed goes back. */
bool pl__outbox_is_ending(const pl_engine_t *engine) {
    bool is_told = engine->listens_at >= 0 && pl_engine_signalled(engine);
    return !engine->running || engine->stopping || engine->closing || is_told;
}

/* By how many have ended since the last batch, within the memory that claims may take. */
static int ahead_of(const pl_engine_t *engine) {
    return engine->buffer.bytes + engine->gated_bytes < BUFFER_BYTES_MAX ? engine->prefetch : 0;
}

int pl__outbox_wanted(const pl_engine_t *engine) {
    if (engine->no_worker || engine->want_timer.active || pl__outbox_is_ending(engine))
        return 0;
    int room = engine->concurrency - (engine->executing - engine->waiting) + ahead_of(engine) - engine->buffer.len;
    return room > 0 ? room : 0;
}

void pl__outbox_flush(pl_engine_t *engine) {
    engine->gathered = 0;
    int wanted = pl__outbox_wanted(engine);
    if (engine->outbox.head || wanted != engine->wanted) {
        engine->wanted = wanted;
        pl_store_submit_ahead(engine->store, outbox_take(engine), wanted, ahead_of(engine));
    }
}

void pl_engine_offer(pl_engine_t *engine) {
    if (engine->gathered < PORTION || engine->clock.is_virtual)
        return;
    int64_t us = engine->commit_us > GATHERING_US_MIN ? engine->commit_us : GATHERING_US_MIN;
    if (pl_clock_monotonic_us() - engine->gathering_since >= us)
        pl__outbox_flush(engine);
}

void pl__outbox_count(pl_engine_t *engine) {
    if (engine->gathered++ == 0)
        engine->gathering_since = pl_clock_monotonic_us();
}

void pl__outbox_learn(pl_engine_t *engine, int64_t commit_us) {
    if (engine->commit_us == 0)
        engine->commit_us = commit_us;
    else if (commit_us > 0)
        engine->commit_us += (commit_us - engine->commit_us) / 4;
}

void pl_engine_submit(pl_engine_t *engine, pl_op_t *op) {
    engine->in_flight++;
    pl__outbox_count(engine);
    pl__ops_push(&engine->outbox, op);
}

void pl_engine_send_ahead(pl_engine_t *engine, pl_op_t *op) {
    pl__outbox_flush(engine);
    pl_store_send_ahead(engine->store, op);
}

void pl_engine_flush(pl_engine_t *engine) {
    pl__outbox_flush(engine);
}

/* How many claims an op ends. */
int pl__ops_ends(const pl_op_t *op) {
    if (op->verb == PL_VERB_tasks_done)
        return (int)op->u.tasks_done.len;
    return op->verb == PL_VERB_outcome || op->verb == PL_VERB_finalized || op->verb == PL_VERB_task_done ||
           op->verb == PL_VERB_release;
}

int pl_engine_call(pl_engine_t *engine, pl_op_t *op) {
    pl__outbox_flush(engine);
    if (pl_store_would_wait(engine->store, op) && pl__ops_ends(op) == 0)
        return op->rc = PL__FAIL(&op->error, PL_EBUSY,
                                 "a transaction of this engine is under way, and here nothing can wait for its end");
    int rc = pl_store_call(engine->store, op);
    if (engine->tells)
        pl__event_op(engine, op);
    return rc;
}

void pl__outbox_wake(pl_engine_t *engine, bool outside) {
    engine->store_woken = true;
    pl_store_wake(engine->store, outside);
}
