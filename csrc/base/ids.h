/*
 * ids.h - ids made by the engine, never by the database.
 *
 * An id is a positive 63-bit integer: milliseconds since 2020, worker, sequence, in this order; the widths are stated
 * below, and kept in each store, which is opened by nobody whose ids have others. It orders by time, so inserts
 * append. When more are wanted in a millisecond than the sequence has room for, the generator borrows from the next
 * one; it never goes back, whatever the clock does.
 *
 * Ids of one file differ because worker numbers are unique among its live workers, and each worker begins above the
 * greatest id in the file. A worker that is handed a task counts on from its id, so what a run makes has greater ids
 * than its own stage: children follow parents. Ids of two files differ because each store has a random part of its own,
 * drawn once and the same for all its workers: the number of the worker is masked with some of its bits, and the
 * sequence of every millisecond begins with the others. What was made without it, or with another one, stays valid: an
 * id is compared and ordered; what is taken from it is only ever shown.
 *
 * Tasks, stages and slots share one id space: the id of a stage is also that of its default slot and of the one
 * control task (run, finalize or abort) it may have.
 */
#ifndef PL_BASE_IDS_H
#define PL_BASE_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

typedef int64_t pl_id_t; /* 0 = none */

#define PL_IDS_TIME_BITS 41
#define PL_IDS_WORKER_BITS 10
#define PL_IDS_SEQUENCE_BITS 12
#define PL_IDS_WORKERS (1 << PL_IDS_WORKER_BITS)
#define PL_IDS_START_BITS (PL_IDS_SEQUENCE_BITS - 1) /* of the sequence: half of it is left for a millisecond */

typedef struct {
    int64_t tick; /* milliseconds since 2020 and sequence, last used */
    int worker;
    int mask, start; /* of the store: of worker numbers; where sequences begin */
} pl_ids_t;

/* `floor` is the greatest id already in the file; ids made here are greater in time than it. `store` is the random part
 * of the store; 0: none. */
void pl_ids_init(pl_ids_t *ids, int worker, pl_id_t floor, uint32_t store);
pl_id_t pl_ids_next(pl_ids_t *ids, const pl_clock_t *clock);
/* Ids made from now on are greater than `id`, whoever made that, and whatever the clocks of the two say. */
void pl_ids_pass(pl_ids_t *ids, pl_id_t id);
/* About when an id was made: when it was made by a clock that was right, or earlier. */
pl_usec_t pl_ids_time(pl_id_t id);
/* The worker number in an id that has the store's random part. */
int pl_ids_worker(const pl_ids_t *ids, pl_id_t id);

#endif
