/*
 * zone.c - reads zone files and looks things up in them. See zone.h.
 *
 * The file (RFC 9636), all numbers big-endian:
 *
 *   header   "TZif", version, 15 bytes, six counts of 4 bytes: UT indicators, standard indicators, leap seconds,
 *            transitions, types, characters
 *   block    transition times, a type for each; types (offset 4, is_dst 1, abbreviation 1); characters; leap seconds;
 *            indicators. Times have 4 bytes here: version 2 files have it for old readers only
 *   header, block   the same with times of 8 bytes
 *   footer   a line feed, the rule for the time after the last transition, a line feed
 *
 * Before the first transition type 0 holds. From the last one on (always, if there is none) the footer holds; if that
 * is empty, the last type.
 */
#include "calendar/zone.h"

#include <string.h>

#include "calendar/civil.h"
#include "calendar/footer.h"

enum { HEADER_LEN = 44, TYPE_LEN = 6, TYPES_MAX = 256 };
#define TRANSITION_MAX (INT64_C(1) << 59) /* RFC 9636: times are not before -2**59 */

typedef struct {
    int32_t offset;
    bool is_dst;
    uint8_t abbreviation; /* index of its first character */
} type_t;

struct pl_zone {
    uint64_t digest;
    size_t count;           /* of transitions */
    const int64_t *at;      /* strictly ascending */
    const uint8_t *type_of; /* of each transition */
    const type_t *types;
    const char *chars; /* ends with a NUL */
    bool has_footer;
    pl_footer_t footer;
};

/* ---- reading ---------------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t ut, standard, leaps, transitions, types, chars;
} counts_t;

static uint32_t read_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t read_i64(const uint8_t *p) {
    return (int64_t)((uint64_t)read_u32(p) << 32 | read_u32(p + 4));
}

static bool read_header(const uint8_t *p, size_t len, counts_t *counts) {
    if (len < HEADER_LEN || memcmp(p, "TZif", 4))
        return false;
    *counts = (counts_t){ read_u32(p + 20), read_u32(p + 24), read_u32(p + 28),
                          read_u32(p + 32), read_u32(p + 36), read_u32(p + 40) };
    return true;
}

static uint64_t block_len(const counts_t *n, uint64_t time_len) {
    return n->transitions * (time_len + 1) + n->types * TYPE_LEN + n->chars + n->leaps * (time_len + 4) + n->standard +
           n->ut;
}

/* The zone's tables while they are filled. */
typedef struct {
    int64_t *at;
    type_t *types;
    uint8_t *type_of;
    char *chars;
} tables_t;

/* The zone with room for what the counts say behind it, in one piece of memory. */
static pl_zone_t *make(const counts_t *n, tables_t *tables) {
    size_t at = sizeof(pl_zone_t), types = at + n->transitions * sizeof(int64_t);
    size_t type_of = types + n->types * sizeof(type_t), chars = type_of + n->transitions;
    char *memory = pl__alloc(chars + n->chars + 1);
    pl_zone_t *zone = (pl_zone_t *)(void *)memory;
    if (!zone)
        return NULL;
    tables->at = (int64_t *)(void *)(memory + at);
    tables->types = (type_t *)(void *)(memory + types);
    tables->type_of = (uint8_t *)memory + type_of;
    tables->chars = memory + chars;
    zone->count = n->transitions;
    zone->at = tables->at;
    zone->types = tables->types;
    zone->type_of = tables->type_of;
    zone->chars = tables->chars;
    return zone;
}

static int read_types(const counts_t *n, const uint8_t *p, type_t *types, pl_error_t *error) {
    for (size_t i = 0; i < n->types; i++, p += TYPE_LEN) {
        int64_t offset = (int32_t)read_u32(p);
        if (offset < -PL_ZONE_OFFSET_MAX || offset > PL_ZONE_OFFSET_MAX || p[4] > 1 || p[5] >= n->chars)
            return PL__FAIL(error, PL_ECORRUPT, "its local time type %zu is damaged", i);
        types[i] = (type_t){ (int32_t)offset, p[4], p[5] };
    }
    return PL_OK;
}

static int read_transitions(const counts_t *n, const uint8_t *p, const tables_t *tables, pl_error_t *error) {
    const uint8_t *types = p + n->transitions * 8;
    int64_t *at = tables->at;
    for (size_t i = 0; i < n->transitions; i++) {
        at[i] = read_i64(p + i * 8);
        tables->type_of[i] = types[i];
        if (at[i] < -TRANSITION_MAX || at[i] > TRANSITION_MAX || (i > 0 && at[i] <= at[i - 1]) || types[i] >= n->types)
            return PL__FAIL(error, PL_ECORRUPT, "its transition %zu is damaged", i);
    }
    return PL_OK;
}

static int read_footer(const uint8_t *p, size_t len, pl_zone_t *zone, pl_error_t *error) {
    const uint8_t *end = len > 1 ? memchr(p + 1, '\n', len - 1) : NULL;
    if (!end || p[0] != '\n')
        return PL__FAIL(error, PL_ECORRUPT, "its footer is missing");
    pl_str_t text = { (const char *)p + 1, (size_t)(end - p) - 1 };
    zone->has_footer = text.len > 0;
    return zone->has_footer ? pl_footer_parse(text, &zone->footer, error) : PL_OK;
}

