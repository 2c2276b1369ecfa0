/*
 * peer.c - other workers on the same file: who lives, who rings.
 *
 * Each worker holds a lock on the byte of its number, in a range of the database file that SQLite does not lock (an
 * open-file-description lock: the kernel releases it when the process dies, however it dies). So a worker lives where
 * its file does, whatever name the file is opened by, and whatever becomes of the files beside it.
 *
 * Beside the database lies a small file, `<database>-workers`, with an 8-byte counter for each number, which its worker
 * raises when a commit of its own made work for others. Everybody watches the file with inotify: a write means that
 * somebody rang, a close that somebody may have died. At rest nobody wakes up. Should the file be deleted, it is made
 * anew, and until that is noticed the slow check and the leases remain. Its first bytes are locked as well, as
 * earlier versions did: processes of both may work on one file.
 *
 * The close event may come just before the lock is released, so a rescue looks again a little later. Where inotify or
 * these locks are missing, the slow check and the leases remain.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/engine.h"

#define NUMBERS_AT                                                                                                     \
    (INT64_C(0x40000000) + 1024) /* in the database file; see store/sqlite/file/locks.c for what is behind */

enum {
    COUNTERS_AT = 4096,
    CHECK_MS = 5000,  /* slow safety check, only while there are others */
    SUSPECT_MS = 500, /* a second look at a worker whose lease is over */
    AGAIN_MS = 500,   /* after a look that failed */
    LOOKS = 3         /* quick looks after a close */
};
static const uint64_t look_ms[LOOKS + 1] = { 0, 500, 60, 10 };

/* ---- locks, from the store thread -------------------------------------------------------------------------- */

static int lock_bytes(int fd, int command, int64_t first, int count, struct flock *lock) {
    *lock = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = count };
    int rc;
    do
        rc = fcntl(fd, command, lock);
    while (rc < 0 && errno == EINTR);
    return rc;
}

/* Whether somebody else holds the lock, or has it now. Locks that the system does not have are had by nobody. */
static bool is_refused(int fd, int64_t at) {
    struct flock lock;
    return fd >= 0 && lock_bytes(fd, F_OFD_SETLK, at, 1, &lock) < 0 && (errno == EAGAIN || errno == EACCES);
}

static void unlock(int fd, int64_t at) {
    struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
    (void)fcntl(fd, F_OFD_SETLK, &lock);
}

bool pl__peers_take_number(void *data, int number) {
    pl__peers_t *peers = &((pl_engine_t *)data)->peers;
    if (peers->bell.fd < 0)
        return true;
    if (is_refused(peers->locks.fd, NUMBERS_AT + number))
        return false;
    if (is_refused(peers->bell.fd, number)) {
        if (peers->locks.fd >= 0)
            unlock(peers->locks.fd, NUMBERS_AT + number);
        return false;
    }
    peers->number = number;
    peers->rung = peers->seen[number];
    return true;
}

/* 1: somebody holds one of these locks; 0: nobody; -1: cannot tell. */
static int is_held(int fd, int64_t first, int count) {
    struct flock lock;
    if (fd < 0 || lock_bytes(fd, F_OFD_GETLK, first, count, &lock) < 0)
        return -1;
    return lock.l_type != F_UNLCK;
}

bool pl__peers_is_alive(void *data, int number, int64_t pid) {
    const pl__peers_t *peers = &((const pl_engine_t *)data)->peers;
    (void)pid;
    int held = is_held(peers->locks.fd, NUMBERS_AT + number, 1), held_beside = is_held(peers->bell.fd, number, 1);
    if (held < 0 && held_beside < 0)
        return true; /* cannot tell: the lease decides */
    return held > 0 || held_beside > 0;
}

/* A process that does not run its loop hears of nobody: what it knows of others is as old as its join. Whoever watches
 * the bell file holds a lock on it, so that one look tells whether anybody would hear. */
static bool is_alone(const pl__peers_t *peers) {
    return atomic_load(&peers->others) == 0 && is_held(peers->bell.fd, 0, PL_IDS_WORKERS) == 0;
}

void pl__peers_ring(pl_engine_t *engine) {
    pl__peers_t *peers = &engine->peers;
    if (peers->bell.fd < 0 || peers->number < 0 || is_alone(peers))
        return;
    uint64_t count = ++peers->rung;
    ssize_t written = pwrite(peers->bell.fd, &count, sizeof count, COUNTERS_AT + 8 * (off_t)peers->number);
    (void)written; /* a bell that fails is a bell not heard: the slow check remains */
}

/* ---- asking the store who is gone -------------------------------------------------------------------------- */

