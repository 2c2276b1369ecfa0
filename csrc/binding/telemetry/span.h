/*
 * span.h - spans of attempts that have ended well, as JSON: what a traced engine makes most of.
 *
 * They are written where the event comes by, into one buffer, so that a span costs what its bytes do: no Lua value is
 * made for it. What is rare (failures, attempts that belong to another trace, names that JSON must escape) is told to
 * Lua code instead, which writes it in full.
 */
#ifndef PL_BINDING_TELEMETRY_SPAN_H
#define PL_BINDING_TELEMETRY_SPAN_H

#include "binding/handle.h"

struct pl_event;

typedef struct pl__spans {
    uint64_t key; /* that ids of spans are made with */
    pl__buf_t text;
    int count, batch;
} pl__spans_t;

/* Adds the span of an event, if it is one for here; then the caller asks pl__spans_want. Returns whether it was. */
bool pl__spans_add(const pl__handle_t *h, const struct pl_event *event);
/* Whether they are to be taken: there is a first one, or a batch. */
bool pl__spans_want(const pl__handle_t *h);
/* NULL is allowed. */
void pl__spans_free(pl__spans_t *spans);
/* Adds e:spans_begin and e:spans_take to the table on top of the stack. */
void pl__spans_register(lua_State *L);

#endif
