/*
 * locks.h - locks of database files that belong to an open file, not to the process; which file a name leads to.
 */
#ifndef PL_STORE_SQLITE_FILE_LOCKS_H
#define PL_STORE_SQLITE_FILE_LOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include <time.h>

#include "base/process.h"
#include "base/result.h"

/* A file, whatever its names are. */
typedef struct {
    bool is_known;
    uint64_t device, inode;
} pl__identity_t;

/* The folder it is in. See files.c. */
typedef struct {
    char *path; /* owned; NULL: its time tells nothing */
    uint64_t device, inode;
    struct timespec changed; /* no name in it has changed since then */
    int64_t until;           /* monotonic us: so long that is believed */
} pl__folder_t;

/* Puts the locks of everything that SQLite opens from now on in this process under our care. Idempotent; any thread. */
void pl__locks_install(void);

/* Which file `path`, which SQLite has just opened in this process, is: unknown if SQLite opened it in a way that cannot
 * be seen. False: `path` leads to another file by now. */
bool pl__locks_identify(const char *path, pl__identity_t *identity);

/* Whether the lock that SQLite holds on an open database belongs to an open file of ours: not when something in this
 * process opened it before pl__locks_install, or the system has no such locks. */
bool pl__locks_is_guarded(const pl__identity_t *identity);

/* Whether this process was forked while a transaction, or a read that goes on for long, was under way on the file whose
 * log has the index at `index`. What SQLite knows of that in this process is a copy in which it never ends. */
bool pl__locks_are_stuck(const char *index);

/* The last part of `path` (borrows from it), and the directory that it is in. */
const char *pl__locks_split(const char *path, pl__identity_t *directory);

/* Fails with PL_EBUSY if the file is open under another name, which is a hard link, by anybody: each name would have a
 * log of its own. Else nobody can open it under another name until `file` is closed. */
int pl__locks_claim_name(const char *path, pl__unshared_t *file);

#endif
