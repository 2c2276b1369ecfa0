/*
 * decode.c - CBOR to Lua values.
 *
 * libcbor's streaming decoder gives one item at a time; a recursive function builds the Lua value from it. The input
 * is hostile until it has been read to its end.
 *
 * Invariants:
 * 1. Every container's items are owed by the bytes that follow: a head that promises more items than there are bytes
 *    left, after what the containers around it are owed, is refused before a table is made. So all tables together
 *    never have more room than the input has bytes.
 * 2. Recursion is bounded by PL__CODEC_DEPTH_MAX + 1 (the list of arguments is a table too).
 * 3. No code runs but `require` of permitted modules, the resolver and the lookup hook. An object gets its metatable
 *    when its fields are there; a class with a finalizer, or of slots, is refused.
 * 4. What RFC 8949 leaves open is refused: indefinite lengths, unknown tags and simple values, integers that Lua has
 *    not, keys that are no Lua keys or come twice. Any length of a head is accepted, and any width of float;
 *    `undefined` is nil; null as value of a map leaves the key out.
 */
#include <cbor.h>
#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "binding/value/codec.h"

/* Named stack slots of the two functions. */
enum { BYTES = 1, RESOLVER, SHARED, MESSAGE, SLOTS = MESSAGE };

enum { STACK_PER_LEVEL = 20 };

#define MEANINGS(X)                                                                                                    \
    X(UINT, "an integer")                                                                                              \
    X(NEGINT, "a negative integer")                                                                                    \
    X(BYTESTRING, "bytes")                                                                                             \
    X(TEXT, "text")                                                                                                    \
    X(ARRAY, "an array")                                                                                               \
    X(MAP, "a map")                                                                                                    \
    X(TAG, "a tag")                                                                                                    \
    X(FLOAT, "a float")                                                                                                \
    X(BOOL, "a boolean")                                                                                               \
    X(NIL, "null")                                                                                                     \
    X(INDEFINITE, "an indefinite length")                                                                              \
    X(BREAK, "a break")

typedef enum {
#define X(name, text) ITEM_##name,
    MEANINGS(X)
#undef X
} item_kind_t;

/* One item: argument is an integer's value (-1 - argument when negative), a length, a count, a tag or a boolean. */
typedef struct {
    item_kind_t kind;
    uint64_t argument;
    double number;
    const char *ptr;
} item_t;

typedef struct {
    lua_State *L;
    const unsigned char *bytes;
    size_t len, pos; /* pos is behind `item` */
    size_t at;       /* where `item` begins */
    size_t owed;     /* items that the open containers still need */
    size_t fields;   /* of all tables so far */
    lua_Integer shared;
    lua_Integer items, items_max; /* read so far, and at most; 0: any number */
    bool bound;                   /* names as a stored call may have them */
    item_t item;
} decoder_t;

/* ---- errors ---- */

static const char *item_text(const decoder_t *d) {
    static const char *const texts[] = {
#define X(name, text) text,
        MEANINGS(X)
#undef X
    };
    return texts[d->item.kind];
}

/* Keeps the message on top of the stack, with the offset of the current item in front. Always false. */
static bool fail_top(decoder_t *d) {
    lua_pushfstring(d->L, "cannot decode, at byte %I: %s", (LUAI_UACINT)(d->at + 1), lua_tostring(d->L, -1));
    lua_replace(d->L, MESSAGE);
    return false;
}

#define FAIL(d, ...) (lua_pushfstring((d)->L, __VA_ARGS__), fail_top(d))

static bool fail_expected(decoder_t *d, const char *what) {
    return FAIL(d, "expected %s, found %s", what, item_text(d));
}

/* ---- items ---- */

static void set_item(void *data, item_kind_t kind, uint64_t argument) {
    item_t *item = data;
    item->kind = kind;
    item->argument = argument;
}

#define ON_INTEGER(name, type, kind)                                                                                   \
    static void name(void *data, type argument) {                                                                      \
        set_item(data, kind, argument);                                                                                \
    }

ON_INTEGER(uint8_cb, uint8_t, ITEM_UINT)
ON_INTEGER(uint16_cb, uint16_t, ITEM_UINT)
ON_INTEGER(uint32_cb, uint32_t, ITEM_UINT)
ON_INTEGER(uint64_cb, uint64_t, ITEM_UINT)
ON_INTEGER(negint8_cb, uint8_t, ITEM_NEGINT)
ON_INTEGER(negint16_cb, uint16_t, ITEM_NEGINT)
ON_INTEGER(negint32_cb, uint32_t, ITEM_NEGINT)
ON_INTEGER(negint64_cb, uint64_t, ITEM_NEGINT)
ON_INTEGER(array_cb, size_t, ITEM_ARRAY)
ON_INTEGER(map_cb, size_t, ITEM_MAP)
ON_INTEGER(tag_cb, uint64_t, ITEM_TAG)
ON_INTEGER(bool_cb, bool, ITEM_BOOL)

