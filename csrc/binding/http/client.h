/*
 * client.h - the HTTP client, "pipeline.Client": requests on a uv loop, with the connections they share.
 *
 * An engine has one for e:fetch (see fetch.h); tasklets have others, whose requests nobody waits for in a coroutine:
 *
 * core.client(loop | engine) -> client on the uv loop of this Lua state, or on that of an engine, with which it ends.
 *   client:start(options, id) -> request (see request.h), or nil, code, message; the options are those of e:fetch.
 *     `id` is an integer by which client:news() tells of it
 *   client:news() -> id of a request with something new, or nil
 *   client:has_news() -> whether there is any
 *   client:serve(engine | nil)    the engine that runs the loop: its "tick" hook is called when there is news
 *   client:limits{...}, client:facts() -> as e:fetch_limits and e:fetch_facts
 *   client:close()                every request ends with ECLOSED
 */
#ifndef PL_BINDING_HTTP_CLIENT_H
#define PL_BINDING_HTTP_CLIENT_H

#include <lua.h>

#include "binding/http/request.h"

/* Pushes the client of e:fetch of the engine at index 1; made, but not open, when it is first wanted. May raise. */
pl__client_t *pl__client_push_engines(lua_State *L);
/* Pushes the engine whose client is at `index`. */
void pl__client_push_engine(lua_State *L, int index);
/* Opens the client on the loop of an engine that can be used; it ends with that. Nothing happens when it is open. No
 * Lua. Returns PL_OK, or what pl_fetcher_open does. */
int pl__client_open(pl__client_t *client, pl__handle_t *h, pl_error_t *error) PL__MUST_USE;
/* Pushes what is under way; NULL: nothing. */
int pl__client_push_facts(lua_State *L, const pl__client_t *client);

/* Adds core.client and the metatable; `core` is on the top of the stack. */
void pl__client_register(lua_State *L);

#endif
