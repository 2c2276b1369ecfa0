/*
 * results.h - finished ops, stages, slots and claims as Lua values.
 */
#ifndef PL_BINDING_RESULTS_H
#define PL_BINDING_RESULTS_H

#include <lua.h>

#include "binding/handle.h"

/* Takes op: pushes what its verb gives back, frees it and returns the number of values. May raise; frees all the
 * same. */
int pl__push_results(lua_State *L, pl_op_t *op);

void pl__push_stage_to_run(lua_State *L, const pl_stage_t *stage);
void pl__push_stage(lua_State *L, const pl_stage_t *stage);
void pl__push_slot(lua_State *L, const pl_slot_t *slot);
/* Pushes the string, or nil when it is absent. */
void pl__push_str(lua_State *L, pl_str_t text);
/* Pushes seconds since the epoch. */
void pl__push_time(lua_State *L, pl_usec_t when);

#endif
