/*
 * civil_test.c - dates as numbers, day by day through 800 years; and a zone for which there is no memory.
 */
#include "calendar/civil.h"

#include <string.h>

#include "calendar/zone.h"
#include "support/check.h"

static void each_day_follows_the_one_before(void) {
    pl_date_t expected = { 1799, 12, 31 };
    int64_t day = pl_day_of(1799, 12, 31);
    int weekday = pl_weekday_of(day), wrong = 0;
    CHECK(weekday == 2); /* a Tuesday */
    for (; expected.year < 2600; day++) {
        pl_date_t date = pl_date_of(day);
        wrong += date.year != expected.year || date.month != expected.month || date.day != expected.day;
        wrong += pl_day_of(date.year, date.month, date.day) != day;
        wrong += pl_weekday_of(day) != weekday;
        weekday = (weekday + 1) % 7;
        if (++expected.day > pl_month_days(expected.year, expected.month)) {
            expected.day = 1;
            expected.month = expected.month % 12 + 1;
            expected.year += expected.month == 1;
        }
    }
    CHECK(wrong == 0);
}

static void known_days(void) {
    CHECK(pl_day_of(1970, 1, 1) == 0 && pl_day_of(2000, 3, 1) == 11017);
    CHECK(pl_day_of(1, 1, 1) * PL_DAY_SECONDS == PL_INSTANT_MIN);
    CHECK((pl_day_of(9999, 12, 31) + 1) * PL_DAY_SECONDS - 1 == PL_INSTANT_MAX);
    CHECK(pl_month_days(2100, 2) == 28 && pl_month_days(2000, 2) == 29 && pl_month_days(2024, 2) == 29);
    CHECK(pl_day_of_local(-1) == -1 && pl_day_of_local(0) == 0 && pl_day_of_local(-86400) == -1);
}

static void texts_are_read_and_written(void) {
    static const char *const WRONG[] = {
        "", "2026", "2026-02-29", "2026-13-01", "0000-01-01", "2026-1-1", "2026-01-01x"
    };
    int64_t value;
    char text[PL_LOCAL_TEXT_MAX];
    pl_error_t error = { 0 };
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++)
        CHECK(pl_day_parse(pl_str(WRONG[i]), &value, &error) == PL_EINVAL && strstr(error.message, WRONG[i]));
    CHECK(pl_day_parse(pl_str("2024-02-29"), &value, NULL) == PL_OK && value == pl_day_of(2024, 2, 29));
    CHECK(pl_local_parse(pl_str("2026-12-24T18:00"), &value, NULL) == PL_OK);
    pl_local_text(value - 3600, 3600, text);
    CHECK(!strcmp(text, "2026-12-24T18:00:00+01:00"));
    pl_local_text(0, -(3 * 3600 + 44 * 60 + 2), text);
    CHECK(!strcmp(text, "1969-12-31T20:15:58-03:44:02"));
    CHECK(pl_local_parse(pl_str("2026-12-24T24:00"), &value, NULL) == PL_EINVAL);
    CHECK(pl_local_parse(pl_str("2026-12-24T18:00:60"), &value, NULL) == PL_EINVAL);
    CHECK(pl_local_parse(pl_str("2026-12-24"), &value, NULL) == PL_EINVAL);
}

static void a_zone_needs_memory(void) {
    static const char FILE_BYTES[] =
        "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4"
        "\0\0\0\0\0\0AAA\0\nCET-1\n";
    pl_zone_t *zone;
    pl_error_t error = { 0 };
    pl__alloc_fail_at(1);
    CHECK(pl_zone_read(FILE_BYTES, sizeof FILE_BYTES - 1, &zone, &error) == PL_ENOMEM && !zone);
    CHECK(pl__alloc_failed());
    pl__alloc_fail_at(0);
    CHECK(pl_zone_read(FILE_BYTES, sizeof FILE_BYTES - 1, &zone, &error) == PL_OK && zone);
    pl_zone_free(zone);
    pl_zone_free(NULL);
}

int main(void) {
    each_day_follows_the_one_before();
    known_days();
    texts_are_read_and_written();
    a_zone_needs_memory();
    return check_end();
}
