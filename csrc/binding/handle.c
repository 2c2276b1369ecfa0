/*
 * handle.c - what every method of an engine begins and ends with, and things attached to its loop. See handle.h.
 */
#include "binding/handle.h"

#include <stdio.h>

#include <lauxlib.h>

pl__handle_t *pl__handle_check(lua_State *L, int arg) {
    return luaL_checkudata(L, arg, PL__ENGINE_TYPE);
}

pl_str_t pl__bytes_check(lua_State *L, int arg) {
    pl_str_t bytes;
    luaL_checktype(L, arg, LUA_TSTRING);
    bytes.ptr = lua_tolstring(L, arg, &bytes.len);
    return bytes;
}

int pl__push_failure(lua_State *L, int code, const char *message) {
    lua_pushnil(L);
    lua_pushstring(L, pl_result_name(code));
    lua_pushstring(L, message && message[0] != '\0' ? message : pl_result_text(code));
    return 3;
}

int pl__handle_refuse(lua_State *L, const pl__handle_t *h) {
    if (!h->engine)
        return pl__push_failure(L, PL_ECLOSED, "the engine is closed");
    if (pl_engine_usable(h->engine))
        return 0;
    char text[100];
    snprintf(text, sizeof text, "this engine was opened by process %ld, before a fork; open another one here",
             (long)h->opened_by);
    return pl__push_failure(L, PL_EFORK, text);
}

/* The method is upvalue 1. */
static int call_method(lua_State *L) {
    const pl__method_t *method = lua_touserdata(L, lua_upvalueindex(1));
    pl__handle_t *h = pl__handle_check(L, 1);
    int refused = pl__handle_refuse(L, h);
    return refused ? refused : method->call(L, h);
}

void pl__methods_set(lua_State *L, const pl__method_t *methods) {
    for (; methods->name; methods++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)methods);
        lua_pushcclosure(L, call_method, 1);
        lua_setfield(L, -2, methods->name);
    }
}

void pl__handle_attach(pl__handle_t *h, pl__attached_t *attached) {
    attached->prev = NULL;
    attached->next = h->attached;
    if (h->attached)
        h->attached->prev = attached;
    h->attached = attached;
}

void pl__handle_detach(pl__handle_t *h, pl__attached_t *attached) {
    if (attached->prev)
        attached->prev->next = attached->next;
    else if (h->attached == attached)
        h->attached = attached->next;
    if (attached->next)
        attached->next->prev = attached->prev;
    attached->next = attached->prev = NULL;
}
