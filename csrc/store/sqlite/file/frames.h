/*
 * frames.h - a commit goes to the write-ahead log in few writes.
 */
#ifndef PL_STORE_SQLITE_FILE_FRAMES_H
#define PL_STORE_SQLITE_FILE_FRAMES_H

#include <sqlite3.h>

/* The name of a VFS that does as `base` (NULL: the default one) and can gather; static. `base`, if there is none. */
const char *pl__frames_vfs(const char *base);

/* A COMMIT follows: what it writes to the log of the connection is gathered, if that was opened through such a VFS. */
void pl__frames_begin(sqlite3 *db);

/* It has been made, and all of it is in the log; or it has failed, and what was gathered is dropped. */
void pl__frames_end(sqlite3 *db);

#endif
