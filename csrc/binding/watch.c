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
 * A hook belongs to one coroutine, and is given to those that are made while it is there. So a coroutine that the code
 * has made for itself, and which runs, does not have it. It is looked for: once the hook was there for a while of the
 * thread's own time without being called, no Lua code runs in that coroutine, but a function in C, and if that has a
 * coroutine as its first argument (coroutine.resume) or first upvalue (what coroutine.wrap returns), that one gets the
 * hook, too; and so on. For a tasklet the run answers in which it was started, as long as that lasts.
 *
 * A hook of somebody else (a debugger, a coverage tool) stays; then only waits notice.
 *
 * SIGURG is ignored by default, so that one too many does no harm; a handler that was there before is called.
 */
#include "binding/watch.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

#include "binding/coroutine/coroutine.h"
#include "binding/op/pusher.h"
#include "binding/op/table.h"
#include "binding/whose.h"

enum {
    LOOK_COUNT = 100 * 1000, /* instructions between two looks */
    PATIENT = 3,             /* errors that are raised LOOK_COUNT apart */
    OWN_FRAMES = 6,          /* of this library, below the user's */
    UNHEARD_US = 50 * 1000,  /* a hook that is not called for so long is in a coroutine that is not running */
    DEPTH_MAX = 200          /* as many coroutines can be nested */
};

static const char RUNS = 0; /* the key of the table of runs, each found by the address of its record */

/* What stands for a run, for its tasklets. */
typedef struct {
    pl__handle_t *h; /* memory of the engine userdata, which is user value 1 */
    pl__coroutine_t *rec;
    uint64_t life;
} run_t;

/* What this thread is resuming, of whatever engine; read by signal handlers. */
static _Thread_local pl__watched_t *volatile running;
static _Thread_local int64_t hooked_at; /* CPU time of the thread when a hook was set last, or was called */

static _Thread_local pl__handle_t *innermost; /* whose run this thread is in */

void pl__watch_begin_run(pl__handle_t *h) {
    h->outer = innermost;
    innermost = h;
}

void pl__watch_end_run(pl__handle_t *h) {
    innermost = h->outer;
    h->outer = NULL;
}

/* When what h executes should not go on any more: that of an engine whose run it has its turn in must end as well. */
static pl_usec_t cancel_at(const pl__handle_t *h) {
    pl_usec_t at = PL_USEC_NEVER;
    for (; h; h = h->outer) {
        pl_usec_t own = h->engine ? pl_engine_cancel_at(h->engine) : PL_USEC_NEVER;
        at = own < at ? own : at;
    }
    return at;
}

static bool is_in_run_of(const pl__handle_t *inner, const pl__handle_t *h) {
    while (inner && inner != h)
        inner = inner->outer;
    return inner;
}

/* ---- the hook ---------------------------------------------------------------------------------------------- */

typedef enum { REASON_NONE, REASON_LATE, REASON_CANCELLED } reason_t;

static int64_t cpu_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static bool may_be_cancelled(const pl__watched_t *self) {
    return self->rec->claim && !self->rec->claim_ended && cancel_at(self->h) != PL_USEC_NEVER;
}

static reason_t reason_of(const pl__watched_t *self) {
    pl_usec_t now = pl_engine_steady(self->h->engine);
    if (may_be_cancelled(self) && cancel_at(self->h) <= now)
        return REASON_CANCELLED;
    return self->rec->deadline != 0 && self->rec->deadline <= now ? REASON_LATE : REASON_NONE;
}

static bool is_in_user_code(lua_State *L, const pl__coroutine_t *rec) {
    lua_Debug frame;
    return L != rec->co || lua_getstack(L, OWN_FRAMES, &frame);
}

static void hook_cb(lua_State *L, lua_Debug *event);

/* The next error is raised later, or in the next line. */
static void arm(lua_State *co, bool patient) {
    lua_sethook(co, hook_cb, patient ? LUA_MASKCOUNT : LUA_MASKCOUNT | LUA_MASKLINE, patient ? LOOK_COUNT : 1000);
}

