/*
 * next.h - when a schedule fires next.
 *
 * Three kinds of schedules: cron expressions (any number, at the union of which it fires), a slot every so often from
 * an anchor on, and one local time. Exclusions are cron expressions and days, matched by the local time that was meant.
 *
 * Expressions that follow the clock on the wall meet two cases when it is changed (those that follow elapsed time do
 * not: they fire at each real occurrence of their local times, and a time that was left out is not owed):
 *
 *   gap    local times that do not exist. "next": once, at the first instant after the gap, however many fell into it;
 *          "shift": each later by the length of the gap; "skip": not at all, and counted
 *   fold   local times that exist twice. "first", "last", or "both"
 *
 * Everything is reckoned in instants, and what is returned is always later than what was asked from.
 */
#ifndef PL_CALENDAR_NEXT_H
#define PL_CALENDAR_NEXT_H

#include "calendar/civil.h"
#include "calendar/cron.h"
#include "calendar/zone.h"

typedef enum { PL_GAP_NEXT, PL_GAP_SHIFT, PL_GAP_SKIP } pl_gap_t;
typedef enum { PL_FOLD_FIRST, PL_FOLD_LAST, PL_FOLD_BOTH } pl_fold_t;

enum { PL_RULE_CRONS_MAX = 64, PL_RULE_EXCLUDED_MAX = 64 };

/* When it fires. A plain value; it borrows its arrays and the zone. A zeroed one with a zone never fires. */
typedef struct {
    const pl_zone_t *zone;
    const pl_cron_t *crons; /* fires at the union; at most PL_RULE_CRONS_MAX */
    int cron_count;
    const pl_cron_t *excluded; /* compiled with PL_CRON_EXCLUDES; at most PL_RULE_EXCLUDED_MAX */
    int excluded_count;
    const int64_t *excluded_days; /* ascending */
    int excluded_day_count;
    pl_gap_t gap;
    pl_fold_t fold;
} pl_rule_t;

typedef struct {
    int64_t at;          /* the instant */
    int64_t local;       /* the local time that was meant: another one than that of the instant after a gap */
    int64_t skipped_gap; /* times between the instant asked from and this one that fell into gaps and do not fire */
} pl_fire_t;

/* The first fire strictly after the instant, by the expressions of the rule. Returns whether there is one within 400
 * years and before the year 10000; without one `*fire` is not to be used. */
bool pl_cron_next(const pl_rule_t *rule, int64_t after, pl_fire_t *fire);
/* The last fire strictly after `after`, and not after `until`. Returns whether there is one. */
bool pl_cron_last(const pl_rule_t *rule, int64_t after, int64_t until, pl_fire_t *fire);

/* How many fires there are strictly after `after` and not after `until`. Days without a change of the clock are counted
 * as a whole, so a long time costs little. */
int64_t pl_cron_count(const pl_rule_t *rule, int64_t after, int64_t until);

/* The first anchor + k * every strictly after `after` that is not excluded, for any whole k; all in microseconds, every
 * at least 1; the expressions of the rule do not count. Returns PL_USEC_NEVER if there is none (or none of the next
 * 100,000 that could be). */
int64_t pl_every_next(const pl_rule_t *rule, int64_t every_us, int64_t anchor_us, int64_t after_us);

/* The last such slot strictly after `after_us` and not after `until_us`; PL_USEC_NEVER: there is none. */
int64_t pl_every_last(const pl_rule_t *rule, int64_t every_us, int64_t anchor_us, int64_t after_us, int64_t until_us);
/* How many such slots there are; with exclusions each one is looked at. */
int64_t pl_every_count(const pl_rule_t *rule, int64_t every_us, int64_t anchor_us, int64_t after_us, int64_t until_us);

/* The instant of a local time by the rules for gap and fold (of "both": the first); PL_INSTANT_NEVER: it is in a gap
 * and is skipped. */
int64_t pl_at_instant(const pl_rule_t *rule, int64_t local);

/* Whether the local time is excluded. */
bool pl_rule_excludes(const pl_rule_t *rule, int64_t local);

/* How much later than its nominal time a fire happens, in microseconds: 0 … jitter_us - 1, always the same for the same
 * name and nominal time, and before the next nominal time, so that the order of fires is kept. `until_next_us`: from
 * this nominal time to the next one. */
int64_t pl_jitter(pl_str_t name, int64_t nominal_us, int64_t jitter_us, int64_t until_next_us);

#endif
