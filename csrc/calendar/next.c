/*
 * next.c - the search for the next fire. See next.h.
 *
 * The stretches between two changes of the clock are looked at one after the other, beginning with the one that holds
 * the first instant that may be returned. Within a stretch local time is instant + offset, so a fire there is a local
 * time that matches, and the search is one for the next matching day (a bit scan in the set of the days of a month)
 * and for the next time of that day (bit scans in the sets of hours, minutes and seconds). At its begin and end
 * expressions that follow the wall have exceptions:
 *
 *   before it a gap (the offset grew)      the local times between the two offsets are searched, too: by the rule they
 *                                          are one fire at the begin, fires later by the gap, or skipped
 *   before it a fold (the offset shrank)   local times that were there already: not for "first"
 *   behind it a fold                       local times that come once more: not for "last"
 */
#include "calendar/next.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { EVERY_TRIES = 100000 };
#define NEVER PL_INSTANT_NEVER
#define HORIZON (INT64_C(86400) * PL_ERA_DAYS)
#define BIT(n) (UINT64_C(1) << (n))

/* ---- times of a day --------------------------------------------------------------------------------------------- */

/* The least number of the set that is not below `from`; -1: none. */
static int scan(uint64_t set, int from) {
    set = from < 64 ? set >> from << from : 0;
    return set ? __builtin_ctzll(set) : -1;
}

/* What is left of the minutes of an hour, or of the seconds of a minute, when the exclusions that are valid on this day
 * (a set of their numbers) are taken away. */
static uint64_t minutes_left(const pl_rule_t *rule, uint64_t valid, uint64_t minutes, int hour) {
    for (; valid; valid &= valid - 1) {
        const pl_cron_t *excluded = &rule->excluded[__builtin_ctzll(valid)];
        if (excluded->hours >> hour & 1 && excluded->seconds == BIT(60) - 1)
            minutes &= ~excluded->minutes;
    }
    return minutes;
}

static uint64_t seconds_left(const pl_rule_t *rule, uint64_t valid, uint64_t seconds, int hour, int minute) {
    for (; valid; valid &= valid - 1) {
        const pl_cron_t *excluded = &rule->excluded[__builtin_ctzll(valid)];
        if (excluded->hours >> hour & 1 && excluded->minutes >> minute & 1)
            seconds &= ~excluded->seconds;
    }
    return seconds;
}

/* The first second of the day, from `from` on, at which the expression fires; -1: none. */
static int clock_next(const pl_rule_t *rule, const pl_cron_t *cron, uint64_t valid, int from) {
    int minute_from = from / 60 % 60, second_from = from % 60, first_hour = from / 3600;
    for (int hour = scan(cron->hours, first_hour); hour >= 0; hour = scan(cron->hours, hour + 1)) {
        uint64_t minutes = minutes_left(rule, valid, cron->minutes, hour);
        int first_minute = hour == first_hour ? minute_from : 0;
        for (int minute = scan(minutes, first_minute); minute >= 0; minute = scan(minutes, minute + 1)) {
            uint64_t seconds = seconds_left(rule, valid, cron->seconds, hour, minute);
            bool is_first = hour == first_hour && minute == minute_from;
            int second = scan(seconds, is_first ? second_from : 0);
            if (second >= 0)
                return hour * 3600 + minute * 60 + second;
        }
    }
    return -1;
}

/* ---- days ------------------------------------------------------------------------------------------------------- */

/* A month as one expression and the exclusions see it. */
typedef struct {
    int64_t year;
    int month;
    int64_t before;                        /* the day before its first */
    uint32_t days;                         /* that match and are not excluded as a whole */
    uint32_t partly[PL_RULE_EXCLUDED_MAX]; /* the days of each exclusion of some times only; others: 0 */
} month_t;

static uint32_t excluded_days(const pl_rule_t *rule, const month_t *month, uint32_t days) {
    int low = 0, high = rule->excluded_day_count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (rule->excluded_days[middle] <= month->before)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < rule->excluded_day_count && rule->excluded_days[low] <= month->before + 31; low++)
        days &= ~(1u << (rule->excluded_days[low] - month->before));
    return days;
}

