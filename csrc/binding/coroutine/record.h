/*
 * record.h - a stage as its run sees it: what the store knew of it when its task was claimed.
 *
 * A userdata without a finalizer: one block of Lua's memory with numbers, ids and texts, whose fields become Lua values
 * when they are asked for. It is a copy, so it outlives the claim: whoever keeps `self` beyond its run still sees it.
 */
#ifndef PL_BINDING_COROUTINE_RECORD_H
#define PL_BINDING_COROUTINE_RECORD_H

#include <lua.h>

#include "store/model.h"

#define PL__RECORD_TYPE "pipeline.Record"

/* Pushes a record of the stage. May raise. */
void pl__record_push(lua_State *L, const pl_stage_t *stage);
/* Makes the metatable of records. */
void pl__record_register(lua_State *L);

#endif
