/*
 * event.c - events on their way from where they happen to the host. See event.h.
 *
 * An event about the end of a claim is made in two halves: what only the claim knows (queue, class, times) is noted in
 * the memory of the op that ends it; how it has ended is read from the op when that has come back.
 */
#include "engine/telemetry/event.h"

#include <string.h>

#include "engine/engine.h"

/* ---- copies ----------------------------------------------------------------------------------------------------- */

enum { STRINGS = 8 };

static void strings_of(pl_event_t *event, pl_str_t *out[STRINGS]) {
    pl_str_t *list[STRINGS] = { &event->queue,       &event->name,    &event->class_path, &event->key,
                                &event->error_class, &event->message, &event->traceback,  &event->request };
    memcpy(out, list, sizeof list);
}

pl_event_t *pl__event_dup(const pl_event_t *event) {
    pl_event_t copy = *event;
    pl_str_t *from[STRINGS];
    size_t size = sizeof copy;
    strings_of(&copy, from);
    for (int i = 0; i < STRINGS; i++)
        size += from[i]->len;
    pl_event_t *out = pl__alloc(size);
    if (!out)
        return NULL;
    char *at = (char *)(out + 1);
    for (int i = 0; i < STRINGS; i++) {
        if (from[i]->len > 0)
            memcpy(at, from[i]->ptr, from[i]->len);
        if (from[i]->ptr)
            from[i]->ptr = at;
        at += from[i]->len;
    }
    *out = copy;
    out->next = NULL;
    return out;
}

/* Copies its strings. */
static pl_event_t *own_strings(pl__arena_t *arena, pl_event_t *event) {
    pl_str_t *strings[STRINGS];
    strings_of(event, strings);
    for (int i = 0; i < STRINGS; i++)
        if (strings[i]->ptr && pl__arena_copy(arena, *strings[i], strings[i]) != PL_OK)
            return NULL;
    return event;
}

static pl_event_t *keep(pl__arena_t *arena, const pl_event_t *event) {
    pl_event_t *out = pl__arena_get(arena, sizeof *out);
    if (!out)
        return NULL;
    *out = *event;
    return own_strings(arena, out);
}

/* ---- telling ---------------------------------------------------------------------------------------------------- */

void pl__event_tell(pl_engine_t *engine, pl_event_t *event) {
    if (event->time == 0)
        event->time = pl_clock_now(&engine->clock);
    if (engine->host.event)
        engine->host.event(engine->host.data, event);
}

void pl_engine_tell(pl_engine_t *engine, bool all, uint64_t sampled_below) {
    engine->tells_all = all && engine->host.event;
    engine->sampled_below = engine->host.event ? sampled_below : 0;
    engine->tells = engine->tells_all || engine->sampled_below > 0;
    pl_store_tell_finals(engine->store, engine->tells);
}

static bool is_sampled(const pl_engine_t *engine, pl_id_t id) {
    return engine->sampled_below > 0 && pl_engine_id_draw(engine, id) < engine->sampled_below;
}

/* Whether the request of a task names the trace that it belongs to. */
static bool has_trace(const pl_claim_t *claim) {
    static const char NAME[] = "traceparent";
    return claim->request.len > sizeof NAME && memmem(claim->request.ptr, claim->request.len, NAME, sizeof NAME - 1);
}

/* Whether the trace that is kept with the root of a stage is one that is written down: its last bit says so. */
static bool is_kept_sampled(const pl_engine_t *engine, pl_str_t trace) {
    return engine->sampled_below > 0 && trace.len > 0 && (trace.ptr[trace.len - 1] & 1) != 0;
}

/* ---- ends of claims --------------------------------------------------------------------------------------------- */

pl_event_t *pl__event_note(pl_engine_t *engine, pl_op_t *op, const pl_claim_t *claim) {
    const pl_stage_t *stage = claim->stage;
    bool counts_attempts = stage && claim->kind == PL_TASK_RUN;
    bool has_own = stage && stage->trace.ptr;
    bool is_traced = engine->sampled_below > 0 && !stage && has_trace(claim);
    bool sampled = has_own ? is_kept_sampled(engine, stage->trace)
                           : !is_traced && is_sampled(engine, stage ? stage->root : claim->task);
    if (!engine->tells_all && !is_traced && !sampled)
        return NULL;
    pl_event_t *event = pl__arena_get(&op->arena, sizeof *event);
    if (!event)
        return NULL;
    *event = (pl_event_t){
        .what = PL_EVENT_ENDED,
        .sampled = sampled,
        .task = claim->task,
        .stage = stage ? stage->id : 0,
        .root = stage ? stage->root : 0,
        .kind = claim->kind,
        .claim = claim->fence,
        .attempt = (counts_attempts ? stage->attempt : claim->tries) + 1,
        .max_attempts = stage && claim->kind < PL_TASK_CALLBACK ? stage->max_attempts : 0,
        .queue = claim->queue,
        .name = claim->name,
        .class_path = stage ? stage->class_path : PL_STR_NONE,
        .key = stage ? stage->key : PL_STR_NONE,
        .request = is_traced ? claim->request
                   : has_own ? stage->trace
                             : PL_STR_NONE,
        .eta = claim->eta,
        .time = pl_clock_now(&engine->clock),
        .started = claim->started,
        .ended = pl_clock_steady(&engine->clock),
        .worker = engine->ids.worker,
    };
    return own_strings(&op->arena, event);
}

