/*
 * coroutine.c - managed coroutines: started, resumed, ended; how one is suspended. See coroutine.h.
 *
 * A coroutine waits as all workers do (tasklet/worker.h): any other yield goes to a scheduler that is not there, and
 * ends the coroutine with an error. Values that a wait gives back are built by the continuation, on the coroutine
 * itself while it runs; before a resume only calls that cannot raise touch it.
 */
#include "binding/coroutine/coroutine.h"

#include <string.h>

#include <lauxlib.h>

#include "binding/coroutine/final.h"
#include "binding/coroutine/thread.h"
#include "binding/coroutine/unwaited.h"
#include "binding/tasklet/worker.h"
#include "binding/telemetry/event.h"
#include "binding/telemetry/sink.h"
#include "binding/trampoline.h"

/* ---- queues and lists -------------------------------------------------------------------------------------- */

void pl__coroutine_queue(pl__queue_t *queue, pl__coroutine_t *rec) {
    rec->state = PL__CO_QUEUED;
    rec->queue_next = NULL;
    if (queue->tail)
        queue->tail->queue_next = rec;
    else
        queue->head = rec;
    queue->tail = rec;
}

static pl__coroutine_t *queue_take(pl__queue_t *queue) {
    pl__coroutine_t *rec = queue->head;
    if (rec) {
        queue->head = rec->queue_next;
        if (!queue->head)
            queue->tail = NULL;
    }
    return rec;
}

/* Appends all of `from` to `to`. */
static void queue_move(pl__queue_t *to, pl__queue_t *from) {
    if (!from->head)
        return;
    if (to->tail)
        to->tail->queue_next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    from->head = from->tail = NULL;
}

static void live_add(pl__handle_t *h, pl__coroutine_t *rec) {
    rec->prev = NULL;
    rec->next = h->live;
    if (h->live)
        h->live->prev = rec;
    h->live = rec;
    h->live_count++;
}

static void live_remove(pl__handle_t *h, pl__coroutine_t *rec) {
    if (rec->prev)
        rec->prev->next = rec->next;
    else
        h->live = rec->next;
    if (rec->next)
        rec->next->prev = rec->prev;
    h->live_count--;
}

/* ---- turns of the loop ------------------------------------------------------------------------------------- */

static void turn_cb(pl_timer_t *timer) {
    pl__handle_t *h = timer->data;
    queue_move(&h->ready, &h->later);
    pl__pump(h);
}

void pl__coroutine_arm(pl__handle_t *h) {
    if (h->turn.active || h->closing)
        return;
    h->turn.fire = turn_cb;
    h->turn.data = h;
    pl_engine_timer_start(h->engine, &h->turn, 0);
}

/* ---- records ----------------------------------------------------------------------------------------------- */

/* Returns a record that is on the free list of h, or NULL. */
static pl__coroutine_t *record_get(pl__handle_t *h) {
    if (!h->free) {
        pl__coroutine_t *rec = pl__alloc(sizeof *rec);
        if (!rec)
            return NULL;
        rec->h = h;
        rec->index = ++h->records;
        h->free = rec;
    }
    return h->free;
}

/* Makes a record that record_get returned live. */
static void record_begin(pl__handle_t *h, pl__coroutine_t *rec) {
    h->free = rec->next;
    rec->started = rec->suspended = rec->finished = rec->woken = rec->urgent = false;
    rec->cancelled = false;
    rec->place = (pl_place_t){ .state = PL_PLACE_HELD };
    rec->resumed = rec->give_back = rec->late = false;
    rec->raised = 0;
    rec->deadline = rec->due = 0;
    rec->nargs = 0;
    rec->job = NULL;
    rec->data = NULL;
    live_add(h, rec);
}

void pl__coroutine_blame(pl__coroutine_t *rec, const char *problem) {
    enum { PROBLEM_MAX = 4000 };
    if (!rec->claim || rec->claim_ended || rec->problem || !problem)
        return;
    size_t len = strnlen(problem, PROBLEM_MAX);
    rec->problem = pl__alloc(len + 1);
    if (rec->problem)
        memcpy(rec->problem, problem, len);
}

