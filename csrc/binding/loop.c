/*
 * loop.c - the uv loop of a Lua state: found or made, run for a while, lent to luv. See loop.h.
 *
 * What luv is asked, it is asked through the functions it exports for C programs (luv_loop, luv_set_loop), looked up
 * in the very library that is loaded; and only if that library uses the same libuv as we do. Otherwise the two loops
 * stay apart.
 *
 * Nothing of ours calls Lua from inside this loop: callbacks of luv are luv's affair.
 */
#include "binding/loop.h"

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <lauxlib.h>
#include <uv.h>

#include "base/clock.h"

#define LOOP_TYPE "pipeline.Loop"
#define SECONDS_MAX 86400.0 /* of one wait: whoever waits looks again */

struct pl__state_loop {
    uv_loop_t *loop; /* NULL: not open */
    uv_loop_t own;
    uv_timer_t limit; /* bounds a poll */
    bool is_own, has_limit, is_running;
    pid_t pid; /* after a fork the child leaves it alone: what it polls belongs to the parent as well */
};

/* ---- luv --------------------------------------------------------------------------------------------------- */

/* A symbol of the library with handle `library`, as a function pointer stored at `out`. */
static bool find_symbol(void *library, const char *name, void *out) {
    void *symbol = dlsym(library, name);
    memcpy(out, &symbol, sizeof symbol);
    return symbol;
}

static bool is_same_uv(void *library) {
    int (*theirs)(uv_loop_t *, uv_run_mode) = NULL;
    return find_symbol(library, "uv_run", &theirs) && theirs == uv_run;
}

/* The library that function `fn` lies in, to be closed with dlclose; NULL if it is not known. */
static void *library_of(lua_CFunction fn) {
    Dl_info info;
    const void *address;
    memcpy(&address, &fn, sizeof address);
    if (dladdr(address, &info) == 0 || !info.dli_fname)
        return NULL;
    return dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
}

/* Pushes the module luv if it is loaded and returns its loop; else pushes nil and returns NULL. */
static uv_loop_t *luv_loaded(lua_State *L) {
    uv_loop_t *loop = NULL;
    uv_loop_t *(*get_loop)(lua_State *) = NULL;
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "luv") != LUA_TTABLE) {
        lua_pop(L, 2);
        lua_pushnil(L);
        return NULL;
    }
    lua_remove(L, -2);
    lua_getfield(L, -1, "run");
    void *library = lua_iscfunction(L, -1) ? library_of(lua_tocfunction(L, -1)) : NULL;
    lua_pop(L, 1);
    if (!library)
        return NULL;
    if (is_same_uv(library) && find_symbol(library, "luv_loop", &get_loop))
        loop = get_loop(L);
    dlclose(library);
    return loop;
}

