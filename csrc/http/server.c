/*
 * server.c - the listener, and who has a place.
 *
 * Connections are in a list for each state (see connection.h), those that came there first in front: which one gives
 * way, and which has taken too long, is decided here from the lists. A timer looks at them once a second while anything
 * is under way that must not take too long, and when the idle ones may be closed; at rest it does not run.
 *
 * When nobody can give way the next client is left where uv has it, and uv accepts no more until it is taken.
 */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/process.h"
#include "http/connection.h"

enum {
    BODY_MAX = 64 * 1024 * 1024,
    LEAVE_MS = 1000,   /* between the end of what a client sends and the end of its request, if it is not answered */
    BLOCKED_MS = 2000, /* that nothing is read because too much has come behind a request */
    CLOSING_MS = 2000, /* for a client to close after its last response */
    WINDOW_MS = 10000, /* the rate of a body or a response is measured over this */
    LOOKS_MAX = 256,   /* connections asked whether they have something unread, or how slow they are, for one place */
    YIELD_MS = 250,    /* a body or a response under way for longer may have to give way */
};

static uint64_t to_ms(double seconds) {
    return (uint64_t)(seconds * 1000);
}

/* ---- places ------------------------------------------------------------------------------------------------ */

static bool is_from(const pl__conn_t *conn, const uint8_t *address) {
    return !address || !memcmp(conn->address, address, sizeof conn->address);
}

/* Whether a connection may give way to a new one of an address (NULL: of any). `but` may not, and none whose request
 * may be there already: when many come at once it is not their fault that nobody has looked. */
static bool may_yield(const pl__conn_t *conn, const uint8_t *address, const pl__conn_t *but, int *looks) {
    return conn != but && is_from(conn, address) && !conn->is_feeding && ++*looks <= LOOKS_MAX &&
           (conn->state == PL__CONN_CLOSING || !pl__conn_has_unread(conn));
}

/* Of the bodies and responses that have been under way for a while the one that moves the slowest; NULL: none. */
static pl__conn_t *who_is_slowest(const pl_http_t *http, const uint8_t *address, const pl__conn_t *but) {
    static const pl__conn_state_t STATES[] = { PL__CONN_BODY, PL__CONN_SENDING };
    uint64_t now = uv_now(http->loop), least = UINT64_MAX;
    pl__conn_t *slowest = NULL;
    int looks = 0;
    for (size_t i = 0; i < sizeof STATES / sizeof *STATES; i++)
        for (pl__conn_t *conn = http->lists[STATES[i]].head; conn; conn = conn->next) {
            if (now - conn->since_ms < YIELD_MS || looks >= LOOKS_MAX)
                break;
            uint64_t moved = (conn->state == PL__CONN_BODY ? conn->in : pl__conn_sent(conn)) - conn->since_at;
            uint64_t rate = moved * 1000 / (now - conn->since_ms);
            if (may_yield(conn, address, but, &looks) && rate < least) {
                least = rate;
                slowest = conn;
            }
        }
    return slowest;
}

/* The connection that gives way to a new one; NULL: none. With an address, one of its connections; never `but`. */
static pl__conn_t *who_yields(const pl_http_t *http, const uint8_t *address, const pl__conn_t *but) {
    static const pl__conn_state_t ORDER[] = { PL__CONN_CLOSING, PL__CONN_IDLE, PL__CONN_HEAD };
    int looks = 0;
    for (size_t i = 0; i < sizeof ORDER / sizeof *ORDER; i++)
        for (pl__conn_t *conn = http->lists[ORDER[i]].head; conn; conn = conn->next)
            if (may_yield(conn, address, but, &looks))
                return conn;
    return who_is_slowest(http, address, but);
}

static unsigned count_from(const pl_http_t *http, const uint8_t *address) {
    unsigned count = 0;
    for (int state = 0; state < PL__CONN_STATES; state++)
        for (const pl__conn_t *conn = http->lists[state].head; conn; conn = conn->next)
            count += is_from(conn, address);
    return count;
}

/* A new connection is within the share of its address, for which another one may have to go, or it goes itself. */
static void keep_share(pl_http_t *http, pl__conn_t *conn) {
    unsigned share = http->options.max_per_address;
    if (share == 0 || share >= http->options.max_connections || count_from(http, conn->address) <= share)
        return;
    pl__conn_t *other = who_yields(http, conn->address, conn);
    pl__conn_close(other ? other : conn);
}

