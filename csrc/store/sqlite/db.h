/*
 * db.h - a SQLite connection of the store: statements, one transaction's bookkeeping, and the rooms' functions.
 *
 * Private to csrc/store/sqlite. Every function returns PL_OK or the result that breaks the transaction; refusals are
 * set in op->rc by the verbs.
 */
#ifndef PL_STORE_SQLITE_DB_H
#define PL_STORE_SQLITE_DB_H

#include <sqlite3.h>

#include "store/by_verbs.h"
#include "store/driver.h"
#include "store/sqlite/file/locks.h"
#include "store/sqlite/peers/notifier.h"
#include "store/sqlite/stage/live.h"
#include "store/sqlite/statements.h"
#include "store/sqlite/upkeep.h"
#include "store/stage/rules.h"
#include "store/view/start.h"

#define PL__TRY(expression)                                                                                            \
    do {                                                                                                               \
        int try_rc_ = (expression);                                                                                    \
        if (try_rc_ != PL_OK)                                                                                          \
            return try_rc_;                                                                                            \
    } while (0)

typedef enum {
#define X(name, sql) PL__SQL_##name,
    PL__STATEMENTS(X)
#undef X
        PL__SQL_COUNT
} pl__sql_t;

enum { PL__RESULTS = 1024 };

/* A task that became ready or delayed in this transaction; inserted at its end, so that it can be born claimed. */
typedef struct {
    pl_id_t id, stage;
    pl_task_kind_t kind;
    int64_t queue;
    int priority;
    pl_usec_t eta;
    pl_str_t name, payload;      /* borrowed from the op */
    const pl_task_new_t *queued; /* PUSH, PULL, DEFERRED: all of it, borrowed from the op */
} pl__pending_t;

/* What fills and settled children take from the counters of a stage, gathered until the transaction's end: a fan-in
 * touches the row of its consumer once a transaction, not once a child. */
typedef struct {
    pl_id_t stage; /* 0: free */
    int missing, open;
} pl__delta_t;

/* A stage on its way into the table; what it points to is borrowed from its op, or the connection's scratch. */
typedef struct {
    const pl_stage_new_t *stage;
    pl_id_t root, parent, waiter;
    int missing;
    int64_t queue;
    pl_str_t args, inputs, after, outputs;
} pl__stage_row_t;

/* What this worker may claim of a queue with max_concurrent. See permits.c. */
typedef struct {
    size_t seen;                    /* conn->finishes of the transaction that has looked */
    int64_t claimed;                /* by this worker, when that has ended */
    int64_t ended;                  /* since the transaction before that */
    int64_t most;                   /* what the others leave to it */
    int64_t held;                   /* its permits; 0: none */
    pl_usec_t way_until, way_again; /* steady: how long, and from when on again, a free place is left to others */
    int64_t share;                  /* of the limit, by the number of those who want some */
    bool is_ahead, recalled, waits;
    bool asks; /* others have more permits than their share */
} pl__permit_t;

/* A queue as remembered between transactions. Only tokens are read anew each time they count. */
typedef struct {
    int64_t id;
    char *name;
    size_t len;
    bool pull, paused, removed;
    bool served;              /* by this process */
    char *target;             /* NULL: none */
    double rate, bucket_size; /* rate below 0: no limit */
    int max_concurrent;       /* 0: no limit */
    pl_retry_t retry;
    pl__permit_t permit;
    int started; /* tasks claimed in this transaction, and in those that were not counted yet */
} pl__queue_t;

enum { PL__FILE_NAMES = 3 }; /* the database, its log, the index of that */

typedef struct pl__over {
    struct pl__over *next;
    pl_id_t target;
    pl_fire_state_t state;
} pl__over_t;