/* FNV-1a */
static uint64_t digest_of(const uint8_t *p, size_t len) {
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++)
        digest = (digest ^ p[i]) * UINT64_C(0x100000001b3);
    return digest;
}

/* The block of 64-bit times, all of which is there. */
static int read_block(const counts_t *n, const uint8_t *p, const tables_t *tables, pl_error_t *error) {
    const uint8_t *types = p + n->transitions * 9;
    int rc = read_transitions(n, p, tables, error);
    if (rc == PL_OK)
        rc = read_types(n, types, tables->types, error);
    memcpy(tables->chars, types + n->types * TYPE_LEN, n->chars);
    return rc;
}

int pl_zone_read(const void *bytes, size_t len, pl_zone_t **out, pl_error_t *error) {
    const uint8_t *p = bytes;
    counts_t n;
    *out = NULL;
    if (!read_header(p, len, &n))
        return PL__FAIL(error, PL_ECORRUPT, "it is no zone file (TZif)");
    if (p[4] < '2')
        return PL__FAIL(error, PL_ECORRUPT, "it has 32-bit times only (TZif version 1): make it anew with zic");
    uint64_t skip = HEADER_LEN + block_len(&n, 4);
    if (skip > len || !read_header(p + skip, len - (size_t)skip, &n))
        return PL__FAIL(error, PL_ECORRUPT, "its second header is missing");
    p += skip + HEADER_LEN;
    size_t left = len - (size_t)skip - HEADER_LEN;
    if (block_len(&n, 8) > left)
        return PL__FAIL(error, PL_ECORRUPT, "it ends too early");
    if (n.leaps > 0)
        return PL__FAIL(error, PL_ECORRUPT, "it counts leap seconds: take the one that is not below \"right/\"");
    if (n.types < 1 || n.types > TYPES_MAX || n.chars < 1)
        return PL__FAIL(error, PL_ECORRUPT, "it has no local time types");
    tables_t tables;
    pl_zone_t *zone = make(&n, &tables);
    if (!zone)
        return PL__FAIL(error, PL_ENOMEM, "no memory for a time zone");
    size_t block = (size_t)block_len(&n, 8);
    int rc = read_block(&n, p, &tables, error);
    if (rc == PL_OK)
        rc = read_footer(p + block, left - block, zone, error);
    if (rc != PL_OK) {
        pl_zone_free(zone);
        return rc;
    }
    zone->digest = digest_of(bytes, len);
    *out = zone;
    return PL_OK;
}

void pl_zone_free(pl_zone_t *zone) {
    pl__free(zone);
}

const pl_zone_t *pl_zone_utc(void) {
    static const type_t UTC_TYPE = { 0, false, 0 };
    static const pl_zone_t UTC = { .types = &UTC_TYPE, .chars = "UTC" };
    return &UTC;
}

uint64_t pl_zone_digest(const pl_zone_t *zone) {
    return zone->digest;
}

/* ---- looking up ------------------------------------------------------------------------------------------------- */

/* How many transitions have happened at the instant. */
static size_t happened(const pl_zone_t *zone, int64_t instant) {
    size_t low = 0, high = zone->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->at[middle] <= instant)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int64_t into_range(int64_t instant) {
    return instant < PL_INSTANT_MIN ? PL_INSTANT_MIN : instant > PL_INSTANT_MAX ? PL_INSTANT_MAX : instant;
}

void pl_zone_span(const pl_zone_t *zone, int64_t instant, pl_zone_span_t *out) {
    instant = into_range(instant);
    size_t n = happened(zone, instant);
    int64_t begin = n > 0 ? zone->at[n - 1] : INT64_MIN;
    if (n == zone->count && zone->has_footer) {
        pl_footer_span_t span = pl_footer_span(&zone->footer, instant);
        *out = (pl_zone_span_t){ .begin = span.begin > begin ? span.begin : begin,
                                 .end = span.end,
                                 .offset = span.type->offset,
                                 .is_dst = span.type->is_dst,
                                 .abbreviation = span.type->name };
        return;
    }
    const type_t *type = &zone->types[n > 0 ? zone->type_of[n - 1] : 0];
    *out = (pl_zone_span_t){ .begin = begin,
                             .end = n < zone->count ? zone->at[n] : INT64_MAX,
                             .offset = type->offset,
                             .is_dst = type->is_dst,
                             .abbreviation = zone->chars + type->abbreviation };
}

void pl_zone_instants(const pl_zone_t *zone, int64_t local, pl_zone_instants_t *out) {
    local = into_range(local);
    pl_zone_span_t span, next;
    *out = (pl_zone_instants_t){ 0 };
    pl_zone_span(zone, local - PL_ZONE_OFFSET_MAX, &span);
    for (;;) {
        int64_t at = local - span.offset;
        if (at >= span.begin && at < span.end) {
            out->at[out->count > 0 ? 1 : 0] = at;
            out->count = out->count > 0 ? 2 : 1;
        }
        if (span.end > local + PL_ZONE_OFFSET_MAX || span.end > PL_INSTANT_MAX)
            return;
        pl_zone_span(zone, span.end, &next);
        if (out->count == 0 && local - span.offset >= span.end && local - next.offset < span.end) {
            out->gap_at = span.end;
            out->gap_length = next.offset - span.offset;
        }
        span = next;
    }
}
