/*
 * op.h - the verbs of a store, and ops: a verb with its arguments and room for its result, as one block of memory.
 *
 * Ownership. An op belongs to the caller until submitted, to the store until handed back, then to the caller again,
 * who frees it with pl_op_free. Strings and arrays in an op are borrowed from its own arena (or from memory that
 * outlives it). Results point into the op's arena.
 */
#ifndef PL_STORE_OP_H
#define PL_STORE_OP_H

#include "base/memory.h"
#include "base/result.h"
#include "store/durable/journal.h"
#include "store/model.h"
#include "store/schedule.h"
#include "store/view/roots.h"
#include "store/view/seen.h"

/*
 * Trees. An op on a stage has `root`, that of its tree, so that a driver can take the locks of all trees of a list, in
 * one order, before it does anything else. Who ends a claim knows it; 0: not known, the driver looks it up. The id of a
 * child is greater than that of its parent, and so than that of the root: an op that says otherwise is refused before
 * any driver sees it (PL_EINVAL).
 */

/* ---- verbs ------------------------------------------------------------------------------------------------- */

/* X(name, is_write, offer). Reads go to a second connection and never queue behind writes. `offer`: a host gives its
 * users the verb as it is, on the ENGINE, within a SESSION, or on BOTH; it does so in a way of its own (BY_HAND); or
 * the engine uses it alone (OWN). */
#define PL_VERBS(X)                                                                                                    \
    X(start, true, BOTH)        /* create roots */                                                                     \
    X(outcome, true, BY_HAND)   /* end one execution of run() */                                                       \
    X(finalized, true, BY_HAND) /* end one execution of finalized(), or of an abort */                                 \
    X(task_done, true, BY_HAND) /* end one execution of a task that is not of a stage's own life */                    \
    X(tasks_done, true, OWN)   /* end executions that went well, of tasks with neither a name nor rows of their own */ \
    X(task_add, true, BOTH)    /* add tasks */                                                                         \
    X(fill, true, BOTH)        /* fill slots of a stage from outside */                                                \
    X(retry, true, BOTH)       /* run an async stage again */                                                          \
    X(abort, true, BOTH)       /* abort the tree of a stage */                                                         \
    X(resume, true, BOTH)      /* let an aborted tree go on */                                                         \
    X(status, true, BOTH)      /* replace the status record of a stage */                                              \
    X(cleanup, true, BOTH)     /* delete a finished tree */                                                            \
    X(release, true, OWN)      /* give claimed tasks back, spending nothing */                                         \
    X(rescue, true, OWN)       /* return the tasks of dead workers */                                                  \
    X(watch, true, ENGINE)     /* report when a stage becomes final */                                                 \
    X(join, true, OWN)         /* become a worker */                                                                   \
    X(leave, true, OWN)        /* stop being one */                                                                    \
    X(meta, true, BOTH)        /* read or write settings */                                                            \
    X(stage_get, false, BOTH)  /* one stage with its slots */                                                          \
    X(tree_get, false, BOTH)   /* all stages and slots of a root */                                                    \
    X(tree_page, false, BOTH)  /* some stages of a root, and how to go on */                                           \
    X(roots_list, false, BOTH) /* roots, newest first */                                                               \
    X(ids_find, false, BOTH)   /* stages whose ids are in a range */                                                   \
    X(tasks_find, false, BOTH) /* tasks by state, with what they are */                                                \
    X(queues_seen, false, BOTH)                                                                                        \
    X(workers_get, false, BOTH)                                                                                        \
    X(roots_find, false, BOTH) /* roots with filters, newest first, or their numbers */                                \
    X(roots_over, false, BOTH) /* how many have ended within a time */                                                 \
    X(why_get, false, BOTH)    /* what keeps a stage or a task from starting */                                        \
    X(counts_get, false, BOTH) /* tasks by queue and state */                                                          \
    X(failures_get, false, BOTH)                                                                                       \
    X(check, false, ENGINE)       /* what is wrong in the file? */                                                     \
    X(repair, true, ENGINE)       /* mend what a check has found */                                                    \
    X(claim_check, false, ENGINE) /* is a task being executed under this claim? */                                     \
    X(backup, false, ENGINE)      /* copy some more pages of the store into another file */                            \
    X(queue_set, true, BOTH)      /* make queues, change their settings, remove them */                                \
    X(queue_get, false, BOTH)     /* settings */                                                                       \
    X(queue_stats, false, BOTH)                                                                                        \
    X(lease, true, BOTH)           /* hand out tasks of a pull queue for a while */                                    \
    X(lease_modify, true, BOTH)    /* move the end of a lease */                                                       \
    X(task_delete, true, BOTH)     /* delete tasks by id or name */                                                    \
    X(purge, true, BOTH)           /* delete all tasks of a queue */                                                   \
    X(dead_list, false, BOTH)      /* tasks that have no retries left */                                               \
    X(dead_revive, true, BOTH)     /* give them another life */                                                        \
    X(dead_purge, true, BOTH)      /* forget them */                                                                   \
    X(sweep, true, ENGINE)         /* delete what is older than it is kept */                                          \
    X(space_get, false, BOTH)      /* how large the store is, and what may go */                                       \
    X(tables_get, false, ENGINE)   /* how much of it each table takes */                                               \
    X(schedule_set, true, BOTH)    /* write schedules; those a source declares no longer go */                         \
    X(schedule_delete, true, BOTH) /* forget one */                                                                    \
    X(schedule_fire, true, BOTH)   /* the time of one has come */                                                      \
    X(schedule_get, false, BOTH)                                                                                       \
    X(fires_get, false, BOTH)                                                                                          \
    X(journal, true, BY_HAND)   /* write the journal of a durable function that is being executed */                   \
    X(suspend, true, BY_HAND)   /* the same, and it waits */                                                           \
    X(signal, true, BOTH)       /* send mails to durable functions */                                                  \
    X(flow_set, true, BOTH)     /* hold one, or let it go on */                                                        \
    X(journal_get, false, BOTH) /* one, some of its entries, and its news */                                           \
    X(shown_get, false, BOTH)   /* its values, streams, answers */                                                     \
    X(fork, true, BOTH)         /* a new one with the entries of another */                                            \
    X(flows_get, false, BOTH)   /* how many there are */                                                               \
    X(flows_list, false, BOTH)  /* which are not over */                                                               \
    X(tx_begin, true, OWN)      /* open a session: a transaction over many ops */                                      \
    X(tx_end, true, OWN)        /* commit it, or roll it back */                                                       \
    X(sql, true, SESSION)       /* the user's own SQL, in a session */