struct pl__conn {
    sqlite3 *db;
    char *names[PL__FILE_NAMES]; /* owned: real paths; NULL: in memory */
    struct pl__backup *backups;  /* under way */
    pl__unshared_t name_file;    /* the writer's: holds the name */
    pl__notifier_t *notifier;    /* owned by the writer; NULL: in memory */
    pl__identity_t known[PL__FILE_NAMES];
    pl__folder_t folder;
    int64_t checked_at; /* monotonic us: when the names were last seen to lead to these; 0: they do not */
    sqlite3_stmt *statements[PL__SQL_COUNT];
    pl_store_options_t options;
    pl__role_t role;
    char failure[200]; /* text of the last failure */
    pl__log_t log;
    pl_usec_t now;    /* of the running transaction: the wall clock, */
    pl_usec_t due;    /* what is due by now: see pl_clock_due, */
    pl_usec_t steady; /* and the steady clock */
    int64_t offset;   /* of the wall clock, as the file knows it: see clock.c */
    bool knows_offset;
    /* the writer's */
    pl_id_t worker;       /* incarnation; 0: not a worker */
    pl_id_t worker_known; /* as of the last commit */
    int worker_number;
    pl_str_t worker_host; /* owned */
    int64_t worker_pid;
    pl_str_t worker_version;
    bool worker_is_idle;
    pl_usec_t lease_until;
    int64_t renew_at; /* monotonic us */
    bool is_checked;  /* that worker is in the file, unless another connection has committed since */
    bool has_claims;
    bool maybe_ready; /* the ready index may hold something */
    bool maybe_alone; /* there may be tasks that are executed alone: see losses.c */
    pl_usec_t next_due;
    bool due_unknown;
    pl_usec_t next_token; /* steady: when a rate lets the next ready task start; PL_USEC_NEVER: none waits for that */
    int ahead;            /* how many may be claimed beyond what may be executed: what the loop says */
    size_t finishes;      /* transactions that were about to claim */
    bool any_permits;     /* anybody's, as far as permits_known */
    bool permits_known;   /* no other connection has committed since */
    bool blocked;         /* a concurrency limit held ready tasks back */
    bool freed;           /* a claim ended in this transaction */
    bool any_started;     /* some queue has `started` > 0 */
    bool any_limits;      /* of any queue: rate, concurrency, pause */
    int64_t data_version; /* changes when another connection has committed */
    int64_t schema_cookie, schema_hash; /* as compared last, see schema.c */
    size_t turn;                        /* rotates the queue that claims first */
    pl__queue_t *queues;
    size_t queues_len, queues_size; /* in the order of their ids */
    size_t *by_name, by_name_size;  /* open addressing: place in queues + 1, 0 = free */
    pl__pending_t *pending;
    size_t pending_len, pending_size;
    pl_op_t *leaves[PL__BULK_IDS]; /* outcomes of leaves that have come and are not applied yet: see outcome.c */
    int leaves_len;
    struct {          /* small values that leaves of this transaction have left, borrowed from their ops */
        pl_id_t slot; /* 0: none */
        pl_str_t value;
    } results[PL__RESULTS]; /* by the slot's hash: the latest */
    bool any_results;
    pl__stage_row_t stage_rows[PL__STAGE_ROWS]; /* inserted, and not written yet */
    int stage_rows_len;
    pl__delta_t *deltas; /* open addressing */
    size_t deltas_len, deltas_size;
    pl__lives_t lives;
    pl_id_t *watched; /* open addressing, 0 = free */
    size_t watched_len, watched_size;
    pl__arena_t scratch;         /* until the transaction ends */
    pl_recall_t *recalls;        /* in scratch */
    pl_watch_event_t *finals;    /* newest first, in scratch; with PL_STAGE_ABORTING, _READY: of a run, perhaps here */
    int64_t aborts, aborts_seen; /* counted on the file: as last read, and as this process has acted on */
    bool notify;
    bool any_final; /* a stage has become so since a turn that only claims began */
    bool tells;     /* of all stages that become final, whoever watches them */
    struct {
        bool unknown;          /* the rest is to be read */
        bool live;             /* there may be fires that are not over */
        struct pl__over *over; /* work that has ended in this transaction, newest first, in scratch */
        pl_usec_t next;        /* wall clock: when a schedule fires next; PL_USEC_NEVER: none does */
    } fires;
    size_t value_max; /* longer arguments and values are not read; 0: all are */
    pl__sweep_t sweep;
    pl__sweep_t swept_to; /* what it is when this transaction, which has swept, is committed */
    bool has_swept;
    bool is_relaxed;         /* commits are not synced: see relax in driver.c */
    int64_t portion_until;   /* monotonic us: see pl__portion_over; 0: not begun */
    int64_t portion_changes; /* and that, counted as SQLite counts rows that have changed */
    pl__buf_t suspects;      /* of rescue, see worker.c */
    int64_t blocked_at;      /* monotonic us: when somebody last kept the file locked for long */
    /* the session, see user_sql.c */
    int64_t session_deadline;        /* monotonic us; PL_USEC_NEVER: there is none */
    int64_t session_began;           /* monotonic us */
    int64_t others_first;            /* monotonic us: until then the file is left to other processes */
    int others;                      /* workers, when last counted */
    bool guarded;                    /* the statement that is prepared or run is the user's */
    int other_length, other_pattern; /* limits of SQLite: the user's, while guarded the engine's */
    bool in_memory;
    int64_t memory_before; /* bytes that were in use when the session began */
    bool too_much;         /* more than PL_SQL_MEMORY_MAX since */
    bool makes_tables;     /* and it makes or changes tables */
    char denied[160];      /* what the guard has refused */
};

/* Whoever waits for the file looks so often at least. */
#define PL__BUSY_SLEEP_MAX_US 5000

/* What a verb that is done in portions does at a time, in a transaction; others wait for it: what comes first. */
#define PL__PORTION_US 2000
#define PL__PORTION_ROWS 1000 /* deleted or changed */

/* ---- db.c ---- */
/* Runs SQL that has no parameters, waiting for locks. */
int pl__sql_execute(pl__conn_t *conn, const char *sql);
/* Whether locks of others are waited for, without end. */
int pl__sql_wait(pl__conn_t *conn, bool on);
/* The result of ours for one of SQLite's; the text of a failure is kept in the connection. */
int pl__sql_rc(pl__conn_t *conn, int sqlite_rc);
int pl__sql_prepare(pl__conn_t *conn, pl__sql_t id);
/*
 * Binds by format, one letter a parameter: i int64_t · z int64_t, NULL if 0 · d double · f double, NULL if 0 ·
 * m double, NULL if
 * below 0 · t pl_str_t as text · b pl_str_t as blob (absent: NULL). Values are borrowed until the statement is reset.
 */
