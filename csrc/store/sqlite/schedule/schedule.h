/*
 * schedule.h - what the files of this room have of each other: the fires of a schedule that are not over.
 */
#ifndef PL_SQLITE_SCHEDULE_H
#define PL_SQLITE_SCHEDULE_H

#include "store/sqlite/db.h"

/* What a fire, and its end, need to know of their schedule. */
typedef struct {
    bool found, paused;
    int64_t revision, total; /* total: fires that were made, or skipped */
    pl_usec_t next;
    int failures, pause_on_failure; /* in a row; 0: they do not pause it */
    pl_str_t name;                  /* in the connection's scratch */
} pl__schedule_brief_t;
int pl__schedule_brief(pl__conn_t *conn, pl_id_t id, pl__schedule_brief_t *brief);

typedef struct {
    pl_id_t id, target;
    bool is_stage;
    pl_fire_state_t state; /* BUFFERED or STARTED */
    pl_fire_reason_t reason;
} pl__live_fire_t;

/* Those that run before those that are buffered, the oldest first. In the connection's scratch. */
typedef struct {
    const pl__live_fire_t *list;
    size_t len, running;
} pl__live_fires_t;

/* What has ended unnoticed is noted first, so that it holds nobody up. */
int pl__fires_live(pl__conn_t *conn, pl_id_t schedule, pl__live_fires_t *live);
/* Ends the work of a fire that runs: as an abort does, or at once, without asking anybody. A task that is being
 * executed ends by itself. */
int pl__fire_work_end(pl__conn_t *conn, const pl__live_fire_t *fire, bool at_once, pl_str_t message);
/* A fire that is buffered is given up, with its work: it counts as dropped, and for its reason no more. In `counts`, of
 * an op that adds them to the row; NULL: in the row. */
int pl__fire_cancel(pl__conn_t *conn, pl_id_t schedule, const pl__live_fire_t *fire, int64_t *counts);
/* The count of what is fired for a reason. */
int pl__fire_count_of(pl_fire_reason_t reason);
/* Counts failures in a row; too many pause the schedule. */
int pl__fire_result(pl__conn_t *conn, pl_id_t schedule, bool ok);

#endif
