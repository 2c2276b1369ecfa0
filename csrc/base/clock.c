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

pl_usec_t pl_clock_due_at(const pl_clock_t *clock, pl_usec_t now) {
    if (clock->is_virtual)
        return now;
    int64_t coarse = read_clock(CLOCK_REALTIME_COARSE);
    int64_t second_after = (coarse / PL_USEC_PER_SEC + 1) * PL_USEC_PER_SEC;
    return now < second_after ? now : second_after - 1;
}

pl_usec_t pl_clock_due(const pl_clock_t *clock) {
    return pl_clock_due_at(clock, pl_clock_now(clock));
}

pl_usec_t pl_clock_steady(const pl_clock_t *clock) {
    return clock->is_virtual ? atomic_load(&clock->now_us) : read_clock(CLOCK_MONOTONIC);
}

void pl_clock_advance_to(pl_clock_t *clock, pl_usec_t when) {
    int64_t now = atomic_load(&clock->now_us);
    while (now < when && !atomic_compare_exchange_weak(&clock->now_us, &now, when))
        continue;
}

int64_t pl_clock_monotonic_us(void) {
    return read_clock(CLOCK_MONOTONIC);
}

int64_t pl_clock_thread_us(void) {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

struct timespec pl_clock_timespec(int64_t us) {
    return (struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
}

int64_t pl_clock_offset_of(pl_usec_t now) {
    return now - read_clock(CLOCK_BOOTTIME);
}

int64_t pl_clock_offset(void) {
    enum { APART_US = 50, READINGS = 100 };
    int64_t before, wall, after;
    int left = READINGS;
    do { /* both at the same time: this thread may have been stopped in between */
        before = read_clock(CLOCK_BOOTTIME);
        wall = read_clock(CLOCK_REALTIME);
        after = read_clock(CLOCK_BOOTTIME);
    } while (after - before > APART_US && --left > 0);
    return wall - after;
}

pl_usec_t pl_clock_from_seconds(double seconds) {
    double us = seconds * 1e6;
    if (isnan(us))
        return 0;
    if (us >= 9e18)
        return PL_USEC_MAX;
    if (us <= -9e18)
        return -PL_USEC_MAX;
    return (pl_usec_t)llround(us);
}

pl_usec_t pl_clock_add(pl_usec_t time, pl_usec_t span) {
    if (time == PL_USEC_NEVER)
        return PL_USEC_NEVER;
    if (span > 0 && time > PL_USEC_MAX - span)
        return PL_USEC_MAX;
    if (span < 0 && time < -PL_USEC_MAX - span)
        return -PL_USEC_MAX;
    return time + span;
}

int32_t pl_clock_ms(double seconds) {
    double ms = ceil(seconds * 1000);
    if (!(ms > 0)) /* not a number, too */
        return 0;
    return ms < PL_CLOCK_MS_MAX ? (int32_t)ms : PL_CLOCK_MS_MAX;
}
