/*
 * codec.c - names for functions and classes, the settings of the codec, and its registration.
 *
 * A function or class is stored by the name of a loaded module and a path in it. Where several names lead to the
 * same value the choice does not depend on the order of hash tables: the shorter path wins, then the better module
 * (standard library, then configured prefixes, then others, the globals last), then the smaller module name, then
 * the smaller path. What was found is remembered under weak keys and checked again at every use.
 *
 * A path that has a dot may be one field name or two: resolving tries the whole first, and finding refuses a pair
 * that this rule would not lead back.
 */
#include "binding/codec.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <string.h>

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
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
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
        while ((size_t)(end - s) >= sizeof(eight)) {
            memcpy(&eight, s, sizeof(eight));
            if (eight & UINT64_C(0x8080808080808080))
                break;
            s += sizeof(eight);
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

/* ---- which modules may be required ---- */

/* Whether a name has only letters, digits, "_", "-" and "." (so that no searcher can be led out of its tree). */
static bool is_module_name(const char *name, size_t len) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    return len > 0 && strspn(name, allowed) == len;
}

static bool has_prefix(const char *name, size_t len, const char *prefix, size_t prefix_len) {
    if (prefix_len > len || memcmp(name, prefix, prefix_len) != 0)
        return false;
    return prefix_len == len || name[prefix_len] == '.' || prefix[prefix_len - 1] == '.';
}