int pl__sql_query(pl__conn_t *conn, pl__sql_t id, sqlite3_stmt **statement, const char *format, ...);
/* Steps: *row tells whether there is one; without one the statement is reset. */
int pl__sql_step(pl__conn_t *conn, sqlite3_stmt *statement, bool *row);
void pl__sql_end(sqlite3_stmt *statement);
/* One row into an item of the caller's kind; strings go to the arena. */
typedef int pl__sql_read_t(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, void *item);
/* An item is a pl_id_t: the first column. */
pl__sql_read_t pl__sql_read_id;
/* Reads the rows of a query into an array in the arena, of items of `size` bytes, and ends the query; NULL, with *len
 * 0, when there are none, or when *rc says what went wrong. */
void *pl__sql_list(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl__sql_read_t *read, size_t size,
                   size_t *len, int *rc);
/* Binds more parameters of a statement, from number `at` on. */
int pl__sql_bind(pl__conn_t *conn, sqlite3_stmt *statement, int at, const char *format, ...);
/* Query, one step, reset; *changes (may be NULL) = rows changed. */
int pl__sql_run(pl__conn_t *conn, pl__sql_t id, int *changes, const char *format, ...);
/* First column of the first row as an integer, `otherwise` without a row or NULL. */
int pl__sql_int(pl__conn_t *conn, pl__sql_t id, int64_t *value, int64_t otherwise, const char *format, ...);
/* A column copied into an arena; NULL stays absent. */
int pl__sql_str(sqlite3_stmt *statement, int column, pl__arena_t *arena, pl_str_t *out);

/* Whether the portions of this transaction have done enough. To be asked before the first step, for then it begins, and
 * after each one that may be long, such as that of a row with a value. In a session everything is one portion. */
bool pl__portion_over(pl__conn_t *conn);
/* ---- schedule.c ---- */
/* What the writer remembers of schedules, if that may be wrong. */
int pl__schedules_refresh(pl__conn_t *conn);

/* ---- ends.c, of schedules ---- */
/* Fires whose work has ended in this transaction are over, and the next ones may start. */
int pl__fires_flush(pl__conn_t *conn);
/* The next buffered fire of a schedule starts, if nothing runs and it is not paused. */
int pl__fires_release(pl__conn_t *conn, pl_id_t schedule);
/* The schedule goes: what is buffered is given up; with `abort`, what runs is aborted. */
int pl__fires_end(pl__conn_t *conn, pl_id_t schedule, bool abort);

/* ---- watch.c ---- */
/* The stage reached DONE or ABORTED in this transaction. */
int pl__note_final(pl__conn_t *conn, pl_id_t stage, pl_stage_state_t state);
/* The work `target`, which a fire may have started, has ended: DONE, FAILED or CANCELLED. See pl__fires_flush. */
int pl__note_over(pl__conn_t *conn, pl_id_t target, pl_fire_state_t state);
/* The tree of a stage whose run is under way, wherever, is aborted. */
int pl__note_abort(pl__conn_t *conn, pl_id_t stage) PL__MUST_USE;
/* Notes own runs under way whose trees another process has aborted. */
int pl__check_aborts(pl__conn_t *conn) PL__MUST_USE;
/* A durable function that is being executed, wherever, has news. */
int pl__note_news(pl__conn_t *conn, pl_id_t stage) PL__MUST_USE;
/* Notes those that are executed here, and had news from another process. */
int pl__check_news(pl__conn_t *conn) PL__MUST_USE;
int pl__watch_add(pl__conn_t *conn, pl_id_t stage) PL__MUST_USE;
bool pl__is_watched(const pl__conn_t *conn, pl_id_t stage);
void pl__watch_remove(pl__conn_t *conn, pl_id_t stage);

/* ---- clock.c ---- */
/* What time it is, for a transaction that has begun. The writer moves ends of durations if the wall clock was set. */
int pl__clock_read(pl__conn_t *conn);
/* The wall clock may have been set since a retry_at was worked out: it is moved by as much. */
void pl__clock_fit(pl__conn_t *conn, pl_op_t *op);

/* ---- queues.c ---- */
/* Makes the queue if there is none. */
int pl__queue_id(pl__conn_t *conn, pl_str_t name, int64_t *id);
int pl__queue_name(pl__conn_t *conn, int64_t id, pl__arena_t *arena, pl_str_t *name);
int pl__queues_load(pl__conn_t *conn);
/* Reads the settings again if another process may have changed them. */
int pl__queues_refresh(pl__conn_t *conn);
void pl__queues_free(pl__conn_t *conn);
/* *queue NULL: there is none, or it was removed. Borrows until queues are loaded again. */
int pl__queue_find(pl__conn_t *conn, pl_str_t name, pl__queue_t **queue);
/* NULL: not remembered. */
pl__queue_t *pl__queue_by_id(pl__conn_t *conn, int64_t id);
/* Six columns from number `column` on. */
pl_retry_t pl__retry_read(sqlite3_stmt *row, int column);

