/*
 * clock.h - where time comes from. Nothing above asks the system; tests own the clock.
 *
 * A clock is shared by the loop thread and the store thread, so a virtual one is atomic.
 */
#ifndef PL_BASE_CLOCK_H
#define PL_BASE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef int64_t pl_usec_t; /* microseconds since the epoch, UTC */
#define PL_USEC_PER_SEC INT64_C(1000000)
#define PL_USEC_NEVER INT64_MAX

typedef struct {
    bool is_virtual;
    _Atomic int64_t now_us; /* of a virtual clock */
} pl_clock_t;

void pl_clock_init_system(pl_clock_t *clock);
void pl_clock_init_virtual(pl_clock_t *clock, pl_usec_t start);
pl_usec_t pl_clock_now(const pl_clock_t *clock);
/* Moves a virtual clock forward to `when`; earlier values change nothing. */
void pl_clock_advance_to(pl_clock_t *clock, pl_usec_t when);
/* Monotonic microseconds for measuring durations and lease renewal: never virtual. */
int64_t pl_clock_monotonic_us(void);
/* Seconds (float, as users give them) to microseconds; clamps to the representable range, NaN gives 0. */
pl_usec_t pl_clock_from_seconds(double seconds);

#endif