/* Whether decoding may `require` the module. */
static bool is_permitted(lua_State *L, const char *name, size_t len) {
    bool found = false;
    if (!is_module_name(name, len))
        return false;
    if (lua_rawgeti(L, PL__CODEC_STATE, PL__CODEC_PREFIXES) == LUA_TTABLE) {
        lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
        for (lua_Integer i = 1; i <= count && !found; i++) {
            size_t prefix_len;
            lua_rawgeti(L, -1, i);
            const char *prefix = lua_tolstring(L, -1, &prefix_len);
            found = has_prefix(name, len, prefix, prefix_len);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return found;
}

/* ---- from value to name ---- */

typedef struct {
    int target; /* stack index of the value looked for */
    int found;  /* stack index of the best module so far (nil: none); its path is behind it */
    int rank;   /* of that module */
    int depth;  /* how many fields the path has: 0, 1 or 2 */
} search_t;

static int module_rank(lua_State *L, int module) {
    static const char *const standard[] = { LUA_COLIBNAME,   LUA_TABLIBNAME, LUA_IOLIBNAME,
                                            LUA_OSLIBNAME,   LUA_STRLIBNAME, LUA_UTF8LIBNAME,
                                            LUA_MATHLIBNAME, LUA_DBLIBNAME,  LUA_LOADLIBNAME };
    size_t len;
    const char *name = lua_tolstring(L, module, &len);
    for (size_t i = 0; i < sizeof(standard) / sizeof(*standard); i++) {
        if (strcmp(name, standard[i]) == 0)
            return 0;
    }
    if (strcmp(name, LUA_GNAME) == 0)
        return 3;
    return is_permitted(L, name, len) ? 1 : 2;
}

static int compare_strings(lua_State *L, int a, int b) {
    size_t a_len, b_len;
    const char *a_ptr = lua_tolstring(L, a, &a_len), *b_ptr = lua_tolstring(L, b, &b_len);
    int order = memcmp(a_ptr, b_ptr, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* Takes the path on top of the stack; keeps it with the module at `module` when that is better than what is there. */
static void consider(lua_State *L, search_t *search, int module) {
    int path = lua_gettop(L), rank = module_rank(L, module);
    bool better = lua_isnil(L, search->found) || rank < search->rank;
    if (!better && rank == search->rank) {
        int order = compare_strings(L, module, search->found);
        better = order < 0 || (order == 0 && compare_strings(L, path, search->found + 1) < 0);
    }
    if (better) {
        search->rank = rank;
        lua_copy(L, module, search->found);
        lua_copy(L, path, search->found + 1);
    }
    lua_pop(L, 1);
}

/* Looks at the fields of the table at `field`, which is the field named at index `field - 1` of the module's table. */
static void search_nested(lua_State *L, search_t *search, int module, int field) {
    lua_pushnil(L);
    while (lua_next(L, field)) {
        bool is_match = lua_type(L, -2) == LUA_TSTRING && lua_rawequal(L, -1, search->target);
        lua_pop(L, 1);
        if (!is_match)
            continue;
        lua_pushfstring(L, "%s.", lua_tostring(L, field - 1));
        lua_pushvalue(L, -2);
        lua_concat(L, 2);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, module + 1) == LUA_TNIL) {
            lua_pop(L, 1);
            consider(L, search, module);
        } else {
            lua_pop(L, 2);
        }
    }
}

/* Looks at the fields of the module whose name is at `module` and whose table is behind it. */
static void search_fields(lua_State *L, search_t *search, int module) {
    lua_pushnil(L);
    while (lua_next(L, module + 1)) {
        int value = lua_gettop(L);
        size_t len;
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : NULL;
        if (name != NULL && len > 0) {
            if (search->depth == 1 && lua_rawequal(L, value, search->target)) {
                lua_pushvalue(L, -2);
                consider(L, search, module);
            } else if (search->depth == 2 && lua_type(L, value) == LUA_TTABLE && memchr(name, '.', len) == NULL &&
                       strlen(name) == len && !lua_rawequal(L, value, module + 1)) {
                search_nested(L, search, module, value);
            }
        }
        lua_pop(L, 1);
    }
}

/* Searches the module whose name is at `module` and whose value is behind it. */
static void search_module(lua_State *L, search_t *search, int module) {
    if (lua_type(L, module) != LUA_TSTRING)
        return;
    if (search->depth == 0) {
        if (lua_rawequal(L, module + 1, search->target)) {
            lua_pushliteral(L, "");
            consider(L, search, module);
        }
    } else if (lua_type(L, module + 1) == LUA_TTABLE) {
        search_fields(L, search, module);
    }
}

static void search_all(lua_State *L, search_t *search) {
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        search_module(L, search, lua_gettop(L) - 1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void search_one(lua_State *L, search_t *search, int module) {
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, module);
    lua_pushvalue(L, module);
    lua_rawget(L, -3);
    search_module(L, search, lua_gettop(L) - 1);
    lua_pop(L, 3);
}

/* Pushes what rawget gives along the path in the table or other value at `root`; nil when it leads nowhere. */
static void walk(lua_State *L, int root, int path) {
    size_t len;
    const char *text = lua_tolstring(L, path, &len);
    if (len == 0) {
        lua_pushvalue(L, root);
        return;
    }
    if (lua_type(L, root) != LUA_TTABLE) {
        lua_pushnil(L);
        return;
    }
    lua_pushvalue(L, path);
    const char *dot = memchr(text, '.', len);
    if (lua_rawget(L, root) != LUA_TNIL || dot == NULL)
        return;
    lua_pushlstring(L, text, (size_t)(dot - text));
    if (lua_rawget(L, root) == LUA_TTABLE) {
        lua_pushlstring(L, dot + 1, len - (size_t)(dot + 1 - text));
        lua_rawget(L, -2);
        lua_replace(L, -3);
    }
    lua_pop(L, 1);
}

/* Pushes module and path of a name found earlier, if it still leads to the value at `index`. */
static bool recall(lua_State *L, int index) {
    int top = lua_gettop(L);
    lua_rawgeti(L, PL__CODEC_STATE, PL__CODEC_NAMES);
    lua_pushvalue(L, index);
    if (lua_rawget(L, -2) == LUA_TTABLE) {
        int module = top + 3;
        lua_rawgeti(L, top + 2, 1);
        lua_rawgeti(L, top + 2, 2);
        lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
        lua_pushvalue(L, module);
        lua_rawget(L, -2);
        walk(L, lua_gettop(L), module + 1);
        if (lua_rawequal(L, -1, index)) {
            lua_copy(L, module, top + 1);
            lua_copy(L, module + 1, top + 2);
            lua_settop(L, top + 2);
            return true;
        }
    }
    lua_settop(L, top);
    return false;
}

/* Remembers the name whose module and path are on top of the stack. */
static void remember(lua_State *L, int index) {
    int module = lua_gettop(L) - 1;
    lua_rawgeti(L, PL__CODEC_STATE, PL__CODEC_NAMES);
    lua_pushvalue(L, index);
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, module);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, module + 1);
    lua_rawseti(L, -2, 2);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

bool pl__codec_name_find(lua_State *L, int index, int module) {
    luaL_checkstack(L, 20, "codec");
    if (module == 0 && recall(L, index))
        return true;
    search_t search = { .target = index, .found = lua_gettop(L) + 1 };
    lua_pushnil(L);
    lua_pushnil(L);
    for (search.depth = 0; search.depth <= 2 && lua_isnil(L, search.found); search.depth++) {
        if (module == 0)
            search_all(L, &search);
        else
            search_one(L, &search, module);
    }
    if (lua_isnil(L, search.found)) {
        lua_pop(L, 2);
        return false;
    }
    if (module == 0)
        remember(L, index);
    return true;
}

/* ---- from name to value ---- */

/* Pushes the result of `require`, or nil and the message in its place. */
static bool require_module(lua_State *L, int module) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_pushliteral(L, "require");
    lua_rawget(L, -2);
    lua_remove(L, -2);
    lua_pushvalue(L, module);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}

/* Pushes the module named at `module`; returns NULL, or pushes a message and returns it. */
static const char *push_module(lua_State *L, int module) {
    size_t len;
    const char *name = lua_tolstring(L, module, &len);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, module);
    int type = lua_rawget(L, -2);
    lua_remove(L, -2);
    if (type != LUA_TNIL)
        return NULL;
    lua_pop(L, 1);
    if (!is_permitted(L, name, len)) {
        return lua_pushfstring(L, "module \"%s\" is not loaded and not under the prefixes that may be required", name);
    }
    if (!require_module(L, module)) {
        const char *text = pl__codec_error_text(L);
        return lua_pushfstring(L, "module \"%s\" cannot be loaded: %s", name, text);
    }
    return NULL;
}

