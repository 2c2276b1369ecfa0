/*
 * encode.c - Lua values to CBOR.
 *
 * Two passes. The survey walks all tables breadth first (no recursion), calls __defer, finds out which tables are
 * met more than once, and counts fields. The writer then walks depth first in the order of the bytes: array items in
 * order, map keys in canonical order, so that the same values always give the same bytes, and a table's number for
 * tags 28 / 29 is that of its first byte.
 *
 * Invariants:
 * 1. Nothing is written past PL__CODEC_BYTES_MAX, and no memory is asked for what would not fit under it.
 * 2. Recursion is bounded by PL__CODEC_DEPTH_MAX, on the C stack and on the Lua stack. The survey stops at the same
 *    level: a table deeper than it in every path makes the writer fail before it needs what the survey would know.
 * 3. Between survey and writer user code may run (finalizers, __defer of other objects). A table that changed
 *    meanwhile gives an error or its newer fields, never undefined behaviour: keys are anchored while sorted.
 *    A metatable may say in __unserializable what its objects are and what to store instead.
 * 4. On failure every frame adds its own key to the place, innermost first; success pays nothing for it.
 */
#include <cbor.h>
#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "binding/value/codec.h"
#include "binding/value/key.h"

enum { HEAD_SIZE_MAX = 9, FIRST_SIZE = 512, KEYS_FEW = 16 };

/* Named stack slots of the two functions. */
enum { VALUE = 1, COUNT, WHAT, BUFFER, SEEN, QUEUE, SHARES, PLAIN, INPUTS, MESSAGE, SLOTS = MESSAGE };

/* In the table SEEN, by table: the number of fields * 2, + 1 for a map; or this. */
#define NOT_SURVEYED (-1)
/* In the table SHARES, by table met more than once: its number in the output; or this. */
#define NOT_NUMBERED (-1)

typedef struct {
    lua_State *L;
    unsigned char *bytes; /* `first`, or the userdata in BUFFER */
    size_t len, size;
    size_t fields; /* of all tables written so far */
    lua_Integer queued, surveyed_fields, shared;
    bool bound;          /* names as a stored call may have them */
    lua_Integer *inputs; /* the userdata in INPUTS */
    size_t inputs_len, inputs_size;
    pl__place_t place;
    unsigned char first[FIRST_SIZE];
} encoder_t;

/* ---- errors ---- */

/* Keeps the message on top of the stack. Always false. */
static bool fail_top(encoder_t *e) {
    lua_replace(e->L, MESSAGE);
    return false;
}

#define FAIL(e, ...) (lua_pushfstring((e)->L, __VA_ARGS__), fail_top(e))

/* Adds the key at `index` in front of the place, after dropping what the failed value left above it. Always false. */
static bool place_key(encoder_t *e, int index) {
    lua_settop(e->L, index);
    pl__place_add(e->L, index, &e->place);
    return false;
}

/* Returns nil, "ESERIALIZE", message; `argument` is the number of the item that failed, 0 for a single value. */
static int return_failure(encoder_t *e, lua_Integer argument) {
    lua_State *L = e->L;
    luaL_checkstack(L, 10, "codec");
    lua_pushnil(L);
    lua_pushliteral(L, "ESERIALIZE");
    lua_pushvalue(L, WHAT);
    if (argument > 0)
        lua_pushfstring(L, " %I", (LUAI_UACINT)argument);
    else
        lua_pushliteral(L, "");
    pl__place_push(L, &e->place);
    lua_pushliteral(L, ": ");
    lua_pushvalue(L, MESSAGE);
    lua_concat(L, 5);
    return 3;
}

/* ---- bytes ---- */

static bool grow(encoder_t *e, size_t n) {
    if (n > PL__CODEC_BYTES_MAX - e->len) {
        return FAIL(e, "too large: the encoded size would be over the limit of %d MiB (%d bytes)",
                    (int)(PL__CODEC_BYTES_MAX >> 20), (int)PL__CODEC_BYTES_MAX);
    }
    size_t size = 2 * e->size > e->len + n ? 2 * e->size : e->len + n;
    if (size > PL__CODEC_BYTES_MAX)
        size = PL__CODEC_BYTES_MAX;
    void *bytes = lua_newuserdatauv(e->L, size, 0);
    memcpy(bytes, e->bytes, e->len);
    lua_replace(e->L, BUFFER);
    e->bytes = bytes;
    e->size = size;
    return true;
}

