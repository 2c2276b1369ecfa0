/*
 * engine.h - the engine's parts, for the rooms of csrc/engine only.
 *
 *   engine.c     life: open, close, ops, facts
 *   outbox.c     what goes out to the store: ops, and how many claims are wanted
 *   place.c      how many claims are executed at once
 *   completion.c every way in which a claim ends
 *   scheduler.c  what comes back from the store, and whose turn it is
 *   run.c        running the loop, and virtual time
 *   signal.c     SIGINT and SIGTERM
 *   timer.c      timers on the engine's clock
 *   peer.c       other workers on the same store: when to look for them
 *   secret.c     ids as users see them, signatures
 *   telemetry/   what those who look on are told
 */
#ifndef PL_ENGINE_ENGINE_H
#define PL_ENGINE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <uv.h>

#include "base/process.h"
#include "engine/pipeline.h"
#include "engine/telemetry/event.h"
#include "engine/telemetry/meter.h"

#define PL__SECRET_SIZE 32
#define PL__ID_KEY_SIZE 16

typedef struct {
    pl_claim_t *head, **tail;
    int len;
    size_t bytes;
} pl__claims_t;

/* The claims of a queue that this process has. See place.c. */
typedef struct pl__gate {
    int64_t queue;
    int permits;   /* so many may be executed at once; 0: all */
    int admitted;  /* executed, or in the buffer */
    pl_str_t name; /* owned */
    pl_meter_t meter;
    pl__claims_t waiting;
} pl__gate_t;

/* Other workers on the store. See peer.c. */
typedef struct {
    bool possible, death_is_certain; /* as the store says */
    uv_poll_t notices;               /* readable when one has come */
    uv_timer_t check;                /* slow safety check, and the second look after a death */
    uv_timer_t poll;                 /* where nobody notifies */
    bool listens, has_check, polls;
    int others;        /* workers, when last counted */
    int looks;         /* quick looks left after a notice of a death */
    bool asking;       /* a rescue op is under way */
    bool has_known;    /* there was an answer: */
    pl__buf_t known;   /* ids of the others then */
    uint64_t pause_ms; /* between two looks where nobody notifies */
    uint64_t executed; /* by the engine, at the last one */
} pl__peers_t;

typedef struct {
    pl_usec_t since; /* steady: when the first of these was told of */
    int count;
} pl__told_t;

