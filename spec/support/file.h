/*
 * file.h - the file of a store that a C test makes: it is removed with all that lies beside it, written anew, and
 * looked at from outside.
 */
#ifndef PL_SPEC_FILE_H
#define PL_SPEC_FILE_H

#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "support/check.h"

static inline void file_remove(const char *path) {
    static const char *const SUFFIXES[] = { "", "-wal", "-shm", "-journal", "-workers" };
    for (size_t i = 0; i < sizeof SUFFIXES / sizeof *SUFFIXES; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, SUFFIXES[i]);
        unlink(name);
    }
}

/* Writes the file that `make` leaves at the path, where it is called once only: that takes longer than all that is
 * tried with it. */
static inline void file_write(const char *path, void (*make)(void)) {
    enum { BYTES_MAX = 1024 * 1024 };
    static char bytes[BYTES_MAX];
    static size_t len;
    file_remove(path);
    if (!len) {
        make();
        FILE *made = fopen(path, "rb");
        len = made ? fread(bytes, 1, sizeof bytes, made) : 0;
        CHECK(len > 0 && len < sizeof bytes && fclose(made) == 0);
        file_remove(path);
    }
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, len, file) == len && fclose(file) == 0);
}

/* The number that a statement finds, of which ?1 is `id`. */
static inline int64_t file_number(const char *path, const char *sql, int64_t id) {
    sqlite3 *db;
    sqlite3_stmt *row;
    CHECK(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(db, sql, -1, &row, NULL) == SQLITE_OK);
    CHECK(sqlite3_bind_int64(row, 1, id) == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW);
    int64_t number = sqlite3_column_int64(row, 0);
    CHECK(sqlite3_finalize(row) == SQLITE_OK && sqlite3_close(db) == SQLITE_OK);
    return number;
}

static inline void file_execute(const char *path, const char *sql) {
    sqlite3 *db;
    CHECK(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
    CHECK(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK && sqlite3_close(db) == SQLITE_OK);
}

#endif
