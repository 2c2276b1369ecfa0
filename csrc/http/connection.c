/*
 * connection.c - one connection: bytes in, requests to the host, responses out.
 *
 * What is read goes through the parser at once; while a request is with the host, or its response is being sent, it
 * waits in `input`, of which there is at most INPUT_MAX: then nothing more is read. But reading on is how it is noticed
 * that a client has left, so it does not stop for long: then what comes is thrown away, and the response is the last
 * one.
 *
 * Invariants
 *   1. A connection is in the list of its state, and in no other; closed, in none. Its memory goes with uv's callback.
 *   2. What a client can make us hold is bounded: for each connection the head and body of one request, INPUT_MAX and
 *      one response; and all bodies together by BODIES_MAX.
 *   3. A response leaves the connection between two requests, or closing.
 */
#include "http/connection.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"

enum {
    BODIES_MAX = 64 * 1024 * 1024, /* bytes of unanswered bodies held at once; more is answered 503 */
    DISCARD_MAX = 8 * 1024 * 1024, /* bytes that are read and thrown away behind the last response */
    INPUT_MAX = PL__CHUNK,         /* bytes behind the request under way */
    KEEP_MAX = 16 * 1024,          /* memory kept from one request to the next */
};

static void read_start(pl__conn_t *conn);
static void feed_input(pl__conn_t *conn);

/* ---- requests ---------------------------------------------------------------------------------------------- */

static void request_free(pl__request_t *request) {
    pl__http_parser_free(&request->parser);
    pl__buf_free(&request->body);
    pl__free(request);
}

static void forget_body(pl__conn_t *conn) {
    pl__buf_t *body = &conn->request->body;
    conn->http->bodies -= body->len;
    body->len = 0;
    if (body->size > KEEP_MAX || body->rc != PL_OK)
        pl__buf_free(body);
}

/* The request is answered: its memory is for the next one. */
static void request_reset(pl__conn_t *conn) {
    pl__request_t *request = conn->request;
    forget_body(conn);
    pl__http_parser_reset(&request->parser);
    request->pub = (pl_http_request_t){ 0 };
    request->is_handed = request->streams = false;
    conn->has_head = false;
}

/* ---- closing ----------------------------------------------------------------------------------------------- */

static void closed_cb(uv_handle_t *handle) {
    pl__conn_t *conn = handle->data;
    pl_http_t *http = conn->http;
    pl__buf_free(&conn->input);
    pl__buf_free(&conn->output);
    pl__free(conn);
    pl__http_handle_closed(http);
}

/* Parts connection and request. */
static void detach(pl__conn_t *conn) {
    pl__request_t *request = conn->request;
    conn->http->bodies -= request->body.len;
    conn->request = NULL;
    request->conn = NULL;
    if (!request->is_handed)
        request_free(request);
}

void pl__conn_close(pl__conn_t *conn) {
    if (conn->state == PL__CONN_CLOSED)
        return;
    pl__http_set_state(conn, PL__CONN_CLOSED);
    detach(conn);
    uv_close((uv_handle_t *)&conn->tcp, closed_cb);
    pl__http_place_free(conn->http);
}

static int descriptor(const pl__conn_t *conn) {
    uv_os_fd_t fd = -1;
    return uv_fileno((const uv_handle_t *)&conn->tcp, &fd) == 0 ? fd : -1;
}

