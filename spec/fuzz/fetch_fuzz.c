/*
 * fetch_fuzz.c - arbitrary bytes from the server that the HTTP client asks, over a real socket.
 *
 * Whatever comes, the request ends, with a response that keeps to fetch.h: a status and header names in lower case, or
 * a reason; a body within its limit. The first byte of an input says where the rest is cut in two sendings, and
 * whether the body is collected or comes in pieces.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "http/fetch.h"

enum { MAX_SIZE = 500, TURNS = 4, TURNS_MAX = 20000 };

static uv_loop_t loop;
static pl_fetcher_t *fetcher;
static int listener;
static char url[64];

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void need_at(bool good, const char *what) {
    if (good)
        return;
    fprintf(stderr, "fetch_fuzz.c: not so: %s\n", what);
    abort();
}
#define NEED(condition) need_at(condition, #condition)

static void open_all(void) {
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t len = sizeof at;
    pl_fetcher_options_t options;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    NEED(listener >= 0 && bind(listener, (struct sockaddr *)&at, len) == 0 && listen(listener, 8) == 0);
    NEED(getsockname(listener, (struct sockaddr *)&at, &len) == 0);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(at.sin_port));
    pl_fetcher_options_init(&options);
    NEED(uv_loop_init(&loop) == 0 && pl_fetcher_open(&fetcher, &loop, &options, NULL) == PL_OK);
}

static void changed_cb(void *data, pl_fetch_t *fetch) {
    size_t *got = data;
    *got += pl_fetch_take(fetch).len;
}

static pl_fetch_t *ask(bool stream, size_t *got) {
    pl_fetch_request_t request;
    pl_fetch_t *fetch = NULL;
    pl_fetch_request_init(&request);
    request.url = pl_str(url);
    request.stream = stream;
    request.max_size = MAX_SIZE;
    request.changed = changed_cb;
    request.data = got;
    NEED(pl_fetch_start(fetcher, &request, &fetch, NULL) == PL_OK);
    return fetch;
}

static void turn(int times) {
    for (int i = 0; i < times; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

/* The connection of the client, which has sent its request. */
static int accept_client(void) {
    char heard[4096];
    struct linger none = { .l_onoff = 1, .l_linger = 0 }; /* no port stays behind in TIME_WAIT */
    int fd = -1;
    for (int i = 0; i < TURNS_MAX && fd < 0; i++) {
        turn(1);
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    }
    NEED(fd >= 0);
    for (int i = 0; i < TURNS_MAX && recv(fd, heard, sizeof heard, 0) < 0; i++)
        turn(1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    return fd;
}

static void say(int fd, const unsigned char *bytes, size_t size) {
    if (size > 0 && send(fd, bytes, size, MSG_NOSIGNAL) < 0)
        return; /* the client has heard enough */
    turn(TURNS);
}

static void check_answer(const pl_fetch_t *fetch, size_t got) {
    pl_fetch_response_t response;
    NEED(pl_fetch_is_over(fetch));
    pl_fetch_response(fetch, &response);
    NEED(response.body.len <= MAX_SIZE && got <= MAX_SIZE);
    NEED(response.code == PL_OK ? response.status >= 100 && response.status <= 999 : response.message != NULL);
    for (size_t i = 0; i < response.header_count; i++) {
        pl_str_t name = response.headers[i].name;
        for (size_t j = 0; j < name.len; j++)
            NEED(name.ptr[j] < 'A' || name.ptr[j] > 'Z');
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    if (fetcher == NULL)
        open_all();
    if (size == 0)
        return 0;
    size_t cut = (size - 1) * (bytes[0] / 2) / 128, got = 0;
    pl_fetch_t *fetch = ask(bytes[0] % 2 != 0, &got);
    int fd = accept_client();
    say(fd, bytes + 1, cut);
    say(fd, bytes + 1 + cut, size - 1 - cut);
    shutdown(fd, SHUT_WR);
    turn(TURNS);
    close(fd);
    for (int i = 0; i < TURNS_MAX && !pl_fetch_is_over(fetch); i++)
        turn(1);
    check_answer(fetch, got);
    pl_fetch_release(fetch);
    return 0;
}