/* ---- pending.c ---- */
/* Tasks of conn->pending on their way into the table. A zeroed one is valid and empty. */
typedef struct {
    size_t tasks[PL__BULK_ROWS]; /* places in conn->pending */
    int states[PL__BULK_ROWS];
    int len;
} pl__rows_t;
int pl__task_push(pl__conn_t *conn, const pl__pending_t *task);
/* Whether payload and request, being long or beside limits of its own, go to a row of their own. */
bool pl__has_detail(const pl_task_new_t *queued);
/* Whether its row has nothing out of the ordinary, so that it can be written with others. */
bool pl__is_ordinary(const pl__pending_t *task);
int pl__rows_add(pl__conn_t *conn, pl__rows_t *rows, size_t task, int state);
/* Writes what is left. */
int pl__rows_flush(pl__conn_t *conn, pl__rows_t *rows);
/* Writes one that was pushed, in this state. */
int pl__task_insert(pl__conn_t *conn, const pl__pending_t *task, int state);
/* Number `i` of conn->pending is not claimed: it waits, or is ready. */
int pl__task_insert_unclaimed(pl__conn_t *conn, pl__rows_t *rows, size_t i);
/* Writes what was pushed, unclaimed: for verbs that look at tasks of this very transaction. */
int pl__task_flush(pl__conn_t *conn);
/* Whether a task with this eta has to wait; if so, that is noted. */
bool pl__task_waits(pl__conn_t *conn, pl_usec_t eta);

/* ---- add.c ---- */
/* Checks a new task without writing: task->rc. */
int pl__task_check(pl__conn_t *conn, pl_task_new_t *task);
int pl__task_new(pl__conn_t *conn, const pl_task_new_t *task);

/* ---- names.c ---- */
int pl__tombstone_put(pl__conn_t *conn, int64_t queue, pl_str_t name);
/* Deletes up to `limit` tombstones whose time is over, oldest first. */
int pl__names_expire(pl__conn_t *conn, int limit, int *deleted);
/* Deletes a task; its name becomes a tombstone. */
int pl__task_end(pl__conn_t *conn, pl_id_t task);
/* Deletes the callback tasks of a stage; their names become tombstones. */
int pl__task_end_of_stage(pl__conn_t *conn, pl_id_t stage, int *count);

/* ---- rows.c ---- */
/* Reads columns PL__TASK_COLUMNS. *has_detail: payload, request, deadline and retry are still to be read. */
int pl__task_read_row(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl_task_t *task, bool *has_detail);
/* What the task with task->id keeps in a row of its own. */
int pl__task_read_detail(pl__conn_t *conn, pl__arena_t *arena, pl_task_t *task);
/* The same, but for what of a payload is not shown. */
int pl__task_see_detail(pl__conn_t *conn, pl__arena_t *arena, pl_task_t *task);

/* ---- bulk.c ---- */
/* Ready tasks become claims of this worker, with this number. */
int pl__ids_claim(pl__conn_t *conn, int number, const pl_id_t *ids, size_t len);
/* Deletes tasks, 1 to PL__BULK_IDS, by a statement like TASKS_FINISH: those with this claim of ours. *changes: how many
 * there were. */
int pl__ids_finish(pl__conn_t *conn, pl__sql_t id, int claim, const pl_id_t *ids, size_t len, int *changes);

/* ---- claim.c ---- */
/* The end of a transaction: writes what was pushed, and claims what is asked for. */
int pl__claim_finish(pl__conn_t *conn, const pl__ask_t *ask, pl__arena_t *arena, pl__commit_result_t *turn);

/* ---- task.c ---- */
/* The fence: is this claim of the task still ours? *kind is the task's; *lost, unless it is NULL: whether it counts
 * workers that died of it. */
int pl__task_fence(pl__conn_t *conn, pl_id_t task, int claim, bool *ours, pl_task_kind_t *kind, bool *lost);
/* Gives a claimed task back, to run at eta; tries is added to its failed executions. */
int pl__task_delay(pl__conn_t *conn, pl_id_t task, pl_task_kind_t kind, pl_usec_t eta, int tries);
/* A claim of a dead worker was the last loss that the task may have: a failed try. */
/* *attempt says what it was; all but its strings, which are the connection's scratch, is plain. */
int pl__task_lose(pl__conn_t *conn, pl_id_t task, pl_task_kind_t kind, const pl_failure_t *failure,
                  pl_attempt_t *attempt);

/* ---- purge.c ---- */
/* Deletes all queued tasks of a queue, or what there is time for; their names become tombstones, or are forgotten. */
int pl__task_purge(pl__conn_t *conn, int64_t queue, bool forget_names, pl_steps_t *steps, bool *more);
/* Deletes a dead task. */
int pl__dead_forget(pl__conn_t *conn, pl_id_t task);
/* Deletes all dead tasks of a queue (0: of all), or what there is time for. */
int pl__dead_purge(pl__conn_t *conn, int64_t queue, pl_steps_t *steps, bool *more);
/* The ids of some dead tasks after `after`, in the scratch arena. */
int pl__dead_ids(pl__conn_t *conn, int64_t queue, pl_id_t after, const pl_id_t **ids, size_t *len);

