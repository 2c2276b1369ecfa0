/*
 * result.h - the one result type of the C code, and the error detail that travels with it.
 *
 * Every function that can fail returns an int: PL_OK (0) or a negative PL_E* code. Values come back through
 * out-parameters. Where a caller needs more than the code it passes a pl_error_t that it owns.
 */
#ifndef PL_BASE_RESULT_H
#define PL_BASE_RESULT_H

#include <stddef.h>

/* Everything else is hidden: what a C program may call is marked so. */
#define PL_API __attribute__((visibility("default")))

/* X(name, number, text). The numbers are part of the ABI: append only. */
#define PL_RESULTS(X)                                                                                                  \
    X(OK, 0, "ok")                                                                                                     \
    X(ENOMEM, -1, "out of memory")                                                                                     \
    X(EINVAL, -2, "invalid argument")                                                                                  \
    X(EIO, -3, "input/output error")                                                                                   \
    X(EFULL, -4, "disk full")                                                                                          \
    X(ECORRUPT, -5, "the file is damaged")                                                                             \
    X(ENOTDB, -6, "not a database")                                                                                    \
    X(ENEWER, -7, "the file has a newer schema")                                                                       \
    X(EREADONLY, -8, "the file or its directory is read-only")                                                         \
    X(EBUSY, -9, "the file is locked")                                                                                 \
    X(ECLOSED, -10, "closed")                                                                                          \
    X(EEXISTS, -11, "already exists")                                                                                  \
    X(ETOMBSTONE, -12, "the name was used before")                                                                     \
    X(ENOTFOUND, -13, "not found")                                                                                     \
    X(ESTALE, -14, "the claim is no longer valid")                                                                     \
    X(EFINAL, -15, "already final")                                                                                    \
    X(ELIVE, -16, "still live")                                                                                        \
    X(ELIMIT, -17, "limit reached")                                                                                    \
    X(ETIMEDOUT, -18, "timed out")                                                                                     \
    X(EABORTED, -19, "aborted")                                                                                        \
    X(ESTATE, -20, "not possible in this state")                                                                       \
    X(EFORK, -21, "used after fork")                                                                                   \
    X(ECONSTRAINT, -22, "a rule of the store was violated")                                                            \
    X(EOTHER, -23, "unexpected failure")                                                                               \
    X(ECONNREFUSED, -24, "connection refused")                                                                         \
    X(ECONNRESET, -25, "the connection broke")                                                                         \
    X(EHOSTUNREACH, -26, "the host cannot be reached")                                                                 \
    X(ENOHOST, -27, "no host of that name")                                                                            \
    X(ETLS, -28, "no secure connection")                                                                               \
    X(EPROTO, -29, "the answer is not HTTP")                                                                           \
    X(ENOQUEUE, -30, "no such queue")                                                                                  \
    X(EMODE, -31, "the queue has the other mode")                                                                      \
    X(EPAUSED, -32, "the queue is paused")                                                                             \
    X(ELEASE, -33, "the lease is over")                                                                                \
    X(EOVER, -34, "the transaction is over")                                                                           \
    X(ESQL, -35, "the SQL statement failed")                                                                           \
    X(EGONE, -36, "the file was moved, deleted or replaced")                                                           \
    X(ESCHEMA, -37, "the schema of the file is not that of its version")                                               \
    X(EINTR, -38, "interrupted by a signal")                                                                           \
    X(EAGAIN, -39, "another transaction was in the way: try again")                                                    \
    X(ELOST, -40, "the store cannot be reached")

typedef enum {
#define X(name, number, text) PL_##name = (number),
    PL_RESULTS(X)
#undef X
} pl_result_t;

/* Detail of a failure. Owned by the caller. A zeroed one is valid and empty. */
typedef struct {
    int code;
    char message[240];
} pl_error_t;

/* Returns static: the name ("ENOMEM") or the text ("out of memory") of a result code. */
PL_API const char *pl_result_name(int code);
PL_API const char *pl_result_text(int code);

/* Records code and a printf-style message in *error (may be NULL); returns code. */
int pl__error_set(pl_error_t *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define PL__FAIL(error, code, ...) pl__error_set((error), (code), __VA_ARGS__)
#define PL__MUST_USE __attribute__((warn_unused_result))

#endif