typedef enum {
#define X(name, write, offer) PL_VERB_##name,
    PL_VERBS(X)
#undef X
        PL_VERB_COUNT
} pl_verb_t;

/*
 * How far an op has come that is done in portions: each is a transaction of its own, and others have their turns
 * between them. What a portion does is told by `now`; `last` is what the portions before it, which are committed, left,
 * and where this one begins anew if its transaction breaks. See pl__op_steps.
 */
typedef struct {
    int64_t count;     /* of what is deleted, or revived */
    int64_t at, bound; /* the verb's */
    int phase, mark;   /* the verb's; phase 0: at the beginning */
} pl_steps_t;
typedef struct {
    pl_steps_t now, last;
    int portion; /* which one `now` is of */
} pl_progress_t;

/* start: PL_OK and an rc in each item. */
typedef struct {
    pl_stage_new_t *stages;
    size_t len;
} pl_op_start_t;

/* An attempt that the store itself has recorded as failed: no code of it could tell. For the log. */
typedef struct pl_attempt {
    struct pl_attempt *next;
    pl_id_t task; /* the id of the stage, too, of kinds of a stage's own life */
    pl_task_kind_t kind;
    pl_str_t class_path, queue; /* of a stage; of another task */
    int number, max;            /* which attempt, from 1, of how many; max 0: as its retry parameters say */
    bool is_last;
    bool goes_on;    /* the last one of a run, but a fallback was taken: the rest of its tree goes on */
    pl_usec_t again; /* when it runs again, unless it was the last one */
    pl_str_t problem;
    int rc; /* outcome: of the op, as long as this holds */
} pl_attempt_t;

