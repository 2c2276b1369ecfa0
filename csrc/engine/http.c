/*
 * http.c - libmicrohttpd driven from the uv loop.
 *
 * Design. MHD runs without threads of its own: a uv_poll watches its epoll descriptor, a uv_timer holds the time it
 * asks for, and MHD_run is called from nowhere else than run_mhd(), always in or behind uv's poll: what a request
 * starts then has its turn before the loop waits again. A request goes through these phases:
 *
 *   LINE ──headers complete──► BODY ──body complete──► HANDED ──pl_http_respond──► ANSWERED ──queued──► SENT
 *     │                          │                        └──pl_http_drop──► DROPPED: the connection is closed
 *     └──────────────────────────┴── a refusal (400, 413, 414, 431, 503) ──► SENT
 *
 * Invariants
 *   1. A request has two owners: the connection (until MHD's completed callback) and, while HANDED, the host. The
 *      last of them frees it.
 *   2. Only a HANDED request is suspended, so resuming is always the business of respond, drop or close.
 *   3. What a client can make us hold is bounded: max_connections times (headers and one body), and all bodies
 *      together by BODIES_MAX.
 *   4. No byte from a handler can end a header early: names are tokens, values hold no control bytes.
 */
#include "engine/http.h"
#include "engine/field.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum {
    BODIES_MAX = 64 * 1024 * 1024, /* bytes of unanswered bodies held at once; more is answered 503 */
    DISCARD_MAX = 8 * 1024 * 1024, /* bytes of a refused body read and thrown away, so that the client sees why */
    POOL_FACTOR = 4,   /* MHD's memory for a connection, in max_header: holds 1,500 arguments; cleared each time */
    HEADERS_MAX = 200, /* more header lines are answered 431 */
    SWEEP_MS = 1000,   /* connections are looked at for slow requests at most this often */
    ADDRESS_LEN = 64,
};

typedef enum { PHASE_LINE, PHASE_BODY, PHASE_HANDED, PHASE_ANSWERED, PHASE_DROPPED, PHASE_SENT } phase_t;

typedef struct conn conn_t;
typedef struct request request_t;

struct request {
    pl_http_request_t pub; /* first: the host's pointer is ours */
    struct request *next, *prev;
    pl_http_t *http;                   /* NULL: the server is closed */
    struct MHD_Connection *connection; /* NULL: the client is gone */
    struct MHD_Response *response;
    conn_t *conn;
    phase_t phase;
    bool suspended;
    unsigned status;  /* of the answer, or the refusal to give once the body has been read; 0: none */
    int lines;        /* of header */
    size_t discarded; /* bytes of the body thrown away */
    pl__buf_t body;
    pl__arena_t arena;
    char remote[ADDRESS_LEN];
};

/* One accepted connection. */
struct conn {
    conn_t *next, *prev;
    struct MHD_Connection *connection;
    request_t *request; /* the one that is arriving or being worked on */
    uint64_t since_ms;  /* when the request now arriving could begin */
    bool spoke;         /* a request line has been read, so that MHD will say what is wrong */
    bool busy;          /* a whole request is being worked on */
};

