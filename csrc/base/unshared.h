/*
 * unshared.h - descriptors that a child of fork() does not keep.
 *
 * A lock of an open file lives as long as any descriptor of that file, in any process. A child that was forked has a
 * copy of each, so that the locks of its parent would outlive the parent's death: what was opened here is closed in the
 * child before fork() returns there. (exec, and what calls it without the handlers of fork, leaves O_CLOEXEC behind.)
 */
#ifndef PL_BASE_UNSHARED_H
#define PL_BASE_UNSHARED_H

#include <sys/types.h>

typedef struct pl__unshared {
    int fd; /* -1: none, or this is a child and it was the parent's */
    struct pl__unshared *prev, *next;
} pl__unshared_t;

#define PL__UNSHARED_NONE ((pl__unshared_t){ .fd = -1 })

/* As open(2), with O_CLOEXEC. Assumes that nothing is open; the record stays where it is until pl__unshared_close.
 * Returns the descriptor, or -1 with errno. Any thread. */
int pl__unshared_open(pl__unshared_t *file, const char *path, int flags, mode_t mode);
/* Idempotent; errno stays. */
void pl__unshared_close(pl__unshared_t *file);

#endif
