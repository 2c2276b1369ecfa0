/*
 * watch.c - reaching Lua code that keeps the loop busy: run timeouts, cancellation.
 *
 * While a coroutine computes, nobody else has a turn on the loop. A count hook reaches it; but a hook that is set all
 * the time makes Lua code two to three times slower, for the interpreter then stops at each instruction. So it is set
 * only when there is a reason, from a signal handler on the thread that runs the code, which is what lua_sethook
 * allows:
 *
 *   a deadline has passed  a thread that sleeps until then finds the coroutine still running, and sends SIGURG
 *   SIGINT, SIGTERM        the handler of the engine says so (host.interrupted)
 *
 * The hook raises an error in the code of the user, and comes again until the coroutine ends: what pcall has caught is
 * raised again, first after a while, so that to-be-closed variables can do their work, then in each line. It spares
 * the frames of this library around the user's code. What becomes of the claim is then certain: after a deadline the
 * caller of `deadline` is told, and after a cancellation the claim goes back, whatever the code has made of it.
 *
 * A hook of somebody else (a debugger, a coverage tool) stays; then only waits notice. So it is with a coroutine that
 * the code has made for itself: it is reached when it comes back.
 *
 * SIGURG is ignored by default, so that one too many does no harm; a handler that was there before is called.
 */
#include "binding/watch.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>

#include "binding/coroutine.h"
#include "binding/results.h"

enum {
    LOOK_COUNT = 100 * 1000, /* instructions between two looks */
    PATIENT = 3,             /* errors that are raised LOOK_COUNT apart */
    OWN_FRAMES = 5           /* of this library, below the user's */
};

static _Thread_local pl__handle_t *running; /* whose coroutine this thread is resuming */

/* ---- the hook ---------------------------------------------------------------------------------------------- */

typedef enum { REASON_NONE, REASON_LATE, REASON_CANCELLED } reason_t;

static reason_t reason_of(const pl__handle_t *h, const pl__coroutine_t *rec) {
    pl_usec_t now = pl_engine_steady(h->engine);
    if (rec->claim != NULL && !rec->claim_ended && pl_engine_cancel_at(h->engine) <= now)
        return REASON_CANCELLED;
    return rec->deadline != 0 && rec->deadline <= now ? REASON_LATE : REASON_NONE;
}

static bool is_in_user_code(lua_State *L, const pl__coroutine_t *rec) {
    lua_Debug frame;
    return L != rec->co || lua_getstack(L, OWN_FRAMES, &frame);
}

static void hook_cb(lua_State *L, lua_Debug *event);

static void raise_in(lua_State *L, pl__coroutine_t *rec, reason_t reason) {
    bool patient = rec->raised++ < PATIENT;
    lua_sethook(L, hook_cb, patient ? LUA_MASKCOUNT : LUA_MASKCOUNT | LUA_MASKLINE, patient ? LOOK_COUNT : 1000);
    rec->late = rec->late || reason == REASON_LATE;
    rec->give_back = rec->give_back || reason == REASON_CANCELLED;
    luaL_where(L, 0);
    lua_pushstring(L, reason == REASON_LATE ? "the time of the attempt is up" : "the engine is stopping");
    lua_concat(L, 2);
    lua_error(L);
}

static void hook_cb(lua_State *L, lua_Debug *event) {
    pl__handle_t *h = running;
    pl__coroutine_t *rec = h != NULL ? h->current : NULL;
    (void)event;
    reason_t reason = rec != NULL ? reason_of(h, rec) : REASON_NONE;
    if (reason != REASON_NONE && is_in_user_code(L, rec))
        raise_in(L, rec, reason);
    else if (reason != REASON_NONE || (rec != NULL && pl_engine_cancel_at(h->engine) != PL_USEC_NEVER))
        lua_sethook(L, hook_cb, LUA_MASKCOUNT, LOOK_COUNT);
    else
        lua_sethook(L, NULL, 0, 0);
}

static void set_hook(const pl__coroutine_t *rec) {
    if (rec->co != NULL && lua_gethook(rec->co) == NULL)
        lua_sethook(rec->co, hook_cb, LUA_MASKCOUNT, 1);
}

static void drop_hook(lua_State *co) {
    if (co != NULL && lua_gethook(co) == hook_cb)
        lua_sethook(co, NULL, 0, 0);
}

void pl__watch_interrupted(pl__handle_t *h) {
    if (h->current != NULL)
        set_hook(h->current);
}

/* ---- SIGURG ------------------------------------------------------------------------------------------------ */

static struct sigaction urgent_before;

static void urgent_cb(int number, siginfo_t *info, void *context) {
    int saved = errno;
    const pl__handle_t *h = running;
    const pl__coroutine_t *rec = h != NULL ? h->current : NULL;
    if (rec != NULL && reason_of(h, rec) != REASON_NONE)
        set_hook(rec);
    if (urgent_before.sa_flags & SA_SIGINFO)
        urgent_before.sa_sigaction(number, info, context);
    else if (urgent_before.sa_handler != SIG_DFL && urgent_before.sa_handler != SIG_IGN)
        urgent_before.sa_handler(number);
    errno = saved;
}

static void install_urgent(void) {
    struct sigaction ours;
    memset(&ours, 0, sizeof(ours));
    ours.sa_sigaction = urgent_cb;
    ours.sa_flags = SA_SIGINFO | SA_RESTART;
    sigfillset(&ours.sa_mask);
    sigaction(SIGURG, &ours, &urgent_before);
}

/* ---- the thread that watches ------------------------------------------------------------------------------- */

