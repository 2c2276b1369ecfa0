/*
 * smtp.c - the dialog that hands a mail over (RFC 5321), one recipient at a time.
 *
 *      MAIL ──250──► RCPT ──25x──► DATA ──354──► BODY ──250──► OVER
 *        └─────────────┴─────────────┴─────────────┴──any other reply, or a mistake──► OVER
 *
 * A recipient has a dialog of his own, so that each is refused, or tried again, for himself.
 *
 * Invariants
 *   1. A reply counts only for a command that was sent whole before its first byte came. What a server says ahead of
 *      its turn, or beyond a reply, is a mistake: it could be taken for the answer to what follows.
 *   2. OVER with 250 in state BODY is the only success: the server has the message, whatever happens to QUIT.
 *   3. A dot at the beginning of a line is doubled; the message ends with "\r\n.\r\n" and nothing in it ends it before.
 *   4. What a server can make us hold is bounded.
 */
#include "mail/smtp.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum {
    LINE_MAX_BYTES = 4096, /* RFC 5321 has 512; some say more */
    LINES_MAX = 100,
    TEXT_MAX = 2000,
};

/* ---- replies ----------------------------------------------------------------------------------------------- */

static void reply_reset(pl__reply_t *reply) {
    reply->status = 0;
    reply->is_complete = false;
    reply->lines = 0;
    reply->line.len = reply->text.len = 0;
}

void pl__reply_free(pl__reply_t *reply) {
    pl__buf_free(&reply->line);
    pl__buf_free(&reply->text);
}

/* Control bytes of a server have no place in logs. */
static void add_text(pl__reply_t *reply, const char *bytes, size_t len) {
    if (reply->text.len > 0 && len > 0)
        pl__buf_add(&reply->text, " ", 1);
    for (size_t i = 0; i < len && reply->text.len < TEXT_MAX; i++) {
        char c = bytes[i];
        if ((unsigned char)c < ' ' || c == 0x7f)
            c = ' ';
        pl__buf_add(&reply->text, &c, 1);
    }
}

/* "250 text", "250-text" or "250", without its line break. */
static int line_ends(pl__reply_t *reply) {
    const char *line = reply->line.ptr;
    size_t len = reply->line.len;
    int status = 0;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len < 3 || (len > 3 && line[3] != ' ' && line[3] != '-'))
        return PL_EPROTO;
    for (int i = 0; i < 3; i++) {
        if (line[i] < '0' || line[i] > '9')
            return PL_EPROTO;
        status = status * 10 + (line[i] - '0');
    }
    if (status < 200 || status > 599 || (reply->lines > 0 && status != reply->status))
        return PL_EPROTO;
    reply->status = status;
    if (len > 4)
        add_text(reply, line + 4, len - 4);
    reply->is_complete = len == 3 || line[3] == ' ';
    reply->lines++;
    reply->line.len = 0;
    return reply->lines > LINES_MAX ? PL_ELIMIT : PL_OK;
}

int pl__reply_read(pl__reply_t *reply, const char *bytes, size_t len) {
    if (reply->is_complete)
        reply_reset(reply);
    for (size_t i = 0; i < len && i < INT_MAX; i++) {
        int rc = PL_OK;
        if (bytes[i] == '\n')
            rc = line_ends(reply);
        else if (reply->line.len >= LINE_MAX_BYTES)
            rc = PL_ELIMIT;
        else
            pl__buf_add(&reply->line, &bytes[i], 1);
        if (rc == PL_OK && (reply->line.rc || reply->text.rc))
            rc = PL_ENOMEM;
        if (rc != PL_OK)
            return rc;
        if (reply->is_complete)
            return (int)i + 1;
    }
    return (int)len;
}

/* ---- what is said ------------------------------------------------------------------------------------------ */

static const char *const COMMANDS[] = { "MAIL", "RCPT", "DATA", "the message", "QUIT" };

const char *pl__smtp_command(const pl__smtp_t *smtp) {
    return COMMANDS[smtp->state];
}

bool pl__smtp_is_over(const pl__smtp_t *smtp) {
    return smtp->state == PL__SMTP_OVER;
}

static void over(pl__smtp_t *smtp, int code, const char *why) {
    smtp->state = PL__SMTP_OVER;
    smtp->code = code;
    smtp->why = why;
    smtp->out.len = smtp->out_at = 0;
    if (code == PL_OK) /* else nobody knows whose turn it is */
        pl__buf_add(&smtp->out, "QUIT\r\n", 6);
}

static void say(pl__smtp_t *smtp, const char *before, pl_str_t what, const char *after) {
    smtp->out.len = smtp->out_at = 0;
    pl__buf_add(&smtp->out, before, strlen(before));
    pl__buf_add(&smtp->out, what.ptr, what.len);
    pl__buf_add(&smtp->out, after, strlen(after));
    if (smtp->out.rc)
        over(smtp, PL_ENOMEM, NULL);
}

static bool is_address(pl_str_t address) {
    for (size_t i = 0; i < address.len; i++) {
        unsigned char c = (unsigned char)address.ptr[i];
        if (c <= ' ' || c >= 0x7f || c == '<' || c == '>')
            return false;
    }
    return address.len > 0 && address.len <= 320;
}

