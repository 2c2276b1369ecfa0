/*
 * delivery.c - the dialog of smtp.c over a socket.
 *
 * Design. libcurl's own SMTP waits for the answer to QUIT, without the loop, when a connection ends: a server that is
 * silent there would hold up everything for minutes. So libcurl connects, greets, encrypts and logs in (CONNECT_ONLY),
 * and what follows is said here, through curl_easy_send and curl_easy_recv, which neither wait. Such a connection is
 * closed at once.
 *
 * Invariants
 *   1. After each callback the poll waits for bytes to read; and for room to write exactly while something is unsent.
 *   2. The poll is stopped before libcurl closes the descriptor.
 */
#include "mail/delivery.h"

#include <uv.h>

enum { PIECE = 16 * 1024, TURN_MAX = 64 };

struct pl__delivery {
    uv_poll_t poll; /* first: freed by its close callback */
    CURL *easy;
    pl__smtp_t smtp;
    void (*news)(void *data);
    void *data;
};

const pl__smtp_t *pl__delivery_dialog(const pl__delivery_t *delivery) {
    return &delivery->smtp;
}

static void closed_cb(uv_handle_t *handle) {
    pl__free(handle);
}

void pl__delivery_close(pl__delivery_t *delivery) {
    pl__smtp_free(&delivery->smtp);
    delivery->news = NULL;
    uv_close((uv_handle_t *)&delivery->poll, closed_cb);
}

static const char *text_of(CURLcode result) {
    return result == CURLE_OK ? "the mail server closed the connection" : pl__curl.easy_strerror(result);
}

/* Returns whether something went. Bounded, so that a fast server does not keep the loop. */
static bool send_some(pl__delivery_t *delivery) {
    bool any = false;
    for (int i = 0; i < TURN_MAX; i++) {
        pl_str_t left = pl__smtp_wants_sent(&delivery->smtp);
        size_t sent = 0;
        if (left.len == 0)
            break;
        CURLcode result = pl__curl.easy_send(delivery->easy, left.ptr, left.len < PIECE ? left.len : PIECE, &sent);
        if (result == CURLE_AGAIN)
            break;
        if (result != CURLE_OK) {
            pl__smtp_broke(&delivery->smtp, text_of(result));
            break;
        }
        pl__smtp_was_sent(&delivery->smtp, sent);
        any = true;
    }
    return any;
}

/* TLS may hold bytes that no poll tells of: until there are none. Returns whether something came. */
static bool read_some(pl__delivery_t *delivery) {
    char bytes[4096];
    bool any = false;
    while (!pl__smtp_is_over(&delivery->smtp)) {
        size_t got = 0;
        CURLcode result = pl__curl.easy_recv(delivery->easy, bytes, sizeof bytes, &got);
        if (result == CURLE_AGAIN)
            break;
        if (result != CURLE_OK || got == 0) {
            pl__smtp_broke(&delivery->smtp, text_of(result));
            break;
        }
        pl__smtp_received(&delivery->smtp, bytes, got);
        any = true;
    }
    return any;
}

static void poll_cb(uv_poll_t *poll, int status, int events);

static void wait_for_more(pl__delivery_t *delivery) {
    int events = UV_READABLE | (pl__smtp_wants_sent(&delivery->smtp).len > 0 ? UV_WRITABLE : 0);
    if (uv_poll_start(&delivery->poll, events, poll_cb) != 0)
        pl__smtp_broke(&delivery->smtp, "the socket could not be watched");
}

/* A broken socket is found by reading it: what the server sent before comes first. A server that refuses the message
 * half-way and closes is heard, too: sending fails, but its reply was read before. */
static void poll_cb(uv_poll_t *poll, int status, int events) {
    pl__delivery_t *delivery = (pl__delivery_t *)(void *)poll;
    (void)status;
    (void)events;
    if (!delivery->news)
        return;
    bool moved = read_some(delivery);
    moved = send_some(delivery) || moved;
    if (!pl__smtp_is_over(&delivery->smtp))
        wait_for_more(delivery);
    if (moved || pl__smtp_is_over(&delivery->smtp))
        delivery->news(delivery->data);
}

int pl__delivery_open(pl__delivery_t **out, struct uv_loop_s *loop, CURL *easy, pl_str_t from, pl_str_t to,
                      pl_str_t message, void (*news)(void *data), void *data, pl_error_t *error) {
    curl_socket_t fd = CURL_SOCKET_BAD;
    *out = NULL;
    if (pl__curl.easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
        return PL__FAIL(error, PL_ECONNRESET, "the connection is gone");
    pl__delivery_t *delivery = pl__alloc(sizeof *delivery);
    if (!delivery)
        return PL__FAIL(error, PL_ENOMEM, "out of memory");
    int rc = pl__smtp_init(&delivery->smtp, from, to, message, error);
    if (rc == PL_OK && uv_poll_init_socket(loop, &delivery->poll, fd) != 0) {
        pl__smtp_free(&delivery->smtp);
        rc = PL__FAIL(error, PL_ENOMEM, "the socket could not be watched");
    }
    if (rc != PL_OK) {
        pl__free(delivery);
        return rc;
    }
    delivery->easy = easy;
    delivery->news = news;
    delivery->data = data;
    wait_for_more(delivery);
    *out = delivery;
    return PL_OK;
}