void pl__event_move(pl_op_t *op, const pl_event_t *event) {
    op->event = event ? keep(&op->arena, event) : NULL;
}

static void set_failure(pl_event_t *event, const pl_failure_t *failure) {
    event->error_class = failure->error_class;
    event->message = failure->message;
    event->traceback = failure->traceback;
}

static void read_outcome(pl_event_t *event, const pl_op_outcome_t *outcome) {
    event->failed = outcome->kind == PL_OUTCOME_FAILED || outcome->kind == PL_OUTCOME_ABORT;
    event->will_retry = outcome->kind == PL_OUTCOME_FAILED && !outcome->give_up;
    event->again = event->will_retry ? outcome->retry_at : 0;
    set_failure(event, &outcome->failure);
}

static void read_finalized(pl_event_t *event, const pl_op_finalized_t *finalized) {
    event->failed = finalized->kind == PL_FINALIZED_FAILED;
    event->will_retry = event->failed && !finalized->give_up;
    event->again = event->will_retry ? finalized->retry_at : 0;
    set_failure(event, &finalized->failure);
}

static void read_task(pl_event_t *event, const pl_op_task_done_t *done) {
    event->failed = done->failed;
    event->died = done->died;
    event->will_retry = done->failed && !done->died;
    event->again = event->will_retry ? done->again : 0;
    event->status = done->status;
    set_failure(event, &done->failure);
}

static void tell_end(pl_engine_t *engine, const pl_op_t *op) {
    pl_event_t event = *op->event;
    if (op->verb == PL_VERB_outcome)
        read_outcome(&event, &op->u.outcome);
    else if (op->verb == PL_VERB_finalized)
        read_finalized(&event, &op->u.finalized);
    else if (op->verb == PL_VERB_task_done)
        read_task(&event, &op->u.task_done);
    else
        return; /* it was given back */
    pl__event_tell(engine, &event);
}

static void tell_ends(pl_engine_t *engine, const pl_op_tasks_done_t *done) {
    pl_event_t *last = NULL; /* all but the last one say that more come */
    for (size_t i = 0; i < done->len; i++) {
        pl_event_t *event = done->ends[i].refused ? NULL : done->ends[i].event;
        if (event && last) {
            last->more = true;
            pl__event_tell(engine, last);
        }
        last = event ? event : last;
    }
    if (last)
        pl__event_tell(engine, last);
}

static void tell_paused(pl_engine_t *engine, const pl_op_queue_set_t *set) {
    for (size_t i = 0; i < set->len; i++)
        if (set->queues[i].rc == PL_OK && set->queues[i].paused && set->queues[i].has_paused)
            pl__event_tell(engine, &(pl_event_t){ .what = PL_EVENT_PAUSED, .queue = set->queues[i].name });
}

void pl__event_op(pl_engine_t *engine, const pl_op_t *op) {
    if (op->verb == PL_VERB_tasks_done && (op->rc == PL_OK || op->rc == PL_ESTALE))
        tell_ends(engine, &op->u.tasks_done);
    else if (op->rc == PL_OK && op->event)
        tell_end(engine, op);
    else if (op->rc == PL_OK && op->verb == PL_VERB_queue_set)
        tell_paused(engine, &op->u.queue_set);
}

void pl__event_recorded(pl_engine_t *engine, const pl_attempt_t *attempt) {
    bool is_stage = attempt->kind < PL_TASK_PUSH;
    pl__event_tell(engine, &(pl_event_t){ .what = PL_EVENT_ENDED,
                                          .task = attempt->task,
                                          .stage = is_stage ? attempt->task : 0,
                                          .kind = attempt->kind,
                                          .attempt = attempt->number,
                                          .max_attempts = attempt->max,
                                          .failed = true,
                                          .will_retry = !attempt->is_last,
                                          .died = attempt->is_last && !is_stage,
                                          .again = attempt->is_last ? 0 : attempt->again,
                                          .queue = attempt->queue,
                                          .class_path = attempt->class_path,
                                          .error_class = PL_STR_LIT("WorkerLostError"),
                                          .message = attempt->problem });
}