struct pl_http {
    pl_http_options_t options;
    struct MHD_Daemon *daemon;
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_idle_t idle; /* with check: MHD_run at the next turn, behind uv's poll */
    uv_check_t check;
    request_t *requests;
    conn_t *conns;
    unsigned conn_count;
    size_t bodies; /* bytes held by bodies */
    uint64_t swept_ms;
    int port;
    int open_handles; /* uv handles whose close callback is outstanding */
    bool running;     /* inside MHD_run */
    bool began;       /* a request line came in this MHD_run */
    int lines;        /* requests whose headers are not complete */
    bool full;        /* max_connections are open: MHD does not accept */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

static void run_mhd(pl_http_t *http);

static void idle_cb(uv_idle_t *idle) {
    (void)idle; /* its being active keeps uv from waiting */
}

static void check_cb(uv_check_t *check) {
    pl_http_t *http = check->data;
    (void)uv_idle_stop(&http->idle);
    (void)uv_check_stop(&http->check);
    run_mhd(http);
}

/* MHD has something to do that its descriptor does not show: runs it at the next turn of the loop. */
static void wake(pl_http_t *http) {
    if (http->closing)
        return;
    (void)uv_idle_start(&http->idle, idle_cb);
    (void)uv_check_start(&http->check, check_cb);
}

/* ---- requests ---------------------------------------------------------------------------------------------- */

static void request_free(request_t *request) {
    if (request->response)
        MHD_destroy_response(request->response);
    pl__buf_free(&request->body);
    pl__arena_free(&request->arena);
    pl__free(request);
}

/* Gives up the bytes of the body; the server counts them. */
static void body_forget(request_t *request) {
    if (request->http)
        request->http->bodies -= request->body.len;
    pl__buf_free(&request->body);
    request->body = (pl__buf_t){ 0 };
}

/* The connection or the server is done with the request: it lives on only if the host holds it. */
static void request_detach(request_t *request) {
    pl_http_t *http = request->http;
    if (http) {
        http->lines -= request->phase == PHASE_LINE;
        http->bodies -= request->body.len;
        if (request->prev)
            request->prev->next = request->next;
        else
            http->requests = request->next;
        if (request->next)
            request->next->prev = request->prev;
    }
    if (request->conn)
        request->conn->request = NULL;
    request->http = NULL;
    request->connection = NULL;
    request->conn = NULL;
    if (request->phase != PHASE_HANDED)
        request_free(request);
}

static conn_t *conn_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* MHD's uri callback: the request line is there. Returns the context of the request, or NULL without memory. */
static void *line_cb(void *data, const char *uri, struct MHD_Connection *connection) {
    pl_http_t *http = data;
    conn_t *conn = conn_of(connection);
    if (conn)
        conn->spoke = true;
    request_t *request = conn ? pl__alloc(sizeof *request) : NULL;
    if (!request)
        return NULL;
    if (!strncasecmp(uri, "http://", 7)) /* the absolute form, as sent to proxies */
        uri += 7 + strcspn(uri + 7, "/?");
    size_t path_len = strcspn(uri, "?");
    pl_str_t path = { uri, path_len };
    pl_str_t query = pl_str(uri[path_len] ? uri + path_len + 1 : "");
    if (pl__arena_copy(&request->arena, path, &request->pub.path) ||
        pl__arena_copy(&request->arena, query, &request->pub.query)) {
        request_free(request);
        return NULL;
    }
    request->http = http;
    request->connection = connection;
    request->conn = conn;
    conn->request = request;
    http->lines++;
    http->began = true;
    request->next = http->requests;
    if (request->next)
        request->next->prev = request;
    http->requests = request;
    return request;
}

/* MHD's completed callback: the request was answered, or its client is gone. */
static void completed_cb(void *data, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode why) {
    (void)connection;
    (void)why;
    pl_http_t *http = data;
    request_t *request = *context;
    if (!request)
        return;
    *context = NULL;
    request->conn->busy = false;
    request->conn->since_ms = uv_now(http->loop);
    request_detach(request);
}

/* ---- connections ------------------------------------------------------------------------------------------- */

/* MHD closes without a word when the first line is no request line at all, or has more arguments than its memory
 * holds; says 400 in its place. A connection that has been idle, perhaps opened by a browser in advance, is closed
 * silently. */
static void say_bad_request(pl_http_t *http, const conn_t *conn) {
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info && uv_now(http->loop) - conn->since_ms < http->options.idle_timeout * 900)
        (void)!send(info->connect_fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void conn_cb(void *data, struct MHD_Connection *connection, void **context,
                    enum MHD_ConnectionNotificationCode what) {
    pl_http_t *http = data;
    conn_t *conn = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        conn = pl__alloc(sizeof *conn);
        if (!conn)
            return; /* its requests are not served */
        conn->connection = connection;
        conn->since_ms = uv_now(http->loop);
        conn->next = http->conns;
        if (conn->next)
            conn->next->prev = conn;
        http->conns = conn;
        http->conn_count++;
        *context = conn;
    } else if (conn) {
        /* MHD gives up without the completed callback when its memory does not hold the arguments. */
        bool mute = !conn->spoke || (conn->request && conn->request->phase == PHASE_LINE);
        if (conn->request)
            request_detach(conn->request);
        if (mute)
            say_bad_request(http, conn);
        if (conn->prev)
            conn->prev->next = conn->next;
        else
            http->conns = conn->next;
        if (conn->next)
            conn->next->prev = conn->prev;
        http->conn_count--;
        *context = NULL;
        pl__free(conn);
    }
}

/* Ends connections whose request arrives too slowly. Driven by their own trickle of bytes, so it needs no timer: a
 * client that sends nothing at all is closed by MHD's idle timeout. */
static void sweep(pl_http_t *http) {
    uint64_t now = uv_now(http->loop), limit = (uint64_t)(http->options.request_timeout * 1000);
    if (now - http->swept_ms < SWEEP_MS)
        return;
    http->swept_ms = now;
    for (conn_t *conn = http->conns; conn; conn = conn->next) {
        if (conn->busy || now - conn->since_ms <= limit)
            continue;
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(conn->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (info)
            (void)shutdown(info->connect_fd, SHUT_RDWR);
    }
}

/* ---- headers ----------------------------------------------------------------------------------------------- */

typedef struct {
    request_t *request;
    pl_http_header_t *headers;
    size_t count, room;
    int rc; /* PL_OK, PL_ENOMEM, or PL_EINVAL for a request that must be refused */
} gather_t;

static bool is_name(pl_str_t name, const char *text) {
    return name.len == strlen(text) && !memcmp(name.ptr, text, name.len);
}

/* A value for a header met before. RFC 9110 5.3: joined with commas; cookies with semicolons; what must be there
 * once only is refused, since two readers could see two different requests. */
static int header_join(gather_t *gather, pl_http_header_t *header, pl_str_t value) {
    if (is_name(header->name, "host") || is_name(header->name, "content-length") ||
        is_name(header->name, "transfer-encoding"))
        return PL_EINVAL;
    const char *glue = is_name(header->name, "cookie") ? "; " : ", ";
    size_t len = header->value.len + 2 + value.len;
    char *joined = pl__arena_get(&gather->request->arena, len + 1);
    if (!joined)
        return PL_ENOMEM;
    memcpy(joined, header->value.ptr, header->value.len);
    memcpy(joined + header->value.len, glue, 2);
    if (value.len)
        memcpy(joined + header->value.len + 2, value.ptr, value.len);
    header->value = (pl_str_t){ joined, len };
    return PL_OK;
}

static int header_add(gather_t *gather, pl_str_t raw_name, pl_str_t value) {
    pl_str_t name;
    if (gather->count == gather->room || !pl__field_is_token(raw_name) || !pl__field_is_value(value))
        return PL_EINVAL;
    if (pl__arena_copy(&gather->request->arena, raw_name, &name))
        return PL_ENOMEM;
    char *lower = pl__arena_get(&gather->request->arena, name.len + 1);
    if (!lower)
        return PL_ENOMEM;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    name.ptr = lower;
    for (size_t i = 0; i < gather->count; i++)
        if (pl_str_eq(gather->headers[i].name, name))
            return header_join(gather, &gather->headers[i], value);
    pl_http_header_t *header = &gather->headers[gather->count];
    header->name = name;
    if (pl__arena_copy(&gather->request->arena, value, &header->value))
        return PL_ENOMEM;
    gather->count++;
    return PL_OK;
}

static enum MHD_Result header_cb(void *data, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                 const char *value, size_t value_len) {
    (void)kind;
    gather_t *gather = data;
    pl_str_t text = value ? (pl_str_t){ value, value_len } : PL_STR_LIT("");
    gather->rc = header_add(gather, (pl_str_t){ name, name_len }, text);
    return gather->rc ? MHD_NO : MHD_YES;
}

static int gather_headers(request_t *request, struct MHD_Connection *connection) {
    request->lines = MHD_get_connection_values(connection, MHD_HEADER_KIND, NULL, NULL);
    if (request->lines > HEADERS_MAX)
        return PL_OK; /* will be refused */
    gather_t gather = { .request = request, .room = request->lines > 0 ? (size_t)request->lines : 0 };
    gather.headers = pl__arena_get(&request->arena, (gather.room + 1) * sizeof *gather.headers);
    if (!gather.headers)
        return PL_ENOMEM;
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, header_cb, &gather);
    request->pub.headers = gather.headers;
    request->pub.header_count = gather.count;
    return gather.rc;
}

static pl_str_t header_get(const request_t *request, const char *name) {
    for (size_t i = 0; i < request->pub.header_count; i++)
        if (is_name(request->pub.headers[i].name, name))
            return request->pub.headers[i].value;
    return PL_STR_NONE;
}

/* ---- answers ----------------------------------------------------------------------------------------------- */

static enum MHD_Result send_response(request_t *request) {
    struct MHD_Response *response = request->response;
    request->response = NULL;
    request->phase = PHASE_SENT;
    enum MHD_Result ok = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return ok;
}

/* Answers with a status of the server's own making; MHD_NO, which closes the connection, when that cannot be done. */
static enum MHD_Result refuse(request_t *request, unsigned status) {
    const char *reason = MHD_get_reason_phrase_for(status);
    char text[80];
    int len = snprintf(text, sizeof text, "%u %s\n", status, reason ? reason : "");
    body_forget(request);
    request->status = status;
    request->response = MHD_create_response_from_buffer((size_t)len, text, MHD_RESPMEM_MUST_COPY);
    if (!request->response)
        return MHD_NO;
    (void)MHD_add_response_header(request->response, "Content-Type", "text/plain; charset=utf-8");
    (void)MHD_add_response_header(request->response, "Connection", "close");
    return send_response(request);
}

static bool is_ours(pl_str_t name) {
    static const char *const ours[] = { "content-length", "transfer-encoding", "date" };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (name.len == strlen(ours[i]) && !strncasecmp(name.ptr, ours[i], name.len))
            return true;
    return false;
}

/* MHD wants NUL-terminated strings without blanks at the ends. */
static int response_header(struct MHD_Response *response, const pl_http_header_t *header) {
    pl__arena_t arena = { 0 };
    pl_str_t name, value = header->value.ptr ? header->value : PL_STR_LIT("");
    while (value.len && (*value.ptr == ' ' || *value.ptr == '\t'))
        value.ptr++, value.len--;
    while (value.len && (value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t'))
        value.len--;
    int rc = pl__arena_copy(&arena, header->name, &name);
    if (!rc)
        rc = pl__arena_copy(&arena, value, &value);
    if (!rc && value.len && MHD_add_response_header(response, name.ptr, value.ptr) != MHD_YES)
        rc = PL_ENOMEM;
    pl__arena_free(&arena);
    return rc;
}

static int build_response(struct MHD_Response **out, const pl_http_header_t *headers, size_t count, pl_str_t body) {
    union {
        const char *in;
        void *out;
    } bytes = { .in = body.len ? body.ptr : "" }; /* copied, but MHD's signature is not const */
    struct MHD_Response *response = MHD_create_response_from_buffer(body.len, bytes.out, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return PL_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (is_ours(headers[i].name))
            continue;
        int rc = response_header(response, &headers[i]);
        if (rc) {
            MHD_destroy_response(response);
            return rc;
        }
    }
    *out = response;
    return PL_OK;
}

/* The host has said its word: wakes the connection, if there still is one. */
static void request_settle(request_t *request, phase_t phase) {
    request->phase = phase;
    if (!request->connection) {
        request_free(request);
    } else if (request->suspended) {
        request->suspended = false;
        MHD_resume_connection(request->connection);
        wake(request->http);
    }
}

int pl_http_respond(pl_http_request_t *pub, unsigned status, const pl_http_header_t *headers, size_t header_count,
                    pl_str_t body) {
    request_t *request = (request_t *)pub;
    if (status < 200 || status > 599)
        return PL_EINVAL;
    for (size_t i = 0; i < header_count; i++)
        if (!pl__field_is_token(headers[i].name) || !pl__field_is_value(headers[i].value))
            return PL_EINVAL;
    if (request->connection) {
        if (status == 204 || status == 205 || status == 304)
            body = PL_STR_LIT("");
        int rc = build_response(&request->response, headers, header_count, body);
        if (rc)
            return rc;
        request->status = status;
    }
    request_settle(request, PHASE_ANSWERED);
    return PL_OK;
}

void pl_http_drop(pl_http_request_t *pub) {
    request_settle((request_t *)pub, PHASE_DROPPED);
}

/* ---- reading a request ------------------------------------------------------------------------------------- */

static void remote_text(request_t *request) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    request->pub.remote = request->remote;
    if (!address)
        return;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
    if (address->sa_family == AF_INET) {
        memcpy(&in4, address, sizeof in4);
        (void)inet_ntop(AF_INET, &in4.sin_addr, request->remote, sizeof request->remote);
    } else if (address->sa_family == AF_INET6) {
        memcpy(&in6, address, sizeof in6);
        (void)inet_ntop(AF_INET6, &in6.sin6_addr, request->remote, sizeof request->remote);
    }
}

/* Content-Length as a number; what MHD let pass but we cannot read counts as too large. */
static uint64_t length_parse(pl_str_t text) {
    uint64_t length = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || length > UINT64_MAX / 16)
            return UINT64_MAX;
        length = length * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return length;
}

/* Looks at the headers. Returns the status to refuse the request with now, or 0. A body that is too large, but not
 * by much, is read and thrown away first: a client that is still sending would otherwise see a reset, not the 413. */
static unsigned judge(request_t *request, size_t header_size) {
    const pl_http_options_t *options = &request->http->options;
    if (request->pub.path.len + request->pub.query.len > options->max_header)
        return MHD_HTTP_URI_TOO_LONG;
    if (header_size > options->max_header || request->lines > HEADERS_MAX)
        return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    pl_str_t length = header_get(request, "content-length");
    if (!length.ptr)
        return 0;
    if (header_get(request, "transfer-encoding").ptr)
        return MHD_HTTP_BAD_REQUEST;
    uint64_t size = length_parse(length);
    if (size <= options->max_body)
        return 0;
    request->status = MHD_HTTP_CONTENT_TOO_LARGE;
    bool waits = header_get(request, "expect").ptr != NULL;
    return waits || size > options->max_body + DISCARD_MAX ? request->status : 0;
}

static enum MHD_Result headers_done(request_t *request, struct MHD_Connection *connection, const char *method) {
    request->http->lines--;
    request->phase = PHASE_BODY;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    int rc = gather_headers(request, connection);
    if (!rc)
        rc = pl__arena_copy(&request->arena, pl_str(method), &request->pub.method);
    if (rc == PL_EINVAL || (!rc && !pl__field_is_token(request->pub.method)))
        return refuse(request, MHD_HTTP_BAD_REQUEST);
    if (rc)
        return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE);
    remote_text(request);
    unsigned status = judge(request, info ? info->header_size : 0);
    if (status)
        return refuse(request, status);
    return MHD_YES;
}

