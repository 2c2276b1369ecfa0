/*
 * zone.h - a time zone as a Lua object.
 */
#ifndef PL_BINDING_CALENDAR_ZONE_H
#define PL_BINDING_CALENDAR_ZONE_H

#include <lua.h>

#include "calendar/zone.h"

/* The zone at that index, which borrows from the object; raises if it is none. */
const pl_zone_t *pl__zone_check(lua_State *L, int index);
/* Seconds of the argument as a whole number, rounded down, within years 1 to 9999 and a little beyond; raises if it is
 * no number. */
int64_t pl__seconds_check(lua_State *L, int index);
/* Adds core.zone to the table on top of the stack. */
void pl__zone_register(lua_State *L);

#endif
