/*
 * cron.c - compiles cron expressions, and says which days of a month they match. See cron.h.
 *
 * Every value, range and step of a field goes the same way: numbers from, to and step are added to the set of the
 * field, counting on from its first number after its last one (a range that wraps).
 */
#include "calendar/cron.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "calendar/civil.h"

enum { TEXT_MAX = 1000 }; /* bytes of an expression */

typedef enum { SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS } field_t;

static const struct {
    const char *name;
    int min, max;
} FIELD[FIELDS] = {
    [SECOND] = { "second", 0, 59 }, [MINUTE] = { "minute", 0, 59 }, [HOUR] = { "hour", 0, 23 },
    [DAY] = { "day", 1, 31 },       [MONTH] = { "month", 1, 12 },   [WEEKDAY] = { "weekday", 0, 6 },
};

static const char NAMES[2][12][4] = {
    { "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC" },
    { "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT" },
};

/* Reads one field. */
typedef struct {
    const char *text, *at, *end; /* of the field; text is the whole expression */
    field_t field;
    pl_cron_t *cron;
    uint64_t set;
    pl_error_t *error;
} reader_t;

/* ---- errors ----------------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int refuse(const reader_t *in, const char *place, const char *format,
                                                        ...) {
    char reason[160];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return PL__FAIL(in->error, PL_EINVAL, "%s, position %d: %s", FIELD[in->field].name, (int)(place - in->text) + 1,
                    reason);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static char upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return upper(c) >= 'A' && upper(c) <= 'Z';
}

static char peek(const reader_t *in) {
    return in->at < in->end ? upper(*in->at) : '\0';
}

static bool take(reader_t *in, char c) {
    if (peek(in) != c || in->at >= in->end)
        return false;
    in->at++;
    return true;
}

static bool take_name(reader_t *in, int *value) {
    if ((in->field != MONTH && in->field != WEEKDAY) || in->end - in->at < 3)
        return false;
    int first = FIELD[in->field].min, count = FIELD[in->field].max - first + 1;
    for (int i = 0; i < count; i++) {
        const char *name = NAMES[in->field == WEEKDAY][i];
        if (upper(in->at[0]) == name[0] && upper(in->at[1]) == name[1] && upper(in->at[2]) == name[2]) {
            in->at += 3;
            *value = first + i;
            return true;
        }
    }
    return false;
}

/* What stands here, for a message: up to the next comma, 20 characters at most. */
static int width(const char *place, const char *end) {
    int len = 0;
    while (place + len < end && place[len] != ',' && len < 20)
        len++;
    return len;
}

/* A number of min … max; Sunday may be 7. */
static int take_number(reader_t *in, int min, int max, const char *what, int *value) {
    const char *place = in->at;
    *value = 0;
    if (!is_digit(peek(in)))
        return refuse(in, place, "%s expected, not \"%.*s\"", what, width(place, in->end), place);
    while (is_digit(peek(in))) {
        if (*value < 100000)
            *value = *value * 10 + (*in->at - '0');
        in->at++;
    }
    if (*value < min || *value > max)
        return refuse(in, place, "%.*s is out of range, %d to %d", (int)(in->at - place), place, min, max);
    return PL_OK;
}

static int take_value(reader_t *in, int *value) {
    const char *place = in->at;
    if (take_name(in, value))
        return PL_OK;
    if (is_letter(peek(in))) {
        if (in->field == MONTH || in->field == WEEKDAY)
            return refuse(in, place, "\"%.*s\" is no %s", width(place, in->end), place, FIELD[in->field].name);
        return refuse(in, place, "a number expected, not \"%.*s\"", width(place, in->end), place);
    }
    int max = FIELD[in->field].max + (in->field == WEEKDAY ? 1 : 0);
    return take_number(in, FIELD[in->field].min, max, "a number", value);
}

/* ---- items ------------------------------------------------------------------------------------------------------ */

static void add(reader_t *in, int from, int to, int step) {
    int min = FIELD[in->field].min, size = FIELD[in->field].max - min + 1;
    int count = to >= from ? to - from : to - from + size;
    for (int i = 0; i <= count; i += step)
        in->set |= UINT64_C(1) << (min + (from - min + i) % size);
}

