/*
 * numbers.h - the numbers of states, kinds and flags, by name, in texts of SQL: PL__STAGE(READY) is "1".
 *
 * SQL cannot see an enum, and the preprocessor no value of one. So the numbers are written down once more here, and
 * compared with the enums below: a state that has no number here, or another one, does not compile.
 */
#ifndef PL_STORE_SQLITE_SCHEMA_NUMBERS_H
#define PL_STORE_SQLITE_SCHEMA_NUMBERS_H

#include <assert.h>

#include "store/durable/journal.h"
#include "store/model.h"
#include "store/schedule.h"
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

/* Flags of a task: what it has beside its row, and whether its eta ends a pause between two attempts. */
#define PL__N_TASK_DETAIL 1
#define PL__N_TASK_RETRY 2

enum { PL__TASK_DETAIL = PL__N_TASK_DETAIL };

/* What a row of pl_wait waits for a slot for. */
#define PL__WAIT(name) PL__TEXT(PL__N_WAIT_##name)
#define PL__N_WAIT_INPUT 0
#define PL__N_WAIT_OUTPUT 1
#define PL__N_WAIT_DURABLE 2

enum { PL__WAIT_INPUT = PL__N_WAIT_INPUT, PL__WAIT_OUTPUT = PL__N_WAIT_OUTPUT, PL__WAIT_DURABLE = PL__N_WAIT_DURABLE };

/* pl_stage.waiter of a slot whose waits are in pl_wait. */
#define PL__IN_WAITS PL__TEXT(PL__N_WAITERS)
#define PL__N_WAITERS -1

enum { PL__WAITERS = PL__N_WAITERS };

#define PL__FLAG(name) PL__TEXT(PL__N_FLAG_##name)
#define PL__N_FLAG_ASYNC 1
#define PL__N_FLAG_CUT_LATE 384
#define PL__N_FLAG_CUT 384
#define PL__N_FLAG_HAS_FALLBACK 16384
#define PL__N_FLAG_FALLBACK_TAKEN 32768
#define PL__N_FLAG_HIDDEN 131072
#define PL__N_FLAG_DURABLE 1048576
#define PL__N_FLAG_SCOPE 2097152
#define PL__N_FLAG_TRACED 4194304

#define PL__FLAGS_IN_SQL(X)                                                                                            \
    X(ASYNC) X(CUT_LATE) X(CUT) X(HAS_FALLBACK) X(FALLBACK_TAKEN) X(HIDDEN) X(DURABLE) X(SCOPE) X(TRACED)

/* Durable functions: their modes, the kinds and states of entries, mails, and the replies to them. */
#define PL__N_MODE_BEGUN 0
#define PL__N_MODE_SUSPENDED 1
#define PL__N_MODE_HELD 2
#define PL__N_MODE_OVER 3

#define PL__N_ENTRY_STEP 0
#define PL__N_ENTRY_TX 1
#define PL__N_ENTRY_TIMER 2
#define PL__N_ENTRY_EVENT 3
#define PL__N_ENTRY_CHILD 4
#define PL__N_ENTRY_SLOT 5
#define PL__N_ENTRY_PATCH 6
#define PL__N_ENTRY_UPDATE 7
#define PL__N_ENTRY_CANCEL 8
#define PL__N_ENTRY_SIGNAL 9
#define PL__N_ENTRY_OPEN 0
#define PL__N_ENTRY_OK 1
#define PL__N_ENTRY_FAILED 2
#define PL__N_ENTRY_CANCELLED 3
#define PL__N_ENTRY_AGAIN 4

#define PL__N_MAIL_SIGNAL 0
#define PL__N_MAIL_UPDATE 1

#define PL__N_REPLY_NONE 0
#define PL__N_REPLY_OK 1
#define PL__N_REPLY_FAILED 2
#define PL__N_REPLY_REFUSED 3

/* Schedules: the states of fires, and why they are. */
#define PL__N_FIRE_BUFFERED 0
#define PL__N_FIRE_STARTED 1
#define PL__N_FIRE_DONE 2
#define PL__N_FIRE_FAILED 3
#define PL__N_FIRE_SKIPPED 4
#define PL__N_FIRE_CANCELLED 5