static void check_cb(uv_timer_t *handle) {
    pl__peers_ask(handle->data);
    pl__outbox_wake(handle->data, true); /* and for what no bell has told */
}

static void ask_later(pl_engine_t *engine, const char *why) {
    pl_log(&engine->log, PL_LOG_WARNING, "cannot look for workers that are gone (%s): will look again", why);
    if (engine->peers.has_check && !engine->closing)
        uv_timer_start(&engine->peers.check, check_cb, AGAIN_MS, 0);
}

void pl__peers_ask(pl_engine_t *engine) {
    if (engine->peers.bell.fd < 0 || engine->peers.asking || engine->closing)
        return;
    pl_op_t *op = pl_op_new(PL_VERB_rescue);
    if (!op) {
        ask_later(engine, pl_result_text(PL_ENOMEM));
        return;
    }
    op->u.rescue.is_alive = pl__peers_is_alive;
    op->u.rescue.data = engine;
    op->owner = engine;
    engine->peers.asking = true;
    pl_engine_submit(engine, op);
}

void pl__peers_answer(pl_engine_t *engine, const pl_op_t *op) {
    pl__peers_t *peers = &engine->peers;
    const pl_op_rescue_t *rescue = &op->u.rescue;
    peers->asking = false;
    if (op->rc != PL_OK) {
        ask_later(engine, op->error.message[0] ? op->error.message : pl_result_text(op->rc));
        return;
    }
    atomic_store(&peers->others, rescue->others);
    pl__report_recorded(engine, rescue->lost);
    if (rescue->workers > 0)
        pl_log(&engine->log, PL_LOG_INFO, "%d worker(s) gone, %d task(s) returned to their queues", rescue->workers,
               rescue->tasks);
    if (!peers->has_check || engine->closing)
        return;
    if (peers->looks > 0)
        uv_timer_start(&peers->check, check_cb, look_ms[peers->looks--], 0);
    else if (rescue->others > 0)
        uv_timer_start(&peers->check, check_cb, rescue->suspects > 0 ? SUSPECT_MS : CHECK_MS, 0);
    else
        uv_timer_stop(&peers->check);
}

/* ---- the bell file ----------------------------------------------------------------------------------------- */

/* Watches the bell file; what was rung before is old. */
static void watch_bell(pl__peers_t *peers) {
    uint64_t counters[PL_IDS_WORKERS] = { 0 };
    if (pread(peers->bell.fd, counters, sizeof counters, COUNTERS_AT) >= 0)
        memcpy(peers->seen, counters, sizeof counters);
    if (peers->inotify >= 0 &&
        inotify_add_watch(peers->inotify, peers->name, IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF) < 0)
        peers->is_deaf = true; /* the slow check remains */
}

/* With the permissions of the database, and, like the files that SQLite makes, with its owner when root makes it. Where
 * that cannot be had it is stricter, and whoever is shut out is told so when it opens. */
static int open_bell(pl__unshared_t *bell, const char *name, const char *path) {
    struct stat facts = { .st_mode = 0600, .st_uid = geteuid(), .st_gid = getegid() };
    (void)stat(path, &facts);
    int fd = pl__unshared_open(bell, name, O_RDWR, 0);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    fd = pl__unshared_open(bell, name, O_RDWR | O_CREAT, facts.st_mode & 0777);
    bool is_owned = fd >= 0 && geteuid() == 0 && fchown(fd, facts.st_uid, facts.st_gid) == 0;
    (void)is_owned;
    if (fd >= 0)
        (void)fchmod(fd, facts.st_mode & 0777); /* whatever the umask says */
    return fd;
}

/* ---- events ------------------------------------------------------------------------------------------------ */

