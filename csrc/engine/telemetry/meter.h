/*
 * meter.h - what an engine counts of its work: by queue and kind of task, and of its loop.
 *
 * It is counted always, by the thread of the loop, where the work passes anyway; it begins at 0 when the engine opens.
 * The counts of a queue live with its gate (place.c), for as long as the engine does.
 */
#ifndef PL_ENGINE_TELEMETRY_METER_H
#define PL_ENGINE_TELEMETRY_METER_H

#include "base/histogram.h"
#include "store/claim.h"

enum { PL_METER_KINDS = 7, PL_METER_QUEUE_MAX = 100 };

typedef struct {
    uint64_t started[PL_METER_KINDS], succeeded[PL_METER_KINDS], failed[PL_METER_KINDS], dead[PL_METER_KINDS];
    pl_histogram_t execute, queue; /* us: of an execution; from when a task could begin until it did */
} pl_meter_t;

typedef struct {
    pl_str_t queue; /* borrows until the engine closes; absent: all that are beyond PL_METER_QUEUE_MAX, together */
    pl_meter_t meter;
} pl_meter_queue_t;

/* Of one engine. */
typedef struct {
    pl_histogram_t commit_us, commit_ops; /* of the store's transactions */
    pl_histogram_t lag_us;                /* for how long at a time the loop was busy */
} pl_meter_facts_t;

struct pl_engine;
/* The execution of a claim begins, or has ended. */
void pl__meter_begin(struct pl_engine *engine, pl_claim_t *claim);
void pl__meter_end(struct pl_engine *engine, const pl_claim_t *claim);

#endif