/* Whichever way a coroutine ends that has begun to execute a task, that was an attempt; unless it is ended with the
 * engine, or on demand. */
static void record_end_claim(pl__handle_t *h, pl__coroutine_t *rec) {
    if (!rec->claim)
        return;
    pl_str_t problem = pl_str(rec->problem ? rec->problem : "its coroutine ended without a result");
    if (!rec->claim_ended) {
        h->given_back += rec->give_back;
        if (h->closing || rec->give_back)
            pl_engine_claim_release(h->engine, rec->claim);
        else if (!rec->resumed || pl_engine_claim_fail(h->engine, rec->claim, problem) != PL_OK)
            pl_engine_claim_drop(h->engine, rec->claim);
    }
    pl_claim_free(rec->claim);
    rec->claim = NULL;
    pl__free(rec->problem);
    rec->problem = NULL;
}

/* Whatever the coroutine waits for is not waited for any more: the one place that knows how each wait is left. */
static void leave_wait(pl__coroutine_t *rec) {
    pl__handle_t *h = rec->h;
    if (rec->timer.active)
        pl_engine_timer_cancel(h->engine, &rec->timer);
    if (rec->op && rec->op_back)
        pl_op_free(rec->op);
    else if (rec->op)
        rec->op->owner = h;
    rec->op = NULL;
    pl_engine_place_forget(h->engine, &rec->place);
    rec->wakes++; /* its token is good no more */
}

void pl__coroutine_interrupt(pl__coroutine_t *rec) {
    leave_wait(rec);
    rec->nargs = 0;
    pl__coroutine_queue(&rec->h->later, rec);
    pl__coroutine_arm(rec->h);
}

/* The coroutine is over; its thread is closed. Calls no Lua. */
static void record_end(pl__handle_t *h, pl__coroutine_t *rec) {
    leave_wait(rec);
    record_end_claim(h, rec);
    rec->life++;
    rec->state = PL__CO_FREE;
    live_remove(h, rec);
    rec->co = NULL; /* should its worker still be anchored, its place is taken by the next one */
    rec->next = h->free;
    h->free = rec;
    if (rec->job && rec->job->gone)
        rec->job->gone(rec->data, rec->finished);
}

/* ---- resuming ---------------------------------------------------------------------------------------------- */

/* Puts function and arguments of the job on the thread. May raise. */
static void prepare(lua_State *L, pl__coroutine_t *rec) {
    lua_State *co = pl__thread_push(L, rec->h);
    pl__thread_anchor(L, rec, lua_gettop(L), co);
    int n = rec->job->push(L, rec->data);
    if (!lua_checkstack(co, n + LUA_MINSTACK))
        luaL_error(L, "too many arguments");
    lua_xmove(L, co, n + 1);
    lua_pushcfunction(co, pl__thread_on_error);
    rec->nargs = n + 2;
    rec->started = true;
}

static int returned(lua_State *L, pl__coroutine_t *rec, int n) {
    lua_State *co = rec->co;
    pl__thread_clear_mailbox(L, rec);
    if (rec->job && rec->job->done) {
        luaL_checkstack(L, n + LUA_MINSTACK, "too many results");
        lua_xmove(co, L, n);
    } else {
        lua_pop(co, n);
    }
    pl__thread_give_back(L, rec);
    if (rec->job && rec->job->done)
        rec->job->done(L, rec->data, n);
    rec->finished = true;
    return 0;
}