/* Asks the lookup hook for a name that leads nowhere. Pushes its answer and returns true, or pushes nothing. */
static bool ask_lookup(lua_State *L, int module, int path, const char *kind) {
    if (lua_rawgeti(L, PL__CODEC_STATE, PL__CODEC_LOOKUP) == LUA_TFUNCTION) {
        lua_pushvalue(L, module);
        lua_pushvalue(L, path);
        lua_pushstring(L, kind);
        if (lua_pcall(L, 3, 1, 0) == LUA_OK && !lua_isnil(L, -1))
            return true;
    }
    lua_pop(L, 1);
    return false;
}

const char *pl__codec_name_resolve(lua_State *L, int module, int path, const char *kind) {
    luaL_checkstack(L, 12, "codec");
    int top = lua_gettop(L);
    const char *message = push_module(L, module);
    if (message == NULL) {
        walk(L, top + 1, path);
        if (!lua_isnil(L, -1)) {
            lua_replace(L, top + 1);
            lua_settop(L, top + 1);
            return NULL;
        }
        message =
            lua_pushfstring(L, "module \"%s\" has no field \"%s\"", lua_tostring(L, module), lua_tostring(L, path));
    }
    bool is_answered = ask_lookup(L, module, path, kind);
    lua_copy(L, -1, top + 1); /* the answer, or the message */
    lua_settop(L, top + 1);
    return is_answered ? NULL : message;
}

/* ---- settings ---- */

static void set_hook(lua_State *L, const char *name, int key) {
    int type = lua_getfield(L, 1, name);
    luaL_argcheck(L, type == LUA_TNIL || type == LUA_TFUNCTION, 1, "hooks are functions");
    lua_rawseti(L, PL__CODEC_STATE, key);
}

/* set_hooks{ slot_of = function(table) -> id, lookup = function(module, path, kind) -> value }: absent ones are off. */
static int set_hooks(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    set_hook(L, "slot_of", PL__CODEC_SLOT_OF);
    set_hook(L, "lookup", PL__CODEC_LOOKUP);
    return 0;
}

/* set_module_prefixes(list): "app" permits app, app.mail and so on; "app." only what is below app. */
static int set_module_prefixes(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
    lua_newtable(L);
    for (lua_Integer i = 1; i <= count; i++) {
        luaL_argcheck(L, lua_rawgeti(L, 1, i) == LUA_TSTRING && lua_rawlen(L, -1) > 0, 1,
                      "module prefixes are non-empty strings");
        lua_rawseti(L, 2, i);
    }
    lua_rawseti(L, PL__CODEC_STATE, PL__CODEC_PREFIXES);
    return 0;
}

static void push_state(lua_State *L) {
    lua_createtable(L, PL__CODEC_NAMES, 0);
    lua_newtable(L); /* the names */
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawseti(L, -2, PL__CODEC_NAMES);
}

void pl__codec_register(lua_State *L) {
    static const luaL_Reg functions[] = {
        { "encode", pl__codec_encode },
        { "encode_value", pl__codec_encode_value },
        { "decode", pl__codec_decode },
        { "decode_list", pl__codec_decode_list },
        { "set_hooks", set_hooks },
        { "set_module_prefixes", set_module_prefixes },
        { NULL, NULL },
    };
    push_state(L);
    luaL_setfuncs(L, functions, 1);
}