/* ---- losses.c ---- */
/* What the worker `owner`, which is dead, had claimed goes back, or has failed: such attempts are put before those of
 * op->u.rescue.lost. *count: how many tasks. */
int pl__tasks_lose(pl__conn_t *conn, pl_op_t *op, pl_id_t owner, pl_str_t worker, int *count);
/* Of the tasks that are executed alone, the next of each queue becomes ready. */
int pl__tasks_promote_alone(pl__conn_t *conn);

/* ---- limits.c ---- */
/* What is in the bucket of a queue with a rate. */
int pl__limits_tokens(pl__conn_t *conn, const pl__queue_t *queue, double *tokens);
/* What a pause and a rate let start: all of *gates but for the concurrency. */
int pl__limits_ask(pl__conn_t *conn, const pl__queue_t *queue, pl_gates_t *gates);
/* `taken` of the `allowed` were claimed: takes their tokens, and notes what is held back. */
int pl__limits_spend(pl__conn_t *conn, const pl__queue_t *queue, int allowed, int taken);
/* So many tasks of the queue are being executed now. */
void pl__limits_note(pl__conn_t *conn, pl__queue_t *queue, int started);
/* Counts what was claimed for the statistics. */
int pl__limits_count(pl__conn_t *conn);

/* ---- permits.c ---- */
/* How many tasks of a queue with max_concurrent may be claimed now; *free may be below 0. */
int pl__permits_ask(pl__conn_t *conn, pl__queue_t *queue, int64_t *free);
/* How many places of the limit all workers have together. */
int pl__permits_used(pl__conn_t *conn, int64_t queue, int64_t *used);
/* After pl__permits_ask so many tasks were claimed; is_short: it would have been more but for the limit. */
int pl__permits_settle(pl__conn_t *conn, pl__queue_t *queue, bool is_short, int claimed);
/* Whoever has claimed tasks of the queue ahead is to give back what it has not started. */
int pl__permits_recall(pl__conn_t *conn, int64_t queue);
/* At the end of a transaction that may have claimed: gives up permits that are not needed, lists turn->recalls. */
int pl__permits_finish(pl__conn_t *conn, pl__arena_t *arena, pl__commit_result_t *turn);

/* ---- dead.c ---- */
/* A task has no retries left: it is kept with its last error, its name is a tombstone. */
int pl__task_die(pl__conn_t *conn, pl_id_t task, const pl_failure_t *failure, int status, int tries);

/* ---- stage.c ---- */
/* Ascending, for qsort and bsearch over pl_id_t. */
int pl__compare_ids(const void *a, const void *b);
/* Its row may be written later, together with others: by pl__stage_rows_flush, before anything looks for it. */
int pl__stage_insert(pl__conn_t *conn, const pl_stage_new_t *stage, pl_id_t root, pl_id_t parent, int missing,
                     pl_id_t waiter);
int pl__stage_rows_flush(pl__conn_t *conn);
/* *found false: no such stage. */
int pl__stage_load(pl__conn_t *conn, pl_id_t id, bool with_status, pl__arena_t *arena, pl_stage_t *stage, bool *found);
int pl__stage_read_row(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl_stage_t *stage);
int pl__stage_read_large(pl__conn_t *conn, pl__arena_t *arena, pl_stage_t *stage);
/* That of its root, if it has PL_STAGE_TRACED. */
int pl__stage_read_trace(pl__conn_t *conn, pl__arena_t *arena, pl_stage_t *stage);
int pl__slots_load(pl__conn_t *conn, const pl_stage_t *stages, size_t len, bool with_inputs, bool with_outputs,
                   pl__arena_t *arena, const pl_slot_t **slots, size_t *slots_len);
/* Its record and slots, into the arena; nothing if it is deleted already, or no longer what the event says. */
int pl__stage_read_final(pl__conn_t *conn, pl__arena_t *arena, pl_watch_event_t *final);

/* ---- edge.c ---- */
/* A leaf has ended with this value, borrowed from its op: a claim of this transaction may need it. */
void pl__result_note(pl__conn_t *conn, pl_id_t slot, pl_str_t value);
bool pl__result_find(const pl__conn_t *conn, pl_id_t slot, pl_str_t *value);
/* The ops are gone. */
void pl__results_forget(pl__conn_t *conn);
int pl__slot_is_filled(pl__conn_t *conn, pl_id_t slot, bool *filled);
/* Who waits for the slot: a stage, as an input; 0: nobody; PL__WAITERS: pl_wait tells. */
int pl__edge_waiter(pl__conn_t *conn, pl_id_t slot, pl_id_t *waiter);
int pl__edge_set_waiter(pl__conn_t *conn, pl_id_t slot, pl_id_t waiter);
/* The stage waits for the slot, which is not filled. *added 0: it did already. */
int pl__edge_add(pl__conn_t *conn, pl_id_t slot, pl_id_t stage, int kind, int *added);
/* The same for a slot whose waiters are in pl_wait. *added (may be NULL). */
int pl__wait_add(pl__conn_t *conn, pl_id_t slot, pl_id_t stage, int kind, int *added);