typedef enum {
    PL_OUTCOME_OK,
    PL_OUTCOME_FAILED,
    PL_OUTCOME_ABORT,
    PL_OUTCOME_HELD,
    PL_OUTCOME_CONTINUE
} pl_outcome_kind_t;

/*
 * outcome of run().
 *   OK      fills, children and tasks become real. With children, or async: RUN, else the outputs are complete and
 *           the stage settles. An async stage settles when every output is filled and its children have settled.
 *   FAILED  nothing of the run becomes real; a failure is recorded; READY again at retry_at, or, when attempts are
 *           used up (give_up), the whole tree is aborted with abort_message (G2).
 *   ABORT   nothing of the run becomes real; the whole tree is aborted with abort_message (this stage needs no
 *           permission from try_cancel, G4).
 *           Both: where this stage or one above it has a fallback, only the part of the tree from the nearest such
 *           stage on is aborted, and its unfilled outputs get that value. A scope that is nearer is aborted alone.
 *   HELD    of a durable function: it is held, for `retry_message`, until it is let go on (flow_set).
 *           One that is to be aborted is so.
 *   CONTINUE of a durable function: it begins anew with `args`, and an empty journal: the next era. Mails and what is
 *           below it stay.
 * A durable function has its last entries in `journal`, whatever the kind; what is in there becomes real with it. Where
 * an abort was asked for meanwhile, and it has not been told, OK and CONTINUE do nothing more (PL_EABORTED), and it is
 * ready again. ABORT without abort_message: that of whoever has asked for the abort holds; with force all that is
 * below it is ABORTED, too, at once.
 * A task that cannot be added (EEXISTS, ETOMBSTONE, ENOTFOUND, ESTATE in rc) makes of it a failed attempt: `refused`.
 * So does, whatever the kind, a task of `journal` that cannot be, or a root in it whose key is taken (EEXISTS).
 * If an abort was requested meanwhile the outcome is refused (PL_EABORTED) and the stage is aborted instead.
 * With retry_task (class not loadable, P93) no attempt is counted: the task itself is retried at retry_at.
 */
typedef struct {
    pl_id_t stage, root; /* root: set by the engine */
    int claim;
    bool knows_parent; /* parent is that of the stage (0: a root); set by the engine, saves reading it */
    pl_id_t parent;
    pl_outcome_kind_t kind;
    unsigned flags;         /* of the class as it was run; replaces those stored */
    const pl_fill_t *fills; /* ascending by slot */
    size_t fills_len;
    pl_stage_new_t *children; /* in the order spawned */
    size_t children_len;
    pl_task_new_t *tasks; /* transactional tasks */
    size_t tasks_len;
    pl_failure_t failure;         /* FAILED, ABORT: class, message, traceback; ABORT: without a class there is none */
    const pl_failure_t *failures; /* ABORT: more of them */
    size_t failures_len;
    bool force; /* ABORT: at once, and all that is below it */
    bool give_up, retry_task;
    pl_usec_t retry_at;
    pl_str_t retry_message; /* FAILED: as the status tree shows it */
    pl_str_t abort_message;
    const pl_journal_t *journal; /* of a durable function; NULL: none */
    pl_str_t args;               /* CONTINUE */
    const pl_attempt_t *refused; /* result; counts if its rc is that of the op */
} pl_op_outcome_t;

typedef enum {
    PL_FINALIZED_OK,
    PL_FINALIZED_FAILED, /* finalized() raised: again at retry_at; or, with give_up, final all the same */
    PL_FINALIZED_HELD    /* ABORT only: try_cancel refused */
} pl_finalized_kind_t;

typedef struct {
    pl_id_t stage, root; /* root: set by the engine */
    int claim;
    pl_finalized_kind_t kind;
    bool give_up;
    pl_usec_t retry_at;
    pl_failure_t failure;
} pl_op_finalized_t;

