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
 * process, as ever): pl__locks_is_guarded tells. State is of the process because the locks of SQLite are; a mutex
 * guards it. A child after fork would share the keepers and hold the locks after its parent's death: it closes them.
 * SQLite in the child takes the two locks that it holds for as long as it has a file open (shared, of the database; and
 * of the index of the log) for held: so when the child opens or locks the file itself, its own keeper takes those. It
 * also takes the others for held that were so at the fork, those of a transaction and of who reads the log, and nobody
 * will release them: a write would wait for ever, and the log never be cut. So the child is not to use that file.
 */
#include "store/sqlite/file/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

enum { NONE = -1, REFUSED = -2, FORKED = -3 };

/* Where SQLite locks: its file format says so. */
#define SHARED_AT (INT64_C(0x40000000) + 2)
enum { SHARED_LEN = 510, INDEX_AT = 128, LOG_AT = 120, LOG_LOCKS = 8 };

enum { JOURNALED_PAGES_MAX = 30, JOURNALED_PAGE = 4096 + 4 };

typedef struct file {
    struct file *next;
    dev_t device;
    ino_t inode;
    char *path; /* as SQLite opened it first */
    int users;  /* descriptors of SQLite */
    int keeper; /* NONE: nothing was locked yet; REFUSED: locks are the process's; FORKED: it was the parent's */
    bool has_shared, has_index; /* the locks that are held for long are, through the keeper */
    unsigned log_locks;         /* of the log: a bit for each that is held, by whom SQLite knows */
    bool is_stuck;              /* some of those were held at the fork */
} file_t;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static file_t *files;
static file_t **by_fd; /* what SQLite has open, by descriptor */
static int by_fd_size;
static _Atomic bool unsupported; /* by the kernel */

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

static file_t *find(const struct stat *facts) {
    file_t *file = files;
    while (file && (file->device != facts->st_dev || file->inode != facts->st_ino))
        file = file->next;
    return file;
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

static int set_lock(int fd, short type, int64_t first, int64_t len) {
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = first, .l_len = len };
    return fcntl(fd, F_OFD_SETLK, &lock);
}

/* A child has its own keeper in the place of its parent's, with what SQLite believes to hold. */
static void keep(file_t *file, int fd) {
    int own = reopen(fd);
    if (own >= 0 && file->has_shared && set_lock(own, F_RDLCK, SHARED_AT, SHARED_LEN) != 0)
        file->has_shared = false;
    if (own >= 0 && file->has_index && set_lock(own, F_RDLCK, INDEX_AT, 1) != 0)
        file->has_index = false;
    file->keeper = own >= 0 ? own : REFUSED;
}

/* The descriptor to lock through, with the file's record; NONE: the one of SQLite. */
static int keeper_of(int fd, file_t **file) {
    *file = unsupported ? NULL : file_of(fd);
    if (!*file)
        return NONE;
    if ((*file)->keeper == NONE || (*file)->keeper == FORKED)
        keep(*file, fd);
    return (*file)->keeper >= 0 ? (*file)->keeper : NONE;
}

/* False: there is no memory. */
static bool note_open(int fd, const char *path) {
    struct stat facts;
    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode))
        return true;
    file_t *file = find(&facts);
    if (!reserve(fd) || (!file && !(file = file_new(&facts, path))))
        return false;
    file->users++;
    by_fd[fd] = file;
    if (file->keeper == FORKED)
        keep(file, fd);
    return true;
}

static bool covers(const struct flock *lock, int64_t first, int64_t len) {
    return lock->l_start <= first && (lock->l_len == 0 || lock->l_start + lock->l_len >= first + len);
}

static unsigned log_locks_of(const struct flock *lock) {
    unsigned locks = 0;
    for (int i = 0; i < LOG_LOCKS; i++)
        locks |= covers(lock, LOG_AT + i, 1) ? 1U << i : 0;
    return locks;
}

/* Notes what is held; SQLite does nothing else with these bytes meanwhile. */
static void note_lock(file_t *file, const struct flock *lock) {
    bool is_shared = covers(lock, SHARED_AT, SHARED_LEN), is_index = covers(lock, INDEX_AT, 1);
    unsigned of_log = log_locks_of(lock);
    if (!is_shared && !is_index && !of_log)
        return;
    pthread_mutex_lock(&mutex);
    if (lock->l_type != F_UNLCK)
        file->log_locks |= of_log;
    else
        file->log_locks &= ~of_log;
    if (is_shared)
        file->has_shared = lock->l_type != F_UNLCK;
    if (is_index)
        file->has_index = lock->l_type != F_UNLCK;
    pthread_mutex_unlock(&mutex);
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
    file_t *file; /* stays: SQLite has it open */
    pthread_mutex_lock(&mutex);
    int keeper = keeper_of(fd, &file);
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
    else if (rc == 0)
        note_lock(file, lock);
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
        file->keeper = FORKED;
        file->is_stuck = file->is_stuck || file->log_locks;
    }
    pthread_mutex_unlock(&mutex);
}

