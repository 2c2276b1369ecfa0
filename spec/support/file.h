/*
 * file.h - the file of a store that a C test makes: it is removed with all that lies beside it, and written anew.
 */
#ifndef PL_SPEC_FILE_H
#define PL_SPEC_FILE_H

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

#endif