static void accept_one(pl_http_t *http) {
    if (!http->is_waiting || http->is_closing)
        return;
    http->is_waiting = false; /* closing a connection would lead back here */
    if (http->conn_count >= http->options.max_connections) {
        pl__conn_t *other = who_yields(http, NULL, NULL);
        if (other)
            pl__conn_close(other);
    }
    pl__conn_t *conn = http->conn_count < http->options.max_connections ? pl__conn_accept(http) : NULL;
    http->is_waiting = !conn;
    if (!conn)
        pl__http_look_in(http, PL__LOOK_MS);
    else if (!conn->is_reading)
        pl__conn_close(conn);
    else
        keep_share(http, conn);
}

static void connection_cb(uv_stream_t *listener, int status) {
    pl_http_t *http = listener->data;
    if (status == 0) {
        http->is_waiting = true;
        accept_one(http);
        return;
    }
    pl__conn_t *other = who_yields(http, NULL, NULL); /* most likely there are no descriptors left */
    if (other)
        pl__conn_close(other);
}

/* ---- time -------------------------------------------------------------------------------------------------- */

/* Whether fewer bytes than due were moved in the last window; begins the next one. */
static bool is_too_slow(pl__conn_t *conn, uint64_t now, uint64_t moved) {
    const pl_http_options_t *options = &conn->http->options;
    if (now - conn->window_ms < WINDOW_MS)
        return false;
    bool is_slow = moved - conn->window_at < options->min_rate * (now - conn->window_ms) / 1000;
    conn->window_ms = now;
    conn->window_at = moved;
    return is_slow;
}

static void look_at_arriving(pl__conn_t *conn, uint64_t now) {
    const pl_http_options_t *options = &conn->http->options;
    bool is_head = conn->state == PL__CONN_HEAD;
    if (now - conn->began_ms >= to_ms(is_head ? options->header_timeout : options->request_timeout) ||
        now - conn->began_ms >= to_ms(options->request_timeout))
        pl__conn_refuse(conn, 408, "the request did not arrive in time");
    else if (now - conn->heard_ms >= to_ms(options->idle_timeout))
        pl__conn_refuse(conn, 408, "nothing more of the request has come");
    else if (!is_head && is_too_slow(conn, now, conn->in))
        pl__conn_refuse(conn, 408, "the body arrives too slowly");
}

static void look_at(pl__conn_t *conn, uint64_t now) {
    const pl_http_options_t *options = &conn->http->options;
    switch (conn->state) {
    case PL__CONN_IDLE:
        if (now - conn->since_ms >= to_ms(options->idle_timeout))
            pl__conn_close(conn);
        break;
    case PL__CONN_HEAD:
    case PL__CONN_BODY:
        look_at_arriving(conn, now);
        break;
    case PL__CONN_HANDED:
        if (conn->has_ended ? now - conn->ended_ms >= LEAVE_MS : pl__conn_hung_up(conn))
            pl__conn_left(conn);
        else if (!conn->has_ended && !conn->is_reading && now - conn->since_ms >= BLOCKED_MS)
            pl__conn_discard(conn);
        break;
    case PL__CONN_SENDING:
        if (is_too_slow(conn, now, pl__conn_sent(conn)))
            pl__conn_reset(conn);
        break;
    case PL__CONN_CLOSING:
        if (now - conn->since_ms >= CLOSING_MS)
            pl__conn_close(conn);
        break;
    case PL__CONN_CLOSED:
        break;
    }
}

/* Looks at every connection in a state. What is done to one may change the lists, but only by closing it or by a call
 * of the host, after which the walk begins again. */
static void look_at_all(pl_http_t *http, pl__conn_state_t state, uint64_t now) {
    pl__conn_t *next;
    for (pl__conn_t *conn = http->lists[state].head; conn; conn = next) {
        next = conn->next;
        look_at(conn, now);
        if (http->is_closing)
            return;
        if (next && next->state != state)
            next = http->lists[state].head;
    }
}

