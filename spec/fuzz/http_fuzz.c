/*
 * http_fuzz.c - arbitrary bytes from a client of the HTTP server, over a real socket.
 *
 * Whatever comes, the server hands over requests that keep to http.h: a method, a path, header names that are tokens
 * in lower case and each there once, values without control bytes, a body within the limit. The first byte of an input
 * says where the rest is cut in two sendings, and whether the answer comes at once, when the client has gone, or never.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "http/field.h"
#include "http/server.h"

enum { MAX_BODY = 300, MAX_HEADER = 4096, TURNS = 4, PATIENT = 100, TURNS_MAX = 3000, HELD_MAX = 64 };

typedef enum { AT_ONCE, LATE, NEVER, MANNERS } manner_t;

static uv_loop_t loop;
static pl_http_t *http;
static manner_t manner;
static pl_http_request_t *held[HELD_MAX];
static int held_count;

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void need_at(bool good, const char *what) {
    if (good)
        return;
    fprintf(stderr, "http_fuzz.c: not so: %s\n", what);
    abort();
}
#define NEED(condition) need_at(condition, #condition)

static bool is_lower(pl_str_t name) {
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z')
            return false;
    return true;
}

static void check_headers(const pl_http_request_t *request) {
    for (size_t i = 0; i < request->header_count; i++) {
        const pl_http_header_t *header = &request->headers[i];
        NEED(pl__field_is_token(header->name) && is_lower(header->name) && pl__field_is_value(header->value));
        for (size_t j = 0; j < i; j++)
            NEED(header->name.len != request->headers[j].name.len ||
                 memcmp(header->name.ptr, request->headers[j].name.ptr, header->name.len) != 0);
    }
}

static void answer(pl_http_request_t *request) {
    pl_http_header_t type = { PL_STR_LIT("Content-Type"), PL_STR_LIT("text/plain") };
    if (pl_http_respond(request, 200, &type, 1, request->path) != PL_OK)
        pl_http_drop(request);
}

static void handler_cb(void *data, pl_http_request_t *request) {
    (void)data;
    NEED(request->method.len > 0 && request->body.len <= MAX_BODY);
    NEED(strlen(request->path.ptr) == request->path.len && strlen(request->query.ptr) == request->query.len);
    check_headers(request);
    if (manner == LATE && held_count < HELD_MAX)
        held[held_count++] = request;
    else if (manner == NEVER)
        pl_http_drop(request);
    else
        answer(request);
}

static void open_server(void) {
    pl_http_options_t options;
    pl_http_options_init(&options);
    options.handler = handler_cb;
    options.max_body = MAX_BODY;
    options.max_header = MAX_HEADER;
    NEED(uv_loop_init(&loop) == 0 && pl_http_open(&http, &loop, &options, NULL) == PL_OK);
}

/* The fuzzer's clock may interrupt it; and others may have used all ports, for a minute. */
static int connected(const struct sockaddr_in *to) {
    for (int tries = 0; tries < 1200; tries++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        NEED(fd >= 0);
        if (connect(fd, (const struct sockaddr *)to, sizeof *to) == 0)
            return fd;
        NEED(errno == EINTR || errno == EADDRNOTAVAIL);
        if (errno == EADDRNOTAVAIL)
            usleep(100 * 1000);
        close(fd);
    }
    return -1;
}

static int open_client(void) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)pl_http_port(http)) };
    struct linger none = { .l_onoff = 1, .l_linger = 0 }; /* no port stays behind in TIME_WAIT */
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = connected(&to);
    NEED(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    return fd;
}

static void turn(int times) {
    for (int i = 0; i < times; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void say(int fd, const unsigned char *bytes, size_t size) {
    if (size > 0 && send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return; /* the server has heard enough */
    turn(TURNS);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    static char heard[64 * 1024];
    if (http == NULL)
        open_server();
    if (size == 0)
        return 0;
    manner = bytes[0] % MANNERS;
    size_t cut = (size - 1) * (bytes[0] / MANNERS) / (255 / MANNERS + 1);
    int fd = open_client();
    say(fd, bytes + 1, cut);
    say(fd, bytes + 1 + cut, size - 1 - cut);
    while (recv(fd, heard, sizeof heard, MSG_DONTWAIT) > 0) {
    }
    close(fd);
    turn(TURNS);
    while (held_count > 0)
        answer(held[--held_count]);
    manner = NEVER;
    for (int i = 0; i < TURNS_MAX && pl_http_connections(http) > 0; i++) {
        turn(1);
        if (i > PATIENT)
            usleep(1000);
    }
    NEED(pl_http_connections(http) == 0);
    return 0;
}
