/*
 * schedule.h - schedules: work that comes back by the clock; and fires, each of which is one time that it came.
 *
 * The store knows no calendar. A schedule is a row with the next time it fires, and two texts of the host's: what its
 * times are, and what is to be done. Who finds that the time has come works out the time after it, and says both in
 * one op: if the row still has that next time, the work is added, the fire is noted and the row has its new next time,
 * all in one commit; if it has not, somebody else was there first, and nothing is done. So each time fires once,
 * whatever the number of processes, their clocks and their deaths.
 *
 *                  ┌────────────► SKIPPED (the one before is not over, and the rule says so)
 *   (its time) ────┼────────────► STARTED ──work is final──► DONE, FAILED
 *                  └──► BUFFERED ────┘  in the commit that makes the one before final
 *                           └───────► CANCELLED (the schedule is gone, or a newer one takes the place)
 *
 * What is buffered is work that is there already, held back: a root without a task, a task without a time. Who makes
 * the work of a fire final releases the next one in the same commit.
 */
#ifndef PL_STORE_SCHEDULE_H
#define PL_STORE_SCHEDULE_H

#include "store/model.h"

/* What becomes of a fire while the work of the one before is not final. */
#define PL_OVERLAPS(X)                                                                                                 \
    X(SKIP, 0, "skip")                       /* it is skipped */                                                       \
    X(BUFFER_ONE, 1, "buffer_one")           /* it is kept, unless one is kept already */                              \
    X(BUFFER_ALL, 2, "buffer_all")           /* it is kept; of too many the oldest are dropped */                      \
    X(CANCEL_OTHER, 3, "cancel_other")       /* the other is aborted, and this one starts when that is final */        \
    X(TERMINATE_OTHER, 4, "terminate_other") /* the other is made final at once, and this one starts */                \
    X(ALLOW_ALL, 5, "allow_all")             /* it starts */

#define PL_FIRE_REASONS(X)                                                                                             \
    X(SCHEDULE, 0, "schedule") /* its time has come */                                                                 \
    X(CATCH_UP, 1, "catch_up") /* its time was missed */                                                               \
    X(TRIGGER, 2, "trigger")   /* somebody wants it now */                                                             \
    X(BACKFILL, 3, "backfill") /* somebody wants a time of the past */

/* schedule.h draws how they follow each other. */
#define PL_FIRE_STATES(X)                                                                                              \
    X(BUFFERED, 0, "buffered")                                                                                         \
    X(STARTED, 1, "started")                                                                                           \
    X(DONE, 2, "done")                                                                                                 \
    X(FAILED, 3, "failed")                                                                                             \
    X(SKIPPED, 4, "skipped")                                                                                           \
    X(CANCELLED, 5, "cancelled")

/* What has become of the times of a schedule: each is in one of them. */
#define PL_FIRE_COUNTS(X)                                                                                              \
    X(fired) /* for the reason schedule */                                                                             \
    X(caught_up)                                                                                                       \
    X(triggered)                                                                                                       \
    X(backfilled)                                                                                                      \
    X(skipped)        /* the one before was not over */                                                                \
    X(skipped_paused) /* the schedule was paused */                                                                    \
    X(skipped_gap)    /* the clock had no such time that day */                                                        \
    X(missed)         /* nobody was there, and it was too late afterwards */                                           \
    X(dropped)        /* buffered, and given up */

typedef enum {
#define X(name, number, text) PL_OVERLAP_##name = (number),
    PL_OVERLAPS(X)
#undef X
} pl_overlap_t;

typedef enum {
#define X(name, number, text) PL_REASON_##name = (number),
    PL_FIRE_REASONS(X)
#undef X
} pl_fire_reason_t;

typedef enum {
#define X(name, number, text) PL_FIRE_##name = (number),
    PL_FIRE_STATES(X)
#undef X
} pl_fire_state_t;

enum {
#define X(name) PL_COUNT_##name,
    PL_FIRE_COUNTS(X)
#undef X
        PL_FIRE_COUNTS_LEN
};

/* Of each schedule, of those that are over; and all that a backfill has made within so many seconds. */
enum { PL_FIRES_KEPT = 100, PL_BACKFILLS_KEPT_SECONDS = 24 * 3600 };

