/*
 * delivery_alloc_test.c - the Nth allocation fails while a mail is handed to a server, for every N.
 *
 * The server is on the same loop, a few lines that know the order of the commands; its memory never fails. Whatever
 * fails, the mail is over: success is said if the server has it, else why not; nothing is left on the loop, and the
 * next mail goes as if nothing had been. The client is also closed after every turn of the loop, and by its callback.
 */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "http/fetch.h"
#include "mail/delivery.h"
#include "support/check.h"

enum { TURNS_MAX = 20000, BODY = 4000 * 50, WIRE_MAX = 2 * BODY };

static char body[BODY + 1]; /* lines that begin with a dot */

/* ---- the server ---- */

typedef struct {
    uv_tcp_t tcp; /* first: freed by its close callback */
    bool is_body;
    size_t len;
    char bytes[WIRE_MAX];
} session_t;

typedef struct {
    uv_loop_t loop;
    uv_tcp_t server;
    pl_fetcher_t *fetcher;
    char url[64];
    int accepted; /* messages the server has said 250 to, all of them whole */
} fixture_t;

static void freed_cb(uv_handle_t *handle) {
    free(handle);
}

static void leave(session_t *session) {
    if (!uv_is_closing((uv_handle_t *)&session->tcp))
        uv_close((uv_handle_t *)&session->tcp, freed_cb);
}

static void reply(session_t *session, const char *text) {
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));
    if (uv_try_write((uv_stream_t *)&session->tcp, &buf, 1) < 0)
        leave(session);
}

static void answer_command(session_t *session, const char *line) {
    static const char *const known[][2] = {
        { "EHLO", "250-here\r\n250 8BITMIME\r\n" },
        { "MAIL", "250 ok\r\n" },
        { "RCPT", "250 ok\r\n" },
        { "DATA", "354 go\r\n" },
        { "QUIT", "221 bye\r\n" },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strncmp(line, known[i][0], 4) != 0)
            continue;
        session->is_body = i == 3;
        reply(session, known[i][1]);
        return;
    }
    reply(session, "500 what?\r\n");
}

/* What came is what was given, each line of which begins with one dot more. */
static bool is_whole(const session_t *session) {
    const char *at = session->bytes, *end = session->bytes + session->len - 3;
    for (size_t i = 0; i < BODY; i++) {
        if (at < end && (i == 0 || body[i - 1] == '\n') && *at++ != '.')
            return false;
        if (at >= end || *at++ != body[i])
            return false;
    }
    return at == end;
}

static void take_message(session_t *session) {
    fixture_t *fix = session->tcp.data;
    if (session->len < 5 || memcmp(session->bytes + session->len - 5, "\r\n.\r\n", 5) != 0)
        return;
    CHECK(is_whole(session));
    session->is_body = false;
    session->len = 0;
    fix->accepted++;
    reply(session, "250 2.0.0 queued\r\n");
}

static void take_lines(session_t *session) {
    for (char *stop; !session->is_body && (stop = memchr(session->bytes, '\n', session->len)) != NULL;) {
        size_t len = (size_t)(stop + 1 - session->bytes);
        char line[64] = { 0 };
        memcpy(line, session->bytes, len < sizeof line ? len : sizeof line - 1);
        session->len -= len;
        memmove(session->bytes, stop + 1, session->len);
        answer_command(session, line);
    }
}

static void alloc_cb(uv_handle_t *handle, size_t size, uv_buf_t *buf) {
    session_t *session = (session_t *)(void *)handle;
    (void)size;
    *buf = uv_buf_init(session->bytes + session->len, (unsigned)(sizeof session->bytes - session->len));
}

static void read_cb(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf) {
    session_t *session = (session_t *)(void *)stream;
    (void)buf;
    if (got < 0) {
        leave(session);
        return;
    }
    session->len += (size_t)got;
    take_lines(session);
    if (session->is_body)
        take_message(session);
}

static void connected_cb(uv_stream_t *server, int status) {
    session_t *session = calloc(1, sizeof *session);
    CHECK(status == 0 && session);
    if (!session)
        return;
    CHECK(uv_tcp_init(server->loop, &session->tcp) == 0);
    session->tcp.data = server->data;
    CHECK(uv_accept(server, (uv_stream_t *)&session->tcp) == 0);
    CHECK(uv_read_start((uv_stream_t *)&session->tcp, alloc_cb, read_cb) == 0);
    reply(session, "220 here\r\n");
}

/* ---- the client ---- */

static void open_all(fixture_t *fix) {
    pl_fetcher_options_t options;
    struct sockaddr_in address;
    int len = sizeof address;
    memset(fix, 0, sizeof *fix);
    CHECK(uv_loop_init(&fix->loop) == 0);
    CHECK(uv_tcp_init(&fix->loop, &fix->server) == 0);
    fix->server.data = fix;
    CHECK(uv_ip4_addr("127.0.0.1", 0, &address) == 0);
    CHECK(uv_tcp_bind(&fix->server, (const struct sockaddr *)&address, 0) == 0);
    CHECK(uv_listen((uv_stream_t *)&fix->server, 16, connected_cb) == 0);
    CHECK(uv_tcp_getsockname(&fix->server, (struct sockaddr *)&address, &len) == 0);
    (void)snprintf(fix->url, sizeof fix->url, "smtp://127.0.0.1:%d", ntohs(address.sin_port));
    pl_fetcher_options_init(&options);
    CHECK(pl_fetcher_open(&fix->fetcher, &fix->loop, &options, NULL) == PL_OK);
}

static void close_all(fixture_t *fix) {
    if (fix->fetcher)
        pl_fetcher_close(fix->fetcher);
    uv_close((uv_handle_t *)&fix->server, NULL);
    while (uv_run(&fix->loop, UV_RUN_ONCE) != 0) {
    }
    CHECK(uv_loop_close(&fix->loop) == 0); /* no handle is left */
}