/* ---- claimed.c ---- */
/* Sets the stage of a claim, and the slots that its execution needs; claim->stage stays NULL if there is none. */
int pl__stage_of_claim(pl__conn_t *conn, pl_claim_t *claim, pl_id_t id);

/* ---- delete.c ---- */
/* Whether nobody is to find this stage any more: its tree is being deleted. */
int pl__stage_is_deleted(pl__conn_t *conn, pl_id_t root, bool *is_deleted);
/* As pl__stage_load, for whoever asks from outside: what is being deleted is not found. */
int pl__stage_find(pl__conn_t *conn, pl_id_t id, bool with_status, pl__arena_t *arena, pl_stage_t *stage, bool *found);
enum { PL__TREE_LOOKING = 0, PL__TREE_DELETING = 1 }; /* phases of its steps */
/* Deletes the tree of a root, or what there is time for. *live: some of it is, and nothing was done. */
int pl__tree_delete(pl__conn_t *conn, pl_id_t root, pl_steps_t *steps, bool *live, bool *more);

/* ---- work.c ---- */
enum { PL__FRONTS = 20 };
/* The first tasks of a queue, in the order in which they are claimed; ids are borrowed from conn->scratch. */
typedef struct {
    int64_t queue;
    const pl_id_t *ids;
    size_t len;
} pl__front_t;
/* Those met so far in a transaction. A zeroed one is valid and empty. */
typedef struct {
    pl__front_t list[PL__FRONTS];
    size_t len;
} pl__fronts_t;
/* Sets stage->work; tasks that were pushed must have been written (pl__task_flush). */
int pl__work_read(pl__conn_t *conn, pl_stage_t *stage, pl__arena_t *arena, pl__fronts_t *fronts);

/* ---- view/ ---- */
/* Sets stage->tally; what it has counted is taken from *budget. */
int pl__tally_read(pl__conn_t *conn, pl_stage_t *stage, pl__arena_t *arena, int *budget);
/* A row of PL__SEEN_TASK. */
int pl__seen_read(pl__conn_t *conn, sqlite3_stmt *row, pl__arena_t *arena, pl_seen_task_t *task);
int pl__workers_list(pl__conn_t *conn, pl__arena_t *arena, const pl_worker_t **list, size_t *len);

/* ---- flow.c ---- */
int pl__stage_fill(pl__conn_t *conn, pl_id_t filler, const pl_fill_t *fill);
/* A stage has filled its default slot as it ended: its row has the value, and no waiter any more; `waiter` was it. */
int pl__stage_filled_own(pl__conn_t *conn, pl_id_t stage, pl_id_t waiter);
/* Writes the gathered deltas, after rows that wait for others: for verbs that look at states or counters, and at the
 * end of a transaction. */
int pl__deltas_flush(pl__conn_t *conn);
/* A stage that settled without a finalized(): one less for its parent to wait for. */
int pl__stage_settled(pl__conn_t *conn, pl_id_t parent);
/* The outputs of the stage are filled and its children have settled: finalize or complete it, tell its parents. */
int pl__stage_settle(pl__conn_t *conn, pl_id_t id, pl_id_t parent, const pl__move_t *move, unsigned flags,
                     int64_t queue, int priority);
int pl__stage_set_final(pl__conn_t *conn, pl_id_t id, pl_stage_state_t state);
/* Into a state on the way to ABORTED. */
int pl__stage_to_abort(pl__conn_t *conn, pl_id_t id, pl_stage_state_t state, unsigned clears, unsigned sets);
/* One stage without a claimed task, asking nobody: ABORTING with a task, or ABORTED when there is no finalized(). */
int pl__stage_abort_now(pl__conn_t *conn, pl_id_t id, pl_stage_state_t state, unsigned flags, int64_t queue,
                        int priority);
/* A stage with these flags is final: what is above it may have waited for that. */
int pl__stage_ended(pl__conn_t *conn, pl_id_t id, unsigned flags, pl_stage_state_t state);
/* How far an abort of the stage reaches: to the nearest scope, itself included, or the root. 0: no such stage. */
int pl__stage_scope(pl__conn_t *conn, pl_id_t stage, pl_id_t *scope);
/* Makes every stage of the tree final, ABORTED, at once: nobody is asked, and what is being executed is told. */
int pl__stage_end_tree(pl__conn_t *conn, pl_id_t root, pl_str_t message);
/* The same of a stage and what is below it, which must have been written; and of a scope that is not the root. */
int pl__stage_end_part(pl__conn_t *conn, pl_id_t root, pl_id_t top);
int pl__stage_end_scope(pl__conn_t *conn, pl_id_t root, pl_id_t scope, pl_str_t message);
/* Requests the abort on the root and carries it to every live stage; `permitted` need not ask its try_cancel. */
int pl__stage_abort_tree(pl__conn_t *conn, pl_id_t root, pl_str_t message, pl_id_t permitted);
/* The same of a scope that is not the root. */
int pl__stage_abort_scope(pl__conn_t *conn, pl_id_t root, pl_id_t scope, pl_str_t message, pl_id_t permitted);
/* Aborts the stage `top` and all that is below it, up to the id `last`; what was pushed must have been written. */
int pl__stage_abort_part(pl__conn_t *conn, pl_id_t root, pl_id_t top, pl_id_t last, pl_id_t permitted);
int pl__failure_add(pl__conn_t *conn, pl_id_t stage, const pl_failure_t *failure);

