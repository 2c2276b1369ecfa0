/*
 * number.c - the number of a worker is a lock: so others can see whether it lives.
 *
 * Each worker holds a lock on the byte of its number, in a range of the database file that SQLite does not lock (an
 * open-file-description lock: the kernel releases it when the process dies, however it dies). So a worker lives where
 * its file does, whatever name the file is opened by, and whatever becomes of the files beside it. The first bytes of
 * the file of the workers are locked as well, as earlier versions did: processes of both may work on one file.
 *
 * Where the system has no such locks, the leases remain.
 */
#include <errno.h>
#include <fcntl.h>

#include "store/sqlite/peers/notifier.h"

#define NUMBERS_AT (INT64_C(0x40000000) + 1024) /* in the database file; file/locks.c has what is behind */

static int lock_bytes(int fd, int command, int64_t first, int count, struct flock *lock) {
    *lock = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = count };
    int rc;
    do
        rc = fcntl(fd, command, lock);
    while (rc < 0 && errno == EINTR);
    return rc;
}

/* Whether somebody else holds the lock; else it is ours now. Locks that the system does not have are had by nobody. */
static bool is_refused(int fd, int64_t at) {
    struct flock lock;
    return fd >= 0 && lock_bytes(fd, F_OFD_SETLK, at, 1, &lock) < 0 && (errno == EAGAIN || errno == EACCES);
}

static void unlock(int fd, int64_t at) {
    struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
    (void)fcntl(fd, F_OFD_SETLK, &lock);
}

bool pl__number_take(pl__notifier_t *notifier, int number) {
    if (is_refused(notifier->locks.fd, NUMBERS_AT + number))
        return false;
    if (is_refused(notifier->file.fd, number)) {
        if (notifier->locks.fd >= 0)
            unlock(notifier->locks.fd, NUMBERS_AT + number);
        return false;
    }
    notifier->sent = notifier->seen[number];
    atomic_store(&notifier->number, number);
    return true;
}

void pl__number_retake(const pl__notifier_t *notifier, int fd) {
    int number = atomic_load(&notifier->number);
    if (number >= 0)
        (void)is_refused(fd, number);
}

/* 1: somebody else holds one of these locks; 0: nobody; -1: cannot tell. */
static int is_held(int fd, int64_t first, int count) {
    struct flock lock;
    if (fd < 0 || lock_bytes(fd, F_OFD_GETLK, first, count, &lock) < 0)
        return -1;
    return lock.l_type != F_UNLCK;
}

pl__life_t pl__number_life(const pl__notifier_t *notifier, int number) {
    int held = is_held(notifier->locks.fd, NUMBERS_AT + number, 1), held_beside = is_held(notifier->file.fd, number, 1);
    if (held < 0 && held_beside < 0)
        return PL__SILENT;
    return held > 0 || held_beside > 0 ? PL__ALIVE : PL__GONE;
}

bool pl__number_is_alone(const pl__notifier_t *notifier) {
    return is_held(notifier->file.fd, 0, PL_IDS_WORKERS) == 0;
}