#define PL__N_REASON_SCHEDULE 0
#define PL__N_REASON_CATCH_UP 1
#define PL__N_REASON_TRIGGER 2
#define PL__N_REASON_BACKFILL 3

#define X(name, number, text) static_assert(PL__N_STAGE_##name == (int)PL_STAGE_##name, "another number");
PL_STAGE_STATES(X)
#undef X
#define X(name, number, text) static_assert(PL__N_KIND_##name == (int)PL_TASK_##name, "another number");
PL_TASK_KINDS(X)
#undef X
#define X(name) static_assert(PL__N_FLAG_##name == (int)PL_STAGE_##name, "another number");
PL__FLAGS_IN_SQL(X)
#undef X
#define X(name, number, text) static_assert(PL__N_MODE_##name == (int)PL_FLOW_##name, "another number");
PL_FLOW_MODES(X)
#undef X
#define X(name, number, text) static_assert(PL__N_ENTRY_##name == (int)PL_ENTRY_##name, "another number");
PL_ENTRY_KINDS(X)
PL_ENTRY_STATES(X)
#undef X
#define X(name, number, text) static_assert(PL__N_REPLY_##name == (int)PL_REPLY_##name, "another number");
PL_REPLIES(X)
#undef X
#define X(name, number, text) static_assert(PL__N_FIRE_##name == (int)PL_FIRE_##name, "another number");
PL_FIRE_STATES(X)
#undef X
#define X(name, number, text) static_assert(PL__N_REASON_##name == (int)PL_REASON_##name, "another number");
PL_FIRE_REASONS(X)
#undef X
static_assert(PL__N_MAIL_SIGNAL == (int)PL_MAIL_SIGNAL && PL__N_MAIL_UPDATE == (int)PL_MAIL_UPDATE, "another number");

/* The last time there is. What never ends has a time later than ENDLESS, and is not moved with the clock. The seconds
 * of pl_queue_started have places of their own, modulo 64. */
#define PL__LAST_TIME 9223372036854775806
#define PL__ENDLESS 9200000000000000000
#define PL__STARTED_MASK 63
static_assert(PL__LAST_TIME == PL_USEC_MAX && PL__ENDLESS < PL_USEC_MAX, "another time");