/*
 * task_done: the task is gone and its name a tombstone; or, if it failed, it runs again at retry_at. With retry_at 0
 * the retry parameters of the task and its queue say when; a task that has no retries left, or with give_up, is dead.
 */
typedef struct {
    pl_id_t task;
    int claim;
    bool failed, give_up;
    pl_usec_t retry_at;
    int status;                /* FAILED: status of the answer; 0: there was none */
    pl_usec_t took;            /* set by the engine: how long this try took */
    bool is_plain, has_detail; /* set by the engine: as the claim says */
    pl_failure_t failure;
    bool died;       /* results */
    pl_usec_t again; /* FAILED: when it runs again; 0: it died */
} pl_op_task_done_t;

typedef struct {
    pl_id_t task;
    struct pl_event *event; /* the engine's: what is told of it; NULL: nothing */
    int claim;
    uint8_t kind;    /* the engine's: pl_task_kind_t */
    bool has_detail; /* as its claim says */
    bool refused;    /* result */
} pl_end_t;

/* tasks_done: the tasks are gone. PL_ESTALE: some were not this worker's any more, and are as they were. */
typedef struct {
    pl_end_t *ends;
    size_t len;
    size_t size;    /* the caller's: room in ends */
    bool singly;    /* the store's: a statement for each, since one for many was refused */
    size_t refused; /* result: how many */
} pl_op_tasks_done_t;

/* task_add: PL_OK and an rc in each item; with all_or_none, the first rc of an item that failed and nothing added. */
typedef struct {
    pl_task_new_t *tasks;
    size_t len;
    bool all_or_none;
} pl_op_task_add_t;

/* fill: PL_ENOTFOUND (no such stage), PL_EFINAL (done or aborted; ABORT_HELD becomes aborted, PL_EABORTED). */
typedef struct {
    pl_id_t stage, root;
    const pl_fill_t *fills;
    size_t fills_len;
} pl_op_fill_t;

/* retry: PL_ELIMIT past max_attempts, PL_ESTATE if not an async stage in RUN. */
typedef struct {
    pl_id_t stage, root;
    pl_usec_t retry_at;
    pl_str_t message;
} pl_op_retry_t;

/* abort: PL_OK if the signal was taken; PL_ENOTFOUND, PL_EFINAL (the root, or the scope of the stage, is final),
 * PL_EEXISTS (already requested). What is aborted is the tree; of a stage in a scope (PL_STAGE_SCOPE), that. A durable
 * function that has begun is asked, and sees to what is below it. With `force` nobody is asked: all of it is ABORTED.
 * */
typedef struct {
    pl_id_t stage, root; /* stage: any member of the tree */
    pl_str_t message;
    bool no_permission; /* do not ask this stage's try_cancel again */
    bool force;
} pl_op_abort_t;

/* resume: the tree goes on from where its abort found it: what was not done runs again, with all its attempts; what was
 * filled stays so. PL_ENOTFOUND; PL_ESTATE: it is not aborted; PL_ELIVE: it is, but some stage of it is not final. */
typedef struct {
    pl_id_t stage, root; /* stage: any member of the tree */
    bool only_asks;      /* nothing is done: whether it could be */
    int64_t stages;      /* result: how many go on */
} pl_op_resume_t;

typedef struct {
    pl_id_t stage;
    pl_status_t status;
} pl_op_status_t;

/* cleanup, in portions: PL_ENOTFOUND, PL_ELIVE (the tree still runs), PL_ESTATE (not a root). From the first portion on
 * that deletes anything, nobody finds the tree any more; one that is begun is ended by the sweep if need be. */
typedef struct {
    pl_id_t root;
    int64_t deleted; /* result: rows */
    pl_progress_t progress;
} pl_op_cleanup_t;

typedef struct {
    const pl_id_t *tasks;
    const int *claims;
    size_t len;
    pl_usec_t delay; /* until they are ready again */
} pl_op_release_t;

