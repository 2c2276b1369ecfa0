/*
 * news.h - what comes to a durable function from outside: mails, ends of children, values of slots.
 *
 * All of it is found by looking, so it cannot get lost: mails that were not taken, and entries of the journal that are
 * not delivered while what they wait for is there.
 */
#ifndef PL_STORE_DURABLE_NEWS_H
#define PL_STORE_DURABLE_NEWS_H

#include "store/model.h"

/* Bounds of what has not been taken by a durable function: PL_ELIMIT for who sends more. */
enum { PL_MAILS_MAX = 10000, PL_MAILS_BYTES_MAX = 16 * 1024 * 1024 };
#define PL_MAIL_BYTES_MAX ((size_t)2 * 1024 * 1024) /* of one mail */

typedef enum { PL_MAIL_SIGNAL, PL_MAIL_UPDATE } pl_mail_kind_t;

typedef struct {
    int64_t number; /* of those of its function, from 1, in the order of their commits */
    pl_mail_kind_t kind;
    pl_str_t name, key, value; /* key absent: none */
    pl_usec_t time;
} pl_mail_t;

/* An entry that waits for a child that is final, or for a slot that is filled. */
typedef struct {
    int64_t seq;
    pl_id_t ref;
    pl_stage_state_t state; /* of a child: DONE, ABORTED */
    bool fallback;          /* it was aborted, and its fallback was taken: it has a value */
    pl_str_t message;       /* why it was aborted */
    pl_str_t value;         /* of the slot; of a child its default one; absent: there is none */
    pl_usec_t time;
} pl_arrival_t;

/* All in the order in which they came. */
typedef struct {
    const pl_arrival_t *children, *slots;
    size_t children_len, slots_len;
    const pl_mail_t *mails;
    size_t mails_len;
    bool cancel;   /* asked for, and not told yet: */
    bool is_abort; /* by an abort, with a message; else by the function itself, whose time is up */
    pl_str_t message;
    const pl_id_t *live; /* children that are, or have somewhere below them, a durable function that is not final; each
                          * once */
    size_t live_len;
} pl_news_t;

/* One to be sent. */
typedef struct {
    pl_id_t stage; /* or, when 0, by its idempotence key: */
    pl_str_t idempotence;
    pl_stage_new_t *start; /* a durable function that is started with it if none has that key; NULL: none */
    pl_mail_kind_t kind;
    pl_str_t name, key, value; /* key absent: none; a second one with the same is not delivered */
    int64_t number;            /* result: of the mail, or of that which had the key; 0: none */
    int rc;                    /* result: PL_OK, PL_EEXISTS (by key), PL_ENOTFOUND, PL_EFINAL, PL_ELIMIT, or
                                * PL_ESTATE: it is no durable function */
} pl_mail_new_t;

/* signal: PL_OK and an rc in each item. */
typedef struct {
    pl_mail_new_t *mails;
    size_t len;
} pl_op_signal_t;

#endif
