/*
 * core.c - luaopen_pipeline_core: the module the Lua face is made of.
 *
 * Opening it again, in the same state or in another one of the process, is harmless: metatables that exist are kept
 * and nothing lives in C statics.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/process.h"
#include "base/random.h"
#include "base/sha1.h"
#include "binding/calendar/rule.h"
#include "binding/calendar/zone.h"
#include "binding/coroutine/claim.h"
#include "binding/engine.h"
#include "binding/http/client.h"
#include "binding/http/server.h"
#include "binding/loop.h"
#include "binding/op/child.h"
#include "binding/op/page.h"
#include "binding/place.h"
#include "binding/tasklet/items.h"
#include "binding/tasklet/step.h"
#include "binding/tasklet/tasklet.h"
#include "binding/tasklet/timetable.h"
#include "binding/tasklet/worker.h"
#include "binding/value/codec.h"
#include "binding/whose.h"

enum { RANDOM_BYTES_MAX = 1024 };

PL_API int luaopen_pipeline_core(lua_State *L);

static double retry_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    double value = luaL_optnumber(L, -1, -1);
    lua_pop(L, 1);
    return value;
}

/* core.retry_after(options, failures, age) -> seconds until the next try of a task that has now failed so often, `age`
 * seconds after its first try; nothing: its options allow no other. */
static int core_retry_after(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    int failures = (int)luaL_checkinteger(L, 2);
    pl_usec_t age = pl_clock_from_seconds(luaL_checknumber(L, 3));
    pl_retry_t retry = pl_retry_merge((pl_retry_t){ .limit = retry_field(L, "task_retry_limit"),
                                                    .age_limit = retry_field(L, "task_age_limit"),
                                                    .min_backoff = retry_field(L, "min_backoff_seconds"),
                                                    .max_backoff = retry_field(L, "max_backoff_seconds"),
                                                    .doublings = retry_field(L, "max_doublings"),
                                                    .losses = -1 },
                                      PL_RETRY_NONE);
    if (!pl_retry_may(&retry, failures, age))
        return 0;
    lua_pushnumber(L, (lua_Number)pl_retry_delay(&retry, failures) / 1e6);
    return 1;
}

/* core.backoff(seconds, factor, failures, max) -> seconds before the next attempt; max: 30 days. See base/retry.h. */
static int core_backoff(lua_State *L) {
    lua_pushnumber(L, pl_backoff(luaL_checknumber(L, 1), luaL_checknumber(L, 2), luaL_checknumber(L, 3),
                                 luaL_optnumber(L, 4, PL_BACKOFF_MAX)));
    return 1;
}

/* lua_close unmaps C modules, but a thread of ours may still be on its way out and other states may use us: the
 * library stays mapped until the process ends. */
