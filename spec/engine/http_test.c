/*
 * http_test.c - the HTTP server alone, against clients on raw sockets in the same thread.
 *
 * A client socket is non-blocking and the loop runs between its reads and writes, so that nothing here depends on
 * time; only the tests of time limits wait for a second or two.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "http/server.h"

enum { REPLY_MAX = 1 << 20, HELD_MAX = 16 };

typedef struct {
    uv_loop_t loop;
    pl_http_t *http;
    int port;
    int handled;                       /* requests handed over */
    pl_http_request_t *held[HELD_MAX]; /* by GET /hold, in order */
    int held_count;
    int left; /* requests whose client has left */
    bool is_closed;
} fixture_t;

typedef struct {
    fixture_t *fix;
    int fd;
    size_t len;
    bool at_end; /* the server closed the connection */
    char *text;  /* what was received, with a NUL behind it */
} client_t;

static int failures;

static void check(bool good, const char *what, int line) {
    if (good)
        return;
    failures++;
    fprintf(stderr, "http_test.c:%d: failed: %s\n", line, what);
}
#define CHECK(expression) check((expression), #expression, __LINE__)
#define CHECK_HAS(client, part)                                                                                        \
    do {                                                                                                               \
        check(strstr((client)->text, part) != NULL, "reply has " part, __LINE__);                                      \
        if (!strstr((client)->text, part))                                                                             \
            fprintf(stderr, "got: %.300s\n", (client)->text);                                                          \
    } while (0)

/* ---- the server side ---- */

static bool is_fault_test; /* an answer may fail for want of memory */

static void answer(pl_http_request_t *request, unsigned status, const char *body) {
    pl_http_header_t type = { PL_STR_LIT("Content-Type"), PL_STR_LIT("text/plain") };
    int rc = pl_http_respond(request, status, &type, 1, pl_str(body));
    CHECK(rc == PL_OK || (is_fault_test && rc == PL_ENOMEM));
    if (rc)
        pl_http_drop(request);
}

/* Says everything about a request in its answer. */
static void echo(pl_http_request_t *request) {
    static char text[256 * 1024];
    size_t len = (size_t)snprintf(text, sizeof text, "%s|%s|%s|%s|%zu|", request->method.ptr, request->path.ptr,
                                  request->query.ptr, request->remote, request->body.len);
    for (size_t i = 0; i < request->header_count && len < sizeof text; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s=%s;", request->headers[i].name.ptr,
                                request->headers[i].value.ptr);
    if (request->body.len < 100 && len < sizeof text)
        snprintf(text + len, sizeof text - len, "|%.*s", (int)request->body.len, request->body.ptr);
    answer(request, 200, text);
}