void pl__conn_reset(pl__conn_t *conn) {
    struct linger none = { .l_onoff = 1, .l_linger = 0 };
    if (conn->state == PL__CONN_CLOSED)
        return;
    (void)setsockopt(descriptor(conn), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    pl__conn_close(conn);
}

void pl__conn_left(pl__conn_t *conn) {
    pl_http_t *http = conn->http;
    pl__request_t *request = conn->request;
    pl__http_enter(http);
    pl__conn_close(conn);
    if (http->options.left && !http->is_closing)
        http->options.left(http->options.data, &request->pub);
    pl__http_leave(http);
}

/* The connection is broken. */
static void broken(pl__conn_t *conn) {
    if (conn->state == PL__CONN_HANDED)
        pl__conn_left(conn);
    else
        pl__conn_close(conn);
}

bool pl__conn_hung_up(const pl__conn_t *conn) {
    struct pollfd look = { .fd = descriptor(conn), .events = POLLRDHUP };
    return !conn->is_reading && !conn->has_ended && poll(&look, 1, 0) > 0 &&
           (look.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool pl__conn_has_unread(const pl__conn_t *conn) {
    int bytes = 0;
    return conn->is_reading && ioctl(descriptor(conn), FIONREAD, &bytes) == 0 && bytes > 0;
}

/* ---- responses ----------------------------------------------------------------------------------------------- */

uint64_t pl__conn_sent(const pl__conn_t *conn) {
    int waiting = 0;
    if (ioctl(descriptor(conn), SIOCOUTQ, &waiting) != 0)
        waiting = 0;
    uint64_t left = conn->tcp.write_queue_size + (uint64_t)waiting;
    return conn->out > left ? conn->out - left : 0;
}

/* The response is sent. Goes on with what has been read meanwhile. */
static void answered(pl__conn_t *conn) {
    if (conn->output.size > KEEP_MAX)
        pl__buf_free(&conn->output);
    conn->output.len = 0;
    bool is_last = conn->closes || (conn->has_ended && conn->input_at == conn->input.len);
    request_reset(conn);
    if (is_last && conn->has_ended) {
        pl__conn_close(conn);
        return;
    }
    if (is_last) {
        (void)shutdown(descriptor(conn), SHUT_WR);
        pl__http_set_state(conn, PL__CONN_CLOSING);
        pl__conn_discard(conn);
        return;
    }
    pl__http_set_state(conn, PL__CONN_IDLE);
    if (!conn->is_feeding)
        feed_input(conn);
}

static void written_cb(uv_write_t *write, int status) {
    pl__conn_t *conn = write->data;
    if (conn->state == PL__CONN_CLOSED)
        return;
    if (status < 0)
        pl__conn_close(conn);
    else
        answered(conn);
}

/* Keeps what the socket did not take for later. */
static int send_later(pl__conn_t *conn, pl_str_t head, pl_str_t body, size_t taken) {
    size_t of_head = taken < head.len ? taken : head.len, of_body = taken - of_head;
    conn->output.len = 0;
    pl__buf_add(&conn->output, head.ptr + of_head, head.len - of_head);
    if (body.len > of_body)
        pl__buf_add(&conn->output, body.ptr + of_body, body.len - of_body);
    if (conn->output.rc != PL_OK)
        return PL_ENOMEM;
    uv_buf_t buf = { .base = conn->output.ptr, .len = conn->output.len };
    conn->write.data = conn;
    return uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &buf, 1, written_cb) == 0 ? PL_OK : PL_EIO;
}

/* Sends head and body, which are borrowed until it returns. */
static void send_response(pl__conn_t *conn, pl_str_t head, pl_str_t body) {
    union {
        const char *in;
        char *out;
    } ptrs[2] = { { .in = head.ptr }, { .in = body.ptr } }; /* uv only reads them */
    uv_buf_t bufs[2] = { { .base = ptrs[0].out, .len = head.len }, { .base = ptrs[1].out, .len = body.len } };
    int n = uv_try_write((uv_stream_t *)&conn->tcp, bufs, body.len > 0 ? 2 : 1);
    conn->out += head.len + body.len;
    if (n < 0 && n != UV_EAGAIN) {
        pl__conn_close(conn);
    } else if (n >= 0 && (size_t)n == head.len + body.len) {
        answered(conn);
    } else {
        pl__http_set_state(conn, PL__CONN_SENDING);
        conn->window_at = conn->since_at = pl__conn_sent(conn);
        if (send_later(conn, head, body, n > 0 ? (size_t)n : 0) != PL_OK)
            pl__conn_reset(conn); /* half of a response: better none */
    }
}

void pl__conn_flush(pl__conn_t *conn) {
    size_t left = conn->tcp.write_queue_size;
    if (left > 0 && left <= conn->output.len)
        (void)!send(descriptor(conn), conn->output.ptr + conn->output.len - left, left, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static const char *date_now(pl_http_t *http) {
    pl_clock_t clock;
    pl_clock_init_system(&clock);
    int64_t second = pl_clock_now(&clock) / PL_USEC_PER_SEC;
    if (second != http->date_second) {
        http->date_second = second;
        pl__response_date(http->date, second);
    }
    return http->date;
}

/* Makes the head of a response in the server's scratch memory. Decides whether the connection ends with it. */
static int build_head(pl__conn_t *conn, unsigned status, const pl_http_header_t *headers, size_t count,
                      size_t body_len) {
    pl_http_t *http = conn->http;
    const pl__http_parser_t *parser = &conn->request->parser;
    bool gives_way = http->is_waiting && !conn->is_feeding && conn->input_at == conn->input.len;
    bool closes = conn->closes || !parser->keeps_alive || gives_way || pl__response_closes(headers, count);
    pl__response_t response = { .status = status,
                                .closes = closes,
                                .says_stays = parser->is_old && !closes,
                                .streams = conn->request->streams,
                                .body_len = body_len };
    http->head.len = 0;
    pl__response_head(&http->head, &response, date_now(http), headers, count);
    if (http->head.rc != PL_OK) {
        pl__buf_free(&http->head);
        return PL_ENOMEM;
    }
    conn->closes = closes;
    return PL_OK;
}

void pl__conn_refuse(pl__conn_t *conn, unsigned status, const char *problem) {
    static const pl_http_header_t type = { PL_STR_LIT("Content-Type"), PL_STR_LIT("text/plain; charset=utf-8") };
    char text[200];
    int len = snprintf(text, sizeof text, "%u %s: %s\n", status, pl__response_reason(status), problem);
    pl_str_t body = { text, (size_t)len };
    conn->closes = true;
    if (build_head(conn, status, &type, 1, body.len) != PL_OK) {
        pl__conn_close(conn);
        return;
    }
    if (pl__http_parser_is_head(&conn->request->parser))
        body.len = 0;
    send_response(conn, (pl_str_t){ conn->http->head.ptr, conn->http->head.len }, body);
}

int pl_http_respond(pl_http_request_t *pub, unsigned status, const pl_http_header_t *headers, size_t header_count,
                    pl_str_t body) {
    pl__request_t *request = (pl__request_t *)pub;
    pl__conn_t *conn = request->conn;
    if (status < 200 || status > 599 || !pl__response_is_valid(headers, header_count))
        return PL_EINVAL;
    if (!conn) {
        request_free(request);
        return PL_OK;
    }
    if (!pl__response_has_body(status) || !body.ptr)
        body = PL_STR_LIT("");
    int rc = build_head(conn, status, headers, header_count, body.len);
    if (rc != PL_OK)
        return rc;
    if (pl__http_parser_is_head(&request->parser))
        body.len = 0;
    request->is_handed = false;
    send_response(conn, (pl_str_t){ conn->http->head.ptr, conn->http->head.len }, body);
    return PL_OK;
}

/* Sends all of it or closes the connection: what a client does not take is not kept for it. */
static int send_now(pl__conn_t *conn, pl_str_t piece) {
    union {
        const char *in;
        char *out;
    } ptr = { .in = piece.ptr }; /* uv only reads it */
    uv_buf_t buf = { .base = ptr.out, .len = piece.len };
    int n = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    if (n < 0 || (size_t)n < piece.len) {
        pl__conn_reset(conn);
        return PL_ECLOSED;
    }
    conn->out += piece.len;
    return PL_OK;
}

int pl_http_stream(pl_http_request_t *pub, unsigned status, const pl_http_header_t *headers, size_t header_count) {
    pl__request_t *request = (pl__request_t *)pub;
    pl__conn_t *conn = request->conn;
    if (status < 200 || status > 599 || !pl__response_is_valid(headers, header_count))
        return PL_EINVAL;
    if (!conn)
        return PL_ECLOSED;
    if (request->streams || pl__http_parser_is_head(&request->parser))
        return PL_ESTATE;
    request->streams = conn->closes = true;
    int rc = build_head(conn, status, headers, header_count, 0);
    request->streams = rc == PL_OK;
    if (rc != PL_OK)
        return rc;
    return send_now(conn, (pl_str_t){ conn->http->head.ptr, conn->http->head.len });
}

int pl_http_send(pl_http_request_t *pub, pl_str_t piece) {
    pl__request_t *request = (pl__request_t *)pub;
    if (!request->conn || !request->streams)
        return PL_ECLOSED;
    return piece.len == 0 ? PL_OK : send_now(request->conn, piece);
}

void pl_http_drop(pl_http_request_t *pub) {
    pl__request_t *request = (pl__request_t *)pub;
    request->is_handed = false;
    if (request->conn)
        pl__conn_close(request->conn);
    else
        request_free(request);
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

static void hand_over(pl__conn_t *conn) {
    pl_http_t *http = conn->http;
    pl__request_t *request = conn->request;
    const pl__http_parser_t *parser = &request->parser;
    memcpy(request->remote, conn->remote, sizeof request->remote);
    request->pub = (pl_http_request_t){
        .method = parser->method,
        .path = parser->path,
        .query = parser->query,
        .headers = parser->headers,
        .header_count = parser->header_count,
        .body = { request->body.len > 0 ? request->body.ptr : "", request->body.len },
        .remote = request->remote,
    };
    request->is_handed = true;
    pl__http_set_state(conn, PL__CONN_HANDED);
    pl__http_enter(http);
    http->options.handler(http->options.data, &request->pub);
    pl__http_leave(http);
}

/* The head is there. RFC 9110 10.1.1: a client that waits is told to go on, unless it has already. */
static void head_done(pl__conn_t *conn, size_t more) {
    static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t buf = uv_buf_init(text, sizeof text - 1);
    const pl__http_parser_t *parser = &conn->request->parser;
    conn->has_head = true;
    if (!parser->expects_continue || !parser->has_body || more > 0)
        return;
    int n = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    if (n != (int)sizeof text - 1 && n != UV_EAGAIN)
        pl__conn_close(conn);
    else if (n > 0)
        conn->out += (uint64_t)n;
}

static void body_part(pl__conn_t *conn) {
    pl_http_t *http = conn->http;
    pl__request_t *request = conn->request;
    pl_str_t part = request->parser.part;
    if (http->bodies + part.len > BODIES_MAX) {
        pl__conn_refuse(conn, 503, "too many bodies wait for their answers");
        return;
    }
    size_t before = request->body.len;
    pl__buf_add(&request->body, part.ptr, part.len);
    http->bodies += request->body.len - before;
    if (request->body.rc != PL_OK)
        pl__conn_refuse(conn, 503, "out of memory");
}

/* All bytes are taken, and the request is not complete. */
static void wait_for_more(pl__conn_t *conn) {
    pl__conn_state_t state = conn->has_head ? PL__CONN_BODY : PL__CONN_HEAD;
    if (!pl__http_parser_is_inside(&conn->request->parser) || conn->state == state)
        return;
    if (conn->state == PL__CONN_IDLE)
        conn->began_ms = uv_now(conn->http->loop);
    pl__http_set_state(conn, state);
    conn->window_at = conn->since_at = conn->in;
}

/* Parses until a request is with the host or the bytes are used up. Returns how many it took. */
static size_t feed(pl__conn_t *conn, const char *bytes, size_t len) {
    const char *at = bytes;
    size_t left = len;
    conn->is_feeding = true;
    while (conn->state <= PL__CONN_BODY) {
        switch (pl__http_parse(&conn->request->parser, &at, &left)) {
        case PL__PARSE_HEAD:
            head_done(conn, left);
            continue;
        case PL__PARSE_BODY:
            body_part(conn);
            continue;
        case PL__PARSE_DONE:
            hand_over(conn);
            continue;
        case PL__PARSE_REFUSED:
            pl__conn_refuse(conn, conn->request->parser.status, conn->request->parser.problem);
            continue;
        case PL__PARSE_MORE:
            wait_for_more(conn);
            break;
        }
        break;
    }
    conn->is_feeding = false;
    if (conn->state == PL__CONN_IDLE)
        pl__http_place_free(conn->http); /* it may have to give way */
    return len - left;
}

static void alloc_cb(uv_handle_t *handle, size_t size, uv_buf_t *buf) {
    const pl__conn_t *conn = handle->data;
    (void)size;
    *buf = uv_buf_init(conn->http->chunk, sizeof conn->http->chunk);
}

static void heard(pl__conn_t *conn, const char *bytes, size_t len);
static void ended(pl__conn_t *conn);

static void read_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    pl__conn_t *conn = stream->data;
    if (conn->state == PL__CONN_CLOSED || n == 0)
        return;
    if (n > 0)
        heard(conn, buf->base, (size_t)n);
    else if (n == UV_EOF)
        ended(conn);
    else
        broken(conn);
}

static void read_start(pl__conn_t *conn) {
    conn->is_reading = uv_read_start((uv_stream_t *)&conn->tcp, alloc_cb, read_cb) == 0;
}

/* Goes on with what was read while a request was with the host. */
static void feed_input(pl__conn_t *conn) {
    if (conn->input_at < conn->input.len)
        conn->input_at += feed(conn, conn->input.ptr + conn->input_at, conn->input.len - conn->input_at);
    if (conn->state > PL__CONN_BODY)
        return;
    conn->input.len = conn->input_at = 0;
    if (conn->has_ended)
        ended(conn);
    else if (!conn->is_reading)
        read_start(conn);
}

void pl__conn_discard(pl__conn_t *conn) {
    conn->closes = conn->discards = true;
    conn->in = 0;
    pl__buf_free(&conn->input);
    conn->input_at = 0;
    if (!conn->is_reading)
        read_start(conn);
}

/* Keeps bytes for later. */
static void keep_input(pl__conn_t *conn, const char *bytes, size_t len) {
    if (conn->input_at > 0 && conn->input_at == conn->input.len)
        conn->input.len = conn->input_at = 0;
    pl__buf_add(&conn->input, bytes, len);
    if (conn->input.rc != PL_OK) {
        broken(conn);
    } else if (conn->input.len - conn->input_at >= INPUT_MAX) {
        (void)uv_read_stop((uv_stream_t *)&conn->tcp);
        conn->is_reading = false;
        pl__http_look_soon(conn->http); /* its end is not seen any more */
    }
}

static void heard(pl__conn_t *conn, const char *bytes, size_t len) {
    conn->heard_ms = uv_now(conn->http->loop);
    conn->in += len;
    if (conn->discards) {
        if (conn->in > DISCARD_MAX)
            broken(conn);
        return;
    }
    size_t taken = conn->state <= PL__CONN_BODY ? feed(conn, bytes, len) : 0;
    if (taken < len && (conn->state == PL__CONN_HANDED || conn->state == PL__CONN_SENDING))
        keep_input(conn, bytes + taken, len - taken);
    pl__http_place_free(conn->http); /* there may be one now that can give way */
}

/* The client sends no more. While its response is being made this may mean that it has left, or that it has said all it
 * had to say: server.c gives it some time. */
static void ended(pl__conn_t *conn) {
    if (!conn->has_ended)
        conn->ended_ms = uv_now(conn->http->loop);
    conn->has_ended = true;
    conn->is_reading = false;
    if (conn->state == PL__CONN_HEAD || conn->state == PL__CONN_BODY)
        pl__conn_refuse(conn, 400, "the request ends in its middle");
    else if (conn->state == PL__CONN_IDLE || conn->state == PL__CONN_CLOSING)
        pl__conn_close(conn);
    else
        pl__http_look_soon(conn->http);
}

/* ---- accepting --------------------------------------------------------------------------------------------- */

/* Finds out who it is. Clients with IPv6 have whole networks: their first 64 bits count. */
static void read_address(pl__conn_t *conn) {
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_storage storage;
    } peer = { 0 };
    int len = sizeof peer;
    if (uv_tcp_getpeername(&conn->tcp, &peer.any, &len) != 0)
        return;
    if (peer.any.sa_family == AF_INET) {
        (void)uv_ip4_name(&peer.in4, conn->remote, sizeof conn->remote);
        memcpy(conn->address, &peer.in4.sin_addr, sizeof peer.in4.sin_addr);
    } else if (peer.any.sa_family == AF_INET6) {
        (void)uv_ip6_name(&peer.in6, conn->remote, sizeof conn->remote);
        memcpy(conn->address, &peer.in6.sin6_addr, IN6_IS_ADDR_V4MAPPED(&peer.in6.sin6_addr) ? 16 : 8);
    }
}

pl__conn_t *pl__conn_accept(pl_http_t *http) {
    pl__conn_t *conn = pl__alloc(sizeof *conn);
    pl__request_t *request = conn ? pl__alloc(sizeof *request) : NULL;
    if (!request || uv_tcp_init(http->loop, &conn->tcp) != 0) {
        pl__free(request);
        pl__free(conn);
        return NULL;
    }
    request->conn = conn;
    request->parser.max_head = http->options.max_header;
    request->parser.max_body = http->options.max_body;
    conn->http = http;
    conn->request = request;
    conn->tcp.data = conn;
    conn->state = PL__CONN_CLOSED;
    conn->heard_ms = uv_now(http->loop);
    http->open_handles++;
    pl__http_set_state(conn, PL__CONN_IDLE);
    uv_unref((uv_handle_t *)&conn->tcp);
    if (uv_accept((uv_stream_t *)&http->listener, (uv_stream_t *)&conn->tcp) == 0) {
        (void)uv_tcp_nodelay(&conn->tcp, 1);
        read_address(conn);
        read_start(conn);
    }
    return conn;
}
