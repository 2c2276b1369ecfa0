/*
 * clock.c - the system's clock, or one that tests move by hand.
 */
#include "base/clock.h"

#include <math.h>
#include <time.h>

void pl_clock_init_system(pl_clock_t *clock) {
    clock->is_virtual = false;
    atomic_init(&clock->now_us, 0);
}

void pl_clock_init_virtual(pl_clock_t *clock, pl_usec_t start) {
    clock->is_virtual = true;
    atomic_init(&clock->now_us, start);
}

static int64_t read_clock(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (int64_t)now.tv_sec * PL_USEC_PER_SEC + now.tv_nsec / 1000;
}

pl_usec_t pl_clock_now(const pl_clock_t *clock) {
    return clock->is_virtual ? atomic_load(&clock->now_us) : read_clock(CLOCK_REALTIME);
}

void pl_clock_advance_to(pl_clock_t *clock, pl_usec_t when) {
    int64_t now = atomic_load(&clock->now_us);
    while (now < when && !atomic_compare_exchange_weak(&clock->now_us, &now, when))
        continue;
}

int64_t pl_clock_monotonic_us(void) {
    return read_clock(CLOCK_MONOTONIC);
}

pl_usec_t pl_clock_from_seconds(double seconds) {
    double us = seconds * 1e6;
    if (isnan(us))
        return 0;
    if (us >= 9e18)
        return PL_USEC_NEVER - 1;
    if (us <= -9e18)
        return -(PL_USEC_NEVER - 1);
    return (pl_usec_t)llround(us);
}