/* Has anybody but us rung since the last look? */
static bool heard_bell(pl__peers_t *peers) {
    uint64_t counters[PL_IDS_WORKERS] = { 0 };
    if (pread(peers->bell.fd, counters, sizeof counters, COUNTERS_AT) < 0)
        return true;
    if (peers->number >= 0)
        counters[peers->number] = peers->seen[peers->number];
    bool heard = memcmp(counters, peers->seen, sizeof counters) != 0;
    memcpy(peers->seen, counters, sizeof counters);
    return heard;
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
static bool is_gone(const pl__peers_t *peers) {
    struct stat own, named;
    return fstat(peers->bell.fd, &own) != 0 || stat(peers->name, &named) != 0 || own.st_ino != named.st_ino ||
           own.st_dev != named.st_dev;
}

/* Whoever comes now finds, or makes, a file of that name: so do we. */
static void renew_bell(pl_engine_t *engine) {
    pl__peers_t *peers = &engine->peers;
    pl__unshared_t bell;
    int fd = open_bell(&bell, peers->name, pl_store_path(engine->store));
    if (fd < 0)
        return;
    pl_log(&engine->log, PL_LOG_WARNING, "%s was deleted while workers use it; it was made anew", peers->name);
    if (peers->number >= 0)
        (void)is_refused(fd, peers->number);        /* takes the lock */
    if (dup3(fd, peers->bell.fd, O_CLOEXEC) >= 0) { /* the store thread may be about to ring */
        memset(peers->seen, 0, PL_IDS_WORKERS * sizeof *peers->seen);
        watch_bell(peers);
    }
    pl__unshared_close(&bell);
    peers->looks = LOOKS;
    pl__peers_ask(engine);
    pl__outbox_wake(engine, true);
}

static void event_cb(uv_poll_t *handle, int status, int events) {
    pl_engine_t *engine = handle->data;
    pl__peers_t *peers = &engine->peers;
    (void)events;
    if (status < 0 || !pl_engine_usable(engine))
        return;
    uint32_t mask = read_events(peers->inotify);
    if ((mask & (IN_ATTRIB | IN_MOVE_SELF | IN_IGNORED)) && is_gone(peers))
        renew_bell(engine);
    if (mask & (IN_CLOSE_WRITE | IN_Q_OVERFLOW)) {
        peers->looks = LOOKS;
        pl__peers_ask(engine);
    }
    if ((mask & (IN_MODIFY | IN_Q_OVERFLOW)) && heard_bell(peers)) {
        if (atomic_load(&peers->others) == 0)
            pl__peers_ask(engine);
        pl__outbox_wake(engine, true);
    }
}

/* ---- life -------------------------------------------------------------------------------------------------- */

int pl__peers_open(pl_engine_t *engine, const char *path, pl_error_t *error) {
    pl__peers_t *peers = &engine->peers;
    peers->bell = peers->locks = PL__UNSHARED_NONE;
    peers->inotify = peers->number = -1;
    if (engine->in_memory)
        return PL_OK;
    size_t size = strlen(path) + sizeof "-workers";
    peers->name = pl__alloc(size);
    peers->seen = pl__alloc(PL_IDS_WORKERS * sizeof *peers->seen);
    if (!peers->name || !peers->seen)
        return PL__FAIL(error, PL_ENOMEM, "out of memory opening %s", path);
    snprintf(peers->name, size, "%s-workers", path);
    if (open_bell(&peers->bell, peers->name, path) < 0)
        return PL__FAIL(error, errno == EACCES || errno == EROFS ? PL_EREADONLY : PL_EIO, "%s: %s", peers->name,
                        strerror(errno));
    (void)pl__unshared_open(&peers->locks, path, O_RDWR, 0);
    peers->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    watch_bell(peers);
    return PL_OK;
}

int pl__peers_watch(pl_engine_t *engine) {
    pl__peers_t *peers = &engine->peers;
    if (peers->bell.fd < 0)
        return PL_OK;
    if (uv_timer_init(engine->loop, &peers->check) != 0)
        return PL_ENOMEM;
    peers->check.data = engine;
    peers->has_check = true;
    engine->handles++;
    uv_unref((uv_handle_t *)&peers->check);
    if (peers->inotify < 0)
        return PL_OK;
    if (uv_poll_init(engine->loop, &peers->poll, peers->inotify) != 0)
        return PL_ENOMEM;
    peers->poll.data = engine;
    peers->has_poll = true;
    engine->handles++;
    uv_unref((uv_handle_t *)&peers->poll);
    return uv_poll_start(&peers->poll, UV_READABLE, event_cb) == 0 ? PL_OK : PL_EIO;
}

void pl__peers_close(pl_engine_t *engine) {
    pl__peers_t *peers = &engine->peers;
    if (peers->inotify >= 0)
        close(peers->inotify);
    pl__unshared_close(&peers->locks);
    pl__unshared_close(&peers->bell); /* the others hear of it; the locks are gone by now */
    pl__free(peers->seen);
    pl__free(peers->name);
    peers->inotify = -1;
    peers->seen = NULL;
    peers->name = NULL;
}

/* ---- fork -------------------------------------------------------------------------------------------------- */

/* After fork the threads of an engine are not there. It is counted because to ask the kernel who we are would cost a
 * system call with each use of an engine. */
static _Atomic unsigned forks;

static void forked(void) {
    forks++;
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, forked);
}

unsigned pl__peers_forks(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    return forks;
}

bool pl_engine_usable(const pl_engine_t *engine) {
    return engine->forks == forks;
}
