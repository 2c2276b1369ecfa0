/*
 * fetch.h - an HTTP client on the uv loop: many requests at once over connections that are kept open.
 *
 * Everything is called from the thread that runs the loop. A request that was started is the caller's until
 * pl_fetch_release; in between `changed` tells that there is something new to look at. `changed` is called from the
 * loop only, never from inside a function of this file, and may call all of them, pl_fetcher_close too.
 *
 * Life of a request:
 *
 *   start ──► QUEUED ──a place is free──► ACTIVE ──answered, failed──► OVER ──release──► freed
 *                └───────── cancel ─────────┴─────────────────────────► OVER
 *
 * A response is collected whole, up to max_size. With `stream` its head comes first and its body in pieces: what
 * arrives waits in a window until pl_fetch_take; when that is full the connection is not read, and the server waits.
 * With `upload` the body of the request is sent in pieces as well.
 *
 * With `mail_to` the request is a mail instead, to be handed to a server: its response has the code of the server's
 * last reply as status and its words as body, whatever they are; 250 is success. Without any reply it has failed.
 */
#ifndef PL_HTTP_FETCH_H
#define PL_HTTP_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/result.h"
#include "http/field.h"

typedef struct pl_fetcher pl_fetcher_t; /* a client: its connections, and its requests under way */
typedef struct pl_fetch pl_fetch_t;     /* a request */

typedef struct {
    unsigned max_active;           /* requests under way at once; more wait in order; default 100 */
    unsigned max_host_connections; /* connections to one host; 0 (default): as many as there are requests */
    unsigned max_idle;             /* connections kept open without a request; default 100 */
} pl_fetcher_options_t;

typedef enum {
    PL_STARTTLS_REQUIRE,       /* nothing but EHLO is said before the line is encrypted and its certificate good */
    PL_STARTTLS_OPPORTUNISTIC, /* encrypted if the server offers it, whatever its certificate is */
    PL_STARTTLS_NO,
} pl_starttls_t;

/* A request. Everything is copied. */
typedef struct {
    pl_str_t method; /* default GET */
    pl_str_t url;    /* http: or https: only; of a mail smtp: or smtps: */
    const pl_http_header_t *headers;
    size_t header_count;
    pl_str_t body;      /* absent: none */
    bool upload;        /* the body comes from pl_fetch_send */
    bool stream;        /* the response's body goes through pl_fetch_take */
    double deadline;    /* seconds in all, waiting for a place included; with stream: without the head, or another
                          * piece of the body that is waited for. Default 60; 0: none */
    double connect;     /* seconds in which a connection must stand; 0 (default): the deadline alone counts */
    uint64_t max_size;  /* bytes of the response's body; default 32 MiB; 0: no limit */
    size_t window;      /* bytes kept for pl_fetch_take; default 256 KiB */
    unsigned redirects; /* followed for GET, HEAD, POST at most so often; 0 (default): a redirect is the response */
    bool is_unverified; /* any certificate will do */
    pl_str_t ca_file;   /* certificates to trust instead of the system's; absent: the system's */
    pl_str_t proxy;     /* URL of a proxy; absent: none */
    bool env_proxy;     /* the proxy that the environment names */
    pl_str_t mail_from; /* of a mail: the sender and the one recipient of the envelope, without brackets; */
    pl_str_t mail_to;   /* the body is the message, whose lines end with CR LF; the deadline is that of getting a */
    pl_str_t username;  /* session, and then of each step */
    pl_str_t password;  /* absent username: no login */
    pl_starttls_t starttls;
    void (*changed)(void *data, pl_fetch_t *fetch);
    void *data;
} pl_fetch_request_t;

/* What is known of a response. Borrowed until the request is released; with stream the body stays empty. */
typedef struct {
    int code; /* PL_OK, or why there is no response; then message says more */
    const char *message;
    int status;                      /* 0: the head is not there yet */
    const pl_http_header_t *headers; /* as sent, in order, with names in lower case */
    size_t header_count;
    pl_str_t body;
    pl_str_t url; /* after redirects */
} pl_fetch_response_t;

typedef struct {
    unsigned active, queued;
    uint64_t requests, connections; /* started, opened since the client was made */
} pl_fetcher_facts_t;

struct uv_loop_s;

void pl_fetcher_options_init(pl_fetcher_options_t *options);
/* Returns PL_OK, PL_ENOMEM or PL_EOTHER. */
int pl_fetcher_open(pl_fetcher_t **fetcher, struct uv_loop_s *loop, const pl_fetcher_options_t *options,
                    pl_error_t *error) PL__MUST_USE;
/* Changes the limits; requests under way go on. */
void pl_fetcher_limit(pl_fetcher_t *fetcher, const pl_fetcher_options_t *options);
void pl_fetcher_facts(const pl_fetcher_t *fetcher, pl_fetcher_facts_t *facts);
/*
 * Cancels every request and closes every connection. The requests stay valid until they are released, which must be
 * done; `changed` is not called any more. The memory is freed from the loop: run it until its handles are closed.
 */
void pl_fetcher_close(pl_fetcher_t *fetcher);

void pl_fetch_request_init(pl_fetch_request_t *request);
/* Returns PL_OK and the request, owned; PL_EINVAL (URL, method, header), PL_ENOMEM or PL_ECLOSED. */
int pl_fetch_start(pl_fetcher_t *fetcher, const pl_fetch_request_t *request, pl_fetch_t **fetch,
                   pl_error_t *error) PL__MUST_USE;
/* Ends the request with PL_EABORTED if it is not over. `changed` is not called any more. Idempotent. */
void pl_fetch_cancel(pl_fetch_t *fetch);
/* Cancels and frees it. NULL is fine. */
void pl_fetch_release(pl_fetch_t *fetch);

bool pl_fetch_is_over(const pl_fetch_t *fetch);
/* Whether status and headers are known. */
bool pl_fetch_has_head(const pl_fetch_t *fetch);
void pl_fetch_response(const pl_fetch_t *fetch, pl_fetch_response_t *response);

/* stream: whether pl_fetch_take would give something. */
bool pl_fetch_has_bytes(const pl_fetch_t *fetch);
/* stream: what has arrived since the last time; empty: nothing. Borrowed until the next take or release. */
pl_str_t pl_fetch_take(pl_fetch_t *fetch);

/* upload: whether all that was given has gone, and more can be. */
bool pl_fetch_wants(const pl_fetch_t *fetch);
/* upload: more of the body; copied. Returns PL_OK, PL_ESTATE (over, or no upload) or PL_ENOMEM. */
int pl_fetch_send(pl_fetch_t *fetch, pl_str_t bytes) PL__MUST_USE;
/* upload: the body is complete. */
void pl_fetch_send_end(pl_fetch_t *fetch);

#endif