static void raise_in(lua_State *L, const pl__watched_t *self, reason_t reason) {
    pl__coroutine_t *rec = self->rec;
    bool patient = rec->raised++ < PATIENT;
    arm(L, patient);
    if (L != self->co && lua_gethook(self->co) == hook_cb) /* the error may come there: its handlers have time, too */
        arm(self->co, patient);
    rec->late = rec->late || reason == REASON_LATE;
    rec->give_back = rec->give_back || reason == REASON_CANCELLED;
    luaL_where(L, 0);
    lua_pushstring(L, reason == REASON_LATE ? "the time of the attempt is up" : "the engine is stopping");
    lua_concat(L, 2);
    lua_error(L);
}

static void hook_cb(lua_State *L, lua_Debug *event) {
    const pl__watched_t *self = running;
    (void)event;
    hooked_at = cpu_time();
    reason_t reason = self ? reason_of(self) : REASON_NONE;
    if (reason != REASON_NONE && is_in_user_code(L, self->rec))
        raise_in(L, self, reason);
    else if (reason != REASON_NONE || (self && may_be_cancelled(self)))
        lua_sethook(L, hook_cb, LUA_MASKCOUNT, LOOK_COUNT);
    else
        lua_sethook(L, NULL, 0, 0);
}

/* The coroutine that a function in C has been given, in which `co` is; NULL: none, or it is in Lua code. Only reads. */
static lua_State *resumed_by(lua_State *co) {
    lua_Debug frame;
    if (!lua_getstack(co, 0, &frame) || !lua_getinfo(co, "S", &frame) || frame.what[0] != 'C')
        return NULL;
    lua_State *inner = lua_tothread(co, 1);
    return inner ? inner : lua_tothread(co, lua_upvalueindex(1));
}

static void set_hook(const pl__watched_t *self) {
    lua_State *co = self->co;
    if (!co)
        return;
    if (!lua_gethook(co)) {
        hooked_at = cpu_time();
        lua_sethook(co, hook_cb, LUA_MASKCOUNT, 1);
        return;
    }
    if (cpu_time() - hooked_at < UNHEARD_US)
        return;
    for (int depth = 0; depth < DEPTH_MAX && lua_gethook(co) == hook_cb && (co = resumed_by(co)); depth++)
        if (!lua_gethook(co))
            lua_sethook(co, hook_cb, LUA_MASKCOUNT, 1);
}

static void drop_hook(lua_State *co) {
    if (co && lua_gethook(co) == hook_cb)
        lua_sethook(co, NULL, 0, 0);
}

/* ---- SIGURG ------------------------------------------------------------------------------------------------ */

static struct sigaction urgent_before;

static void urgent_cb(int number, siginfo_t *info, void *context) {
    int saved = errno;
    const pl__watched_t *self = running;
    if (self && reason_of(self) != REASON_NONE)
        set_hook(self);
    if (urgent_before.sa_flags & SA_SIGINFO)
        urgent_before.sa_sigaction(number, info, context);
    else if (urgent_before.sa_handler != SIG_DFL && urgent_before.sa_handler != SIG_IGN)
        urgent_before.sa_handler(number);
    errno = saved;
}

static void install_urgent(void) {
    struct sigaction ours;
    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = urgent_cb;
    ours.sa_flags = SA_SIGINFO | SA_RESTART;
    sigfillset(&ours.sa_mask);
    sigaction(SIGURG, &ours, &urgent_before);
}

/* ---- the thread that watches ------------------------------------------------------------------------------- */

enum { AGAIN_US = 20 * 1000 }; /* the loop's own timer has the first chance, and a signal may come too early */

static void kick(pl__watch_t *watch) {
    pthread_mutex_lock(&watch->mutex);
    pthread_kill(watch->loop, SIGURG);
    pthread_mutex_unlock(&watch->mutex);
}

/* Sleeps until then, or until it is woken. */
static void sleep_until(const pl__watch_t *watch, int64_t at, int64_t now) {
    struct pollfd wakes = { .fd = watch->wake_fd, .events = POLLIN };
    int64_t ms = at == INT64_MAX ? -1 : (at - now + 999) / 1000;
    uint64_t count;
    if (poll(&wakes, 1, ms > INT_MAX ? INT_MAX : (int)ms) > 0 && read(watch->wake_fd, &count, sizeof count) < 0)
        return;
}

