/*
 * histogram.h - how often something took how long, or was how large: counts in fixed buckets.
 *
 * The upper bounds of buckets are powers of two, so that to count is a few instructions: 2^first, 2^(first+1) and so
 * on; the last bucket has no bound. Not locked: one thread counts, and whoever else reads sees what was there a moment
 * ago.
 */
#ifndef PL_BASE_HISTOGRAM_H
#define PL_BASE_HISTOGRAM_H

#include <stdint.h>

enum {
    PL_HISTOGRAM_BUCKETS = 20,
    PL_HISTOGRAM_TIME_FIRST = 8, /* microseconds: 256 us … 67 s */
    PL_HISTOGRAM_COUNT_FIRST = 0 /* 1 … 262,144 */
};

typedef struct {
    uint64_t counts[PL_HISTOGRAM_BUCKETS]; /* of each bucket alone; the last: all beyond the others */
    uint64_t sum;
} pl_histogram_t;

static inline void pl__histogram_add(pl_histogram_t *histogram, int first, int64_t value) {
    uint64_t rest = value > 1 ? (uint64_t)(value - 1) >> first : 0; /* a bound belongs to its bucket */
    int bucket = rest == 0 ? 0 : 64 - __builtin_clzll(rest);
    histogram->counts[bucket < PL_HISTOGRAM_BUCKETS ? bucket : PL_HISTOGRAM_BUCKETS - 1]++;
    histogram->sum += value > 0 ? (uint64_t)value : 0;
}

#endif
