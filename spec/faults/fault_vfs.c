/*
 * fault_vfs.c - see fault_vfs.h. Included by the tests that use it, for each test is one file.
 */
#include "faults/fault_vfs.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct, in the same block */
} vfs_file_t;

static sqlite3_vfs *vfs_real;
static sqlite3_vfs vfs_fault;
static _Atomic unsigned vfs_kinds;
static _Atomic int vfs_rc;
static _Atomic long vfs_countdown, vfs_armed_at;
static _Atomic bool vfs_permanent, vfs_hit;

void fault_vfs_arm(unsigned kinds, int rc, long nth, bool permanent) {
    atomic_store(&vfs_kinds, 0);
    atomic_store(&vfs_hit, false);
    atomic_store(&vfs_rc, rc);
    atomic_store(&vfs_countdown, nth);
    atomic_store(&vfs_armed_at, nth);
    atomic_store(&vfs_permanent, permanent);
    atomic_store(&vfs_kinds, kinds);
}

bool fault_vfs_disarm(void) {
    atomic_store(&vfs_kinds, 0);
    return atomic_load(&vfs_hit);
}

long fault_vfs_calls(void) {
    return atomic_load(&vfs_armed_at) - atomic_load(&vfs_countdown);
}

/* Is this call the one to fail? Gives the code to fail with, else SQLITE_OK. */
static int vfs_fault_of(unsigned kind, int rc) {
    if (!(atomic_load(&vfs_kinds) & kind))
        return SQLITE_OK;
    long left = atomic_fetch_sub(&vfs_countdown, 1);
    if (left > 1 || (left < 1 && !atomic_load(&vfs_permanent)))
        return SQLITE_OK;
    atomic_store(&vfs_hit, true);
    return atomic_load(&vfs_rc) ? atomic_load(&vfs_rc) : rc;
}

static sqlite3_file *vfs_inner(sqlite3_file *file) {
    return ((vfs_file_t *)(void *)file)->real;
}

static int vfs_close(sqlite3_file *file) {
    return vfs_inner(file)->pMethods->xClose(vfs_inner(file));
}

static int vfs_read(sqlite3_file *file, void *bytes, int len, sqlite3_int64 at) {
    int rc = vfs_fault_of(FAULT_READ, SQLITE_IOERR_READ);
    return rc ? rc : vfs_inner(file)->pMethods->xRead(vfs_inner(file), bytes, len, at);
}

static int vfs_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at) {
    int rc = vfs_fault_of(FAULT_WRITE, SQLITE_IOERR_WRITE);
    if (rc && len > 1)
        vfs_inner(file)->pMethods->xWrite(vfs_inner(file), bytes, len / 2, at);
    return rc ? rc : vfs_inner(file)->pMethods->xWrite(vfs_inner(file), bytes, len, at);
}

static int vfs_truncate(sqlite3_file *file, sqlite3_int64 size) {
    int rc = vfs_fault_of(FAULT_TRUNCATE, SQLITE_IOERR_TRUNCATE);
    return rc ? rc : vfs_inner(file)->pMethods->xTruncate(vfs_inner(file), size);
}

/* What goes to the disk is of no interest here: a sync that does not fail is skipped. */
static int vfs_sync(sqlite3_file *file, int flags) {
    (void)file;
    (void)flags;
    return vfs_fault_of(FAULT_SYNC, SQLITE_IOERR_FSYNC);
}

static int vfs_size(sqlite3_file *file, sqlite3_int64 *size) {
    return vfs_inner(file)->pMethods->xFileSize(vfs_inner(file), size);
}

static int vfs_lock(sqlite3_file *file, int level) {
    int rc = vfs_fault_of(FAULT_LOCK, SQLITE_IOERR_LOCK);
    return rc ? rc : vfs_inner(file)->pMethods->xLock(vfs_inner(file), level);
}

static int vfs_unlock(sqlite3_file *file, int level) {
    return vfs_inner(file)->pMethods->xUnlock(vfs_inner(file), level);
}

static int vfs_check_reserved(sqlite3_file *file, int *out) {
    return vfs_inner(file)->pMethods->xCheckReservedLock(vfs_inner(file), out);
}

static int vfs_control(sqlite3_file *file, int op, void *argument) {
    return vfs_inner(file)->pMethods->xFileControl(vfs_inner(file), op, argument);
}

static int vfs_sector(sqlite3_file *file) {
    return vfs_inner(file)->pMethods->xSectorSize(vfs_inner(file));
}

static int vfs_traits(sqlite3_file *file) {
    return vfs_inner(file)->pMethods->xDeviceCharacteristics(vfs_inner(file));
}

static int vfs_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out) {
    int rc = vfs_fault_of(FAULT_SHM, SQLITE_IOERR_SHMMAP);
    return rc ? rc : vfs_inner(file)->pMethods->xShmMap(vfs_inner(file), page, size, extend, out);
}

static int vfs_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
    int rc = flags & SQLITE_SHM_LOCK ? vfs_fault_of(FAULT_LOCK, SQLITE_IOERR_SHMLOCK) : SQLITE_OK;
    return rc ? rc : vfs_inner(file)->pMethods->xShmLock(vfs_inner(file), offset, n, flags);
}

static void vfs_shm_barrier(sqlite3_file *file) {
    vfs_inner(file)->pMethods->xShmBarrier(vfs_inner(file));
}

static int vfs_shm_unmap(sqlite3_file *file, int remove) {
    return vfs_inner(file)->pMethods->xShmUnmap(vfs_inner(file), remove);
}

static const sqlite3_io_methods vfs_methods = {
    .iVersion = 2,
    .xClose = vfs_close,
    .xRead = vfs_read,
    .xWrite = vfs_write,
    .xTruncate = vfs_truncate,
    .xSync = vfs_sync,
    .xFileSize = vfs_size,
    .xLock = vfs_lock,
    .xUnlock = vfs_unlock,
    .xCheckReservedLock = vfs_check_reserved,
    .xFileControl = vfs_control,
    .xSectorSize = vfs_sector,
    .xDeviceCharacteristics = vfs_traits,
    .xShmMap = vfs_shm_map,
    .xShmLock = vfs_shm_lock,
    .xShmBarrier = vfs_shm_barrier,
    .xShmUnmap = vfs_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags) {
    vfs_file_t *own = (vfs_file_t *)(void *)file;
    (void)vfs;
    own->base.pMethods = NULL;
    own->real = (sqlite3_file *)(void *)(own + 1);
    int rc = vfs_fault_of(FAULT_OPEN, SQLITE_CANTOPEN);
    if (rc == SQLITE_OK)
        rc = vfs_real->xOpen(vfs_real, name, own->real, flags, out_flags);
    if (rc == SQLITE_OK)
        own->base.pMethods = &vfs_methods;
    return rc;
}

void fault_vfs_register(void) {
    sqlite3_initialize();
    vfs_real = sqlite3_vfs_find(NULL);
    vfs_fault = *vfs_real; /* whatever is no matter of files goes straight to the real one */
    vfs_fault.szOsFile = (int)sizeof(vfs_file_t) + vfs_real->szOsFile;
    vfs_fault.pNext = NULL;
    vfs_fault.zName = "fault";
    vfs_fault.xOpen = vfs_open;
    if (sqlite3_vfs_register(&vfs_fault, 0) != SQLITE_OK)
        abort();
}
