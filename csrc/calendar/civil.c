/*
 * civil.c - dates as numbers. See civil.h.
 *
 * A year is reckoned from March here: then the leap day is its last one, and the days before a month follow from its
 * number alone.
 */
#include "calendar/civil.h"

#include <stdio.h>

static int64_t floor_div(int64_t a, int64_t b) {
    int64_t quotient = a / b;
    return quotient - (a % b < 0 ? 1 : 0);
}

int64_t pl_day_of(int64_t year, int month, int day) {
    int64_t from_march = month > 2 ? year : year - 1;
    int64_t era = floor_div(from_march, 400);
    int64_t year_of_era = from_march - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * PL_ERA_DAYS + day_of_era - 719468;
}

pl_date_t pl_date_of(int64_t day) {
    int64_t from_era = day + 719468;
    int64_t era = floor_div(from_era, PL_ERA_DAYS);
    int day_of_era = (int)(from_era - era * PL_ERA_DAYS);
    int year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int from_march = (5 * day_of_year + 2) / 153;
    int month = from_march < 10 ? from_march + 3 : from_march - 9;
    return (pl_date_t){ .year = era * 400 + year_of_era + (month <= 2 ? 1 : 0),
                        .month = month,
                        .day = day_of_year - (153 * from_march + 2) / 5 + 1 };
}

static bool is_leap(int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int pl_month_days(int64_t year, int month) {
    static const int DAYS[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return month == 2 && is_leap(year) ? 29 : DAYS[month - 1];
}

int pl_weekday_of(int64_t day) {
    int64_t weekday = (day + 4) % 7; /* 1970-01-01 was a Thursday */
    return (int)(weekday < 0 ? weekday + 7 : weekday);
}

int64_t pl_day_of_local(int64_t local) {
    return floor_div(local, PL_DAY_SECONDS);
}

/* ---- texts ------------------------------------------------------------------------------------------------------ */

/* Takes exactly `count` digits; returns -1 if they are not there. */
static int take_digits(pl_str_t *text, int count) {
    int value = 0;
    if (text->len < (size_t)count)
        return -1;
    for (int i = 0; i < count; i++) {
        if (text->ptr[i] < '0' || text->ptr[i] > '9')
            return -1;
        value = value * 10 + (text->ptr[i] - '0');
    }
    text->ptr += count;
    text->len -= (size_t)count;
    return value;
}

static bool take_char(pl_str_t *text, char c) {
    if (text->len == 0 || text->ptr[0] != c)
        return false;
    text->ptr++;
    text->len--;
    return true;
}

static bool take_date(pl_str_t *text, int64_t *day) {
    int year = take_digits(text, 4);
    if (year < 1 || !take_char(text, '-'))
        return false;
    int month = take_digits(text, 2);
    if (month < 1 || month > 12 || !take_char(text, '-'))
        return false;
    int of_month = take_digits(text, 2);
    if (of_month < 1 || of_month > pl_month_days(year, month))
        return false;
    *day = pl_day_of(year, month, of_month);
    return true;
}

static bool take_clock(pl_str_t *text, int64_t *second) {
    int hour = take_digits(text, 2);
    if (hour < 0 || hour > 23 || !take_char(text, ':'))
        return false;
    int minute = take_digits(text, 2), seconds = 0;
    if (minute < 0 || minute > 59)
        return false;
    if (take_char(text, ':'))
        seconds = take_digits(text, 2);
    if (seconds < 0 || seconds > 59)
        return false;
    *second = hour * 3600 + minute * 60 + seconds;
    return true;
}

static int shown(pl_str_t text) {
    return (int)(text.len < 60 ? text.len : 60);
}

int pl_day_parse(pl_str_t text, int64_t *day, pl_error_t *error) {
    pl_str_t rest = text;
    if (!take_date(&rest, day) || rest.len > 0)
        return PL__FAIL(error, PL_EINVAL, "\"%.*s\" is no date, as \"2026-12-25\" is", shown(text), text.ptr);
    return PL_OK;
}

int pl_local_parse(pl_str_t text, int64_t *local, pl_error_t *error) {
    pl_str_t rest = text;
    int64_t day = 0, second = 0;
    if (!take_date(&rest, &day) || (!take_char(&rest, 'T') && !take_char(&rest, ' ')) || !take_clock(&rest, &second) ||
        rest.len > 0)
        return PL__FAIL(error, PL_EINVAL, "\"%.*s\" is no time, as \"2026-12-24T18:00\" is", shown(text), text.ptr);
    *local = day * PL_DAY_SECONDS + second;
    return PL_OK;
}

void pl_local_text(int64_t instant, int32_t offset, char out[PL_LOCAL_TEXT_MAX]) {
    if (instant < PL_INSTANT_MIN || instant > PL_INSTANT_MAX) {
        snprintf(out, PL_LOCAL_TEXT_MAX, "never");
        return;
    }
    int64_t local = instant + offset;
    int64_t day = pl_day_of_local(local);
    pl_date_t date = pl_date_of(day);
    int second = (int)(local - day * PL_DAY_SECONDS);
    int ahead = offset < 0 ? -offset : offset;
    int len = snprintf(out, PL_LOCAL_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", (int)date.year, date.month,
                       date.day, second / 3600, second / 60 % 60, second % 60, offset < 0 ? '-' : '+',
                       (ahead / 3600) % 100, ahead / 60 % 60);
    if (ahead % 60 != 0 && len > 0 && len < PL_LOCAL_TEXT_MAX)
        snprintf(out + len, (size_t)(PL_LOCAL_TEXT_MAX - len), ":%02d", ahead % 60);
}
