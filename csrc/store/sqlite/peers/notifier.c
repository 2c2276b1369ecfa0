/*
 * notifier.c - how workers on one file are notified of each other's commits, and of each other's end.
 *
 * Beside the database lies a small file, `<database>-workers`, with an 8-byte counter for each number, which its worker
 * raises when a commit of its own made work for others. Everybody watches the file with inotify: a write means that
 * somebody notifies, a close that somebody may have died. At rest nobody wakes up. Should the file be deleted, it is
 * made anew, and until that is noticed the slow check and the leases remain.
 *
 * The close event may come just before the lock of the number is released, so whoever receives it looks again a little
 * later. Where inotify is missing, everybody looks now and then.
 */
#include "store/sqlite/peers/notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNTERS_AT = 4096 };

/* ---- notifying --------------------------------------------------------------------------------------------------- */

/* What is known of others is as old as the last look at them, so one more look at their locks comes before silence. */
void pl__notifier_send(pl__notifier_t *notifier, int others) {
    int number = atomic_load(&notifier->number);
    if (number < 0 || (others == 0 && pl__number_is_alone(notifier)))
        return;
    uint64_t count = ++notifier->sent;
    ssize_t written = pwrite(notifier->file.fd, &count, sizeof count, COUNTERS_AT + 8 * (off_t)number);
    (void)written; /* what is lost so is found by the slow check */
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* Watches the file; what was sent before is old. */
static void watch(pl__notifier_t *notifier) {
    uint64_t counters[PL_IDS_WORKERS] = { 0 };
    if (pread(notifier->file.fd, counters, sizeof counters, COUNTERS_AT) >= 0)
        memcpy(notifier->seen, counters, sizeof counters);
    notifier->is_unwatched =
        notifier->inotify < 0 ||
        inotify_add_watch(notifier->inotify, notifier->name, IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF) < 0;
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

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* Has anybody but us notified since the last look? */
static bool has_news(pl__notifier_t *notifier) {
    uint64_t counters[PL_IDS_WORKERS] = { 0 };
    int number = atomic_load(&notifier->number);
    if (pread(notifier->file.fd, counters, sizeof counters, COUNTERS_AT) < 0)
        return true;
    if (number >= 0)
        counters[number] = notifier->seen[number];
    bool sent = memcmp(counters, notifier->seen, sizeof counters) != 0;
    memcpy(notifier->seen, counters, sizeof counters);
    return sent;
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

/* Somebody has deleted or replaced the file: its name leads elsewhere. */
static bool is_gone(const pl__notifier_t *notifier) {
    struct stat own, named;
    return fstat(notifier->file.fd, &own) != 0 || stat(notifier->name, &named) != 0 || own.st_ino != named.st_ino ||
           own.st_dev != named.st_dev;
}

/* Whoever comes now finds, or makes, a file of that name: so do we. Returns whether there is one again. */
static bool renew(pl__notifier_t *notifier, const pl_log_t *log) {
    pl__unshared_t file;
    int fd = open_file(&file, notifier->name, notifier->path);
    if (fd < 0)
        return false;
    pl_log(log, PL_LOG_WARNING, "%s was deleted while workers use it; it was made anew", notifier->name);
    pl__number_retake(notifier, fd);
    if (dup3(fd, notifier->file.fd, O_CLOEXEC) >= 0) { /* the writer may be about to notify */
        memset(notifier->seen, 0, PL_IDS_WORKERS * sizeof *notifier->seen);
        watch(notifier);
    }
    pl__unshared_close(&file);
    return true;
}

unsigned pl__notifier_receive(pl__notifier_t *notifier, const pl_log_t *log) {
    uint32_t mask = read_events(notifier->inotify);
    unsigned news = 0;
    if ((mask & (IN_ATTRIB | IN_MOVE_SELF | IN_IGNORED)) && is_gone(notifier) && renew(notifier, log))
        news |= PL__NOTIFY_WORK | PL__NOTIFY_GONE;
    if (mask & (IN_CLOSE_WRITE | IN_Q_OVERFLOW))
        news |= PL__NOTIFY_GONE;
    if ((mask & (IN_MODIFY | IN_Q_OVERFLOW)) && has_news(notifier))
        news |= PL__NOTIFY_WORK;
    return news;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int open_all(pl__notifier_t *notifier, const char *path, pl_error_t *error) {
    size_t size = strlen(path) + sizeof "-workers";
    notifier->name = pl__alloc(size);
    notifier->path = pl__alloc(strlen(path) + 1);
    notifier->seen = pl__alloc(PL_IDS_WORKERS * sizeof *notifier->seen);
    if (!notifier->name || !notifier->path || !notifier->seen)
        return PL__FAIL(error, PL_ENOMEM, "out of memory opening %s", path);
    strcpy(notifier->path, path);
    snprintf(notifier->name, size, "%s-workers", path);
    if (open_file(&notifier->file, notifier->name, path) < 0)
        return PL__FAIL(error, errno == EACCES || errno == EROFS ? PL_EREADONLY : PL_EIO, "%s: %s", notifier->name,
                        strerror(errno));
    (void)pl__unshared_open(&notifier->locks, path, O_RDWR, 0);
    notifier->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    watch(notifier);
    return PL_OK;
}

int pl__notifier_open(pl__notifier_t **out, const char *path, pl_error_t *error) {
    *out = NULL;
    pl__notifier_t *notifier = pl__alloc(sizeof *notifier);
    if (!notifier)
        return PL__FAIL(error, PL_ENOMEM, "out of memory opening %s", path);
    notifier->file = notifier->locks = PL__UNSHARED_NONE;
    notifier->inotify = -1;
    atomic_store(&notifier->number, -1);
    int rc = open_all(notifier, path, error);
    if (rc != PL_OK) {
        pl__notifier_close(notifier);
        return rc;
    }
    *out = notifier;
    return PL_OK;
}

void pl__notifier_close(pl__notifier_t *notifier) {
    if (!notifier)
        return;
    if (notifier->inotify >= 0)
        close(notifier->inotify);
    pl__unshared_close(&notifier->locks);
    pl__unshared_close(&notifier->file); /* the others receive that; the locks are gone by now */
    pl__free(notifier->seen);
    pl__free(notifier->name);
    pl__free(notifier->path);
    pl__free(notifier);
}

int pl__notifier_fd(const pl__notifier_t *notifier) {
    return notifier->is_unwatched ? -1 : notifier->inotify;
}