/* rescue: returns the tasks of every other worker that is gone. If the driver can prove that, it is so at once; else,
 * or for one that lives, when its lease has run out while it held claims and is not renewed at the next rescue either,
 * half a second later or more: until then it is a suspect. */
typedef struct {
    pl_id_t id;
    int number;
    int64_t pid;
    bool is_gone; /* and was removed just now */
} pl_peer_t;
typedef struct {
    int workers; /* results: workers removed, tasks returned, other workers left */
    int tasks;
    int others;
    int suspects;       /* of the others: ask again in half a second */
    pl_attempt_t *lost; /* result: attempts that have failed, for too many workers died of them: a list */
    pl_peer_t *peers;   /* result: all other workers, and those that were; a driver need not tell */
    size_t peers_len;
} pl_op_rescue_t;

/* watch: state of the stage now; if not final, a pl_watch_event_t will come with a later batch. */
typedef struct {
    pl_id_t stage;
    pl_str_t key; /* look up by idempotence key instead */
    bool unwatch;
    pl_stage_state_t state;
} pl_op_watch_t;

typedef struct {
    pl_str_t host;
    int64_t pid;
    pl_str_t version; /* of the program; borrowed for as long as the store is open */
    bool is_idle;     /* it executes nothing */
    int number;       /* in: try this one first; result: one that no other worker has, in 0 … PL_IDS_WORKERS-1 */
    pl_id_t worker;   /* result: incarnation */
    pl_id_t floor;    /* result: greatest id in the file */
    int others;       /* result: other workers on the file */
} pl_op_join_t;

typedef struct {
    pl_str_t key;
    bool write;     /* set to value; else read */
    bool if_absent; /* write only if there is none; value then tells what is there */
    pl_str_t value; /* in / result */
} pl_op_meta_t;

typedef struct {
    pl_id_t stage; /* or, when 0, by key */
    pl_str_t key;
    bool with_slots;
    bool with_work;         /* what it waits for, and the tally of what is below it */
    pl_stage_t *result;     /* NULL: none */
    const pl_slot_t *slots; /* inputs and outputs, ascending */
    size_t slots_len;
} pl_op_stage_get_t;

typedef struct {
    pl_id_t stage; /* any member; or, when 0, by key */
    pl_str_t key;
    pl_stage_t *stages; /* by id: a parent before its children, children in the order spawned */
    size_t len;
    const pl_slot_t *slots; /* outputs of all stages, ascending */
    size_t slots_len;
} pl_op_tree_get_t;

/* A few stages, by id, and their outputs, ascending. In another chunk a deeper owner of an unfilled slot may follow. */
typedef struct pl_chunk {
    struct pl_chunk *next;
    pl_stage_t *stages;
    size_t len;
    const pl_slot_t *slots;
    size_t slots_len;
} pl_chunk_t;

#define PL_PAGE_BYTES_MAX ((size_t)32 * 1024 * 1024) /* of one page, about; a page has one stage at least */
#define PL_PAGE_VALUE_MAX ((size_t)2 * 1024 * 1024)  /* longer values are left out */

/*
 * tree_page: the stage `top` and those below it, by id: a parent before its children. All of a page is seen at one
 * moment. PL_ENOTFOUND: `top` is not of the tree. A page may have fewer stages than asked for, or none, for what is
 * looked through is bounded, too; it goes on while `next` is not 0.
 */
typedef struct {
    pl_id_t stage; /* any member; or, when 0, by key */
    pl_str_t key;
    pl_id_t top;   /* 0: the root */
    int depth;     /* levels below it; below 0: all */
    pl_id_t after; /* `next` of the page before; 0: from the beginning */
    int limit;
    bool counts;  /* count children */
    int hidden;   /* flags: stages that have one of them, and have not failed, are not counted */
    pl_id_t root; /* results; 0: there is no such stage */
    pl_str_t root_key;
    pl_chunk_t *chunks;
    size_t len;
    pl_id_t next;
} pl_op_tree_page_t;