static enum MHD_Result body_part(request_t *request, const char *bytes, size_t *len) {
    pl_http_t *http = request->http;
    size_t part = *len;
    *len = 0;
    if (!request->status && request->body.len + part > http->options.max_body)
        request->status = MHD_HTTP_CONTENT_TOO_LARGE;
    if (!request->status && http->bodies + part > BODIES_MAX)
        request->status = MHD_HTTP_SERVICE_UNAVAILABLE;
    if (request->status) {
        body_forget(request);
        request->discarded += part;
        return request->discarded > http->options.max_body + DISCARD_MAX ? MHD_NO : MHD_YES;
    }
    size_t before = request->body.len;
    pl__buf_add(&request->body, bytes, part);
    http->bodies += request->body.len - before;
    if (request->body.rc)
        request->status = MHD_HTTP_SERVICE_UNAVAILABLE;
    return MHD_YES;
}

static enum MHD_Result hand_over(request_t *request) {
    pl_http_t *http = request->http;
    request->conn->busy = true;
    if (request->status)
        return refuse(request, request->status);
    request->pub.body = (pl_str_t){ request->body.len ? request->body.ptr : "", request->body.len };
    request->phase = PHASE_HANDED;
    http->options.handler(http->options.data, &request->pub);
    if (request->phase == PHASE_ANSWERED)
        return send_response(request);
    if (request->phase == PHASE_DROPPED)
        return MHD_NO;
    MHD_suspend_connection(request->connection);
    request->suspended = true;
    return MHD_YES;
}

