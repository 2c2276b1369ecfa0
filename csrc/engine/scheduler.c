/*
 * scheduler.c - between the loop and the store: what goes out, what comes back, and whose turn it is.
 *
 * How much is wanted. A process can take as many tasks as it has places free for them (place.c). Under load that alone
 * would mean a commit per `concurrency` tasks, so it also asks for about as many as it finished since the last batch
 * (prefetch), up to PREFETCH_MAX: claims then ride with completions in large commits. A process whose tasks are slow
 * finishes few, so it hoards none. After claims could not be made, nothing is wanted for RETRY_US.
 *
 * Ends of claims are never given up: when the store cannot take one (disk full, out of memory), the same op is tried
 * again until it can; when it never will, the claim ends in another way (ends.c).
 */
#include "engine/engine.h"

#include <string.h>

enum { PREFETCH_MAX = 4096, TURN_MAX = 256, RETRY_US = 500 * 1000 };
#define BUFFER_BYTES_MAX ((size_t)4 * 1024 * 1024)

static void ops_push(pl__ops_t *ops, pl_op_t *op) {
    op->next = NULL;
    *ops->tail = op;
    ops->tail = &op->next;
}

static pl_op_t *ops_take(pl__ops_t *ops) {
    pl_op_t *head = ops->head;
    ops->head = NULL;
    ops->tail = &ops->head;
    return head;
}

static pl_op_t *outbox_take(pl_engine_t *engine) {
    engine->ends = NULL;
    return ops_take(&engine->outbox);
}

static void retry_failed_cb(pl_timer_t *timer) {
    pl_engine_t *engine = timer->data;
    for (pl_op_t *op = ops_take(&engine->failed), *next; op; op = next) {
        next = op->next;
        ops_push(&engine->outbox, op);
    }
    engine->failed_len = 0;
}

/* What was given back is due now: the store will say so. */
static void rested_cb(pl_timer_t *timer) {
    (void)timer;
}

static void want_again_cb(pl_timer_t *timer) {
    pl_engine_t *engine = timer->data;
    pl__scheduler_poke(engine, true);
}

void pl__scheduler_init(pl_engine_t *engine) {
    engine->buffer.tail = &engine->buffer.head;
    engine->outbox.tail = &engine->outbox.head;
    engine->failed.tail = &engine->failed.head;
    engine->failed_timer = (pl_timer_t){ .fire = retry_failed_cb, .data = engine };
    engine->rest_timer = (pl_timer_t){ .fire = rested_cb, .data = engine };
    engine->want_timer = (pl_timer_t){ .fire = want_again_cb, .data = engine };
    engine->next_due = engine->next_token = PL_USEC_NEVER;
}

/* ---- out --------------------------------------------------------------------------------------------------- */

/* Whether nothing new is to begin: what comes back claimed goes back. */
static bool is_ending(const pl_engine_t *engine) {
    bool is_told = engine->listens_at >= 0 && pl_engine_signalled(engine);
    return !engine->running || engine->stopping || engine->closing || is_told;
}

static int count_wanted(const pl_engine_t *engine) {
    if (engine->no_worker || engine->want_timer.active || is_ending(engine))
        return 0;
    int ahead = engine->buffer.bytes < BUFFER_BYTES_MAX ? engine->prefetch : 0;
    int room = engine->concurrency - (engine->executing - engine->waiting) + ahead - engine->buffer.len;
    return room > 0 ? room : 0;
}

void pl__scheduler_flush(pl_engine_t *engine) {
    int wanted = count_wanted(engine);
    if (engine->outbox.head || wanted != engine->wanted) {
        engine->wanted = wanted;
        pl_store_submit_list(engine->store, outbox_take(engine), wanted);
    }
}

void pl_engine_submit(pl_engine_t *engine, pl_op_t *op) {
    engine->in_flight++;
    ops_push(&engine->outbox, op);
}

void pl_engine_flush(pl_engine_t *engine) {
    pl__scheduler_flush(engine);
}

/* How many claims an op ends. */
static int count_ends(const pl_op_t *op) {
    if (op->verb == PL_VERB_tasks_done)
        return (int)op->u.tasks_done.len;
    return op->verb == PL_VERB_outcome || op->verb == PL_VERB_finalized || op->verb == PL_VERB_task_done ||
           op->verb == PL_VERB_release;
}

int pl_engine_call(pl_engine_t *engine, pl_op_t *op) {
    pl__scheduler_flush(engine);
    if (pl_store_would_wait(engine->store, op) && count_ends(op) == 0)
        return op->rc = PL__FAIL(&op->error, PL_EBUSY,
                                 "a transaction of this engine is under way, and here nothing can wait for its end");
    return pl_store_call(engine->store, op);
}

void pl__scheduler_poke(pl_engine_t *engine, bool outside) {
    engine->poked = true;
    pl_store_poke(engine->store, outside);
}