static void nil_cb(void *data) {
    set_item(data, ITEM_NIL, 0);
}

static void indefinite_cb(void *data) {
    set_item(data, ITEM_INDEFINITE, 0);
}

static void break_cb(void *data) {
    set_item(data, ITEM_BREAK, 0);
}

static void double_cb(void *data, double number) {
    set_item(data, ITEM_FLOAT, 0);
    ((item_t *)data)->number = number;
}

static void float_cb(void *data, float number) {
    double_cb(data, number);
}

static void bytes_cb(void *data, cbor_data bytes, size_t len) {
    set_item(data, ITEM_BYTESTRING, len);
    ((item_t *)data)->ptr = (const char *)bytes;
}

static void text_cb(void *data, cbor_data bytes, size_t len) {
    set_item(data, ITEM_TEXT, len);
    ((item_t *)data)->ptr = (const char *)bytes;
}

static const struct cbor_callbacks callbacks = {
    .uint8 = uint8_cb,
    .uint16 = uint16_cb,
    .uint32 = uint32_cb,
    .uint64 = uint64_cb,
    .negint8 = negint8_cb,
    .negint16 = negint16_cb,
    .negint32 = negint32_cb,
    .negint64 = negint64_cb,
    .byte_string_start = indefinite_cb,
    .byte_string = bytes_cb,
    .string_start = indefinite_cb,
    .string = text_cb,
    .indef_array_start = indefinite_cb,
    .array_start = array_cb,
    .indef_map_start = indefinite_cb,
    .map_start = map_cb,
    .tag = tag_cb,
    .float2 = float_cb,
    .float4 = float_cb,
    .float8 = double_cb,
    .undefined = nil_cb,
    .null = nil_cb,
    .boolean = bool_cb,
    .indef_break = break_cb,
};

/* Reads the next item. */
static bool next_item(decoder_t *d, const char *what) {
    d->at = d->pos;
    if (++d->items > d->items_max && d->items_max > 0)
        return FAIL(d, "expected at most %I items, found more", (LUAI_UACINT)d->items_max);
    struct cbor_decoder_result result = cbor_stream_decode(d->bytes + d->pos, d->len - d->pos, &callbacks, &d->item);
    if (result.status == CBOR_DECODER_NEDATA) {
        if (d->pos == d->len)
            return FAIL(d, "expected %s, found the end", what);
        return FAIL(d, "expected an item of at least %I bytes, found the end after %I", (LUAI_UACINT)result.required,
                    (LUAI_UACINT)(d->len - d->pos));
    }
    if (result.status != CBOR_DECODER_FINISHED)
        return FAIL(d, "expected %s, found the reserved value %d", what, (int)d->bytes[d->pos]);
    d->pos += result.read;
    return true;
}

/* Takes an array's or map's promise of `per_entry` items for each entry into account. */
static bool owe(decoder_t *d, size_t per_entry) {
    uint64_t count = d->item.argument;
    size_t left = d->len - d->pos;
    left = left > d->owed ? left - d->owed : 0;
    if (count > left / per_entry) {
        lua_pushfstring(d->L, "expected at most %I entries in what follows, found %s of more",
                        (LUAI_UACINT)(left / per_entry), item_text(d));
        return fail_top(d);
    }
    d->fields += (size_t)count;
    if (d->fields > PL__CODEC_ITEMS_MAX)
        return FAIL(d, "expected at most %d table fields (the limit), found more", PL__CODEC_ITEMS_MAX);
    d->owed += (size_t)count * per_entry;
    return true;
}

/* ---- values ---- */

static bool push_item(decoder_t *d, int depth);

static bool push_value(decoder_t *d, int depth) {
    return next_item(d, "a value") && push_item(d, depth);
}

static bool push_integer(decoder_t *d) {
    if (d->item.argument > (uint64_t)LUA_MAXINTEGER)
        return FAIL(d, "expected an integer of 64 bits with sign, found a larger one");
    lua_Integer i = (lua_Integer)d->item.argument;
    lua_pushinteger(d->L, d->item.kind == ITEM_UINT ? i : -1 - i);
    return true;
}

