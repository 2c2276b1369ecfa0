/*
 * clock.h - where time comes from. Nothing above asks the system; tests own the clock.
 *
 * The wall clock says what time it is: etas, schedules and everything users see follow it. Somebody may set it, forward
 * or back. The steady clock only counts: durations (timeouts, sleeps, deadlines) follow it. What is kept in a file
 * outlives a process, so its durations are kept as ends on the wall clock, and moved when that clock was set: by
 * comparing pl_clock_offset with what it was before.
 *
 * Sums saturate: a duration too long to be represented ends at PL_USEC_MAX, which is never reached.
 *
 * A clock is shared by the loop thread and the store thread, so a virtual one is atomic.
 */
#ifndef PL_BASE_CLOCK_H
#define PL_BASE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef int64_t pl_usec_t; /* microseconds since the epoch, UTC */
#define PL_USEC_PER_SEC INT64_C(1000000)
#define PL_USEC_NEVER INT64_MAX         /* no time at all */
#define PL_USEC_MAX (PL_USEC_NEVER - 1) /* the last time there is */

typedef struct {
    bool is_virtual;
    _Atomic int64_t now_us; /* of a virtual clock */
} pl_clock_t;

void pl_clock_init_system(pl_clock_t *clock);
void pl_clock_init_virtual(pl_clock_t *clock, pl_usec_t start);
pl_usec_t pl_clock_now(const pl_clock_t *clock);
/* What is due by this time is due by every clock that a program can read. It is pl_clock_now, but for the first few
 * milliseconds of a second: time() and os.time(), which tell whole seconds, read a clock that ticks a little later, and
 * would still tell the second before. */
pl_usec_t pl_clock_due(const pl_clock_t *clock);
pl_usec_t pl_clock_due_at(const pl_clock_t *clock, pl_usec_t now); /* the same when `now` was just read */
/* The steady clock: microseconds since some moment; monotonic. A virtual clock is both, as nobody sets it. */
pl_usec_t pl_clock_steady(const pl_clock_t *clock);
/* Moves a virtual clock forward to `when`; earlier values change nothing. */
void pl_clock_advance_to(pl_clock_t *clock, pl_usec_t when);
/* Monotonic microseconds for measuring durations and lease renewal: never virtual. */
int64_t pl_clock_monotonic_us(void);
/* Microseconds of processor time of the calling thread. */
int64_t pl_clock_thread_us(void);
/* The same for the system's calls that wait until a time. */
struct timespec pl_clock_timespec(int64_t us);
/* How far the wall clock is ahead of the time since the system was started (in which it may have slept). It changes by
 * more than a moment only when somebody sets the wall clock. */
int64_t pl_clock_offset(void);
/* `now` of the system's clock by pl_clock_now, read just before, as such an offset: cheaper, but too small if this
 * thread was stopped in between. So what looks like a step is looked at again by pl_clock_offset. */
int64_t pl_clock_offset_of(pl_usec_t now);
#define PL__CLOCK_STEP_US (2 * PL_USEC_PER_SEC) /* less than that is not looked at: clocks drift */
/* Seconds (float, as users give them) to microseconds; clamps to -PL_USEC_MAX … PL_USEC_MAX, NaN gives 0. */
pl_usec_t pl_clock_from_seconds(double seconds);
/* The time `span` after `time` (before it, if negative): saturates as pl_clock_from_seconds does. NEVER stays NEVER. */
pl_usec_t pl_clock_add(pl_usec_t time, pl_usec_t span);
/* Seconds to milliseconds for uv and poll, rounded up: 0 … PL_CLOCK_MS_MAX, a bit less than 25 days. */
#define PL_CLOCK_MS_MAX INT32_MAX
int32_t pl_clock_ms(double seconds);

#endif
