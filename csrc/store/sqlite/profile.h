/*
 * profile.h - how often each statement of the writer runs, and the processor time it takes (PL_PROFILE builds only).
 *
 * In all other builds these are nothing. Between PL__PROFILE_FROM and PL__PROFILE_TO, which share a block, lies the
 * work of one statement; such pairs do not overlap. See `make profile`.
 */
#ifndef PL_STORE_SQLITE_PROFILE_H
#define PL_STORE_SQLITE_PROFILE_H

#ifdef PL_PROFILE

#include <sqlite3.h>
#include <stdint.h>

/* The statement is the writer's, and has this name (static). */
void pl__profile_name(sqlite3_stmt *statement, const char *name);
/* Processor time of this thread, in nanoseconds. */
int64_t pl__profile_clock(void);
/* It has worked for the statement since `from`, and run it `times` times (0: this was a part of one time). */
void pl__profile_add(sqlite3_stmt *statement, int64_t from, int times);
/* A transaction of the writer is over: notes the time of its thread. */
void pl__profile_note_thread(void);
/* The writer closes: all that was measured goes to the file that PL_PROFILE_FILE names, a line each of name, times and
 * nanoseconds; `thread` is all of the writer's thread, `clock` what of it reading the clock took. */
void pl__profile_write(void);

#define PL__PROFILE_FROM int64_t profiled_from_ = pl__profile_clock()
#define PL__PROFILE_TO(statement, times) pl__profile_add(statement, profiled_from_, times)
#define PL__PROFILE_NAME(conn, id, name)                                                                               \
    do {                                                                                                               \
        if ((conn)->role == PL__ROLE_WRITER)                                                                           \
            pl__profile_name((conn)->statements[id], name);                                                            \
    } while (0)
#define PL__PROFILE_NOTE_THREAD(conn) ((conn)->role == PL__ROLE_WRITER ? pl__profile_note_thread() : (void)0)
#define PL__PROFILE_WRITE(conn) ((conn)->role == PL__ROLE_WRITER ? pl__profile_write() : (void)0)

#else

#define PL__PROFILE_FROM ((void)0)
#define PL__PROFILE_TO(statement, times) ((void)0)
#define PL__PROFILE_NAME(conn, id, name) ((void)0)
#define PL__PROFILE_NOTE_THREAD(conn) ((void)0)
#define PL__PROFILE_WRITE(conn) ((void)0)

#endif

#endif
