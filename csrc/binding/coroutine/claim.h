/*
 * claim.h - a task being executed, as the "task" hook gets it: userdata "pipeline.Claim".
 *
 * The claim itself belongs to the record of the coroutine that executes it and ends with that coroutine; the
 * userdata only points there, so it needs no finalizer and may be kept by anybody for any time.
 */
#ifndef PL_BINDING_COROUTINE_CLAIM_H
#define PL_BINDING_COROUTINE_CLAIM_H

#include <lua.h>

#include "binding/coroutine/coroutine.h"

#define PL__CLAIM_TYPE "pipeline.Claim"

/* Pushes what stands for the claim of rec. Handle at index 1. May raise. */
void pl__claim_push(lua_State *L, pl__coroutine_t *rec);
/* Returns the record whose claim is at `arg`, NULL if that is over; raises if it is no claim of this engine. */
pl__coroutine_t *pl__claim_check(lua_State *L, int arg, const pl__handle_t *h);
void pl__claim_register(lua_State *L);
/* e:executing() -> {queue=, task=, kind=, attempt=} of the task whose coroutine runs, for the log; else nil. */
int pl__claim_executing(lua_State *L);
/* e:claim_of_running() -> of the same: id of the task, number of the claim, stage, root or nil, request or nil; else
 * nothing. */
int pl__claim_of_running(lua_State *L);

#endif