typedef struct {
    pl_str_t class_path; /* absent: all */
    pl_id_t before;      /* 0: from the newest */
    int limit;
    pl_stage_t *stages;
    size_t len;
    const pl_slot_t *slots; /* their outputs */
    size_t slots_len;
    pl_id_t next; /* result: pass as before for the next page; 0: none */
} pl_op_roots_list_t;

typedef struct {
    pl_str_t queue;
    bool held; /* it starts nothing: it is paused, or its rate is 0 */
    int64_t ready, delayed, claimed;
} pl_count_t;

typedef struct {
    const pl_count_t *counts;
    size_t len;
    int64_t stages, workers;
} pl_op_counts_get_t;

typedef struct {
    pl_id_t stage;
    bool tree;                    /* of all stages of this root: by stage, up to PL_FAILURES_MAX */
    const pl_failure_t *failures; /* oldest first */
    size_t len;
    const pl_failure_t *latest; /* of a tree that has more: the latest one of all; else none */
    size_t latest_len;
} pl_op_failures_get_t;

enum { PL_FAILURES_MAX = 200 };

/* check: looks at one part of the file after the other, so that other reads come between. */
typedef struct {
    int part;              /* 0, then what `next` says */
    int next;              /* result; 0: that was the last one */
    const pl_str_t *found; /* result: what is wrong, in words, up to some twenty of a kind */
    size_t len;
} pl_op_check_t;

/* repair: mends all that a check finds under one title (what is before the colon). Only where nobody works: see
 * sqlite/file/repair.c. PL_ENOTFOUND: there is no mend for it, as in a driver that has nothing to check. PL_ECORRUPT,
 * PL_ECONSTRAINT: it cannot be mended. */
typedef struct {
    pl_str_t title;
    int64_t mended; /* result: rows that were changed; 0 may be a mend, too: of an index */
} pl_op_repair_t;

typedef struct {
    pl_id_t task;
    int claim;
    bool is_live; /* result: the claim is held, by whatever worker */
} pl_op_claim_check_t;

/* backup: copies up to `pages` more pages to `path`, as the store was when this began; with left = 0 the file is whole,
 * on disk, and has its name. With pages = 0 it is given up, and what there is of it deleted. PL_EINVAL, PL_EREADONLY,
 * PL_EBUSY, PL_EIO, PL_EFULL: given up, and begun anew by the next one. */
typedef struct {
    pl_str_t path;
    int pages;
    bool spares;         /* what is at the path and is no store is not replaced: PL_EINVAL */
    int64_t left, total; /* results: pages */
} pl_op_backup_t;

/* queue_set: PL_OK and an rc in each item. Without patch an item is the whole description, but for `paused`, which
 * counts with has_paused only. A removed queue goes with its tasks; it comes back when it is set again. */
typedef struct {
    pl_queue_settings_t *queues;
    size_t len;
    bool patch;
} pl_op_queue_set_t;

typedef struct {
    pl_str_t name; /* absent: all that are not removed */
    const pl_queue_settings_t *queues;
    size_t len;
} pl_op_queue_get_t;

typedef struct {
    pl_str_t queue;
    bool known;
    int64_t tasks, in_flight, dead; /* in flight: being executed, or leased */
    pl_usec_t oldest_eta;           /* of those that are due; 0: none */
    int64_t executed_last_minute;
    double enforced_rate; /* tasks per second; below 0: no limit */
} pl_queue_stats_t;

typedef struct {
    pl_queue_stats_t *queues; /* the caller sets the names */
    size_t len;
} pl_op_queue_stats_t;

/* lease: PL_ENOQUEUE, PL_EMODE. Earliest eta first, and only those whose eta has passed; each gets the same new eta,
 * the end of the lease, and one try more. Tasks that have no tries left die instead. */
typedef struct {
    pl_str_t queue;
    double seconds;
    int max;
    bool by_tag; /* only those with `tag` (empty: those without) */
    bool group;  /* only those with the tag of the first */
    pl_str_t tag;
    const pl_task_t *tasks; /* results */
    size_t len;
} pl_op_lease_t;