/* A statement that changes many rows keeps what the pages held before, in memory up to here and in a temporary file
 * beyond. SQLite's 64 KiB are 15 pages; a claim of 32 tasks changes up to 20, with those of indexes and of the map of
 * pages, and had to have such a file in most transactions. It goes into the file in one piece, and SQLite writes 128
 * KiB at a time at most: what is larger fails as a full disk. Where somebody has used SQLite before us it stays as it
 * is: this is set before anything else. */
static void configure_journals(void) {
    (void)sqlite3_config(SQLITE_CONFIG_STMTJRNL_SPILL, JOURNALED_PAGES_MAX * JOURNALED_PAGE);
}

static void install(void) {
    configure_journals();
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    if (!vfs || vfs->iVersion < 3 || !vfs->xSetSystemCall)
        return;
    /* open and close first: what was not seen to be opened is locked as ever */
    if (vfs->xSetSystemCall(vfs, "open", (sqlite3_syscall_ptr)open_call) != SQLITE_OK ||
        vfs->xSetSystemCall(vfs, "close", (sqlite3_syscall_ptr)close_call) != SQLITE_OK)
        return;
    (void)vfs->xSetSystemCall(vfs, "fcntl", (sqlite3_syscall_ptr)fcntl_call);
    pl__fork_watch(before_fork, after_fork, in_child);
}

void pl__locks_install(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}

/* ---- identity ---------------------------------------------------------------------------------------------- */

bool pl__locks_identify(const char *path, pl__identity_t *identity) {
    struct stat facts;
    bool exists = stat(path, &facts) == 0, is_open = false;
    pthread_mutex_lock(&mutex);
    *identity = (pl__identity_t){ .is_known = exists && find(&facts) };
    if (identity->is_known) {
        identity->device = facts.st_dev;
        identity->inode = facts.st_ino;
    }
    for (const file_t *file = files; file && !is_open; file = file->next)
        is_open = strcmp(file->path, path) == 0;
    pthread_mutex_unlock(&mutex);
    return identity->is_known || !is_open;
}

bool pl__locks_is_guarded(const pl__identity_t *identity) {
    struct stat facts = { .st_dev = (dev_t)identity->device, .st_ino = (ino_t)identity->inode };
    pthread_mutex_lock(&mutex);
    const file_t *file = find(&facts);
    bool is_guarded = !file || (file->has_shared && !unsupported);
    pthread_mutex_unlock(&mutex);
    return is_guarded;
}

bool pl__locks_are_stuck(const char *index) {
    struct stat facts;
    if (stat(index, &facts) != 0)
        return false;
    pthread_mutex_lock(&mutex);
    const file_t *file = find(&facts);
    bool is_stuck = file && file->is_stuck;
    pthread_mutex_unlock(&mutex);
    return is_stuck;
}

/*
 * Names. Behind the bytes that SQLite locks lies a range in which each name of the file has a byte. Who opens the file
 * holds a shared lock on the byte of the name it uses, and looks whether anybody holds one on another byte. A name is
 * what is written in a directory, however one comes to that: a mount may give the same directory many paths.
 */
#define NAMES_AT (INT64_C(0x40000000) + 4096)
enum { NAMES = 1 << 16 };

static uint32_t mix(uint32_t hash, const void *bytes, size_t len) {
    for (const unsigned char *at = bytes; len > 0; len--, at++)
        hash = (hash ^ *at) * 16777619u;
    return hash;
}

static int64_t byte_of(const char *path) {
    pl__identity_t directory;
    const char *base = pl__locks_split(path, &directory);
    uint32_t hash = mix(2166136261u, base, strlen(base));
    hash = mix(hash, &directory.device, sizeof directory.device);
    hash = mix(hash, &directory.inode, sizeof directory.inode);
    return NAMES_AT + (hash ^ hash >> 16) % NAMES;
}

const char *pl__locks_split(const char *path, pl__identity_t *directory) {
    struct stat facts;
    char name[4096];
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    snprintf(name, sizeof name, "%.*s.", (int)(base - path), path);
    *directory = (pl__identity_t){ .is_known = stat(name, &facts) == 0 };
    if (directory->is_known) {
        directory->device = facts.st_dev;
        directory->inode = facts.st_ino;
    }
    return base;
}

/* Whether somebody holds a lock from `first` up to, not including, `end`. */
static bool is_locked(int fd, int64_t first, int64_t end) {
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = end - first };
    return end > first && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

int pl__locks_claim_name(const char *path, pl__unshared_t *file) {
    int64_t at = byte_of(path);
    int fd = pl__unshared_open(file, path, O_RDWR, 0);
    if (fd < 0)
        return PL_OK; /* SQLite says what is wrong with it */
    if (set_lock(fd, F_RDLCK, at, 1) != 0)
        return PL_OK;
    if (!is_locked(fd, NAMES_AT, at) && !is_locked(fd, at + 1, NAMES_AT + NAMES))
        return PL_OK;
    pl__unshared_close(file);
    return PL_EBUSY;
}
