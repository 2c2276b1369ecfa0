/*
 * pipeline.h - the engine, for C programs and for the Lua binding.
 *
 * An engine keeps tasks and stages in one store and runs them on one uv loop. Everything here is called from the
 * thread that runs the loop. The engine calls back through pl_host_t; a callback may submit ops, end claims and
 * stop the engine, but not close it. Nothing in here includes lua.h, and no callback may longjmp.
 */
#ifndef PL_ENGINE_PIPELINE_H
#define PL_ENGINE_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "engine/telemetry/event.h"
#include "engine/telemetry/meter.h"
#include "store/store.h"

#define PL_VERSION "1.0.0"

typedef struct pl_engine pl_engine_t;
struct uv_loop_s;

typedef struct {
    /* A task was claimed and has its turn. Takes claim: the host ends it with exactly one of pl_engine_claim_end,
     * pl_engine_claim_done or pl_engine_claim_drop, now or later, then frees it (pl_claim_free). */
    void (*execute)(void *data, pl_claim_t *claim);
    /* An op submitted with pl_engine_submit is committed (or failed, see op->rc). Takes op. */
    void (*op_done)(void *data, pl_op_t *op);
    /* A stage given to the watch verb is final. pl_engine_final_record may have it. */
    void (*final)(void *data, pl_id_t stage, pl_stage_state_t state);
    /* The tree of a stage was aborted, whose run may be executed by this host: it need not go on, its outcome will be
     * refused. The claim has still to be ended. NULL: it goes on all the same. */
    void (*aborted)(void *data, pl_id_t stage);
    /* A durable function, whose run may be executed by this host, has news: verb journal_get. Stage 0: others may have
     * written anything. NULL: nobody asks. */
    void (*news)(void *data, pl_id_t stage);
    /* A line of log, from any thread. `turn` follows on the loop, soon. */
    void (*log)(void *data, int level, const char *text);
    /* SIGINT or SIGTERM came while the engine listens: on the thread that runs it, inside the signal handler, so only
     * what is async-signal-safe may be done. NULL: nobody asks. */
    void (*interrupted)(void *data);
    /* The loop was woken and everything that came back was handed over. NULL: nobody asks. */
    void (*turn)(void *data);
    /* The loop is about to sleep in pl_engine_run. A host with other loops on the same thread waits here for all of
     * them, for the engine's by pl_engine_fd and pl_engine_timeout, lets the others have their turns, and returns true:
     * then what has come is handled without sleeping. False, or NULL: the engine's loop sleeps. */
    bool (*wait)(void *data);
    /* A schedule fires: the host reads those that are due, fires them, and says pl_engine_fired. NULL: this engine
     * fires none. */
    void (*fire)(void *data);
    /* Something has happened, see pl_engine_tell. Borrows event until it returns, or, if `more` follow, until it
     * returns from the last of them. NULL: nobody looks on. */
    void (*event)(void *data, pl_event_t *event);
    void *data;
} pl_host_t;

typedef struct {
    const char *path;                     /* a file or ":memory:" */
    const struct pl_store_driver *driver; /* what keeps the store; NULL: SQLite */
    bool durability_full;
    int concurrency;          /* claims being executed at once, without those that wait; default 64 */
    size_t waiting_memory;    /* bytes that claims which wait may take beyond that; 0: default 256 MiB */
    double lease_seconds;     /* 0: default 15 */
    double stop_grace;        /* seconds that what is being executed has when the engine stops; default 30 */
    double tombstone_seconds; /* 0: default 9 days */
    int64_t storage_limit;    /* bytes of the file above which no tasks are added; 0: none */
    pl_retention_t retention; /* how long what is over is kept; default: 30 days, 90 if it was aborted */
    bool sweeps;              /* deletes what is older; default true */
    const char *vfs;          /* tests: a SQLite VFS by name; NULL: default */
    bool virtual_time;        /* tests: time stands still until pl_engine_advance or a virtual drain */
    double virtual_start;     /* seconds since the epoch */
    uint64_t seed;            /* 0: system randomness */
    int file_mode;            /* permissions of files that are made; 0: 0600 */
    bool must_exist;          /* only a file that is a store is opened: none is made, no other gets our tables */
    const char *serve_queues; /* the queues whose tasks it executes, each name with a line break behind; NULL: all */
    bool no_worker;           /* never executes tasks: only starts, fills and reads */
    struct uv_loop_s *loop;   /* NULL: a loop of its own */
    pl_host_t host;
} pl_engine_options_t;