/* ---- failed.c ---- */
/* The stage has failed for good: aborts its tree, or its scope, or takes the fallback that is nearer. */
int pl__stage_fail(pl__conn_t *conn, pl_id_t root, pl_id_t stage, pl_str_t message);

/* ---- journal/ ---- */
/* A durable stage was inserted; its row must have been written. */
int pl__flow_add(pl__conn_t *conn, const pl_stage_new_t *stage);
/* News have come to a durable function, if it is one: wakes it if it is suspended, or sees to it that it looks. */
int pl__flow_wake(pl__conn_t *conn, pl_id_t stage);
typedef struct {
    bool found, is_dirty;
    pl_flow_mode_t mode;
    int64_t mails, posted, next;
    pl_cancel_t cancel;
    pl_str_t wants; /* in conn->scratch */
} pl__flow_state_t;
int pl__flow_state(pl__conn_t *conn, pl_id_t stage, pl__flow_state_t *state);
/* As pl__flow_wake, of one in this state; `wanted`: it has asked for this. */
int pl__flow_tell(pl__conn_t *conn, pl_id_t stage, const pl__flow_state_t *state, bool wanted);
/* When its task, which it gets now, is due: not while it is held. */
int pl__flow_due(pl__conn_t *conn, pl_id_t stage, pl_usec_t *eta);
/* Its task is ready from now on; *woken false: it was not delayed. */
int pl__flow_wake_task(pl__conn_t *conn, pl_id_t stage, bool *woken);
/* Its stage is final; or, with `again`, goes on after an abort of its tree. */
int pl__flow_over(pl__conn_t *conn, pl_id_t stage);
int pl__flow_again(pl__conn_t *conn, pl_id_t stage);

/* The journal of one that is over goes, and its mails; its values and streams stay, and that it was there is known. */
int pl__flow_forget(pl__conn_t *conn, pl_id_t stage);

/* Forgets journals that are old enough. *more: the portion is over before the round is. */
int pl__journals_sweep(pl__conn_t *conn, pl__sweep_t *sweep, bool *more);

/* How old the youngest journals are that go; below 0: none does. */
pl_usec_t pl__journals_age(const pl__conn_t *conn);

/* *due: when the next journal is old enough, which may have passed; PL_USEC_NEVER: there is none. */
int pl__journals_due(pl__conn_t *conn, const pl__sweep_t *sweep, pl_usec_t *due);
/* Its task, which is nobody's any more, waits without end. */
int pl__flow_hold(pl__conn_t *conn, pl_id_t stage, pl_str_t reason);
/* The same as soon as nothing of it is at work: its task is claimed. And: one that was held goes on. */
int pl__flow_ask_hold(pl__conn_t *conn, pl_id_t stage, pl_str_t reason);
int pl__flow_let_go(pl__conn_t *conn, pl_id_t stage);
int pl__flow_ask(pl__conn_t *conn, pl_id_t stage, bool *asked); /* to abort; *asked: it has begun, and is told */
/* Who was told to abort, or failed and has a fallback: the stage, or the nearest above; not *is_asked: nobody. */
int pl__flow_asker(pl__conn_t *conn, pl_id_t stage, pl__arena_t *arena, bool *is_asked, pl_str_t *message);
int pl__flow_cancel(pl__conn_t *conn, pl_id_t stage, pl_cancel_t *cancel); /* put back: it is ready again */
int pl__flow_put_back(pl__conn_t *conn, pl_id_t stage);
/* A scope, or a function, is final: who waits for that above it is told. */
int pl__flow_tell_above(pl__conn_t *conn, pl_id_t stage, unsigned flags);
/* It begins anew, with these arguments and an empty journal. */
int pl__flow_continue(pl__conn_t *conn, pl_id_t stage, pl_str_t args);
/* All that is kept of it but its stage. */
int pl__flow_delete(pl__conn_t *conn, pl_id_t stage);
/* What a durable function writes, whose claim is ours. It has been checked (task/add.h). */
/* Inserts children of a run: pl__run_spawn. */
typedef int pl__spawn_t(pl__conn_t *conn, pl_id_t stage, pl_id_t root, unsigned flags, pl_stage_new_t *children,
                        size_t len);
int pl__journal_write(pl__conn_t *conn, pl_id_t stage, pl_id_t root, unsigned flags, const pl_journal_t *journal,
                      pl__spawn_t *spawn);