/* MHD's access handler: called when the headers are there, for each part of the body, at the end of it, and again
 * after a resume. */
static enum MHD_Result access_cb(void *data, struct MHD_Connection *connection, const char *url, const char *method,
                                 const char *version, const char *bytes, size_t *len, void **context) {
    (void)url;
    (void)version;
    pl_http_t *http = data;
    request_t *request = *context;
    if (!request)
        return MHD_NO;
    if (request->phase == PHASE_ANSWERED)
        return send_response(request);
    if (http->closing)
        return MHD_NO;
    if (request->phase == PHASE_LINE)
        return headers_done(request, connection, method);
    if (request->phase != PHASE_BODY)
        return MHD_NO;
    return *len ? body_part(request, bytes, len) : hand_over(request);
}

/* ---- the loop ---------------------------------------------------------------------------------------------- */

static void tear_down(pl_http_t *http);

static void timer_cb(uv_timer_t *timer) {
    wake(timer->data);
}

static void run_mhd(pl_http_t *http) {
    http->began = false;
    http->running = true;
    (void)MHD_run(http->daemon);
    http->running = false;
    if (http->closing) {
        tear_down(http);
        return;
    }
    sweep(http);
    bool was_full = http->full;
    http->full = http->conn_count >= http->options.max_connections;
    MHD_UNSIGNED_LONG_LONG ms;
    /* Once there is room again MHD listens, but only at its next run; and it closes a connection whose line it refused
     * only then. */
    if ((was_full && !http->full) || (http->began && http->lines > 0))
        wake(http);
    if (MHD_get_timeout(http->daemon, &ms) != MHD_YES)
        (void)uv_timer_stop(&http->timer);
    else if (ms == 0)
        wake(http);
    else
        (void)uv_timer_start(&http->timer, timer_cb, ms, 0);
}

