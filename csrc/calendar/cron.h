/*
 * cron.h - one cron expression, compiled to sets of seconds, minutes, hours, days, months and weekdays.
 *
 *   fields      [second] minute hour day month weekday; without seconds: at second 0
 *   values      numbers; JAN-DEC, SUN-SAT in any case; weekday 0 and 7 are Sunday
 *   items       a star, 5, 5-55, each with a step (5-55/10; 3/20: from 3 on to the end); ranges may wrap (FRI-MON,
 *               22-4); lists of all that
 *   day         L the last one, L-2 two days before it, LW the last one of Monday to Friday, 15W the one of Monday to
 *               Friday nearest to the 15th in the same month; ? as a star
 *   weekday     5L (FRIL) the last Friday of the month, MON#2 the second Monday; ? as a star
 *   names       @yearly @annually @monthly @weekly @daily @midnight @hourly
 *
 * When both day and weekday are restricted (anything but a star and ?), either of them is enough, as in cron; with
 * PL_CRON_DAY_AND_WEEKDAY both are needed.
 *
 * An expression whose hour is a star, or a star with a step, follows elapsed time: it fires at each real occurrence of
 * its local times. All others follow the clock on the wall; next.h says what that means when the clock is changed.
 */
#ifndef PL_CALENDAR_CRON_H
#define PL_CALENDAR_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

enum {
    PL_CRON_DAY_AND_WEEKDAY = 1, /* both fields are needed */
    PL_CRON_EXCLUDES = 2
}; /* it says what does not fire: without seconds it stands for whole minutes */

/* A plain value; bit n of a set stands for the number n. */
typedef struct {
    uint64_t seconds, minutes; /* 0 … 59 */
    uint32_t hours;            /* 0 … 23 */
    uint32_t days;             /* 1 … 31 */
    uint32_t before_last;      /* n days before the last one: 0 … 30 */
    uint32_t nearest;          /* the weekday nearest to the nth: 1 … 31 */
    uint16_t months;           /* 1 … 12 */
    uint8_t weekdays;          /* 0 Sunday … 6 */
    uint8_t last_weekdays;     /* the last such weekday of the month */
    uint8_t nth_weekdays[7];   /* of each weekday: 1 … 5 */
    bool last_workday;         /* LW */
    bool any_day, any_weekday; /* the field is * or ? */
    bool needs_both;           /* day and weekday, when both are restricted */
    bool is_elapsed;           /* follows elapsed time, not the clock on the wall */
} pl_cron_t;

/* Compiles the expression; `flags` of PL_CRON_…. Returns PL_OK, or PL_EINVAL with a message that names the field and
 * the position in the text (from 1), also for one that matches no date at all, such as 30 February. */
int pl_cron_parse(pl_str_t text, unsigned flags, pl_cron_t *out, pl_error_t *error) PL__MUST_USE;
/* The days of a month (1 … 12) that it matches: bit n for the nth. */
uint32_t pl_cron_days(const pl_cron_t *cron, int64_t year, int month);
/* Whether it matches all times of the days it matches. */
bool pl_cron_is_all_day(const pl_cron_t *cron);

#endif