/* ---- ends of claims ---------------------------------------------------------------------------------------- */

void pl_engine_claim_end(pl_engine_t *engine, pl_claim_t *claim, pl_op_t *op) {
    engine->executing--;
    pl__ends_prepare(claim, op);
    if (op->verb == PL_VERB_outcome && claim->stage) {
        op->u.outcome.knows_parent = true;
        op->u.outcome.parent = claim->stage->parent;
    }
    if (op->verb == PL_VERB_task_done) {
        op->u.task_done.took = pl_clock_steady(&engine->clock) - claim->claimed;
        op->u.task_done.is_plain = claim->is_plain;
    }
    pl_engine_submit(engine, op);
}

/* Room for one more end. The first few are in the op's own block, because a lone one is the common case at rest. */
static int ends_reserve(pl_engine_t *engine) {
    enum { ENDS_FIRST = 16, ENDS_MAX = 512 };
    pl_op_t *op = engine->ends;
    if (op && op->u.tasks_done.len < op->u.tasks_done.size)
        return PL_OK;
    bool is_new = !op || op->u.tasks_done.size == ENDS_MAX;
    if (is_new)
        op = pl_op_new(PL_VERB_tasks_done);
    size_t size = is_new ? ENDS_FIRST : ENDS_MAX;
    pl_end_t *ends = op ? pl__arena_get(&op->arena, size * sizeof *ends) : NULL;
    if (!ends) {
        if (is_new)
            pl_op_free(op);
        return PL_ENOMEM;
    }
    pl_op_tasks_done_t *done = &op->u.tasks_done;
    if (done->len > 0)
        memcpy(ends, done->ends, done->len * sizeof *ends);
    done->ends = ends;
    done->size = size;
    if (is_new)
        pl_engine_submit(engine, op);
    engine->ends = op;
    return PL_OK;
}

int pl_engine_claim_done(pl_engine_t *engine, const pl_claim_t *claim) {
    int rc = ends_reserve(engine);
    if (rc != PL_OK)
        return rc;
    pl_op_tasks_done_t *done = &engine->ends->u.tasks_done;
    done->ends[done->len++] = (pl_end_t){ .task = claim->task, .claim = claim->claim };
    engine->executing--;
    return PL_OK;
}

static bool may_pass(int rc) {
    return rc == PL_EFULL || rc == PL_EIO || rc == PL_ENOMEM || rc == PL_EBUSY || rc == PL_ESCHEMA;
}

static void try_later(pl_engine_t *engine, pl_op_t *op) {
    if (!engine->failed_timer.active) {
        pl_log(&engine->log, PL_LOG_ERROR, "the store could not take a result and will be asked again: %s",
               op->error.message[0] ? op->error.message : pl_result_text(op->rc));
        pl_engine_timer_start(engine, &engine->failed_timer, RETRY_US);
    }
    ops_push(&engine->failed, op);
    engine->failed_len++;
}

/* Gives claims back without spending an attempt. Without memory for that, leaving the store does the same later. */
static void release(pl_engine_t *engine, const pl_claim_t *claims, int len, pl_usec_t rest) {
    pl_op_t *op = pl_op_new(PL_VERB_release);
    pl_id_t *tasks = op ? pl__arena_get(&op->arena, (size_t)len * sizeof *tasks) : NULL;
    int *numbers = tasks ? pl__arena_get(&op->arena, (size_t)len * sizeof *numbers) : NULL;
    if (!numbers) {
        pl_op_free(op);
        return;
    }
    for (int i = 0; i < len; i++, claims = claims->next) {
        tasks[i] = claims->task;
        numbers[i] = claims->claim;
    }
    op->u.release = (pl_op_release_t){ tasks, numbers, (size_t)len, rest };
    op->owner = engine; /* ours: no host hears of it */
    pl_engine_submit(engine, op);
}

void pl__scheduler_rest(pl_engine_t *engine) {
    pl_engine_timer_start(engine, &engine->rest_timer, PL__REST_US);
}

void pl_engine_claim_ended(pl_engine_t *engine) {
    engine->executing--;
}

void pl_engine_claim_release(pl_engine_t *engine, pl_claim_t *claim) {
    engine->executing--;
    claim->next = NULL;
    release(engine, claim, 1, 0);
}

/* Whoever drops a claim cannot execute it now; claiming it again at once would only drop it again, without end. */
void pl_engine_claim_drop(pl_engine_t *engine, pl_claim_t *claim) {
    engine->executing--;
    claim->next = NULL;
    release(engine, claim, 1, PL__REST_US);
    pl__scheduler_rest(engine);
}

void pl__scheduler_release_buffer(pl_engine_t *engine) {
    pl_claim_t *claims = engine->buffer.head;
    if (!claims)
        return;
    release(engine, claims, engine->buffer.len, 0);
    for (pl_claim_t *next; claims; claims = next) {
        next = claims->next;
        pl_claim_free(claims);
    }
    engine->buffer = (pl__claims_t){ .tail = &engine->buffer.head };
}