static void poll_cb(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    run_mhd(poll->data);
}

static void handle_closed_cb(uv_handle_t *handle) {
    pl_http_t *http = handle->data;
    if (--http->open_handles > 0)
        return;
    void (*closed)(void *data) = http->closed;
    void *data = http->closed_data;
    pl__free(http);
    if (closed)
        closed(data);
}

static void tear_down(pl_http_t *http) {
    uv_close((uv_handle_t *)&http->poll, handle_closed_cb);
    uv_close((uv_handle_t *)&http->timer, handle_closed_cb);
    uv_close((uv_handle_t *)&http->idle, handle_closed_cb);
    uv_close((uv_handle_t *)&http->check, handle_closed_cb);
    for (request_t *request = http->requests; request; request = request->next) {
        if (!request->suspended)
            continue;
        request->suspended = false;
        MHD_resume_connection(request->connection);
    }
    /* One round takes the resumed connections up, one writes the answers that were waiting. */
    for (int i = 0; i < 2; i++)
        (void)MHD_run(http->daemon);
    MHD_stop_daemon(http->daemon);
    http->daemon = NULL;
}

void pl_http_close(pl_http_t *http, void (*closed)(void *data), void *data) {
    if (!http || http->closing)
        return;
    http->closing = true;
    http->closed = closed;
    http->closed_data = data;
    if (!http->running)
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
        .request_timeout = 60,
    };
}

