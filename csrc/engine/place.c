/*
 * place.c - places: how many claims are executed at once, and how one that only waits gives its place to others; gates:
 * how many of a queue.
 *
 *          execute            leave                take              served (scheduler.c)
 *   (none) ───────► HELD ────────────► LEFT ───────────────► HELD
 *                                        │    no place free     ▲
 *                                        └──────► WANTED ───────┘
 *
 * Invariants
 *   1. Claims that are LEFT or WANTED are in `waiting`; the others, executing - waiting, hold a place each.
 *   2. WANTED ones are in `woken`, in the order in which they were woken; nobody who comes later overtakes them, but
 *      what is claimed anew has every other place, so that neither is held up by the other.
 *   3. What waits costs memory, not places, up to waiting_memory: who would exceed it keeps the place.
 *
 * Gates. Of a queue with a limit this process may have claimed more than it may execute at once: its permits (see
 * store/sqlite/queue/permits.c). Claims pass the gate of their queue on their way into the buffer, in their order,
 * while fewer than that are in the buffer or executed; one that waits in the sense above counts. The others wait at the
 * gate, in nobody's way, until one of their queue ends.
 */
#include "engine/engine.h"

#include <string.h>

#define WAIT_BYTES ((size_t)8 * 1024) /* what a suspended coroutine and the records of its task take, beside values */

bool pl__places_free(const pl_engine_t *engine) {
    return engine->executing - engine->waiting < engine->concurrency;
}

static void again_cb(uv_idle_t *handle) {
    (void)handle; /* the loop does not sleep; run.c does the rest */
}

bool pl__places_have_turn(const pl_engine_t *engine) {
    return (engine->buffer.head || engine->woken) && pl__places_free(engine);
}

void pl__places_look(pl_engine_t *engine) {
    if (engine->running && pl__places_have_turn(engine))
        uv_idle_start(&engine->again, again_cb);
}

static void woken_remove(pl_engine_t *engine, pl_place_t *place) {
    if (place->prev)
        place->prev->next = place->next;
    else
        engine->woken = place->next;
    if (place->next)
        place->next->prev = place->prev;
    else
        engine->woken_last = place->prev;
    place->next = place->prev = NULL;
}

static void woken_add(pl_engine_t *engine, pl_place_t *place) {
    place->next = NULL;
    place->prev = engine->woken_last;
    if (engine->woken_last)
        engine->woken_last->next = place;
    else
        engine->woken = place;
    engine->woken_last = place;
}

static void hold_again(pl_engine_t *engine, pl_place_t *place) {
    engine->waiting--;
    engine->waiting_bytes -= place->bytes;
    place->state = PL_PLACE_HELD;
}

/* Says once that waiting takes all the memory it may, until that is better. */
static void tell_full(pl_engine_t *engine) {
    if (engine->waiting_is_full)
        return;
    engine->waiting_is_full = true;
    pl_log(&engine->log, PL_LOG_WARNING,
           "%d tasks that wait take the memory they may (waiting_memory): more that wait keep their places",
           engine->waiting);
}

void pl_engine_place_leave(pl_engine_t *engine, pl_place_t *place, size_t bytes) {
    if (place->state != PL_PLACE_HELD)
        return;
    bytes += WAIT_BYTES;
    if (engine->waiting_bytes + bytes > engine->waiting_bytes_max) {
        tell_full(engine);
        return;
    }
    if (engine->waiting_bytes < engine->waiting_bytes_max / 2)
        engine->waiting_is_full = false;
    engine->waiting++;
    engine->waiting_bytes += bytes;
    place->bytes = bytes;
    place->state = PL_PLACE_LEFT;
    pl__places_look(engine);
}

bool pl_engine_place_take(pl_engine_t *engine, pl_place_t *place, bool at_once) {
    if (place->state == PL_PLACE_HELD)
        return true;
    if (place->state == PL_PLACE_LEFT && (at_once || (!engine->woken && pl__places_free(engine)))) {
        hold_again(engine, place);
        return true;
    }
    if (place->state == PL_PLACE_LEFT) {
        place->state = PL_PLACE_WANTED;
        woken_add(engine, place);
    }
    return false;
}

void pl_engine_place_forget(pl_engine_t *engine, pl_place_t *place) {
    if (place->state == PL_PLACE_WANTED)
        woken_remove(engine, place);
    if (place->state != PL_PLACE_HELD)
        hold_again(engine, place);
}

void pl__places_serve(pl_engine_t *engine) {
    pl_place_t *place = engine->woken;
    woken_remove(engine, place);
    hold_again(engine, place);
    place->served(place);
}

/* ---- gates ------------------------------------------------------------------------------------------------------- */

static void append(pl__claims_t *list, pl_claim_t *claim) {
    if (!list->head)
        list->tail = &list->head; /* an empty one may be zeroed */
    claim->next = NULL;
    *list->tail = claim;
    list->tail = &claim->next;
    list->len++;
    list->bytes += claim->bytes;
}

