/*
 * event.h - events of the engine on their way to the "event" hook.
 *
 * They come while anything may be under way, and the hook is Lua code: they wait until no other Lua code runs.
 */
#ifndef PL_BINDING_TELEMETRY_EVENT_H
#define PL_BINDING_TELEMETRY_EVENT_H

#include "binding/handle.h"

/* Queues it, for pl__pump to hand on. Borrows it until pl__event_keep. */
void pl__event_add(pl__handle_t *h, pl_event_t *event);
/* What waits still is copied; without memory for it, it is not told of, and the log says so. */
void pl__event_keep(pl__handle_t *h);
/* Hands all that wait to the hook; there is one, and Lua code may run. */
void pl__event_report(pl__handle_t *h);
/* Forgets those that wait. */
void pl__event_forget(pl__handle_t *h);
/* Adds e:tell to the table on top of the stack. */
void pl__event_register(lua_State *L);

#endif
