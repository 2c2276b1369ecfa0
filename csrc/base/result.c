/*
 * result.c - names and texts of result codes, and the error detail.
 */
#include "base/result.h"

#include <stdarg.h>
#include <stdio.h>

const char *pl_result_name(int code) {
    switch (code) {
#define X(name, number, text)                                                                                          \
    case number:                                                                                                       \
        return #name;
        PL_RESULTS(X)
#undef X
    default:
        return "EOTHER";
    }
}

const char *pl_result_text(int code) {
    switch (code) {
#define X(name, number, text)                                                                                          \
    case number:                                                                                                       \
        return text;
        PL_RESULTS(X)
#undef X
    default:
        return "unexpected failure";
    }
}

int pl__error_set(pl_error_t *error, int code, const char *format, ...) {
    if (!error)
        return code;
    va_list args;
    va_start(args, format);
    error->code = code;
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return code;
}
