/*
 * engine.c - the engine of a Lua program: opened, run and closed; its hooks and methods.
 */
#include "binding/engine.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "binding/batch.h"
#include "binding/coroutine/coroutine.h"
#include "binding/coroutine/sleep.h"
#include "binding/coroutine/task.h"
#include "binding/coroutine/token.h"
#include "binding/durable/durable.h"
#include "binding/facts.h"
#include "binding/http/fetch.h"
#include "binding/http/server.h"
#include "binding/loop.h"
#include "binding/op/session.h"
#include "binding/op/verbs.h"
#include "binding/run.h"
#include "binding/tasklet/tasklet.h"
#include "binding/telemetry/event.h"
#include "binding/telemetry/meter.h"
#include "binding/telemetry/sink.h"
#include "binding/ticker.h"

/* ---- host callbacks -------------------------------------------------------------------------------------------- */

static void execute_cb(void *data, pl_claim_t *claim) {
    const pl__sink_t *sink = data;
    pl__task_execute(sink->h, claim);
}

static void op_done_cb(void *data, pl_op_t *op) {
    const pl__sink_t *sink = data;
    pl__coroutine_op_done(sink->h, op);
}

static void final_cb(void *data, pl_id_t stage, pl_stage_state_t state) {
    const pl__sink_t *sink = data;
    pl__coroutine_final(sink->h, stage, state);
}

/* Inside a signal handler. */
static void interrupted_cb(void *data) {
    const pl__sink_t *sink = data;
    if (sink->h)
        pl__watch_interrupted(sink->h);
}

static void aborted_cb(void *data, pl_id_t stage) {
    const pl__sink_t *sink = data;
    pl__coroutine_final(sink->h, stage, PL_STAGE_ABORTING);
}

static void news_cb(void *data, pl_id_t stage) {
    const pl__sink_t *sink = data;
    pl__coroutine_final(sink->h, stage, PL_STAGE_READY);
}

static void log_cb(void *data, int level, const char *text) {
    pl__sink_add(data, level, text);
}

static bool wait_cb(void *data) {
    const pl__sink_t *sink = data;
    return sink->h && pl__ticker_wait(sink->h);
}

static void fire_cb(void *data) {
    const pl__sink_t *sink = data;
    pl__ticker_fire(sink->h);
}

static void event_cb(void *data, pl_event_t *event) {
    const pl__sink_t *sink = data;
    if (!sink->h)
        return;
    pl__event_add(sink->h, event);
    if (event->more)
        return;
    pl__pump(sink->h);
    pl__event_keep(sink->h);
}

static void turn_cb(void *data) {
    const pl__sink_t *sink = data;
    pl__pump(sink->h); /* lines of log */
}

/* ---- closing --------------------------------------------------------------------------------------------------- */

/* In the child of a fork: the threads and the file belong to the parent, so nothing is told to anybody. */
static void forget(pl__handle_t *h) {
    h->watch.has_thread = false; /* it is the parent's */
    pl_engine_close(h->engine);
    h->engine = NULL;
    h->attached = NULL;
    pl__coroutine_free_all(h);
    pl__sink_free(h->sink);
    h->sink = NULL;
}

/* Coroutines end first, while the engine still works for their to-be-closed variables; then what they held. */
static void close_engine(lua_State *L, pl__handle_t *h) {
    h->closing = true;
    pl__coroutine_close_all(L, h);
    while (h->attached)
        h->attached->close(h->attached);
    pl__coroutine_close_all(L, h);
    pl__watch_close(h);
    pl_engine_close(h->engine);
    h->engine = NULL; /* the last lines of log are told by Lua code, which may ask it for the time */
    pl__log_drain(L, h);
    pl__coroutine_free_all(h);
    pl__sink_free(h->sink);
    h->sink = NULL;
}

