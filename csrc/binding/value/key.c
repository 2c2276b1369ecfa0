/*
 * key.c - keys of tables, and places made of them. See key.h.
 */
#include "binding/value/key.h"

#include <string.h>

#include "binding/value/codec.h"

enum { PLACE_SHOWN = 200, KEY_SHOWN = 40 };

bool pl__sort_key_read(lua_State *L, int index, pl__sort_key_t *key) {
    size_t len;
    lua_Integer i;
    lua_Number n;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        key->ptr = lua_tolstring(L, index, &len);
        key->argument = len;
        key->major = pl__codec_is_utf8(key->ptr, len) ? 3 : 2;
        return true;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            i = lua_tointeger(L, index);
            key->major = i < 0;
            key->argument = i < 0 ? ~(uint64_t)i : (uint64_t)i;
        } else {
            n = lua_tonumber(L, index);
            key->major = 8;
            memcpy(&key->argument, &n, sizeof n);
        }
        return true;
    case LUA_TBOOLEAN:
        key->major = 7;
        key->argument = (uint64_t)lua_toboolean(L, index);
        return true;
    default:
        return false;
    }
}

int pl__sort_key_compare(const void *a, const void *b) {
    const pl__sort_key_t *left = a, *right = b;
    if (left->major != right->major)
        return left->major < right->major ? -1 : 1;
    if (left->argument != right->argument)
        return left->argument < right->argument ? -1 : 1;
    if (left->major != 2 && left->major != 3)
        return 0;
    return memcmp(left->ptr, right->ptr, (size_t)left->argument);
}

/* What there is no room for is left out. */
static void place_prepend(pl__place_t *place, const char *text, size_t len) {
    if (len > (size_t)(place->at - place->text))
        return;
    place->at -= len;
    memcpy(place->at, text, len);
}

static void place_prepend_text(pl__place_t *place, const char *text) {
    place_prepend(place, text, strlen(text));
}

static bool is_identifier(const char *s, size_t len) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return len > 0 && (s[0] < '0' || s[0] > '9') && strspn(s, letters) == len;
}

/* Writes a string key: .name, or ['any other'] with bytes outside of printable ASCII as "?". */
static void place_string(pl__place_t *place, const char *s, size_t len) {
    char shown[KEY_SHOWN];
    size_t count = len < KEY_SHOWN ? len : KEY_SHOWN;
    bool plain = is_identifier(s, len);
    if (!plain)
        place_prepend_text(place, "']");
    if (len > count)
        place_prepend_text(place, "...");
    for (size_t i = 0; i < count; i++)
        shown[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
    place_prepend(place, shown, count);
    place_prepend_text(place, plain ? "." : "['");
}

void pl__place_init(pl__place_t *place) {
    place->at = place->text + sizeof place->text;
}

void pl__place_add(lua_State *L, int index, pl__place_t *place) {
    size_t len;
    if (lua_type(L, index) == LUA_TSTRING) {
        const char *s = lua_tolstring(L, index, &len);
        place_string(place, s, len);
        return;
    }
    place_prepend_text(place, "]");
    if (lua_type(L, index) == LUA_TBOOLEAN) {
        place_prepend_text(place, lua_toboolean(L, index) ? "true" : "false");
    } else {
        lua_pushvalue(L, index);
        const char *s = lua_tolstring(L, -1, &len);
        place_prepend(place, s, len);
    }
    place_prepend_text(place, "[");
}

void pl__place_push(lua_State *L, const pl__place_t *place) {
    const char *end = place->text + sizeof place->text, *at = place->at;
    if (at < end && *at == '.')
        at++;
    size_t len = (size_t)(end - at);
    if (len == 0) {
        lua_pushliteral(L, "");
        return;
    }
    lua_pushliteral(L, ", field \"");
    if (len <= PLACE_SHOWN) {
        lua_pushlstring(L, at, len);
    } else {
        lua_pushlstring(L, at, PLACE_SHOWN / 2);
        lua_pushliteral(L, " ... ");
        lua_pushlstring(L, end - PLACE_SHOWN / 2, PLACE_SHOWN / 2);
        lua_concat(L, 3);
    }
    lua_pushliteral(L, "\"");
    lua_concat(L, 3);
}

void pl__push_weak(lua_State *L, const char *mode) {
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
}
