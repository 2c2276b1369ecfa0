/*
 * outage.c - what a store does while its driver reaches nobody (PL_ELOST): nothing was done, and nothing is given up.
 *
 * A thread whose connection reaches nobody keeps its ops, in their order, and tries them again, with longer and longer
 * pauses, for as long as it takes; what is queued meanwhile goes with them. The beginning and the end of an outage are
 * told in the log, and pl_store_stats says since when it lasts. A store that is about to close tries once more; then it
 * refuses what is left.
 *
 *              PL_ELOST                        anything else
 *   reached ─────────────► unreachable since t ─────────────► reached
 *                            │          ▲
 *                            └──────────┘ PL_ELOST: 10 ms … 2 s later
 */
#include "store/turn.h"

enum { PAUSE_MIN_US = 10 * 1000, PAUSE_MAX_US = 2 * 1000 * 1000 };

/* From half of it to all of it, so that many processes do not come back at one moment. */
static int64_t pause_of(const pl__outage_t *outage) {
    int64_t us = PAUSE_MIN_US;
    for (int i = 1; i < outage->tries && us < PAUSE_MAX_US; i++)
        us *= 2;
    us = us < PAUSE_MAX_US ? us : PAUSE_MAX_US;
    uint64_t random = (uint64_t)pl_clock_monotonic_us() * UINT64_C(0x9e3779b97f4a7c15);
    return us / 2 + (int64_t)((random >> 32) % (uint64_t)(us / 2));
}

bool pl__outage_wait(pl_store_t *store, pl__outage_t *outage, pthread_cond_t *cond, const pl_error_t *why) {
    bool is_new = outage->tries == 0;
    pthread_mutex_lock(&store->mutex);
    if (is_new) {
        outage->since = pl_clock_now(store->options.clock);
        outage->began = pl_clock_monotonic_us();
    }
    outage->tries++;
    bool ends = outage->was_ending;
    outage->was_ending = store->closing || store->no_sessions;
    pthread_mutex_unlock(&store->mutex);
    if (is_new)
        pl_log(store->options.log, PL_LOG_WARNING, "%s cannot be reached (%s): what is asked of it waits until it can",
               store->path, why->message[0] ? why->message : pl_result_text(PL_ELOST));
    store->options.wake(store->options.data); /* what was done before can be collected */
    if (ends)
        return false;
    int64_t until_us = pl_clock_monotonic_us() + pause_of(outage);
    struct timespec until = pl_clock_timespec(until_us);
    pthread_mutex_lock(&store->mutex);
    while (!store->closing && !store->no_sessions && pl_clock_monotonic_us() < until_us)
        pthread_cond_timedwait(cond, &store->mutex, &until);
    pthread_mutex_unlock(&store->mutex);
    return true;
}

void pl__outage_over(pl_store_t *store, pl__outage_t *outage) {
    if (outage->tries == 0)
        return;
    double lasted = (double)(pl_clock_monotonic_us() - outage->began) / (double)PL_USEC_PER_SEC;
    pthread_mutex_lock(&store->mutex);
    *outage = (pl__outage_t){ .tries = 0 };
    pthread_mutex_unlock(&store->mutex);
    pl_log(store->options.log, PL_LOG_INFO, "%s is reached again, after %.3g s", store->path, lasted);
}

pl_usec_t pl__outage_since(const pl_store_t *store) {
    pl_usec_t writer = store->outage.since, reader = store->reader_outage.since;
    return writer && (!reader || writer < reader) ? writer : reader;
}