PL_API void pl_engine_options_init(pl_engine_options_t *options);
/* Puts the locks of all files that SQLite opens from now on in this process under the care of this library: a close of
 * the file by anybody else in the process would drop them. Opening an engine does it, too; a program that opens the
 * same file by SQLite before that calls this first. Idempotent; any thread. */
PL_API void pl_engine_guard_locks(void);
PL_API int pl_engine_open(pl_engine_t **engine, const pl_engine_options_t *options, pl_error_t *error) PL__MUST_USE;
/* Stops, gives running claims back without spending an attempt, closes every handle, joins the threads. Claims still
 * held by the host must have been dropped (pl_engine_claim_drop) before. NULL is fine; safe from a finalizer. */
PL_API void pl_engine_close(pl_engine_t *engine);
/* false after fork in the child: nothing but close may then be called, and close only forgets. */
PL_API bool pl_engine_usable(const pl_engine_t *engine);

/* ---- ops ---- */
/* Takes op; host.op_done is called from the loop after the commit. */
PL_API void pl_engine_submit(pl_engine_t *engine, pl_op_t *op);
/* Takes op, of a session, for good: nobody waits for it and host.op_done is not called. If it is refused, or breaks the
 * transaction, the session is over, and the next op of it is told why. Ops submitted before stay before it. */
PL_API void pl_engine_send_ahead(pl_engine_t *engine, pl_op_t *op);
/* Blocks the thread until the op is committed, without running the loop; returns op->rc. PL_EBUSY, without waiting,
 * while a session is open that the op does not belong to: whoever is to end it could not. */
PL_API int pl_engine_call(pl_engine_t *engine, pl_op_t *op);
/* Ends a claim: takes op (of verb outcome, finalized or task_done, with stage/task and claim already set by the
 * host) and submits it; the execution slot is free at once. host.op_done follows. The claim stays the host's. */
PL_API void pl_engine_claim_end(pl_engine_t *engine, pl_claim_t *claim, pl_op_t *op);
/* As pl_engine_claim_end for an execution that went well, of a claim that is plain (is_plain), which nobody waits for:
 * such ends share an op, of verb tasks_done, which comes back with no owner. PL_OK or PL_ENOMEM: it has not ended. */
PL_API int pl_engine_claim_done(pl_engine_t *engine, const pl_claim_t *claim) PL__MUST_USE;
/* Ends a claim whose execution came to an end without a result, as a failed attempt with that problem (borrowed until
 * it returns): retried or given up as any other is. PL_OK or PL_ENOMEM: it has not ended. */
PL_API int pl_engine_claim_fail(pl_engine_t *engine, pl_claim_t *claim, pl_str_t problem) PL__MUST_USE;
/* The end of a claim was committed by pl_engine_call: its execution slot is free. */
PL_API void pl_engine_claim_ended(pl_engine_t *engine, const pl_claim_t *claim);
/* Gives a claim back to its queue, spending nothing: it is ready again at once, for whoever takes it. */
PL_API void pl_engine_claim_release(pl_engine_t *engine, pl_claim_t *claim);
/* The same for a claim that cannot be executed now: it is ready again half a second later. */
PL_API void pl_engine_claim_drop(pl_engine_t *engine, pl_claim_t *claim);
/* Hands what was submitted to the store now, not when the loop comes to it. */
PL_API void pl_engine_flush(pl_engine_t *engine);
/* The same if it is worth a commit: for hosts that submit much in one turn of the loop, after each piece of work. */
PL_API void pl_engine_offer(pl_engine_t *engine);
/* Within host.final: the stage that it is about as the commit left it, and its slots, inputs and outputs, ascending.
 * Borrowed until the callback returns. NULL: it has to be read (verb stage_get). */
PL_API const pl_stage_t *pl_engine_final_record(const pl_engine_t *engine, const pl_slot_t **slots, size_t *slots_len);
PL_API pl_id_t pl_engine_new_id(pl_engine_t *engine);

/* ---- ids as users see them ---- */
#define PL_ID_TEXT_LEN 32
/* 32 hex digits: the id and a keyed check that makes it unguessable. */
PL_API void pl_engine_id_text(const pl_engine_t *engine, pl_id_t id, char out[PL_ID_TEXT_LEN + 1]);
/* Returns the id, or 0 when text is not one made by this store. */
PL_API pl_id_t pl_engine_id_parse(const pl_engine_t *engine, const char *text, size_t len);