static bool room(encoder_t *e, size_t n) {
    return n <= e->size - e->len || grow(e, n);
}

#define PUT_HEAD(name, type, encode)                                                                                   \
    static bool name(encoder_t *e, type argument) {                                                                    \
        if (!room(e, HEAD_SIZE_MAX))                                                                                   \
            return false;                                                                                              \
        e->len += encode(argument, e->bytes + e->len, e->size - e->len);                                               \
        return true;                                                                                                   \
    }

PUT_HEAD(put_uint, uint64_t, cbor_encode_uint)
PUT_HEAD(put_negint, uint64_t, cbor_encode_negint)
PUT_HEAD(put_tag, uint64_t, cbor_encode_tag)
PUT_HEAD(put_bytes_head, size_t, cbor_encode_bytestring_start)
PUT_HEAD(put_text_head, size_t, cbor_encode_string_start)
PUT_HEAD(put_array_head, size_t, cbor_encode_array_start)
PUT_HEAD(put_map_head, size_t, cbor_encode_map_start)
PUT_HEAD(put_double, double, cbor_encode_double)
PUT_HEAD(put_bool, bool, cbor_encode_bool)

static bool put_null(encoder_t *e) {
    if (!room(e, HEAD_SIZE_MAX))
        return false;
    e->len += cbor_encode_null(e->bytes + e->len, e->size - e->len);
    return true;
}

static bool put_integer(encoder_t *e, lua_Integer i) {
    return i >= 0 ? put_uint(e, (uint64_t)i) : put_negint(e, ~(uint64_t)i);
}

static bool put_string(encoder_t *e, int index) {
    size_t len;
    const char *s = lua_tolstring(e->L, index, &len);
    if (!room(e, len + HEAD_SIZE_MAX))
        return false;
    if (!(pl__codec_is_utf8(s, len) ? put_text_head(e, len) : put_bytes_head(e, len)))
        return false;
    memcpy(e->bytes + e->len, s, len);
    e->len += len;
    return true;
}

static bool put_number(encoder_t *e, int index) {
    if (lua_isinteger(e->L, index))
        return put_integer(e, lua_tointeger(e->L, index));
    return put_double(e, (double)lua_tonumber(e->L, index));
}

/* ---- slots ---- */

/* Whether the table at `index` stands for a slot. */
static bool is_slot(lua_State *L, int index) {
    if (!lua_getmetatable(L, index))
        return false;
    lua_pushliteral(L, "__pipeline_slot");
    lua_rawget(L, -2);
    bool found = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return found;
}

static void add_input(encoder_t *e, lua_Integer id) {
    if (e->inputs_len == e->inputs_size) {
        size_t size = e->inputs_size == 0 ? 16 : 2 * e->inputs_size;
        lua_Integer *inputs = lua_newuserdatauv(e->L, size * sizeof *inputs, 0);
        if (e->inputs_len > 0)
            memcpy(inputs, e->inputs, e->inputs_len * sizeof *inputs);
        lua_replace(e->L, INPUTS);
        e->inputs = inputs;
        e->inputs_size = size;
    }
    e->inputs[e->inputs_len++] = id;
}

static bool put_slot(encoder_t *e, int index) {
    lua_State *L = e->L;
    if (lua_rawgeti(L, PL__CODEC_STATE, PL__CODEC_SLOT_OF) != LUA_TFUNCTION)
        return FAIL(e, "cannot serialize a slot (no engine knows it)");
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        return FAIL(e, "cannot serialize a slot: %s", pl__codec_error_text(L));
    if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) <= 0)
        return FAIL(e, "cannot serialize a slot (it has no id)");
    lua_Integer id = lua_tointeger(L, -1);
    lua_pop(L, 1);
    add_input(e, id);
    return put_tag(e, PL__CODEC_TAG_SLOT) && put_uint(e, (uint64_t)id);
}

static int compare_ids(const void *a, const void *b) {
    lua_Integer left = *(const lua_Integer *)a, right = *(const lua_Integer *)b;
    return (left > right) - (left < right);
}