static void open_month(const pl_rule_t *rule, const pl_cron_t *cron, month_t *month) {
    month->days = pl_cron_days(cron, month->year, month->month);
    month->before = pl_day_of(month->year, month->month, 1) - 1;
    if (month->days && rule->excluded_day_count > 0)
        month->days = excluded_days(rule, month, month->days);
    for (int i = 0; month->days && i < rule->excluded_count; i++) {
        uint32_t days = pl_cron_days(&rule->excluded[i], month->year, month->month);
        bool is_whole = pl_cron_is_all_day(&rule->excluded[i]);
        month->partly[i] = is_whole ? 0 : days;
        month->days &= is_whole ? ~days : ~0u;
    }
}

/* Goes to the next month in which the expression has days at all. */
static void next_month(const pl_rule_t *rule, const pl_cron_t *cron, month_t *month) {
    int next = scan(cron->months, month->month + 1);
    if (next < 0) {
        month->year++;
        next = scan(cron->months, 0);
    }
    month->month = next;
    open_month(rule, cron, month);
}

/* The exclusions of some times that are valid on a day of the month. */
static uint64_t valid_on(const pl_rule_t *rule, const month_t *month, int day) {
    uint64_t valid = 0;
    for (int i = 0; i < rule->excluded_count; i++)
        if (month->partly[i] >> day & 1)
            valid |= BIT(i);
    return valid;
}

/* Exclusions may leave nothing of a day: with which ones that was so is remembered, lest each such day be searched. A
 * hash table; 0 is no entry, as a day without exclusions has times. */
enum { EMPTY_BITS = 7, EMPTY_SIZE = 1 << EMPTY_BITS, EMPTY_MAX = EMPTY_SIZE * 3 / 4 };
typedef struct {
    int count;
    uint64_t valid[EMPTY_SIZE];
} empty_t;

/* The place of the exclusions, or the free one where they belong. */
static uint64_t *place_of(empty_t *empty, uint64_t valid) {
    uint64_t at = valid * UINT64_C(0x9e3779b97f4a7c15) >> (64 - EMPTY_BITS);
    while (empty->valid[at] && empty->valid[at] != valid)
        at = (at + 1) % EMPTY_SIZE;
    return &empty->valid[at];
}

static void remember(empty_t *empty, uint64_t valid) {
    if (empty->count < EMPTY_MAX) {
        *place_of(empty, valid) = valid;
        empty->count++;
    }
}

/* The last day that has to be looked at: in 42 years each kind of year occurs (leap or not, begun on each weekday; at
 * most 40 years lie between two of a kind), and years of a kind are alike but for excluded days. */
static int64_t last_to_try(const pl_rule_t *rule, int64_t today, int64_t last) {
    int64_t special = rule->excluded_day_count > 0 ? rule->excluded_days[rule->excluded_day_count - 1] : today;
    int64_t enough = (special > today ? special : today) + 42 * 366;
    return last < enough ? last : enough;
}

/* The first local time of `from` … `to` - 1 that matches the expression and is not excluded; NEVER: none. */
static int64_t match_next(const pl_rule_t *rule, const pl_cron_t *cron, int64_t from, int64_t to) {
    if (from >= to || !cron->months)
        return NEVER;
    int64_t today = pl_day_of_local(from), last = last_to_try(rule, today, pl_day_of_local(to - 1));
    pl_date_t date = pl_date_of(today);
    month_t month = { .year = date.year, .month = date.month };
    open_month(rule, cron, &month);
    int day = date.day;
    empty_t empty;
    if (rule->excluded_count > 0)
        memset(&empty, 0, sizeof empty);
    while (month.before + day <= last) {
        day = scan(month.days, day);
        if (day < 0) {
            next_month(rule, cron, &month);
            day = 1;
            continue;
        }
        int64_t begin = (month.before + day) * PL_DAY_SECONDS;
        uint64_t valid = valid_on(rule, &month, day);
        if (!valid || *place_of(&empty, valid) != valid) {
            int second = clock_next(rule, cron, valid, from > begin ? (int)(from - begin) : 0);
            if (second >= 0)
                return begin + second < to ? begin + second : NEVER;
            if (from <= begin && valid)
                remember(&empty, valid);
        }
        day++;
    }
    return NEVER;
}

