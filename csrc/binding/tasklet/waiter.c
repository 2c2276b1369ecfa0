/*
 * waiter.c - coroutines of engines that wait for futures of tasklets. See waiter.h.
 *
 * A waiter is in the list of the future like a task, and like a task it is queued on its loop when that is done, whose
 * entries have the fields `go` and `loop`. Then the coroutine has a turn of its engine.
 *
 * Invariants
 *   1. A waiter is good for one suspension of its record; `is_over` and `life` tell when that has ended.
 *   2. It is a to-be-closed value of its coroutine: whoever closes that takes it out of the list.
 */
#include "binding/tasklet/waiter.h"

#include <string.h>

#include <lauxlib.h>

#include "binding/coroutine/coroutine.h"

#define WAITER_TYPE "pipeline.Waiter"

enum { UV_ENGINE = 1, UV_LOOP, UV_FUTURE, UV_COUNT = UV_FUTURE };

typedef struct {
    pl__handle_t *h; /* memory of the engine userdata, which is user value 1 */
    pl__coroutine_t *rec;
    uint64_t life;     /* of rec */
    lua_Integer place; /* among those who wait */
    bool is_over;      /* the future is done */
} waiter_t;

bool pl__waiter_is_possible(lua_State *L, const pl__handle_t *h) {
    return h && !h->closing && pl__coroutine_can_await(L, h);
}

void pl__waiter_push(lua_State *L, pl__handle_t *h, int on) {
    waiter_t *waiter = lua_newuserdatauv(L, sizeof *waiter, UV_COUNT);
    *waiter = (waiter_t){ .h = h, .rec = h->current, .life = h->current->life };
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, UV_LOOP);
    pl__whose_push(L, h);
    lua_setiuservalue(L, -2, UV_ENGINE);
    lua_pushvalue(L, on);
    lua_setiuservalue(L, -2, UV_FUTURE);
    luaL_setmetatable(L, WAITER_TYPE);
    lua_toclose(L, lua_gettop(L));
}

void pl__waiter_set_place(lua_State *L, int index, lua_Integer place) {
    waiter_t *waiter = lua_touserdata(L, index);
    waiter->place = place;
}

static void go_on(waiter_t *waiter) {
    waiter->is_over = true;
    pl__coroutine_go_on(waiter->rec, &waiter->h->later);
    pl__coroutine_arm(waiter->h);
}

void pl__waiter_end(lua_State *L, int index) {
    go_on(lua_touserdata(L, index));
}

int pl__waiter_suspend(lua_State *L, pl__handle_t *h, lua_KFunction k) {
    if (h->current->state == PL__CO_RUNNING)
        h->current->state = PL__CO_FUTURE;
    return pl__await_yield(L, h->current, k);
}

static int waiter_go(lua_State *L) {
    waiter_t *waiter = luaL_checkudata(L, 1, WAITER_TYPE);
    const pl__handle_t *h = waiter->h;
    bool is_alive = h->engine && !h->closing && pl_engine_usable(h->engine);
    if (is_alive && waiter->rec->life == waiter->life && waiter->rec->state == PL__CO_FUTURE)
        go_on(waiter);
    return 0;
}

static int waiter_index(lua_State *L) {
    (void)luaL_checkudata(L, 1, WAITER_TYPE);
    const char *name = lua_tostring(L, 2);
    if (name && strcmp(name, "go") == 0)
        lua_pushcfunction(L, waiter_go);
    else if (name && strcmp(name, "loop") == 0)
        lua_getiuservalue(L, 1, UV_LOOP);
    else
        lua_pushnil(L);
    return 1;
}

/* Upvalue: leave. */
static int waiter_close(lua_State *L) {
    const waiter_t *waiter = luaL_checkudata(L, 1, WAITER_TYPE);
    if (waiter->is_over)
        return 0;
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_getiuservalue(L, 1, UV_FUTURE);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, waiter->place);
    lua_call(L, 3, 0);
    return 0;
}

void pl__waiter_register(lua_State *L) {
    luaL_newmetatable(L, WAITER_TYPE);
    lua_insert(L, -2);
    lua_pushcclosure(L, waiter_close, 1);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, waiter_index);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
