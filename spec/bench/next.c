/*
 * next.c - what one next fire costs: `make build/bench/next && build/bench/next`.
 *
 * Each line is an expression and a zone, gone through fire by fire; nanoseconds for each, the best of five rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "calendar/next.h"

enum { FIRES = 100000, ROUNDS = 5 };

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static pl_zone_t *read_zone(const char *name) {
    static char bytes[1 << 16];
    char path[200];
    pl_zone_t *zone;
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    FILE *file = fopen(path, "rb");
    size_t len = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (file)
        fclose(file);
    if (pl_zone_read(bytes, len, &zone, NULL) != PL_OK) {
        fprintf(stderr, "no zone %s\n", name);
        exit(1);
    }
    return zone;
}

/* Fires from 2027 on, begun anew when there are no more, or a century is over. */
static int64_t measure(const pl_rule_t *rule) {
    const int64_t from = 1798761600, until = from + INT64_C(86400) * 36525;
    int64_t begun = now_ns(), at = from;
    for (int i = 0; i < FIRES; i++) {
        pl_fire_t fire;
        at = pl_cron_next(rule, at, &fire) && fire.at < until ? fire.at : from;
    }
    return (now_ns() - begun) / FIRES;
}

static void show(const char *text, const char *name, pl_fold_t fold) {
    pl_zone_t *zone = read_zone(name);
    pl_cron_t cron;
    if (pl_cron_parse(pl_str(text), 0, &cron, NULL) != PL_OK)
        exit(1);
    pl_rule_t rule = { .zone = zone, .crons = &cron, .cron_count = 1, .fold = fold };
    int64_t best = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t spent = measure(&rule);
        best = spent < best ? spent : best;
    }
    printf("%-24s %-20s fold %d  %6lld ns\n", text, name, (int)fold, (long long)best);
    pl_zone_free(zone);
}

int main(void) {
    static const char *const TEXTS[] = { "* * * * *",    "*/5 * * * *", "30 2 * * *",      "0 9 * * MON-FRI",
                                         "0 7 LW * *",   "0 0 1 1 *",   "0 0 29 2 *",      "0 0 29 2 MON#5",
                                         "0 9 15W * 5L", "0 0 1 * MON", "0-59/7 * * * * *" };
    static const char *const ZONES[] = { "UTC", "Europe/Berlin", "Africa/Casablanca" };
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++)
        for (size_t j = 0; j < sizeof ZONES / sizeof ZONES[0]; j++)
            show(TEXTS[i], ZONES[j], PL_FOLD_FIRST);
    show("30 2 * * *", "Europe/Berlin", PL_FOLD_LAST);
    return 0;
}
