/*
 * schedule.c - printed names of what schedules and fires may be.
 */
#include "store/schedule.h"

#define X(name, number, text) [number] = text,
static const char *const overlaps[] = { PL_OVERLAPS(X) };
static const char *const reasons[] = { PL_FIRE_REASONS(X) };
static const char *const states[] = { PL_FIRE_STATES(X) };
#undef X

static const char *name_of(const char *const *names, size_t len, int number) {
    return number >= 0 && (size_t)number < len ? names[number] : "?";
}

const char *pl_overlap_name(int overlap) {
    return name_of(overlaps, sizeof overlaps / sizeof *overlaps, overlap);
}

const char *pl_fire_reason_name(int reason) {
    return name_of(reasons, sizeof reasons / sizeof *reasons, reason);
}

const char *pl_fire_state_name(int state) {
    return name_of(states, sizeof states / sizeof *states, state);
}
