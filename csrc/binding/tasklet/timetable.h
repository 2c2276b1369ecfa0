/*
 * timetable.h - what is to be done at a time, "pipeline.Timetable": the timers of a loop of tasklets, or of an engine.
 *
 * A timer is a table of the caller's, held until it is taken, cancelled or cleared; its field 0 is ours. Timers come in
 * the order of their times, and those of the same time in the order added. What was due when it was added is kept in a
 * list of its own, which costs no heap: those who do nothing but let others go first would stir it all the time.
 *
 * core.timetable() -> timetable
 *   timetable:add(timer, due)      `due` is a number, of whatever clock
 *   timetable:add_soon(timer, now) it is due at once, after those that are due already, even if the clock is set back
 *   timetable:cancel(timer) -> whether it was still there
 *   timetable:first() -> time of the first, whether it was added by add_soon; nothing if there is none
 *   timetable:take() -> the first timer, which is not in it any more; nil
 *   timetable:count() -> how many there are
 *   timetable:clear()              cancels all
 */
#ifndef PL_BINDING_TASKLET_TIMETABLE_H
#define PL_BINDING_TASKLET_TIMETABLE_H

#include <stdbool.h>

#include <lua.h>

/* As add_soon: timetable and timer are at these indices. May raise. */
void pl__timetable_add_soon(lua_State *L, int timetable, int timer, lua_Number now);
/* Pushes the first timer of the timetable at the index, which stays in it, if it was added by add_soon. Else pushes
 * nothing and returns false. Does not raise. */
bool pl__timetable_push_soon(lua_State *L, int timetable);
/* That timer is not in it any more. Does not raise. */
void pl__timetable_drop_soon(lua_State *L, int timetable);

/* Adds core.timetable and the metatable; `core` is on the top of the stack. */
void pl__timetable_register(lua_State *L);

#endif
