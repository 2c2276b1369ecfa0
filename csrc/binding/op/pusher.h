/*
 * pusher.h - what a store gives back as Lua values: times, stages, slots, and fields of tables.
 */
#ifndef PL_BINDING_OP_PUSHER_H
#define PL_BINDING_OP_PUSHER_H

#include <lua.h>

#include "binding/handle.h"

void pl__push_stage(lua_State *L, const pl_stage_t *stage);
void pl__push_slot(lua_State *L, const pl_slot_t *slot);
/* Pushes the string, or nil when it is absent. */
void pl__push_str(lua_State *L, pl_str_t text);
/* Pushes seconds since the epoch. */
void pl__push_time(lua_State *L, pl_usec_t when);

/* ---- for the rooms of csrc/binding/op; set_…: a field of the table on top ---- */
/* The set_ functions put a field into the table on top of the stack; what is absent stays nil. */
void pl__set_str(lua_State *L, const char *name, pl_str_t text);
void pl__set_integer(lua_State *L, const char *name, lua_Integer value);
void pl__set_number(lua_State *L, const char *name, lua_Number value);
void pl__set_boolean(lua_State *L, const char *name, bool value);
void pl__set_time(lua_State *L, const char *name, pl_usec_t when);
void pl__set_ids(lua_State *L, const char *name, const pl_id_t *ids, size_t len);
void pl__set_outputs(lua_State *L, const pl_stage_t *stage);
void pl__set_status(lua_State *L, const pl_stage_t *stage);
/* What was given when the stage was made. */
void pl__set_stage_settings(lua_State *L, const pl_stage_t *stage);
/* What has happened to it since. */
void pl__set_stage_progress(lua_State *L, const pl_stage_t *stage);
void pl__push_slots(lua_State *L, const pl_slot_t *slots, size_t len);
void pl__push_stages(lua_State *L, const pl_stage_t *stages, size_t len);
int pl__push_failed(lua_State *L, const pl_op_t *op);
int pl__push_true(lua_State *L, const pl_op_t *op);
void pl__set_unless_negative(lua_State *L, const char *name, double value);
/* A whole number that was given as a number of any size. */
void pl__set_whole(lua_State *L, const char *name, double value);
void pl__set_retry(lua_State *L, const pl_retry_t *retry);

#endif