/* ---- looking on ---- */
/* What has been counted since the engine was opened; returns of how many queues. */
PL_API int pl_engine_meter(const pl_engine_t *engine, pl_meter_facts_t *facts,
                           pl_meter_queue_t queues[PL_METER_QUEUE_MAX + 1]);
/* What host.event is called for from now on: all; or the ends of claims whose root (or task, without one) has an id
 * that pl_engine_id_draw puts below a number, or that name a trace, and all that is no end of a claim. False and 0:
 * nothing. */
PL_API void pl_engine_tell(pl_engine_t *engine, bool all, uint64_t sampled_below);
/* A number from 0 to 2^32 - 1 that an id has drawn: the last 8 digits of its text. */
PL_API uint64_t pl_engine_id_draw(const pl_engine_t *engine, pl_id_t id);

/* ---- running ---- */
typedef enum {
    PL_RUN_FOREVER, /* until pl_engine_stop */
    PL_RUN_READY,   /* until nothing is ready or running anywhere on the file */
    PL_RUN_ALL,     /* until nothing is ready, running or delayed; with virtual time, time jumps to what is due */
    PL_RUN_ONCE,    /* one step: what can be done without waiting */
    PL_RUN_NEXT,    /* one step, waiting for the next event if nothing can be done now */
    PL_RUN_SETTLE   /* with virtual time: until nothing can be done unless time passes */
} pl_run_mode_t;
/*
 * Runs the loop. timeout in seconds, < 0: none. Not re-entrant: PL_ESTATE. Stops early at pl_engine_stop.
 * With signals: PL_RUN_FOREVER stops at SIGINT and SIGTERM as at pl_engine_stop; every other mode ends at SIGINT at
 * once, with PL_EINTR. A second signal ends the process.
 * Returns PL_OK, PL_ETIMEDOUT, PL_ESTATE; or PL_EINTR (a signal) or PL_ELIMIT (stop_grace is over): claims may be being
 * executed that should not go on. The host ends them with pl_engine_claim_release.
 */
PL_API int pl_engine_run(pl_engine_t *engine, pl_run_mode_t mode, double timeout, bool signals);
PL_API void pl_engine_stop(pl_engine_t *engine);
/* What the run was for has come: it returns PL_OK after this turn, before time passes. What is executed stays so. */
PL_API void pl_engine_leave(pl_engine_t *engine);
/* Listens to SIGINT from now on, also between two runs; or no more. */
PL_API void pl_engine_listen(pl_engine_t *engine, bool on);
/* Whether a signal has come since the engine listens, or since the last run with signals began. */
PL_API bool pl_engine_signalled(const pl_engine_t *engine);
/* When what is being executed should not go on any more, on the steady clock; PL_USEC_NEVER: that is not known. May be
 * asked inside a signal handler. */
PL_API pl_usec_t pl_engine_cancel_at(const pl_engine_t *engine);
/* After PL_RUN_NEXT or PL_RUN_ONCE, when the host will not go on running: what was claimed ahead goes back to its
 * queue, for others to take. The other modes do this by themselves. */
PL_API void pl_engine_release_prefetched(pl_engine_t *engine);
PL_API void pl_engine_rest(pl_engine_t *engine); /* its name in 1.0 */
/* Something outside is under way that will call back on the loop: until pl_engine_unhold, PL_RUN_READY and PL_RUN_ALL
 * do not end, and virtual time stands still. Counted. */
PL_API void pl_engine_hold(pl_engine_t *engine);
PL_API void pl_engine_unhold(pl_engine_t *engine);
PL_API bool pl_engine_running(const pl_engine_t *engine);
/* The host has done what host.fire asked for; or, after a failure, is to be asked again no sooner than `delay` from
 * now. */
PL_API void pl_engine_fired(pl_engine_t *engine, pl_usec_t delay);
/* When a schedule fires next, on the wall clock, as this engine last heard; PL_USEC_NEVER: none does. */
PL_API pl_usec_t pl_engine_next_fire(const pl_engine_t *engine);
/* Whether nothing is ready or running anywhere on the file, as PL_RUN_READY sees it. */
PL_API bool pl_engine_idle(pl_engine_t *engine);
/* For a host with its own loop: a descriptor to poll for reading, and milliseconds to wait at most (-1: forever). */
PL_API int pl_engine_fd(const pl_engine_t *engine);
PL_API int pl_engine_timeout(pl_engine_t *engine);
PL_API struct uv_loop_s *pl_engine_loop(pl_engine_t *engine);