/* Pushes the sorted list of the slots referred to, each once, or nil when there are none. */
static void push_inputs(encoder_t *e) {
    size_t kept = 0;
    if (e->inputs_len == 0) {
        lua_pushnil(e->L);
        return;
    }
    qsort(e->inputs, e->inputs_len, sizeof *e->inputs, compare_ids);
    for (size_t i = 0; i < e->inputs_len; i++) {
        if (kept == 0 || e->inputs[i] != e->inputs[kept - 1])
            e->inputs[kept++] = e->inputs[i];
    }
    lua_createtable(e->L, (int)kept, 0);
    for (size_t i = 0; i < kept; i++) {
        lua_pushinteger(e->L, e->inputs[i]);
        lua_rawseti(e->L, -2, (lua_Integer)i + 1);
    }
}

/* ---- the survey ---- */

/* Replaces the metatable on top of the stack by a raw field of it, of its __index table, or of the classes that this
 * one inherits from in the same way; by nil when none has it. */
static void class_field(lua_State *L, const char *name) {
    int class = lua_gettop(L);
    for (int i = 0; i < PL__CODEC_DEPTH_MAX; i++) {
        lua_pushstring(L, name);
        if (lua_rawget(L, class) != LUA_TNIL) {
            lua_replace(L, class);
            return;
        }
        lua_pushliteral(L, "__index");
        lua_rawget(L, class);
        bool is_separate = i == 0 && lua_type(L, -1) == LUA_TTABLE && !lua_rawequal(L, -1, class);
        if (!is_separate) {
            if (!lua_getmetatable(L, class))
                break;
            lua_pushliteral(L, "__index");
            lua_rawget(L, -2);
        }
        if (lua_type(L, -1) != LUA_TTABLE)
            break;
        lua_copy(L, -1, class);
        lua_settop(L, class);
    }
    lua_settop(L, class - 1);
    lua_pushnil(L);
}

/* When the object at `index` has a __defer, calls it and keeps the table it gives, or the text of its error. */
static bool call_defer(encoder_t *e, int index) {
    lua_State *L = e->L;
    if (!lua_getmetatable(L, index))
        return false;
    class_field(L, "__defer");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        lua_pushfstring(L, "__defer failed: %s", pl__codec_error_text(L));
    else if (lua_type(L, -1) != LUA_TTABLE)
        lua_pushfstring(L, "__defer gave a %s, not a table", luaL_typename(L, -1));
    if (lua_isnil(L, PLAIN)) {
        lua_newtable(L);
        lua_replace(L, PLAIN);
    }
    lua_pushvalue(L, index);
    lua_pushvalue(L, -2);
    lua_rawset(L, PLAIN);
    return lua_type(L, -1) == LUA_TTABLE;
}

/* Takes note of a table that the values refer to: queues it the first time, marks it shared the next. */
static void note(encoder_t *e, int index) {
    lua_State *L = e->L;
    if (is_slot(L, index))
        return;
    if (lua_isnil(L, SEEN)) {
        lua_newtable(L);
        lua_replace(L, SEEN);
        lua_newtable(L);
        lua_replace(L, QUEUE);
    }
    lua_pushvalue(L, index);
    if (lua_rawget(L, SEEN) == LUA_TNIL) {
        lua_pushvalue(L, index);
        lua_rawseti(L, QUEUE, ++e->queued);
        lua_pushvalue(L, index);
        lua_pushinteger(L, NOT_SURVEYED);
        lua_rawset(L, SEEN);
    } else {
        if (lua_isnil(L, SHARES)) {
            lua_newtable(L);
            lua_replace(L, SHARES);
        }
        lua_pushvalue(L, index);
        lua_pushinteger(L, NOT_NUMBERED);
        lua_rawset(L, SHARES);
    }
    lua_pop(L, 1);
}

/* Counts the fields of the table at `index`, finds out its kind, notes the tables in it. Returns what SEEN keeps. */
static lua_Integer survey_fields(encoder_t *e, int index) {
    lua_State *L = e->L;
    lua_Integer count = 0, items = 0, border = (lua_Integer)lua_rawlen(L, index);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        count++;
        if (lua_isinteger(L, -2)) {
            lua_Integer key = lua_tointeger(L, -2);
            items += key >= 1 && key <= border;
        }
        if (lua_type(L, -1) == LUA_TTABLE)
            note(e, lua_gettop(L));
        lua_pop(L, 1);
    }
    e->surveyed_fields += count;
    return 2 * count + (items != count || items != border);
}

