/*
 * names.c - names of functions and classes in stored values, and what they may lead to.
 *
 * A function or class is stored by the name of a loaded module and a path in it: up to four fields. Where several
 * names lead to the same value the choice does not depend on the order of hash tables: the shorter path wins, then the
 * better module (standard library, then configured prefixes, then others, the globals last), then the smaller module
 * name, then the smaller path. What was found is remembered under weak keys and checked again at every use. A path
 * that has a dot may be one field name or two: resolving tries the whole first at each step, and finding refuses what
 * this rule would not lead back.
 *
 * Whoever can write the file can write names into it, so names are fenced in:
 *   1. What is given to `require` has the grammar of a module name and is under a configured prefix (is_permitted is
 *      the one place that says so).
 *   2. No name leads to what reaches out of the program (DANGEROUS: os, io, debug, package, load and their like),
 *      under whatever field it is found, unless the program has registered it.
 *   3. A bound name, one of a stored call, leads only to what is registered, to what is in a module under the
 *      prefixes (not by way of another module that is a field of it), or to a harmless built-in function.
 */
#include "binding/value/codec.h"
#include "binding/value/key.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

enum { FIELDS_MAX = 4, VISITS_MAX = 1000 * 1000 };

static const char REGISTRY[] = "pipeline.support.names"; /* the module in which what is registered is found */

/* ---- what names may lead to ---- */

/* identifier(.identifier)*; an identifier may have dashes inside. No searcher can be led out of its tree by it. */
static bool is_module_name(const char *name, size_t len) {
    bool begins = true;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool is_inner = is_letter || (c >= '0' && c <= '9') || c == '-';
        if (c == '.' ? begins : begins ? !is_letter : !is_inner)
            return false;
        begins = c == '.';
    }
    return !begins;
}

static bool has_prefix(const char *name, size_t len, const char *prefix, size_t prefix_len) {
    if (prefix_len > len || memcmp(name, prefix, prefix_len) != 0)
        return false;
    return prefix_len == len || name[prefix_len] == '.' || prefix[prefix_len - 1] == '.';
}

/* Whether the module is under the configured prefixes, and so may be required. */
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

static bool is_in(lua_State *L, int set, int value) {
    value = lua_absindex(L, value);
    lua_rawgeti(L, PL__CODEC_STATE, set);
    lua_pushvalue(L, value);
    bool found = !lua_isnil(L, value) && lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 2);
    return found;
}

/* Whether it is the metatable of an error of this library: errors travel. */
static bool is_error_class(lua_State *L, int value) {
    value = lua_absindex(L, value);
    if (!lua_istable(L, value))
        return false;
    lua_pushliteral(L, "__pipeline_error");
    bool found = lua_rawget(L, value) != LUA_TNIL;
    lua_pop(L, 1);
    return found;
}

/* Whether the name of a value may be in this module. */
static bool is_acceptable(lua_State *L, int module, int value, bool bound) {
    size_t len;
    const char *name = lua_tolstring(L, module, &len);
    if (strcmp(name, REGISTRY) == 0)
        return true;
    if (is_in(L, PL__CODEC_DANGEROUS, value))
        return false;
    return !bound || is_in(L, PL__CODEC_HARMLESS, value) || is_permitted(L, name, len) || is_error_class(L, value);
}

