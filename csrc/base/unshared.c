/*
 * unshared.c - descriptors that a child of fork() does not keep. See unshared.h.
 *
 * The mutex is held while a file is opened and while the process forks: so a child has no copy that is not in the list.
 */
#include "base/unshared.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pl__unshared_t *all;

static void before_fork(void) {
    pthread_mutex_lock(&mutex);
}

static void after_fork(void) {
    pthread_mutex_unlock(&mutex);
}

static void in_child(void) {
    while (all) {
        pl__unshared_t *file = all;
        all = file->next;
        close(file->fd);
        *file = PL__UNSHARED_NONE;
    }
    pthread_mutex_unlock(&mutex);
}

static void watch_forks(void) {
    (void)pthread_atfork(before_fork, after_fork, in_child);
}

int pl__unshared_open(pl__unshared_t *file, const char *path, int flags, mode_t mode) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
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
