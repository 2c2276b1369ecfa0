/*
 * server.h - the Lua handle of the HTTP server ("pipeline.Server") and the method of the engine that makes one.
 */
#ifndef PL_BINDING_HTTP_SERVER_H
#define PL_BINDING_HTTP_SERVER_H

#include <lua.h>

/*
 * e:serve{host=, port=, max_body=, max_header=, max_connections=, max_per_address=, idle_timeout=, header_timeout=,
 *         request_timeout=, min_rate=, handler=fn}
 *
 * Stack: 1 the engine, 2 the options. Returns a "pipeline.Server", or nil, code, message. The handler runs in a
 * managed coroutine for every request, which is cancelled when the client leaves. For the method table of
 * "pipeline.Engine".
 */
int pl__server_serve(lua_State *L);

/*
 * e:stream(status, headers) -> true, or nil, code, message: the running coroutine, the handler of a request, begins an
 * response whose body has no end yet. It ends when the handler does, whatever that returns.
 */
int pl__server_stream(lua_State *L);

/* e:send(bytes) -> whether they were sent: adds to the body of such a response. False: the client is gone, or does not
 * read. */
int pl__server_send(lua_State *L);

/* Makes the metatable "pipeline.Server"; called once or more by luaopen_pipeline_core. Leaves the stack as it was. */
void pl__server_register(lua_State *L);

#endif
