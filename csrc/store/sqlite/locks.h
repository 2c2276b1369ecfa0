/*
 * locks.h - locks of database files that belong to an open file, not to the process.
 */
#ifndef PL_STORE_SQLITE_LOCKS_H
#define PL_STORE_SQLITE_LOCKS_H

#include "base/result.h"

/* Puts the locks of everything that SQLite opens from now on in this process under our care. Idempotent; any thread. */
void pl__locks_install(void);

/* Whether `path`, a file that SQLite has open, is still the file of that name: PL_OK, or PL_EGONE. */
int pl__locks_check(const char *path);

/* Fails with PL_EBUSY if the file is open under another name, which is a hard link, by anybody: each name would have a
 * log of its own. Else nobody can open it under another name until the descriptor in *fd (returns owned) is closed. */
int pl__locks_claim_name(const char *path, int *fd);

#endif
