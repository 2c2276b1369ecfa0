/*
 * check.h - the few lines a C test needs: CHECK counts, check_end prints and gives the exit code.
 */
#ifndef PL_SPEC_CHECK_H
#define PL_SPEC_CHECK_H

#include <stdio.h>

static _Atomic int check_passed, check_failed; /* some checks are made in threads of the store */

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (condition) {                                                                                               \
            check_passed++;                                                                                            \
        } else {                                                                                                       \
            check_failed++;                                                                                            \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                                             \
        }                                                                                                              \
    } while (0)

static inline int check_end(void) {
    printf("%d checks passed, %d failed\n", check_passed, check_failed);
    return check_failed ? 1 : 0;
}

#endif
