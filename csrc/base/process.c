/*
 * process.c - what befalls a process as a whole. See process.h.
 *
 * One handler of forks does it all, in this order: nobody enters any more and those inside come out; then the
 * mutexes of what watches forks are taken, and that of the descriptors. So a child finds each of them in its own hand.
 */
#include "base/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { FORK_WAIT_US = 2 * 1000000, WATCHES_MAX = 4 };

static _Atomic unsigned forks;

/* ---- who is inside ------------------------------------------------------------------------------------------- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved;
static int inside;  /* threads */
static int closers; /* that want to fork: nobody enters */
static bool was_rash;
static _Thread_local int depth;

static void init_cond(void) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&gate_moved, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Returns with the mutex held. Who forks may be inside himself (a log function called from there): he is not waited
 * for. Two at once fork one after the other. */
static void close_gate(void) {
    int own = depth > 0 ? 1 : 0;
    struct timespec until = pl_clock_timespec(pl_clock_monotonic_us() + FORK_WAIT_US);
    pthread_mutex_lock(&gate);
    closers++;
    while (inside > own && pthread_cond_timedwait(&gate_moved, &gate, &until) == 0)
        ;
}

static void open_gate(void) {
    closers--;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate);
}

/* The only thread there is. */
static void open_gate_of_child(void) {
    int own = depth > 0 ? 1 : 0;
    was_rash = was_rash || inside > own;
    inside = own;
    closers = 0;
    init_cond();
    pthread_mutex_unlock(&gate);
}

static void come_in(void) {
    pthread_mutex_lock(&gate);
    while (closers > 0)
        pthread_cond_wait(&gate_moved, &gate);
    inside++;
    pthread_mutex_unlock(&gate);
}

static void go_out(void) {
    pthread_mutex_lock(&gate);
    inside--;
    if (closers > 0)
        pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate);
}

/* ---- descriptors ----------------------------------------------------------------------------------------------- */

/* Held while a file is opened and while the process forks: so a child has no copy that is not in the list. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pl__unshared_t *all;

static void close_all(void) {
    while (all) {
        pl__unshared_t *file = all;
        all = file->next;
        close(file->fd);
        *file = PL__UNSHARED_NONE;
    }
}

/* ---- the handler ----------------------------------------------------------------------------------------------- */

static struct watch { pl__fork_fn before, after, in_child; } watches[WATCHES_MAX];
static int watches_len;

static void before_fork(void) {
    close_gate();
    for (int i = 0; i < watches_len; i++)
        watches[i].before();
    pthread_mutex_lock(&mutex);
}

static void after_fork(void) {
    pthread_mutex_unlock(&mutex);
    for (int i = watches_len - 1; i >= 0; i--)
        watches[i].after();
    open_gate();
}

static void in_child(void) {
    forks++;
    close_all();
    pthread_mutex_unlock(&mutex);
    for (int i = watches_len - 1; i >= 0; i--)
        watches[i].in_child();
    open_gate_of_child();
}

static void install(void) {
    init_cond();
    (void)pthread_atfork(before_fork, after_fork, in_child);
}

static void need_handler(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}

/* ---- what others call ------------------------------------------------------------------------------------------ */

void pl__fork_enter(void) {
    need_handler();
    if (depth++ == 0)
        come_in();
}

void pl__fork_leave(void) {
    assert(depth > 0);
    if (--depth == 0)
        go_out();
}

bool pl__fork_was_rash(void) {
    return was_rash;
}

void pl__fork_sleep(long us) {
    int was = depth;
    if (was > 0)
        go_out();
    depth = 0;
    nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
    if (was > 0)
        come_in();
    depth = was;
}

void pl__fork_watch(pl__fork_fn before, pl__fork_fn after, pl__fork_fn child) {
    need_handler();
    pthread_mutex_lock(&gate);
    assert(watches_len < WATCHES_MAX);
    watches[watches_len++] = (struct watch){ .before = before, .after = after, .in_child = child };
    pthread_mutex_unlock(&gate);
}

unsigned pl__fork_count(void) {
    return forks;
}

int pl__unshared_open(pl__unshared_t *file, const char *path, int flags, mode_t mode) {
    need_handler();
    pthread_mutex_lock(&mutex);
    int fd = open(path, flags | O_CLOEXEC, mode), problem = errno;
    *file = (pl__unshared_t){ .fd = fd };
    if (fd >= 0) {
        file->next = all;
        if (all)
            all->prev = file;
        all = file;
    }
    pthread_mutex_unlock(&mutex);
    errno = problem;
    return fd;
}

void pl__unshared_close(pl__unshared_t *file) {
    int problem = errno;
    pthread_mutex_lock(&mutex);
    if (file->fd >= 0) {
        if (file->prev)
            file->prev->next = file->next;
        else
            all = file->next;
        if (file->next)
            file->next->prev = file->prev;
        close(file->fd);
    }
    *file = PL__UNSHARED_NONE;
    pthread_mutex_unlock(&mutex);
    errno = problem;
}

/* ---- SIGPIPE --------------------------------------------------------------------------------------------------- */

/* By default it kills the process, and any client can cause it: it ends its side, reads some of a long response and
 * closes. The disposition belongs to the process, so a handler, or the program's own SIG_IGN, is left as it is. */
void pl__pipe_spare(void) {
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) != 0 || (now.sa_flags & SA_SIGINFO) || now.sa_handler != SIG_DFL)
        return;
    now.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &now, NULL);
}

/* ---- standard descriptors ------------------------------------------------------------------------------------- */

void pl__process_fill(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
            return; /* no such device, or somebody else was faster */
}

/* ---- signals that end it ----------------------------------------------------------------------------------------- */

/* It is blocked until the handler returns. */
void pl__process_end_by(int number) {
    struct sigaction plain;
    memset(&plain, 0, sizeof plain);
    plain.sa_handler = SIG_DFL;
    sigaction(number, &plain, NULL);
    kill(getpid(), number);
}

enum { TEXT_MAX = 63 };
static struct {
    char text[TEXT_MAX + 1];
    volatile sig_atomic_t len; /* of the text; it is 0 while that is written */
    bool is_known;
    struct termios terminal;
} interrupt;

/* All signals are blocked meanwhile. */
static void interrupt_cb(int number) {
    if (interrupt.len > 0) {
        if (interrupt.is_known)
            (void)tcsetattr(STDIN_FILENO, TCSANOW, &interrupt.terminal);
        ssize_t written = write(STDOUT_FILENO, interrupt.text, (size_t)interrupt.len);
        (void)written;
    }
    pl__process_end_by(number);
}

void pl__process_end_at_interrupt(const char *text) {
    if (!interrupt.is_known)
        interrupt.is_known = tcgetattr(STDIN_FILENO, &interrupt.terminal) == 0;
    size_t len = text ? strnlen(text, TEXT_MAX) : 0;
    interrupt.len = 0;
    atomic_signal_fence(memory_order_seq_cst);
    if (len > 0)
        memcpy(interrupt.text, text, len);
    atomic_signal_fence(memory_order_seq_cst);
    interrupt.len = (sig_atomic_t)len;
    struct sigaction ours;
    memset(&ours, 0, sizeof ours);
    ours.sa_handler = text ? interrupt_cb : SIG_IGN;
    sigfillset(&ours.sa_mask);
    (void)sigaction(SIGINT, &ours, NULL);
}