enum { AGAIN_US = 20 * 1000 }; /* the loop's own timer has the first chance, and a signal may come too early */

static void *watch_main(void *data) {
    pl__watch_t *watch = data;
    pthread_mutex_lock(&watch->mutex);
    while (!watch->closing) {
        int64_t now = pl_clock_monotonic_us(), at = atomic_load(&watch->wake_at);
        if (at > now) {
            struct timespec until = { .tv_sec = at / PL_USEC_PER_SEC, .tv_nsec = at % PL_USEC_PER_SEC * 1000 };
            if (at == INT64_MAX)
                pthread_cond_wait(&watch->cond, &watch->mutex);
            else
                pthread_cond_timedwait(&watch->cond, &watch->mutex, &until);
            continue;
        }
        int64_t busy = atomic_load(&watch->busy);
        if (busy != 0 && busy <= now)
            pthread_kill(watch->loop, SIGURG);
        atomic_store(&watch->wake_at, busy == 0 ? INT64_MAX : busy <= now ? now + AGAIN_US : busy);
        if (atomic_load(&watch->busy) != busy) /* another one has begun, which may not have been noticed */
            atomic_store(&watch->wake_at, now + AGAIN_US);
    }
    pthread_mutex_unlock(&watch->mutex);
    return NULL;
}

static bool start_thread(pl__watch_t *watch) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_condattr_t monotonic;
    sigset_t all, before;
    if (watch->has_thread)
        return true;
    pthread_once(&once, install_urgent);
    if (pthread_condattr_init(&monotonic) != 0)
        return false;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&watch->mutex, NULL);
    pthread_cond_init(&watch->cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    watch->closing = false;
    watch->loop = pthread_self();
    atomic_store(&watch->wake_at, INT64_MAX);
    sigfillset(&all); /* signals are for the threads of the program */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    watch->has_thread = pthread_create(&watch->thread, NULL, watch_main, watch) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!watch->has_thread) {
        pthread_mutex_destroy(&watch->mutex);
        pthread_cond_destroy(&watch->cond);
    }
    return watch->has_thread;
}

void pl__watch_close(pl__handle_t *h) {
    pl__watch_t *watch = &h->watch;
    if (running == h)
        running = NULL;
    if (!watch->has_thread)
        return;
    pthread_mutex_lock(&watch->mutex);
    watch->closing = true;
    pthread_cond_signal(&watch->cond);
    pthread_mutex_unlock(&watch->mutex);
    pthread_join(watch->thread, NULL);
    pthread_mutex_destroy(&watch->mutex);
    pthread_cond_destroy(&watch->cond);
    watch->has_thread = false;
}

/* The thread is told only when it would look too late, which is seldom: most deadlines are later than the last one. */
static void publish(pl__watch_t *watch, int64_t deadline) {
    if (!watch->has_thread)
        return;
    atomic_store(&watch->busy, deadline);
    if (deadline == 0 || deadline + AGAIN_US >= atomic_load(&watch->wake_at))
        return;
    pthread_mutex_lock(&watch->mutex);
    atomic_store(&watch->wake_at, deadline + AGAIN_US);
    pthread_cond_signal(&watch->cond);
    pthread_mutex_unlock(&watch->mutex);
}

/* The thread that resumes is nearly always the same. */
static void set_loop(pl__watch_t *watch) {
    if (!watch->has_thread || pthread_equal(watch->loop, pthread_self()))
        return;
    pthread_mutex_lock(&watch->mutex);
    watch->loop = pthread_self();
    pthread_mutex_unlock(&watch->mutex);
}

/* ---- around a resume --------------------------------------------------------------------------------------- */

pl__handle_t *pl__watch_enter(pl__handle_t *h, pl__coroutine_t *rec) {
    pl__handle_t *outer = running;
    running = h;
    if (rec->deadline != 0) {
        set_loop(&h->watch);
        publish(&h->watch, rec->deadline);
    }
    if (rec->claim != NULL && pl_engine_cancel_at(h->engine) != PL_USEC_NEVER)
        set_hook(rec);
    return outer;
}

void pl__watch_leave(pl__handle_t *h, pl__coroutine_t *rec, pl__handle_t *outer) {
    if (h->watch.has_thread)
        atomic_store(&h->watch.busy, 0);
    drop_hook(rec->co);
    running = outer;
}

/* e:deadline(seconds) -> when that is over, by the steady clock: code of the user begins, which has so much time.
 * e:deadline() -> "late", "cancelled" or nil: it has ended, and whether by that. Time that stands still runs out for no
 * code. */
static int engine_deadline(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    double seconds = luaL_optnumber(L, 2, -1);
    pl__coroutine_t *rec = h->current;
    if (h->engine == NULL || rec == NULL || rec->co != L) {
        lua_pushnumber(L, HUGE_VAL);
        return seconds >= 0;
    }
    if (seconds >= 0) {
        pl_usec_t deadline = pl_clock_add(pl_engine_steady(h->engine), pl_clock_from_seconds(seconds));
        if (!h->is_virtual && start_thread(&h->watch)) {
            rec->deadline = deadline;
            set_loop(&h->watch);
            publish(&h->watch, deadline);
        }
        pl__push_time(L, deadline);
        return 1;
    }
    drop_hook(L);
    if (rec->deadline != 0)
        publish(&h->watch, rec->deadline = 0);
    if (!rec->late && !rec->give_back)
        return 0;
    lua_pushstring(L, rec->give_back ? "cancelled" : "late");
    return 1;
}

void pl__watch_register(lua_State *L) {
    lua_pushcfunction(L, engine_deadline);
    lua_setfield(L, -2, "deadline");
}