/* Bad answers are refused, and the request is still there for a good one. */
static void answer_badly(pl_http_request_t *request) {
    pl_http_header_t bad[] = {
        { PL_STR_LIT("X-A"), PL_STR_LIT("b\r\nSet-Cookie: x") },
        { PL_STR_LIT("X-A"), PL_STR_LIT("b\nc") },
        { PL_STR_LIT("X-A\r\nB"), PL_STR_LIT("b") },
        { PL_STR_LIT("X A"), PL_STR_LIT("b") },
        { PL_STR_LIT(""), PL_STR_LIT("b") },
        { PL_STR_LIT("X-A"), { "a\0b", 3 } },
        { { "X\0", 2 }, PL_STR_LIT("b") },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(pl_http_respond(request, 200, &bad[i], 1, PL_STR_NONE) == PL_EINVAL);
    CHECK(pl_http_respond(request, 100, NULL, 0, PL_STR_NONE) == PL_EINVAL);
    CHECK(pl_http_respond(request, 999, NULL, 0, PL_STR_NONE) == PL_EINVAL);
    pl_http_header_t good[] = { { PL_STR_LIT("Content-Length"), PL_STR_LIT("1") },
                                { PL_STR_LIT("X-Empty"), PL_STR_LIT("") },
                                { PL_STR_LIT("X-Blank"), PL_STR_LIT(" \tx\t ") } };
    CHECK(pl_http_respond(request, 200, good, 3, PL_STR_LIT("still here")) == PL_OK);
}

static void closed_cb(void *data) {
    ((fixture_t *)data)->is_closed = true;
}

static void handler_cb(void *data, pl_http_request_t *request) {
    fixture_t *fix = data;
    fix->handled++;
    if (!strcmp(request->path.ptr, "/hold")) {
        if (fix->held_count < HELD_MAX)
            fix->held[fix->held_count++] = request;
    } else if (!strcmp(request->path.ptr, "/drop")) {
        pl_http_drop(request);
    } else if (!strcmp(request->path.ptr, "/bad")) {
        answer_badly(request);
    } else if (!strcmp(request->path.ptr, "/close")) {
        pl_http_close(fix->http, closed_cb, fix);
        answer(request, 200, "closing");
    } else if (!strcmp(request->path.ptr, "/none")) {
        answer(request, 204, "must not be sent");
    } else {
        echo(request);
    }
}

static void left_cb(void *data, pl_http_request_t *request) {
    fixture_t *fix = data;
    CHECK(!strcmp(request->path.ptr, "/hold"));
    fix->left++;
}

static void start(fixture_t *fix, void (*adjust)(pl_http_options_t *options)) {
    pl_http_options_t options;
    pl_error_t error = { 0 };
    memset(fix, 0, sizeof *fix);
    CHECK(!uv_loop_init(&fix->loop));
    pl_http_options_init(&options);
    options.handler = handler_cb;
    options.left = left_cb;
    options.data = fix;
    if (adjust)
        adjust(&options);
    int rc = pl_http_open(&fix->http, &fix->loop, &options, &error);
    if (rc) {
        fprintf(stderr, "open: %s\n", error.message);
        exit(1);
    }
    fix->port = pl_http_port(fix->http);
}

static void turn(fixture_t *fix) {
    uv_run(&fix->loop, UV_RUN_NOWAIT);
}

static void finish(fixture_t *fix) {
    if (!fix->is_closed)
        pl_http_close(fix->http, closed_cb, fix);
    for (int i = 0; i < 10 && !fix->is_closed; i++)
        turn(fix);
    CHECK(fix->is_closed);
    for (int i = 0; i < fix->held_count; i++)
        if (fix->held[i])
            answer(fix->held[i], 200, "too late");
    CHECK(uv_loop_close(&fix->loop) == 0);
}

/* ---- the client side ---- */

static void client_open(client_t *client, fixture_t *fix) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)fix->port) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *client = (client_t){ .fix = fix, .text = calloc(1, REPLY_MAX) };
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(client->fd >= 0 && !connect(client->fd, (struct sockaddr *)&to, sizeof to));
}

static void client_read(client_t *client) {
    ssize_t n;
    while (client->len < REPLY_MAX - 1 &&
           (n = recv(client->fd, client->text + client->len, REPLY_MAX - 1 - client->len, MSG_DONTWAIT)) > 0)
        client->len += (size_t)n;
    if (n == 0 || (n < 0 && errno != EAGAIN))
        client->at_end = true;
}

