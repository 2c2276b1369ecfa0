/*
 * thread.c - the Lua threads of managed coroutines: made, anchored, closed. See thread.h.
 *
 * A thread is held by the table PL__UV_ANCHORS of its engine, under the number of its record. What a token was woken
 * with before its coroutine suspended, the mailbox, is there under the negative number.
 */
#include "binding/coroutine/thread.h"

#include <lauxlib.h>

#include "binding/trampoline.h"

void pl__thread_anchor(lua_State *L, pl__coroutine_t *rec, int index) {
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, rec->index);
    lua_pop(L, 1);
    rec->co = lua_tothread(L, index);
}

void pl__thread_make(lua_State *L, pl__coroutine_t *rec) {
    if (rec->co)
        return;
    lua_newthread(L);
    pl__thread_anchor(L, rec, lua_gettop(L));
    lua_pop(L, 1);
}

void pl__thread_drop(lua_State *L, pl__coroutine_t *rec) {
    rec->co = NULL;
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_pushnil(L);
    lua_rawseti(L, -2, rec->index);
    lua_pop(L, 1);
}

void pl__thread_clear_mailbox(lua_State *L, pl__coroutine_t *rec) {
    if (!rec->woken)
        return;
    rec->woken = false;
    lua_getiuservalue(L, 1, PL__UV_ANCHORS);
    lua_pushnil(L);
    lua_rawseti(L, -2, -(lua_Integer)rec->index);
    lua_pop(L, 1);
}

/* Closes the variables of co. Returns the status; if it is not LUA_OK the error is on top of co. */
static int thread_close(lua_State *co, lua_State *from) {
#if LUA_VERSION_RELEASE_NUM >= 50406
    return lua_closethread(co, from);
#else
    (void)from;
    return lua_resetthread(co);
#endif
}

int pl__thread_kill_entry(lua_State *L) {
    pl__coroutine_t *rec = lua_touserdata(L, 2);
    lua_State *co = rec->co;
    pl__thread_clear_mailbox(L, rec);
    if (!co)
        return 0;
    int status = lua_status(co);
    bool died = status != LUA_OK && status != LUA_YIELD;
    if (died && lua_gettop(co) > 0 && lua_checkstack(co, 1)) {
        lua_pushvalue(co, -1);
        lua_xmove(co, L, 1);
    } else {
        lua_pushnil(L);
    }
    pl__whose_t outer = *rec->h->whose;
    *rec->h->whose = (pl__whose_t){ rec->h, false };
    status = thread_close(co, L);
    *rec->h->whose = outer;
    if (status != LUA_OK && lua_gettop(co) > 0) {
        lua_xmove(co, L, 1);
        if (!lua_rawequal(L, -1, -2))
            pl__report(L, PL__ERROR_RAISED);
    }
    pl__thread_drop(L, rec);
    return 0;
}