/* A queued task by id (unnamed ones) or by name. */
typedef struct {
    pl_id_t id;
    pl_str_t name; /* counts when id is 0 */
    int rc;        /* result */
} pl_task_ref_t;

/* lease_modify: PL_ELEASE when the lease is over or somebody else's, i.e. eta is not exactly that of the task.
 * PL_ENOTFOUND, PL_ETOMBSTONE, PL_ENOQUEUE, PL_EMODE, PL_EPAUSED. */
typedef struct {
    pl_str_t queue;
    pl_task_ref_t task;
    pl_usec_t eta;   /* as leased */
    double seconds;  /* from now; 0 gives the task back */
    pl_usec_t until; /* result: the new end */
} pl_op_lease_modify_t;

/* task_delete: PL_ENOQUEUE, or PL_OK and in each item PL_OK, PL_ENOTFOUND, PL_ETOMBSTONE. */
typedef struct {
    pl_str_t queue;
    pl_task_ref_t *tasks;
    size_t len;
} pl_op_task_delete_t;

/* purge, in portions: PL_ENOQUEUE. Control tasks of stages stay, and so does what is added after it has begun. */
typedef struct {
    pl_str_t queue;
    bool forget_names; /* else they become tombstones */
    int64_t deleted;
    pl_progress_t progress;
} pl_op_purge_t;

typedef struct {
    pl_str_t queue; /* absent: all */
    pl_id_t before; /* 0: from the newest */
    int limit;
    const pl_task_t *tasks;
    size_t len;
    pl_id_t next;
} pl_op_dead_list_t;

/* dead_revive: ready again as if never tried. Of a list each item gets an rc: PL_OK, PL_ENOTFOUND, PL_EEXISTS (its name
 * has been taken meanwhile); without a list all of the queue (absent: of all queues). */
typedef struct {
    pl_str_t queue;
    pl_task_ref_t *tasks; /* by id */
    size_t len;
    bool all; /* in portions */
    int64_t revived;
    pl_progress_t progress;
} pl_op_dead_revive_t;

typedef struct {
    pl_str_t queue;
    const pl_task_ref_t *tasks; /* by id */
    size_t len;
    bool all; /* in portions */
    int64_t deleted;
    pl_progress_t progress;
} pl_op_dead_purge_t;

/* sweep, in portions: what is older than the store's options say goes. */
typedef struct {
    pl_swept_t swept; /* result */
    pl_usec_t next;   /* result: when more may be old enough; PL_USEC_NEVER: nothing will be */
    pl_progress_t progress;
} pl_op_sweep_t;

typedef struct {
    pl_space_t space;
    pl_retention_t retention;            /* as in the store's options, */
    bool sweeps;                         /* and whether it deletes what is older */
    pl_due_t done, aborted, dead, names; /* trees, dead tasks, names that are blocked no longer */
} pl_op_space_get_t;

/* tables_get: one table or index after the other, so that other reads come between: each is read as a whole. PL_ESTATE:
 * the store cannot tell. */
typedef struct {
    int part;              /* 0, then what `next` says */
    int next;              /* result; 0: that was the last one */
    pl_str_t table;        /* result; absent: there is none any more */
    pl_str_t index;        /* result: one of that table; absent: the table itself */
    int64_t bytes, unused; /* results: unused ones within its pages are of these */
} pl_op_tables_get_t;

typedef struct {
    pl_id_t unused;
} pl_op_leave_t;

/* ---- sessions ---------------------------------------------------------------------------------------------- */

typedef uint64_t pl_session_t; /* number of a session, not 0; the caller makes each one once */

/*
 * tx_begin, with op->session set to a new number: comes back when the session has begun, and its time runs. Every verb
 * but those that end or make claims may then be an op of the session. Over, other than by tx_end: when its time is up,
 * when an op broke the transaction, when the store closes; all are rolled back, and later ops of it are refused, with
 * PL_ETIMEDOUT if its time was up, else PL_EOVER. PL_ECLOSED: the store takes no more.
 */
