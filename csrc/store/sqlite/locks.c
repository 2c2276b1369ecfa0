/*
 * locks.c - locks of database files that belong to an open file, not to the process.
 *
 * POSIX gives record locks to the process: whoever in it closes *any* descriptor of a file drops all locks that the
 * process has on it. A program that reads its own database file as a file, copies it, or opens it with another library
 * would so, without a word, unlock the database below SQLite. The next visitor from another process takes itself for
 * the last one and deletes the log, and every commit after that is acknowledged and lost.
 *
 * Linux has locks that belong to an open file description, and SQLite lets its system calls be replaced. SQLite keeps
 * one set of locks per file and process, may take a lock through one descriptor and release it through another, and
 * defers closing for as long as locks are held. So each file that SQLite has open gets one description of ours, the
 * keeper, through which all its locks are taken, whichever descriptor SQLite names. Nobody else can close it.
 *
 *   SQLite: open(path)  ──► by_fd[fd] = file (by device and inode), users + 1
 *           lock(fd)    ──► the same lock through file->keeper, opened by the first one
 *           close(fd)   ──► users - 1; the last one closes the keeper
 *
 * What SQLite opened before this was installed is left alone, as are kernels without such locks (the keeper is then the
 * process, as ever). State is of the process because the locks of SQLite are; a mutex guards it. A child after fork
 * would share the keepers and hold the locks after its parent's death: it closes them.
 */
#include "store/sqlite/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

enum { NONE = -1, REFUSED = -2 };

typedef struct file {
    struct file *next;
    dev_t device;
    ino_t inode;
    char *path; /* as SQLite opened it first */
    int users;  /* descriptors of SQLite */
    int keeper; /* NONE: nothing was locked yet; REFUSED: it cannot be had, locks are the process's */
} file_t;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static file_t *files;
static file_t **by_fd; /* what SQLite has open, by descriptor */
static int by_fd_size;
static bool unsupported; /* by the kernel */

/* ---- files (mutex held) ------------------------------------------------------------------------------------ */

static file_t *file_of(int fd) {
    return fd >= 0 && fd < by_fd_size ? by_fd[fd] : NULL;
}

static bool reserve(int fd) {
    if (fd < by_fd_size)
        return true;
    int size = by_fd_size ? by_fd_size : 64;
    while (size <= fd)
        size *= 2;
    file_t **grown = pl__realloc(by_fd, (size_t)size * sizeof *grown);
    if (!grown)
        return false;
    memset(grown + by_fd_size, 0, (size_t)(size - by_fd_size) * sizeof *grown);
    by_fd = grown;
    by_fd_size = size;
    return true;
}

static file_t *file_new(const struct stat *facts, const char *path) {
    size_t len = strlen(path) + 1;
    file_t *file = pl__alloc(sizeof *file + len);
    if (!file)
        return NULL;
    *file = (file_t){ .next = files, .device = facts->st_dev, .inode = facts->st_ino, .keeper = NONE };
    file->path = memcpy(file + 1, path, len);
    files = file;
    return file;
}

/* False: there is no memory. */
static bool note_open(int fd, const char *path) {
    struct stat facts;
    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode))
        return true;
    file_t *file = files;
    while (file && (file->device != facts.st_dev || file->inode != facts.st_ino))
        file = file->next;
    if (!reserve(fd) || (!file && !(file = file_new(&facts, path))))
        return false;
    file->users++;
    by_fd[fd] = file;
    return true;
}

static void note_close(int fd) {
    file_t *file = file_of(fd);
    if (!file)
        return;
    by_fd[fd] = NULL;
    if (--file->users > 0)
        return;
    file_t **link = &files;
    while (*link != file)
        link = &(*link)->next;
    *link = file->next;
    if (file->keeper >= 0)
        close(file->keeper);
    pl__free(file);
}

/* A description of our own of what `fd` is, even if its name is gone by now. */
static int reopen(int fd) {
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int own = open(name, O_RDWR | O_CLOEXEC);
    return own >= 0 ? own : open(name, O_RDONLY | O_CLOEXEC);
}

/* The descriptor to lock through; NONE: the one of SQLite. */
static int keeper_of(int fd) {
    file_t *file = unsupported ? NULL : file_of(fd);
    if (!file)
        return NONE;
    if (file->keeper == NONE) {
        int own = reopen(fd);
        file->keeper = own >= 0 ? own : REFUSED;
    }
    return file->keeper >= 0 ? file->keeper : NONE;
}

/* ---- system calls of SQLite -------------------------------------------------------------------------------- */