static void *watch_main(void *data) {
    pl__watch_t *watch = data;
    while (!atomic_load(&watch->closing)) {
        int64_t now = pl_clock_monotonic_us(), busy = atomic_load(&watch->busy);
        if (busy != 0 && busy <= now)
            kick(watch);
        int64_t at = busy == 0 ? INT64_MAX : busy <= now ? now + AGAIN_US : busy;
        atomic_store(&watch->wake, at);
        if (atomic_load(&watch->busy) != busy) /* another one has begun, which may have taken us for awake */
            at = now + AGAIN_US;
        sleep_until(watch, at, now);
    }
    return NULL;
}

/* Wakes the watching thread; also in a signal handler. */
static void wake(const pl__watch_t *watch) {
    uint64_t one = 1;
    ssize_t written = write(watch->wake_fd, &one, sizeof one);
    (void)written; /* it is awake already */
}

static bool start_thread(pl__watch_t *watch) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sigset_t all, before;
    if (watch->has_thread)
        return true;
    pthread_once(&once, install_urgent);
    watch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch->wake_fd < 0)
        return false;
    pthread_mutex_init(&watch->mutex, NULL);
    watch->loop = pthread_self();
    atomic_store(&watch->closing, false);
    atomic_store(&watch->wake, INT64_MAX);
    sigfillset(&all); /* signals are for the threads of the program */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    watch->has_thread = pthread_create(&watch->thread, NULL, watch_main, watch) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!watch->has_thread) {
        pthread_mutex_destroy(&watch->mutex);
        close(watch->wake_fd);
    }
    return watch->has_thread;
}

void pl__watch_close(pl__handle_t *h) {
    pl__watch_t *watch = &h->watch;
    if (running && running->h == h)
        running = NULL;
    if (innermost == h)
        pl__watch_end_run(h);
    if (!watch->has_thread)
        return;
    atomic_store(&watch->closing, true);
    wake(watch);
    pthread_join(watch->thread, NULL);
    pthread_mutex_destroy(&watch->mutex);
    close(watch->wake_fd);
    watch->has_thread = false;
}

/* The thread is told only when it would look too late, which is seldom: most deadlines are later than the last one. */
static void publish(pl__watch_t *watch, int64_t due) {
    if (!watch->has_thread)
        return;
    atomic_store(&watch->busy, due);
    if (due == 0 || pl_clock_add(due, AGAIN_US) >= atomic_load(&watch->wake))
        return;
    atomic_store(&watch->wake, due + AGAIN_US);
    wake(watch);
}

/* The thread that resumes is nearly always the same. */
static void set_loop(pl__watch_t *watch) {
    if (!watch->has_thread || pthread_equal(watch->loop, pthread_self()))
        return;
    pthread_mutex_lock(&watch->mutex);
    watch->loop = pthread_self();
    pthread_mutex_unlock(&watch->mutex);
}

void pl__watch_interrupted(pl__handle_t *h) {
    const pl__watched_t *self = running;
    if (!self || !is_in_run_of(self->h, h) || !self->rec->claim)
        return;
    set_hook(self);
    pl__watch_t *watch = &self->h->watch;
    pl_usec_t at = cancel_at(self->h);
    if (at == PL_USEC_NEVER)
        return;
    if (self->rec->deadline == 0 || at < self->rec->deadline)
        atomic_store(&watch->busy, at > 0 ? at : 1);
    if (watch->has_thread)
        wake(watch); /* should the code be in a coroutine of its own, it is looked for again and again */
}

/* ---- around a resume --------------------------------------------------------------------------------------- */

/* When the code is to be reached: at its deadline, or when it is cancelled. 0: never. */
static int64_t due_of(const pl__watched_t *self, bool may_cancel) {
    int64_t due = self->rec->deadline;
    if (!may_cancel)
        return due;
    pl_usec_t at = cancel_at(self->h);
    return due != 0 && due < at ? due : at > 0 ? at : 1;
}

