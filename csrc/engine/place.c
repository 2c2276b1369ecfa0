/*
 * place.c - places: how many claims are executed at once, and how one that only waits gives its place to others.
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
 */
#include "engine/engine.h"

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