/* Posts a mail; mail->rc says whether. */
int pl__mail_post(pl__conn_t *conn, pl_mail_new_t *mail);
/* What it shows from now on, and whom it writes. */
int pl__shown_write(pl__conn_t *conn, pl_id_t stage, const pl_journal_t *journal);

/* ---- outcome.c ---- */
/* Whether a claim of a run is ours and its stage READY: *rc is PL_OK, PL_ESTALE, or PL_EABORTED: then it was ended. */
int pl__run_check(pl__conn_t *conn, pl_id_t stage, int claim, int *rc, pl_id_t *root, unsigned *flags, bool *lost);
/* Inserts the children of a run that is at work. */
int pl__run_spawn(pl__conn_t *conn, pl_id_t stage, pl_id_t root, unsigned flags, pl_stage_new_t *children, size_t len);
/* The op is the outcome of a run without children that filled its outputs: the commonest of all, and applied together
 * with others, later. */
bool pl__is_leaf(const pl_op_t *op);
/* Applies those that have come. Others would not see what they did. */
int pl__leaves_flush(pl__conn_t *conn);
/* As pl__task_lose, for a task of the stage's own life. Its number stays 0 if it is to be aborted instead. */
int pl__stage_lose(pl__conn_t *conn, pl_id_t id, pl_task_kind_t kind, const pl_failure_t *failure,
                   pl_attempt_t *attempt);

/* ---- worker.c ---- */
/* Whether the process of the worker with that number has ended, as far as the system can tell. */
bool pl__worker_is_gone(pl__conn_t *conn, int number);
/* If it is time to. `next`: when it wants to come back, monotonic us. Failures are logged. */
void pl__worker_renew(pl__conn_t *conn, pl__run_t *run, int64_t *next);
/* Claims are about to be made: the worker exists and its lease is fresh. */
int pl__worker_ensure(pl__conn_t *conn);

/* ---- driver.c ---- */
extern const pl__verbs_t pl__sqlite_verbs;

/* ---- schema.c ---- */
/* PL_ESCHEMA: the text of the file is not in UTF-8. */
int pl__schema_encoding(pl__conn_t *conn);
/* Brings the schema up to date, and compares it. PL_ENEWER, PL_ESCHEMA: nothing was changed. */
int pl__schema_require(pl__conn_t *conn); /* PL_ESCHEMA: the file has no table of ours */
int pl__schema_open(pl__conn_t *conn, pl_error_t *error);
/* In a transaction: compares again if the schema has changed since. */
int pl__schema_refresh(pl__conn_t *conn);
/* What was found; sets *stop when that is enough. */
typedef int pl__schema_found_t(void *data, const char *text, bool *stop);
int pl__schema_compare(pl__conn_t *conn, pl__schema_found_t *found, void *data);

/* ---- guard.c ---- */
int pl__guard_open(pl__conn_t *conn);
/* From here on (until `on` is false) statements are the user's. */
void pl__guard_set(pl__conn_t *conn, bool on);
/* While a statement of a user runs, the heap of SQLite is limited. */
void pl__guard_heap(bool on);
/* A session begins: what it takes is measured from here. */
void pl__guard_session(pl__conn_t *conn);
/* How many things in the schema have names that are ours; for a comparison. */
int pl__guard_count_names(pl__conn_t *conn, int64_t *ours);
/* The name of a table of the user's, cut to `size`, that has a foreign key to one of ours; "": there is none. */
int pl__guard_find_key(pl__conn_t *conn, char *table, size_t size);

/* ---- guard_functions.c ---- */
int pl__guard_functions(pl__conn_t *conn);

/* ---- verbs, one function each ---- */
#define X(name, write, offer) int pl__verb_##name(pl__conn_t *conn, pl_op_t *op);
PL_VERBS(X)
#undef X

/* ---- backup.c ---- */

typedef struct pl__backup pl__backup_t;
/* Gives up what is under way (`abandoned`: only what nobody has gone on with for a minute), and deletes what there
 * is of it. */
void pl__backup_drop(pl__conn_t *conn, bool abandoned);

/* ---- files.c: the files of a database ---- */

/* Makes the file if it is not there, for its owner alone unless options say otherwise. A file that is there keeps its
 * permissions, and what is wrong with the path SQLite says. */
void pl__file_create(const pl_store_options_t *options);
/* After SQLite has opened it: learns its real name and holds it (PL_EBUSY: it is open under another one). `writer`, of
 * the same store, if this is another connection beside it. */
int pl__file_opened(pl__conn_t *conn, const pl__conn_t *writer);
/* Before anything is written: whether the file may be opened by this name (PL_EBUSY, PL_EGONE: not). */
int pl__file_check_home(pl__conn_t *conn);
/* After it was read and written: this is its home, and these are its files. */
int pl__file_settle(pl__conn_t *conn);
/* Whether what is open is still what its names lead to: PL_OK, or PL_EGONE. _again: unless that was seen just now. */
int pl__file_check(pl__conn_t *conn);
int pl__file_check_again(pl__conn_t *conn);
/* Before SQLite closes it, and after. */
void pl__file_closing(pl__conn_t *conn);
void pl__file_closed(pl__conn_t *conn);

#endif
