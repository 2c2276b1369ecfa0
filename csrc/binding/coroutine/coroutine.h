/*
 * coroutine.h - managed coroutines: the ones that may wait on the engine.
 *
 * A record belongs to its handle until the handle is closed; finished ones are used again, so that a task costs
 * neither a thread nor an allocation of its own. `life` and `wakes` tell stale references from living ones.
 *
 *            start/spawn               turn of the loop                    op, timer, token, event
 *   FREE ──────────► QUEUED ──────────────────────► RUNNING ──await──► OP, SLEEP, TOKEN, FUTURE, EVENT ──► QUEUED
 *    ▲                                                 │                    │
 *    └──────────────── returned, raised, killed ◄──────┴──── close ◄────────┘
 *
 * What executes a task gives its place away in SLEEP, TOKEN and FUTURE, and is in PLACE before it is QUEUED when there
 * is none for it. In OP and EVENT the store, or a server, is at work for it: there it keeps its place.
 *
 * A record whose job is `direct` has no coroutine: it stands for somebody else (a tasklet) who waits for its op.
 */
#ifndef PL_BINDING_COROUTINE_COROUTINE_H
#define PL_BINDING_COROUTINE_COROUTINE_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "binding/handle.h"

typedef enum {
    PL__CO_FREE,
    PL__CO_QUEUED,  /* in one of the queues of the handle */
    PL__CO_RUNNING, /* being resumed, or just back and not yet ended */
    PL__CO_OP,      /* waits for an op: `op` is in flight */
    PL__CO_SLEEP,   /* waits for `timer` */
    PL__CO_TOKEN,   /* waits for a token to be woken */
    PL__CO_FUTURE,  /* waits for a future of tasklets: see tasklet/waiter.h */
    PL__CO_EVENT,   /* waits for pl__wait_end */
    PL__CO_PLACE    /* what it waited for has come, but its place is not free yet */
} pl__co_state_t;

/*
 * What a coroutine started from the loop does. All data is plain C until `push`.
 *   push   protected, on the running thread, handle at index 1: pushes a function and its arguments and returns
 *          the number of arguments.
 *   done   protected, like push: the function returned; its `n` results are on top of the stack. May be NULL.
 *   waits  the coroutine was suspended; no Lua here. May be NULL.
 *   gone   the last call, exactly once, whatever happened (the engine closed, the function raised); no Lua here.
 *          ok tells whether the function returned and done did not raise. May be NULL.
 *   direct in place of push and done, for what is done at once and cannot wait: protected, handle at index 1. It costs
 *          no coroutine.
 */
typedef struct {
    int (*push)(lua_State *L, void *data);
    void (*done)(lua_State *L, void *data, int n);
    void (*waits)(void *data);
    void (*gone)(void *data, bool ok);
    void (*direct)(lua_State *L, void *data);
} pl__job_t;

struct pl__coroutine {
    pl__coroutine_t *next, *prev; /* in the live list; `next` in the free list */
    pl__coroutine_t *queue_next;
    pl__handle_t *h;
    lua_State *co; /* its worker is in PL__UV_ANCHORS[index]; NULL: none yet, or none any more */
    int index;
    pl__co_state_t state;
    bool started;     /* the function is on the stack of co, or running */
    bool suspended;   /* the last resume ended in an await */
    bool finished;    /* the function returned, and job->done with it */
    bool resumed;     /* at least once */
    bool give_back;   /* should its claim be left open, it goes back to its queue and spends nothing */
    bool late;        /* its deadline has passed while it ran */
    int raised;       /* times an error was raised in it from outside */
    int64_t deadline; /* steady: when its code is to have ended; 0: none. See watch.c */
    int64_t due;      /* the same of a task, whether it computes or waits. See task.c */
    pl_timer_t limit; /* for that, while it waits */
    bool cancelled;   /* it ends at its next turn */
    bool woken;       /* a token was woken before the coroutine suspended; values in PL__UV_ANCHORS[-index] */
    int nargs;        /* values on the stack of co for the next resume */
    const pl__job_t *job;
    void *data;
    pl_op_t *op;  /* what it waits for */
    bool op_back; /* op is finished and ours again */
    pl_timer_t timer;
    uint64_t life;     /* changes when the coroutine ends */
    uint64_t wakes;    /* changes when a suspension ends */
    pl_claim_t *claim; /* owned: the task it executes */
    bool claim_ended;
    pl_place_t place; /* of the claim */
    bool urgent;      /* others wait for what it holds: it need not wait for its place */
    char *problem;    /* owned: why the attempt has failed, should its claim be left open; NULL: not known */
};