static int take_step(reader_t *in, int *step) {
    *step = 1;
    if (!take(in, '/'))
        return PL_OK;
    int size = FIELD[in->field].max - FIELD[in->field].min + 1;
    return take_number(in, 1, size, "a step", step);
}

/* L, L-2, LW of the day. */
static int take_last_day(reader_t *in) {
    int before = 0;
    if (take(in, 'W')) {
        in->cron->last_workday = true;
        return PL_OK;
    }
    if (take(in, '-')) {
        int rc = take_number(in, 1, 30, "a number of days", &before);
        if (rc != PL_OK)
            return rc;
        if (peek(in) == 'W')
            return refuse(in, in->at, "W goes with a day (15W) or with L (LW) only");
    }
    in->cron->before_last |= 1u << before;
    return PL_OK;
}

/* What may follow a single value: W of a day; L and # of a weekday. Returns whether it did in *taken. */
static int take_suffix(reader_t *in, int value, bool *taken) {
    int nth;
    *taken = true;
    if (in->field == DAY && take(in, 'W')) {
        in->cron->nearest |= 1u << value;
    } else if (in->field == WEEKDAY && take(in, 'L')) {
        in->cron->last_weekdays |= (uint8_t)(1u << value % 7);
    } else if (in->field == WEEKDAY && take(in, '#')) {
        int rc = take_number(in, 1, 5, "a number of 1 to 5", &nth);
        if (rc != PL_OK)
            return rc;
        in->cron->nth_weekdays[value % 7] |= (uint8_t)(1u << nth);
    } else {
        *taken = false;
    }
    return PL_OK;
}

/* A value, or a range of them, with a step. */
static int take_range(reader_t *in) {
    int from, to, step;
    bool taken;
    int rc = take_value(in, &from);
    if (rc == PL_OK)
        rc = take_suffix(in, from, &taken);
    if (rc != PL_OK || taken)
        return rc;
    to = from;
    bool is_range = take(in, '-');
    if (is_range)
        rc = take_value(in, &to);
    bool has_step = peek(in) == '/';
    if (rc == PL_OK)
        rc = take_step(in, &step);
    if (rc != PL_OK)
        return rc;
    if (in->field == WEEKDAY && from == 7)
        from = 0, to = is_range ? to % 7 : 0;
    if (has_step && !is_range)
        to = FIELD[in->field].max;
    add(in, from, to, step);
    return PL_OK;
}

static int take_item(reader_t *in) {
    const char *place = in->at;
    int step;
    if (take(in, '*')) {
        int rc = take_step(in, &step);
        if (rc == PL_OK)
            add(in, FIELD[in->field].min, FIELD[in->field].max, step);
        return rc;
    }
    if (in->field == DAY && take(in, 'L'))
        return take_last_day(in);
    if (in->field == WEEKDAY && take(in, 'L'))
        return refuse(in, place, "L needs the weekday of which the last one is meant, as in 5L");
    if (peek(in) == '?')
        return refuse(in, place, "? stands alone, in day and weekday only");
    return take_range(in);
}

/* Whether the field is a star, alone or with a step, and nothing else. */
static bool is_star(const char *at, const char *end) {
    if (at == end || *at++ != '*')
        return false;
    if (at == end)
        return true;
    if (*at++ != '/')
        return false;
    while (at < end && is_digit(*at))
        at++;
    return at == end;
}

static void keep(const reader_t *in, bool is_any) {
    pl_cron_t *cron = in->cron;
    switch (in->field) {
    case SECOND:
        cron->seconds = in->set;
        break;
    case MINUTE:
        cron->minutes = in->set;
        break;
    case HOUR:
        cron->hours = (uint32_t)in->set;
        break;
    case DAY:
        cron->days = (uint32_t)in->set;
        cron->any_day = is_any;
        break;
    case MONTH:
        cron->months = (uint16_t)in->set;
        break;
    default:
        cron->weekdays = (uint8_t)in->set;
        cron->any_weekday = is_any;
    }
}