/* A mail and what became of it. */
typedef struct {
    fixture_t *fix;
    pl_fetch_t *fetch;
    bool is_over, closes;
} mail_t;

static void changed_cb(void *data, pl_fetch_t *fetch) {
    mail_t *mail = data;
    mail->is_over = mail->is_over || pl_fetch_is_over(fetch);
    if (mail->closes) {
        pl_fetcher_close(mail->fix->fetcher);
        mail->fix->fetcher = NULL;
    }
}

static int start(fixture_t *fix, mail_t *mail) {
    pl_fetch_request_t request;
    pl_fetch_request_init(&request);
    mail->fix = fix;
    request.url = pl_str(fix->url);
    request.mail_from = PL_STR_LIT("robot@example.org");
    request.mail_to = PL_STR_LIT("ada@example.org");
    request.body = (pl_str_t){ body, BODY };
    request.starttls = PL_STARTTLS_NO;
    request.deadline = 20;
    request.changed = changed_cb;
    request.data = mail;
    return pl_fetch_start(fix->fetcher, &request, &mail->fetch, NULL);
}

/* Sends one and returns what became of it: PL_OK if the server said 250. */
static int send_one(fixture_t *fix) {
    mail_t mail = { 0 };
    pl_fetch_response_t response;
    int rc = start(fix, &mail);
    if (rc != PL_OK) {
        CHECK(!mail.fetch);
        return rc;
    }
    for (int i = 0; i < TURNS_MAX && !mail.is_over; i++)
        uv_run(&fix->loop, UV_RUN_ONCE);
    CHECK(mail.is_over);
    pl_fetch_response(mail.fetch, &response);
    rc = response.code;
    CHECK(rc != PL_OK || response.status == 250);
    CHECK(rc != PL_OK || pl_str_eq(response.body, PL_STR_LIT("2.0.0 queued")));
    CHECK(rc == PL_OK || response.message);
    pl_fetch_release(mail.fetch);
    return rc;
}

/* ---- tests ---- */

static void test_allocations(void) {
    long nth = 1;
    for (bool hit = true; hit; nth++) {
        fixture_t fix;
        open_all(&fix);
        pl__alloc_fail_at(nth);
        int rc = send_one(&fix);
        hit = pl__alloc_failed();
        pl__alloc_fail_at(0);
        /* If memory was short when the server had said it has the mail, it is sent again: twice, but not lost. */
        CHECK(rc == PL_OK ? fix.accepted == 1 : hit && fix.accepted <= 1);
        CHECK(rc == PL_OK || rc == PL_ENOMEM || rc == PL_EOTHER || rc == PL_ECONNRESET);
        int before = fix.accepted;
        CHECK(send_one(&fix) == PL_OK && fix.accepted == before + 1);
        close_all(&fix);
    }
    CHECK(nth > 10); /* there was something to fail */
}

/* After so many turns of the loop the client is closed, with the mails that are under way. */
static void test_close(void) {
    bool is_over = false;
    int turns = 0;
    for (; !is_over; turns++) {
        fixture_t fix;
        mail_t mails[2] = { { 0 }, { 0 } };
        open_all(&fix);
        for (int i = 0; i < 2; i++)
            CHECK(start(&fix, &mails[i]) == PL_OK);
        for (int i = 0; i < turns; i++)
            uv_run(&fix.loop, UV_RUN_NOWAIT);
        is_over = mails[0].is_over && mails[1].is_over;
        pl_fetcher_close(fix.fetcher);
        fix.fetcher = NULL;
        for (int i = 0; i < 2; i++) {
            CHECK(pl_fetch_is_over(mails[i].fetch));
            pl_fetch_release(mails[i].fetch);
        }
        CHECK(fix.accepted <= 2 && turns < TURNS_MAX);
        close_all(&fix);
    }
    CHECK(turns > 5);
}

static void test_inside(void) {
    fixture_t fix;
    mail_t mail = { .closes = true };
    open_all(&fix);
    CHECK(start(&fix, &mail) == PL_OK);
    for (int i = 0; i < TURNS_MAX && fix.fetcher; i++)
        uv_run(&fix.loop, UV_RUN_ONCE);
    CHECK(!fix.fetcher && pl_fetch_is_over(mail.fetch));
    pl_fetch_release(mail.fetch);
    close_all(&fix);
}

static void nothing_cb(void *data) {
    (void)data;
}

/* What cannot begin leaves nothing to close. */
static void test_refused(void) {
    uv_loop_t loop;
    pl__delivery_t *delivery = (pl__delivery_t *)(void *)&loop;
    pl_error_t error = { 0 };
    CURL *easy = pl__curl.easy_init();
    CHECK(easy && uv_loop_init(&loop) == 0);
    CHECK(pl__delivery_open(&delivery, &loop, easy, PL_STR_LIT("a@b"), PL_STR_LIT("c@d"), PL_STR_LIT(""), nothing_cb,
                            NULL, &error) == PL_ECONNRESET);
    CHECK(!delivery && error.code == PL_ECONNRESET);
    pl__curl.easy_cleanup(easy);
    CHECK(uv_loop_close(&loop) == 0);
}

int main(void) {
    static const char line[] = ".23456789012345678901234567890123456789012345678\r\n";
    for (size_t i = 0; i < BODY; i += sizeof line - 1)
        memcpy(body + i, line, sizeof line - 1);
    CHECK(pl__curl_load(&(pl_error_t){ 0 }) == 0);
    test_allocations();
    test_close();
    test_inside();
    test_refused();
    return check_end();
}
