/*
 * smtp_fuzz.c - arbitrary bytes as what a mail server says.
 *
 * The first byte says in which pieces they come, and how much of what is to be sent has gone before each. Whatever they
 * are, the dialog says its commands in order and no others, holds little, and is a success only if the server said 250
 * after the message had gone whole.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mail/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char SAID[] = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n..\r\n.\r\n";

static void check(bool holds) {
    if (!holds)
        abort();
}

static void send_some(pl__smtp_t *smtp, pl__buf_t *wire, size_t most) {
    while (!pl__smtp_is_over(smtp) && most > 0) {
        pl_str_t left = pl__smtp_wants_sent(smtp);
        size_t len = left.len < most ? left.len : most;
        if (len == 0)
            return;
        pl__buf_add(wire, left.ptr, len);
        pl__smtp_was_sent(smtp, len);
        most -= len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pl__smtp_t smtp;
    pl__buf_t wire = { 0 };
    if (size == 0)
        return 0;
    size_t piece = (size_t)(data[0] & 15) + 1, most = data[0] >> 4 ? (size_t)(data[0] >> 4) * 4 : SIZE_MAX;
    check(pl__smtp_init(&smtp, PL_STR_LIT("a@b"), PL_STR_LIT("c@d"), PL_STR_LIT(".\r\n"), NULL) == PL_OK);
    for (size_t at = 1; at < size && !pl__smtp_is_over(&smtp); at += piece) {
        send_some(&smtp, &wire, most);
        pl__smtp_received(&smtp, (const char *)data + at, size - at < piece ? size - at : piece);
        check(smtp.reply.line.size <= 16384 && smtp.reply.text.len <= 4096);
    }
    check(wire.len <= sizeof SAID - 1 && (wire.len == 0 || !memcmp(wire.ptr, SAID, wire.len)));
    if (pl__smtp_is_over(&smtp) && smtp.code == PL_OK)
        check(smtp.reply.is_complete && (smtp.reply.status >= 400 || wire.len == sizeof SAID - 1));
    pl__smtp_broke(&smtp, "gone");
    check(pl__smtp_is_over(&smtp));
    pl__smtp_free(&smtp);
    pl__buf_free(&wire);
    return 0;
}