/* The message with its dots doubled and its end. Returns false when a CR or LF stands alone. */
static bool put_body(pl__buf_t *out, pl_str_t message) {
    const char *at = message.ptr, *end = message.ptr + message.len;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop ? stop + 1 : end;
        if (stop && (stop == at || stop[-1] != '\r'))
            return false;
        const char *cr = memchr(at, '\r', (size_t)(next - at));
        if (cr && (!stop || cr != stop - 1))
            return false;
        if (*at == '.')
            pl__buf_add(out, ".", 1);
        pl__buf_add(out, at, (size_t)(next - at));
        if (!stop)
            pl__buf_add(out, "\r\n", 2);
        at = next;
    }
    pl__buf_add(out, ".\r\n", 3);
    return true;
}

int pl__smtp_init(pl__smtp_t *smtp, pl_str_t from, pl_str_t to, pl_str_t message, pl_error_t *error) {
    *smtp = (pl__smtp_t){ .from = from, .to = to };
    if (!is_address(from) || !is_address(to))
        return PL__FAIL(error, PL_EINVAL, "an address of the mail is not one");
    if (!put_body(&smtp->body, message)) {
        pl__smtp_free(smtp);
        return PL__FAIL(error, PL_EINVAL, "the mail has a line break other than CR LF");
    }
    say(smtp, "MAIL FROM:<", from, ">\r\n");
    if (smtp->body.rc || smtp->out.rc) {
        pl__smtp_free(smtp);
        return PL__FAIL(error, PL_ENOMEM, "out of memory");
    }
    return PL_OK;
}

void pl__smtp_free(pl__smtp_t *smtp) {
    pl__buf_free(&smtp->out);
    pl__buf_free(&smtp->body);
    pl__reply_free(&smtp->reply);
}

pl_str_t pl__smtp_wants_sent(const pl__smtp_t *smtp) {
    const pl__buf_t *from = smtp->state == PL__SMTP_BODY ? &smtp->body : &smtp->out;
    return (pl_str_t){ from->ptr ? from->ptr + smtp->out_at : "", from->len - smtp->out_at };
}

void pl__smtp_was_sent(pl__smtp_t *smtp, size_t len) {
    smtp->out_at += len;
}

/* ---- what is answered -------------------------------------------------------------------------------------- */

/* The reply to the command of the state is there. */
static void replied(pl__smtp_t *smtp) {
    int status = smtp->reply.status;
    if (status == 421) { /* it closes the connection, whatever was asked */
        over(smtp, PL_OK, NULL);
        return;
    }
    switch (smtp->state) {
    case PL__SMTP_MAIL:
        if (status / 100 != 2)
            break;
        smtp->state = PL__SMTP_RCPT;
        say(smtp, "RCPT TO:<", smtp->to, ">\r\n");
        return;
    case PL__SMTP_RCPT:
        if (status / 100 != 2)
            break;
        smtp->state = PL__SMTP_DATA;
        say(smtp, "DATA\r\n", PL_STR_LIT(""), "");
        return;
    case PL__SMTP_DATA:
        if (status / 100 != 3)
            break;
        smtp->state = PL__SMTP_BODY;
        smtp->out.len = smtp->out_at = 0;
        return;
    case PL__SMTP_BODY:
    case PL__SMTP_OVER:
        break;
    }
    bool is_refusal = status >= 400;
    if (smtp->state == PL__SMTP_BODY ? status / 100 == 3 : !is_refusal)
        over(smtp, PL_EPROTO, "the mail server gave a reply that does not belong to the command");
    else
        over(smtp, PL_OK, NULL);
}

/* Whether the server may speak: the command has gone whole. A refusal may come while the message is being sent. */
static bool is_its_turn(const pl__smtp_t *smtp) {
    return pl__smtp_wants_sent(smtp).len == 0 || smtp->state == PL__SMTP_BODY;
}

void pl__smtp_received(pl__smtp_t *smtp, const char *bytes, size_t len) {
    while (len > 0 && smtp->state != PL__SMTP_OVER) {
        if (!is_its_turn(smtp)) {
            over(smtp, PL_EPROTO, "the mail server spoke out of turn");
            return;
        }
        int taken = pl__reply_read(&smtp->reply, bytes, len);
        if (taken < 0) {
            over(smtp, taken, taken == PL_ENOMEM ? NULL : "the mail server gave a reply that cannot be read");
            return;
        }
        bytes += taken;
        len -= (size_t)taken;
        if (!smtp->reply.is_complete)
            continue;
        bool is_early = pl__smtp_wants_sent(smtp).len > 0;
        if (is_early && smtp->reply.status < 400)
            over(smtp, PL_EPROTO, "the mail server spoke out of turn");
        else
            replied(smtp);
    }
}

void pl__smtp_broke(pl__smtp_t *smtp, const char *why) {
    if (smtp->state != PL__SMTP_OVER)
        over(smtp, PL_ECONNRESET, why);
}
