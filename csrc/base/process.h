/*
 * process.h - what befalls a process as a whole: it forks, it writes to a peer that has left, it is interrupted.
 *
 * A child of fork() must not inherit descriptors that hold locks, nor mutexes that nobody will release. A lock of an
 * open file lives as long as any descriptor of that file, in any process. A child that was forked has a copy of each,
 * so that the locks of its parent would outlive the parent's death: what pl__unshared_open opened is closed in the
 * child before fork() returns there. (exec, and what calls it without the handlers of fork, leaves O_CLOEXEC behind.)
 *
 * Of the threads of a process only the one that forks lives on in the child. Where another one was inside a library
 * that locks mutexes of the process (SQLite counts its memory under one), the child has them locked for ever, and hangs
 * when it opens an engine of its own. So who calls such a library says so, and a fork waits until nobody is inside:
 *
 *   thread of a store:  pl__fork_enter()  library  pl__fork_leave()
 *   fork():             nobody new enters ── waits for those inside, FORK_WAIT at most ── forks ── lets them in again
 *
 * What goes on for long inside (a check of a whole file, a commit for which the disk takes seconds) holds up a fork for
 * that time only. Its child is one that the library cannot be used in, and can ask for that.
 */
#ifndef PL_BASE_PROCESS_H
#define PL_BASE_PROCESS_H

#include <stdbool.h>
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

/* Around calls of a library that locks mutexes of the process. They nest; any thread. */
void pl__fork_enter(void);
void pl__fork_leave(void);
/* Whether this process, or one that it came from, is a child for which nobody waited any longer: another thread of its
 * parent was inside, and may have left anything locked. It is so until exec. */
bool pl__fork_was_rash(void);
/* Sleeps that many microseconds (under a second), outside meanwhile however deep the thread is inside: the library must
 * hold no mutex. */
void pl__fork_sleep(long us);

/* What a module does before each fork, when nobody is inside any more, and after it in the parent and in the child.
 * Once for each module, and for a few. */
typedef void (*pl__fork_fn)(void);
void pl__fork_watch(pl__fork_fn before, pl__fork_fn after, pl__fork_fn in_child);

/* How often this process, or those it came from, was forked since somebody was inside for the first time. It is counted
 * because to ask the kernel who we are would cost a system call with each use of an engine. */
unsigned pl__fork_count(void);

/* A write to a peer that has left is to be an error of the write, not the end of the process: ignores SIGPIPE, unless
 * the program has its own idea of it. To be called before anything writes to a socket through a library that does not
 * say MSG_NOSIGNAL (libuv, OpenSSL below libcurl). Cheap; may be called any number of times. */
void pl__pipe_spare(void);

/* Where standard input, output or error is closed, opens /dev/null in its place: else the next file or socket would be
 * taken for it, by whoever writes a message there (and libuv ends the process that closes one). */
void pl__process_fill(void);

/* Inside the handler of a signal that ends the process: it does so, when the handler returns, as if nobody had handled
 * it. */
void pl__process_end_by(int number);

/* For a program that works in a terminal. From now on SIGINT, where nothing else in the process handles it, ends the
 * process as if nobody did, at once and wherever its code is. With a text, of at most 63 bytes, which is written to
 * standard output first, the terminal is also set to what it was at the first call. NULL: it is ignored from now on. */
void pl__process_end_at_interrupt(const char *text);

#endif
