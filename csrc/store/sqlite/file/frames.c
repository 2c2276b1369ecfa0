/*
 * frames.c - a commit goes to the write-ahead log in few writes.
 *
 * A changed page goes to the log as a frame: a header of 24 bytes, and the page. SQLite writes each of the two by a
 * system call of its own, and they follow each other in the file. For a commit of hundreds of pages these calls take
 * longer than the disk. So the log of the connection that writes is opened through a VFS that puts them together while
 * a commit is made:
 *
 *   pl__frames_begin ──► SQLite: header, page, header, page, ...  gathered; written each time there are SIZE bytes
 *                        header of the last frame, its page       all of it is written; from here on, as ever
 *                        anything else (sync, read, a page again) all of it is written first
 *   pl__frames_end   ──► what a failure has left is dropped
 *
 * Three things must hold. What is gathered is in the file before the index of the log, which everybody shares, says
 * that it is: the last frame of a commit has the size of the database in its header, where others have 0, so that all
 * of it is written with that frame, whether a sync follows or not, and what fails then fails as a write. Behind that
 * frame nothing is gathered: SQLite may write headers again, to correct their sums after a page that was written twice,
 * and nothing would tell which of them is the last. And nothing is written any more once the lock of writers is
 * released, for then the frames of others may be there: so nothing is gathered but during a COMMIT, and what it leaves
 * is dropped. What a transaction writes before its end, for its pages do not fit into memory, goes to the log as ever.
 *
 * Every other file, and everything else about this one, is that of the VFS below.
 */
#include "store/sqlite/file/frames.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

enum { HEADER = 24, SIZE_AT = 4, SIZE_LEN = 4 }; /* of a frame: the file format says so */
enum { SIZE = 64 * 1024 };                       /* less than the 128 KiB that SQLite writes by one call */

typedef struct {
    sqlite3_file base;
    sqlite3_file *real;     /* behind this struct, in the same block */
    bool gathers;           /* a COMMIT is under way, and its last frame has not come */
    bool has_header;        /* of a frame whose page comes next, */
    bool is_last;           /* which is the last one of its commit */
    sqlite3_int64 at, next; /* where the bytes begin in the file, and where what follows them does */
    int len;
    unsigned char *bytes; /* owned, SIZE of them; NULL: nothing was gathered yet, or there was no memory */
} frames_t;

static frames_t *frames_of(sqlite3_file *file) {
    return (frames_t *)(void *)file;
}

static sqlite3_file *real_of(sqlite3_file *file) {
    return frames_of(file)->real;
}

/* ---- gathering --------------------------------------------------------------------------------------------------- */

static void drop(frames_t *frames) {
    frames->len = 0;
    frames->has_header = frames->is_last = frames->gathers = false;
}

/* Writes what was gathered. After a failure nothing is gathered any more. */
static int flush(frames_t *frames) {
    int len = frames->len;
    frames->len = 0;
    if (len == 0)
        return SQLITE_OK;
    int rc = frames->real->pMethods->xWrite(frames->real, frames->bytes, len, frames->at);
    if (rc != SQLITE_OK)
        drop(frames);
    return rc;
}

/* Whether these bytes are a header, or the page that belongs to the last one. */
static bool is_of_frame(const frames_t *frames, int len, sqlite3_int64 at) {
    if (!frames->has_header)
        return len == HEADER;
    return at == frames->next && len <= SIZE;
}

static bool is_last_of_commit(const unsigned char *header) {
    static const unsigned char NONE[SIZE_LEN];
    return memcmp(header + SIZE_AT, NONE, SIZE_LEN) != 0;
}

