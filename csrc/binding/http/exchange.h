/*
 * exchange.h - HTTP requests and responses as Lua values, for coroutines of the engine (fetch.c) and
 * tasklets (client.c).
 *
 * Both have their arguments in the same places: the table of options, and then the userdata that owns the request.
 */
#ifndef PL_BINDING_HTTP_EXCHANGE_H
#define PL_BINDING_HTTP_EXCHANGE_H

#include <lua.h>

#include "http/fetch.h"

enum { PL__EXCHANGE_OPTIONS = 2, PL__EXCHANGE_OWNER = 3, PL__EXCHANGE_UV_BODY = 2 };

/*
 * Reads the options of a request, see fetch.h. What is borrowed stays on the stack. A body function becomes the user
 * value PL__EXCHANGE_UV_BODY of the owner. Raises on wrong types. `changed` and `data` are left to the caller.
 */
void pl__request_read(lua_State *L, pl_fetch_request_t *request);
/* Reads active, per_host and idle; raises on wrong types. */
void pl__limits_read(lua_State *L, pl_fetcher_options_t *limits);

/* Pushes { status=, headers=, header_list=, url= }, and body if wanted. */
void pl__response_push(lua_State *L, const pl_fetch_response_t *response, bool with_body);
/* Pushes { active=, queued=, requests=, connections= }. */
void pl__fetch_facts_push(lua_State *L, const pl_fetcher_facts_t *facts);
/* Pushes bytes; none give "". */
void pl__text_push(lua_State *L, pl_str_t text);

#endif