static void enter(pl__watched_t *self, pl__handle_t *h, pl__coroutine_t *rec, lua_State *co) {
    *self = (pl__watched_t){ .outer = running, .h = h, .rec = rec, .co = co };
    atomic_signal_fence(memory_order_seq_cst);
    running = self;
    if (rec->claim && !h->is_virtual)
        (void)start_thread(&h->watch);
    bool may_cancel = may_be_cancelled(self);
    if (may_cancel || rec->deadline != 0) {
        set_loop(&h->watch);
        publish(&h->watch, due_of(self, may_cancel));
    }
    if (may_cancel)
        set_hook(self);
}

void pl__watch_enter(pl__watched_t *self, pl__handle_t *h, pl__coroutine_t *rec) {
    enter(self, h, rec, rec->co);
}

void pl__watch_leave(pl__watched_t *self) {
    pl__handle_t *h = self->h;
    running = self->outer;
    atomic_signal_fence(memory_order_seq_cst);
    drop_hook(self->co);
    if (h->watch.has_thread)
        publish(&h->watch, running && running->h == h ? due_of(running, may_be_cancelled(running)) : 0);
}

/* ---- tasklets ---------------------------------------------------------------------------------------------- */

/* Pushes what is found by that address, or nothing. */
static bool push_by_address(lua_State *L, const void *address) {
    pl__whose_push_weak(L, &RUNS);
    bool found = lua_rawgetp(L, -1, address) != LUA_TNIL;
    lua_remove(L, -2);
    if (!found)
        lua_pop(L, 1);
    return found;
}

bool pl__watch_push_run(lua_State *L, pl__handle_t *h) {
    pl__coroutine_t *rec = h->current;
    if (!rec || !rec->claim || rec->claim_ended)
        return false;
    if (push_by_address(L, rec)) {
        const run_t *known = lua_touserdata(L, -1);
        if (known->life == rec->life)
            return true;
        lua_pop(L, 1);
    }
    run_t *run = lua_newuserdatauv(L, sizeof *run, 1);
    *run = (run_t){ .h = h, .rec = rec, .life = rec->life };
    pl__whose_push(L, h);
    lua_setiuservalue(L, -2, 1);
    pl__whose_push_weak(L, &RUNS);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, rec);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, run);
    lua_pop(L, 1);
    return true;
}

bool pl__watch_push_run_of(lua_State *L, const lua_State *co) {
    const pl__watched_t *self = running;
    return self && self->co == co && self->run && push_by_address(L, self->run);
}

bool pl__watch_enter_tasklet(pl__watched_t *self, const void *run, lua_State *co) {
    const run_t *of = run;
    if (!of->h->engine || of->rec->life != of->life)
        return false;
    enter(self, of->h, of->rec, co);
    self->run = run;
    return true;
}

void pl__watch_end_code(pl__handle_t *h, pl__coroutine_t *rec) {
    drop_hook(rec->co);
    if (rec->deadline != 0)
        publish(&h->watch, rec->deadline = 0);
}

/* e:deadline(seconds) -> when that is over, by the steady clock: code of the user begins, which has so much time.
 * e:deadline() -> "late", "cancelled" or nil: it has ended, and whether by that. Time that stands still runs out for no
 * code. */
static int engine_deadline(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    double seconds = luaL_optnumber(L, 2, -1);
    pl__coroutine_t *rec = h->current;
    if (!h->engine || !rec || rec->co != L) {
        lua_pushnumber(L, HUGE_VAL);
        return seconds >= 0;
    }
    if (seconds >= 0) {
        pl_usec_t now = rec->claim && rec->claim->started ? rec->claim->started : pl_engine_steady(h->engine);
        pl_usec_t deadline = pl_clock_add(now, pl_clock_from_seconds(seconds));
        if (!h->is_virtual && start_thread(&h->watch)) {
            rec->deadline = deadline;
            set_loop(&h->watch);
            publish(&h->watch, running && running->rec == rec ? due_of(running, may_be_cancelled(running)) : deadline);
        }
        pl__push_time(L, deadline);
        return 1;
    }
    pl__watch_end_code(h, rec);
    if (!rec->late && !rec->give_back)
        return 0;
    lua_pushstring(L, rec->give_back ? "cancelled" : "late");
    return 1;
}

void pl__watch_register(lua_State *L) {
    lua_pushcfunction(L, engine_deadline);
    lua_setfield(L, -2, "deadline");
}