/* Surveys the tables noted so far and all that can be reached from them. Leaves the stack as it was. */
static void survey(encoder_t *e) {
    lua_State *L = e->L;
    int top = lua_gettop(L);
    lua_Integer level_end = e->queued;
    for (lua_Integer i = 1, level = 1; i <= e->queued; i++) {
        if (i > level_end) {
            level_end = e->queued;
            level++;
        }
        if (level > PL__CODEC_DEPTH_MAX || e->surveyed_fields > PL__CODEC_ITEMS_MAX)
            break;
        lua_rawgeti(L, QUEUE, i);
        lua_pushinteger(L, survey_fields(e, call_defer(e, top + 1) ? lua_gettop(L) : top + 1));
        lua_pushvalue(L, top + 1);
        lua_insert(L, -2);
        lua_rawset(L, SEEN);
        lua_settop(L, top);
    }
}

/* ---- the writer ---- */

static bool put_value(encoder_t *e, int index, int depth);

static bool put_array(encoder_t *e, int table, lua_Integer count, int depth) {
    lua_State *L = e->L;
    if (!put_array_head(e, (size_t)count))
        return false;
    int top = lua_gettop(L);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, table, i);
        if (!put_value(e, top + 1, depth)) {
            lua_settop(L, top);
            lua_pushinteger(L, i);
            return place_key(e, top + 1);
        }
        lua_settop(L, top);
    }
    return true;
}

/* The keys of one map: the Lua values from index `base` on, or in the list at `base` when there are many. */
typedef struct {
    int table, base, depth;
    bool are_many;
    size_t count;
    pl__sort_key_t *keys;
} map_t;

/* Collects and sorts the keys. Nothing in here allocates, so no finalizer runs and the table stays as it is. */
static bool collect_keys(encoder_t *e, map_t *map) {
    lua_State *L = e->L;
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, map->table)) {
        lua_pop(L, 1);
        if (n == map->count)
            return FAIL(e, "the table was changed while it was serialized");
        if (!pl__sort_key_read(L, lua_gettop(L), &map->keys[n])) {
            return FAIL(e, "cannot serialize a %s as a key of a table (only strings, numbers and booleans)",
                        luaL_typename(L, -1));
        }
        map->keys[n].position = (int)n;
        lua_pushvalue(L, -1);
        if (map->are_many)
            lua_rawseti(L, map->base, (lua_Integer)n + 1);
        n++;
    }
    if (n != map->count)
        return FAIL(e, "the table was changed while it was serialized");
    qsort(map->keys, n, sizeof *map->keys, pl__sort_key_compare);
    return true;
}

/* Writes the pair whose key is on top of the stack. */
static bool put_pair(encoder_t *e, map_t *map) {
    lua_State *L = e->L;
    int key = lua_gettop(L);
    if (!put_value(e, key, map->depth)) /* a scalar: collect_keys saw to it */
        return place_key(e, key);
    lua_pushvalue(L, key);
    lua_rawget(L, map->table);
    return put_value(e, key + 1, map->depth) || place_key(e, key);
}

static bool put_map(encoder_t *e, int table, lua_Integer count, int depth) {
    lua_State *L = e->L;
    pl__sort_key_t few[KEYS_FEW];
    map_t map = { .table = table, .depth = depth, .count = (size_t)count, .keys = few };
    map.are_many = map.count > KEYS_FEW;
    if (map.are_many) {
        map.keys = lua_newuserdatauv(L, map.count * sizeof *map.keys, 0);
        lua_createtable(L, (int)count, 0);
    }
    map.base = lua_gettop(L) + !map.are_many;
    if (!put_map_head(e, map.count) || !collect_keys(e, &map))
        return false;
    int top = lua_gettop(L);
    for (size_t i = 0; i < map.count; i++) {
        if (map.are_many)
            lua_rawgeti(L, map.base, map.keys[i].position + 1);
        else
            lua_pushvalue(L, map.base + map.keys[i].position);
        if (!put_pair(e, &map))
            return false;
        lua_settop(L, top);
    }
    return true;
}