/* e:close() -> true, or nil, "ESTATE", message from inside the loop. Also __close. */
static int engine_close(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    lua_settop(L, 1);
    if (h->engine && !h->closing) {
        if (!pl_engine_usable(h->engine))
            forget(h);
        else if (h->L || h->entered)
            return pl__push_failure(L, PL_ESTATE, "an engine cannot be closed from inside its own loop; stop it");
        else
            close_engine(L, h);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int engine_gc(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    if (!h->L && !h->entered)
        return engine_close(L);
    /* The Lua state is being closed from inside the loop, as os.exit(0, true) does: the loop is below us on the C
     * stack and will not be entered again. What the store thread uses stays until the process ends. */
    pl__watch_close(h);
    if (h->sink)
        h->sink->h = NULL;
    h->engine = NULL;
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* Pushes options[name]; returns whether it is there. Raises if it is of another type. */
static bool option(lua_State *L, const char *name, int type) {
    int actual = lua_getfield(L, 2, name);
    if (actual != LUA_TNIL && actual != type)
        luaL_argerror(
            L, 2, lua_pushfstring(L, "%s: %s expected, got %s", name, lua_typename(L, type), lua_typename(L, actual)));
    return actual != LUA_TNIL;
}

static double option_seconds(lua_State *L, const char *name, double otherwise) {
    double value = otherwise;
    if (option(L, name, LUA_TNUMBER)) {
        value = lua_tonumber(L, -1);
        if (!isfinite(value) || value < 0)
            luaL_argerror(L, 2, lua_pushfstring(L, "%s: not a duration", name));
    }
    lua_pop(L, 1);
    return value;
}

/* Below 0: for ever. */
static pl_usec_t option_age(lua_State *L, const char *name, pl_usec_t otherwise) {
    pl_usec_t value = otherwise;
    if (option(L, name, LUA_TNUMBER))
        value = lua_tonumber(L, -1) < 0 ? -1 : pl_clock_from_seconds(lua_tonumber(L, -1));
    lua_pop(L, 1);
    return value;
}

static bool option_flag(lua_State *L, const char *name) {
    bool value = option(L, name, LUA_TBOOLEAN) && lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static lua_Integer option_integer(lua_State *L, const char *name, lua_Integer otherwise, lua_Integer min,
                                  lua_Integer max) {
    lua_Integer value = otherwise;
    if (option(L, name, LUA_TNUMBER)) {
        int is_integer;
        value = lua_tointegerx(L, -1, &is_integer);
        if (!is_integer || value < min || value > max)
            luaL_argerror(
                L, 2,
                lua_pushfstring(L, "%s: integer from %I to %I expected", name, (LUAI_UACINT)min, (LUAI_UACINT)max));
    }
    lua_pop(L, 1);
    return value;
}

/* The strings stay on the stack. */
static void read_options(lua_State *L, pl_engine_options_t *options) {
    if (option(L, "durability", LUA_TSTRING)) {
        const char *text = lua_tostring(L, -1);
        options->durability_full = strcmp(text, "full") == 0;
        if (!options->durability_full && strcmp(text, "normal") != 0)
            luaL_argerror(L, 2, "durability: \"full\" or \"normal\" expected");
    }
    if (option(L, "vfs", LUA_TSTRING))
        options->vfs = lua_tostring(L, -1);
    if (option(L, "serve_queues", LUA_TSTRING))
        options->serve_queues = lua_tostring(L, -1);
    options->file_mode = (int)option_integer(L, "file_mode", 0, 0, 0777);
    options->concurrency = (int)option_integer(L, "concurrency", options->concurrency, 1, 1000000);
    options->waiting_memory = (size_t)option_integer(L, "waiting_memory", 0, 1, LUA_MAXINTEGER);
    options->seed = (uint64_t)option_integer(L, "seed", 0, LUA_MININTEGER, LUA_MAXINTEGER);
    options->lease_seconds = option_seconds(L, "lease_seconds", options->lease_seconds);
    options->tombstone_seconds = option_seconds(L, "tombstone_seconds", options->tombstone_seconds);
    options->retention.done = option_age(L, "keep_done", options->retention.done);
    options->retention.aborted = option_age(L, "keep_aborted", options->retention.aborted);
    options->retention.dead = option_age(L, "keep_dead", options->retention.dead);
    options->retention.journals_done = option_age(L, "keep_journals_done", options->retention.journals_done);
    options->retention.journals_aborted = option_age(L, "keep_journals_aborted", options->retention.journals_aborted);
    options->retention.max_bytes = option_integer(L, "max_bytes", 0, 1, LUA_MAXINTEGER);
    options->sweeps = !option_flag(L, "no_sweep");
    options->storage_limit = option_integer(L, "storage_limit", 0, 1, LUA_MAXINTEGER);
    options->stop_grace = option_seconds(L, "stop_grace", options->stop_grace);
    options->virtual_start = option_seconds(L, "virtual_start", options->virtual_start);
    options->virtual_time = option_flag(L, "virtual_time");
    options->no_worker = option_flag(L, "no_worker");
    options->must_exist = option_flag(L, "must_exist");
    lua_getfield(L, 2, "loop"); /* held by the registry */
    options->loop = pl__loop_at(L, -1);
}

/* Pushes a closed handle: everything that may raise is done before the engine is opened. */
static pl__handle_t *handle_new(lua_State *L) {
    pl__handle_t *h = lua_newuserdatauv(L, sizeof *h, PL__UV_COUNT);
    memset(h, 0, sizeof *h);
    luaL_setmetatable(L, PL__ENGINE_TYPE);
    h->whose = pl__whose_get(L);
    h->workers = pl__workers_get(L);
    pl__whose_add(L, h);
    lua_newtable(L);
    lua_setiuservalue(L, -2, PL__UV_ANCHORS);
    pl__workers_push_idle(L);
    lua_setiuservalue(L, -2, PL__UV_IDLE);
    lua_newtable(L);
    lua_setiuservalue(L, -2, PL__UV_LINKS);
    return h;
}

/* core.open(path, {durability=, concurrency=, waiting_memory=, lease_seconds=, tombstone_seconds=, storage_limit=,
 * keep_done=, keep_aborted=, keep_dead= (seconds; below 0: for ever), max_bytes=, no_sweep=, vfs=, serve_queues=,
 * virtual_time=, virtual_start=, seed=, no_worker=, loop=}) -> engine, or nil, code, message. */
static int core_open(lua_State *L) {
    size_t len;
    pl_engine_options_t options;
    pl_engine_options_init(&options);
    options.path = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, strlen(options.path) == len, 1, "a path without zero bytes expected");
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_newtable(L);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    read_options(L, &options);
    pl__handle_t *h = handle_new(L);
    pl__sink_t *sink = pl__sink_new(h);
    if (!sink)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    options.host = (pl_host_t){
        .execute = execute_cb,
        .op_done = op_done_cb,
        .final = final_cb,
        .aborted = aborted_cb,
        .news = news_cb,
        .interrupted = interrupted_cb,
        .log = log_cb,
        .turn = turn_cb,
        .wait = wait_cb,
        .fire = fire_cb,
        .event = event_cb,
        .data = sink,
    };
    pl_error_t error = { 0 };
    int rc = pl_engine_open(&h->engine, &options, &error);
    if (rc != PL_OK) {
        h->engine = NULL;
        pl__sink_free(sink);
        return pl__push_failure(L, rc, error.message);
    }
    h->sink = sink;
    h->is_virtual = options.virtual_time;
    h->opened_by = getpid();
    return 1;
}

/* ---- methods --------------------------------------------------------------------------------------------------- */

/* e:on(event, fn | nil): "task" fn(claim), "log" fn(level, text), "error" fn(err), "final" fn(stage_id, state),
 * "tick" fn(), called when e:schedule_tick() says, "wait" fn(), which waits for this loop and for others, "fire" fn():
 * schedules are due, and e:fired() is to follow, "late" fn(claim, coroutine): a call waits longer than it may take,
 * "event" fn(EVENT...): something has happened of what e:tell() says. See pl_host_t, task.c, telemetry/event.c. */
static int engine_on(lua_State *L, pl__handle_t *h) {
    static const char *const EVENTS[] = {
        "task", "log", "error", "final", "tick", "wait", "fire", "late", "event", NULL
    };
    int uv = PL__UV_TASK + luaL_checkoption(L, 2, NULL, EVENTS);
    if (!lua_isnoneornil(L, 3))
        luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    if (uv == PL__UV_WAIT)
        h->has_wait_hook = !lua_isnil(L, 3);
    lua_setiuservalue(L, 1, uv);
    if (uv == PL__UV_TASK) {
        h->has_task_hook = lua_getiuservalue(L, 1, uv) != LUA_TNIL;
        if (h->has_task_hook)
            pl__coroutine_unpark(h);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* e:run(mode, timeout | nil, signals | nil) -> true, or nil, code, message. */
static int engine_run(lua_State *L, pl__handle_t *h) {
    static const char *const MODES[] = { "forever", "ready", "all", "once", "next", "settle", NULL };
    pl_run_mode_t mode = (pl_run_mode_t)luaL_checkoption(L, 2, "forever", MODES);
    bool signals = lua_toboolean(L, 4);
    double timeout = luaL_optnumber(L, 3, -1);
    luaL_argcheck(L, timeout == timeout, 3, "not a number of seconds");
    if (h->L || h->entered || h->closing)
        return pl__push_failure(L, PL_ESTATE, "the loop is already running: an engine cannot run inside itself");
    int rc = pl__run(L, h, mode, timeout, signals);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

/* e:stop(): ends run() when the coroutines that are ready have had their turn. */
static int engine_stop(lua_State *L, pl__handle_t *h) {
    h->stopped = true;
    pl_engine_stop(h->engine);
    lua_pushboolean(L, 1);
    return 1;
}

/* e:leave(): what run() was called for has come: it returns after this turn, before time passes. */
static int engine_leave(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    if (h->engine)
        pl_engine_leave(h->engine);
    return 0;
}

/* e:listen(flag): SIGINT ends this run and those that follow, until e:listen(false). */
static int engine_listen(lua_State *L, pl__handle_t *h) {
    pl_engine_listen(h->engine, lua_toboolean(L, 2));
    lua_pushboolean(L, 1);
    return 1;
}

/* e:release_prefetched(): after run "next" or "once", when no more will follow for now: gives back what was claimed
 * ahead. */
static int engine_release_prefetched(lua_State *L, pl__handle_t *h) {
    pl_engine_release_prefetched(h->engine);
    lua_pushboolean(L, 1);
    return 1;
}

/* e:running() -> whether run() is below us. */
static int engine_running(lua_State *L) {
    const pl__handle_t *h = pl__handle_check(L, 1);
    lua_pushboolean(L, h->engine && h->L);
    return 1;
}

static int engine_tostring(lua_State *L) {
    const pl__handle_t *h = pl__handle_check(L, 1);
    lua_pushfstring(L, PL__ENGINE_TYPE " (%s)", !h->engine ? "closed" : h->L ? "running" : "open");
    return 1;
}

static void push_methods(lua_State *L) {
    static const pl__method_t METHODS[] = {
        { "on", engine_on },         { "run", engine_run },
        { "stop", engine_stop },     { "release_prefetched", engine_release_prefetched },
        { "listen", engine_listen }, { NULL, NULL },
    };
    static const luaL_Reg ALWAYS[] = {
        { "close", engine_close },
        { "leave", engine_leave },
        { "running", engine_running },
        { "serve", pl__server_serve },
        { "stream", pl__server_stream },
        { "send", pl__server_send },
        { NULL, NULL },
    };
    luaL_newlib(L, ALWAYS);
    pl__methods_set(L, METHODS);
    pl__coroutine_register(L);
    pl__sleep_register(L);
    pl__token_register(L);
    pl__tasklet_register_methods(L);
    pl__watch_register(L);
    pl__ticker_register(L);
    pl__verbs_register(L);
    pl__durable_register(L);
    pl__session_register(L);
    pl__task_batch_register(L);
    pl__facts_register(L);
    pl__fetch_register(L);
    pl__meter_register(L);
    pl__event_register(L);
}

void pl__engine_register(lua_State *L) {
    static const luaL_Reg META[] = {
        { "__gc", engine_gc },
        { "__close", engine_close },
        { "__tostring", engine_tostring },
        { NULL, NULL },
    };
    if (luaL_newmetatable(L, PL__ENGINE_TYPE)) {
        luaL_setfuncs(L, META, 0);
        push_methods(L);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, core_open);
    lua_setfield(L, -2, "open");
}
