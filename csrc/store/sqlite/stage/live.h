/*
 * live.h - live stages as this connection knows them, so that what moves them need not read their rows first.
 */
#ifndef PL_STORE_SQLITE_STAGE_LIVE_H
#define PL_STORE_SQLITE_STAGE_LIVE_H

#include "store/driver.h"

/* What the row of a stage says; whoever writes there writes here, too, or drops it. */
typedef struct pl__live {
    struct pl__live *older, *newer;
    pl_id_t root, parent;
    int64_t queue;
    pl_id_t waiter; /* as pl_stage.waiter; 0: none */
    int missing, open;
    pl_stage_state_t state;
    pl_usec_t created, started;
    bool whole;          /* all of `made` is known, and there was no attempt yet */
    pl_stage_new_t made; /* else only id, flags, priority and eta; its strings and lists are in `bytes` */
    size_t size;         /* of this block */
    char bytes[];
} pl__live_t;

typedef struct {
    pl__live_t **places; /* open addressing; NULL = free */
    size_t places_len, len, bytes;
    pl__live_t *oldest, *newest;
    int64_t version; /* PRAGMA data_version: what they hold for */
} pl__lives_t;

/* A transaction begins: forgets all if another connection has committed since. */
void pl__lives_refresh(pl__conn_t *conn);
/* A transaction was rolled back, or the connection is closed: none of them holds. */
void pl__lives_clear(pl__conn_t *conn);
/* The stage was inserted with so many inputs missing. */
void pl__live_add(pl__conn_t *conn, const pl_stage_new_t *stage, pl_id_t root, pl_id_t parent, int64_t queue,
                  int missing, pl_id_t waiter);
/* Borrows until another one is added or dropped. NULL: not known. */
pl__live_t *pl__live_find(const pl__conn_t *conn, pl_id_t id);
/* As pl__live_find, but reads the row of a stage that is not known. *live NULL: there is no such stage. */
int pl__live_get(pl__conn_t *conn, pl_id_t id, pl__live_t **live) PL__MUST_USE;
/* The stage is final, or something has changed that is not remembered here. */
void pl__live_drop(pl__conn_t *conn, pl_id_t id);

#endif
