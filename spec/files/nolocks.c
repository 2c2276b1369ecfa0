/*
 * nolocks.c - preloaded into a process: a system that has no locks of open files, as kernels and file systems may be.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

static int call(int fd, int command, void *value) {
    if (command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_fcntl, fd, command, value);
}

int fcntl64(int fd, int command, ...);

int fcntl64(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    int rc = call(fd, command, va_arg(list, void *));
    va_end(list);
    return rc;
}

int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    int rc = call(fd, command, va_arg(list, void *));
    va_end(list);
    return rc;
}
