/*
 * rule.h - when a schedule fires, as a Lua object.
 */
#ifndef PL_BINDING_CALENDAR_RULE_H
#define PL_BINDING_CALENDAR_RULE_H

#include <lua.h>

/* Adds core.cron, core.every, core.at and core.jitter to the table on top of the stack. */
void pl__rule_register(lua_State *L);

#endif
