/*
 * handle.h - the engine as a Lua object, "pipeline.Engine".
 *
 * A handle is a full userdata with everything the binding keeps for one engine. It is closed first: the metatable is
 * set while `engine` is still NULL, and close(), __gc and __close are one idempotent function.
 *
 * Links to Lua values are user values of the handle, not registry references: an engine that is dropped, hooks that
 * capture it and coroutines that wait on it are collected together, and the finalizer closes what was open.
 *
 * Invariants
 *   1. Lua code runs from the loop only inside run() (or sleep()), on the thread that called it (`L`), whose frame
 *      has the handle at index 1. Every other callback queues and returns.
 *   2. `entered` is true exactly while the trampoline runs Lua code; nothing is resumed then.
 *   3. Nothing here is static and mutable: several engines and several Lua states live in one process.
 */
#ifndef PL_BINDING_HANDLE_H
#define PL_BINDING_HANDLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <lua.h>

#include "binding/tasklet/worker.h"
#include "binding/watch.h"
#include "binding/whose.h"
#include "engine/pipeline.h"

#define PL__ENGINE_TYPE "pipeline.Engine"

/* User values of a handle. The hooks are in the order of their names in engine.c. */
enum {
    PL__UV_TASK = 1,
    PL__UV_LOG,
    PL__UV_ERROR,
    PL__UV_FINAL,
    PL__UV_TICK,
    PL__UV_WAIT,
    PL__UV_FIRE,
    PL__UV_LATE,
    PL__UV_EVENT,
    PL__UV_ANCHORS, /* table: index of a record -> its worker, or what waits for it (tasklet/tasklet.c); -index ->
                     * values of an early wake */
    PL__UV_IDLE,    /* the idle workers of the Lua state: see tasklet/worker.h */
    PL__UV_LINKS,   /* table: light userdata -> whatever attached things keep */
    PL__UV_COUNT = PL__UV_LINKS
};

typedef struct pl__coroutine pl__coroutine_t;
typedef struct pl__sink pl__sink_t;

/* A thing with handles on the engine's loop (a server). Closed before the engine is, without calling Lua. */
typedef struct pl__attached {
    struct pl__attached *next, *prev;
    void (*close)(struct pl__attached *attached); /* must detach it */
} pl__attached_t;

/* A watched stage that became final, waiting for its turn. */
typedef struct pl__final {
    struct pl__final *next;
    pl_id_t stage;
    pl_stage_state_t state;
    bool has_record; /* the engine has it: for as long as it tells of it */
    bool is_told;
} pl__final_t;

typedef struct {
    pl__coroutine_t *head, *tail;
} pl__queue_t;

typedef struct pl__handle {
    pl_engine_t *engine; /* NULL: closed */
    pid_t opened_by;
    pl__sink_t *sink;         /* what host callbacks get: outlives the userdata when the process ends inside run() */
    lua_State *L;             /* the thread inside run(), NULL outside */
    pl__whose_t *whose;       /* of the Lua state */
    pl__workers_t *workers;   /* of the Lua state */
    struct pl__handle *outer; /* inside run(): the one whose run this is in, as one that gives it a turn; or NULL */
    bool entered, pumping, closing, is_virtual, has_task_hook, has_wait_hook;
    uint64_t sessions;        /* made so far: the number of the last one */
    bool stopped;             /* stop() was called since it was last cleared */
    pl__coroutine_t *current; /* being resumed */
    pl__coroutine_t *live;    /* all that have something to do */
    pl__coroutine_t *free;    /* records that can be used again */
    int records, live_count;
    int given_back;     /* claims of attempts that were cancelled, in this run */
    pl__queue_t ready;  /* to be resumed in this turn of the loop */
    pl__queue_t later;  /* to be resumed in the next turn */
    pl__queue_t parked; /* tasks that came before there was a "task" hook */
    pl__final_t *finals, *finals_last;
    struct pl_event *events, *events_last; /* that the hook is to hear of */
    struct pl_event *event_told;           /* the one that it hears of now */
    bool tells_all, tells_names;           /* it hears of all ends of attempts; of names that were not given */
    struct pl__spans *spans;               /* see telemetry/span.h; NULL: none are made */
    pl_timer_t turn;                       /* brings the next turn */
    pl_timer_t ticker;                     /* calls the "tick" hook */
    pl__attached_t *attached;
    struct pl__client *client; /* of e:fetch, in PL__UV_LINKS; NULL: none yet. See client.h */
    pl__watch_t watch;
} pl__handle_t;

/* Returns the handle at `arg`; raises if it is none. */
pl__handle_t *pl__handle_check(lua_State *L, int arg);
/* The string at `arg`, borrowed from it; raises for anything else, numbers too: making strings of them may run a
 * finalizer, and that may close the engine. */
pl_str_t pl__bytes_check(lua_State *L, int arg);
/* 0 when the engine can be used; else pushes nil, "ECLOSED" or "EFORK", message and returns 3. */
int pl__handle_refuse(lua_State *L, const pl__handle_t *h);

/* A method that is only called for an engine that can be used. What runs finalizers, as making a Lua object does, may
 * close the engine under it: it comes after the last use of it, or it asks pl__handle_refuse again. */
typedef struct {
    const char *name;
    int (*call)(lua_State *L, pl__handle_t *h); /* h: at index 1 */
} pl__method_t;

/* Sets these methods, up to one without a name, in the table at the top of the stack. For an engine that cannot be used
 * they return what pl__handle_refuse pushes. `methods` is static. */
void pl__methods_set(lua_State *L, const pl__method_t *methods);

/* Pushes nil, name of code, message (NULL or "": the standard text) and returns 3. */
int pl__push_failure(lua_State *L, int code, const char *message);

void pl__handle_attach(pl__handle_t *h, pl__attached_t *attached);
void pl__handle_detach(pl__handle_t *h, pl__attached_t *attached); /* idempotent */

#endif