/* The same of all expressions that follow elapsed time, or of all others. */
static int64_t local_next(const pl_rule_t *rule, bool is_elapsed, int64_t from, int64_t to) {
    int64_t best = NEVER;
    for (int i = 0; i < rule->cron_count; i++) {
        if (rule->crons[i].is_elapsed != is_elapsed)
            continue;
        int64_t local = match_next(rule, &rule->crons[i], from, to);
        if (local != NEVER)
            best = to = local; /* the others have to be earlier */
    }
    return best;
}

static const pl_cron_t ALWAYS = { .seconds = BIT(60) - 1,
                                  .minutes = BIT(60) - 1,
                                  .hours = (1u << 24) - 1,
                                  .months = (1u << 13) - 2,
                                  .any_day = true,
                                  .any_weekday = true };

bool pl_rule_excludes(const pl_rule_t *rule, int64_t local) {
    return match_next(rule, &ALWAYS, local, local + 1) == NEVER;
}

/* ---- stretches -------------------------------------------------------------------------------------------------- */

typedef struct {
    const pl_rule_t *rule;
    bool any_elapsed, any_wall;
    pl_zone_span_t span;
    int64_t from; /* the first instant of the stretch that may be returned */
    pl_fire_t *fire;
} search_t;

static void offer(pl_fire_t *fire, int64_t at, int64_t local) {
    if (local != NEVER && at < fire->at) {
        fire->at = at;
        fire->local = local;
    }
}

static void count_skipped(const search_t *s, int64_t from, int64_t to) {
    while ((from = local_next(s->rule, false, from, to)) != NEVER) {
        s->fire->skipped_gap++;
        from++;
    }
}

/* How far from a change of the clock the local times may be that it leaves out or repeats; more than enough. */
#define REACH (2 * PL_ZONE_OFFSET_MAX)

/* The last change of the offset before the stretch, if it is near: when, and the offset before it. Most often that is
 * where the stretch begins; but neighbours may have the same offset. */
static bool change_before(const pl_zone_t *zone, const pl_zone_span_t *span, int64_t *at, int32_t *offset) {
    pl_zone_span_t other;
    for (*at = span->begin; *at > PL_INSTANT_MIN && span->begin - *at < REACH; *at = other.begin) {
        pl_zone_span(zone, *at - 1, &other);
        *offset = other.offset;
        if (other.offset != span->offset)
            return true;
    }
    return false;
}

/* The same of the first change behind it, and the offset from then on. */
static bool change_behind(const pl_zone_t *zone, const pl_zone_span_t *span, int64_t *at, int32_t *offset) {
    pl_zone_span_t other;
    for (*at = span->end; *at < PL_INSTANT_MAX && *at - span->end < REACH; *at = other.end) {
        pl_zone_span(zone, *at, &other);
        *offset = other.offset;
        if (other.offset != span->offset)
            return true;
    }
    return false;
}

/* The clock was put forward at an instant, at or before the begin of the stretch: local times `from` … `to` - 1 are
 * missing. */
static void search_gap(const search_t *s, int64_t at, int64_t from, int64_t to, int32_t offset_before) {
    if (s->rule->gap == PL_GAP_SHIFT) {
        int64_t first = s->from + offset_before;
        int64_t local = local_next(s->rule, false, first > from ? first : from, to);
        offer(s->fire, local - (local == NEVER ? 0 : offset_before), local);
    } else if (at == s->from && s->rule->gap == PL_GAP_NEXT) {
        offer(s->fire, at, local_next(s->rule, false, from, to));
    } else if (at == s->from) {
        count_skipped(s, from, to);
    }
}

static void search_wall(search_t *s) {
    int64_t from = s->from, to = s->span.end, at;
    int32_t offset = s->span.offset, other;
    bool is_near = s->span.begin > PL_INSTANT_MIN && from - s->span.begin < REACH;
    if (is_near && change_before(s->rule->zone, &s->span, &at, &other)) {
        int64_t shown = at + other, shows = at + offset;
        if (shown < shows)
            search_gap(s, at, shown, shows, other);
        else if (s->rule->fold == PL_FOLD_FIRST && from + offset < shown)
            from = shown - offset;
    }
    if (s->rule->fold == PL_FOLD_LAST && change_behind(s->rule->zone, &s->span, &at, &other)) {
        int64_t first = at + other - offset; /* what is shown from then on comes once more */
        to = first < to ? first : to;
    }
    int64_t local = local_next(s->rule, false, from + offset, to + offset);
    offer(s->fire, local - (local == NEVER ? 0 : offset), local);
}