/* ---- back -------------------------------------------------------------------------------------------------- */

static void again_cb(uv_idle_t *handle) {
    (void)handle; /* the loop does not sleep; run.c does the rest */
}

bool pl__scheduler_has_turn(const pl_engine_t *engine) {
    return (engine->buffer.head || engine->woken) && pl__places_free(engine);
}

void pl__scheduler_look(pl_engine_t *engine) {
    if (engine->running && pl__scheduler_has_turn(engine))
        uv_idle_start(&engine->again, again_cb);
}

static void execute_first(pl_engine_t *engine) {
    pl_claim_t *claim = engine->buffer.head;
    engine->buffer.head = claim->next;
    if (!engine->buffer.head)
        engine->buffer.tail = &engine->buffer.head;
    engine->buffer.len--;
    engine->buffer.bytes -= claim->bytes;
    engine->executing++;
    engine->executed++;
    claim->next = NULL;
    engine->host.execute(engine->host.data, claim);
}

/* Those that begin to wait at once make room for others, but not for many in one turn: else more would be under way
 * than is good for the caches. */
void pl__scheduler_execute(pl_engine_t *engine) {
    int waiting_max = engine->waiting + engine->concurrency;
    for (int turn = 0; pl__scheduler_has_turn(engine) && turn < TURN_MAX && engine->waiting < waiting_max; turn++) {
        bool for_claim = engine->buffer.head && (!engine->woken || engine->claim_is_next);
        engine->claim_is_next = !for_claim;
        if (for_claim)
            execute_first(engine);
        else
            pl__places_serve(engine);
    }
    if (pl__scheduler_has_turn(engine))
        uv_idle_start(&engine->again, again_cb);
    else
        uv_idle_stop(&engine->again);
}

static void op_back(pl_engine_t *engine, pl_op_t *op, int *ended) {
    int ends = count_ends(op);
    *ended += ends;
    if (ends > 0 && (may_pass(op->rc) || pl__ends_otherwise(engine, op) != PL_OK)) {
        try_later(engine, op);
        return;
    }
    engine->in_flight--;
    if (op->owner != engine) {
        engine->host.op_done(engine->host.data, op);
        return;
    }
    if (op->verb == PL_VERB_rescue)
        pl__peers_answer(engine, op);
    pl_op_free(op);
}

static void take_claims(pl_engine_t *engine, pl_batch_t *batch) {
    if (!batch->claims)
        return;
    *engine->buffer.tail = batch->claims;
    for (pl_claim_t *claim = batch->claims; claim; claim = claim->next) {
        engine->buffer.tail = &claim->next;
        engine->buffer.bytes += claim->bytes;
    }
    engine->buffer.len += batch->claims_len;
    batch->claims = NULL;
}

static void take_state(pl_engine_t *engine, const pl_batch_t *batch) {
    if (batch->has_state) {
        engine->ready_left = batch->ready_left;
        engine->next_due = batch->next_due;
        engine->next_token = batch->next_token;
        engine->poked = false;
        engine->wanted = -1; /* the store's number is another now: say it again */
    }
    if (batch->failure.code != 0) {
        pl_log(&engine->log, PL_LOG_ERROR, "cannot claim tasks: %s", batch->failure.message);
        pl_engine_timer_start(engine, &engine->want_timer, RETRY_US);
        engine->poked = false;
        engine->wanted = -1;
    }
}

void pl__scheduler_collect(pl_engine_t *engine) {
    pl_batch_t batch;
    int ended = 0;
    if (!pl_store_collect(engine->store, &batch))
        return;
    take_state(engine, &batch);
    take_claims(engine, &batch);
    for (pl_op_t *op = batch.ops, *next; op; op = next) {
        next = op->next;
        op_back(engine, op, &ended);
    }
    batch.ops = NULL;
    for (const pl_final_t *final = batch.finals; final; final = final->next)
        if (final->state != PL_STAGE_ABORTING)
            engine->host.final(engine->host.data, final->stage, final->state);
        else if (engine->host.aborted)
            engine->host.aborted(engine->host.data, final->stage);
    if (batch.has_state)
        engine->prefetch = ended * 2 < PREFETCH_MAX ? ended * 2 : PREFETCH_MAX;
    if (engine->running && is_ending(engine))
        pl__scheduler_release_buffer(engine);
    pl_batch_free(&batch);
}

bool pl__scheduler_is_quiet(const pl_engine_t *engine) {
    bool claims_coming = engine->ready_left && count_wanted(engine) > 0;
    bool ops_under_way = engine->in_flight > engine->failed_len;
    if (engine->holds > 0 || pl__scheduler_has_turn(engine))
        return false;
    if (!ops_under_way && !engine->poked && !claims_coming && engine->wanted >= 0)
        return true;
    return pl_store_session_rests(engine->store); /* what is asked of the store has to wait */
}