/* A schedule, to be written or as read back. */
typedef struct {
    pl_id_t id; /* written: its id if it is new */
    pl_str_t name;
    pl_str_t source;   /* who declares it; absent: it was made by itself */
    pl_str_t times;    /* the host's: when it fires */
    pl_str_t work;     /* the host's: what is started */
    int64_t revision;  /* written: that of the row that is replaced; 0: there is to be none. Each write adds one */
    pl_usec_t created; /* result */
    pl_usec_t next_nominal, next_at;     /* the next time, and when it fires (with jitter); 0: never again */
    pl_usec_t last_nominal, last_actual; /* of the latest fire for the reasons schedule and catch-up; 0: none */
    bool paused;
    pl_str_t note;                      /* why it is paused, or its latest time did not fire */
    int pause_on_failure;               /* so many failed fires in a row pause it; 0: any */
    int failures;                       /* result: failed fires in a row */
    int buffered, running;              /* result of schedule_get by name: fires */
    pl_usec_t last_end;                 /* result: when the work of a fire was final; 0: never */
    int last_state;                     /* result: what it was then (pl_fire_state_t) */
    int64_t counts[PL_FIRE_COUNTS_LEN]; /* written: skipped_paused alone, which is added */
    int rc; /* result: PL_OK; PL_EEXISTS, PL_ENOTFOUND, PL_ESTALE: the revision is another */
} pl_schedule_t;

/* A fire as read back. */
typedef struct {
    pl_id_t id, schedule, target; /* target: of the root or task; 0: it was skipped */
    bool is_stage;
    pl_str_t name, local_time;              /* of the schedule; absent: not known */
    pl_usec_t nominal, at, previous, ended; /* previous: the nominal time of the one before */
    pl_fire_reason_t reason;
    pl_fire_state_t state;
} pl_fired_t;

/* A fire to be made. Either stage or task is there. */
typedef struct {
    pl_id_t id;
    pl_usec_t nominal, at, previous;
    pl_fire_reason_t reason;
    pl_overlap_t overlap;
    bool again;            /* it fires even if its nominal time has fired, for another reason than a trigger */
    pl_str_t local_time;   /* the nominal time, as a root is told it */
    pl_stage_new_t *stage; /* a root; its `hold` is the store's */
    pl_task_new_t *task;   /* without a name; its eta is the store's */
    pl_fire_state_t state; /* result */
    bool was_fired;        /* result: nothing was done, for a backfill fires no time twice; state is SKIPPED */
} pl_fire_new_t;

/*
 * schedule_set: writes schedules, all or none: PL_ESTALE, with an rc in each item, when a revision is another.
 * With `source`, the names in `removed` go as schedule_delete takes them.
 */
typedef struct {
    pl_schedule_t *schedules;
    size_t len;
    const pl_str_t *removed;
    size_t removed_len;
    pl_str_t source;                 /* absent: none */
    int64_t version, version_before; /* of the source: it becomes `version` if it is `version_before` (-1: none) */
    bool abort;                      /* running work of what is removed is aborted */
} pl_op_schedule_set_t;

/* schedule_delete: PL_ENOTFOUND. Buffered fires end with it. */
typedef struct {
    pl_str_t name;
    bool abort; /* and so does the running work */
} pl_op_schedule_delete_t;

/* schedule_get: one by name; or those of a source, or all, by name; or with `due`, the first of those that fire by
 * then, by time. */
typedef struct {
    pl_str_t name, source, after;
    pl_usec_t due;
    int limit;
    const pl_schedule_t *schedules; /* results */
    size_t len;
    int64_t version; /* of the source; -1: it has none */
} pl_op_schedule_get_t;

/* fires_get: of a schedule, newest first; or what this root was told of the one that has started it. */
typedef struct {
    pl_str_t name;
    pl_id_t target;
    pl_id_t before; /* 0: from the newest */
    int limit;
    const pl_fired_t *fires; /* results */
    size_t len;
} pl_op_fires_get_t;

/*
 * schedule_fire: PL_ESTALE: its revision or its next time is another; nothing is done.
 * Work that cannot be added (a task whose queue is gone) is a fire that has failed at once.
 */
typedef struct {
    pl_id_t schedule;
    int64_t revision;
    pl_usec_t nominal; /* the next time as it was; by hand: 0, and the times of the row stay */
    pl_usec_t next_nominal, next_at;
    pl_usec_t last_nominal;             /* the row's after this; 0: stays */
    int64_t counts[PL_FIRE_COUNTS_LEN]; /* added to the row; those of the fires are the store's */
    int buffered_max;
    int64_t left; /* so many more for the reasons schedule and catch-up, then it is finished; 0: any number */
    pl_fire_new_t *fires;
    size_t len;
    pl_str_t note;       /* the row's after this, unless by hand: why its time did not fire; absent: it did */
    pl_str_t pause_note; /* absent: it goes on; else it is paused when this is done, with that note */
} pl_op_schedule_fire_t;

PL_API const char *pl_overlap_name(int overlap);
PL_API const char *pl_fire_reason_name(int reason);
PL_API const char *pl_fire_state_name(int state);

#endif