static bool push_string(decoder_t *d) {
    size_t len = (size_t)d->item.argument;
    if (d->item.kind == ITEM_TEXT && !pl__codec_is_utf8(d->item.ptr, len))
        return FAIL(d, "expected UTF-8 in a text, found other bytes");
    lua_pushlstring(d->L, d->item.ptr, len);
    return true;
}

/* Makes the table on top of the stack number `share` - 1 of those referred to (0: none). */
static void keep_shared(decoder_t *d, lua_Integer share) {
    if (share == 0)
        return;
    if (lua_isnil(d->L, SHARED)) {
        lua_newtable(d->L);
        lua_replace(d->L, SHARED);
    }
    lua_pushvalue(d->L, -1);
    lua_rawseti(d->L, SHARED, share);
}

static bool push_array(decoder_t *d, int depth, lua_Integer share) {
    lua_State *L = d->L;
    if (!owe(d, 1))
        return false;
    lua_Integer count = (lua_Integer)d->item.argument;
    lua_createtable(L, (int)count, 0);
    keep_shared(d, share);
    for (lua_Integer i = 1; i <= count; i++) {
        d->owed--;
        if (!push_value(d, depth + 1))
            return false;
        lua_rawseti(L, -2, i);
    }
    return true;
}

/* Pushes a key for the map on top of the stack. */
static bool push_key(decoder_t *d) {
    static const char what[] = "a string, number or boolean as key";
    lua_State *L = d->L;
    if (!next_item(d, what))
        return false;
    switch (d->item.kind) {
    case ITEM_UINT:
    case ITEM_NEGINT:
    case ITEM_TEXT:
    case ITEM_BYTESTRING:
    case ITEM_BOOL:
        if (!push_item(d, 0))
            return false;
        break;
    case ITEM_FLOAT:
        if (isnan(d->item.number))
            return FAIL(d, "expected %s, found NaN", what);
        lua_pushnumber(L, d->item.number);
        break;
    default:
        return fail_expected(d, what);
    }
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) != LUA_TNIL)
        return FAIL(d, "expected a new key, found one for the second time");
    lua_pop(L, 1);
    return true;
}

/* Stands for null in a map being read, so that its key counts as met. */
static const char null_mark;

static void *null_address(void) {
    return (void *)(uintptr_t)&null_mark;
}

/* Takes the marks for null out of the map on top of the stack. */
static void remove_nulls(lua_State *L) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        bool is_null = lua_islightuserdata(L, -1) && lua_touserdata(L, -1) == null_address();
        lua_pop(L, 1);
        if (is_null) {
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, -4);
        }
    }
}

static bool push_map(decoder_t *d, int depth, lua_Integer share) {
    lua_State *L = d->L;
    bool has_nulls = false;
    if (!owe(d, 2))
        return false;
    size_t count = (size_t)d->item.argument;
    lua_createtable(L, 0, (int)count);
    keep_shared(d, share);
    for (size_t i = 0; i < count; i++) {
        d->owed -= 2;
        if (!push_key(d) || !push_value(d, depth + 1))
            return false;
        if (lua_isnil(L, -1)) {
            has_nulls = true;
            lua_pop(L, 1);
            lua_pushlightuserdata(L, null_address());
        }
        lua_rawset(L, -3);
    }
    if (has_nulls)
        remove_nulls(L);
    return true;
}

/* Pushes the table whose head is the current item. */
static bool push_table(decoder_t *d, int depth, lua_Integer share) {
    if (depth > PL__CODEC_DEPTH_MAX + 1)
        return FAIL(d, "expected at most %d tables inside each other (the limit), found more", PL__CODEC_DEPTH_MAX + 1);
    if (!lua_checkstack(d->L, STACK_PER_LEVEL))
        return FAIL(d, "expected room on the Lua stack, found none");
    return d->item.kind == ITEM_ARRAY ? push_array(d, depth, share) : push_map(d, depth, share);
}

/* ---- tags ---- */

/* Pushes a string that must come next. */
static bool push_name(decoder_t *d, const char *what) {
    if (!next_item(d, what))
        return false;
    if (d->item.kind != ITEM_TEXT && d->item.kind != ITEM_BYTESTRING)
        return fail_expected(d, what);
    return push_string(d);
}

