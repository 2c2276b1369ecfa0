/*
 * footer.c - the rule at the end of a zone file. See footer.h.
 */
#include "calendar/footer.h"

#include <string.h>

#include "calendar/civil.h"

/* ---- reading ---------------------------------------------------------------------------------------------------- */

enum { HOURS_OF_OFFSET = 24, HOURS_OF_TIME = 167, DIGITS = 3 };

typedef struct {
    pl_str_t rest;
    bool is_bad; /* once set, stays */
} reader_t;

static char peek(const reader_t *in) {
    return in->rest.len > 0 ? in->rest.ptr[0] : '\0';
}

static bool take(reader_t *in, char c) {
    if (in->rest.len == 0 || in->rest.ptr[0] != c)
        return false;
    in->rest.ptr++;
    in->rest.len--;
    return true;
}

static void need(reader_t *in, bool good) {
    if (!good)
        in->is_bad = true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int take_number(reader_t *in, int min, int max) {
    int value = 0, digits = 0;
    while (is_digit(peek(in)) && digits < DIGITS) {
        value = value * 10 + (peek(in) - '0');
        digits++;
        take(in, peek(in));
    }
    need(in, digits > 0 && value >= min && value <= max);
    return in->is_bad ? min : value;
}

static void take_name(reader_t *in, char name[PL_FOOTER_NAME_MAX]) {
    bool is_quoted = take(in, '<');
    size_t len = 0, kept = 0;
    for (;; len++) {
        char c = peek(in);
        if (!is_letter(c) && !(is_quoted && (is_digit(c) || c == '+' || c == '-')))
            break;
        if (kept < PL_FOOTER_NAME_MAX - 1)
            name[kept++] = c;
        take(in, c);
    }
    name[kept] = '\0';
    need(in, len >= 3);
    need(in, !is_quoted || take(in, '>'));
}

/* [+-]h[:m[:s]] */
static int32_t take_time(reader_t *in, int hours_max) {
    bool is_negative = take(in, '-');
    if (!is_negative)
        take(in, '+');
    int32_t seconds = take_number(in, 0, hours_max) * 3600;
    if (take(in, ':')) {
        seconds += take_number(in, 0, 59) * 60;
        if (take(in, ':'))
            seconds += take_number(in, 0, 59);
    }
    return is_negative ? -seconds : seconds;
}

static void take_date(reader_t *in, pl_footer_date_t *date) {
    need(in, take(in, ','));
    if (take(in, 'M')) {
        date->kind = PL_FOOTER_WEEK;
        date->month = take_number(in, 1, 12);
        need(in, take(in, '.'));
        date->week = take_number(in, 1, 5);
        need(in, take(in, '.'));
        date->weekday = take_number(in, 0, 6);
    } else if (take(in, 'J')) {
        date->kind = PL_FOOTER_JULIAN;
        date->day = take_number(in, 1, 365);
    } else {
        date->kind = PL_FOOTER_DAY;
        date->day = take_number(in, 0, 365);
    }
    date->time = take(in, '/') ? take_time(in, HOURS_OF_TIME) : 2 * 3600;
}

int pl_footer_parse(pl_str_t text, pl_footer_t *out, pl_error_t *error) {
    reader_t in = { text, false };
    memset(out, 0, sizeof *out);
    take_name(&in, out->standard.name);
    out->standard.offset = -take_time(&in, HOURS_OF_OFFSET);
    if (in.rest.len > 0 && !in.is_bad) {
        out->has_daylight = out->daylight.is_dst = true;
        take_name(&in, out->daylight.name);
        out->daylight.offset = out->standard.offset + 3600;
        if (peek(&in) != ',')
            out->daylight.offset = -take_time(&in, HOURS_OF_OFFSET);
        take_date(&in, &out->begin);
        take_date(&in, &out->end);
    }
    if (in.is_bad || in.rest.len > 0)
        return PL__FAIL(error, PL_ECORRUPT, "its footer is no rule of a time zone, from byte %zu on",
                        text.len - in.rest.len + 1);
    return PL_OK;
}

/* ---- the changes of a year -------------------------------------------------------------------------------------- */

static int64_t day_in(const pl_footer_date_t *date, int64_t year) {
    int64_t first = pl_day_of(year, 1, 1);
    if (date->kind == PL_FOOTER_DAY)
        return first + date->day;
    if (date->kind == PL_FOOTER_JULIAN)
        return first + date->day - 1 + (date->day >= 60 && pl_month_days(year, 2) == 29 ? 1 : 0);
    first = pl_day_of(year, date->month, 1);
    int day = (date->weekday - pl_weekday_of(first) + 7) % 7 + 7 * (date->week - 1);
    return first + (day >= pl_month_days(year, date->month) ? day - 7 : day);
}

typedef struct {
    int64_t at;
    const pl_footer_type_t *type; /* from then on */
} change_t;

/* The list is sorted. When daylight saving time ends at the instant at which it begins anew, it begins last: that is
 * how a footer says that it lasts all year. */
static void insert(change_t *changes, int count, change_t change) {
    int i = count;
    for (; i > 0; i--) {
        const change_t *before = &changes[i - 1];
        if (before->at < change.at || (before->at == change.at && !before->type->is_dst))
            break;
        changes[i] = *before;
    }
    changes[i] = change;
}

/* Whether the date is always inside its year, whatever its time of day and the offset. */
static bool is_inside(const pl_footer_date_t *date) {
    return date->kind == PL_FOOTER_WEEK && date->month > 1 && date->month < 12;
}

pl_footer_span_t pl_footer_span(const pl_footer_t *footer, int64_t instant) {
    pl_footer_span_t span = { INT64_MIN, INT64_MAX, &footer->standard };
    if (!footer->has_daylight)
        return span;
    /* A change may be a week away from its year: then two years on each side are looked at. */
    enum { AROUND_MAX = 2, CHANGES_MAX = 2 * (2 * AROUND_MAX + 1) };
    change_t changes[CHANGES_MAX];
    int count = 0, around = is_inside(&footer->begin) && is_inside(&footer->end) ? 1 : AROUND_MAX;
    int64_t year = pl_date_of(pl_day_of_local(instant)).year;
    for (int64_t y = year - around; y <= year + around; y++) {
        int64_t begin = day_in(&footer->begin, y) * PL_DAY_SECONDS + footer->begin.time - footer->standard.offset;
        int64_t end = day_in(&footer->end, y) * PL_DAY_SECONDS + footer->end.time - footer->daylight.offset;
        insert(changes, count, (change_t){ begin, &footer->daylight });
        insert(changes, count + 1, (change_t){ end, &footer->standard });
        count += 2;
    }
    int last = count - 1;
    while (last > 0 && changes[last].at > instant)
        last--;
    span.begin = changes[last].at;
    span.type = changes[last].type;
    if (last < count - 1)
        span.end = changes[last + 1].at;
    return span;
}
