/*
 * connection.h - one accepted connection, and what its server knows of all of them. For csrc/http only.
 *
 *             bytes            head there        request there           answered, some of it waits
 *   IDLE ───────────► HEAD ───────────► BODY ───────────► HANDED ─────────────────────────────────► SENDING
 *    ▲                 │                 │                  │ answered, all of it sent                  │
 *    │                 └── refused ──────┴───► CLOSING ◄────┼───────────────────────────────────────────┤
 *    └──────────────────────────────────────────────────────┴───────────────────────────────────────────┘
 *
 * CLOSING: the last response has been sent and our side is shut down. What the client still sends is thrown away until
 * it has closed, too: closed at once, its kernel would take the response away from it.
 */
#ifndef PL_HTTP_CONNECTION_H
#define PL_HTTP_CONNECTION_H

#include <stdint.h>
#include <uv.h>

#include "http/parser.h"
#include "http/response.h"
#include "http/server.h"

typedef enum {
    PL__CONN_IDLE,
    PL__CONN_HEAD,
    PL__CONN_BODY,
    PL__CONN_HANDED,
    PL__CONN_SENDING,
    PL__CONN_CLOSING,
    PL__CONN_STATES,
    PL__CONN_CLOSED = PL__CONN_STATES, /* in no list: waits for uv */
} pl__conn_state_t;

enum { PL__CHUNK = 64 * 1024 }; /* bytes read at a time */

typedef struct pl__conn pl__conn_t;

/* It has two owners: the connection and, while `is_handed`, the host. The last of them frees it. */
typedef struct {
    pl_http_request_t pub; /* first: the host's pointer is ours */
    pl__conn_t *conn;      /* NULL: the connection is gone */
    bool is_handed;
    bool streams; /* the head of a response without an end has been sent */
    pl__http_parser_t parser;
    pl__buf_t body;
    char remote[64];
} pl__request_t;

struct pl__conn {
    pl__conn_t *next, *prev; /* in the list of its state, in the order of coming there */
    pl_http_t *http;
    uv_tcp_t tcp;
    uv_write_t write;
    pl__request_t *request; /* the one that is arriving or being worked on; never NULL but when closed */
    pl__conn_state_t state;
    bool is_reading, is_feeding;
    bool has_ended;      /* the client has shut down its side */
    bool has_head;       /* of the request */
    bool closes;         /* after this response */
    bool discards;       /* what comes is thrown away */
    uint64_t since_ms;   /* when it came into its state */
    uint64_t began_ms;   /* when the request began */
    uint64_t heard_ms;   /* when bytes last came */
    uint64_t ended_ms;   /* when has_ended became true */
    uint64_t window_ms;  /* the rate is measured since */
    uint64_t since_at;   /* bytes moved until since_ms, the way they go in its state */
    uint64_t window_at;  /* bytes moved until window_ms */
    uint64_t in, out;    /* bytes read, and handed to uv */
    pl__buf_t input;     /* what came behind the request under way */
    size_t input_at;     /* what of it is used up */
    pl__buf_t output;    /* the response being written */
    uint8_t address[16]; /* by which clients are told apart */
    char remote[64];
};

typedef struct {
    pl__conn_t *head, *tail;
} pl__conns_t;

/* What the server does for its places. */
typedef struct {
    void (*place_free)(pl_http_t *http); /* takes the client that waits, if there is one */
    uv_timer_cb look;                    /* at what has taken too long; data is the server */
    void (*tear_down)(pl_http_t *http);  /* it is closing, and nobody is in a call any more */
} pl__host_t;

struct pl_http {
    const pl__host_t *host;
    pl_http_options_t options;
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t timer; /* looks for what has taken too long */
    uint64_t look_ms; /* when it will */
    pl__conns_t lists[PL__CONN_STATES];
    unsigned conn_count;
    size_t bodies; /* bytes held by bodies */
    int port;
    int open_handles; /* of uv, whose close callback is outstanding */
    int calls;        /* callbacks of the host under way */
    bool is_waiting;  /* a client is to be accepted and there is no place */
    bool is_closing;
    void (*closed)(void *data);
    void *closed_data;
    pl__buf_t head; /* scratch: of a response */
    int64_t date_second;
    char date[PL__DATE_LEN + 1];
    char chunk[PL__CHUNK];
};

/* ---- connection.c ---- */
/* Makes a connection of the client that waits at the listener. Returns it, reading; or NULL without memory, and the
 * client waits on. */
pl__conn_t *pl__conn_accept(pl_http_t *http);
/* Closes it now; its request lives on if it is handed. Its place is free at once. */
void pl__conn_close(pl__conn_t *conn);
/* Closes it now, and its kernel forgets what has not been sent. */
void pl__conn_reset(pl__conn_t *conn);
/* Answers with a status of the server's own making and closes. */
void pl__conn_refuse(pl__conn_t *conn, unsigned status, const char *problem);
/* The client has left while its request is with the host: closes, and tells the host. */
void pl__conn_left(pl__conn_t *conn);
/* Sends what of a response waits, as far as that can be done without waiting. */
void pl__conn_flush(pl__conn_t *conn);
/* Throws away what has come behind the request under way, and what will come; the response is the last one. */
void pl__conn_discard(pl__conn_t *conn);
/* Bytes of the response that the client's side has confirmed. */
uint64_t pl__conn_sent(const pl__conn_t *conn);
/* Whether the client has closed, though nothing is being read from it. */
bool pl__conn_hung_up(const pl__conn_t *conn);

/* Whether bytes have come that were not read yet. */
bool pl__conn_has_unread(const pl__conn_t *conn);

/* ---- places.c ---- */
enum { PL__LOOK_MS = 1000 };
/* The connection comes into the state; the last to be done in a callback of uv. */
void pl__http_set_state(pl__conn_t *conn, pl__conn_state_t state);
/* Looks at what has taken too long in so many milliseconds, or sooner. */
void pl__http_look_in(pl_http_t *http, uint64_t ms);
/* Something has begun that must not take too long. */
void pl__http_look_soon(pl_http_t *http);
/* A place may have become free. */
void pl__http_place_free(pl_http_t *http);
/* Begins and ends a call of the host, in which it may close the server. */
void pl__http_enter(pl_http_t *http);
void pl__http_leave(pl_http_t *http);
/* A handle of a connection or of the server has been closed; the last one frees the server. */
void pl__http_handle_closed(pl_http_t *http);

#endif
