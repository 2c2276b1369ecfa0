/*
 * upkeep.h - what is done now and then beside the turns, and what the writer remembers for it: the log (upkeep.c), what
 * is old (sweep.c), room that is free (file/space.c).
 *
 * Private to csrc/store/sqlite.
 */
#ifndef PL_STORE_SQLITE_UPKEEP_H
#define PL_STORE_SQLITE_UPKEEP_H

#include "store/driver.h"

/* The write-ahead log, see upkeep.c. All but its pages and bytes is the writer's. */
typedef struct {
    int pages;         /* in it, after the last commit */
    int page_bytes;    /* of each */
    int64_t bytes;     /* size of its file: when the names were checked, or what commits have made of it since */
    int moved_pages;   /* pages when it was last moved into the file */
    int64_t idle_at;   /* when to look at it if nothing happens, monotonic us */
    int idle_step;     /* how often that was since something happened */
    uint64_t commits;  /* that have written to it */
    int64_t synced_at; /* monotonic us: when one was last on disk before it was told of */
    bool is_ahead;     /* the last of them need not be on disk; */
    bool is_doubtful;  /* and when they were to be, that failed: see pl__log_save */
    int64_t sync_at;   /* when what was claimed is to be on disk, monotonic us; PL_USEC_NEVER: it is */
} pl__log_t;

enum { PL__SWEEP_STATES = 2 }; /* done, aborted */

/* How far a sweep has come, see sweep.c. */
typedef struct {
    int64_t at;                             /* monotonic us: when to look again; 0: not known yet */
    int64_t busy_at;                        /* monotonic us: when there was something else to do, */
    int64_t ended;                          /* and when the last portion was over */
    pl_id_t root;                           /* the tree that is being deleted; 0: none */
    pl_steps_t steps;                       /* of that */
    pl_usec_t after_time[PL__SWEEP_STATES]; /* the root looked at last in this round */
    pl_id_t after_id[PL__SWEEP_STATES];
    pl_usec_t journal_time; /* the durable function looked at last in this round for its journal, */
    pl_id_t journal;
    pl_usec_t journals_until; /* those that ended up to then were looked at in the last one, */
    pl_usec_t journals_next;  /* and the first of them that stayed may go then; 0: none stayed */
    bool has_passed;          /* it passed trees that have live stages, */
    pl_usec_t again_at;       /* and looks at them again then; 0: not known yet */
    bool shrinks;             /* free pages are being given back */
    pl_swept_t swept;
} pl__sweep_t;

/* ---- sweep.c ---- */
/* What is done in a transaction, and how a transaction of the store's own is made of it. */
typedef int pl__portion_t(pl__conn_t *conn, void *data);
typedef int pl__run_t(pl__conn_t *conn, pl__portion_t *portion, void *data);
/* After a turn, or when idle: a portion, if it is time for it. *next: when to come back, if that is earlier. */
void pl__sweep_keep(pl__conn_t *conn, pl__run_t *run, bool idle, int64_t *next);

/* ---- space.c ---- */
int pl__space_read(pl__conn_t *conn, pl_space_t *space);
/* Gives some free pages back, if there are many and nothing has happened for a while. *at: when to come back, if that
 * is earlier. */
int pl__space_shrink(pl__conn_t *conn, pl__run_t *run, int64_t *at);

/* ---- upkeep.c ---- */
void pl__upkeep_keep(pl__conn_t *conn, pl__run_t *run, bool idle, int64_t *next, int *aside);
int pl__upkeep_aside(pl__conn_t *conn, int what);
/* Brings to the disk what commits that were not synced have written. What fails is told in the engine's log, too. */
int pl__log_sync(pl__conn_t *conn);
/* Before anything is committed: if the log is doubtful, it begins anew. PL_EAGAIN: somebody reads from it. */
int pl__log_save(pl__conn_t *conn);

#endif
