/*
 * file_faults.h - what of a file may fail, one kind after the other: the calls of the VFS "fault", and commits.
 */
#ifndef SPEC_FAULTS_FILE_FAULTS_H
#define SPEC_FAULTS_FILE_FAULTS_H

#include <sqlite3.h>

#include "faults/fault_vfs.h"

typedef struct {
    const char *what;
    unsigned kinds; /* 0: commits */
    int rc;         /* 0: the natural one */
} file_fault_t;

static const file_fault_t FILE_FAULTS[] = {
    { "commit", 0, 0 },        { "write", FAULT_WRITE, 0 },
    { "sync", FAULT_SYNC, 0 }, { "disk full", FAULT_WRITE | FAULT_TRUNCATE, SQLITE_FULL },
    { "read", FAULT_READ, 0 }, { "shared memory", FAULT_SHM, 0 },
    { "lock", FAULT_LOCK, 0 },
};

enum { FILE_FAULTS_LEN = sizeof FILE_FAULTS / sizeof *FILE_FAULTS };

static int (*file_refuse)(void *data);

/* Called by SQLite for every connection that is opened. */
static inline int file_hook(sqlite3 *db, const char **message, const void *api) {
    (void)message;
    (void)api;
    sqlite3_commit_hook(db, file_refuse, NULL);
    return SQLITE_OK;
}

/* Asks `refuse` before each commit, of whatever connection: not 0: it fails. Returns a code of SQLite. */
static inline int file_hook_commits(int (*refuse)(void *data)) {
    union { /* the declaration of SQLite hides the arguments */
        int (*hook)(sqlite3 *db, const char **message, const void *api);
        void (*plain)(void);
    } entry = { file_hook };
    file_refuse = refuse;
    return sqlite3_auto_extension(entry.plain);
}

#endif
