/*
 * fetch.h - HTTP requests of an engine: e:fetch{}, e:fetch_start{}, and the handle of a request ("pipeline.Fetch").
 *
 * e:fetch{url=, method=, headers=, body=, deadline=, connect_timeout=, max_size=, stream=, follow=, verify=, ca_file=,
 *         proxy=} -> response, or nil, code, message
 *   body      a string, or a function that returns one piece of it after the other and nil at the end (it may wait)
 *   headers   strings, or lists of strings, by name
 *   deadline  seconds (default 60; 0: none) for everything; with stream for the head, and for each piece waited for
 *   max_size  bytes of the response (default 32 MiB; with stream none)
 *   follow    true, or how many redirects to follow (for GET, HEAD, POST); by default they are responses
 *   verify    false: any certificate will do;  ca_file: certificates to trust instead of the system's
 *   proxy     a URL, or true: the one that the environment names; by default none
 * A response has status, headers (by lower-case name, repeated ones joined with ", "), header_list (pairs, as sent),
 * url (after redirects) and body. With stream it has instead of a body response:read() -> piece, or nil at the end, or
 * nil, code, message; and response:close(), which is also its __close.
 *
 * In a managed coroutine this waits; elsewhere it runs the loop. A coroutine that is ended cancels its request.
 *
 * e:fetch_start(options, fn) -> handle, or nil, code, message. fn(response), or fn(nil, code, message), is called in a
 * managed coroutine; handle:cancel() -> whether there was something to cancel; then fn is not called.
 *
 * e:fetch_limits{active=, per_host=, idle=}: requests at once, connections to a host, connections kept open.
 * e:fetch_facts() -> { active=, queued=, requests=, connections= }.
 */
#ifndef PL_BINDING_HTTP_FETCH_H
#define PL_BINDING_HTTP_FETCH_H

#include <lua.h>

/* Adds the methods to the method table on top of the stack, and makes the metatables. */
void pl__fetch_register(lua_State *L);

#endif