/* ---- time ---- */
PL_API pl_usec_t pl_engine_now(const pl_engine_t *engine);
/* Virtual time only. What is old by then is deleted, unless a transaction is under way. */
PL_API void pl_engine_advance(pl_engine_t *engine, double seconds);

/* What is due now: see pl_clock_due. */
PL_API pl_usec_t pl_engine_due(const pl_engine_t *engine);
/* The engine's steady clock: it counts, and is never set. Virtual time is both clocks. */
PL_API pl_usec_t pl_engine_steady(const pl_engine_t *engine);

/* A timer on the steady clock (virtual time included). Intrusive: owned by the caller, who must cancel it before
 * freeing it. Fires once, on the loop. */
typedef struct pl_timer {
    pl_heap_node_t node; /* the engine's: first. Equal times fire in the order started */
    void (*fire)(struct pl_timer *timer);
    void *data;
    bool active;
} pl_timer_t;
/* Starts it, again if it is active: fires `after` microseconds from now. */
PL_API void pl_engine_timer_start(pl_engine_t *engine, pl_timer_t *timer, pl_usec_t after);
PL_API void pl_engine_timer_cancel(pl_engine_t *engine, pl_timer_t *timer);

/* ---- places ---- */
/*
 * A claim being executed holds one of the `concurrency` places. While it only waits for something else, a host may give
 * the place to others. Intrusive: owned by the host, zeroed when the claim is executed, and forgotten before the claim
 * ends.
 */
typedef enum { PL_PLACE_HELD, PL_PLACE_LEFT, PL_PLACE_WANTED } pl_place_state_t;
typedef struct pl_place {
    struct pl_place *next, *prev; /* the engine's: those who want their place again */
    pl_place_state_t state;
    size_t bytes;                           /* the engine's */
    void (*served)(struct pl_place *place); /* it has its place again; called on the loop */
    void *data;
} pl_place_t;
/* It waits from now on, and gives its place away if memory allows: `bytes` are those of its values. */
PL_API void pl_engine_place_leave(pl_engine_t *engine, pl_place_t *place, size_t bytes);
/* It wants to go on. Returns whether it may; else served() is called as soon as there is a place. at_once: now, even
 * if all places are taken, for others wait for it. */
PL_API bool pl_engine_place_take(pl_engine_t *engine, pl_place_t *place, bool at_once) PL__MUST_USE;
/* Its claim is about to end, wherever it stands; or it goes on without having waited for its place. */
PL_API void pl_engine_place_forget(pl_engine_t *engine, pl_place_t *place);

/* ---- signatures ---- */
#define PL_MAC_LEN 64 /* hex digits */
/* HMAC-SHA-256 of the bytes under the store's secret, as hex with a NUL. */
PL_API void pl_engine_sign(const pl_engine_t *engine, const char *bytes, size_t len, char out[PL_MAC_LEN + 1]);
PL_API bool pl_engine_verify(const pl_engine_t *engine, const char *bytes, size_t len, const char *mac, size_t mac_len);

/* Fills `size` bytes from the engine's source of randomness (a seed makes it repeatable). PL_OK or PL_EIO. */
PL_API int pl_engine_random(pl_engine_t *engine, void *out, size_t size) PL__MUST_USE;

/* ---- facts ---- */
typedef struct {
    pl_store_stats_t store;
    pl_id_t worker;
    int worker_number;
    int executing, waiting, buffered, other_workers; /* waiting: of those executing, without a place */
    uint64_t executed, loop_wakeups;
    bool durability_full, no_worker;
    bool stopping;                          /* stop was asked for, and what runs is being finished */
    const char *path;                       /* borrows until close */
    const char *log;                        /* borrows until close: the file that commits are written to; NULL: none */
    const char *store_kind, *store_version; /* static: the driver's name, and the version of its library */
    const char *uv_version;                 /* static */
} pl_engine_facts_t;
PL_API void pl_engine_facts(pl_engine_t *engine, pl_engine_facts_t *facts);

#endif
