/*
 * shown.h - what a durable function shows to the outside while it runs and afterwards: values, streams, answers of
 * updates. And its forks.
 *
 * It writes them with its journal. A chunk of a stream has a source, the body of an era or a step, and is the k-th of
 * it: so one that is written again, because what was done before a crash is done again, is known, and left out.
 */
#ifndef PL_STORE_DURABLE_SHOWN_H
#define PL_STORE_DURABLE_SHOWN_H

#include "store/model.h"

/* Bounds of a stream. What is written beyond them is left out, and who writes is told. */
enum { PL_CHUNKS_MAX = 100000 };

/* X(name, number, text). The numbers are in files. */
#define PL_REPLIES(X)                                                                                                  \
    X(NONE, 0, "none")                                                                                                 \
    X(OK, 1, "ok")                                                                                                     \
    X(FAILED, 2, "failed")                                                                                             \
    X(REFUSED, 3, "refused")

typedef enum {
#define X(name, number, text) PL_REPLY_##name = (number),
    PL_REPLIES(X)
#undef X
} pl_reply_t;
PL_API const char *pl_reply_name(int reply); /* static; "?" if unknown */

/* One to be written at the end of its stream. */
typedef struct {
    pl_str_t stream, source;
    int64_t k;
    pl_str_t value;  /* absent: the stream is closed */
    bool is_refused; /* result: it was left out, for the stream is closed, or full */
} pl_chunk_new_t;

/* In the place of the last one of that name. */
typedef struct {
    pl_str_t name, value;
} pl_value_new_t;

/* Of an update that was taken. A second one is left out. */
typedef struct {
    int64_t mail; /* number */
    pl_reply_t reply;
    pl_str_t value;
} pl_answer_new_t;

typedef struct {
    int64_t n; /* from 0 */
    pl_str_t value;
    pl_usec_t time;
} pl_stream_chunk_t;

/* A value, or a stream, as it is listed. */
typedef struct {
    pl_str_t name;
    pl_usec_t time; /* when it was set, or grew last */
    pl_str_t value; /* of a value; absent: it is larger than PL_SHOWN_BYTES_MAX */
    int64_t size;   /* bytes of a value; chunks of a stream, without its end */
    bool is_closed;
} pl_shown_name_t;

/* Of one that is listed; how many of a kind are. */
enum { PL_SHOWN_BYTES_MAX = 64 << 10, PL_SHOWN_NAMES_MAX = 100 };

/* shown_get: of what is asked for, what there is now. PL_ENOTFOUND: no durable function. */
typedef struct {
    pl_id_t stage;
    pl_str_t name;   /* of a value; absent: not asked for */
    pl_str_t stream; /* absent: not asked for */
    int64_t from;    /* chunks from this one on */
    int limit;
    int64_t mail;           /* number of an update; 0: not asked for */
    pl_stage_state_t state; /* results */
    pl_str_t value;         /* absent: none of that name */
    pl_usec_t time;
    const pl_stream_chunk_t *chunks;
    size_t len;
    pl_reply_t reply; /* NONE: not answered yet, or there is no such mail */
    bool has_mail;
    pl_str_t answer;
    bool wants_forks;
    const pl_id_t *forks; /* of it, some */
    size_t forks_len;
    bool wants_names;
    const pl_shown_name_t *values, *streams; /* those there are, by their names */
    size_t values_len, streams_len;
} pl_op_shown_get_t;

/* flows_get: how many durable functions there are, and how large their journals are. */
typedef struct {
    int64_t counts[4]; /* results: by pl_flow_mode_t */
    int64_t bytes;     /* about */
} pl_op_flows_get_t;

/* flows_list: durable functions that are not over, i.e. whose stage is not final, in the order of their ids; or those
 * that are held, the newest first. One whose run has returned is among the former while its children go on, or until it
 * is finalized. */
typedef struct {
    pl_id_t after; /* those behind this one; 0: from the first */
    int limit;
    bool held;
    const pl_id_t *ids; /* results */
    size_t len;
} pl_op_flows_list_t;

/* fork: a new root, with the entries of the era of another durable function whose seq is less than `before`, and with
 * its random numbers. PL_ENOTFOUND: there is none; PL_EEXISTS: the key is taken. */
typedef struct {
    pl_id_t stage;
    int64_t before;
    pl_stage_new_t *start; /* the new one; its arguments and version as given */
    bool mails;            /* with what is in the mailbox */
} pl_op_fork_t;

#endif
