/*
 * footer.h - the rule at the end of a zone file: the POSIX form of TZ, with the extensions of RFC 9636.
 *
 *   STD offset [DST [offset],begin[/time],end[/time]]
 *
 * Names have three letters or more; between angle brackets they may hold digits and signs (<+02>). Offsets say how far
 * the clock is behind UTC: their sign is the reverse of the usual one. "Daylight saving" time may be behind standard
 * time (Dublin), and last all year. The dates are Mm.w.d (month, week, weekday; week 5: the last), Jn (day 1 to 365,
 * never 29 February), or n (0 to 365, counting it); times are 02:00 unless given, and lie between -167 and 167 hours.
 */
#ifndef PL_CALENDAR_FOOTER_H
#define PL_CALENDAR_FOOTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

enum { PL_FOOTER_NAME_MAX = 16 };

/* What the clock shows for a while. */
typedef struct {
    int32_t offset; /* seconds, to be added to UTC */
    bool is_dst;
    char name[PL_FOOTER_NAME_MAX]; /* what is longer is cut */
} pl_footer_type_t;

/* The date of a change, in each year. */
typedef struct {
    enum { PL_FOOTER_WEEK, PL_FOOTER_JULIAN, PL_FOOTER_DAY } kind;
    int month, week, weekday; /* PL_FOOTER_WEEK: week 5 is the last one */
    int day;                  /* of the others */
    int32_t time;             /* seconds from the midnight of that day, by the clock before the change */
} pl_footer_date_t;

typedef struct {
    pl_footer_type_t standard, daylight;
    bool has_daylight;
    pl_footer_date_t begin, end; /* of daylight saving time */
} pl_footer_t;

/* A stretch during which the footer's type is the same: [begin, end). INT64_MIN and INT64_MAX: without begin, end. */
typedef struct {
    int64_t begin, end;
    const pl_footer_type_t *type; /* borrows from the footer */
} pl_footer_span_t;

/* Returns PL_OK or PL_ECORRUPT. `text` is not empty. */
int pl_footer_parse(pl_str_t text, pl_footer_t *out, pl_error_t *error) PL__MUST_USE;
/* The stretch with the instant in it, which has to be one of PL_INSTANT_MIN … PL_INSTANT_MAX. */
pl_footer_span_t pl_footer_span(const pl_footer_t *footer, int64_t instant);

#endif