static void search_elapsed(search_t *s) {
    int32_t offset = s->span.offset;
    int64_t local = local_next(s->rule, true, s->from + offset, s->span.end + offset);
    offer(s->fire, local - (local == NEVER ? 0 : offset), local);
}

/* The first instant at or after the end of a stretch without a fire at which there may be one: no time matches between
 * the begin of the search and the one that is found, by whatever offset. NEVER: none up to the limit. */
static int64_t skip_ahead(const search_t *s, int64_t limit) {
    int64_t from = s->from - PL_ZONE_OFFSET_MAX, to = limit + PL_ZONE_OFFSET_MAX + 1;
    int64_t elapsed = s->any_elapsed ? local_next(s->rule, true, from, to) : NEVER;
    int64_t wall = s->any_wall ? local_next(s->rule, false, from, to) : NEVER;
    int64_t local = elapsed < wall ? elapsed : wall;
    if (local == NEVER)
        return NEVER;
    return local - PL_ZONE_OFFSET_MAX > s->span.end ? local - PL_ZONE_OFFSET_MAX : s->span.end;
}

bool pl_cron_next(const pl_rule_t *rule, int64_t after, pl_fire_t *fire) {
    search_t s = { .rule = rule, .fire = fire };
    *fire = (pl_fire_t){ .at = NEVER, .local = NEVER };
    if (after >= PL_INSTANT_MAX)
        return false;
    for (int i = 0; i < rule->cron_count; i++) {
        s.any_elapsed |= rule->crons[i].is_elapsed;
        s.any_wall |= !rule->crons[i].is_elapsed;
    }
    s.from = after < PL_INSTANT_MIN ? PL_INSTANT_MIN : after + 1;
    int64_t limit = s.from + HORIZON < PL_INSTANT_MAX ? s.from + HORIZON : PL_INSTANT_MAX;
    while (s.from <= limit) {
        pl_zone_span(rule->zone, s.from, &s.span);
        if (s.span.end > limit)
            s.span.end = limit + 1;
        if (s.any_elapsed)
            search_elapsed(&s);
        if (s.any_wall)
            search_wall(&s);
        if (fire->at != NEVER)
            return true;
        s.from = skip_ahead(&s, limit);
    }
    return false;
}

/* Bisects: the fire after x is the last one for those x that have no other fire up to `until`. */
bool pl_cron_last(const pl_rule_t *rule, int64_t after, int64_t until, pl_fire_t *fire) {
    pl_fire_t found;
    if (!pl_cron_next(rule, after, fire) || fire->at > until)
        return false;
    int64_t low = fire->at, high = until < PL_INSTANT_MAX ? until : PL_INSTANT_MAX;
    while (low < high) { /* *fire is at `low`; there is none in (high, until] */
        int64_t middle = low + (high - low) / 2;
        if (pl_cron_next(rule, middle, &found) && found.at <= high) {
            *fire = found;
            low = found.at;
        } else {
            high = middle;
        }
    }
    fire->skipped_gap = 0;
    return true;
}

/* ---- counting ------------------------------------------------------------------------------------------------ */

/* How many times of a day the union of the expressions has: those in `matching`, less the exclusions in `valid`. */
static int times_of_day(const pl_rule_t *rule, uint64_t matching, uint64_t valid) {
    int count = 0;
    for (int hour = 0; hour < 24; hour++) {
        uint64_t minutes = 0, common = 0;
        bool is_uniform = true;
        for (uint64_t set = matching; set; set &= set - 1) {
            const pl_cron_t *cron = &rule->crons[__builtin_ctzll(set)];
            if (!(cron->hours >> hour & 1))
                continue;
            minutes |= cron->minutes;
            is_uniform = is_uniform && (!common || common == cron->seconds);
            common = cron->seconds;
        }
        if (is_uniform && !valid) {
            count += __builtin_popcountll(minutes) * __builtin_popcountll(common);
            continue;
        }
        for (int minute = scan(minutes, 0); minute >= 0; minute = scan(minutes, minute + 1)) {
            uint64_t seconds = 0;
            for (uint64_t set = matching; set; set &= set - 1) {
                const pl_cron_t *cron = &rule->crons[__builtin_ctzll(set)];
                if (cron->hours >> hour & 1 && cron->minutes >> minute & 1)
                    seconds |= cron->seconds;
            }
            count += __builtin_popcountll(seconds_left(rule, valid, seconds, hour, minute));
        }
    }
    return count;
}

