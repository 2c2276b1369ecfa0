/*
 * cron_fuzz.c - arbitrary texts as cron expressions, several of them, and exclusions.
 *
 * The first byte says how; then come lines: an expression, or behind a "!" an exclusion (an expression or a day). What
 * is refused has a message. What is not goes forward, fires at times that match and are not excluded, and its last fire
 * and its count agree with the fires themselves. Nothing takes long.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calendar/next.h"

enum { LINES_MAX = 5 };

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void need_at(bool good, const char *what) {
    if (good)
        return;
    fprintf(stderr, "cron_fuzz.c: not so: %s\n", what);
    abort();
}
#define NEED(condition) need_at(condition, #condition)

typedef struct {
    pl_cron_t crons[LINES_MAX], excluded[LINES_MAX];
    int64_t days[LINES_MAX];
    pl_rule_t rule;
} plan_t;

static void take_line(plan_t *plan, pl_str_t line, unsigned flags) {
    pl_rule_t *rule = &plan->rule;
    pl_error_t error = { 0 };
    int rc;
    if (line.len > 0 && line.ptr[0] == '!') {
        line = (pl_str_t){ line.ptr + 1, line.len - 1 };
        /* One day is enough: they have to be in order. */
        if (rule->excluded_day_count == 0 && pl_day_parse(line, &plan->days[0], NULL) == PL_OK)
            rule->excluded_day_count++;
        rc = pl_cron_parse(line, flags | PL_CRON_EXCLUDES, &plan->excluded[rule->excluded_count], &error);
        rule->excluded_count += rc == PL_OK && rule->excluded_count < LINES_MAX - 1;
    } else {
        rc = pl_cron_parse(line, flags, &plan->crons[rule->cron_count], &error);
        rule->cron_count += rc == PL_OK && rule->cron_count < LINES_MAX - 1;
    }
    NEED(rc == PL_OK || (rc == PL_EINVAL && error.message[0]));
}

static bool matches(const pl_cron_t *cron, int64_t local) {
    int64_t day = pl_day_of_local(local);
    int second = (int)(local - day * PL_DAY_SECONDS);
    pl_date_t date = pl_date_of(day);
    return pl_cron_days(cron, date.year, date.month) >> date.day & 1 && cron->hours >> second / 3600 & 1 &&
           cron->minutes >> second / 60 % 60 & 1 && cron->seconds >> second % 60 & 1;
}

static void check_fire(const plan_t *plan, const pl_fire_t *fire) {
    bool is_meant = false;
    for (int i = 0; i < plan->rule.cron_count; i++)
        is_meant |= matches(&plan->crons[i], fire->local);
    NEED(is_meant);
    for (int i = 0; i < plan->rule.excluded_count; i++)
        NEED(!matches(&plan->excluded[i], fire->local));
    NEED(plan->rule.excluded_day_count == 0 || plan->days[0] != pl_day_of_local(fire->local));
    NEED(!pl_rule_excludes(&plan->rule, fire->local));
}

static void check(plan_t *plan, int64_t after) {
    enum { FIRES = 6 };
    pl_fire_t fire, last;
    int64_t begun = after;
    int count = 0;
    while (count < FIRES && pl_cron_next(&plan->rule, after, &fire)) {
        NEED(fire.at > after);
        check_fire(plan, &fire);
        after = fire.at;
        count++;
    }
    NEED(pl_cron_last(&plan->rule, begun, after, &last) == (count > 0));
    NEED(count == 0 || last.at == after);
    NEED(pl_cron_count(&plan->rule, begun, after) == count);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    static pl_zone_t *zone;
    static const char FILE_BYTES[] =
        "TZif3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        "TZif3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4"
        "\0\0\0\0\0\0AAA\0\nCET-1CEST,M3.5.0,M10.5.0/3\n";
    if (!zone)
        NEED(pl_zone_read(FILE_BYTES, sizeof FILE_BYTES - 1, &zone, NULL) == PL_OK);
    if (size < 1)
        return 0;
    plan_t plan = { .rule = { .zone = zone, .gap = bytes[0] % 3, .fold = bytes[0] / 3 % 3 } };
    plan.rule.crons = plan.crons;
    plan.rule.excluded = plan.excluded;
    plan.rule.excluded_days = plan.days;
    unsigned flags = bytes[0] & 128 ? PL_CRON_DAY_AND_WEEKDAY : 0;
    const char *at = (const char *)bytes + 1, *end = (const char *)bytes + size;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        char *copy = malloc((size_t)(stop - at) + 1); /* so that reading beyond it is noticed */
        memcpy(copy, at, (size_t)(stop - at));
        take_line(&plan, (pl_str_t){ copy, (size_t)(stop - at) }, flags);
        free(copy);
        at = stop < end ? stop + 1 : end;
    }
    if (plan.rule.cron_count == 0)
        return 0;
    check(&plan, 1806192000 - 86400 * (bytes[0] % 2)); /* around a change of the clock: 28 March 2027 */
    check(&plan, 1824944400 - 3600 * (bytes[0] % 5));  /* and 31 October 2027 */
    check(&plan, PL_INSTANT_MAX - 86400 * 40);
    return 0;
}