typedef struct {
    double seconds; /* how long it may take */
    bool cancelled; /* the store's: its end came before its turn */
} pl_op_tx_begin_t;

/* tx_end: without commit, everything is rolled back. When the commit fails it is rolled back, too. */
typedef struct {
    bool commit;
} pl_op_tx_end_t;

#define PL_SQL_RESULT_MAX ((size_t)64 * 1024 * 1024)   /* bytes of one result, and of one value */
#define PL_SQL_MEMORY_MAX ((int64_t)256 * 1024 * 1024) /* bytes that the statements of a session may take, about */

/*
 * sql: one statement with values bound to its parameters; or, neither a query nor with values, a script of several.
 * PL_ESQL (op->error tells why), PL_ECONSTRAINT, PL_ELIMIT (the result is too large): the statement has changed
 * nothing, those of the script before it have; the session goes on. PL_ESTATE outside of a session.
 */
typedef struct {
    pl_str_t text; /* with a NUL behind it */
    const pl_value_t *values;
    size_t values_len;
    bool query;              /* its rows are wanted */
    const pl_str_t *columns; /* results: no name comes twice */
    size_t columns_len;
    const pl_row_t *rows;
    size_t rows_len;
    int64_t changes; /* rows inserted, updated or deleted */
    int64_t rowid;   /* of the last row inserted; 0: none */
} pl_op_sql_t;

typedef struct pl_op {
    struct pl_op *next;
    pl_verb_t verb;
    int rc;           /* result: PL_OK or PL_E* */
    pl_error_t error; /* result: detail of unexpected failures */
    pl__arena_t arena;
    void *owner;            /* the caller's */
    struct pl_event *event; /* the engine's: what is told of its end; NULL: nothing */
    struct pl__gate *gate;  /* the engine's, of an op that ends a claim: that of its queue */
    pl_session_t session;   /* it belongs to; 0: to none */
    pl_task_kind_t kind;    /* the engine's, of an op that ends a claim: of its task, */
    int attempts;           /* which attempt this was, */
    bool is_last;           /* and that it was the last one */
    pl_usec_t retry_delay;  /* the engine's: until the next one, should the store be unable to take the op */
    int64_t clock;          /* pl_clock_offset when its retry_at was worked out: the clock may be set before the store
                               has it; 0: it has none */
    bool blocking;          /* the store's: pl_store_call waits for it */
    bool finished;          /* the store's, under its lock */
    bool held;              /* the host's: its results are still in use */
    bool ahead;             /* the store's: pl_store_send_ahead gave it */
    bool more;              /* the driver's: this was a portion, the next one is for another turn */
    int portions;           /* the store's: that were committed */
    union {
#define X(name, write, offer) pl_op_##name##_t name;
        PL_VERBS(X)
#undef X
    } u;
} pl_op_t;

/* Returns owned: an empty op of that verb, or NULL. */
PL_API pl_op_t *pl_op_new(pl_verb_t verb) PL__MUST_USE;
PL_API void pl_op_free(pl_op_t *op);
/* Memory for arguments of the op, zeroed; it lives as long as the op. NULL: there is none. */
PL_API void *pl_op_alloc(pl_op_t *op, size_t size) PL__MUST_USE;
/* Where the portion begins that is to be done now. */
pl_steps_t *pl__op_steps(const pl_op_t *op, pl_progress_t *progress);

/* Whether it obeys the rule of ids; if not, its rc and error say so. */
bool pl__op_is_sound(pl_op_t *op);

/* A list of ops; they belong to whoever has it. */
typedef struct {
    pl_op_t *head, **tail;
} pl__ops_t;
void pl__ops_init(pl__ops_t *ops);
void pl__ops_push(pl__ops_t *ops, pl_op_t *op);
/* NULL: there is none. */
pl_op_t *pl__ops_pop(pl__ops_t *ops);
/* All of them, as a list. */
pl_op_t *pl__ops_take(pl__ops_t *ops);

#endif
