/*
 * zone_fuzz.c - arbitrary bytes as a zone file.
 *
 * What is not refused is a zone: each instant lies in a stretch that has it inside, stretches follow one another, the
 * instants of a local time lead back to it, and a schedule in that zone only goes forward.
 */
#include <stdio.h>
#include <stdlib.h>

#include "calendar/next.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void need_at(bool good, const char *what) {
    if (good)
        return;
    fprintf(stderr, "zone_fuzz.c: not so: %s\n", what);
    abort();
}
#define NEED(condition) need_at(condition, #condition)

static void check_instant(const pl_zone_t *zone, int64_t instant) {
    pl_zone_span_t span, again;
    pl_zone_span(zone, instant, &span);
    NEED(span.begin <= instant && instant < span.end);
    NEED(span.offset <= PL_ZONE_OFFSET_MAX && span.offset >= -PL_ZONE_OFFSET_MAX);
    NEED(span.abbreviation);
    if (span.end <= PL_INSTANT_MAX) {
        pl_zone_span(zone, span.end, &again);
        NEED(again.begin == span.end);
    }
    if (span.begin > PL_INSTANT_MIN) {
        pl_zone_span(zone, span.begin - 1, &again);
        NEED(again.end == span.begin);
    }
}

static void check_local(const pl_zone_t *zone, int64_t local) {
    pl_zone_instants_t found;
    pl_zone_span_t span;
    if (local < PL_INSTANT_MIN + PL_ZONE_OFFSET_MAX || local > PL_INSTANT_MAX - PL_ZONE_OFFSET_MAX)
        return;
    pl_zone_instants(zone, local, &found);
    NEED(found.count >= 0 && found.count <= 2);
    for (int i = 0; i < found.count; i++) {
        pl_zone_span(zone, found.at[i], &span);
        NEED(found.at[i] + span.offset == local);
    }
    NEED(found.count < 2 || found.at[0] < found.at[1]);
    NEED(found.count > 0 || found.gap_length > 0);
}

static void check_schedule(const pl_zone_t *zone, const char *text, int64_t after, unsigned char how) {
    pl_cron_t cron;
    NEED(pl_cron_parse(pl_str(text), 0, &cron, NULL) == PL_OK);
    pl_rule_t rule = { .zone = zone, .crons = &cron, .cron_count = 1, .gap = how % 3, .fold = how / 3 % 3 };
    for (int i = 0; i < 5; i++) {
        pl_fire_t fire;
        NEED(pl_cron_next(&rule, after, &fire));
        NEED(fire.at > after && fire.skipped_gap >= 0);
        after = fire.at;
    }
    NEED(pl_at_instant(&rule, after) != 0 || after != 0);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    static const int64_t INSTANTS[] = {
        PL_INSTANT_MIN, -2000000000, 0, 951782400, 1700000000, 4102444800, 32503680000
    };
    pl_zone_t *zone;
    pl_error_t error = { 0 };
    int rc = pl_zone_read(bytes, size, &zone, &error);
    if (rc != PL_OK) {
        NEED(rc == PL_ECORRUPT && !zone && error.message[0]);
        return 0;
    }
    unsigned char how = size > 0 ? bytes[size - 1 - size % 7] : 0;
    for (size_t i = 0; i < sizeof INSTANTS / sizeof INSTANTS[0]; i++) {
        pl_zone_span_t span;
        check_instant(zone, INSTANTS[i]);
        pl_zone_span(zone, INSTANTS[i], &span);
        if (span.end <= PL_INSTANT_MAX) {
            check_local(zone, span.end + span.offset);
            check_local(zone, span.end + span.offset - 1);
        }
        check_local(zone, INSTANTS[i] + 100000);
        check_schedule(zone, "30 1-3 * * *", INSTANTS[i], how);
        check_schedule(zone, "*/7 * * * *", INSTANTS[i], how);
    }
    check_instant(zone, PL_INSTANT_MAX);
    pl_zone_free(zone);
    return 0;
}
