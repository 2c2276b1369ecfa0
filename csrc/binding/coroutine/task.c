/*
 * task.c - a task as the job of a coroutine: the "task" hook of the engine executes it, and has so much time.
 *
 * A deferred call has its dispatch deadline for one try. Code that computes is reached by watch.c. Code that waits is
 * not running, so that somebody else has to end it: a timer, which begins with the first wait of the try (most calls
 * never wait, and cost nothing here), and the hook "late", in a coroutine of its own. When that has its turn the call
 * may be over, or go on already: then nothing happens.
 */
#include "binding/coroutine/task.h"

#include <lauxlib.h>

#include "binding/coroutine/claim.h"
#include "binding/coroutine/coroutine.h"
#include "binding/op/pusher.h"
#include "binding/trampoline.h"

enum { DISPATCH_SECONDS = 600 }; /* of a call that was added without a deadline of its own */

/* ---- a wait that is too long --------------------------------------------------------------------------------- */

/* A try whose time was up when its timer fired. */
typedef struct {
    pl__coroutine_t *rec;
    uint64_t life;
} late_t;

static bool still_waits(const late_t *late) {
    const pl__coroutine_t *rec = late->rec;
    return rec->life == late->life && rec->suspended && rec->claim && !rec->claim_ended;
}

static int nothing(lua_State *L) {
    (void)L;
    return 0;
}

/* Pushes the hook, the claim, and the coroutine that executes it. */
static int late_push(lua_State *L, void *data) {
    const late_t *late = data;
    if (!still_waits(late) || lua_getiuservalue(L, 1, PL__UV_LATE) != LUA_TFUNCTION) {
        lua_pushcfunction(L, nothing);
        return 0;
    }
    pl__claim_push(L, late->rec);
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_rawgeti(L, -1, late->rec->index);
    lua_rawgeti(L, -1, PL__WORKER_CO);
    lua_replace(L, -3);
    lua_pop(L, 1);
    return 2;
}

static void late_gone(void *data, bool ok) {
    (void)ok;
    pl__free(data);
}

static const pl__job_t LATE_JOB = { .push = late_push, .gone = late_gone };

static void late_cb(pl_timer_t *timer) {
    pl__coroutine_t *rec = timer->data;
    late_t *late = pl__alloc(sizeof *late);
    if (late) {
        *late = (late_t){ rec, rec->life };
        if (pl__coroutine_start(rec->h, &LATE_JOB, late, NULL) == PL_OK)
            return;
        pl__free(late);
    }
    if (!rec->h->closing)
        pl_engine_timer_start(rec->h->engine, timer, PL_USEC_PER_SEC); /* there may be memory then */
}

static void begin_limit(pl__coroutine_t *rec) {
    const pl_claim_t *claim = rec->claim;
    if (claim->kind != PL_TASK_DEFERRED)
        return;
    double seconds = claim->deadline > 0 ? claim->deadline : DISPATCH_SECONDS;
    rec->due = pl_clock_add(claim->started, pl_clock_from_seconds(seconds));
    rec->deadline = rec->h->is_virtual ? 0 : rec->due; /* time that stands still runs out for no code that computes */
}

static void task_waits(void *data) {
    pl__coroutine_t *rec = data;
    if (rec->due == 0 || rec->claim_ended || rec->limit.active)
        return;
    pl_usec_t left = rec->due - pl_engine_steady(rec->h->engine);
    rec->limit.fire = late_cb;
    rec->limit.data = rec;
    pl_engine_timer_start(rec->h->engine, &rec->limit, left > 0 ? left : 0);
}

/* ---- the job ------------------------------------------------------------------------------------------------- */

static int task_push(lua_State *L, void *data) {
    pl__coroutine_t *rec = data;
    lua_getiuservalue(L, 1, PL__UV_TASK);
    pl__claim_push(L, rec);
    begin_limit(rec);
    return 1;
}

static void task_done(lua_State *L, void *data, int n) {
    pl__coroutine_t *rec = data;
    lua_pop(L, n);
    if (rec->claim_ended || rec->give_back)
        return;
    lua_pushfstring(L, "the \"task\" hook returned without ending its claim (%s %I)",
                    pl_task_kind_name((int)rec->claim->kind), (LUAI_UACINT)rec->claim->task);
    pl__coroutine_blame(rec, lua_tostring(L, -1));
    pl__report(L, PL__ERROR_RAISED);
}

static void task_gone(void *data, bool ok) {
    pl__coroutine_t *rec = data; /* which drops the claim */
    (void)ok;
    if (rec->limit.active)
        pl_engine_timer_cancel(rec->h->engine, &rec->limit);
}

static const pl__job_t TASK_JOB = { .push = task_push, .done = task_done, .waits = task_waits, .gone = task_gone };

void pl__task_execute(pl__handle_t *h, pl_claim_t *claim) {
    pl__coroutine_execute(h, claim, &TASK_JOB);
}