/* Whether the table at `index` is a module that a bound name may not pass through. */
static bool is_foreign_module(lua_State *L, int index) {
    bool is_foreign = false;
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(L);
    while (!is_foreign && lua_next(L, -2)) {
        size_t len;
        if (lua_rawequal(L, -1, index)) {
            const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : NULL;
            is_foreign = !name || !is_permitted(L, name, len);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, is_foreign ? 2 : 1);
    return is_foreign;
}

/* ---- from name to value, without loading ---- */

/* Pushes what rawget gives along the path in the table or other value at `root`; nil when it leads nowhere. */
static void walk(lua_State *L, int root, int path, bool bound) {
    size_t len;
    const char *rest = lua_tolstring(L, path, &len);
    lua_pushvalue(L, root);
    for (int fields = 0; len > 0; fields++) {
        int table = lua_gettop(L);
        if (fields == FIELDS_MAX || !lua_istable(L, table) || (fields > 0 && bound && is_foreign_module(L, table)))
            break;
        lua_pushlstring(L, rest, len);
        if (lua_rawget(L, table) != LUA_TNIL) {
            lua_replace(L, table);
            return;
        }
        const char *dot = memchr(rest, '.', len);
        if (!dot)
            break;
        lua_pushlstring(L, rest, (size_t)(dot - rest));
        lua_rawget(L, table);
        lua_replace(L, table);
        lua_settop(L, table);
        len -= (size_t)(dot + 1 - rest);
        rest = dot + 1;
        if (len == 0)
            break;
    }
    if (len > 0) {
        lua_settop(L, -2);
        lua_pushnil(L);
    }
}

/* ---- from value to name ---- */

typedef struct {
    int target; /* stack index of the value looked for */
    int found;  /* stack index of the best module so far (nil: none); its path is behind it */
    int rank;   /* of that module */
    bool bound;
    int fields;                 /* how many the path is to have */
    int tables[FIELDS_MAX + 1]; /* stack indices: the module, and those on the way */
    int visits;                 /* fields that were looked at */
} search_t;

static int module_rank(lua_State *L, int module) {
    static const char *const standard[] = { LUA_COLIBNAME,   LUA_TABLIBNAME, LUA_IOLIBNAME,
                                            LUA_OSLIBNAME,   LUA_STRLIBNAME, LUA_UTF8LIBNAME,
                                            LUA_MATHLIBNAME, LUA_DBLIBNAME,  LUA_LOADLIBNAME };
    size_t len;
    const char *name = lua_tolstring(L, module, &len);
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++) {
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

/* Whether the path on top of the stack leads from the module at `module` to what is looked for. */
static bool leads_back(lua_State *L, const search_t *search, int module) {
    walk(L, module + 1, lua_gettop(L), search->bound);
    bool is_same = lua_rawequal(L, -1, search->target);
    lua_pop(L, 1);
    return is_same && is_acceptable(L, module, search->target, search->bound);
}

/* Takes the path on top of the stack; keeps it with the module at `module` when that is better than what is there. */
static void consider(lua_State *L, search_t *search, int module) {
    int path = lua_gettop(L), rank = module_rank(L, module);
    bool better = lua_isnil(L, search->found) || rank < search->rank;
    if (!better && rank == search->rank) {
        int order = compare_strings(L, module, search->found);
        better = order < 0 || (order == 0 && compare_strings(L, path, search->found + 1) < 0);
    }
    if (better && leads_back(L, search, module)) {
        search->rank = rank;
        lua_copy(L, module, search->found);
        lua_copy(L, path, search->found + 1);
    }
    lua_pop(L, 1);
}

static bool is_on_the_way(lua_State *L, const search_t *search, int level, int table) {
    for (int i = 0; i <= level; i++) {
        if (lua_rawequal(L, search->tables[i], table))
            return true;
    }
    return false;
}

/* Looks at the fields of the table of this level (0: the module); the path to it, each field with a dot behind it, is
 * at `prefix`. Recursion is bounded by FIELDS_MAX. */
static void search_fields(lua_State *L, search_t *search, int module, int level, int prefix) {
    luaL_checkstack(L, 12, "codec");
    lua_pushnil(L);
    while (lua_next(L, search->tables[level])) {
        int value = lua_gettop(L);
        size_t len;
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : NULL;
        if (++search->visits > VISITS_MAX) {
            lua_pop(L, 2);
            return;
        }
        if (name && len > 0 && level + 1 == search->fields) {
            if (lua_rawequal(L, value, search->target)) {
                lua_pushvalue(L, prefix);
                lua_pushvalue(L, value - 1);
                lua_concat(L, 2);
                consider(L, search, module);
            }
        } else if (name && len > 0 && lua_istable(L, value) && !memchr(name, '.', len) &&
                   !is_on_the_way(L, search, level, value)) {
            lua_pushvalue(L, prefix);
            lua_pushvalue(L, value - 1);
            lua_pushliteral(L, ".");
            lua_concat(L, 3);
            search->tables[level + 1] = value;
            search_fields(L, search, module, level + 1, value + 1);
        }
        lua_settop(L, value - 1);
    }
}

/* Searches the module whose name is at `module` and whose value is behind it. */
static void search_module(lua_State *L, search_t *search, int module) {
    if (lua_type(L, module) != LUA_TSTRING)
        return;
    if (search->fields == 0) {
        if (lua_rawequal(L, module + 1, search->target)) {
            lua_pushliteral(L, "");
            consider(L, search, module);
        }
    } else if (lua_istable(L, module + 1)) {
        lua_pushliteral(L, "");
        search->tables[0] = module + 1;
        search_fields(L, search, module, 0, module + 2);
        lua_pop(L, 1);
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

static int cache_of(bool bound) {
    return bound ? PL__CODEC_BOUND_NAMES : PL__CODEC_NAMES;
}

/* Pushes module and path of a name found earlier, if it still leads to the value at `index`. */
static bool recall(lua_State *L, int index, bool bound) {
    int top = lua_gettop(L);
    lua_rawgeti(L, PL__CODEC_STATE, cache_of(bound));
    lua_pushvalue(L, index);
    if (lua_rawget(L, -2) == LUA_TTABLE) {
        int module = top + 3;
        lua_rawgeti(L, top + 2, 1);
        lua_rawgeti(L, top + 2, 2);
        lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
        lua_pushvalue(L, module);
        lua_rawget(L, -2);
        walk(L, lua_gettop(L), module + 1, bound);
        if (lua_rawequal(L, -1, index) && is_acceptable(L, module, index, bound)) {
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
static void remember(lua_State *L, int index, bool bound) {
    int module = lua_gettop(L) - 1;
    lua_rawgeti(L, PL__CODEC_STATE, cache_of(bound));
    lua_pushvalue(L, index);
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, module);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, module + 1);
    lua_rawseti(L, -2, 2);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* Pushes module and path of what was registered, if the value at `index` was. */
static bool find_registered(lua_State *L, int index) {
    int top = lua_gettop(L);
    if (lua_rawgeti(L, PL__CODEC_STATE, PL__CODEC_REGISTERED) == LUA_TTABLE) {
        lua_pushvalue(L, index);
        if (lua_rawget(L, -2) == LUA_TSTRING) {
            lua_pushstring(L, REGISTRY);
            lua_pushliteral(L, "registered.");
            lua_pushvalue(L, top + 2);
            lua_concat(L, 2);
            lua_replace(L, top + 2);
            lua_replace(L, top + 1);
            return true;
        }
    }
    lua_settop(L, top);
    return false;
}

bool pl__codec_name_find(lua_State *L, int index, int module, bool bound) {
    luaL_checkstack(L, 20, "codec");
    if (module == 0 && bound && find_registered(L, index))
        return true;
    if (module == 0 && recall(L, index, bound))
        return true;
    search_t search = { .target = index, .found = lua_gettop(L) + 1, .bound = bound };
    lua_pushnil(L);
    lua_pushnil(L);
    for (; search.fields <= FIELDS_MAX && lua_isnil(L, search.found); search.fields++) {
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
        remember(L, index, bound);
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
static bool ask_lookup(lua_State *L, int module, int path, const char *kind, bool bound) {
    if (lua_rawgeti(L, PL__CODEC_STATE, PL__CODEC_LOOKUP) == LUA_TFUNCTION) {
        lua_pushvalue(L, module);
        lua_pushvalue(L, path);
        lua_pushstring(L, kind);
        if (bound)
            lua_pushboolean(L, true);
        else
            lua_pushnil(L);
        if (lua_pcall(L, 4, 1, 0) == LUA_OK && !lua_isnil(L, -1))
            return true;
    }
    lua_pop(L, 1);
    return false;
}

/* Pushes why the value on top of the stack may not be had by this name, and returns it. */
static const char *refusal(lua_State *L, int module, int path) {
    bool is_dangerous = is_in(L, PL__CODEC_DANGEROUS, -1);
    const char *module_name = lua_tostring(L, module), *path_name = lua_tostring(L, path);
    if (is_dangerous)
        return lua_pushfstring(L, "\"%s.%s\" reaches out of the program: only deferred.register gives it a name",
                               module_name, path_name);
    return lua_pushfstring(L,
                           "\"%s.%s\" is neither registered nor in a module under `modules` (open{ modules = { \"%s\" "
                           "} }, or deferred.register)",
                           module_name, path_name, module_name);
}

const char *pl__codec_name_resolve(lua_State *L, int module, int path, const char *kind, bool bound) {
    luaL_checkstack(L, 16, "codec");
    int top = lua_gettop(L);
    const char *message = push_module(L, module);
    if (!message) {
        walk(L, top + 1, path, bound);
        if (lua_isnil(L, -1))
            message =
                lua_pushfstring(L, "module \"%s\" has no field \"%s\"", lua_tostring(L, module), lua_tostring(L, path));
        else if (!is_acceptable(L, module, -1, bound))
            message = refusal(L, module, path);
    }
    bool is_answered = message && ask_lookup(L, module, path, kind, bound);
    lua_copy(L, -1, top + 1); /* the value, the answer, or the message */
    lua_settop(L, top + 1);
    return is_answered || !message ? NULL : message;
}

/* ---- for the face ---- */

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

/* may_require(name): whether a module of that name may be loaded because the store names it. */
static int may_require(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    lua_pushboolean(L, is_permitted(L, name, len));
    return 1;
}

/* find_name(value) -> module, path: a bound name of a function or table; nothing if there is none. */
static int find_name(lua_State *L) {
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    return pl__codec_name_find(L, 1, 0, true) ? 2 : 0;
}

/* field_of(module, path) -> value | nil, message: what a bound name leads to, without loading; nil alone: nothing. */
static int field_of(lua_State *L) {
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, 1);
    lua_rawget(L, -2);
    walk(L, 4, 2, true);
    if (!lua_isnil(L, -1) && is_acceptable(L, 1, -1, true))
        return 1;
    walk(L, 4, 2, false); /* by way of another module, perhaps */
    if (lua_isnil(L, -1))
        return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    refusal(L, 1, 2);
    lua_replace(L, -2);
    return 2;
}

/* reaches_out(value): whether no name leads to it but one that was registered. */
static int reaches_out(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, is_in(L, PL__CODEC_DANGEROUS, 1));
    return 1;
}

/* ---- life ---- */

/* Adds the functions of the library named `library`, or just those of `names` (NULL-terminated), to the set on top. */
static void add_functions(lua_State *L, const char *library, const char *const *names) {
    int set = lua_gettop(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, library);
    if (lua_istable(L, -1)) {
        int table = lua_gettop(L);
        for (; names && *names; names++) {
            lua_getfield(L, table, *names);
            lua_pushboolean(L, true);
            if (lua_isnil(L, -2))
                lua_pop(L, 2);
            else
                lua_rawset(L, set);
        }
        lua_pushnil(L);
        while (!names && lua_next(L, table)) {
            lua_pushboolean(L, true);
            if (lua_isfunction(L, -2))
                lua_rawset(L, set);
            else
                lua_pop(L, 2);
        }
    }
    lua_settop(L, set);
}

static void add_library(lua_State *L, const char *library) {
    int set = lua_gettop(L);
    add_functions(L, library, NULL);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, library) == LUA_TTABLE) {
        lua_pushboolean(L, true);
        lua_rawset(L, set);
    }
    lua_settop(L, set);
}

void pl__codec_names_init(lua_State *L) {
    static const char *const harmless[] = { "assert", "error",  "ipairs",   "next",     "pairs", "print", "rawequal",
                                            "rawlen", "select", "tonumber", "tostring", "type",  NULL };
    static const char *const dangerous[] = { "collectgarbage", "dofile",  "load",         "loadfile", "loadstring",
                                             "rawset",         "require", "setmetatable", NULL };
    pl__push_weak(L, "k");
    lua_rawseti(L, -2, PL__CODEC_NAMES);
    pl__push_weak(L, "k");
    lua_rawseti(L, -2, PL__CODEC_BOUND_NAMES);
    lua_newtable(L);
    add_functions(L, LUA_GNAME, harmless);
    add_functions(L, LUA_STRLIBNAME, NULL);
    add_functions(L, LUA_TABLIBNAME, NULL);
    add_functions(L, LUA_MATHLIBNAME, NULL);
    add_functions(L, LUA_UTF8LIBNAME, NULL);
    lua_rawseti(L, -2, PL__CODEC_HARMLESS);
    lua_newtable(L);
    add_functions(L, LUA_GNAME, dangerous);
    add_library(L, LUA_OSLIBNAME);
    add_library(L, LUA_IOLIBNAME);
    add_library(L, LUA_DBLIBNAME);
    add_library(L, LUA_LOADLIBNAME);
    lua_rawseti(L, -2, PL__CODEC_DANGEROUS);
}

void pl__codec_names_register(lua_State *L) {
    static const luaL_Reg functions[] = {
        { "set_module_prefixes", set_module_prefixes },
        { "may_require", may_require },
        { "find_name", find_name },
        { "field_of", field_of },
        { "reaches_out", reaches_out },
        { NULL, NULL },
    };
    luaL_setfuncs(L, functions, 1);
}