static int check_options(const pl_http_options_t *options, pl_error_t *error) {
    if (options->port < 0 || options->port > 65535)
        return PL__FAIL(error, PL_EINVAL, "port %d is not in 0..65535", options->port);
    if (options->max_header < 1024 || options->max_header > 1024 * 1024)
        return PL__FAIL(error, PL_EINVAL, "max_header must be 1 KiB to 1 MiB");
    if (options->max_body > BODIES_MAX)
        return PL__FAIL(error, PL_EINVAL, "max_body must be at most 64 MiB");
    if (options->max_connections < 1 || options->max_connections > 100000)
        return PL__FAIL(error, PL_EINVAL, "max_connections must be 1 to 100000");
    if (!(options->idle_timeout >= 1 && options->idle_timeout <= 86400))
        return PL__FAIL(error, PL_EINVAL, "idle_timeout must be 1 to 86400 seconds");
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

/* Takes the listening socket when it succeeds. */
static struct MHD_Daemon *daemon_start(pl_http_t *http, int fd) {
    const pl_http_options_t *options = &http->options;
    size_t pool = POOL_FACTOR * options->max_header;
    unsigned idle = (unsigned)(options->idle_timeout + 0.5);
    /* Turbo also leaves out the shutdown before the close: see say_bad_request. */
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO, 0, NULL, NULL, access_cb, http,
                            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, options->max_connections,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool, MHD_OPTION_CONNECTION_TIMEOUT, idle,
                            MHD_OPTION_URI_LOG_CALLBACK, line_cb, http, MHD_OPTION_NOTIFY_COMPLETED, completed_cb, http,
                            MHD_OPTION_NOTIFY_CONNECTION, conn_cb, http, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                            MHD_OPTION_END);
}