/* Writes the fields of the table at `index` (or what its __defer gave), as array or map. */
static bool put_fields(encoder_t *e, int index, int depth) {
    lua_State *L = e->L;
    lua_pushvalue(L, index);
    lua_rawget(L, SEEN);
    lua_Integer seen = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : NOT_SURVEYED;
    e->fields += seen < 0 ? 0 : (size_t)seen / 2;
    if (e->fields > PL__CODEC_ITEMS_MAX || (seen < 0 && e->surveyed_fields > PL__CODEC_ITEMS_MAX))
        return FAIL(e, "too large: more than the limit of %d table fields", PL__CODEC_ITEMS_MAX);
    if (seen < 0)
        return FAIL(e, "the table was changed while it was serialized");
    if (!lua_isnil(L, PLAIN)) {
        lua_pushvalue(L, index);
        int type = lua_rawget(L, PLAIN);
        if (type == LUA_TSTRING)
            return FAIL(e, "cannot serialize an object: %s", lua_tostring(L, -1));
        if (type == LUA_TTABLE)
            index = lua_gettop(L);
    }
    return seen % 2 == 0 ? put_array(e, index, seen / 2, depth + 1) : put_map(e, index, seen / 2, depth + 1);
}

/* Whether the metatable at `index` has one field only, a table as __index, which is then pushed. */
static bool push_sole_index(lua_State *L, int index) {
    int fields = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (++fields > 1) {
            lua_pop(L, 1);
            return false;
        }
    }
    lua_pushliteral(L, "__index");
    if (lua_rawget(L, index) == LUA_TTABLE && !lua_rawequal(L, -1, index))
        return true;
    lua_pop(L, 1);
    return false;
}

/* Pushes module and path of the class of an object, given its metatable's index. Returns the kind to write, or NULL.
 * A metatable { __index = class } is usually made for one object, so the class is what has a name; only when the
 * class's own module also has the metatable is that the better answer. */
static const char *find_class(const encoder_t *e, int metatable) {
    lua_State *L = e->L;
    if (push_sole_index(L, metatable)) {
        int class = lua_gettop(L);
        if (pl__codec_name_find(L, class, 0, e->bound)) {
            if (pl__codec_name_find(L, metatable, class + 1, e->bound))
                return PL__CODEC_OBJECT;
            return PL__CODEC_INSTANCE;
        }
    }
    return pl__codec_name_find(L, metatable, 0, e->bound) ? PL__CODEC_OBJECT : NULL;
}

/* Writes tag 27, the array's head, kind, and the module and path that are on top of the stack. */
static bool put_name(encoder_t *e, const char *kind, size_t items) {
    int path = lua_gettop(e->L);
    lua_pushstring(e->L, kind);
    return put_tag(e, PL__CODEC_TAG_NAMED) && put_array_head(e, items) && put_string(e, path + 1) &&
           put_string(e, path - 1) && put_string(e, path);
}

/* Writes the object at `index`, whose metatable is on top of the stack. */
static bool put_object(encoder_t *e, int index, int depth) {
    lua_State *L = e->L;
    int metatable = lua_gettop(L);
    lua_pushliteral(L, "__unserializable");
    if (lua_rawget(L, metatable) == LUA_TSTRING)
        return FAIL(e, "cannot serialize %s", lua_tostring(L, -1));
    lua_pushliteral(L, "__gc");
    if (lua_rawget(L, metatable) != LUA_TNIL)
        return FAIL(e, "cannot serialize an object that has a finalizer (__gc)");
    const char *kind = find_class(e, metatable);
    if (!kind)
        return FAIL(e, "cannot serialize an object (its metatable is not a field of a loaded module)");
    return put_name(e, kind, 4) && put_fields(e, index, depth);
}

/* Writes tag 28 before a table met more than once, or all of tag 29 when it is already there (*is_done). */
static bool put_sharing(encoder_t *e, int index, bool *is_done) {
    lua_State *L = e->L;
    lua_pushvalue(L, index);
    if (lua_rawget(L, SHARES) == LUA_TNIL)
        return true;
    lua_Integer number = lua_tointeger(L, -1);
    if (number != NOT_NUMBERED) {
        *is_done = true;
        return put_tag(e, PL__CODEC_TAG_REFERENCE) && put_uint(e, (uint64_t)number);
    }
    lua_pushvalue(L, index);
    lua_pushinteger(L, e->shared++);
    lua_rawset(L, SHARES);
    return put_tag(e, PL__CODEC_TAG_SHARED);
}

