/*
 * civil.h - dates of the proleptic Gregorian calendar as plain numbers.
 *
 * Three counts are used in this room, all of them 64-bit integers:
 *
 *   an instant     seconds since 1970-01-01T00:00:00 UTC, without leap seconds
 *   a local time   seconds since 1970-01-01T00:00:00 on the clock of a zone: instant + offset
 *   a day          days since 1970-01-01
 *
 * Local times are never normalised: one that does not exist, or exists twice, is a number like any other, and what
 * instants it stands for is the business of the zone.
 */
#ifndef PL_CALENDAR_CIVIL_H
#define PL_CALENDAR_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

#define PL_DAY_SECONDS 86400
#define PL_ERA_DAYS 146097                     /* 400 years: then dates, weekdays included, repeat */
#define PL_INSTANT_MIN (INT64_C(-62135596800)) /* 0001-01-01T00:00:00Z */
#define PL_INSTANT_MAX (INT64_C(253402300799)) /* 9999-12-31T23:59:59Z */
#define PL_INSTANT_NEVER INT64_MAX             /* no instant at all */
#define PL_LOCAL_TEXT_MAX 40                   /* bytes of what pl_local_text writes, with its NUL */

typedef struct {
    int64_t year;
    int month; /* 1 … 12 */
    int day;   /* 1 … 31 */
} pl_date_t;

/* The day of a date; the month has to be 1 … 12, the day of the month may be any. */
int64_t pl_day_of(int64_t year, int month, int day);
pl_date_t pl_date_of(int64_t day);
int pl_month_days(int64_t year, int month);
/* 0 Sunday … 6 Saturday. */
int pl_weekday_of(int64_t day);
/* The day a local time is in. */
int64_t pl_day_of_local(int64_t local);

/* Reads "2026-12-25". Returns PL_OK, or PL_EINVAL: it is no date of the years 1 to 9999. */
int pl_day_parse(pl_str_t text, int64_t *day, pl_error_t *error) PL__MUST_USE;
/* Reads "2026-12-24T18:00" or "2026-12-24T18:00:30", a space instead of the T too. Returns PL_OK or PL_EINVAL. */
int pl_local_parse(pl_str_t text, int64_t *local, pl_error_t *error) PL__MUST_USE;
/* Writes "2026-12-24T18:00:00+01:00", with the seconds of the offset if it has any. */
void pl_local_text(int64_t instant, int32_t offset, char out[PL_LOCAL_TEXT_MAX]);

#endif
