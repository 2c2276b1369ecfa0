/*
 * bell.c - the bell: how workers on one file hear of each other's commits, and of each other's end.
 *
 * Beside the database lies a small file, `<database>-workers`, with an 8-byte counter for each number, which its worker
 * raises when a commit of its own made work for others. Everybody watches the file with inotify: a write means that
 * somebody rang, a close that somebody may have died. At rest nobody wakes up. Should the file be deleted, it is made
 * anew, and until that is noticed the slow check and the leases remain.
 *
 * The close event may come just before the lock of the number is released, so whoever hears it looks again a little
 * later. Where inotify is missing, everybody looks now and then.
 */
#include "store/sqlite/peers/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNTERS_AT = 4096 };

/* ---- ringing ----------------------------------------------------------------------------------------------------- */

/* What is known of others is as old as the last look at them, so one more look at their locks comes before silence. */
void pl__bell_ring(pl__bell_t *bell, int others) {
    int number = atomic_load(&bell->number);
    if (number < 0 || (others == 0 && pl__number_is_alone(bell)))
        return;
    uint64_t count = ++bell->rung;
    ssize_t written = pwrite(bell->bell.fd, &count, sizeof count, COUNTERS_AT + 8 * (off_t)number);
    (void)written; /* a bell that fails is a bell not heard: the slow check remains */
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* Watches the bell file; what was rung before is old. */
static void watch(pl__bell_t *bell) {
    uint64_t counters[PL_IDS_WORKERS] = { 0 };
    if (pread(bell->bell.fd, counters, sizeof counters, COUNTERS_AT) >= 0)
        memcpy(bell->seen, counters, sizeof counters);
    bell->is_deaf = bell->inotify < 0 || inotify_add_watch(bell->inotify, bell->name,
                                                           IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF) < 0;
}

/* With the permissions of the database, and, like the files that SQLite makes, with its owner when root makes it. Where
 * that cannot be had it is stricter, and whoever is shut out is told so when it opens. */
static int open_file(pl__unshared_t *file, const char *name, const char *path) {
    struct stat facts = { .st_mode = 0600, .st_uid = geteuid(), .st_gid = getegid() };
    (void)stat(path, &facts);
    int fd = pl__unshared_open(file, name, O_RDWR, 0);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    fd = pl__unshared_open(file, name, O_RDWR | O_CREAT, facts.st_mode & 0777);
    bool is_owned = fd >= 0 && geteuid() == 0 && fchown(fd, facts.st_uid, facts.st_gid) == 0;
    (void)is_owned;
    if (fd >= 0)
        (void)fchmod(fd, facts.st_mode & 0777); /* whatever the umask says */
    return fd;
}

/* ---- hearing ----------------------------------------------------------------------------------------------------- */

/* Has anybody but us rung since the last look? */
static bool has_rung(pl__bell_t *bell) {
    uint64_t counters[PL_IDS_WORKERS] = { 0 };
    int number = atomic_load(&bell->number);
    if (pread(bell->bell.fd, counters, sizeof counters, COUNTERS_AT) < 0)
        return true;
    if (number >= 0)
        counters[number] = bell->seen[number];
    bool rung = memcmp(counters, bell->seen, sizeof counters) != 0;
    memcpy(bell->seen, counters, sizeof counters);
    return rung;
}

static uint32_t read_events(int inotify) {
    _Alignas(struct inotify_event) char bytes[4096];
    uint32_t all = 0;
    ssize_t got;
    while ((got = read(inotify, bytes, sizeof bytes)) > 0) {
        for (char *at = bytes; at < bytes + got;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;
            all |= event->mask;
            at += sizeof *event + event->len;
        }
    }
    return all;
}

/* Somebody has deleted or replaced the bell file: its name leads elsewhere. */
static bool is_gone(const pl__bell_t *bell) {
    struct stat own, named;
    return fstat(bell->bell.fd, &own) != 0 || stat(bell->name, &named) != 0 || own.st_ino != named.st_ino ||
           own.st_dev != named.st_dev;
}

/* Whoever comes now finds, or makes, a file of that name: so do we. Returns whether there is one again. */
static bool renew(pl__bell_t *bell, const pl_log_t *log) {
    pl__unshared_t file;
    int fd = open_file(&file, bell->name, bell->path);
    if (fd < 0)
        return false;
    pl_log(log, PL_LOG_WARNING, "%s was deleted while workers use it; it was made anew", bell->name);
    pl__number_retake(bell, fd);
    if (dup3(fd, bell->bell.fd, O_CLOEXEC) >= 0) { /* the writer may be about to ring */
        memset(bell->seen, 0, PL_IDS_WORKERS * sizeof *bell->seen);
        watch(bell);
    }
    pl__unshared_close(&file);
    return true;
}

unsigned pl__bell_hear(pl__bell_t *bell, const pl_log_t *log) {
    uint32_t mask = read_events(bell->inotify);
    unsigned news = 0;
    if ((mask & (IN_ATTRIB | IN_MOVE_SELF | IN_IGNORED)) && is_gone(bell) && renew(bell, log))
        news |= PL__RING_WORK | PL__RING_GONE;
    if (mask & (IN_CLOSE_WRITE | IN_Q_OVERFLOW))
        news |= PL__RING_GONE;
    if ((mask & (IN_MODIFY | IN_Q_OVERFLOW)) && has_rung(bell))
        news |= PL__RING_WORK;
    return news;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int open_all(pl__bell_t *bell, const char *path, pl_error_t *error) {
    size_t size = strlen(path) + sizeof "-workers";
    bell->name = pl__alloc(size);
    bell->path = pl__alloc(strlen(path) + 1);
    bell->seen = pl__alloc(PL_IDS_WORKERS * sizeof *bell->seen);
    if (!bell->name || !bell->path || !bell->seen)
        return PL__FAIL(error, PL_ENOMEM, "out of memory opening %s", path);
    strcpy(bell->path, path);
    snprintf(bell->name, size, "%s-workers", path);
    if (open_file(&bell->bell, bell->name, path) < 0)
        return PL__FAIL(error, errno == EACCES || errno == EROFS ? PL_EREADONLY : PL_EIO, "%s: %s", bell->name,
                        strerror(errno));
    (void)pl__unshared_open(&bell->locks, path, O_RDWR, 0);
    bell->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    watch(bell);
    return PL_OK;
}

int pl__bell_open(pl__bell_t **out, const char *path, pl_error_t *error) {
    *out = NULL;
    pl__bell_t *bell = pl__alloc(sizeof *bell);
    if (!bell)
        return PL__FAIL(error, PL_ENOMEM, "out of memory opening %s", path);
    bell->bell = bell->locks = PL__UNSHARED_NONE;
    bell->inotify = -1;
    atomic_store(&bell->number, -1);
    int rc = open_all(bell, path, error);
    if (rc != PL_OK) {
        pl__bell_close(bell);
        return rc;
    }
    *out = bell;
    return PL_OK;
}

void pl__bell_close(pl__bell_t *bell) {
    if (!bell)
        return;
    if (bell->inotify >= 0)
        close(bell->inotify);
    pl__unshared_close(&bell->locks);
    pl__unshared_close(&bell->bell); /* the others hear of it; the locks are gone by now */
    pl__free(bell->seen);
    pl__free(bell->name);
    pl__free(bell->path);
    pl__free(bell);
}

int pl__bell_fd(const pl__bell_t *bell) {
    return bell->is_deaf ? -1 : bell->inotify;
}
