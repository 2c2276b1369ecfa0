/*
 * smtp.h - what is said to a mail server to hand it one message, and what it answers: bytes in, bytes out, no socket.
 *
 * It begins where the session stands: greeting, EHLO, STARTTLS and login are over. See smtp.c for the states.
 */
#ifndef PL_MAIL_SMTP_H
#define PL_MAIL_SMTP_H

#include <stdbool.h>

#include "base/memory.h"

typedef enum {
    PL__SMTP_MAIL,
    PL__SMTP_RCPT,
    PL__SMTP_DATA,
    PL__SMTP_BODY,
    PL__SMTP_OVER,
} pl__smtp_state_t;

/* The reply being read, or the last one: its code, and its text with the lines joined by spaces. */
typedef struct {
    int status;
    bool is_complete;
    size_t lines;
    pl__buf_t line; /* bytes of a line that has not ended */
    pl__buf_t text;
} pl__reply_t;

typedef struct {
    pl__smtp_state_t state;
    pl_str_t from, to;
    pl__buf_t out; /* to be sent: what is behind out_at */
    size_t out_at;
    pl__buf_t body; /* as it goes over the wire */
    pl__reply_t reply;
    int code; /* OVER: PL_OK if the reply is the answer, else why there is none */
    const char *why;
} pl__smtp_t;

/*
 * Begins with MAIL FROM. Addresses are without brackets and borrowed; the message is copied. Returns PL_OK, PL_ENOMEM,
 * or PL_EINVAL: an address that could end its command, or a message with a line break other than "\r\n".
 */
int pl__smtp_init(pl__smtp_t *smtp, pl_str_t from, pl_str_t to, pl_str_t message, pl_error_t *error) PL__MUST_USE;
void pl__smtp_free(pl__smtp_t *smtp);

/* What is to be sent now; empty: nothing, the server is waited for. Borrowed until the next call. */
pl_str_t pl__smtp_wants_sent(const pl__smtp_t *smtp);
void pl__smtp_was_sent(pl__smtp_t *smtp, size_t len);
/* Bytes from the server, in any pieces. */
void pl__smtp_received(pl__smtp_t *smtp, const char *bytes, size_t len);
/* The connection is gone. */
void pl__smtp_broke(pl__smtp_t *smtp, const char *why);

bool pl__smtp_is_over(const pl__smtp_t *smtp);
/* Returns static: the command whose reply is waited for. */
const char *pl__smtp_command(const pl__smtp_t *smtp);

/* Takes the next bytes of a reply, up to its end at most. Returns how many, or a negative code: PL_EPROTO, PL_ELIMIT,
 * PL_ENOMEM. A reply that was complete begins anew. */
int pl__reply_read(pl__reply_t *reply, const char *bytes, size_t len) PL__MUST_USE;
void pl__reply_free(pl__reply_t *reply);

#endif