/* Those that statements name, without parentheses: among long texts these would be laid out badly. */
#define PL__S_ENDLESS PL__TEXT(PL__ENDLESS)
#define PL__S_ENTRY_CANCELLED PL__TEXT(PL__N_ENTRY_CANCELLED)
#define PL__S_ENTRY_CHILD PL__TEXT(PL__N_ENTRY_CHILD)
#define PL__S_FIRE_CANCELLED PL__TEXT(PL__N_FIRE_CANCELLED)
#define PL__S_FIRE_DONE PL__TEXT(PL__N_FIRE_DONE)
#define PL__S_FIRE_SKIPPED PL__TEXT(PL__N_FIRE_SKIPPED)
#define PL__S_FIRE_STARTED PL__TEXT(PL__N_FIRE_STARTED)
#define PL__S_FLAG_ASYNC PL__TEXT(PL__N_FLAG_ASYNC)
#define PL__S_FLAG_DURABLE PL__TEXT(PL__N_FLAG_DURABLE)
#define PL__S_FLAG_FALLBACK_TAKEN PL__TEXT(PL__N_FLAG_FALLBACK_TAKEN)
#define PL__S_FLAG_HAS_FALLBACK PL__TEXT(PL__N_FLAG_HAS_FALLBACK)
#define PL__S_FLAG_HIDDEN PL__TEXT(PL__N_FLAG_HIDDEN)
#define PL__S_FLAG_SCOPE PL__TEXT(PL__N_FLAG_SCOPE)
#define PL__S_FLAG_TRACED PL__TEXT(PL__N_FLAG_TRACED)
#define PL__S_KIND_ABORT PL__TEXT(PL__N_KIND_ABORT)
#define PL__S_KIND_CALLBACK PL__TEXT(PL__N_KIND_CALLBACK)
#define PL__S_KIND_FINALIZE PL__TEXT(PL__N_KIND_FINALIZE)
#define PL__S_KIND_PULL PL__TEXT(PL__N_KIND_PULL)
#define PL__S_KIND_PUSH PL__TEXT(PL__N_KIND_PUSH)
#define PL__S_KIND_RUN PL__TEXT(PL__N_KIND_RUN)
#define PL__S_LAST_TIME PL__TEXT(PL__LAST_TIME)
#define PL__S_MAIL_SIGNAL PL__TEXT(PL__N_MAIL_SIGNAL)
#define PL__S_MAIL_UPDATE PL__TEXT(PL__N_MAIL_UPDATE)
#define PL__S_MODE_BEGUN PL__TEXT(PL__N_MODE_BEGUN)
#define PL__S_MODE_HELD PL__TEXT(PL__N_MODE_HELD)
#define PL__S_MODE_OVER PL__TEXT(PL__N_MODE_OVER)
#define PL__S_MODE_SUSPENDED PL__TEXT(PL__N_MODE_SUSPENDED)
#define PL__S_REASON_BACKFILL PL__TEXT(PL__N_REASON_BACKFILL)
#define PL__S_REASON_CATCH_UP PL__TEXT(PL__N_REASON_CATCH_UP)
#define PL__S_REASON_SCHEDULE PL__TEXT(PL__N_REASON_SCHEDULE)
#define PL__S_REASON_TRIGGER PL__TEXT(PL__N_REASON_TRIGGER)
#define PL__S_REPLY_NONE PL__TEXT(PL__N_REPLY_NONE)
#define PL__S_STAGE_ABORTED PL__TEXT(PL__N_STAGE_ABORTED)
#define PL__S_STAGE_ABORTING PL__TEXT(PL__N_STAGE_ABORTING)
#define PL__S_STAGE_ABORT_HELD PL__TEXT(PL__N_STAGE_ABORT_HELD)
#define PL__S_STAGE_DONE PL__TEXT(PL__N_STAGE_DONE)
#define PL__S_STAGE_FINALIZING PL__TEXT(PL__N_STAGE_FINALIZING)
#define PL__S_STAGE_READY PL__TEXT(PL__N_STAGE_READY)
#define PL__S_STAGE_RUN PL__TEXT(PL__N_STAGE_RUN)
#define PL__S_STAGE_WAITING PL__TEXT(PL__N_STAGE_WAITING)
#define PL__S_STARTED_MASK PL__TEXT(PL__STARTED_MASK)
#define PL__S_TASK_CLAIMED PL__TEXT(PL__N_TASK_CLAIMED)
#define PL__S_TASK_DEAD PL__TEXT(PL__N_TASK_DEAD)
#define PL__S_TASK_DELAYED PL__TEXT(PL__N_TASK_DELAYED)
#define PL__S_TASK_DETAIL PL__TEXT(PL__N_TASK_DETAIL)
#define PL__S_TASK_PULL PL__TEXT(PL__N_TASK_PULL)
#define PL__S_TASK_READY PL__TEXT(PL__N_TASK_READY)
#define PL__S_TASK_RETRY PL__TEXT(PL__N_TASK_RETRY)
#define PL__S_WAIT_DURABLE PL__TEXT(PL__N_WAIT_DURABLE)
#define PL__S_WAIT_INPUT PL__TEXT(PL__N_WAIT_INPUT)
#define PL__S_WAIT_OUTPUT PL__TEXT(PL__N_WAIT_OUTPUT)

/* Of a child: pl__rule_is_waited_for(). -1 is no state. */
#define PL__OR_WAITED_FOR(state) "," PL__STAGE(state)
#define PL__OR_SETTLED(state) ""
#define PL__OR_STATE(state, outcome, fill, retry, abort, resume, waited) PL__OR_##waited(state)
#define PL__IS_UNSETTLED                                                                                               \
    "state IN (-1" PL__STAGE_ANSWERS(PL__OR_STATE) ") AND flags & " PL__FLAG(                                          \
        FALLBACK_TAKEN) " = 0 AND flags & " PL__FLAG(CUT) " <> " PL__FLAG(CUT_LATE)

#endif