static int gather(frames_t *frames, const void *bytes, int len, sqlite3_int64 at) {
    if (at != frames->next || frames->len + len > SIZE) {
        int rc = flush(frames);
        if (rc != SQLITE_OK)
            return rc;
    }
    if (frames->len == 0)
        frames->at = at;
    memcpy(frames->bytes + frames->len, bytes, (size_t)len);
    frames->len += len;
    frames->next = at + len;
    frames->has_header = !frames->has_header;
    if (frames->has_header)
        frames->is_last = is_last_of_commit(bytes);
    if (frames->has_header || !frames->is_last)
        return SQLITE_OK;
    frames->gathers = false;
    return flush(frames);
}

/* ---- the log as a file ------------------------------------------------------------------------------------------- */

static int file_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at) {
    frames_t *frames = frames_of(file);
    if (frames->gathers && is_of_frame(frames, len, at))
        return gather(frames, bytes, len, at);
    frames->has_header = false;
    int rc = flush(frames);
    return rc == SQLITE_OK ? frames->real->pMethods->xWrite(frames->real, bytes, len, at) : rc;
}

static int file_read(sqlite3_file *file, void *bytes, int len, sqlite3_int64 at) {
    int rc = flush(frames_of(file));
    return rc == SQLITE_OK ? real_of(file)->pMethods->xRead(real_of(file), bytes, len, at) : rc;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
    int rc = flush(frames_of(file));
    return rc == SQLITE_OK ? real_of(file)->pMethods->xTruncate(real_of(file), size) : rc;
}

static int file_sync(sqlite3_file *file, int flags) {
    int rc = flush(frames_of(file));
    return rc == SQLITE_OK ? real_of(file)->pMethods->xSync(real_of(file), flags) : rc;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
    int rc = flush(frames_of(file));
    return rc == SQLITE_OK ? real_of(file)->pMethods->xFileSize(real_of(file), size) : rc;
}

static int file_control(sqlite3_file *file, int what, void *argument) {
    int rc = flush(frames_of(file));
    return rc == SQLITE_OK ? real_of(file)->pMethods->xFileControl(real_of(file), what, argument) : rc;
}

static int file_close(sqlite3_file *file) {
    frames_t *frames = frames_of(file);
    pl__free(frames->bytes);
    frames->bytes = NULL;
    frames->base.pMethods = NULL;
    return frames->real->pMethods->xClose(frames->real);
}

static int file_lock(sqlite3_file *file, int level) {
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int file_unlock(sqlite3_file *file, int level) {
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int file_is_reserved(sqlite3_file *file, int *is_reserved) {
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), is_reserved);
}