static pl_claim_t *take_first(pl__claims_t *list) {
    pl_claim_t *claim = list->head;
    list->head = claim->next;
    if (!list->head)
        list->tail = &list->head;
    list->len--;
    list->bytes -= claim->bytes;
    claim->next = NULL;
    return claim;
}

static void admit(pl_engine_t *engine, pl__gate_t *gate, pl_claim_t *claim) {
    gate->admitted++;
    append(&engine->buffer, claim);
}

static bool is_open(const pl__gate_t *gate) {
    return gate->permits == 0 || gate->admitted < gate->permits;
}

static void admit_waiting(pl_engine_t *engine, pl__gate_t *gate) {
    while (gate->waiting.head && is_open(gate)) {
        pl_claim_t *claim = take_first(&gate->waiting);
        engine->gated--;
        engine->gated_bytes -= claim->bytes;
        claim->claimed = pl_clock_steady(&engine->clock); /* its try begins about now */
        admit(engine, gate, claim);
    }
}

/* The place of the first gate whose queue is not less. */
static size_t place_of(const pl_engine_t *engine, int64_t queue) {
    size_t low = 0, high = engine->gates_len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (engine->gates[middle]->queue < queue)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static pl__gate_t *gate_at(const pl_engine_t *engine, size_t at, int64_t queue) {
    bool is_there = at < engine->gates_len && engine->gates[at]->queue == queue;
    return is_there ? engine->gates[at] : NULL;
}

pl__gate_t *pl__gate_find(const pl_engine_t *engine, int64_t queue) {
    return gate_at(engine, place_of(engine, queue), queue);
}

static pl__gate_t *add_gate(pl_engine_t *engine, size_t at, const pl_claim_t *claim) {
    int64_t queue = claim->queue_id;
    enum { FIRST = 8 };
    pl__gate_t **room = pl__reserve(engine->gates, engine->gates_len, &engine->gates_size, FIRST, sizeof *room);
    if (!room)
        return NULL;
    engine->gates = room;
    pl__gate_t *gate = pl__alloc(sizeof *gate);
    char *name = claim->queue.ptr ? pl__alloc(claim->queue.len + 1) : NULL;
    if (!gate || (claim->queue.ptr && !name)) {
        pl__free(gate);
        pl__free(name);
        return NULL;
    }
    if (name)
        memcpy(name, claim->queue.ptr, claim->queue.len);
    *gate = (pl__gate_t){ .queue = queue, .name = { name, claim->queue.len } };
    memmove(engine->gates + at + 1, engine->gates + at, (engine->gates_len - at) * sizeof *engine->gates);
    engine->gates[at] = gate;
    engine->gates_len++;
    return gate;
}

pl__gate_t *pl__gate_of(pl_engine_t *engine, const pl_claim_t *claim) {
    size_t at = place_of(engine, claim->queue_id);
    pl__gate_t *gate = gate_at(engine, at, claim->queue_id);
    if (!gate)
        gate = add_gate(engine, at, claim);
    if (!gate)
        return NULL;
    gate->permits = claim->permits;
    admit_waiting(engine, gate);
    return gate;
}

void pl__gate_enter(pl_engine_t *engine, pl__gate_t *gate, pl_claim_t *claim) {
    claim->gate = gate;
    if (!gate->waiting.head && is_open(gate)) {
        admit(engine, gate, claim);
        return;
    }
    append(&gate->waiting, claim);
    engine->gated++;
    engine->gated_bytes += claim->bytes;
}

void pl__gate_leave(pl_engine_t *engine, const pl_claim_t *claim) {
    claim->gate->admitted--;
    if (claim->gate->waiting.head)
        admit_waiting(engine, claim->gate);
}

pl_claim_t *pl__gate_empty(pl_engine_t *engine, pl__gate_t *gate, int *len) {
    pl__claims_t left = { .len = 0 }, taken = { .len = 0 };
    while (engine->buffer.head) {
        pl_claim_t *claim = take_first(&engine->buffer);
        bool is_taken = !gate || claim->gate == gate;
        if (is_taken)
            claim->gate->admitted--;
        append(is_taken ? &taken : &left, claim);
    }
    engine->buffer = left;
    if (!left.head)
        engine->buffer.tail = &engine->buffer.head;
    for (size_t i = 0; i < engine->gates_len; i++)
        while (engine->gates[i]->waiting.head && (!gate || engine->gates[i] == gate)) {
            pl_claim_t *claim = take_first(&engine->gates[i]->waiting);
            engine->gated--;
            engine->gated_bytes -= claim->bytes;
            append(&taken, claim);
        }
    *len = taken.len;
    return taken.head;
}

void pl__gates_free(pl_engine_t *engine) {
    for (size_t i = 0; i < engine->gates_len; i++) {
        pl__free((void *)(uintptr_t)engine->gates[i]->name.ptr);
        pl__free(engine->gates[i]);
    }
    pl__free(engine->gates);
    engine->gates = NULL;
    engine->gates_len = engine->gates_size = 0;
}
