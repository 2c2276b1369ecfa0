/*
 * log.c - formats a line and hands it to the sink.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void pl_log(const pl_log_t *log, int level, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (log && log->cb)
        log->cb(log->data, level, text);
    else if (level >= PL_LOG_WARNING)
        fprintf(stderr, "pipeline: %s\n", text);
}
