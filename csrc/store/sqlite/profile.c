/*
 * profile.c - the figures behind `make profile`: a timer around each statement of the writer (PL_PROFILE builds only).
 *
 * Processor time, so that neither waiting for the disk nor other processes count. What reading the clock costs is
 * measured when the first statement is named, and taken off. There is one table for the process, for one engine: only
 * the thread of its writer names statements and adds to them.
 */
#include "store/sqlite/profile.h"

#ifdef PL_PROFILE

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PLACES = 1024, CLOCK_ROUNDS = 2000 };

static struct {
    sqlite3_stmt *statement; /* NULL: free */
    const char *name;
    int64_t times, ns;
} places[PLACES]; /* open addressing */
static int64_t clock_ns = -1, added, thread_from = -1, thread_to;

int64_t pl__profile_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void measure_clock(void) {
    int64_t sum = 0;
    for (int i = 0; i < CLOCK_ROUNDS; i++) {
        int64_t from = pl__profile_clock();
        sum += pl__profile_clock() - from;
    }
    clock_ns = sum / CLOCK_ROUNDS;
}

static size_t find_place(const sqlite3_stmt *statement) {
    size_t at = (size_t)((uintptr_t)statement * UINT64_C(0x9e3779b97f4a7c15) >> 40) % PLACES;
    while (places[at].statement && places[at].statement != statement)
        at = (at + 1) % PLACES;
    return at;
}

void pl__profile_name(sqlite3_stmt *statement, const char *name) {
    if (clock_ns < 0)
        measure_clock();
    size_t at = find_place(statement);
    places[at].statement = statement;
    places[at].name = name;
}

void pl__profile_add(sqlite3_stmt *statement, int64_t from, int times) {
    int64_t ns = pl__profile_clock() - from - clock_ns;
    size_t at = find_place(statement);
    if (!places[at].statement)
        return;
    added++;
    places[at].times += times;
    places[at].ns += ns > 0 ? ns : 0;
}

void pl__profile_note_thread(void) {
    thread_to = pl__profile_clock();
    if (thread_from < 0)
        thread_from = thread_to;
}

void pl__profile_write(void) {
    const char *path = getenv("PL_PROFILE_FILE");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file)
        return;
    for (size_t i = 0; i < PLACES; i++)
        if (places[i].statement && places[i].times > 0)
            fprintf(file, "%s %lld %lld\n", places[i].name, (long long)places[i].times, (long long)places[i].ns);
    fprintf(file, "thread 1 %lld\n", (long long)(thread_to - thread_from));
    fprintf(file, "clock %lld %lld\n", (long long)(2 * added), (long long)(2 * added * clock_ns));
    fclose(file);
}

#else

typedef int pl__profile_nothing_t; /* a file must not be empty */

#endif
