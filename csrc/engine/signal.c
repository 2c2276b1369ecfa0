/*
 * signal.c - SIGINT and SIGTERM while an engine runs.
 *
 * The first signal asks: the handler notes it, wakes the loop, and tells the host, on the loop's own thread, so that
 * code that keeps the loop busy hears of it, too. What follows is up to run.c. A second one, of whatever kind, ends
 * the process at once, from the handler: nothing that keeps the loop from turning can prevent it.
 *
 * A signal that comes when the run has its end already is not lost either: it is raised anew, for whoever handled it
 * before.
 *
 * Handlers belong to the process. They are installed while any engine listens, over that of libuv, which is called
 * too, so that handles of others go on hearing; what was there before comes back afterwards.
 *
 * Signal handlers read `listeners` without a lock. The thread that runs an engine enters and removes it.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"
#include "engine/engine.h"

enum { LISTENERS_MAX = 64, NUMBERS = 2 };
static const int numbers[NUMBERS] = { SIGINT, SIGTERM };

static _Atomic(pl_engine_t *) listeners[LISTENERS_MAX];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int users[NUMBERS];                               /* engines that listen to it */
static struct sigaction before[NUMBERS], inner[NUMBERS]; /* before: ours and libuv's; inner: called by ours */

static int index_of(int number) {
    return number == numbers[0] ? 0 : 1;
}

/* ---- the handler ------------------------------------------------------------------------------------------- */

static bool hears(const pl_engine_t *engine, int number) {
    return number == SIGINT || engine->hears_term;
}

/* What the host does must be done by the thread that runs its code; another one only passes the signal on. */
static void reach(pl_engine_t *engine, int number) {
    uv_async_send(&engine->wake);
    if (!engine->host.interrupted)
        return;
    if (pthread_equal(pthread_self(), engine->thread)) {
        engine->host.interrupted(engine->host.data);
    } else {
        atomic_fetch_add(&engine->passed_on, 1);
        pthread_kill(engine->thread, number);
    }
}

/* Whether this is a signal that another thread has passed on, and that was counted there. */
static bool is_passed_on(pl_engine_t *engine) {
    if (!pthread_equal(pthread_self(), engine->thread) || atomic_load(&engine->passed_on) == 0)
        return false;
    atomic_fetch_sub(&engine->passed_on, 1);
    return true;
}

static void call_inner(int number, siginfo_t *info, void *context) {
    const struct sigaction *action = &inner[index_of(number)];
    if (action->sa_flags & SA_SIGINFO)
        action->sa_sigaction(number, info, context);
    else if (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN)
        action->sa_handler(number);
}

static void handler(int number, siginfo_t *info, void *context) {
    int saved = errno;
    bool again = false;
    for (int i = 0; i < LISTENERS_MAX; i++) {
        pl_engine_t *engine = atomic_load(&listeners[i]);
        if (!engine || !hears(engine, number))
            continue;
        if (is_passed_on(engine))
            engine->host.interrupted(engine->host.data);
        else if (atomic_fetch_add(&engine->signals, 1) > 0)
            again = true;
        else {
            atomic_store(&engine->signalled_at, pl_clock_monotonic_us());
            atomic_store(&engine->signal_number, number);
            reach(engine, number);
        }
    }
    if (again)
        pl__process_end_by(number);
    call_inner(number, info, context);
    errno = saved;
}

/* ---- listening --------------------------------------------------------------------------------------------- */

static void ignore_cb(uv_signal_t *handle, int number) {
    (void)handle; /* the handler has done it all */
    (void)number;
}

static void install(pl_engine_t *engine, int i) {
    sigaction(numbers[i], NULL, users[i] == 0 ? &before[i] : NULL);
    uv_signal_start(numbers[i] == SIGINT ? &engine->interrupt : &engine->terminate, ignore_cb, numbers[i]);
    if (users[i]++ > 0)
        return;
    struct sigaction ours;
    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = handler;
    ours.sa_flags = SA_SIGINFO | SA_RESTART;
    sigfillset(&ours.sa_mask);
    sigaction(numbers[i], NULL, &inner[i]);
    sigaction(numbers[i], &ours, NULL);
}

static void uninstall(pl_engine_t *engine, int i) {
    uv_signal_stop(numbers[i] == SIGINT ? &engine->interrupt : &engine->terminate);
    if (--users[i] == 0)
        sigaction(numbers[i], &before[i], NULL);
}

void pl__signals_listen(pl_engine_t *engine, bool with_term) {
    int at = 0;
    if (engine->listens_at >= 0)
        return;
    pthread_mutex_lock(&mutex);
    while (at < LISTENERS_MAX && atomic_load(&listeners[at]))
        at++;
    if (at < LISTENERS_MAX) {
        engine->listens_at = at;
        engine->hears_term = with_term;
        engine->thread = pthread_self();
        atomic_store(&engine->signals, 0);
        engine->heeds_signal = false;
        atomic_store(&engine->passed_on, 0);
        atomic_store(&listeners[at], engine);
        install(engine, 0);
        if (with_term)
            install(engine, 1);
    }
    pthread_mutex_unlock(&mutex);
}

/* Whether whoever is asked from here on has heard it already: another engine, or handles of the program in a loop. */
static bool has_been_told(int number) {
    int i = index_of(number);
    return users[i] > 0 || before[i].sa_handler == inner[i].sa_handler;
}

void pl__signals_unlisten(pl_engine_t *engine) {
    if (engine->listens_at < 0)
        return;
    pthread_mutex_lock(&mutex);
    if (engine->hears_term)
        uninstall(engine, 1);
    uninstall(engine, 0);
    atomic_store(&listeners[engine->listens_at], NULL);
    engine->listens_at = -1;
    int number = pl_engine_signalled(engine) && !engine->heeds_signal ? atomic_load(&engine->signal_number) : 0;
    if (number != 0 && has_been_told(number))
        number = 0;
    pthread_mutex_unlock(&mutex);
    if (number != 0)
        raise(number);
}

bool pl_engine_signalled(const pl_engine_t *engine) {
    return atomic_load(&engine->signals) > 0;
}
