/*
 * fault_vfs.h - a SQLite VFS named "fault" that wraps the default one and can make calls fail.
 *
 * Calls of the armed kinds are counted over all files and threads; the Nth one fails, and with `permanent` every one
 * after it too. A write that fails has written the first half of its bytes, as a real one may.
 */
#ifndef SPEC_FAULTS_FAULT_VFS_H
#define SPEC_FAULTS_FAULT_VFS_H

#include <stdbool.h>

enum {
    FAULT_READ = 1,
    FAULT_WRITE = 2,
    FAULT_SYNC = 4,
    FAULT_TRUNCATE = 8,
    FAULT_OPEN = 16,
    FAULT_SHM = 32,
    FAULT_LOCK = 64
};

/* Registers the VFS (not as the default one). Call once. */
void fault_vfs_register(void);
/* From now on the nth call of these kinds fails. rc 0: the code SQLite's own VFS would give (SQLITE_IOERR_WRITE, …). */
void fault_vfs_arm(unsigned kinds, int rc, long nth, bool permanent);
/* Switches faults off; returns whether one was hit since arming. */
bool fault_vfs_disarm(void);
/* Calls of the armed kinds since arming. */
long fault_vfs_calls(void);

#endif
