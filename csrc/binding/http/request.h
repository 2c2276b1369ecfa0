/*
 * request.h - an HTTP request as a Lua value, "pipeline.Request", and what of its client it needs.
 *
 * Whoever waits for a request is told in one of two ways: the managed coroutine noted as its `waiter` goes on
 * (fetch.c), or, with `by_news`, it comes into the list of news of its client, which the loop of tasklets asks for
 * (client.c).
 *
 * A request that is collected is cancelled. Its methods:
 *   request:state() -> is over, has its head, has a piece, wants a piece of the body
 *   request:response() -> response, or nil, code, message
 *   request:take() -> piece; or nil at the end or when there is none yet; or nil, code, message
 *   request:send(bytes | nil) -> true, or nil, code, message; nil: the body is complete
 *   request:hold(flag)            virtual time of the engine stands still meanwhile, and it is not idle
 *   request:cancel() -> whether there was something to cancel
 */
#ifndef PL_BINDING_HTTP_REQUEST_H
#define PL_BINDING_HTTP_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <lua.h>

#include "binding/coroutine/coroutine.h"
#include "binding/handle.h"
#include "binding/http/exchange.h"
#include "binding/loop.h"

/* User values of a request. */
enum { PL__REQUEST_UV_CLIENT = 1, PL__REQUEST_UV_BODY = PL__EXCHANGE_UV_BODY, PL__REQUEST_UV_CALLBACK };

typedef struct pl__request pl__request_t;

/* A client: memory of a "pipeline.Client", see client.h. */
typedef struct pl__client {
    pl__attached_t attached;      /* first: close gets it */
    pl__handle_t *h;              /* the engine that is told of news, and which the client is attached to; NULL: none */
    const pl__state_loop_t *loop; /* memory of a user value; NULL: the engine's own */
    bool is_engines;              /* the loop is the engine's: the client ends with it */
    pid_t pid;
    pl_fetcher_t *fetcher; /* NULL: closed, or not yet open */
    pl__request_t *requests;
    pl__request_t *news, *news_last;
} pl__client_t;

struct pl__request {
    pl__request_t *next, *prev, *news_next;
    pl__client_t *client; /* memory of the user value */
    pl_fetch_t *fetch;    /* NULL: released, or not yet started */
    lua_Integer id;       /* with by_news: by which it is told of */
    bool by_news, has_news, is_held, stream;
    bool is_guarded;         /* a frame of fetch.c waits, and releases the request however it is left */
    int wait;                /* for what that frame waits */
    int end;                 /* released: PL_OK after the last piece, or why there are no more */
    pl__coroutine_t *waiter; /* to be woken; NULL: none */
    uint64_t waiter_life;
};

/* Whether the client is open, and that of this process: in the child of a fork it belongs to the parent. */
bool pl__client_is_usable(const pl__client_t *client);

/* Pushes a request with nothing behind it yet. May raise. */
pl__request_t *pl__request_new(lua_State *L);
/* The request at `index`; raises if it is none. */
pl__request_t *pl__request_check(lua_State *L, int index);
/* Starts it with options that were read, whose `changed` and `data` are set here; `client` is open. Returns PL_OK, or
 * what pl_fetch_start does. No Lua. */
int pl__request_start(pl__request_t *request, pl__client_t *client, pl_fetch_request_t *options,
                      pl_error_t *error) PL__MUST_USE;
/* Whether there is something behind it that can be told. */
bool pl__request_is_live(const pl__request_t *request);
/* Ends it, wherever it stands. No Lua. Idempotent. */
void pl__request_release(pl__request_t *request, int end);
/* The engine has to wait for it: virtual time stands still, and it is not idle. */
void pl__request_hold(pl__request_t *request, bool held);
/* Lets the coroutine that waits look at it. */
void pl__request_wake(pl__request_t *request);
/* It has no more news that was not asked for. */
void pl__request_forget_news(pl__request_t *request);
/* Sends a piece of the body; without a pointer the body is complete. Returns what pl_fetch_send does. */
int pl__request_send(pl__request_t *request, pl_str_t piece) PL__MUST_USE;

/* Pushes the response, or nil, code and message; a live request is over, or has its head. Releases what is over with
 * that. Returns how many values. */
int pl__request_push_response(lua_State *L, pl__request_t *request);
/* Pushes the next piece of a live request; or nil: none yet, or the end; or nil, code and message. */
int pl__request_push_piece(lua_State *L, pl__request_t *request);
/* Pushes why a request that is not live gives nothing. */
int pl__request_push_end(lua_State *L, const pl__request_t *request);

/* Makes the metatable; `close` is its __close. Leaves the stack as it was. */
void pl__request_register(lua_State *L, lua_CFunction close);

#endif
