/*
 * server.h - an HTTP/1.1 server on a uv loop: requests come in whole, responses may come later.
 *
 * Everything is called from the thread that runs the loop. A request is handed to the handler when its body is
 * complete; its connection then sleeps until pl_http_respond or pl_http_drop, exactly one of which must be called,
 * at once or any time later. The request stays valid until then, whatever happens to its client or to the server.
 *
 * No client keeps others out. When all places are taken, the connection that has been without a request for the
 * longest gives way to a new one; then the one whose request has been arriving for the longest; then the slowest of
 * the bodies and responses that have been under way for a moment. Requests that are with the handler keep their places.
 */
#ifndef PL_HTTP_SERVER_H
#define PL_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"
#include "base/result.h"
#include "http/field.h"

struct uv_loop_s;
typedef struct pl_http pl_http_t;

/* A whole request. Everything in it is borrowed until it is answered or dropped. */
typedef struct {
    pl_str_t method;                 /* as sent */
    pl_str_t path;                   /* as sent, still percent-encoded, without the query */
    pl_str_t query;                  /* as sent, without the question mark; empty if there is none */
    const pl_http_header_t *headers; /* names in lower case, each once: repeated ones are joined with ", " */
    size_t header_count;
    pl_str_t body;
    const char *remote; /* numeric address of the client, without port */
    void *user;         /* the handler's own; NULL at first */
} pl_http_request_t;

typedef struct {
    const char *host;         /* numeric address or "localhost"; default 127.0.0.1 */
    int port;                 /* 0 picks a free one */
    size_t max_body;          /* bytes of one body; default 1 MiB; more is answered 413 */
    size_t max_header;        /* bytes of request line, headers and trailers; default 32 KiB; more is answered 414 or
                               * 431, and more than 10,000 arguments of a query 400 */
    unsigned max_connections; /* default 256; more wait in the system's backlog when nobody can give way */
    unsigned max_per_address; /* connections of one client address (of IPv6: one /64); default 0: all of them */
    double idle_timeout;      /* seconds without a byte before a connection is closed; default 30 */
    double header_timeout;    /* seconds in which request line and headers must have arrived; default 10 */
    double request_timeout;   /* seconds in which the whole request must have arrived; default 60 */
    unsigned min_rate; /* bytes a second, over any 10 seconds, at which a body must arrive, and a response be taken
                               * by its client; default 4096; 0: any */
    /* Takes request: answer or drop it. Called from the loop; may close the server. */
    void (*handler)(void *data, pl_http_request_t *request);
    /* The client has left, and the request is not answered yet: nobody will read the response, but the request is still
     * to be answered or dropped. Called from the loop, once at most; may answer, may close the server. May be NULL. */
    void (*left)(void *data, pl_http_request_t *request);
    void *data;
} pl_http_options_t;

void pl_http_options_init(pl_http_options_t *options);
/* Listens. Returns PL_OK, PL_EINVAL (options), PL_EEXISTS (address in use), PL_EIO or PL_ENOMEM. */
int pl_http_open(pl_http_t **http, struct uv_loop_s *loop, const pl_http_options_t *options,
                 pl_error_t *error) PL__MUST_USE;
/* The port listened on. */
int pl_http_port(const pl_http_t *http);
/* Connections open now. */
unsigned pl_http_connections(const pl_http_t *http);
/*
 * Stops listening and closes every connection; responses given before are sent as far as they can be without waiting.
 * The server may not be used afterwards. Its memory is freed, and `closed` (may be NULL) called, from the loop:
 * run it until then. Must be called once; the handler is not called any more.
 */
void pl_http_close(pl_http_t *http, void (*closed)(void *data), void *data);

/*
 * Answers a request; on PL_OK takes it. The body is copied. Content-Length, Transfer-Encoding, Date and Keep-Alive
 * are the server's own and ignored among headers; of Connection only "close" counts. When the client or the server is
 * gone nothing is sent, and that is PL_OK. Returns PL_OK; PL_EINVAL (status not in 200..599, a header name that is no
 * token, a control byte in a value) or PL_ENOMEM, and the request is still the caller's.
 */
int pl_http_respond(pl_http_request_t *request, unsigned status, const pl_http_header_t *headers, size_t header_count,
                    pl_str_t body) PL__MUST_USE;
/*
 * Begins a response whose body has no end yet: sends its head. The request stays the caller's: pl_http_send adds to the
 * body, pl_http_drop ends it, and `left` tells when the client has gone. Returns as pl_http_respond; PL_ECLOSED when
 * the client or the server is gone; PL_ESTATE for a HEAD request or one whose response has begun.
 */
int pl_http_stream(pl_http_request_t *request, unsigned status, const pl_http_header_t *headers,
                   size_t header_count) PL__MUST_USE;
/* Sends a piece of such a body at once. Returns PL_OK, or PL_ECLOSED: the client is gone, or does not read, so that its
 * socket takes no more; its connection is closed then, and the request is still to be dropped. */
int pl_http_send(pl_http_request_t *request, pl_str_t piece) PL__MUST_USE;
/* Closes the connection, without a response or behind what of one was sent. Takes request. */
void pl_http_drop(pl_http_request_t *request);

#endif