/* A month as all expressions see it: the days of each that are not excluded as a whole. */
typedef struct {
    month_t month; /* as one of them sees it: for its partly excluded days */
    uint32_t days[PL_RULE_CRONS_MAX];
} view_t;

static void open_view(const pl_rule_t *rule, view_t *view) {
    month_t month = view->month;
    for (int i = 0; i < rule->cron_count; i++) {
        open_month(rule, &rule->crons[i], &month);
        view->days[i] = month.days;
        if (i == 0 || month.days)
            view->month = month;
    }
}

/* The fires of the local days `from` … `to` - 1, during which the clock is not changed. */
static int64_t count_days(const pl_rule_t *rule, int64_t from, int64_t to) {
    view_t view = { .month = { .year = INT64_MIN } };
    uint64_t matching_before = 0, valid_before = 0;
    int64_t count = 0;
    int times = 0;
    for (int64_t day = from; day < to; day++) {
        if (view.month.year == INT64_MIN || day > view.month.before + 28) {
            pl_date_t date = pl_date_of(day);
            if (date.year != view.month.year || date.month != view.month.month) {
                view.month.year = date.year;
                view.month.month = date.month;
                open_view(rule, &view);
            }
        }
        int of_month = (int)(day - view.month.before);
        uint64_t matching = 0;
        for (int i = 0; i < rule->cron_count; i++)
            matching |= (uint64_t)(view.days[i] >> of_month & 1) << i;
        uint64_t valid = matching ? valid_on(rule, &view.month, of_month) : 0;
        if (matching && (matching != matching_before || valid != valid_before))
            times = times_of_day(rule, matching_before = matching, valid_before = valid);
        count += matching ? times : 0;
    }
    return count;
}

/* Whole local days from `from` on that are touched by no change of the clock and end before `until`: how many, and the
 * instant at which the first one begins. */
static int64_t quiet_days(const pl_rule_t *rule, int64_t from, int64_t until, int64_t *begin) {
    pl_zone_span_t span;
    int32_t other;
    int64_t at;
    pl_zone_span(rule->zone, from, &span);
    int64_t low = span.begin > PL_INSTANT_MIN ? span.begin : PL_INSTANT_MIN, high = span.end < until ? span.end : until;
    if (change_before(rule->zone, &span, &at, &other) && at + abs(other - span.offset) > low)
        low = at + abs(other - span.offset);
    if (change_behind(rule->zone, &span, &at, &other) && at - abs(other - span.offset) < high)
        high = at - abs(other - span.offset);
    low = (low > from ? low : from) + span.offset;
    int64_t first = pl_day_of_local(low + PL_DAY_SECONDS - 1), last = pl_day_of_local(high + span.offset);
    *begin = first * PL_DAY_SECONDS - span.offset;
    return last > first ? last - first : 0;
}

int64_t pl_cron_count(const pl_rule_t *rule, int64_t after, int64_t until) {
    pl_fire_t fire;
    int64_t count = 0, begin;
    after = after < PL_INSTANT_MIN ? PL_INSTANT_MIN - 1 : after;
    until = until > PL_INSTANT_MAX ? PL_INSTANT_MAX : until;
    while (after < until) {
        int64_t days = quiet_days(rule, after + 1, until, &begin);
        int64_t to = days > 0 ? begin - 1 : until;
        for (int steps = 0; after < to && (days > 0 || steps < 100); steps++) {
            if (!pl_cron_next(rule, after, &fire) || fire.at > to)
                after = to;
            else
                count++, after = fire.at;
        }
        if (days > 0) {
            pl_zone_span_t span;
            pl_zone_span(rule->zone, begin, &span);
            int64_t first = pl_day_of_local(begin + span.offset);
            count += count_days(rule, first, first + days);
            after = begin + days * PL_DAY_SECONDS - 1;
        }
    }
    return count;
}

/* ---- slots, local times, jitter --------------------------------------------------------------------------------- */

/* The first slot that is not before `from`. */
static int64_t slot_from(int64_t every_us, int64_t anchor_us, int64_t from) {
    int64_t behind = (int64_t)(((__int128)from - anchor_us) % every_us);
    int64_t wait = behind > 0 ? every_us - behind : -behind;
    return from > PL_USEC_MAX - wait ? PL_USEC_NEVER : from + wait;
}