/* Whether a connection has ended, or is not being read, while its request is with the host. */
static bool is_to_be_watched(const pl_http_t *http) {
    for (const pl__conn_t *conn = http->lists[PL__CONN_HANDED].head; conn; conn = conn->next)
        if (conn->has_ended || !conn->is_reading)
            return true;
    return false;
}

/* The host has kept the loop from turning: what clients did meanwhile is still to be read, and the time is not theirs.
 */
static void forgive(pl_http_t *http, uint64_t ms, uint64_t now) {
    for (int state = 0; state < PL__CONN_STATES; state++)
        for (pl__conn_t *conn = http->lists[state].head; conn; conn = conn->next) {
            uint64_t *const times[] = { &conn->since_ms, &conn->began_ms, &conn->heard_ms, &conn->ended_ms,
                                        &conn->window_ms };
            for (size_t i = 0; i < sizeof times / sizeof *times; i++)
                *times[i] = now - *times[i] > ms ? *times[i] + ms : now;
        }
}

static void look_cb(uv_timer_t *timer) {
    pl_http_t *http = timer->data;
    uint64_t now = uv_now(http->loop);
    pl__http_enter(http);
    if (now >= http->look_ms + PL__LOOK_MS)
        forgive(http, now - http->look_ms, now);
    for (int state = 0; state < PL__CONN_STATES && !http->is_closing; state++)
        look_at_all(http, (pl__conn_state_t)state, now);
    accept_one(http);
    if (http->lists[PL__CONN_HEAD].head || http->lists[PL__CONN_BODY].head || http->lists[PL__CONN_SENDING].head ||
        http->lists[PL__CONN_CLOSING].head || http->is_waiting || is_to_be_watched(http)) {
        pl__http_look_in(http, PL__LOOK_MS);
    } else if (http->lists[PL__CONN_IDLE].head) {
        uint64_t idle = now - http->lists[PL__CONN_IDLE].head->since_ms, limit = to_ms(http->options.idle_timeout);
        pl__http_look_in(http, idle + PL__LOOK_MS < limit ? limit - idle : PL__LOOK_MS);
    }
    pl__http_leave(http);
}

/* ---- closing ----------------------------------------------------------------------------------------------- */

static void handle_closed_cb(uv_handle_t *handle) {
    pl__http_handle_closed(handle->data);
}

static void tear_down(pl_http_t *http) {
    uv_close((uv_handle_t *)&http->listener, handle_closed_cb);
    uv_close((uv_handle_t *)&http->timer, handle_closed_cb);
    for (int state = 0; state < PL__CONN_STATES; state++)
        while (http->lists[state].head) {
            pl__conn_flush(http->lists[state].head);
            pl__conn_close(http->lists[state].head);
        }
}

static const pl__host_t HOST = { .place_free = accept_one, .look = look_cb, .tear_down = tear_down };

void pl_http_close(pl_http_t *http, void (*closed)(void *data), void *data) {
    if (!http || http->is_closing)
        return;
    http->is_closing = true;
    http->closed = closed;
    http->closed_data = data;
    if (http->calls == 0)
        tear_down(http);
}

int pl_http_port(const pl_http_t *http) {
    return http->port;
}

unsigned pl_http_connections(const pl_http_t *http) {
    return http->conn_count;
}

/* ---- opening ----------------------------------------------------------------------------------------------- */

void pl_http_options_init(pl_http_options_t *options) {
    *options = (pl_http_options_t){
        .host = "127.0.0.1",
        .max_body = 1024 * 1024,
        .max_header = 32 * 1024,
        .max_connections = 256,
        .idle_timeout = 30,
        .header_timeout = 10,
        .request_timeout = 60,
        .min_rate = 4096,
    };
}

