/*
 * flow.h - a durable function as the store keeps it: how far it has come, and what it waits for.
 *
 * Its stage is READY for as long as it runs, with one RUN task. The mode tells what that task is about:
 *
 *   start ──► BEGUN      the task is ready or claimed, or waits for the eta of its start
 *               │ ├── suspend ──► SUSPENDED  delayed until its earliest deadline, perhaps without end
 *               │ └── held ─────► HELD       delayed without end, whatever comes, until resume
 *               │   back to BEGUN: a mail it wants, a child that is final, a slot that is filled; resume
 *               └── its stage is DONE or ABORTED, from any mode: OVER   (resume of its tree: BEGUN)
 *
 * When the deadline of one that is SUSPENDED comes, its task becomes ready, and the mode is not touched: SUSPENDED
 * says what it was last. So whoever brings news looks at the task, too: if that is not delayed, the function may be
 * under way, and `dirty` is set. While it is, no claim of it ends by suspending (verb suspend): no news are missed.
 *
 * Held while its task is claimed: it is told, begins nothing more, and suspends with `hold` as soon as nothing of it is
 * at work.
 *
 * An abort of a function that has begun is a question (PL_CANCEL_ASKED): its stage stays READY, and it is woken and
 * told. It ends what is below it, cleans up, and then its outcome makes it ABORTED, whatever that outcome is. One whose
 * time is up asks that of itself, before it aborts what is below it, so that it is known to its next life as well. From
 * PL_CANCEL_TOLD on it is bound to end so, also where it was itself that has decided it.
 *
 * Only who holds the claim writes the journal. Everybody else writes mails, ends children or fills slots.
 */
#ifndef PL_STORE_DURABLE_FLOW_H
#define PL_STORE_DURABLE_FLOW_H

#include "base/clock.h"
#include "base/ids.h"
#include "base/memory.h"

/* X(name, number, text) */
#define PL_FLOW_MODES(X)                                                                                               \
    X(BEGUN, 0, "begun")                                                                                               \
    X(SUSPENDED, 1, "suspended")                                                                                       \
    X(HELD, 2, "held")                                                                                                 \
    X(OVER, 3, "over")

typedef enum {
#define X(name, number, text) PL_FLOW_##name = (number),
    PL_FLOW_MODES(X)
#undef X
} pl_flow_mode_t;
PL_API const char *pl_flow_mode_name(int mode); /* static; "?" if unknown */

enum { PL_FLOW_SEED = 16 }; /* bytes */

/* The numbers are in files. */
typedef enum { PL_CANCEL_NONE, PL_CANCEL_ASKED, PL_CANCEL_TOLD } pl_cancel_t;

typedef struct {
    pl_id_t stage;
    pl_str_t seed; /* of its random numbers, PL_FLOW_SEED bytes */
    int version, era;
    int64_t first; /* seq of the first entry of this era */
    int64_t next;  /* greater than every number that was given to an entry */
    int64_t bytes; /* of the entries of this era, about */
    pl_flow_mode_t mode;
    bool dirty;          /* news came while it was not suspended, and it has not suspended since */
    int mails;           /* that were not taken */
    pl_usec_t created;   /* when its stage was made */
    pl_str_t reason;     /* HELD: why; SUSPENDED: what it waits for, in words */
    int lost;            /* claims that were lost with their workers */
    pl_id_t forked_from; /* of which it has the first entries; 0: none */
    int64_t forked_at;   /* those before this one */
    pl_cancel_t cancel;
    pl_usec_t deadline; /* of the run, or of its cleaning up; 0: none */
} pl_flow_t;

/* flow_set: holds one, or lets one that is held go on. PL_ENOTFOUND, PL_EFINAL, PL_ESTATE (no durable function; hold:
 * it is held, or its run is over; resume: it is not held). One that has no task yet, since it waits for its inputs, or
 * is started by hand, has one that waits when it gets it. */
typedef struct {
    pl_id_t stage;
    bool hold;       /* else resume */
    pl_str_t reason; /* resume: absent, or what the next claim is to be told */
} pl_op_flow_set_t;

#endif
