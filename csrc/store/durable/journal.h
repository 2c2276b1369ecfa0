/*
 * journal.h - the journal of a durable function: its entries, and the verbs that write and read them.
 *
 * An entry is an operation that the function has asked for. `seq` is its place in the order of asking, `done` in that
 * of delivery, both from one counter of the function (pl_flow_t.next), so that replay can tell what came before what.
 * An entry is written once, when its operation ends; what is pending when the function suspends is written then, and
 * written anew, as a whole, later. Names and values are the host's.
 */
#ifndef PL_STORE_DURABLE_JOURNAL_H
#define PL_STORE_DURABLE_JOURNAL_H

#include "store/durable/flow.h"
#include "store/durable/news.h"
#include "store/durable/shown.h"
#include "store/model.h"

/* X(name, number, text). The numbers are in files. */
#define PL_ENTRY_KINDS(X)                                                                                              \
    X(STEP, 0, "step")                                                                                                 \
    X(TX, 1, "tx")                                                                                                     \
    X(TIMER, 2, "timer")                                                                                               \
    X(EVENT, 3, "event")                                                                                               \
    X(CHILD, 4, "child") /* ref: its stage */                                                                          \
    X(SLOT, 5, "slot")   /* ref: the slot */                                                                           \
    X(PATCH, 6, "patch")                                                                                               \
    X(UPDATE, 7, "update") /* ref: the mail */                                                                         \
    X(CANCEL, 8, "cancel")                                                                                             \
    X(SIGNAL, 9, "signal") /* ref: the mail */

/* OPEN and AGAIN (a step that is to be tried again) are not delivered. */
#define PL_ENTRY_STATES(X)                                                                                             \
    X(OPEN, 0, "open")                                                                                                 \
    X(OK, 1, "ok")                                                                                                     \
    X(FAILED, 2, "failed")                                                                                             \
    X(CANCELLED, 3, "cancelled")                                                                                       \
    X(AGAIN, 4, "again")

typedef enum {
#define X(name, number, text) PL_ENTRY_##name = (number),
    PL_ENTRY_KINDS(X)
#undef X
} pl_entry_kind_t;
typedef enum {
#define X(name, number, text) PL_ENTRY_##name = (number),
    PL_ENTRY_STATES(X)
#undef X
} pl_entry_state_t;
PL_API const char *pl_entry_kind_name(int kind); /* static; "?" if unknown */
PL_API const char *pl_entry_state_name(int state);

typedef struct {
    int64_t seq, done; /* done 0: not delivered */
    pl_entry_kind_t kind;
    pl_entry_state_t state;
    pl_str_t path, name, line; /* branch, absent: the main one; name; where in the source */
    int nth;                   /* which of that name in that branch; 0: the name ends in its @key */
    pl_usec_t opened, closed;  /* closed 0: not yet */
    int attempt;
    pl_usec_t due; /* timer, retry, timeout of an event; 0: none */
    pl_id_t ref;
    pl_str_t value; /* CBOR */
} pl_entry_t;

/* What it counts for in the size of its journal. */
static inline int64_t pl_entry_bytes(const pl_entry_t *entry) {
    enum { ENTRY_BYTES = 64 }; /* of one without its texts and its value */
    return (int64_t)(ENTRY_BYTES + entry->path.len + entry->name.len + entry->line.len + entry->value.len);
}

/* What a durable function writes at a time. */
typedef struct {
    const pl_entry_t *entries; /* ascending by seq */
    size_t entries_len;
    int64_t next;                      /* as in pl_flow_t from here on */
    pl_stage_new_t *children, *starts; /* attached: scopes below the function; detached: roots of their own */
    size_t children_len, starts_len;
    pl_task_new_t *tasks;
    size_t tasks_len;
    const pl_fill_t *fills;
    size_t fills_len;
    const int64_t *taken; /* numbers of mails that were delivered */
    size_t taken_len;
    const pl_answer_new_t *answers; /* to updates that were taken, perhaps just now */
    size_t answers_len;
    const pl_value_new_t *values;
    size_t values_len;
    pl_chunk_new_t *chunks;
    size_t chunks_len;
    pl_mail_new_t *mails; /* sent to others; one that cannot be posted is left out */
    size_t mails_len;
    const pl_status_t *status; /* in the place of what it has said of itself so far; NULL: that stays */
    pl_cancel_t cancel;        /* as in pl_flow_t from here on, if it was less; TOLD: it is bound to end ABORTED */
    pl_usec_t deadline;        /* as in pl_flow_t from here on; 0: as it is */
} pl_journal_t;

/* journal: writes under a claim, which stays. PL_ESTALE: it is not ours. PL_EABORTED: the stage was aborted meanwhile,
 * and goes on with that. A task that cannot be added, or a root whose idempotence key is taken: its rc; then, too,
 * nothing is written. */
typedef struct {
    pl_id_t stage, root; /* root: set by the engine, if it is known */
    int claim;
    pl_journal_t journal;
} pl_op_journal_t;

/* suspend: as journal, and the claim ends: the function waits until `due`, or for news. With `refused` it is as if it
 * had not been called, and the claim stays: news are there. */
typedef struct {
    pl_id_t stage, root;
    int claim;
    pl_journal_t journal;
    pl_usec_t due;  /* PL_USEC_NEVER: no deadline */
    pl_str_t wants; /* names of mails that wake it, each with a NUL behind it; "*", without one: all; absent: none */
    const pl_id_t *slots; /* that it waits for */
    size_t slots_len;
    pl_str_t reason;
    bool hold;    /* it is held from here on, for the reason it has; of the rest only the journal counts */
    bool refused; /* result */
} pl_op_suspend_t;

/* journal_get: what is known of a durable function, some of its entries, and its news. PL_ENOTFOUND: there is none. A
 * page ends after `limit` entries, or PL_JOURNAL_BYTES_MAX. */
#define PL_JOURNAL_BYTES_MAX ((size_t)4 * 1024 * 1024)
typedef struct {
    pl_id_t stage;
    int64_t after; /* entries with greater seq; of this era at most */
    int limit;     /* 0: none */
    int64_t known; /* pl_flow_t.next as the caller knows it: if it is still that, no entries are read; 0: not known */
    int64_t mail_after;
    int mail_limit;  /* 0: no news */
    pl_flow_t *flow; /* results; NULL: there is none */
    const pl_entry_t *entries;
    size_t len;
    bool more;
    pl_news_t news;
} pl_op_journal_get_t;

#endif