static void pin_library(void) {
    Dl_info info;
    static const char HERE = 0;
    if (dladdr(&HERE, &info) != 0 && info.dli_fname)
        (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

static void set_constants(lua_State *L) {
    static const struct {
        const char *name;
        int value;
    } CONSTANTS[] = {
        { "ASYNC", PL_STAGE_ASYNC },
        { "HAS_FINALIZED", PL_STAGE_HAS_FINALIZED },
        { "HAS_TRY_CANCEL", PL_STAGE_HAS_TRY_CANCEL },
        { "STRICT", PL_STAGE_STRICT },
        { "TEST", PL_STAGE_TEST },
        { "TASK_RETRY", PL_STAGE_TASK_RETRY },
        { "WAS_RUN", PL_STAGE_WAS_RUN },
        { "HAS_FALLBACK", PL_STAGE_HAS_FALLBACK },
        { "FALLBACK_TAKEN", PL_STAGE_FALLBACK_TAKEN },
        { "DURABLE", PL_STAGE_DURABLE },
        { "SCOPE", PL_STAGE_SCOPE },
        { "TRACED", PL_STAGE_TRACED },
        { "RESUMED", PL_STAGE_RESUMED },
        { "RESUMES", PL_STAGE_RESUMES },
        { "HIDDEN", PL_STAGE_HIDDEN },
        { "SCHEDULED", PL_STAGE_SCHEDULED },
        { "LOG_DEBUG", PL_LOG_DEBUG },
        { "LOG_INFO", PL_LOG_INFO },
        { "LOG_WARNING", PL_LOG_WARNING },
        { "LOG_ERROR", PL_LOG_ERROR },
        { "LOG_CRITICAL", PL_LOG_CRITICAL },
    };
    for (size_t i = 0; i < sizeof CONSTANTS / sizeof CONSTANTS[0]; i++) {
        lua_pushinteger(L, CONSTANTS[i].value);
        lua_setfield(L, -2, CONSTANTS[i].name);
    }
    lua_pushliteral(L, PL_VERSION);
    lua_setfield(L, -2, "version");
}

/* core.sha1(bytes) -> 40 hex digits. */
static int core_sha1(lua_State *L) {
    char hex[PL_SHA1_HEX_LEN + 1];
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len);
    pl_sha1_hex(bytes, len, hex);
    lua_pushlstring(L, hex, PL_SHA1_HEX_LEN);
    return 1;
}

/* core.random(n) -> n random bytes of the system. */
static int core_random(lua_State *L) {
    pl_random_t random;
    luaL_Buffer buffer;
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 0 && n <= RANDOM_BYTES_MAX, 1, "a number of bytes expected");
    char *bytes = luaL_buffinitsize(L, &buffer, (size_t)n);
    pl_random_init_system(&random);
    if (pl_random_bytes(&random, bytes, (size_t)n) != PL_OK)
        return luaL_error(L, "the system's random source failed");
    luaL_pushresultsize(&buffer, (size_t)n);
    return 1;
}

/* core.end_at_interrupt(text): from now on SIGINT ends the process, unless an engine or somebody else listens to it,
 * when `text` has been written to the terminal ("": nothing is, and that stays as it is). nil: it is ignored. */
static int core_end_at_interrupt(lua_State *L) {
    pl__process_end_at_interrupt(luaL_optstring(L, 1, NULL));
    return 0;
}

/* core.is_terminal(fd) -> whether that descriptor is one. */
static int core_is_terminal(lua_State *L) {
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* core.terminal_size() -> columns and lines of the terminal that controls the process; nothing: there is none. */
static int core_terminal_size(lua_State *L) {
    struct winsize size;
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int rc = ioctl(fd, TIOCGWINSZ, &size);
    close(fd);
    if (rc != 0)
        return 0;
    lua_pushinteger(L, size.ws_col);
    lua_pushinteger(L, size.ws_row);
    return 2;
}

static const luaL_Reg FUNCTIONS[] = {
    { "sha1", core_sha1 },
    { "random", core_random },
    { "retry_after", core_retry_after },
    { "backoff", core_backoff },
    { "end_at_interrupt", core_end_at_interrupt },
    { "is_terminal", core_is_terminal },
    { "terminal_size", core_terminal_size },
    { NULL, NULL },
};

int luaopen_pipeline_core(lua_State *L) {
    luaL_checkversion(L);
    pin_library();
    pl__process_fill();
    pl_engine_guard_locks();
    pl__claim_register(L);
    pl__page_register(L);
    pl__server_register(L);
    lua_createtable(L, 0, 32);
    set_constants(L);
    luaL_setfuncs(L, FUNCTIONS, 0);
    lua_pushlightuserdata(L, NULL); /* what modules for JSON call null */
    lua_setfield(L, -2, "null");
    pl__engine_register(L);
    pl__children_register(L);
    pl__codec_register(L);
    pl__loop_register(L);
    pl__client_register(L);
    pl__tasklet_register(L);
    pl__timetable_register(L);
    pl__worker_register(L);
    pl__step_register(L);
    pl__items_register(L);
    pl__whose_register(L);
    pl__place_register(L);
    pl__zone_register(L);
    pl__rule_register(L);
    return 1;
}
