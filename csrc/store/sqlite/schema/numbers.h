/*
 * numbers.h - the numbers of states, kinds and flags, by name, in texts of SQL: PL__STAGE(READY) is "1".
 *
 * SQL cannot see an enum, and the preprocessor no value of one. So the numbers are written down once more here, and
 * compared with the enums below: a state that has no number here, or another one, does not compile.
 */
#ifndef PL_STORE_SQLITE_SCHEMA_NUMBERS_H
#define PL_STORE_SQLITE_SCHEMA_NUMBERS_H

#include <assert.h>

#include "store/model.h"
#include "store/stage/rules.h"

#define PL__TEXT_OF(value) #value
#define PL__TEXT(macro) PL__TEXT_OF(macro)

#define PL__STAGE(name) PL__TEXT(PL__N_STAGE_##name)
#define PL__N_STAGE_WAITING 0
#define PL__N_STAGE_READY 1
#define PL__N_STAGE_RUN 2
#define PL__N_STAGE_FINALIZING 3
#define PL__N_STAGE_DONE 4
#define PL__N_STAGE_ABORTING 5
#define PL__N_STAGE_ABORTED 6
#define PL__N_STAGE_ABORT_HELD 7

#define PL__KIND(name) PL__TEXT(PL__N_KIND_##name)
#define PL__N_KIND_RUN 0
#define PL__N_KIND_FINALIZE 1
#define PL__N_KIND_ABORT 2
#define PL__N_KIND_CALLBACK 3
#define PL__N_KIND_PUSH 4
#define PL__N_KIND_PULL 5
#define PL__N_KIND_DEFERRED 6

/* What a task does in pl_task. */
#define PL__TASK(name) PL__TEXT(PL__N_TASK_##name)
#define PL__N_TASK_READY 0
#define PL__N_TASK_DELAYED 1
#define PL__N_TASK_CLAIMED 2
#define PL__N_TASK_PULL 3 /* waits to be leased, or is */
#define PL__N_TASK_DEAD 4

enum {
    PL__TASK_READY = PL__N_TASK_READY,
    PL__TASK_DELAYED = PL__N_TASK_DELAYED,
    PL__TASK_CLAIMED = PL__N_TASK_CLAIMED,
    PL__TASK_PULL = PL__N_TASK_PULL,
    PL__TASK_DEAD = PL__N_TASK_DEAD
};

/* What a row of pl_wait waits for a slot for. */
#define PL__WAIT(name) PL__TEXT(PL__N_WAIT_##name)
#define PL__N_WAIT_INPUT 0
#define PL__N_WAIT_OUTPUT 1
#define PL__N_WAIT_DURABLE 2

enum { PL__WAIT_INPUT = PL__N_WAIT_INPUT, PL__WAIT_OUTPUT = PL__N_WAIT_OUTPUT, PL__WAIT_DURABLE = PL__N_WAIT_DURABLE };

#define PL__FLAG(name) PL__TEXT(PL__N_FLAG_##name)
#define PL__N_FLAG_CUT_LATE 384
#define PL__N_FLAG_CUT 384
#define PL__N_FLAG_HAS_FALLBACK 16384
#define PL__N_FLAG_FALLBACK_TAKEN 32768
#define PL__N_FLAG_HIDDEN 131072
#define PL__N_FLAG_DURABLE 1048576
#define PL__N_FLAG_SCOPE 2097152
#define PL__N_FLAG_TRACED 4194304

#define PL__FLAGS_IN_SQL(X) X(CUT_LATE) X(CUT) X(HAS_FALLBACK) X(FALLBACK_TAKEN) X(HIDDEN) X(DURABLE) X(SCOPE) X(TRACED)

#define X(name, number, text) static_assert(PL__N_STAGE_##name == (int)PL_STAGE_##name, "another number");
PL_STAGE_STATES(X)
#undef X
#define X(name, number, text) static_assert(PL__N_KIND_##name == (int)PL_TASK_##name, "another number");
PL_TASK_KINDS(X)
#undef X
#define X(name) static_assert(PL__N_FLAG_##name == (int)PL_STAGE_##name, "another number");
PL__FLAGS_IN_SQL(X)
#undef X

/* Of a child: pl__rule_is_waited_for(). -1 is no state. */
#define PL__OR_WAITED_FOR(state) "," PL__STAGE(state)
#define PL__OR_SETTLED(state) ""
#define PL__OR_STATE(state, outcome, fill, retry, abort, resume, waited) PL__OR_##waited(state)
#define PL__IS_UNSETTLED                                                                                               \
    "state IN (-1" PL__STAGE_ANSWERS(PL__OR_STATE) ") AND flags & " PL__FLAG(                                          \
        FALLBACK_TAKEN) " = 0 AND flags & " PL__FLAG(CUT) " <> " PL__FLAG(CUT_LATE)

#endif
