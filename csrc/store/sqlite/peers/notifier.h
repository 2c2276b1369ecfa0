/*
 * notifier.h - other workers on the same database file: who lives, who notifies. See notifier.c and number.c.
 *
 * One record for a store, made and closed with its writing connection. The writer's thread takes the number, asks for
 * others, and notifies; the loop's thread receives. What they share is `number`, written before that begins, and the
 * descriptors, which stay the same until it is closed.
 */
#ifndef PL_STORE_SQLITE_PEERS_NOTIFIER_H
#define PL_STORE_SQLITE_PEERS_NOTIFIER_H

#include <stdatomic.h>

#include "base/ids.h"
#include "base/log.h"
#include "base/process.h"
#include "store/driver.h"

typedef struct {
    pl__unshared_t locks; /* the database file itself: a lock of each number lies behind what SQLite locks */
    pl__unshared_t file;  /* `name`, with locks, too */
    char *name, *path;    /* owned: of the file of the workers, and of the database */
    int inotify;          /* -1: none */
    bool is_unwatched;    /* the file cannot be watched */
    _Atomic int number;   /* our lock; -1: none yet */
    uint64_t sent;        /* the writer's: times we notified */
    uint64_t *seen;       /* owned, the listener's: the counters of all numbers as last read */
} pl__notifier_t;

/* ---- number.c ---- */
/* Takes the lock of the number. False: somebody else has it. */
bool pl__number_take(pl__notifier_t *notifier, int number);
/* Whether the worker of that number lives. */
pl__life_t pl__number_life(const pl__notifier_t *notifier, int number);
/* Whether nobody but us holds a lock on the file, which all do who would receive. */
bool pl__number_is_alone(const pl__notifier_t *notifier);
/* Takes the lock of our number on another file of that name. */
void pl__number_retake(const pl__notifier_t *notifier, int fd);

/* ---- notifier.c ---- */
/* Opens the file of the workers beside the database at `path`, or makes it. */
int pl__notifier_open(pl__notifier_t **notifier, const char *path, pl_error_t *error) PL__MUST_USE;
/* NULL is fine. */
void pl__notifier_close(pl__notifier_t *notifier);
/* A commit made work for others. `others`: workers on the file, when last counted. */
void pl__notifier_send(pl__notifier_t *notifier, int others);
/* To be polled for reading; -1: it cannot be watched. */
int pl__notifier_fd(const pl__notifier_t *notifier);
/* Reads what has come; returns what it means: PL__NOTIFY_*. */
unsigned pl__notifier_receive(pl__notifier_t *notifier, const pl_log_t *log);

#endif