/* loop:lend(path) -> whether the luv that lies at `path`, and is about to be opened, will use this loop. */
static int loop_lend(lua_State *L) {
    pl__state_loop_t *self = luaL_checkudata(L, 1, LOOP_TYPE);
    const char *path = luaL_checkstring(L, 2);
    void (*set_loop)(lua_State *, uv_loop_t *) = NULL;
    void *library = self->loop ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    bool lent = library && is_same_uv(library) && find_symbol(library, "luv_set_loop", &set_loop);
    if (lent)
        set_loop(L, self->loop);
    /* Not closed when lent: whoever holds the loop must stay mapped, and is opened next anyway. */
    if (library && !lent)
        dlclose(library);
    lua_pushboolean(L, lent);
    return 1;
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static void close_foreign_cb(uv_handle_t *handle, void *data) {
    (void)data;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* The state is being closed: engines and handles of luv, made after us, are finalized already. */
static int loop_gc(lua_State *L) {
    pl__state_loop_t *self = luaL_checkudata(L, 1, LOOP_TYPE);
    uv_loop_t *loop = self->loop;
    if (!loop || self->is_running || self->pid != getpid()) /* running: os.exit(0, true) from inside it */
        return 0;
    self->loop = NULL;
    if (self->has_limit)
        uv_close((uv_handle_t *)&self->limit, NULL);
    if (!self->is_own) {
        uv_run(loop, UV_RUN_NOWAIT);
        return 0;
    }
    uv_walk(loop, close_foreign_cb, NULL);
    while (uv_loop_close(loop) == UV_EBUSY)
        uv_run(loop, UV_RUN_NOWAIT);
    return 0;
}

/* Whether the loop is that of the parent, before a fork. */
static bool is_inherited(const pl__state_loop_t *self) {
    return self->loop && self->pid != getpid();
}

static void open_loop(lua_State *L, pl__state_loop_t *self, bool may_be_luvs) {
    uv_loop_t *loop = NULL;
    if (may_be_luvs) {
        loop = luv_loaded(L);
        lua_setiuservalue(L, -2, 1); /* luv owns the loop: it must not go away */
    }
    if (!loop) {
        if (uv_loop_init(&self->own) != 0)
            luaL_error(L, "cannot make an event loop");
        self->is_own = true;
        loop = &self->own;
    }
    self->loop = loop;
    self->pid = getpid();
    if (uv_timer_init(loop, &self->limit) == 0)
        self->has_limit = true;
    self->limit.data = self;
}

/* core.loop() -> the loop of this Lua state, made when it is first asked for. After a fork the child has another one,
 * and keeps that of the parent, which is not touched, as long as that: who knows what has handles on it. */
static int core_loop(lua_State *L) {
    static const char KEY = 0;
    lua_settop(L, 0);
    bool is_first = lua_rawgetp(L, LUA_REGISTRYINDEX, &KEY) == LUA_TNIL;
    if (!is_first && !is_inherited(lua_touserdata(L, 1)))
        return 1;
    pl__state_loop_t *self = lua_newuserdatauv(L, sizeof *self, 2);
    memset(self, 0, sizeof *self);
    luaL_setmetatable(L, LOOP_TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 2, 2);
    open_loop(L, self, is_first);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &KEY);
    return 1;
}

uv_loop_t *pl__loop_at(lua_State *L, int arg) {
    if (lua_isnoneornil(L, arg))
        return NULL;
    const pl__state_loop_t *self = luaL_checkudata(L, arg, LOOP_TYPE);
    return self->loop;
}

pl__state_loop_t *pl__loop_check(lua_State *L, int arg) {
    return luaL_checkudata(L, arg, LOOP_TYPE);
}

void pl__loop_end_poll(const pl__state_loop_t *loop) {
    if (loop->is_running && loop->loop)
        uv_stop(loop->loop);
}

/* ---- running ----------------------------------------------------------------------------------------------- */

static pl__state_loop_t *check_open(lua_State *L) {
    pl__state_loop_t *self = luaL_checkudata(L, 1, LOOP_TYPE);
    if (!self->loop)
        luaL_error(L, "the event loop is closed");
    return self;
}

static void limit_cb(uv_timer_t *timer) {
    uv_stop(timer->loop);
}

/* loop:poll(seconds): handles what happens on the loop, waiting for it up to so long (< 0: until something does). */
static int loop_poll(lua_State *L) {
    pl__state_loop_t *self = check_open(L);
    double seconds = luaL_checknumber(L, 2);
    if (self->is_running)
        return luaL_error(L, "the event loop is already running");
    self->is_running = true;
    if (seconds > 0 && self->has_limit) {
        double bounded = seconds < SECONDS_MAX ? seconds : SECONDS_MAX;
        uv_update_time(self->loop);
        uv_timer_start(&self->limit, limit_cb, (uint64_t)pl_clock_ms(bounded), 0);
    }
    uv_run(self->loop, seconds == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    if (self->has_limit)
        uv_timer_stop(&self->limit);
    self->is_running = false;
    return 0;
}

/* loop:stop(): a poll that waits returns. */
static int loop_stop(lua_State *L) {
    uv_stop(check_open(L)->loop);
    return 0;
}

/* loop:alive() -> whether anything could happen on the loop. */
static int loop_alive(lua_State *L) {
    lua_pushboolean(L, uv_loop_alive(check_open(L)->loop));
    return 1;
}

static void count_cb(uv_handle_t *handle, void *data) {
    (void)handle;
    ++*(lua_Integer *)data;
}

/* loop:handles() -> how many handles there are on the loop, whoever they belong to. For specs. */
static int loop_handles(lua_State *L) {
    lua_Integer count = 0;
    uv_walk(check_open(L)->loop, count_cb, &count);
    lua_pushinteger(L, count);
    return 1;
}

/* core.time() -> seconds since the epoch, by the wall clock. */
static int core_time(lua_State *L) {
    pl_clock_t clock;
    pl_clock_init_system(&clock);
    lua_pushnumber(L, (double)pl_clock_now(&clock) / (double)PL_USEC_PER_SEC);
    return 1;
}

/* core.now() -> seconds since the epoch as they were counted since the library was loaded: nobody sets that clock. */
static int core_now(lua_State *L) {
    lua_pushnumber(L, lua_tonumber(L, lua_upvalueindex(1)) + (double)pl_clock_monotonic_us() / (double)PL_USEC_PER_SEC);
    return 1;
}

/* loop:fd(), loop:timeout() -> for a host with a loop of its own; the timeout in seconds, -1: none. fd is nil after a
 * fork: then there is another loop. */
static int loop_fd(lua_State *L) {
    const pl__state_loop_t *self = check_open(L);
    if (is_inherited(self))
        lua_pushnil(L);
    else
        lua_pushinteger(L, uv_backend_fd(self->loop));
    return 1;
}

static int loop_timeout(lua_State *L) {
    uv_loop_t *loop = check_open(L)->loop;
    uv_update_time(loop);
    int milliseconds = uv_loop_alive(loop) ? uv_backend_timeout(loop) : -1;
    lua_pushnumber(L, milliseconds < 0 ? -1.0 : milliseconds / 1000.0);
    return 1;
}

/* core.poll(seconds, fd, ...) -> the places, from 1, of the descriptors that can be read; waits for one up to so long
 * (< 0: for ever). */
static int core_poll(lua_State *L) {
    double seconds = luaL_checknumber(L, 1);
    int n = lua_gettop(L) - 1, found = 0;
    luaL_checkstack(L, n + 1, "too many descriptors");
    struct pollfd *fds = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *fds, 0);
    for (int i = 0; i < n; i++)
        fds[i] = (struct pollfd){ .fd = (int)luaL_checkinteger(L, i + 2), .events = POLLIN };
    (void)poll(fds, (nfds_t)n, seconds < 0 ? -1 : pl_clock_ms(fmin(seconds, SECONDS_MAX)));
    for (int i = 0; i < n; i++) {
        if (fds[i].revents == 0)
            continue;
        lua_pushinteger(L, i + 1);
        found++;
    }
    return found;
}

void pl__loop_register(lua_State *L) {
    static const luaL_Reg METHODS[] = {
        { "lend", loop_lend }, { "poll", loop_poll },       { "stop", loop_stop },       { "alive", loop_alive },
        { "fd", loop_fd },     { "timeout", loop_timeout }, { "handles", loop_handles }, { NULL, NULL },
    };
    if (luaL_newmetatable(L, LOOP_TYPE)) {
        lua_pushcfunction(L, loop_gc);
        lua_setfield(L, -2, "__gc");
        luaL_newlib(L, METHODS);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, core_loop);
    lua_setfield(L, -2, "loop");
    pl_clock_t clock;
    pl_clock_init_system(&clock);
    lua_pushnumber(L, (double)(pl_clock_now(&clock) - pl_clock_monotonic_us()) / (double)PL_USEC_PER_SEC);
    lua_pushcclosure(L, core_now, 1);
    lua_setfield(L, -2, "now");
    lua_pushcfunction(L, core_time);
    lua_setfield(L, -2, "time");
    lua_pushcfunction(L, core_poll);
    lua_setfield(L, -2, "poll");
}
