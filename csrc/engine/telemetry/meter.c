/*
 * meter.c - what an engine counts of its work. See meter.h.
 */
#include "engine/telemetry/meter.h"

#include "engine/engine.h"

void pl__meter_begin(pl_engine_t *engine, pl_claim_t *claim) {
    pl_meter_t *meter = &claim->gate->meter;
    claim->started = pl_clock_steady(&engine->clock);
    meter->started[claim->kind]++;
    pl__histogram_add(&meter->queue, PL_HISTOGRAM_TIME_FIRST, claim->started + engine->wall_ahead - claim->eta);
}

void pl__meter_end(pl_engine_t *engine, const pl_claim_t *claim) {
    pl__histogram_add(&claim->gate->meter.execute, PL_HISTOGRAM_TIME_FIRST,
                      pl_clock_steady(&engine->clock) - claim->started);
}

static pl_str_t name_of(const pl__gate_t *gate) {
    return gate->name.ptr ? gate->name : PL_STR_LIT("default");
}

static void add_histogram(pl_histogram_t *to, const pl_histogram_t *from) {
    for (int i = 0; i < PL_HISTOGRAM_BUCKETS; i++)
        to->counts[i] += from->counts[i];
    to->sum += from->sum;
}

static void add(pl_meter_t *to, const pl_meter_t *from) {
    for (int i = 0; i < PL_METER_KINDS; i++) {
        to->started[i] += from->started[i];
        to->succeeded[i] += from->succeeded[i];
        to->failed[i] += from->failed[i];
        to->dead[i] += from->dead[i];
    }
    add_histogram(&to->execute, &from->execute);
    add_histogram(&to->queue, &from->queue);
}

int pl_engine_meter(const pl_engine_t *engine, pl_meter_facts_t *facts,
                    pl_meter_queue_t queues[PL_METER_QUEUE_MAX + 1]) {
    size_t len = engine->gates_len;
    *facts = (pl_meter_facts_t){ .lag_us = engine->lag_us };
    pl_store_meter(engine->store, &facts->commit_us, &facts->commit_ops);
    queues[PL_METER_QUEUE_MAX] = (pl_meter_queue_t){ .queue = PL_STR_NONE };
    for (size_t i = 0; i < len && i < PL_METER_QUEUE_MAX; i++)
        queues[i] = (pl_meter_queue_t){ name_of(engine->gates[i]), engine->gates[i]->meter };
    for (size_t i = PL_METER_QUEUE_MAX; i < len; i++)
        add(&queues[PL_METER_QUEUE_MAX].meter, &engine->gates[i]->meter);
    return len <= PL_METER_QUEUE_MAX ? (int)len : PL_METER_QUEUE_MAX + 1;
}