static int open_call(const char *path, int flags, int mode) {
    int fd = open(path, flags, mode);
    if (fd < 0)
        return fd;
    pthread_mutex_lock(&mutex);
    bool noted = note_open(fd, path);
    pthread_mutex_unlock(&mutex);
    if (noted)
        return fd;
    close(fd);
    errno = ENOMEM;
    return -1;
}

static int close_call(int fd) {
    pthread_mutex_lock(&mutex);
    note_close(fd);
    pthread_mutex_unlock(&mutex);
    return close(fd);
}

static int lock_call(int fd, int command, struct flock *lock) {
    pthread_mutex_lock(&mutex);
    int keeper = keeper_of(fd);
    pthread_mutex_unlock(&mutex);
    if (keeper == NONE)
        return fcntl(fd, command, lock);
    struct flock own = *lock;
    own.l_pid = 0;
    int rc = fcntl(keeper, command == F_GETLK ? F_OFD_GETLK : F_OFD_SETLK, &own);
    if (rc < 0 && errno == EINVAL) {
        unsupported = true;
        return fcntl(fd, command, lock);
    }
    if (command == F_GETLK)
        *lock = own;
    return rc;
}

static int fcntl_call(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    int rc;
    switch (command) {
    case F_SETLK:
    case F_GETLK:
        rc = lock_call(fd, command, va_arg(list, struct flock *));
        break;
    case F_GETFD:
    case F_GETFL:
        rc = fcntl(fd, command);
        break;
    case F_SETFD:
    case F_SETFL:
        rc = fcntl(fd, command, va_arg(list, int));
        break;
    default:
        rc = fcntl(fd, command, va_arg(list, void *));
    }
    va_end(list);
    return rc;
}

/* ---- fork -------------------------------------------------------------------------------------------------- */

static void before_fork(void) {
    pthread_mutex_lock(&mutex);
}

static void after_fork(void) {
    pthread_mutex_unlock(&mutex);
}

static void in_child(void) {
    for (file_t *file = files; file; file = file->next) {
        if (file->keeper >= 0)
            close(file->keeper);
        file->keeper = REFUSED; /* the child may not use what it inherited */
    }
    pthread_mutex_unlock(&mutex);
}

static void install(void) {
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    if (!vfs || vfs->iVersion < 3 || !vfs->xSetSystemCall)
        return;
    /* open and close first: what was not seen to be opened is locked as ever */
    if (vfs->xSetSystemCall(vfs, "open", (sqlite3_syscall_ptr)open_call) != SQLITE_OK ||
        vfs->xSetSystemCall(vfs, "close", (sqlite3_syscall_ptr)close_call) != SQLITE_OK)
        return;
    (void)vfs->xSetSystemCall(vfs, "fcntl", (sqlite3_syscall_ptr)fcntl_call);
    (void)pthread_atfork(before_fork, after_fork, in_child);
}

void pl__locks_install(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}

/* ---- identity ---------------------------------------------------------------------------------------------- */

int pl__locks_check(const char *path) {
    struct stat facts;
    bool exists = stat(path, &facts) == 0;
    int rc = PL_OK;
    pthread_mutex_lock(&mutex);
    for (const file_t *file = files; file; file = file->next)
        if (strcmp(file->path, path) == 0 && (!exists || file->device != facts.st_dev || file->inode != facts.st_ino))
            rc = PL_EGONE;
    pthread_mutex_unlock(&mutex);
    return rc;
}

/*
 * Names. Behind the bytes that SQLite locks lies a range in which each name of the file has a byte. Who opens the file
 * holds a shared lock on the byte of the name it uses, and looks whether anybody holds one on another byte.
 */
#define NAMES_AT (INT64_C(0x40000000) + 4096)
enum { NAMES = 1 << 16 };

static int64_t byte_of(const char *path) {
    uint32_t hash = 2166136261u;
    for (; *path; path++)
        hash = (hash ^ (unsigned char)*path) * 16777619u;
    return NAMES_AT + (hash ^ hash >> 16) % NAMES;
}

/* Whether somebody holds a lock from `first` up to, not including, `end`. */
static bool is_locked(int fd, int64_t first, int64_t end) {
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = end - first };
    return end > first && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

int pl__locks_claim_name(const char *path, int *fd) {
    int64_t at = byte_of(path);
    *fd = open(path, O_RDWR | O_CLOEXEC);
    if (*fd < 0)
        return PL_OK; /* SQLite says what is wrong with it */
    struct flock own = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
    if (fcntl(*fd, F_OFD_SETLK, &own) != 0)
        return PL_OK;
    if (!is_locked(*fd, NAMES_AT, at) && !is_locked(*fd, at + 1, NAMES_AT + NAMES))
        return PL_OK;
    close(*fd);
    *fd = -1;
    return PL_EBUSY;
}
