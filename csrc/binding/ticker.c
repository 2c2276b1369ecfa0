/*
 * ticker.c - the ticker of an engine. See ticker.h.
 *
 * The function is called through the trampoline, never inside a managed coroutine, and only from inside run(). It says
 * itself when it wants to be called next.
 */
#include "binding/ticker.h"

#include <lauxlib.h>

#include "binding/handle.h"
#include "binding/trampoline.h"

/* Stack: handle, handle as light userdata. */
static int tick_entry(lua_State *L) {
    if (lua_getiuservalue(L, 1, PL__UV_TICK) != LUA_TNIL)
        lua_call(L, 0, 0);
    return 0;
}

/* What the function calls is nobody's: its tasklets know whose they are. */
static void enter(pl__handle_t *h) {
    pl__whose_t outer = *h->whose;
    *h->whose = (pl__whose_t){ NULL, false };
    pl__enter(h->L, tick_entry, h);
    *h->whose = outer;
}

static void tick_cb(pl_timer_t *timer) {
    pl__handle_t *h = timer->data;
    if (h->closing)
        return;
    if (!h->L || h->entered) /* it cannot be called now: at the next turn */
        pl_engine_timer_start(h->engine, timer, 0);
    else
        enter(h);
}

void pl__ticker_call(pl__handle_t *h) {
    if (!h->engine || h->closing || !pl_engine_usable(h->engine))
        return;
    h->ticker.fire = tick_cb;
    h->ticker.data = h;
    pl_engine_timer_start(h->engine, &h->ticker, 0);
}

/* Stack: handle, handle as light userdata. */
static int wait_entry(lua_State *L) {
    lua_getiuservalue(L, 1, PL__UV_WAIT);
    lua_call(L, 0, 0);
    return 0;
}

bool pl__ticker_wait(pl__handle_t *h) {
    if (!h->has_wait_hook || !h->L || h->entered || h->closing)
        return false;
    pl__whose_t outer = *h->whose;
    *h->whose = (pl__whose_t){ NULL, false };
    bool waited = pl__enter(h->L, wait_entry, h);
    *h->whose = outer;
    return waited;
}

/* Stack: handle, handle as light userdata. */
static int fire_entry(lua_State *L) {
    if (lua_getiuservalue(L, 1, PL__UV_FIRE) != LUA_TNIL)
        lua_call(L, 0, 0);
    else
        pl_engine_fired(pl__handle_check(L, 1)->engine, INT64_C(60) * PL_USEC_PER_SEC); /* nobody sees to it */
    return 0;
}

void pl__ticker_fire(pl__handle_t *h) {
    pl__whose_t outer = *h->whose;
    bool called = h->L && !h->entered && !h->closing;
    *h->whose = (pl__whose_t){ NULL, false };
    if (called)
        called = pl__enter(h->L, fire_entry, h);
    *h->whose = outer;
    if (!called)
        pl_engine_fired(h->engine, PL_USEC_PER_SEC / 10);
}

/* e:fired(seconds | nil): what the "fire" hook was called for is done; with seconds, it has failed and is to be tried
 * again no sooner. */
static int engine_fired(lua_State *L, pl__handle_t *h) {
    double seconds = luaL_optnumber(L, 2, 0);
    pl_engine_fired(h->engine, pl_clock_from_seconds(seconds));
    return 0;
}

/* e:next_fire() -> when a schedule fires next, in seconds since the epoch; nil: none does. */
static int engine_next_fire(lua_State *L, pl__handle_t *h) {
    pl_usec_t next = pl_engine_next_fire(h->engine);
    if (next == PL_USEC_NEVER)
        lua_pushnil(L);
    else
        lua_pushnumber(L, (lua_Number)next / (lua_Number)PL_USEC_PER_SEC);
    return 1;
}

/* e:schedule_tick(seconds | nil): the "tick" hook is called so much later, once; nil: it is not. */
static int engine_schedule_tick(lua_State *L, pl__handle_t *h) {
    double seconds = luaL_optnumber(L, 2, -1);
    if (h->closing)
        return pl__push_failure(L, PL_ECLOSED, "the engine is closing");
    if (seconds < 0) {
        pl_engine_timer_cancel(h->engine, &h->ticker);
    } else {
        h->ticker.fire = tick_cb;
        h->ticker.data = h;
        pl_engine_timer_start(h->engine, &h->ticker, pl_clock_from_seconds(seconds));
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* e:idle() -> whether nothing is ready or running, anywhere on the file, and no coroutine waits for its turn. */
static int engine_idle(lua_State *L, pl__handle_t *h) {
    lua_pushboolean(L, h->live_count == 0 && pl_engine_idle(h->engine));
    return 1;
}

void pl__ticker_register(lua_State *L) {
    static const pl__method_t METHODS[] = {
        { "schedule_tick", engine_schedule_tick }, { "idle", engine_idle }, { "fired", engine_fired },
        { "next_fire", engine_next_fire },         { NULL, NULL },
    };
    pl__methods_set(L, METHODS);
}