static int64_t floor_seconds(int64_t us) {
    return us / PL_USEC_PER_SEC - (us % PL_USEC_PER_SEC < 0 ? 1 : 0);
}

/* The first instant from the excluded one on, in microseconds, that may not be excluded. */
static int64_t leave_exclusion(const pl_rule_t *rule, const pl_zone_span_t *span, int64_t local) {
    int64_t left = match_next(rule, &ALWAYS, local, local + HORIZON);
    if (left == NEVER)
        return PL_USEC_NEVER;
    int64_t at = left - span->offset;
    return (at < span->end ? at : span->end) * PL_USEC_PER_SEC; /* another offset from the end on: look again there */
}

int64_t pl_every_next(const pl_rule_t *rule, int64_t every_us, int64_t anchor_us, int64_t after_us) {
    if (after_us >= PL_USEC_MAX || every_us < 1)
        return PL_USEC_NEVER;
    int64_t at = slot_from(every_us, anchor_us, after_us + 1);
    if (rule->excluded_count == 0 && rule->excluded_day_count == 0)
        return at;
    for (int tries = 0; tries < EVERY_TRIES && at < PL_USEC_MAX; tries++) {
        pl_zone_span_t span;
        int64_t second = floor_seconds(at);
        if (second < PL_INSTANT_MIN || second > PL_INSTANT_MAX)
            return at;
        pl_zone_span(rule->zone, second, &span);
        if (!pl_rule_excludes(rule, second + span.offset))
            return at;
        int64_t left = leave_exclusion(rule, &span, second + span.offset);
        if (left == PL_USEC_NEVER)
            return PL_USEC_NEVER;
        at = slot_from(every_us, anchor_us, left > at ? left : at + 1);
    }
    return PL_USEC_NEVER;
}

int64_t pl_every_last(const pl_rule_t *rule, int64_t every_us, int64_t anchor_us, int64_t after_us, int64_t until_us) {
    int64_t low = pl_every_next(rule, every_us, anchor_us, after_us), high = until_us;
    if (low > until_us)
        return PL_USEC_NEVER;
    while (low < high) { /* `low` is a slot; there is none in (high, until_us] */
        int64_t middle = low + (int64_t)(((uint64_t)high - (uint64_t)low) / 2);
        int64_t found = pl_every_next(rule, every_us, anchor_us, middle);
        if (found <= high)
            low = found;
        else
            high = middle;
    }
    return low;
}

int64_t pl_every_count(const pl_rule_t *rule, int64_t every_us, int64_t anchor_us, int64_t after_us, int64_t until_us) {
    int64_t first = pl_every_next(rule, every_us, anchor_us, after_us), count = 0;
    if (first > until_us || first == PL_USEC_NEVER)
        return 0;
    if (rule->excluded_count == 0 && rule->excluded_day_count == 0)
        return (int64_t)(((__int128)until_us - first) / every_us) + 1;
    for (; first <= until_us && first != PL_USEC_NEVER; count++)
        first = pl_every_next(rule, every_us, anchor_us, first);
    return count;
}

int64_t pl_at_instant(const pl_rule_t *rule, int64_t local) {
    pl_zone_instants_t found;
    pl_zone_instants(rule->zone, local, &found);
    if (found.count == 2 && rule->fold == PL_FOLD_LAST)
        return found.at[1];
    if (found.count > 0)
        return found.at[0];
    if (rule->gap == PL_GAP_SKIP)
        return NEVER;
    if (rule->gap == PL_GAP_NEXT)
        return found.gap_at;
    pl_zone_span_t span;
    pl_zone_span(rule->zone, found.gap_at - 1, &span);
    return local - span.offset;
}

/* FNV-1a over the bytes, and the last steps of splitmix64 so that all bits count. */
int64_t pl_jitter(pl_str_t name, int64_t nominal_us, int64_t jitter_us, int64_t until_next_us) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    int64_t most = jitter_us < until_next_us ? jitter_us : until_next_us;
    if (most <= 1)
        return 0;
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (uint8_t)name.ptr[i]) * UINT64_C(0x100000001b3);
    hash += (uint64_t)nominal_us * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ (hash >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ (hash >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (int64_t)((hash ^ (hash >> 31)) % (uint64_t)most);
}