static int file_sector(sqlite3_file *file) {
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int file_traits(sqlite3_file *file) {
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static const sqlite3_io_methods METHODS = {
    .iVersion = 1, /* the log needs no shared memory, and is not mapped */
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_is_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_traits,
};

/* ---- the VFS ----------------------------------------------------------------------------------------------------- */

enum { FILE_LEN = (sizeof(frames_t) + 15) / 16 * 16 }; /* what lies behind it is aligned, too */

static sqlite3_vfs *below(sqlite3_vfs *vfs) {
    return vfs->pAppData;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
    sqlite3_vfs *real = below(vfs);
    if (!(flags & SQLITE_OPEN_WAL))
        return real->xOpen(real, name, file, flags, out);
    frames_t *frames = frames_of(file);
    *frames = (frames_t){ .real = (sqlite3_file *)(void *)((char *)file + FILE_LEN) };
    frames->real->pMethods = NULL;
    int rc = real->xOpen(real, name, frames->real, flags, out);
    frames->base.pMethods = frames->real->pMethods ? &METHODS : NULL;
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int syncs) {
    return below(vfs)->xDelete(below(vfs), name, syncs);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out) {
    return below(vfs)->xAccess(below(vfs), name, flags, out);
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int len, char *out) {
    return below(vfs)->xFullPathname(below(vfs), name, len, out);
}

static void *vfs_library(sqlite3_vfs *vfs, const char *name) {
    return below(vfs)->xDlOpen(below(vfs), name);
}

static void vfs_library_error(sqlite3_vfs *vfs, int len, char *out) {
    below(vfs)->xDlError(below(vfs), len, out);
}

static void (*vfs_symbol(sqlite3_vfs *vfs, void *library, const char *name))(void) {
    return below(vfs)->xDlSym(below(vfs), library, name);
}

static void vfs_library_close(sqlite3_vfs *vfs, void *library) {
    below(vfs)->xDlClose(below(vfs), library);
}

static int vfs_random(sqlite3_vfs *vfs, int len, char *out) {
    return below(vfs)->xRandomness(below(vfs), len, out);
}

static int vfs_sleep(sqlite3_vfs *vfs, int us) {
    return below(vfs)->xSleep(below(vfs), us);
}

static int vfs_time(sqlite3_vfs *vfs, double *days) {
    return below(vfs)->xCurrentTime(below(vfs), days);
}

static int vfs_last_error(sqlite3_vfs *vfs, int len, char *out) {
    return below(vfs)->xGetLastError(below(vfs), len, out);
}

static int vfs_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *ms) {
    return below(vfs)->xCurrentTimeInt64(below(vfs), ms);
}

enum { NAME_MAX_LEN = 64, VFS_MAX = 8 }; /* one for each VFS below: a program seldom has two */

typedef struct {
    sqlite3_vfs vfs;
    char name[NAME_MAX_LEN];
} shim_t;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static shim_t shims[VFS_MAX]; /* in the order they were asked for; as long as the process, for so are their files */

/* The one for that VFS, registered if it is new (mutex held). NULL: there is none. */
static shim_t *shim_for(sqlite3_vfs *real) {
    shim_t *shim = shims;
    while (shim < shims + VFS_MAX && shim->vfs.pAppData && shim->vfs.pAppData != real)
        shim++;
    if (shim == shims + VFS_MAX || shim->vfs.pAppData)
        return shim == shims + VFS_MAX ? NULL : shim;
    if (snprintf(shim->name, sizeof shim->name, "pipeline/%s", real->zName) >= NAME_MAX_LEN)
        return NULL;
    shim->vfs = (sqlite3_vfs){
        .iVersion = real->iVersion >= 2 && real->xCurrentTimeInt64 ? 2 : 1,
        .szOsFile = FILE_LEN + real->szOsFile,
        .mxPathname = real->mxPathname,
        .zName = shim->name,
        .pAppData = real,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_name,
        .xDlOpen = vfs_library,
        .xDlError = vfs_library_error,
        .xDlSym = vfs_symbol,
        .xDlClose = vfs_library_close,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time_ms,
    };
    if (sqlite3_vfs_register(&shim->vfs, 0) != SQLITE_OK) {
        shim->vfs.pAppData = NULL;
        return NULL;
    }
    return shim;
}

const char *pl__frames_vfs(const char *base) {
    sqlite3_vfs *real = sqlite3_vfs_find(base);
    if (!real)
        return base; /* whoever opens it says so */
    pthread_mutex_lock(&mutex);
    const shim_t *shim = real->xOpen == vfs_open ? NULL : shim_for(real);
    pthread_mutex_unlock(&mutex);
    return shim ? shim->name : base;
}

/* ---- commits ----------------------------------------------------------------------------------------------------- */

/* The log of that connection; NULL: it is not one of ours. */
static frames_t *log_of(sqlite3 *db) {
    sqlite3_file *file = NULL;
    int rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
    return rc == SQLITE_OK && file && file->pMethods == &METHODS ? frames_of(file) : NULL;
}

void pl__frames_begin(sqlite3 *db) {
    frames_t *frames = log_of(db);
    if (!frames)
        return;
    if (!frames->bytes)
        frames->bytes = pl__alloc(SIZE);
    frames->gathers = frames->bytes ? true : false; /* without memory each is written by itself */
}

void pl__frames_end(sqlite3 *db) {
    frames_t *frames = log_of(db);
    if (frames)
        drop(frames);
}
