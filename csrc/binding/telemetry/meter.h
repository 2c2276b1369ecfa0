/*
 * meter.h - what an engine has counted, as a Lua table.
 */
#ifndef PL_BINDING_TELEMETRY_METER_H
#define PL_BINDING_TELEMETRY_METER_H

#include "binding/handle.h"

/* e:meter() -> {commit_us=HISTOGRAM, commit_ops=HISTOGRAM, lag_us=HISTOGRAM, queues=list of {queue= (nil: all others),
 * started=, succeeded=, failed=, dead= (each kind -> count, those that are not 0), execute_us=, queue_us=HISTOGRAM}}.
 * A HISTOGRAM is a list of counts, with `first` (the bound of count i is 2^(first + i - 1), the last has none) and
 * `sum`. And e:executing(). Adds both to the table on top of the stack. */
void pl__meter_register(lua_State *L);

#endif
