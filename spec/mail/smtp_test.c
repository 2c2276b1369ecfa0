/*
 * smtp_test.c - the dialog that hands a mail over, alone: replies in any pieces, every allocation may fail, and success
 * is only what the server said last of all.
 */
#include <stdlib.h>
#include <string.h>

#include "mail/smtp.h"
#include "support/check.h"

static const char *const GOOD[] = { "250 ok\r\n", "250-ok\r\n250 ok\r\n", "354 go\r\n", "250 2.0.0 queued\n" };

/* Takes all that is to be sent, `piece` bytes at a time. */
static void send_all(pl__smtp_t *smtp, pl__buf_t *wire, size_t piece) {
    for (pl_str_t left; (left = pl__smtp_wants_sent(smtp)).len > 0;) {
        size_t len = left.len < piece ? left.len : piece;
        pl__buf_add(wire, left.ptr, len);
        pl__smtp_was_sent(smtp, len);
    }
}

static void give(pl__smtp_t *smtp, const char *text, size_t piece) {
    for (size_t at = 0, len = strlen(text); at < len; at += piece)
        pl__smtp_received(smtp, text + at, len - at < piece ? len - at : piece);
}

/* The whole dialog with the replies; returns whether it could begin. */
static bool run(pl__smtp_t *smtp, pl__buf_t *wire, const char *const *replies, size_t piece) {
    pl_error_t error = { 0 };
    if (pl__smtp_init(smtp, PL_STR_LIT("a@b"), PL_STR_LIT("c@d"), PL_STR_LIT(".x\r\n\r\n.\r\nend"), &error) != PL_OK) {
        CHECK(error.code == PL_ENOMEM);
        return false;
    }
    for (int i = 0; i < 4 && !pl__smtp_is_over(smtp); i++) {
        send_all(smtp, wire, piece);
        give(smtp, replies[i], piece);
    }
    if (pl__smtp_is_over(smtp))
        send_all(smtp, wire, piece);
    return true;
}

static void test_pieces(void) {
    static const char SAID[] = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n..x\r\n\r\n..\r\nend\r\n.\r\nQUIT\r\n";
    for (size_t piece = 1; piece < 60; piece++) {
        pl__smtp_t smtp;
        pl__buf_t wire = { 0 };
        CHECK(run(&smtp, &wire, GOOD, piece));
        CHECK(pl__smtp_is_over(&smtp) && smtp.code == PL_OK && smtp.reply.status == 250);
        CHECK(wire.len == sizeof SAID - 1 && !memcmp(wire.ptr, SAID, wire.len));
        CHECK(smtp.reply.text.len == 12 && !memcmp(smtp.reply.text.ptr, "2.0.0 queued", 12));
        pl__smtp_free(&smtp);
        pl__buf_free(&wire);
    }
}

static void test_refusals(void) {
    for (int at = 0; at < 4; at++) {
        const char *replies[4];
        memcpy(replies, GOOD, sizeof replies);
        replies[at] = "550 no\r\n";
        pl__smtp_t smtp;
        pl__buf_t wire = { 0 };
        CHECK(run(&smtp, &wire, replies, 3));
        CHECK(pl__smtp_is_over(&smtp) && smtp.code == PL_OK && smtp.reply.status == 550);
        pl__smtp_free(&smtp);
        pl__buf_free(&wire);
    }
}

/* Whatever allocation fails, the dialog does not begin, or is over without success, or has gone as it should. */
static void test_allocations(void) {
    for (long nth = 1;; nth++) {
        pl__smtp_t smtp;
        pl__buf_t wire = { 0 };
        pl__alloc_fail_at(nth);
        bool began = run(&smtp, &wire, GOOD, 7);
        bool failed = pl__alloc_failed();
        pl__alloc_fail_at(0);
        if (began) {
            CHECK(pl__smtp_is_over(&smtp));
            CHECK(smtp.code == PL_ENOMEM || (smtp.code == PL_OK && smtp.reply.status == 250));
            pl__smtp_free(&smtp);
        }
        pl__buf_free(&wire);
        if (!failed)
            break;
    }
}

int main(void) {
    test_pieces();
    test_refusals();
    test_allocations();
    return check_end();
}
