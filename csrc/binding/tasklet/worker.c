/*
 * worker.c - the Lua threads that suspended functions run in: made, used again, resumed. See worker.h.
 *
 * The main function of a worker is given a function, its arguments and a message handler, and yields
 *
 *   its results, ENDED    or    its error, FAILED    or    whatever it waits for, WAITS    or    what is none of ours
 *
 * and at the end of the function it is ready for the next one. In C, because a frame of Lua for this loop would make
 * the stack of every waiting coroutine twice as large; and protected from inside, so that to-be-closed variables of a
 * function that fails may still wait.
 *
 * Invariants
 *   1. An idle worker has yielded at the end of a function; of that only the handler is on its stack.
 *   2. A worker that somebody else has resumed dies at the end of its function, so that it is never taken for idle.
 */
#include "binding/tasklet/worker.h"

#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#define WORKER_TYPE "pipeline.Worker"

static const char MARKS[PL__WORKER_YIELDED] = { 0 }; /* their addresses are yielded, on top of the values */
static const char WORKERS = 0, IDLE = 0, ORPHANED = 0, CONTEXTS = 0,
                  NOTED = 0; /* their addresses are keys of the registry */

static void push_mark(lua_State *L, pl__worker_state_t state) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)&MARKS[state]);
}

/* ---- the main function ------------------------------------------------------------------------------------- */

static int ended(lua_State *L, int status, lua_KContext context);

static bool is_resumed_by_us(const lua_State *L, lua_KContext context) {
    return ((const pl__workers_t *)context)->running == L;
}

/* Stack: the handler of before, function, arguments, handler. The context is the pl__workers_t. */
static int begin(lua_State *L, int status, lua_KContext context) {
    (void)status;
    if (!is_resumed_by_us(L, context))
        return luaL_error(L, "cannot resume a coroutine that has ended");
    lua_replace(L, 1);
    int nargs = lua_gettop(L) - 2;
    return ended(L, lua_pcallk(L, nargs, LUA_MULTRET, 1, context, ended), context);
}

/* Stack: handler, results or error. */
static int ended(lua_State *L, int status, lua_KContext context) {
    bool is_well = status == LUA_OK || status == LUA_YIELD;
    if (!is_resumed_by_us(L, context))
        return is_well ? luaL_error(L, "it was resumed by somebody else") : lua_error(L);
    luaL_checkstack(L, 1, "too many results");
    push_mark(L, is_well ? PL__WORKER_ENDED : PL__WORKER_FAILED);
    return lua_yieldk(L, lua_gettop(L) - 1, context, begin);
}

static int worker(lua_State *L) {
    lua_pushnil(L);
    lua_insert(L, 1);
    return begin(L, LUA_OK, (lua_KContext)pl__workers_get(L));
}

int pl__worker_wait(lua_State *L, int n, lua_KContext context, lua_KFunction k) {
    push_mark(L, PL__WORKER_WAITS);
    return lua_yieldk(L, n + 1, context, k);
}

/* ---- the pool ---------------------------------------------------------------------------------------------- */

pl__workers_t *pl__workers_get(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &WORKERS) == LUA_TNIL) {
        lua_pop(L, 1);
        pl__workers_t *self = lua_newuserdatauv(L, sizeof *self, 0);
        self->whose = pl__whose_get(L);
        self->running = NULL;
        self->has_contexts = false;
        self->idle = 0;
        lua_newtable(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &IDLE);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &WORKERS);
    }
    pl__workers_t *self = lua_touserdata(L, -1); /* the registry holds it */
    lua_pop(L, 1);
    return self;
}

void pl__workers_push_idle(lua_State *L) {
    (void)pl__workers_get(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &IDLE);
}

static lua_State *push_new(lua_State *L) {
    lua_createtable(L, 1, 0);
    lua_State *co = lua_newthread(L);
    lua_pushcfunction(co, worker);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &NOTED) == LUA_TTABLE) {
        lua_pushvalue(L, -2);
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
    lua_rawseti(L, -2, PL__WORKER_CO);
    luaL_setmetatable(L, WORKER_TYPE);
    return co;
}

lua_State *pl__worker_push(lua_State *L, pl__workers_t *self, int idle) {
    while (self->idle > 0) {
        lua_rawgeti(L, idle, self->idle);
        lua_pushnil(L);
        lua_rawseti(L, idle, self->idle);
        lua_State *co = self->threads[--self->idle];
        if (lua_status(co) == LUA_YIELD)
            return co;
        lua_pop(L, 1); /* somebody who has kept it has closed or resumed it */
    }
    return push_new(L);
}

bool pl__worker_put(lua_State *L, pl__workers_t *self, int idle, int index, lua_State *co) {
    if (self->idle >= PL__WORKERS_MAX || lua_gethook(co) != lua_gethook(L))
        return false;
    lua_pushvalue(L, index);
    lua_rawseti(L, idle, self->idle + 1);
    self->threads[self->idle++] = co;
    return true;
}

/* What waits in the worker was dropped, for nobody else knows what it waits for. Whoever has asked for it is told. */
static int worker_gc(lua_State *L) {
    lua_rawgeti(L, 1, PL__WORKER_CO);
    lua_State *co = lua_tothread(L, -1);
    if (lua_status(co) != LUA_YIELD || lua_rawgetp(L, LUA_REGISTRYINDEX, &ORPHANED) != LUA_TFUNCTION)
        return 0;
    lua_insert(L, -2);
    lua_call(L, 1, 0);
    return 0;
}

