/*
 * log.h - one line of log at a time, to a sink the host owns. Levels are those of Python's logging (P250).
 */
#ifndef PL_BASE_LOG_H
#define PL_BASE_LOG_H

enum { PL_LOG_DEBUG = 10, PL_LOG_INFO = 20, PL_LOG_WARNING = 30, PL_LOG_ERROR = 40, PL_LOG_CRITICAL = 50 };

/* Called from the loop thread or a store thread; must not block for long and must not call back. */
typedef void (*pl_log_cb)(void *data, int level, const char *text);

typedef struct {
    pl_log_cb cb; /* NULL: standard error, warnings and above */
    void *data;
} pl_log_t;

void pl_log(const pl_log_t *log, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
