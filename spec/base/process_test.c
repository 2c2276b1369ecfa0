/*
 * process_test.c - a fork waits until no thread is inside a library whose mutexes would be inherited; not for ever.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "support/check.h"

static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER; /* as SQLite's */
static _Atomic int stage;                                   /* of the other thread: 1 inside, 2 out again */
static _Atomic bool may_leave;

static void *visit(void *sleeps) {
    pl__fork_enter();
    pl__fork_enter();
    pthread_mutex_lock(&library);
    stage = 1;
    if (sleeps) {
        pthread_mutex_unlock(&library);
        while (!may_leave)
            pl__fork_sleep(1000);
        pthread_mutex_lock(&library);
    } else {
        usleep(200 * 1000);
    }
    stage = 2;
    pthread_mutex_unlock(&library);
    pl__fork_leave();
    pl__fork_leave();
    return NULL;
}

static pthread_t start(void *(*fn)(void *), void *data) {
    pthread_t thread;
    stage = 0;
    CHECK(pthread_create(&thread, NULL, fn, data) == 0);
    while (stage == 0)
        usleep(1000);
    return thread;
}

/* The signal a child ends by: USR1, it could lock the mutex and enter; USR2, it is not to try. */
static int end_of_child(void) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        if (pl__fork_was_rash())
            kill(getpid(), SIGUSR2);
        if (pthread_mutex_trylock(&library) == 0) {
            pl__fork_enter();
            pl__fork_leave();
            kill(getpid(), SIGUSR1);
        }
        kill(getpid(), SIGKILL);
    }
    return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static bool child_is_well(void) {
    return end_of_child() == SIGUSR1;
}

static void waits_for_who_is_inside(void) {
    pthread_t thread = start(visit, NULL);
    unsigned forks = pl__fork_count();
    CHECK(child_is_well());
    CHECK(stage == 2);                /* it was waited for */
    CHECK(pl__fork_count() == forks); /* the parent is what it was */
    pthread_join(thread, NULL);
}

static void not_for_who_sleeps(void) {
    pthread_t thread = start(visit, &library);
    CHECK(child_is_well());
    CHECK(stage == 1);
    may_leave = true;
    pthread_join(thread, NULL);
}

static void not_for_itself(void) {
    int64_t began = pl_clock_monotonic_us();
    pl__fork_enter();
    CHECK(child_is_well());
    pl__fork_leave();
    CHECK(pl_clock_monotonic_us() - began < 2 * PL_USEC_PER_SEC);
}

static void *stay(void *data) {
    (void)data;
    pl__fork_enter();
    stage = 1;
    while (!may_leave)
        usleep(1000);
    pl__fork_leave();
    return NULL;
}

/* A check of a whole file takes minutes, say. */
static void not_for_ever(void) {
    may_leave = false;
    pthread_t thread = start(stay, NULL);
    CHECK(end_of_child() == SIGUSR2);
    CHECK(!pl__fork_was_rash());
    may_leave = true;
    pthread_join(thread, NULL);
    CHECK(child_is_well());
}

static void *fork_some(void *data) {
    for (int i = 0; i < 20; i++)
        *(int *)data += child_is_well() ? 1 : 0;
    return NULL;
}

static void *come_and_go(void *data) {
    (void)data;
    while (!may_leave) {
        pl__fork_enter();
        stage = 1;
        pl__fork_leave();
    }
    return NULL;
}

static void many_at_once(void) {
    int well[2] = { 0, 0 };
    pthread_t forkers[2], visitor;
    may_leave = false;
    visitor = start(come_and_go, NULL);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&forkers[i], NULL, fork_some, &well[i]) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(forkers[i], NULL);
    may_leave = true;
    pthread_join(visitor, NULL);
    CHECK(well[0] == 20 && well[1] == 20);
}

int main(void) {
    waits_for_who_is_inside();
    not_for_who_sleeps();
    not_for_itself();
    not_for_ever();
    many_at_once();
    return check_end();
}
