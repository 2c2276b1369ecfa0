/*
 * zone.h - a time zone: what its clocks show at an instant, and which instants a local time stands for.
 *
 * It is read from the bytes of a zone file (TZif, RFC 9636, version 2 and later: the block of 64-bit times and the
 * footer). The table says what holds up to its last line, the footer what holds from there on, for ever. Whoever has
 * the bytes hands them over: nothing here opens a file, and neither TZ nor the zone of the host is ever looked at.
 *
 * A zone is never changed once it is made, so threads may share it.
 */
#ifndef PL_CALENDAR_ZONE_H
#define PL_CALENDAR_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

typedef struct pl_zone pl_zone_t;

/* A stretch [begin, end) of instants during which the clock is not changed. INT64_MIN: it has no begin; INT64_MAX: no
 * end. Neighbours may have the same offset. */
typedef struct {
    int64_t begin, end;
    int32_t offset; /* seconds; local time = instant + offset */
    bool is_dst;
    const char *abbreviation; /* borrows from the zone */
} pl_zone_span_t;

/* What a local time stands for. */
typedef struct {
    int count;          /* of instants: 1; 2: the clock was put back over it; 0: it was put forward over it */
    int64_t at[2];      /* the instants, the earlier one first */
    int64_t gap_at;     /* count 0: the instant at which the clock was put forward */
    int32_t gap_length; /* count 0: by so many seconds */
} pl_zone_instants_t;

/* The offset of no zone is greater than this (RFC 9636: -25 to 26 hours). */
#define PL_ZONE_OFFSET_MAX (26 * 3600)

/* Makes a zone of the bytes of a zone file; they are no longer needed then. `*out` is owned: free with pl_zone_free.
 * Returns PL_OK, PL_ECORRUPT (they are no zone file, or a damaged one; or one that counts leap seconds, or that has
 * 32-bit times only), or PL_ENOMEM. */
int pl_zone_read(const void *bytes, size_t len, pl_zone_t **out, pl_error_t *error) PL__MUST_USE;
/* NULL is allowed. */
void pl_zone_free(pl_zone_t *zone);
/* Returns static: UTC, which needs no file and is not to be freed. */
const pl_zone_t *pl_zone_utc(void);

/* A number for what the bytes said: files with other rules have another one. */
uint64_t pl_zone_digest(const pl_zone_t *zone);

/* The stretch with the instant in it. Instants outside of PL_INSTANT_MIN … PL_INSTANT_MAX count as the nearest one. */
void pl_zone_span(const pl_zone_t *zone, int64_t instant, pl_zone_span_t *out);
/* The instants of a local time of the years 1 to 9999. */
void pl_zone_instants(const pl_zone_t *zone, int64_t local, pl_zone_instants_t *out);

#endif
