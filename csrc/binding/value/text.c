/*
 * text.c - what the files of the codec share: which bytes are UTF-8, and the text of an error of user code.
 */
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

#include "binding/value/codec.h"

/* ---- UTF-8 ---- */

/* Returns the length of the sequence at `s` (limit: `end`), or 0 when it is not valid. */
static size_t utf8_sequence(const unsigned char *s, const unsigned char *end) {
    static const struct {
        unsigned char first, last, second_low, second_high, len;
    } forms[] = {
        { 0xC2, 0xDF, 0x80, 0xBF, 2 }, { 0xE0, 0xE0, 0xA0, 0xBF, 3 }, { 0xE1, 0xEC, 0x80, 0xBF, 3 },
        { 0xED, 0xED, 0x80, 0x9F, 3 }, { 0xEE, 0xEF, 0x80, 0xBF, 3 }, { 0xF0, 0xF0, 0x90, 0xBF, 4 },
        { 0xF1, 0xF3, 0x80, 0xBF, 4 }, { 0xF4, 0xF4, 0x80, 0x8F, 4 },
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (*s < forms[i].first || *s > forms[i].last)
            continue;
        size_t len = forms[i].len;
        if ((size_t)(end - s) < len || s[1] < forms[i].second_low || s[1] > forms[i].second_high)
            return 0;
        for (size_t k = 2; k < len; k++) {
            if ((s[k] & 0xC0) != 0x80)
                return 0;
        }
        return len;
    }
    return 0;
}

bool pl__codec_is_utf8(const char *bytes, size_t len) {
    const unsigned char *s = (const unsigned char *)bytes, *end = s + len;
    while (s < end) {
        uint64_t eight;
        while ((size_t)(end - s) >= sizeof eight) {
            memcpy(&eight, s, sizeof eight);
            if (eight & UINT64_C(0x8080808080808080))
                break;
            s += sizeof eight;
        }
        if (s == end)
            break;
        size_t step = *s < 0x80 ? 1 : utf8_sequence(s, end);
        if (step == 0)
            return false;
        s += step;
    }
    return true;
}

/* ---- errors of the user's code ---- */

const char *pl__codec_error_text(lua_State *L) {
    if (lua_type(L, -1) == LUA_TTABLE) {
        lua_pushliteral(L, "message");
        lua_rawget(L, -2);
        lua_remove(L, -2);
    }
    if (lua_type(L, -1) != LUA_TSTRING) {
        lua_pushfstring(L, "(error value is a %s)", luaL_typename(L, -1));
        lua_remove(L, -2);
    }
    return lua_tostring(L, -1);
}