static int check_options(const pl_http_options_t *options, pl_error_t *error) {
    if (options->port < 0 || options->port > 65535)
        return PL__FAIL(error, PL_EINVAL, "port %d is not in 0..65535", options->port);
    if (options->max_header < 1024 || options->max_header > 1024 * 1024)
        return PL__FAIL(error, PL_EINVAL, "max_header must be 1 KiB to 1 MiB");
    if (options->max_body > BODY_MAX)
        return PL__FAIL(error, PL_EINVAL, "max_body must be at most 64 MiB");
    if (options->max_connections < 1 || options->max_connections > 100000)
        return PL__FAIL(error, PL_EINVAL, "max_connections must be 1 to 100000");
    if (!(options->idle_timeout >= 1 && options->idle_timeout <= 86400))
        return PL__FAIL(error, PL_EINVAL, "idle_timeout must be 1 to 86400 seconds");
    if (!(options->header_timeout >= 1 && options->header_timeout <= 86400))
        return PL__FAIL(error, PL_EINVAL, "header_timeout must be 1 to 86400 seconds");
    if (!(options->request_timeout >= 1 && options->request_timeout <= 86400))
        return PL__FAIL(error, PL_EINVAL, "request_timeout must be 1 to 86400 seconds");
    if (!options->handler)
        return PL__FAIL(error, PL_EINVAL, "no handler");
    return PL_OK;
}

typedef union {
    struct sockaddr any;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
} address_t;

static int address_parse(const char *host, int port, address_t *out) {
    if (!host || !strcmp(host, "localhost"))
        host = "127.0.0.1";
    if (!uv_ip4_addr(host, port, &out->in4))
        return PL_OK;
    return uv_ip6_addr(host, port, &out->in6) ? PL_EINVAL : PL_OK;
}

/* Binds and listens, and finds out the port. Returns 0 or a positive errno. */
static int listen_on(int fd, address_t *address) {
    int one = 1;
    socklen_t len = address->any.sa_family == AF_INET6 ? sizeof address->in6 : sizeof address->in4;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one))
        return errno;
    if (bind(fd, &address->any, len) || listen(fd, SOMAXCONN))
        return errno;
    len = sizeof *address;
    return getsockname(fd, &address->any, &len) ? errno : 0;
}

static int listen_open(pl_http_t *http, int *out, pl_error_t *error) {
    const pl_http_options_t *options = &http->options;
    address_t address = { 0 };
    if (address_parse(options->host, options->port, &address))
        return PL__FAIL(error, PL_EINVAL, "host \"%s\" is not a numeric address", options->host);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int why = fd < 0 ? errno : listen_on(fd, &address);
    if (why) {
        if (fd >= 0)
            close(fd);
        return PL__FAIL(error, why == EADDRINUSE ? PL_EEXISTS : PL_EIO, "cannot listen on %s port %d: %s",
                        options->host ? options->host : "localhost", options->port, strerror(why));
    }
    http->port = ntohs(address.any.sa_family == AF_INET6 ? address.in6.sin6_port : address.in4.sin_port);
    *out = fd;
    return PL_OK;
}

/* Gives the socket and a timer to the loop. Takes the socket. On failure the server is closed, and frees itself. */
static int loop_attach(pl_http_t *http, int fd) {
    int rc = uv_tcp_open(&http->listener, fd);
    if (rc != 0)
        (void)close(fd);
    else
        rc = uv_listen((uv_stream_t *)&http->listener, SOMAXCONN, connection_cb);
    if (rc != 0)
        pl_http_close(http, NULL, NULL);
    return rc;
}

int pl_http_open(pl_http_t **out, struct uv_loop_s *loop, const pl_http_options_t *options, pl_error_t *error) {
    int fd = -1, rc = check_options(options, error);
    if (rc)
        return rc;
    pl_http_t *http = pl__alloc(sizeof *http);
    if (!http)
        return PL__FAIL(error, PL_ENOMEM, "out of memory");
    pl__pipe_spare();
    http->options = *options;
    http->host = &HOST;
    http->loop = loop;
    rc = listen_open(http, &fd, error);
    if (rc == PL_OK && uv_tcp_init(loop, &http->listener) != 0) {
        (void)close(fd);
        rc = PL__FAIL(error, PL_ENOMEM, "cannot start the HTTP server");
    }
    if (rc) {
        pl__free(http);
        return rc;
    }
    http->options.host = NULL;               /* borrowed only until here */
    (void)uv_timer_init(loop, &http->timer); /* cannot fail */
    uv_unref((uv_handle_t *)&http->timer);
    http->listener.data = http->timer.data = http;
    http->open_handles = 2;
    rc = loop_attach(http, fd);
    if (rc != 0)
        return PL__FAIL(error, PL_EIO, "cannot start the HTTP server: %s", uv_strerror(rc));
    *out = http;
    return PL_OK;
}