/* Replaces kind, module and path on top of the stack by what they lead to, which must be of Lua type `type`. */
static bool resolve(decoder_t *d, const char *kind, int type) {
    lua_State *L = d->L;
    int base = lua_gettop(L) - 2;
    const char *message = pl__codec_name_resolve(L, base + 1, base + 2, kind, d->bound);
    if (message)
        return FAIL(d, "expected the name of a %s: %s", lua_typename(L, type), message);
    if (lua_type(L, -1) != type) {
        return FAIL(d, "expected the name of a %s: \"%s\" of module \"%s\" is a %s", lua_typename(L, type),
                    lua_tostring(L, base + 2), lua_tostring(L, base + 1), luaL_typename(L, -1));
    }
    lua_replace(L, base);
    lua_settop(L, base);
    return true;
}

/* Whether the metatable on top of the stack is without a field that no object made here may have. */
static bool check_class(decoder_t *d, const char *field) {
    lua_pushstring(d->L, field);
    if (lua_rawget(d->L, -2) != LUA_TNIL)
        return FAIL(d, "expected a class of plain objects, found one with %s", field);
    lua_pop(d->L, 1);
    return true;
}

/* Replaces the class on top of the stack by the object whose fields come next. */
static bool push_fields(decoder_t *d, int depth, lua_Integer share, bool is_instance) {
    lua_State *L = d->L;
    if (is_instance) {
        lua_createtable(L, 0, 1);
        lua_insert(L, -2);
        lua_setfield(L, -2, "__index");
    }
    if (!check_class(d, "__gc") || !check_class(d, "__pipeline_slot"))
        return false;
    if (!next_item(d, "the fields of an object"))
        return false;
    if (d->item.kind != ITEM_ARRAY && d->item.kind != ITEM_MAP)
        return fail_expected(d, "the fields of an object (an array or a map)");
    if (!push_table(d, depth, share))
        return false;
    lua_insert(L, -2);
    lua_setmetatable(L, -2);
    return true;
}

/* Pushes what tag 27 stands for: a function (not when it is to be shared: only tables are), or an object. */
static bool push_named(decoder_t *d, int depth, lua_Integer share) {
    static const char what[] = "an array [kind, module, path] or [kind, module, path, fields]";
    lua_State *L = d->L;
    if (!next_item(d, what))
        return false;
    if (d->item.kind != ITEM_ARRAY || d->item.argument < 3 || d->item.argument > 4)
        return fail_expected(d, what);
    bool has_fields = d->item.argument == 4;
    if (!lua_checkstack(L, STACK_PER_LEVEL))
        return FAIL(d, "expected room on the Lua stack, found none");
    if (!push_name(d, "a kind of name"))
        return false;
    const char *kind = lua_tostring(L, -1);
    bool is_instance = strcmp(kind, PL__CODEC_INSTANCE) == 0;
    bool is_object = has_fields && (is_instance || strcmp(kind, PL__CODEC_OBJECT) == 0);
    if (!is_object && (has_fields || share != 0 || strcmp(kind, PL__CODEC_FUNCTION) != 0))
        return FAIL(d, "expected a kind of name that is known here, found \"%s\"", kind);
    if (!push_name(d, "the name of a module") || !push_name(d, "a path in a module"))
        return false;
    if (!is_object)
        return resolve(d, PL__CODEC_FUNCTION, LUA_TFUNCTION);
    return resolve(d, kind, LUA_TTABLE) && push_fields(d, depth, share, is_instance);
}

/* Pushes the table in tag 28. */
static bool push_shared(decoder_t *d, int depth) {
    static const char what[] = "an array, a map or an object to refer to";
    if (!next_item(d, what))
        return false;
    lua_Integer share = ++d->shared;
    if (d->item.kind == ITEM_ARRAY || d->item.kind == ITEM_MAP)
        return push_table(d, depth, share);
    if (d->item.kind == ITEM_TAG && d->item.argument == PL__CODEC_TAG_NAMED)
        return push_named(d, depth, share);
    return fail_expected(d, what);
}

/* Pushes the table that tag 29 refers to. */
static bool push_reference(decoder_t *d) {
    static const char what[] = "the number of a table met before";
    if (!next_item(d, what))
        return false;
    if (d->item.kind != ITEM_UINT)
        return fail_expected(d, what);
    if (d->item.argument >= (uint64_t)d->shared || lua_isnil(d->L, SHARED) ||
        lua_rawgeti(d->L, SHARED, (lua_Integer)d->item.argument + 1) == LUA_TNIL)
        return FAIL(d, "expected %s, found another number", what);
    return true;
}