/* Hooks the daemon to the loop. */
static int loop_attach(pl_http_t *http) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info || uv_poll_init(http->loop, &http->poll, info->epoll_fd))
        return PL_EIO;
    (void)uv_timer_init(http->loop, &http->timer); /* cannot fail, nor can the next two */
    (void)uv_idle_init(http->loop, &http->idle);
    (void)uv_check_init(http->loop, &http->check);
    http->poll.data = http->timer.data = http->idle.data = http->check.data = http;
    http->open_handles = 4;
    uv_unref((uv_handle_t *)&http->timer);
    uv_unref((uv_handle_t *)&http->idle);
    uv_unref((uv_handle_t *)&http->check);
    (void)uv_poll_start(&http->poll, UV_READABLE, poll_cb); /* cannot fail after init */
    return PL_OK;
}

int pl_http_open(pl_http_t **out, struct uv_loop_s *loop, const pl_http_options_t *options, pl_error_t *error) {
    int fd = -1, rc = check_options(options, error);
    if (rc)
        return rc;
    pl_http_t *http = pl__alloc(sizeof *http);
    if (!http)
        return PL__FAIL(error, PL_ENOMEM, "out of memory");
    http->options = *options;
    http->loop = loop;
    rc = listen_open(http, &fd, error);
    if (rc)
        goto fail_listen;
    http->options.host = NULL; /* borrowed only until here */
    http->daemon = daemon_start(http, fd);
    if (!http->daemon) {
        rc = PL__FAIL(error, PL_EIO, "cannot start the HTTP server");
        goto fail_daemon;
    }
    rc = loop_attach(http);
    if (rc) {
        rc = PL__FAIL(error, rc, "cannot watch the HTTP server");
        goto fail_attach;
    }
    *out = http;
    return PL_OK;

fail_attach:
    MHD_stop_daemon(http->daemon);
    fd = -1; /* closed with the daemon */
fail_daemon:
    if (fd >= 0)
        close(fd);
fail_listen:
    pl__free(http);
    return rc;
}
