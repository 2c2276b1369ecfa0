/*
 * pace.h - how much slower than usual the library may be in this build: limits of time are longer by that much, and
 * what is repeated a given number of times is repeated less often.
 */
#ifndef PL_SPEC_PACE_H
#define PL_SPEC_PACE_H

#include <stdlib.h>
#include <string.h>

/* 1, or what pace.lua says for the specs. */
static inline int pace(void) {
    const char *wrap = getenv("WRAP");
    if (wrap && strstr(wrap, "valgrind"))
        return 20;
#if defined __SANITIZE_THREAD__
    return 10;
#elif defined __SANITIZE_ADDRESS__
    return 4;
#else
    return 1;
#endif
}

#endif