/* Notes why an attempt fails whose claim nobody ends. */
void pl__coroutine_blame(pl__coroutine_t *rec, const char *problem);

/* Starts a managed coroutine at the next turn of the loop; never inside the call. Returns PL_OK, PL_ENOMEM or
 * PL_ECLOSED; only with PL_OK will the functions of the job be called. `rec` (may be NULL) gets its record. */
int pl__coroutine_start(pl__handle_t *h, const pl__job_t *job, void *data, pl__coroutine_t **rec) PL__MUST_USE;
/* Ends a coroutine at the next turn of the loop, wherever it waits: its to-be-closed variables are closed, and what
 * only it waited for is not waited for any more. Nothing happens when its `life` is another. No Lua is called in it. */
void pl__coroutine_cancel(pl__coroutine_t *rec, uint64_t life);
/* Ends the wait of a coroutine, though what it waits for has not come: it has a turn, and nothing else wakes it. */
void pl__coroutine_interrupt(pl__coroutine_t *rec);
/* Executes a task in this turn; the data of the job is the record. Takes claim. */
void pl__coroutine_execute(pl__handle_t *h, pl_claim_t *claim, const pl__job_t *job);
/* Takes op and submits it; when it is committed the job, which is a direct one, has its turn, with the record as its
 * data: it may take `op` from it. Returns NULL, and takes nothing, without memory. */
pl__coroutine_t *pl__coroutine_park(pl__handle_t *h, const pl__job_t *job, pl_op_t *op);
/* The claim of the record is about to end, perhaps while the coroutine waits. */
void pl__coroutine_claim_ends(pl__coroutine_t *rec);
/* The "task" hook is set: what was parked goes on. */
void pl__coroutine_unpark(pl__handle_t *h);

/* Whether L is the managed coroutine being run and may yield. */
bool pl__coroutine_can_await(lua_State *L, const pl__handle_t *h);
/* Yields as `rec`, the running one, whose state says what it waits for; `k` goes on. */
int pl__await_yield(lua_State *L, pl__coroutine_t *rec, lua_KFunction k);
/* The record a continuation belongs to; raises when somebody else resumed the coroutine. */
pl__coroutine_t *pl__await_record(lua_State *L, lua_KContext context);
/* It is to be resumed: puts it into a queue of its handle. */
void pl__coroutine_queue(pl__queue_t *queue, pl__coroutine_t *rec);
/* There will be a turn for h->later. */
void pl__coroutine_arm(pl__handle_t *h);
/* What it has waited for has come: it goes on as soon as it has its place again. */
void pl__coroutine_go_on(pl__coroutine_t *rec, pl__queue_t *queue);

/*
 * Waiting for an event that this file knows nothing of. Assumes pl__coroutine_can_await; to be returned from a C
 * function called by Lua. `k` goes on with the record as its context, and calls pl__wait_check first. Whoever will
 * call pl__wait_end notes h->current and its `life` beforehand, and cancels what it waits for by a to-be-closed value
 * on the stack of L should the coroutine die.
 */
int pl__wait(lua_State *L, pl__handle_t *h, lua_KFunction k);
/* Raises when somebody else resumed the coroutine. */
void pl__wait_check(lua_State *L, lua_KContext context);
/* The event has come: the coroutine goes on. Nothing happens when it is dead or waits no more. No Lua is called in it
 * when Lua code is running; else the coroutine is resumed at once. */
void pl__wait_end(pl__coroutine_t *rec, uint64_t life);

/* Resumes all that is ready, through the trampoline. Called at the end of every host callback. */
void pl__pump(pl__handle_t *h);
/* host.op_done and host.final. */
void pl__coroutine_op_done(pl__handle_t *h, pl_op_t *op);
void pl__coroutine_final(pl__handle_t *h, pl_id_t stage, pl_stage_state_t state);
/* Ends the coroutines that execute tasks, with their to-be-closed variables, and gives the tasks back. L has the handle
 * at index 1 and no Lua code is running. */
void pl__coroutine_cancel_claims(lua_State *L, pl__handle_t *h);
/* Ends every coroutine, with its to-be-closed variables, and drops its claim. L has the handle at index 1. */
void pl__coroutine_close_all(lua_State *L, pl__handle_t *h);
/* Frees the records. Those still live (after fork) are forgotten: nothing of the engine or of Lua is called. */
void pl__coroutine_free_all(pl__handle_t *h);

/* Adds spawn, in_coroutine, is_resuming and urgent to the method table on top of the stack. */
void pl__coroutine_register(lua_State *L);

#endif
