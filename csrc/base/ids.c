/*
 * ids.c - time-ordered ids without a database.
 */
#include "base/ids.h"

#define EPOCH_MS INT64_C(1577836800000) /* 2020-01-01 */
/* An id has 41 bits for these: past their end (in 2089, or in virtual time) ids count on from there. */
#define MS_MAX ((INT64_C(1) << PL_IDS_TIME_BITS) - (INT64_C(1) << 24))
#define SEQUENCE_MASK ((INT64_C(1) << PL_IDS_SEQUENCE_BITS) - 1)

_Static_assert(PL_IDS_TIME_BITS + PL_IDS_WORKER_BITS + PL_IDS_SEQUENCE_BITS == 63, "an id is positive");
_Static_assert(PL_IDS_WORKER_BITS + PL_IDS_START_BITS <= 32, "the random part of a store");

/* The last tick of the millisecond that an id was made in. */
static int64_t end_of_millisecond(pl_id_t id) {
    return (((id >> (PL_IDS_WORKER_BITS + PL_IDS_SEQUENCE_BITS)) + 1) << PL_IDS_SEQUENCE_BITS) - 1;
}

static pl_id_t compose(const pl_ids_t *ids) {
    int64_t ms = ids->tick >> PL_IDS_SEQUENCE_BITS, sequence = ids->tick & SEQUENCE_MASK;
    int64_t worker = ids->worker ^ ids->mask;
    return (ms << (PL_IDS_WORKER_BITS + PL_IDS_SEQUENCE_BITS)) | (worker << PL_IDS_SEQUENCE_BITS) | sequence;
}

void pl_ids_init(pl_ids_t *ids, int worker, pl_id_t floor, uint32_t store) {
    ids->worker = worker;
    ids->mask = (int)(store & (PL_IDS_WORKERS - 1));
    ids->start = (int)((store >> PL_IDS_WORKER_BITS) & ((1U << PL_IDS_START_BITS) - 1));
    ids->tick = end_of_millisecond(floor); /* the next one starts a new one */
}

pl_id_t pl_ids_next(pl_ids_t *ids, const pl_clock_t *clock) {
    int64_t ms = pl_clock_now(clock) / 1000 - EPOCH_MS;
    if (ms > MS_MAX)
        ms = MS_MAX;
    int64_t tick = ms > 0 ? ms << PL_IDS_SEQUENCE_BITS | ids->start : ids->start | 1;
    ids->tick = tick > ids->tick ? tick : ids->tick + 1;
    return compose(ids);
}

void pl_ids_pass(pl_ids_t *ids, pl_id_t id) {
    if (id > compose(ids))
        ids->tick = end_of_millisecond(id);
}

pl_usec_t pl_ids_time(pl_id_t id) {
    return ((id >> (PL_IDS_WORKER_BITS + PL_IDS_SEQUENCE_BITS)) + EPOCH_MS) * 1000;
}

int pl_ids_worker(const pl_ids_t *ids, pl_id_t id) {
    return ((int)(id >> PL_IDS_SEQUENCE_BITS) & (PL_IDS_WORKERS - 1)) ^ ids->mask;
}