struct pl_engine {
    pl_host_t host;
    int concurrency;
    bool durability_full, no_worker;
    unsigned forks; /* of this process when it was opened */
    pl_clock_t clock;
    pl_random_t random;
    pl_log_t log;
    pl_ids_t ids;
    pl_id_t worker;
    pl_store_t *store;
    unsigned char secret[PL__SECRET_SIZE], id_key[PL__ID_KEY_SIZE];
    /* loop */
    uv_loop_t *loop, own_loop;
    bool has_own_loop;
    uv_async_t wake;
    bool has_wake;      /* open: the store has no threads yet when it opens, and none any more when it closes */
    uv_prepare_t flush; /* hands ops to the store before the loop sleeps */
    uv_idle_t again;    /* keeps the loop turning while claims wait for their turn */
    uv_timer_t due;     /* the next timer or delayed task */
    uv_timer_t limit;   /* bounds a run */
    uv_signal_t interrupt, terminate;
    /* signals: see signal.c */
    int listens_at;               /* place among the listeners; -1: it does not listen */
    bool hears_term, listens;     /* listens: until pl_engine_listen says otherwise, also between two runs */
    pthread_t thread;             /* that listens, and runs the loop */
    _Atomic int signals;          /* since it listens */
    _Atomic int64_t signalled_at; /* the first one: monotonic us */
    _Atomic int signal_number;    /* of that one */
    _Atomic int passed_on;        /* to that thread, by others */
    bool heeds_signal;            /* the run has acted upon it */
    bool ends_at_signal;          /* the run that is under way ends at the first one */
    int handles;                  /* open uv handles */
    /* running */
    bool running, stopping, closing;
    bool leaves; /* this run is over with its turn: pl_engine_leave */
    int stop_requests;
    pl_usec_t stop_grace, stop_deadline; /* deadline: steady */
    int holds;                           /* things outside that will call back on the loop */
    uint64_t turns;
    const pl_watch_event_t *final; /* borrowed: that the host is told of */
    /* claims and ops */
    pl__claims_t buffer;
    pl__gate_t **gates; /* owned, and each of them: by the number of their queue */
    size_t gates_len, gates_size;
    int gated; /* claims that wait at them, */
    size_t gated_bytes;
    int executing, prefetch, wanted;
    int waiting; /* of those executing: they have no place. See place.c */
    size_t waiting_bytes, waiting_bytes_max;
    bool waiting_is_full;
    pl_place_t *woken, *woken_last; /* those who want their place again */
    bool claim_is_next;             /* the next free place is for a claim, if there is one */
    pl__ops_t outbox;               /* submitted, not yet handed to the store */
    pl_op_t *ends;                  /* the tasks_done op in the outbox that still takes more; NULL: none */
    int in_flight;                  /* ops handed over, or in the outbox */
    int gathered;                   /* ops and ends of claims in the outbox */
    int64_t gathering_since;        /* monotonic us: when the first of them came */
    int64_t commit_us;              /* what a commit takes of late, beside its ops */
    pl__ops_t failed;               /* ends of claims that the store could not take: tried again */
    int failed_len;                 /* they are in flight, too */
    pl_timer_t failed_timer;
    bool ready_left;
    bool store_woken;          /* and has not answered yet */
    bool must_look;            /* what is ready is not known: ask the store when running begins */
    pl_usec_t next_due;        /* on the wall clock */
    pl_usec_t next_token;      /* on the steady clock */
    pl_usec_t next_fire;       /* on the wall clock */
    pl_usec_t fires_until;     /* wall clock: later ones are not fired in this run */
    bool firing;               /* the host is at it */
    pl_usec_t fire_not_before; /* on the steady clock */
    int64_t wall_offset;       /* of the wall clock, when last looked at */
    int64_t wall_ahead;        /* of the steady clock, when claims came last */
    pl_timer_t want_timer;     /* after claiming failed */
    pl_timer_t release_timer;  /* after a claim was given back */
    pl_heap_node_t *timers;    /* root of the heap */
    bool sweeps;               /* in virtual time: deletes what is old when that has moved, */
    pl_usec_t sweep_at;        /* to this time or beyond */
    uint64_t timer_order, executed;
    pl__told_t told;        /* lines about failed attempts */
    bool tells, tells_all;  /* of events: of some, of all */
    uint64_t sampled_below; /* of ids that are drawn below it, ends are told of all the same */
    uv_check_t awake;       /* the loop has waited, */
    pl_usec_t awake_since;  /* until then (monotonic us); 0: it is over */
    pl_histogram_t lag_us;
    pl__peers_t peers;
};

/* timer.c, of schedules */
/* When a schedule fires next that this engine is to see to; PL_USEC_NEVER: none. */
pl_usec_t pl__fires_next(const pl_engine_t *engine);
/* Asks the host to fire, if it is time. */
void pl__fires_turn(pl_engine_t *engine);

/* outbox.c */
#define PL__RETRY_US (500 * 1000)
void pl__outbox_init(pl_engine_t *engine);
/* How many claims an op ends. */
int pl__ops_ends(const pl_op_t *op);
/* Whether nothing new is to begin: what comes back claimed goes back. */
bool pl__outbox_is_ending(const pl_engine_t *engine);
/* How many claims are wanted now. */
int pl__outbox_wanted(const pl_engine_t *engine);
/* Hands the outbox to the store and tells how much is wanted. */
void pl__outbox_flush(pl_engine_t *engine);
/* One more op, or end of a claim, is in the outbox. */
void pl__outbox_count(pl_engine_t *engine);
/* A commit has taken so long, beside its ops; 0: there was none. */
void pl__outbox_learn(pl_engine_t *engine, int64_t commit_us);
/* There may be something to claim: the store looks. `outside`: another process said so. */
void pl__outbox_wake(pl_engine_t *engine, bool outside);

/* telemetry/report.c */
/* Tells of an attempt that has failed: `op` tells the store of it; `claim` may be NULL: not known. */
void pl__report_attempt(pl_engine_t *engine, const pl_op_t *op, const pl_claim_t *claim, pl_str_t problem);
/* Tells of those that the store itself has recorded as failed: a list. */
void pl__report_recorded(pl_engine_t *engine, const pl_attempt_t *attempt);

