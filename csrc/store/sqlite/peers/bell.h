/*
 * bell.h - other workers on the same database file: who lives, who rings. See bell.c and number.c.
 *
 * One record for a store, made and closed with its writing connection. The writer's thread takes the number, asks for
 * others, and rings; the loop's thread hears. What they share is `number`, written before anybody hears, and the
 * descriptors, which stay the same until it is closed.
 */
#ifndef PL_STORE_SQLITE_PEERS_BELL_H
#define PL_STORE_SQLITE_PEERS_BELL_H

#include <stdatomic.h>

#include "base/ids.h"
#include "base/log.h"
#include "base/process.h"
#include "store/driver.h"

typedef struct {
    pl__unshared_t locks; /* the database file itself: a lock of each number lies behind what SQLite locks */
    pl__unshared_t bell;  /* the bell file, with locks, too */
    char *name, *path;    /* owned: of the bell file, and of the database */
    int inotify;          /* -1: none */
    bool is_deaf;         /* the bell file cannot be watched */
    _Atomic int number;   /* our lock; -1: none yet */
    uint64_t rung;        /* the writer's: times we rang */
    uint64_t *seen;       /* owned, the listener's: the counters of all numbers as last read */
} pl__bell_t;

/* ---- number.c ---- */
/* Takes the lock of the number. False: somebody else has it. */
bool pl__number_take(pl__bell_t *bell, int number);
/* Whether the worker of that number lives. */
pl__life_t pl__number_life(const pl__bell_t *bell, int number);
/* Whether nobody but us holds a lock on the bell file, which all do who would hear. */
bool pl__number_is_alone(const pl__bell_t *bell);
/* Takes the lock of our number on another bell file. */
void pl__number_retake(const pl__bell_t *bell, int fd);

/* ---- bell.c ---- */
/* Opens the bell file beside the database at `path`, or makes it. */
int pl__bell_open(pl__bell_t **bell, const char *path, pl_error_t *error) PL__MUST_USE;
/* NULL is fine. */
void pl__bell_close(pl__bell_t *bell);
/* A commit made work for others. `others`: workers on the file, when last counted. */
void pl__bell_ring(pl__bell_t *bell, int others);
/* To be polled for reading; -1: it cannot be watched. */
int pl__bell_fd(const pl__bell_t *bell);
/* Reads what has come, and says what it means: PL__RING_*. */
unsigned pl__bell_hear(pl__bell_t *bell, const pl_log_t *log);

#endif