/* Sends all, running the server in between; stops when the server has closed. */
static void client_send(client_t *client, const char *bytes, size_t len) {
    while (len > 0 && !client->at_end) {
        ssize_t n = send(client->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break;
        if (n > 0)
            bytes += n, len -= (size_t)n;
        turn(client->fix);
        client_read(client);
    }
}

static void client_say(client_t *client, const char *text) {
    client_send(client, text, strlen(text));
}

/* Runs the server until the reply has the text or the connection ends; at most ten seconds. */
static void client_await(client_t *client, const char *part) {
    for (int i = 0; i < 10000 && !client->at_end && !(part && strstr(client->text, part)); i++) {
        turn(client->fix);
        client_read(client);
        if (i > 20)
            usleep(1000);
    }
}

static void client_close(client_t *client) {
    close(client->fd);
    free(client->text);
}

/* One request on a connection of its own: sends, then reads to the end of the connection. */
static void exchange(fixture_t *fix, client_t *client, const char *bytes, size_t len) {
    client_open(client, fix);
    client_send(client, bytes, len);
    client_await(client, NULL);
}

#define HEAD_CLOSE "Host: x\r\nConnection: close\r\n"

/* ---- tests ---- */

static void test_echo(fixture_t *fix) {
    client_t client;
    static const char get[] = "GET /a%20b/%2e?q=1&r=%41 HTTP/1.1\r\nX-Up: One\r\nx-up: two\r\nCookie: a=1\r\n"
                              "Cookie: b=2\r\n" HEAD_CLOSE "\r\n";
    exchange(fix, &client, get, sizeof get - 1);
    CHECK_HAS(&client, "HTTP/1.1 200 OK");
    CHECK_HAS(&client, "GET|/a%20b/%2e|q=1&r=%41|127.0.0.1|0|");
    CHECK_HAS(&client, "x-up=One, two;");
    CHECK_HAS(&client, "cookie=a=1; b=2;");
    CHECK(!strstr(client.text, "Up="));
    client_close(&client);
    static const char post[] = "POST /p HTTP/1.1\r\nContent-Length: 5\r\n" HEAD_CLOSE "\r\nhello";
    exchange(fix, &client, post, sizeof post - 1);
    CHECK_HAS(&client, "POST|/p||127.0.0.1|5|");
    CHECK_HAS(&client, "|hello");
    client_close(&client);
    static const char chunked[] =
        "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" HEAD_CLOSE "\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    exchange(fix, &client, chunked, sizeof chunked - 1);
    CHECK_HAS(&client, "|abcde");
    client_close(&client);
}

static void test_methods(fixture_t *fix) {
    client_t client;
    static const char head[] = "HEAD /h HTTP/1.1\r\n" HEAD_CLOSE "\r\n";
    exchange(fix, &client, head, sizeof head - 1);
    CHECK_HAS(&client, "200 OK");
    CHECK_HAS(&client, "Content-Length: ");
    CHECK(!strstr(client.text, "HEAD|"));
    client_close(&client);
    static const char odd[] = "FROB /h HTTP/1.1\r\n" HEAD_CLOSE "\r\n";
    exchange(fix, &client, odd, sizeof odd - 1);
    CHECK_HAS(&client, "FROB|/h");
    client_close(&client);
    static const char none[] = "GET /none HTTP/1.1\r\n" HEAD_CLOSE "\r\n";
    exchange(fix, &client, none, sizeof none - 1);
    CHECK_HAS(&client, "HTTP/1.1 204");
    CHECK(!strstr(client.text, "must not"));
    client_close(&client);
    static const char old[] = "GET /old HTTP/1.0\r\n\r\n";
    exchange(fix, &client, old, sizeof old - 1);
    CHECK_HAS(&client, "GET|/old|");
    client_close(&client);
}

static void test_bad_answers(fixture_t *fix) {
    client_t client;
    static const char get[] = "GET /bad HTTP/1.1\r\n" HEAD_CLOSE "\r\n";
    exchange(fix, &client, get, sizeof get - 1);
    CHECK_HAS(&client, "still here");
    CHECK_HAS(&client, "Content-Length: 10\r\n");
    CHECK_HAS(&client, "X-Blank: x\r\n");
    CHECK(!strstr(client.text, "Set-Cookie"));
    client_close(&client);
    static const char drop[] = "GET /drop HTTP/1.1\r\n" HEAD_CLOSE "\r\n";
    exchange(fix, &client, drop, sizeof drop - 1);
    CHECK(client.at_end && client.len == 0);
    client_close(&client);
}

static void test_keep_alive(fixture_t *fix) {
    client_t client;
    client_open(&client, fix);
    client_say(&client, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    client_await(&client, "GET|/2");
    CHECK_HAS(&client, "GET|/1");
    client_say(&client, "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n");
    client_await(&client, "GET|/3");
    CHECK_HAS(&client, "GET|/3");
    CHECK(!client.at_end);
    CHECK(pl_http_connections(fix->http) == 1);
    client_close(&client);
    for (int i = 0; i < 10; i++)
        turn(fix);
    CHECK(pl_http_connections(fix->http) == 0);
}

static void test_late_answers(fixture_t *fix) {
    client_t a, b, gone;
    static const char hold[] = "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    client_open(&a, fix);
    client_open(&b, fix);
    client_open(&gone, fix);
    client_say(&a, hold);
    for (int i = 0; i < 20 && fix->held_count < 1; i++)
        turn(fix);
    client_say(&b, hold);
    for (int i = 0; i < 20 && fix->held_count < 2; i++)
        turn(fix);
    client_say(&gone, hold);
    for (int i = 0; i < 20 && fix->held_count < 3; i++)
        turn(fix);
    CHECK(fix->held_count == 3);
    if (fix->held_count < 3)
        return;
    client_close(&gone);
    for (int i = 0; i < 5; i++)
        turn(fix);
    answer(fix->held[1], 200, "for b");
    client_await(&b, "for b");
    CHECK_HAS(&b, "for b");
    client_read(&a);
    CHECK(a.len == 0);
    CHECK(!memcmp(fix->held[2]->body.ptr, "abc", 3));
    answer(fix->held[2], 200, "nobody");
    answer(fix->held[0], 201, "for a");
    client_await(&a, "for a");
    CHECK_HAS(&a, "HTTP/1.1 201");
    /* The connection goes on to the next request. */
    client_say(&a, "GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    client_await(&a, "GET|/next");
    CHECK_HAS(&a, "GET|/next");
    client_close(&a);
    client_close(&b);
    fix->held_count = 0;
}

static void refused(fixture_t *fix, const char *bytes, size_t len, const char *status, int line) {
    client_t client;
    int before = fix->handled;
    exchange(fix, &client, bytes, len);
    bool good = client.at_end && fix->handled == before && !strncmp(client.text + 9, status, 3);
    check(good, status, line);
    if (!good)
        fprintf(stderr, "sent %.60s\ngot %d %d: %.100s\n", bytes, client.at_end, fix->handled - before, client.text);
    client_close(&client);
}
#define REFUSED(text, status) refused(fix, text, sizeof(text) - 1, status, __LINE__)

static void test_garbage(fixture_t *fix) {
    REFUSED("GET / HTTP/1.1\r\n\r\n", "400"); /* no Host */
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nno colon here\r\n\r\n", "400");
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "400");
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", "400");
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\nabc", "400");
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc", "400");
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc", "400");
    REFUSED("garbage\r\n\r\n", "400");
    REFUSED(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nb : c\r\n\r\n", "400");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r-\nb: c\r\n\r\n", "400");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nb: c\1d\r\n\r\n", "400");
    REFUSED("\1\2\3\377\376 / HTTP/1.1\r\n\r\n", "400");
    REFUSED("GET / HTTP/9.9\r\nHost: a\r\n\r\n", "505");
}

static void test_too_large(fixture_t *fix) {
    size_t len = 3 * 1024 * 1024;
    char *big = malloc(len + 200);
    int n = snprintf(big, 200, "GET /?");
    memset(big + n, 'q', len);
    memcpy(big + (size_t)n + len, " HTTP/1.1\r\n\r\n", 13);
    refused(fix, big, (size_t)n + len + 13, "414", __LINE__);
    n = snprintf(big, 200, "GET / HTTP/1.1\r\nHost: x\r\nX-Big: ");
    memset(big + n, 'h', len);
    memcpy(big + (size_t)n + len, "\r\n\r\n", 4);
    refused(fix, big, (size_t)n + len + 4, "431", __LINE__);
    memcpy(big + n + 40000, "\r\n\r\n", 4); /* fits MHD's memory, but not our limit */
    refused(fix, big, (size_t)n + 40004, "431", __LINE__);
    n = snprintf(big, 200, "GET /?");
    for (size_t i = 0; i < 11000; i++)
        memcpy(big + (size_t)n + 2 * i, "a&", 2);
    memcpy(big + n + 22000, " HTTP/1.1\r\nHost: x\r\n\r\n", 22);
    refused(fix, big, (size_t)n + 22022, "400", __LINE__);
    n = snprintf(big, 200, "POST / HTTP/1.1\r\nContent-Length: %zu\r\n" HEAD_CLOSE "\r\n", len);
    memset(big + n, 'b', len);
    refused(fix, big, (size_t)n + len, "413", __LINE__);
    n = snprintf(big, 200, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" HEAD_CLOSE "\r\n%zx\r\n", len);
    memset(big + n, 'b', len);
    memcpy(big + (size_t)n + len, "\r\n0\r\n\r\n", 7);
    refused(fix, big, (size_t)n + len + 7, "413", __LINE__);
    free(big);
    REFUSED("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n" HEAD_CLOSE "\r\n", "413");
    REFUSED("POST / HTTP/1.1\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n" HEAD_CLOSE "\r\n", "413");
    REFUSED("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n" HEAD_CLOSE "\r\n", "413");
}

static void test_fits(fixture_t *fix) {
    client_t client;
    size_t len = 1024 * 1024;
    char *big = malloc(len + 200);
    int n = snprintf(big, 200, "POST / HTTP/1.1\r\nContent-Length: %zu\r\n" HEAD_CLOSE "\r\n", len);
    memset(big + n, 'b', len);
    exchange(fix, &client, big, (size_t)n + len);
    CHECK_HAS(&client, "|1048576|");
    client_close(&client);
    /* A thousand arguments, and headers just below the limit. */
    n = snprintf(big, 200, "GET /?");
    size_t at = (size_t)n;
    while (at < 4000)
        at += (size_t)sprintf(big + at, "a=b&");
    at += (size_t)sprintf(big + at, " HTTP/1.1\r\n" HEAD_CLOSE);
    for (int i = 0; at < 30000 && i < 190; i++)
        at += (size_t)sprintf(big + at, "X-%d: v%090d\r\n", i, i);
    at += (size_t)sprintf(big + at, "\r\n");
    exchange(fix, &client, big, at);
    CHECK_HAS(&client, "HTTP/1.1 200 OK");
    CHECK_HAS(&client, "x-100=v000");
    client_close(&client);
    free(big);
}

/* Half of a request, then silence or a close, at every byte: costs nothing that lasts. */
static void test_cut_off(fixture_t *fix) {
    static const char text[] = "POST /p?q HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        client_t client;
        client_open(&client, fix);
        client_send(&client, text, len);
        client_close(&client);
    }
    for (int i = 0; i < 50 && pl_http_connections(fix->http); i++)
        turn(fix);
    CHECK(pl_http_connections(fix->http) == 0);
}

/* Every allocation of a request fails once: it is refused or its connection closed, and the next one is served. */
static void test_faults(fixture_t *fix) {
    static const char post[] =
        "POST /p?q HTTP/1.1\r\nTransfer-Encoding: chunked\r\nCookie: a\r\nCookie: b\r\n" HEAD_CLOSE
        "\r\n5\r\nhello\r\n0\r\n\r\n";
    bool hit = true;
    for (long n = 1; hit && n < 1000; n++) {
        client_t client;
        is_fault_test = true;
        pl__alloc_fail_at(n);
        exchange(fix, &client, post, sizeof post - 1);
        hit = pl__alloc_failed();
        pl__alloc_fail_at(0);
        CHECK(client.at_end && (client.len == 0 || strstr(client.text, " 503 ") || strstr(client.text, "|hello")));
        client_close(&client);
        exchange(fix, &client, post, sizeof post - 1);
        CHECK_HAS(&client, "|hello");
        client_close(&client);
    }
    is_fault_test = false;
}

static void few_connections(pl_http_options_t *options) {
    options->max_connections = 3;
    options->idle_timeout = 1;
    options->request_timeout = 1;
}

static void turns(fixture_t *fix, int count) {
    for (int i = 0; i < count; i++)
        turn(fix);
}

static bool is_at_end(client_t *client) {
    client_read(client);
    return client->at_end;
}

/* Three idle connections, one that trickles among them, and nobody who wants their places: time closes them. */
static void test_timeouts(void) {
    fixture_t fix;
    client_t slow[3];
    start(&fix, few_connections);
    for (int i = 0; i < 3; i++)
        client_open(&slow[i], &fix);
    client_say(&slow[0], "GET / HT");
    turns(&fix, 10);
    CHECK(pl_http_connections(fix.http) == 3);
    for (int i = 0; i < 60 && !slow[2].at_end; i++) {
        client_say(&slow[2], "G"); /* never idle, never done */
        usleep(100 * 1000);
    }
    CHECK(slow[2].at_end);
    CHECK_HAS(&slow[2], "408");
    for (int i = 0; i < 3; i++) {
        client_await(&slow[i], NULL);
        CHECK(slow[i].at_end);
        client_close(&slow[i]);
    }
    finish(&fix);
}

/* Requests that are being worked on keep their places; a fourth client waits until one is answered. */
static void test_full(void) {
    fixture_t fix;
    client_t busy[3], next;
    start(&fix, few_connections);
    for (int i = 0; i < 3; i++) {
        client_open(&busy[i], &fix);
        client_say(&busy[i], "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
        turns(&fix, 10);
    }
    CHECK(fix.held_count == 3);
    client_open(&next, &fix);
    client_say(&next, "GET /next HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
    turns(&fix, 10);
    CHECK(pl_http_connections(fix.http) == 3 && fix.handled == 3);
    answer(fix.held[1], 200, "done");
    client_await(&busy[1], "done");
    CHECK_HAS(&busy[1], "Connection: close");
    client_await(&next, "GET|/next");
    CHECK_HAS(&next, "GET|/next");
    answer(fix.held[0], 200, "done");
    answer(fix.held[2], 200, "done");
    fix.held_count = 0;
    for (int i = 0; i < 3; i++)
        client_close(&busy[i]);
    client_close(&next);
    finish(&fix);
}

/* Of three places the one without a request for the longest goes to a new client, then the next; one that was used
 * meanwhile stays. Without such a one a request that is only arriving gives way. */
static void test_gives_way(void) {
    fixture_t fix;
    client_t first, used, third, next, half, last;
    start(&fix, few_connections);
    client_open(&first, &fix);
    turns(&fix, 5);
    client_open(&used, &fix);
    turns(&fix, 5);
    client_open(&third, &fix);
    turns(&fix, 5);
    client_say(&used, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    client_await(&used, "GET|/1");
    client_open(&next, &fix);
    client_say(&next, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    turns(&fix, 10);
    CHECK(fix.held_count == 1 && is_at_end(&first) && !is_at_end(&used) && !is_at_end(&third));
    client_open(&half, &fix);
    client_say(&half, "GET /half");
    turns(&fix, 10);
    CHECK(is_at_end(&third) && !is_at_end(&used) && pl_http_connections(fix.http) == 3);
    client_open(&last, &fix);
    client_say(&last, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    turns(&fix, 10);
    CHECK(is_at_end(&used) && !is_at_end(&half) && fix.held_count == 2);
    client_t other;
    client_open(&other, &fix);
    client_say(&other, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n");
    client_await(&other, "GET|/other");
    CHECK(is_at_end(&half) && !is_at_end(&next) && !is_at_end(&last));
    client_t *const all[] = { &first, &used, &third, &next, &half, &last, &other };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        client_close(all[i]);
    finish(&fix);
}

static void shared(pl_http_options_t *options) {
    options->max_per_address = 2;
}

/* An address keeps to its share, with the same rule among its own connections. */
static void test_share(void) {
    fixture_t fix;
    client_t clients[4];
    start(&fix, shared);
    for (int i = 0; i < 4; i++) {
        client_open(&clients[i], &fix);
        turns(&fix, 5);
    }
    CHECK(pl_http_connections(fix.http) == 2);
    CHECK(is_at_end(&clients[0]) && is_at_end(&clients[1]) && !is_at_end(&clients[2]));
    client_say(&clients[2], "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    client_say(&clients[3], "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    turns(&fix, 5);
    CHECK(fix.held_count == 2);
    client_t more;
    client_open(&more, &fix);
    turns(&fix, 5);
    CHECK(is_at_end(&more) && !is_at_end(&clients[2]) && !is_at_end(&clients[3]));
    client_close(&more);
    for (int i = 0; i < 4; i++)
        client_close(&clients[i]);
    finish(&fix);
}

/* Who has left is noticed: at once when the connection is reset, else after a moment; the request stays the host's. */
static void test_left(bool resets, bool has_more) {
    fixture_t fix;
    client_t client;
    static char more[200 * 1024];
    struct linger none = { .l_onoff = 1, .l_linger = 0 };
    memset(more, 'G', sizeof more);
    start(&fix, NULL);
    client_open(&client, &fix);
    client_say(&client, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    turns(&fix, 10);
    CHECK(fix.held_count == 1 && fix.left == 0);
    if (has_more)
        (void)send(client.fd, more, sizeof more, MSG_DONTWAIT | MSG_NOSIGNAL);
    turns(&fix, 10);
    if (resets)
        setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    client_close(&client);
    turns(&fix, 10);
    CHECK(fix.left == (resets && !has_more));
    for (int i = 0; i < 400 && fix.left == 0; i++) {
        turn(&fix);
        usleep(10 * 1000);
    }
    CHECK(fix.left == 1 && pl_http_connections(fix.http) == 0);
    answer(fix.held[0], 200, "nobody");
    fix.held_count = 0;
    finish(&fix);
}

/* A client that has said all it had to say, and listens, is answered. */
static void test_half_closed(void) {
    fixture_t fix;
    client_t client;
    start(&fix, NULL);
    client_open(&client, &fix);
    client_say(&client, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\n"
                        "Host: x\r\n\r\n");
    shutdown(client.fd, SHUT_WR);
    turns(&fix, 10);
    CHECK(fix.held_count == 1);
    answer(fix.held[0], 200, "held");
    client_await(&client, NULL);
    CHECK_HAS(&client, "held");
    CHECK_HAS(&client, "GET|/2");
    CHECK(client.at_end && fix.left == 0);
    client_close(&client);
    fix.held_count = 0;
    finish(&fix);
}

/* Closing with requests in every phase; those held stay valid. */
static void test_close(bool in_handler) {
    fixture_t fix;
    client_t held, half, idle, last;
    start(&fix, NULL);
    client_open(&held, &fix);
    client_open(&half, &fix);
    client_open(&idle, &fix);
    client_open(&last, &fix);
    client_say(&held, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    client_say(&half, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    client_say(&idle, "GET /idle HTTP/1.1\r\nHost: x\r\n\r\n");
    client_await(&idle, "GET|/idle");
    CHECK(fix.held_count == 1);
    if (in_handler) {
        client_say(&last, "GET /close HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
        client_await(&last, "closing");
        CHECK_HAS(&last, "closing");
    } else {
        client_say(&last, "GET /hold HTTP/1.1\r\n" HEAD_CLOSE "\r\n");
        for (int i = 0; i < 10 && fix.held_count < 2; i++)
            turn(&fix);
        CHECK(fix.held_count == 2);
        answer(fix.held[1], 200, "just in time");
        fix.held_count = 1;
    }
    finish(&fix);
    client_read(&held);
    client_read(&half);
    client_read(&idle);
    client_read(&last);
    CHECK(held.at_end && half.at_end && idle.at_end);
    if (!in_handler)
        CHECK_HAS(&last, "just in time");
    client_close(&held);
    client_close(&half);
    client_close(&idle);
    client_close(&last);
}

static int open_with(uv_loop_t *loop, const char *host, int port, size_t max_header) {
    pl_http_options_t options;
    pl_http_t *http = NULL;
    pl_error_t error = { 0 };
    pl_http_options_init(&options);
    options.host = host;
    options.port = port;
    options.max_header = max_header;
    options.handler = handler_cb;
    int rc = pl_http_open(&http, loop, &options, &error);
    CHECK(rc == PL_OK || error.message[0]);
    if (!rc)
        pl_http_close(http, NULL, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    return rc;
}

static void test_open_errors(fixture_t *fix) {
    CHECK(open_with(&fix->loop, "127.0.0.1", fix->port, 32768) == PL_EEXISTS);
    CHECK(open_with(&fix->loop, "no such host", 0, 32768) == PL_EINVAL);
    CHECK(open_with(&fix->loop, "192.0.2.1", 0, 32768) == PL_EIO);
    CHECK(open_with(&fix->loop, "127.0.0.1", 70000, 32768) == PL_EINVAL);
    CHECK(open_with(&fix->loop, "127.0.0.1", 0, 10) == PL_EINVAL);
    CHECK(open_with(&fix->loop, "localhost", 0, 32768) == PL_OK);
}

int main(void) {
    fixture_t fix;
    start(&fix, NULL);
    test_echo(&fix);
    test_methods(&fix);
    test_bad_answers(&fix);
    test_keep_alive(&fix);
    test_late_answers(&fix);
    test_garbage(&fix);
    test_too_large(&fix);
    test_fits(&fix);
    test_cut_off(&fix);
    test_faults(&fix);
    test_open_errors(&fix);
    finish(&fix);
    test_timeouts();
    test_full();
    test_gives_way();
    test_share();
    test_left(false, false);
    test_left(false, true);
    test_left(true, false);
    test_half_closed();
    test_close(false);
    test_close(true);
    if (failures)
        fprintf(stderr, "%d checks failed\n", failures);
    else
        puts("http_test: ok");
    return failures ? 1 : 0;
}