static void report(lua_State *L, pl__coroutine_t *rec, const char *code) {
    pl__coroutine_blame(rec, lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error that is no text");
    pl__report(L, code);
}

/* The function has raised, and its variables are closed: reports the first error, and what came of it if that is
 * another one. */
static int failed(lua_State *L, pl__coroutine_t *rec) {
    lua_State *co = rec->co;
    int last = lua_gettop(L) + 1;
    lua_xmove(co, L, 1);
    pl__thread_clear_mailbox(L, rec);
    pl__thread_give_back(L, rec);
    bool is_known = pl__thread_push_failure(L, co);
    if (rec->give_back)
        return 0;
    if (is_known)
        report(L, rec, PL__ERROR_RAISED);
    if (is_known && lua_rawequal(L, last, last + 1))
        return 0;
    lua_settop(L, last);
    report(L, rec, PL__ERROR_RAISED);
    return 0;
}

/* Reports why the coroutine is over. Its thread is closed afterwards, by kill_entry. */
static int died(lua_State *L, pl__coroutine_t *rec, bool has_yielded) {
    lua_State *co = rec->co;
    if (rec->give_back)
        return 0;
    if (has_yielded) {
        luaL_traceback(L, co,
                       "a coroutine of the engine yielded to a scheduler that does not run it; inside it only the "
                       "waits of this engine may be used",
                       0);
    } else if (lua_checkstack(co, 1)) {
        lua_pushvalue(co, -1);
        lua_xmove(co, L, 1);
    } else {
        lua_pushliteral(L, "stack overflow");
    }
    report(L, rec, has_yielded ? PL__ERROR_YIELDED : PL__ERROR_RAISED);
    return 0;
}

/* Whether somebody else has closed or resumed the coroutine while it waited. */
static bool is_dead(const pl__coroutine_t *rec) {
    return rec->resumed && lua_status(rec->co) != LUA_YIELD;
}

/* Nothing is reported when it was closed because its claim had ended. */
static int was_closed(lua_State *L, pl__coroutine_t *rec) {
    if (rec->claim && rec->claim_ended)
        return 0;
    lua_pushliteral(L, "a coroutine of the engine that waited was closed, or resumed, by other code: it is a dead "
                       "coroutine now");
    pl__coroutine_blame(rec, lua_tostring(L, -1));
    pl__report(L, PL__ERROR_CLOSED);
    return 0;
}

/* ---- places ------------------------------------------------------------------------------------------------ */

/*
 * The coroutine was suspended: if it only waits, its place is for others. So it is while a durable function waits for
 * the commit of what it has written: others can write theirs meanwhile, and share the next one.
 */
static void leave_place(pl__handle_t *h, pl__coroutine_t *rec) {
    bool writes = rec->state == PL__CO_OP && rec->op && rec->op->verb == PL_VERB_journal;
    bool waits = writes || rec->state == PL__CO_TOKEN || rec->state == PL__CO_FUTURE || rec->state == PL__CO_SLEEP;
    if (waits && rec->claim && !rec->claim_ended)
        pl_engine_place_leave(h->engine, &rec->place, rec->claim->bytes);
}

static void served_cb(pl_place_t *place) {
    pl__coroutine_t *rec = place->data;
    pl__coroutine_queue(&rec->h->ready, rec);
    pl__pump(rec->h);
}

void pl__coroutine_go_on(pl__coroutine_t *rec, pl__queue_t *queue) {
    rec->place.served = served_cb;
    rec->place.data = rec;
    if (pl_engine_place_take(rec->h->engine, &rec->place, rec->urgent))
        pl__coroutine_queue(queue, rec);
    else
        rec->state = PL__CO_PLACE;
}

void pl__coroutine_claim_ends(pl__coroutine_t *rec) {
    pl__handle_t *h = rec->h;
    rec->claim_ended = true;
    pl_engine_place_forget(h->engine, &rec->place);
    if (rec->state != PL__CO_PLACE)
        return;
    pl__coroutine_queue(&h->later, rec); /* nobody serves it any more */
    pl__coroutine_arm(h);
}

/* e:urgent(flag): others wait for what the running coroutine holds, so that it goes on at once when it is woken. */
static int engine_urgent(lua_State *L) {
    const pl__handle_t *h = pl__handle_check(L, 1);
    if (h->current && h->current->co == L)
        h->current->urgent = lua_toboolean(L, 2);
    return 0;
}

/* Stack: handle, record. */
static int resume_entry(lua_State *L) {
    pl__coroutine_t *rec = lua_touserdata(L, 2);
    pl__handle_t *h = rec->h;
    if (!rec->started)
        prepare(L, rec);
    int n = 0, nargs = rec->nargs;
    if (is_dead(rec))
        return was_closed(L, rec);
    rec->nargs = 0;
    rec->state = PL__CO_RUNNING;
    rec->resumed = true;
    h->current = rec;
    pl__watched_t watched;
    pl__watch_enter(&watched, h, rec);
    pl__worker_state_t state = pl__worker_resume(h->workers, L, rec->co, nargs, (pl__whose_t){ h, false }, &n);
    pl__watch_leave(&watched);
    h->current = NULL;
    if (state == PL__WORKER_ENDED)
        return returned(L, rec, n);
    if (state == PL__WORKER_FAILED)
        return failed(L, rec);
    rec->suspended = state == PL__WORKER_WAITS;
    return rec->suspended ? 0 : died(L, rec, state == PL__WORKER_YIELDED);
}

/* Stack: handle, record. */
static int direct_entry(lua_State *L) {
    pl__coroutine_t *rec = lua_touserdata(L, 2);
    rec->job->direct(L, rec->data);
    return 0;
}

static void resume(pl__handle_t *h, pl__coroutine_t *rec) {
    rec->suspended = false;
    bool is_direct = rec->job && rec->job->direct;
    if (!rec->cancelled)
        pl__enter(h->L, is_direct ? direct_entry : resume_entry, rec);
    if (rec->suspended && !rec->cancelled) {
        leave_place(h, rec);
        if (rec->job && rec->job->waits)
            rec->job->waits(rec->data);
        return;
    }
    if (rec->co)
        pl__enter(h->L, pl__thread_kill_entry, rec);
    record_end(h, rec);
}

void pl__pump(pl__handle_t *h) {
    if (h->pumping || h->closing)
        return;
    if (!h->L || h->entered) {
        if (h->ready.head || h->finals || h->events)
            pl__coroutine_arm(h);
        return;
    }
    h->pumping = true;
    while (h->ready.head || h->finals || h->events) {
        pl__coroutine_t *rec = queue_take(&h->ready);
        if (rec) {
            resume(h, rec);
            if (h->ready.head) /* of what is done last whoever has called takes care */
                pl_engine_offer(h->engine);
        } else if (h->finals) {
            pl__final_report(h);
        } else {
            pl__event_report(h);
        }
    }
    h->pumping = false;
    pl__log_drain(h->L, h);
}

/* ---- from the host callbacks ------------------------------------------------------------------------------- */

int pl__coroutine_start(pl__handle_t *h, const pl__job_t *job, void *data, pl__coroutine_t **out) {
    if (!h->engine || h->closing)
        return PL_ECLOSED;
    pl__coroutine_t *rec = record_get(h);
    if (!rec)
        return PL_ENOMEM;
    record_begin(h, rec);
    rec->job = job;
    rec->data = data;
    pl__coroutine_queue(&h->later, rec);
    pl__coroutine_arm(h);
    if (out)
        *out = rec;
    return PL_OK;
}

void pl__coroutine_cancel(pl__coroutine_t *rec, uint64_t life) {
    pl__handle_t *h = rec->h;
    if (rec->life != life || rec->cancelled || !h->engine || h->closing)
        return;
    rec->cancelled = true;
    if (rec->state == PL__CO_QUEUED || rec->state == PL__CO_RUNNING)
        return; /* its turn is to come, or it is just having it */
    pl__coroutine_interrupt(rec);
}

void pl__coroutine_execute(pl__handle_t *h, pl_claim_t *claim, const pl__job_t *job) {
    pl__coroutine_t *rec = h->closing ? NULL : record_get(h);
    if (!rec) {
        pl_engine_claim_drop(h->engine, claim);
        pl_claim_free(claim);
        return;
    }
    record_begin(h, rec);
    rec->job = job;
    rec->data = rec;
    rec->claim = claim;
    rec->claim_ended = false;
    pl__coroutine_queue(h->has_task_hook ? &h->ready : &h->parked, rec);
    pl__pump(h);
}

pl__coroutine_t *pl__coroutine_park(pl__handle_t *h, const pl__job_t *job, pl_op_t *op) {
    pl__coroutine_t *rec = h->closing ? NULL : record_get(h);
    if (!rec)
        return NULL;
    record_begin(h, rec);
    rec->job = job;
    rec->data = rec;
    rec->op = op;
    rec->op_back = false;
    rec->state = PL__CO_OP;
    op->owner = rec;
    pl_engine_submit(h->engine, op);
    return rec;
}

void pl__coroutine_unpark(pl__handle_t *h) {
    if (!h->parked.head)
        return;
    queue_move(&h->later, &h->parked);
    pl__coroutine_arm(h);
}

void pl__coroutine_op_done(pl__handle_t *h, pl_op_t *op) {
    if (!op->owner || op->owner == h) {
        if (!op->owner && pl__unwaited_result(h, op))
            pl__pump(h); /* nothing else may come for long that would show the line */
        pl_op_free(op);
        return;
    }
    pl__coroutine_t *rec = op->owner;
    rec->op_back = true;
    pl__coroutine_go_on(rec, &h->ready);
    pl__pump(h);
}

void pl__coroutine_final(pl__handle_t *h, pl_id_t stage, pl_stage_state_t state) {
    if (!pl__final_add(h, stage, state))
        return;
    pl__pump(h);
    pl__final_forget_records(h);
}

/* ---- end of the engine ------------------------------------------------------------------------------------- */

static bool is_executing(const pl__coroutine_t *rec) {
    return rec->claim && !rec->claim_ended;
}

/* Takes those that execute tasks out of a queue. */
static void queue_leave(pl__queue_t *queue) {
    pl__coroutine_t *next = queue->head;
    *queue = (pl__queue_t){ NULL, NULL };
    while (next) {
        pl__coroutine_t *rec = next;
        next = rec->queue_next;
        if (!is_executing(rec))
            pl__coroutine_queue(queue, rec);
    }
}

void pl__coroutine_cancel_claims(lua_State *L, pl__handle_t *h) {
    queue_leave(&h->ready);
    queue_leave(&h->later);
    queue_leave(&h->parked);
    pl__coroutine_t *rec = h->live;
    while (rec) {
        if (is_executing(rec)) {
            rec->give_back = true;
            pl__enter(L, pl__thread_kill_entry, rec);
            record_end(h, rec);
            rec = h->live; /* closing its variables may have done anything */
        } else {
            rec = rec->next;
        }
    }
}

void pl__coroutine_close_all(lua_State *L, pl__handle_t *h) {
    while (h->live) {
        pl__coroutine_t *rec = h->live;
        pl__enter(L, pl__thread_kill_entry, rec);
        record_end(h, rec);
    }
    if (h->turn.active)
        pl_engine_timer_cancel(h->engine, &h->turn);
    h->ready = h->later = h->parked = (pl__queue_t){ NULL, NULL };
}

static void free_list(pl__coroutine_t *rec) {
    while (rec) {
        pl__coroutine_t *next = rec->next;
        pl_claim_free(rec->claim);
        pl__free(rec->problem);
        pl__free(rec);
        rec = next;
    }
}

void pl__coroutine_free_all(pl__handle_t *h) {
    free_list(h->live);
    free_list(h->free);
    h->live = h->free = NULL;
    h->ready = h->later = h->parked = (pl__queue_t){ NULL, NULL };
    h->live_count = h->records = 0;
    pl__event_forget(h);
    pl__final_forget(h);
}

/* ---- awaiting ---------------------------------------------------------------------------------------------- */

bool pl__coroutine_can_await(lua_State *L, const pl__handle_t *h) {
    return h->current && h->current->co == L && lua_isyieldable(L);
}

int pl__await_yield(lua_State *L, pl__coroutine_t *rec, lua_KFunction k) {
    return pl__worker_wait(L, 0, (lua_KContext)rec, k);
}

/* The record a continuation belongs to; raises when somebody else resumed the coroutine. */
pl__coroutine_t *pl__await_record(lua_State *L, lua_KContext context) {
    pl__coroutine_t *rec = (pl__coroutine_t *)context;
    if (rec->h->current != rec || rec->co != L)
        luaL_error(L, "a coroutine of the engine was resumed by somebody else");
    return rec;
}

int pl__wait(lua_State *L, pl__handle_t *h, lua_KFunction k) {
    h->current->state = PL__CO_EVENT;
    return pl__await_yield(L, h->current, k);
}

void pl__wait_check(lua_State *L, lua_KContext context) {
    (void)pl__await_record(L, context);
}

void pl__wait_end(pl__coroutine_t *rec, uint64_t life) {
    if (rec->life != life || rec->state != PL__CO_EVENT)
        return;
    pl__coroutine_queue(&rec->h->ready, rec);
    pl__pump(rec->h);
}

/* ---- spawn ------------------------------------------------------------------------------------------------- */

/* Stack: engine, function, its arguments. */
static int spawn(lua_State *L, pl__handle_t *h, bool in_this_turn) {
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (h->closing)
        return pl__push_failure(L, PL_ECLOSED, "the engine is closing");
    int n = lua_gettop(L) - 1;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    /* First: it may run finalizers, and those may spawn, or close the engine. From here to the end nothing does. */
    lua_State *co = pl__thread_push(L, h);
    if (!lua_checkstack(co, n + LUA_MINSTACK))
        return luaL_error(L, "too many arguments");
    int refused = pl__handle_refuse(L, h);
    if (refused)
        return refused;
    pl__coroutine_t *rec = record_get(h);
    if (!rec)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    pl__thread_anchor(L, rec, n + 2, co);
    lua_settop(L, n + 1);
    record_begin(h, rec);
    lua_xmove(L, co, n);
    lua_pushcfunction(co, pl__thread_on_error);
    rec->nargs = n + 1;
    rec->started = true;
    pl__coroutine_queue(in_this_turn && h->pumping ? &h->ready : &h->later, rec);
    pl__coroutine_arm(h);
    lua_pushboolean(L, 1);
    return 1;
}

/* e:spawn(fn, ...) -> true, or nil, code, message: in the next turn of the loop. */
static int engine_spawn(lua_State *L, pl__handle_t *h) {
    return spawn(L, h, false);
}

/* e:begin(fn, ...) -> true, or nil, code, message: as spawn, but in this turn, when what runs now waits or ends. */
static int engine_begin(lua_State *L, pl__handle_t *h) {
    return spawn(L, h, true);
}

/* e:in_coroutine() -> whether the running coroutine is managed by this engine and may wait. */
static int engine_in_coroutine(lua_State *L) {
    lua_pushboolean(L, pl__coroutine_can_await(L, pl__handle_check(L, 1)));
    return 1;
}

/* e:is_resuming() -> whether the running code is that of one of its coroutines, or was called by it. */
static int engine_is_resuming(lua_State *L) {
    lua_pushboolean(L, pl__handle_check(L, 1)->current ? 1 : 0);
    return 1;
}

void pl__coroutine_register(lua_State *L) {
    static const pl__method_t METHODS[] = {
        { "spawn", engine_spawn },
        { "begin", engine_begin },
        { NULL, NULL },
    };
    static const luaL_Reg ALWAYS[] = {
        { "in_coroutine", engine_in_coroutine },
        { "is_resuming", engine_is_resuming },
        { "urgent", engine_urgent },
        { NULL, NULL },
    };
    pl__methods_set(L, METHODS);
    luaL_setfuncs(L, ALWAYS, 0);
}