/* Pushes what the resolver gives for a slot; its errors go to the caller. */
static bool push_slot(decoder_t *d) {
    static const char what[] = "the id of a slot";
    lua_State *L = d->L;
    if (lua_isnil(L, RESOLVER))
        return FAIL(d, "expected a value, found a slot (there is no resolver)");
    if (!next_item(d, what))
        return false;
    if (d->item.kind != ITEM_UINT || d->item.argument == 0)
        return fail_expected(d, what);
    if (!push_integer(d))
        return false;
    lua_pushvalue(L, RESOLVER);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    return true;
}

static bool push_tagged(decoder_t *d, int depth) {
    switch (d->item.argument) {
    case PL__CODEC_TAG_NAMED:
        return push_named(d, depth, 0);
    case PL__CODEC_TAG_SHARED:
        return push_shared(d, depth);
    case PL__CODEC_TAG_REFERENCE:
        return push_reference(d);
    case PL__CODEC_TAG_SLOT:
        return push_slot(d);
    default:
        if (d->item.argument > (uint64_t)LUA_MAXINTEGER)
            return FAIL(d, "expected a tag that is known here, found another");
        return FAIL(d, "expected a tag that is known here, found tag %I", (LUAI_UACINT)d->item.argument);
    }
}

/* Pushes the value whose first item is the current one; a table is number `depth` of those inside each other. */
static bool push_item(decoder_t *d, int depth) {
    switch (d->item.kind) {
    case ITEM_UINT:
    case ITEM_NEGINT:
        return push_integer(d);
    case ITEM_BYTESTRING:
    case ITEM_TEXT:
        return push_string(d);
    case ITEM_ARRAY:
    case ITEM_MAP:
        return push_table(d, depth, 0);
    case ITEM_TAG:
        return push_tagged(d, depth);
    case ITEM_FLOAT:
        lua_pushnumber(d->L, (lua_Number)d->item.number);
        return true;
    case ITEM_BOOL:
        lua_pushboolean(d->L, d->item.argument != 0);
        return true;
    case ITEM_NIL:
        lua_pushnil(d->L);
        return true;
    default:
        return fail_expected(d, "a value");
    }
}

/* ---- the functions ---- */

static bool decoder_init(decoder_t *d, lua_State *L) {
    luaL_checktype(L, 1, LUA_TSTRING);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    memset(d, 0, sizeof *d);
    d->bound = lua_toboolean(L, 3);
    d->items_max = luaL_optinteger(L, 4, 0);
    lua_settop(L, 2);
    lua_settop(L, SLOTS);
    luaL_checkstack(L, LUA_MINSTACK, "codec");
    d->L = L;
    d->bytes = (const unsigned char *)lua_tolstring(L, BYTES, &d->len);
    if (d->len > PL__CODEC_BYTES_MAX)
        return FAIL(d, "expected at most %d bytes (the limit), found more", (int)PL__CODEC_BYTES_MAX);
    return true;
}

static bool check_end(decoder_t *d) {
    d->at = d->pos;
    return d->pos == d->len || FAIL(d, "expected the end, found %I more bytes", (LUAI_UACINT)(d->len - d->pos));
}

static int return_failure(decoder_t *d) {
    luaL_checkstack(d->L, 4, "codec");
    lua_pushnil(d->L);
    bool is_too_much = d->items_max > 0 && d->items > d->items_max;
    lua_pushstring(d->L, is_too_much ? "ELIMIT" : "ESERIALIZE");
    lua_pushvalue(d->L, MESSAGE);
    return 3;
}

/* decode(bytes [, resolver [, bound [, most items]]]) -> value | nil, "ESERIALIZE" or "ELIMIT", message */
int pl__codec_decode(lua_State *L) {
    decoder_t d;
    if (!decoder_init(&d, L) || !push_value(&d, 1) || !check_end(&d))
        return return_failure(&d);
    return 1;
}

/* decode_list(bytes [, resolver [, bound [, most items]]]) -> list, n | nil, "ESERIALIZE" or "ELIMIT", message */
int pl__codec_decode_list(lua_State *L) {
    decoder_t d;
    if (!decoder_init(&d, L) || !next_item(&d, "an array"))
        return return_failure(&d);
    lua_Integer count = (lua_Integer)d.item.argument;
    if (d.item.kind != ITEM_ARRAY) {
        fail_expected(&d, "an array");
        return return_failure(&d);
    }
    if (!push_table(&d, 1, 0) || !check_end(&d))
        return return_failure(&d);
    lua_pushinteger(L, count);
    return 2;
}