/* place.c */
/* Whether another claim can be executed, or go on. */
bool pl__places_free(const pl_engine_t *engine);
/* Whether there is somebody who waits for a place, and a place. */
bool pl__places_have_turn(const pl_engine_t *engine);
/* A place may have become free: the loop looks before it sleeps. */
void pl__places_look(pl_engine_t *engine);
/* Gives the first who was woken its place, which is free. */
void pl__places_serve(pl_engine_t *engine);

/* The queue of the claim, whose permits are from now on what the claim says. NULL: no memory. */
pl__gate_t *pl__gate_of(pl_engine_t *engine, const pl_claim_t *claim);
/* A claim comes: into the buffer, or to wait for others of its queue. */
void pl__gate_enter(pl_engine_t *engine, pl__gate_t *gate, pl_claim_t *claim);
/* A claim is executed no more, or will not be: the next of its queue comes into the buffer. */
void pl__gate_leave(pl_engine_t *engine, const pl_claim_t *claim);
/* Takes what has not started: of this queue, or (NULL) all. Returns a list. */
pl_claim_t *pl__gate_empty(pl_engine_t *engine, pl__gate_t *gate, int *len);
/* The gate of a queue; NULL: nothing of it was claimed here. */
pl__gate_t *pl__gate_find(const pl_engine_t *engine, int64_t queue);
void pl__gates_free(pl_engine_t *engine);

/* completion.c */
void pl__completion_init(pl_engine_t *engine);
/* op, which was to end claims, has come back. False: it is kept, to be tried again. If the store will never take it,
 * the claim ends in another way. */
bool pl__completion_back(pl_engine_t *engine, pl_op_t *op);
/* Gives claims that have not started back; they stay the caller's. */
void pl__completion_release(pl_engine_t *engine, const pl_claim_t *claims, int len);
/* A claim was given back, to be ready again after PL__RELEASE_DELAY_US: until then there is something to wait for. */
void pl__completion_wait_released(pl_engine_t *engine);
#define PL__RELEASE_DELAY_US (500 * 1000)

/* scheduler.c */
void pl__scheduler_init(pl_engine_t *engine);
/* Takes what the store brought back and lets claims have their turn. */
void pl__scheduler_collect(pl_engine_t *engine);
void pl__scheduler_execute(pl_engine_t *engine);
/* Gives claims that have not started back to the queue. */
void pl__scheduler_release_buffer(pl_engine_t *engine);
/* Nothing is under way that could change anything without an event from outside or time passing. */
bool pl__scheduler_is_quiet(const pl_engine_t *engine);

/* signal.c */
void pl__signals_listen(pl_engine_t *engine, bool with_term);
void pl__signals_unlisten(pl_engine_t *engine);

/* timer.c */
bool pl__timers_fire(pl_engine_t *engine);
pl_usec_t pl__timers_next(const pl_engine_t *engine);
/* Sets the uv timer for what is due next; in virtual time there is none. */
void pl__timers_arm(pl_engine_t *engine);
void pl__timer_ends_wait_cb(uv_timer_t *handle); /* for uv timers that only wake the loop up */

/* peer.c */
int pl__peers_watch(pl_engine_t *engine) PL__MUST_USE;
/* Asks the store for workers that are gone. */
void pl__peers_ask(pl_engine_t *engine);
void pl__peers_answer(pl_engine_t *engine, const pl_op_t *op);
/* Whether work may come from other processes. */
bool pl__peers_may_come(const pl_engine_t *engine);
/* Nobody is heard any more: before the store is closed. */
void pl__peers_close(pl_engine_t *engine);

/* secret.c */
int pl__secret_init(pl_engine_t *engine, pl_error_t *error) PL__MUST_USE;
/* Whether the ids in the store have the fields that those made here have; a new store keeps what they are. */
int pl__secret_check_ids(pl_engine_t *engine, pl_error_t *error) PL__MUST_USE;
/* The random part of the store that goes into its ids: the same for all its workers. */
uint32_t pl__secret_mix(const pl_engine_t *engine);

/* engine.c */
void pl__handle_closed(uv_handle_t *handle);

#endif