static bool put_table(encoder_t *e, int index, int depth) {
    lua_State *L = e->L;
    bool is_done = false;
    if (!lua_checkstack(L, KEYS_FEW + 2 * LUA_MINSTACK))
        return FAIL(e, "the Lua stack is full");
    if (is_slot(L, index))
        return put_slot(e, index);
    if (!lua_isnil(L, SHARES) && !put_sharing(e, index, &is_done))
        return false;
    if (is_done)
        return true;
    if (depth > PL__CODEC_DEPTH_MAX)
        return FAIL(e, "nested deeper than the limit of %d tables", PL__CODEC_DEPTH_MAX);
    if (lua_getmetatable(L, index))
        return put_object(e, index, depth);
    return put_fields(e, index, depth);
}

static bool put_function(encoder_t *e, int index) {
    if (pl__codec_name_find(e->L, index, 0, e->bound))
        return put_name(e, PL__CODEC_FUNCTION, 3);
    return FAIL(e, "cannot serialize a function (%s; %s)", lua_iscfunction(e->L, index) ? "written in C" : "closure",
                e->bound ? "neither registered nor a field of a module under `modules`"
                         : "not a field of a loaded module");
}

/* Writes the value at `index`; a table among it is number `depth` of those inside each other. May leave values on
 * the stack. */
static bool put_value(encoder_t *e, int index, int depth) {
    switch (lua_type(e->L, index)) {
    case LUA_TNIL:
        return put_null(e);
    case LUA_TBOOLEAN:
        return put_bool(e, lua_toboolean(e->L, index));
    case LUA_TNUMBER:
        return put_number(e, index);
    case LUA_TSTRING:
        return put_string(e, index);
    case LUA_TTABLE:
        return put_table(e, index, depth);
    case LUA_TFUNCTION:
        return put_function(e, index);
    case LUA_TTHREAD:
        return FAIL(e, "cannot serialize a coroutine");
    default:
        return FAIL(e, "cannot serialize a userdata");
    }
}

/* ---- the functions ---- */

static void encoder_init(encoder_t *e, lua_State *L) {
    luaL_checkstack(L, 2 * LUA_MINSTACK, "codec");
    e->L = L;
    e->bound = false;
    e->bytes = e->first;
    e->size = sizeof e->first;
    e->len = e->fields = e->inputs_len = e->inputs_size = 0;
    e->queued = e->surveyed_fields = e->shared = 0;
    e->inputs = NULL;
    pl__place_init(&e->place);
}

static int return_bytes(encoder_t *e) {
    lua_pushlstring(e->L, (const char *)e->bytes, e->len);
    push_inputs(e);
    return 2;
}

/* encode(list, n [, what = "argument" [, bound]]) -> bytes, inputs | nil, "ESERIALIZE", message */
int pl__codec_encode(lua_State *L) {
    encoder_t e;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer count = luaL_checkinteger(L, 2);
    luaL_argcheck(L, count >= 0 && count <= PL__CODEC_ITEMS_MAX, 2, "out of range");
    luaL_optstring(L, 3, NULL);
    bool bound = lua_toboolean(L, 4);
    lua_settop(L, 3);
    if (lua_isnil(L, WHAT)) {
        lua_pushliteral(L, "argument");
        lua_replace(L, WHAT);
    }
    lua_settop(L, SLOTS);
    encoder_init(&e, L);
    e.bound = bound;
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_rawgeti(L, VALUE, i) == LUA_TTABLE)
            note(&e, SLOTS + 1);
        lua_settop(L, SLOTS);
    }
    survey(&e);
    if (!put_array_head(&e, (size_t)count))
        return return_failure(&e, 0);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, VALUE, i);
        if (!put_value(&e, SLOTS + 1, 1))
            return return_failure(&e, i);
        lua_settop(L, SLOTS);
    }
    return return_bytes(&e);
}

/* encode_value(value [, what = "value"]) -> bytes, inputs | nil, "ESERIALIZE", message */
int pl__codec_encode_value(lua_State *L) {
    encoder_t e;
    luaL_checkany(L, 1);
    luaL_optstring(L, 2, NULL);
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pushliteral(L, "value");
        lua_replace(L, 2);
    }
    lua_pushnil(L); /* COUNT */
    lua_insert(L, 2);
    lua_settop(L, SLOTS);
    encoder_init(&e, L);
    if (lua_type(L, VALUE) == LUA_TTABLE)
        note(&e, VALUE);
    survey(&e);
    return put_value(&e, VALUE, 1) ? return_bytes(&e) : return_failure(&e, 0);
}
