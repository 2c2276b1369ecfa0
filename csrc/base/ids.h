/*
 * ids.h - ids made by the engine, never by the database.
 *
 * An id is a positive 63-bit integer: 41 bits of milliseconds since 2020, 10 bits of worker number, 12 bits of
 * sequence. It orders by time, so inserts append; worker numbers are unique among live workers of a file, so two
 * processes never make the same one. When more than 4,096 are wanted in a millisecond the generator borrows from
 * the next one; it never goes back, whatever the clock does.
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

#define PL_IDS_WORKER_BITS 10
#define PL_IDS_SEQUENCE_BITS 12
#define PL_IDS_WORKERS (1 << PL_IDS_WORKER_BITS)

typedef struct {
    int64_t tick; /* milliseconds since 2020 << 12 | sequence, last used */
    int worker;
} pl_ids_t;

/* `floor` is the greatest id already in the file; ids made here are greater in time than it. */
void pl_ids_init(pl_ids_t *ids, int worker, pl_id_t floor);
pl_id_t pl_ids_next(pl_ids_t *ids, const pl_clock_t *clock);
/* The worker number in an id. */
int pl_ids_worker(pl_id_t id);

#endif