static int read_field(reader_t *in) {
    const char *begin = in->at;
    bool may_ask = in->field == DAY || in->field == WEEKDAY;
    if (may_ask && in->end - begin == 1 && *begin == '?') {
        add(in, FIELD[in->field].min, FIELD[in->field].max, 1);
        keep(in, true);
        return PL_OK;
    }
    do {
        int rc = take_item(in);
        if (rc != PL_OK)
            return rc;
    } while (take(in, ','));
    if (in->at < in->end)
        return refuse(in, in->at, "\"%.*s\" is not understood", width(in->at, in->end), in->at);
    keep(in, in->end - begin == 1 && *begin == '*');
    if (in->field == HOUR)
        in->cron->is_elapsed = is_star(begin, in->end);
    return PL_OK;
}

/* ---- expressions ------------------------------------------------------------------------------------------------ */

static bool is_same(pl_str_t text, const char *word) {
    size_t len = strlen(word);
    if (text.len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (upper(text.ptr[i]) != upper(word[i]))
            return false;
    return true;
}

/* Puts the expression that a name stands for into *text. */
static int resolve(pl_str_t *text, pl_error_t *error) {
    static const char *const SHORT[][2] = {
        { "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" }, { "@monthly", "0 0 1 * *" },
        { "@weekly", "0 0 * * 0" }, { "@daily", "0 0 * * *" },    { "@midnight", "0 0 * * *" },
        { "@hourly", "0 * * * *" },
    };
    for (size_t i = 0; i < sizeof SHORT / sizeof SHORT[0]; i++)
        if (is_same(*text, SHORT[i][0])) {
            *text = pl_str(SHORT[i][1]);
            return PL_OK;
        }
    int len = (int)(text->len < 40 ? text->len : 40);
    if (is_same(*text, "@reboot"))
        return PL__FAIL(error, PL_EINVAL,
                        "@reboot is not known here: call what is to run at the start of the program, "
                        "or say how often by every = seconds");
    if (text->len >= 6 && is_same((pl_str_t){ text->ptr, 6 }, "@every"))
        return PL__FAIL(error, PL_EINVAL, "@every is no cron expression: say every = \"90s\" instead of cron");
    return PL__FAIL(error, PL_EINVAL,
                    "%.*s is not known; there are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly",
                    len, text->ptr);
}

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static pl_str_t trim(pl_str_t text) {
    for (; text.len > 0 && is_space(text.ptr[0]); text.ptr++)
        text.len--;
    while (text.len > 0 && is_space(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

enum { WORDS_MAX = 7 };

/* Divides the text at its spaces; returns how many words there are, of which the first seven are kept. */
static int divide(pl_str_t text, pl_str_t words[WORDS_MAX]) {
    int count = 0;
    const char *at = text.ptr, *end = text.ptr + text.len;
    while (at < end) {
        const char *begin = at;
        while (at < end && !is_space(*at))
            at++;
        if (at > begin) {
            if (count < WORDS_MAX)
                words[count] = (pl_str_t){ begin, (size_t)(at - begin) };
            count++;
        }
        at += at < end ? 1 : 0;
    }
    return count;
}

static int check_count(int count, pl_error_t *error) {
    if (count == 5 || count == 6)
        return PL_OK;
    if (count == 7)
        return PL__FAIL(error, PL_EINVAL,
                        "seven fields: there is no field for the year, as Quartz has it; give five or "
                        "six (second first), and start_time and end_time");
    return PL__FAIL(error, PL_EINVAL,
                    "%d fields: five expected (minute hour day month weekday), or six with the second "
                    "first",
                    count);
}

static int check_dates(const pl_cron_t *cron, pl_error_t *error) {
    /* In 28 years without a break, each date has been each weekday; 2000 is a leap year as others. */
    for (int64_t year = 2000; year < 2028; year++)
        for (int month = 1; month <= 12; month++)
            if (pl_cron_days(cron, year, month) != 0)
                return PL_OK;
    return PL__FAIL(error, PL_EINVAL, "it can never fire: no year has such a date");
}

int pl_cron_parse(pl_str_t text, unsigned flags, pl_cron_t *out, pl_error_t *error) {
    pl_str_t words[WORDS_MAX], expression = trim(text);
    memset(out, 0, sizeof *out);
    if (text.len > TEXT_MAX)
        return PL__FAIL(error, PL_EINVAL, "longer than %d characters", TEXT_MAX);
    if (expression.len > 0 && expression.ptr[0] == '@') {
        int rc = resolve(&expression, error);
        if (rc != PL_OK)
            return rc;
        text = expression;
    }
    int count = divide(expression, words);
    int rc = check_count(count, error);
    if (rc != PL_OK)
        return rc;
    out->needs_both = flags & PL_CRON_DAY_AND_WEEKDAY;
    out->seconds = flags & PL_CRON_EXCLUDES ? (UINT64_C(1) << 60) - 1 : 1;
    for (int i = 0; i < count; i++) {
        reader_t in = { .text = text.ptr,
                        .at = words[i].ptr,
                        .end = words[i].ptr + words[i].len,
                        .field = (field_t)(FIELDS - count + i),
                        .cron = out,
                        .error = error };
        rc = read_field(&in);
        if (rc != PL_OK)
            return rc;
    }
    return check_dates(out, error);
}

bool pl_cron_is_all_day(const pl_cron_t *cron) {
    const uint64_t sixty = (UINT64_C(1) << 60) - 1;
    return cron->seconds == sixty && cron->minutes == sixty && cron->hours == (1u << 24) - 1;
}

/* ---- days ------------------------------------------------------------------------------------------------------- */

/* The day of Monday to Friday nearest to `day` within the month. */
static int nearest_workday(int day, int first_weekday, int len) {
    int weekday = (first_weekday + day - 1) % 7;
    if (weekday == 6)
        return day > 1 ? day - 1 : day + 2;
    if (weekday == 0)
        return day < len ? day + 1 : day - 2;
    return day;
}

static uint32_t days_by_day(const pl_cron_t *cron, int first_weekday, int len) {
    uint32_t days = cron->days;
    for (uint32_t set = cron->before_last; set; set &= set - 1) {
        int before = __builtin_ctz(set);
        if (before < len)
            days |= 1u << (len - before);
    }
    for (uint32_t set = cron->nearest; set; set &= set - 1) {
        int day = __builtin_ctz(set);
        if (day <= len)
            days |= 1u << nearest_workday(day, first_weekday, len);
    }
    if (cron->last_workday)
        days |= 1u << nearest_workday(len, first_weekday, len);
    return days;
}

static uint32_t days_by_weekday(const pl_cron_t *cron, int first_weekday, int len) {
    uint32_t days = 0;
    for (int weekday = 0; weekday < 7; weekday++) {
        int first = 1 + (weekday - first_weekday + 7) % 7;
        uint8_t nth = cron->nth_weekdays[weekday];
        if (cron->weekdays >> weekday & 1)
            days |= (UINT32_C(0x10204081) << first);
        if (cron->last_weekdays >> weekday & 1)
            days |= 1u << (first + (len - first) / 7 * 7);
        for (int n = 1; n <= 5; n++)
            if (nth >> n & 1 && first + 7 * (n - 1) <= len)
                days |= 1u << (first + 7 * (n - 1));
    }
    return days;
}

uint32_t pl_cron_days(const pl_cron_t *cron, int64_t year, int month) {
    if (!(cron->months >> month & 1))
        return 0;
    int len = pl_month_days(year, month);
    uint32_t all = (uint32_t)((UINT64_C(1) << (len + 1)) - 2);
    if (cron->any_day && cron->any_weekday)
        return all;
    int first_weekday = pl_weekday_of(pl_day_of(year, month, 1));
    uint32_t by_day = cron->any_day ? all : days_by_day(cron, first_weekday, len);
    uint32_t by_weekday = cron->any_weekday ? all : days_by_weekday(cron, first_weekday, len);
    bool either = !cron->any_day && !cron->any_weekday && !cron->needs_both;
    return all & (either ? by_day | by_weekday : by_day & by_weekday);
}
