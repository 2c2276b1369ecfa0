/*
 * scheduler.c - what comes back from the store, and whose turn it is.
 *
 * Claims wait in a buffer until a place is free (place.c); what is done with them in the end is in completion.c, and
 * how many are asked for in outbox.c. One turn of the loop executes TURN_MAX at most, so that nothing else on the loop
 * waits for long.
 */
#include "engine/engine.h"

enum { PREFETCH_MAX = 4096, PREFETCH_TURNS = 4, TURN_MAX = 256 };

void pl__scheduler_init(pl_engine_t *engine) {
    engine->buffer.tail = &engine->buffer.head;
    engine->next_due = engine->next_token = engine->next_fire = PL_USEC_NEVER;
    pl__outbox_init(engine);
    pl__completion_init(engine);
}

/* Of a queue, or (NULL) of all. */
static void release_unstarted(pl_engine_t *engine, pl__gate_t *gate) {
    int len;
    pl_claim_t *claims = pl__gate_empty(engine, gate, &len);
    if (len > 0)
        pl__completion_release(engine, claims, len);
    for (pl_claim_t *next; claims; claims = next) {
        next = claims->next;
        pl_claim_free(claims);
    }
}

void pl__scheduler_release_buffer(pl_engine_t *engine) {
    release_unstarted(engine, NULL);
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
    pl__meter_begin(engine, claim);
    engine->host.execute(engine->host.data, claim);
}

/* Those that begin to wait at once make room for others, but not for many in one turn: else more would be under way
 * than is good for the caches. */
void pl__scheduler_execute(pl_engine_t *engine) {
    int waiting_max = engine->waiting + engine->concurrency;
    for (int turn = 0; pl__places_have_turn(engine) && turn < TURN_MAX && engine->waiting < waiting_max; turn++) {
        bool for_claim = engine->buffer.head && (!engine->woken || engine->claim_is_next);
        engine->claim_is_next = !for_claim;
        if (for_claim)
            execute_first(engine);
        else
            pl__places_serve(engine);
        pl_engine_offer(engine);
    }
    if (!pl__places_have_turn(engine))
        uv_idle_stop(&engine->again);
    else
        pl__places_look(engine);
}

static void op_back(pl_engine_t *engine, pl_op_t *op, int *ended) {
    int ends = pl__ops_ends(op);
    *ended += ends;
    if (ends > 0 && !pl__completion_back(engine, op))
        return; /* it is tried again */
    engine->in_flight--;
    if (engine->tells)
        pl__event_op(engine, op);
    if (op->owner != engine) {
        engine->host.op_done(engine->host.data, op);
        return;
    }
    if (op->verb == PL_VERB_rescue)
        pl__peers_answer(engine, op);
    pl_op_free(op);
}

static void take_claims(pl_engine_t *engine, pl_batch_t *batch) {
    pl__gate_t *gate = NULL;
    int64_t queue = 0;
    int permits = -1; /* claims of a queue come one after the other */
    for (pl_claim_t *claim = batch->claims, *next; claim; claim = next) {
        next = claim->next;
        pl_ids_pass(&engine->ids, claim->task);
        if (!gate || claim->queue_id != queue || claim->permits != permits)
            gate = pl__gate_of(engine, claim);
        queue = claim->queue_id;
        permits = claim->permits;
        if (gate) {
            pl__gate_enter(engine, gate, claim);
            continue;
        }
        claim->next = NULL;
        pl__completion_release(engine, claim, 1);
        pl_claim_free(claim);
    }
    batch->claims = NULL;
}

/* Other processes, or a pause, want what has not started. */
static void give_back(pl_engine_t *engine, int64_t queue) {
    pl__gate_t *gate = pl__gate_find(engine, queue);
    if (gate)
        release_unstarted(engine, gate);
}

static void take_state(pl_engine_t *engine, const pl_batch_t *batch) {
    if (batch->has_state) {
        engine->ready_left = batch->ready_left;
        engine->next_due = batch->next_due;
        engine->next_token = batch->next_token;
        engine->next_fire = batch->next_fire;
        pl__outbox_learn(engine, batch->commit_us);
        engine->store_woken = false;
        engine->wanted = -1; /* the store's number is another now: say it again */
    }
    if (batch->failure.code != 0) {
        pl_log(&engine->log, PL_LOG_ERROR, "cannot claim tasks: %s", batch->failure.message);
        pl_engine_timer_start(engine, &engine->want_timer, PL__RETRY_US);
        engine->store_woken = false;
        engine->wanted = -1;
    }
}

const pl_stage_t *pl_engine_final_record(const pl_engine_t *engine, const pl_slot_t **slots, size_t *slots_len) {
    const pl_watch_event_t *final = engine->final;
    *slots = final ? final->slots : NULL;
    *slots_len = final ? final->slots_len : 0;
    return final ? final->record : NULL;
}

static void take_final(pl_engine_t *engine, const pl_watch_event_t *final) {
    bool has_news = final->state == PL_STAGE_READY, is_final = final->state != PL_STAGE_ABORTING && !has_news;
    if (is_final && !final->unwatched) {
        engine->final = final;
        engine->host.final(engine->host.data, final->stage, final->state);
        engine->final = NULL;
    } else if (has_news && engine->host.news)
        engine->host.news(engine->host.data, final->stage);
    else if (!is_final && !has_news && engine->host.aborted)
        engine->host.aborted(engine->host.data, final->stage);
    if (is_final && final->ours && engine->tells)
        pl__event_tell(engine, &(pl_event_t){ .what = PL_EVENT_FINAL, .task = final->stage, .state = final->state });
}

/* The ops of the batch are back: what has waited for them goes on, and asks for more. */
static void take_ops(pl_engine_t *engine, pl_batch_t *batch, int *ended) {
    for (pl_op_t *op = batch->ops, *next; op; op = next) {
        next = op->next;
        op_back(engine, op, ended);
        pl_engine_offer(engine);
    }
    batch->ops = NULL;
}

void pl__scheduler_collect(pl_engine_t *engine) {
    pl_batch_t batch;
    int ended = 0;
    if (!pl_store_collect(engine->store, &batch))
        return;
    take_state(engine, &batch);
    if (batch.claims && !engine->clock.is_virtual)
        engine->wall_ahead = pl_clock_now(&engine->clock) - pl_clock_steady(&engine->clock);
    take_claims(engine, &batch);
    for (const pl_recall_t *recall = batch.recalls; recall; recall = recall->next)
        give_back(engine, recall->queue);
    take_ops(engine, &batch, &ended);
    for (const pl_watch_event_t *final = batch.finals; final; final = final->next)
        take_final(engine, final);
    if (batch.has_state)
        engine->prefetch = ended < PREFETCH_MAX / PREFETCH_TURNS ? ended * PREFETCH_TURNS : PREFETCH_MAX;
    if (engine->running && pl__outbox_is_ending(engine))
        pl__scheduler_release_buffer(engine);
    pl_batch_free(&batch);
}

bool pl__scheduler_is_quiet(const pl_engine_t *engine) {
    bool claims_coming = engine->ready_left && pl__outbox_wanted(engine) > 0;
    bool ops_under_way = engine->in_flight > engine->failed_len;
    if (engine->holds > 0 || pl__places_have_turn(engine))
        return false;
    if (!ops_under_way && !engine->store_woken && !claims_coming && engine->wanted >= 0)
        return true;
    return pl_store_session_is_idle(engine->store); /* what is asked of the store has to wait */
}