/* core.on_orphaned(fn): fn(coroutine) is called when what waits in a worker was dropped. */
static int core_on_orphaned(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &ORPHANED);
    return 0;
}

void pl__worker_end_context(lua_State *L, const pl__workers_t *self, lua_State *co) {
    if (!self->has_contexts || !lua_checkstack(co, 1))
        return;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &CONTEXTS);
    lua_pushthread(co);
    lua_xmove(co, L, 1);
    lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* core.keep_contexts(contexts): there, under their coroutines, are the contexts of what is no tasklet. */
static int core_keep_contexts(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    pl__workers_get(L)->has_contexts = true;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &CONTEXTS);
    return 0;
}

/* core.note_workers(threads): that table gets the thread of each worker that is made, as a key. For specs. */
static int core_note_workers(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &NOTED);
    return 0;
}

/* ---- resuming ---------------------------------------------------------------------------------------------- */

pl__worker_state_t pl__worker_resume(pl__workers_t *self, lua_State *L, lua_State *co, int nargs, pl__whose_t whose,
                                     int *n) {
    lua_State *before = self->running;
    pl__whose_t outer = *self->whose;
    self->running = co;
    *self->whose = whose;
    int status = lua_resume(co, L, nargs, n);
    *self->whose = outer;
    self->running = before;
    if (status != LUA_YIELD) {
        *n = 1;
        return PL__WORKER_DEAD;
    }
    uintptr_t mark = *n > 0 ? (uintptr_t)lua_touserdata(co, -1) : 0;
    if (mark - (uintptr_t)MARKS >= sizeof MARKS)
        return PL__WORKER_YIELDED;
    lua_pop(co, 1);
    --*n;
    return (pl__worker_state_t)(mark - (uintptr_t)MARKS);
}

int pl__worker_close(pl__workers_t *self, lua_State *L, lua_State *co, pl__whose_t whose) {
    pl__whose_t outer = *self->whose;
    *self->whose = whose;
#if LUA_VERSION_RELEASE_NUM >= 50406
    int status = lua_closethread(co, L);
#else
    int status = lua_resetthread(co);
    (void)L;
#endif
    *self->whose = outer;
    return status;
}

/* core.call_unyieldable(fn, ...) -> as pcall, but nothing that is called can wait: a wait in it is an error, and never
 * leaves what calls it half done. */
static int core_call_unyieldable(lua_State *L) {
    luaL_checkany(L, 1);
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    lua_pushboolean(L, status == LUA_OK);
    lua_insert(L, 1);
    return lua_gettop(L);
}

/* ---- places ------------------------------------------------------------------------------------------------ */

#define PLACES_COUNT 256

/* A place known already: its text is in the table, with the same number. */
typedef struct {
    const char *source; /* its address alone; another source may have it later */
    int line;
    char short_src[LUA_IDSIZE];
} place_t;

/* The places are in a userdata at 0 of the table. */
static place_t *find_place(lua_State *L, const lua_Debug *ar, int places, int *number) {
    lua_rawgeti(L, places, 0);
    place_t *all = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!all) {
        all = lua_newuserdatauv(L, PLACES_COUNT * sizeof *all, 0);
        memset(all, 0, PLACES_COUNT * sizeof *all);
        lua_rawseti(L, places, 0);
    }
    uintptr_t hash = ((uintptr_t)ar->source >> 5) + (uintptr_t)ar->currentline;
    *number = (int)(hash % PLACES_COUNT) + 1;
    return &all[*number - 1];
}

void pl__worker_push_place(lua_State *L, const lua_Debug *ar, int places) {
    int number = 0;
    place_t *place = find_place(L, ar, places, &number);
    if (place->source == ar->source && place->line == ar->currentline && strcmp(place->short_src, ar->short_src) == 0) {
        lua_rawgeti(L, places, number);
        return;
    }
    lua_pushfstring(L, "%s:%d", ar->short_src, ar->currentline);
    lua_pushvalue(L, -1);
    lua_rawseti(L, places, number);
    place->source = ar->source;
    place->line = ar->currentline;
    memcpy(place->short_src, ar->short_src, sizeof ar->short_src);
}

bool pl__worker_push_where(lua_State *L, int level, int places) {
    lua_Debug ar;
    if (!lua_getstack(L, level, &ar))
        return false;
    lua_getinfo(L, "Sl", &ar);
    pl__worker_push_place(L, &ar, places);
    return true;
}

/* core.where(level) -> "file:line" of that level of the stack, or nothing. */
static int core_where(lua_State *L) {
    return pl__worker_push_where(L, (int)luaL_checkinteger(L, 1), lua_upvalueindex(1)) ? 1 : 0;
}

void pl__worker_register(lua_State *L) {
    if (luaL_newmetatable(L, WORKER_TYPE)) {
        lua_pushcfunction(L, worker_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, core_on_orphaned);
    lua_setfield(L, -2, "on_orphaned");
    lua_pushcfunction(L, core_keep_contexts);
    lua_setfield(L, -2, "keep_contexts");
    lua_pushcfunction(L, core_note_workers);
    lua_setfield(L, -2, "note_workers");
    lua_pushcfunction(L, core_call_unyieldable);
    lua_setfield(L, -2, "call_unyieldable");
    lua_newtable(L);
    lua_pushcclosure(L, core_where, 1);
    lua_setfield(L, -2, "where");
}
