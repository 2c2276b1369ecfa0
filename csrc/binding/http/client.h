/*
 * client.h - the HTTP client of tasklets, "pipeline.Client": requests on a loop, without coroutines.
 *
 * core.client(loop | engine) -> client on the uv loop of this Lua state, or on that of an engine, with which it ends.
 *   client:start(options, id) -> request, or nil, code, message; the options are those of e:fetch (see fetch.h).
 *     `id` is an integer by which client:news() tells of it
 *   client:news() -> id of a request with something new, or nil
 *   client:serve(engine | nil)    the engine that runs the loop: its "guest" hook is called when there is news
 *   client:limits{...}, client:facts() -> as e:fetch_limits and e:fetch_facts
 *   client:close()                every request ends with ECLOSED
 *
 * A request ("pipeline.Request") that is collected is cancelled.
 *   request:state() -> is over, has its head, has a piece, wants a piece of the body
 *   request:answer() -> response, or nil, code, message
 *   request:take() -> piece; or nil at the end or when there is none yet; or nil, code, message
 *   request:send(bytes | nil) -> true, or nil, code, message; nil: the body is complete
 *   request:hold(flag)            virtual time of the engine stands still meanwhile, and it is not idle
 *   request:cancel() -> whether there was something to cancel
 */
#ifndef PL_BINDING_HTTP_CLIENT_H
#define PL_BINDING_HTTP_CLIENT_H

#include <lua.h>

/* Adds core.client and the metatables; `core` is on the top of the stack. */
void pl__client_register(lua_State *L);

#endif
