/*
 * codec.h - the value codec: Lua values to CBOR (RFC 8949) and back, written over lua_State without a tree between.
 *
 * What becomes of what:
 *   nil, boolean, integer, float    null, boolean, integer, 64-bit float (so 1 and 1.0 differ, NaN and -0.0 survive)
 *   string                          text if it is valid UTF-8, else bytes
 *   keys exactly 1..n, n >= 0       array; any other table is a map, its keys in the order of RFC 8949 section 4.2.1
 *   table met twice, or in a cycle  tag 28 around the first, tag 29 with its number for the others
 *   function of a loaded module     27(["lua-function", module, path])
 *   object                          27(["lua-object", module, path, fields]): module and path lead to its metatable
 *   object with a throw-away        27(["lua-instance", module, path, fields]): they lead to its class, and the
 *   metatable { __index = class }     metatable is made again
 *   slot                            PL__CODEC_TAG_SLOT(id)
 *
 * A path is "" (the module itself) or up to four fields with dots between. User values are read raw: the only code of
 * the user that runs is __defer (encoding, protected) and a module under the configured prefixes (decoding, in
 * `require`).
 *
 * Five files share this header: codec.c (registration), text.c, names.c, encode.c, decode.c.
 * All state is in the table that the functions have as their first upvalue: a process may run any number of Lua states.
 * All memory belongs to Lua, so an error raised by Lua (out of memory) leaks nothing.
 */
#ifndef PL_BINDING_VALUE_CODEC_H
#define PL_BINDING_VALUE_CODEC_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define PL__CODEC_TAG_NAMED 27         /* serialised language-independent object: type name and arguments */
#define PL__CODEC_TAG_SHARED 28        /* a value that is referred to */
#define PL__CODEC_TAG_REFERENCE 29     /* the number of such a value, counted from 0 in the order of their heads */
#define PL__CODEC_TAG_SLOT 1347375956u /* private: the id of a slot, replaced by its value at run time */

#define PL__CODEC_DEPTH_MAX 64                  /* tables inside each other, in one value */
#define PL__CODEC_BYTES_MAX (64u * 1024 * 1024) /* of one encoded value or argument list */
#define PL__CODEC_ITEMS_MAX (4 * 1024 * 1024)   /* fields of all tables of one value or argument list */

#define PL__CODEC_FUNCTION "lua-function"
#define PL__CODEC_OBJECT "lua-object"
#define PL__CODEC_INSTANCE "lua-instance"

/* The state: a table, upvalue 1 of every function of the codec. */
#define PL__CODEC_STATE lua_upvalueindex(1)
enum {
    PL__CODEC_SLOT_OF = 1, /* function(table) -> slot id, or nil */
    PL__CODEC_LOOKUP,      /* function(module, path, kind) -> value for a name that leads nowhere, or nil */
    PL__CODEC_REGISTERED,  /* value -> the name it was registered under */
    PL__CODEC_PREFIXES,    /* list of module prefixes */
    PL__CODEC_NAMES,       /* weak keys: function or table -> { module, path }, as found last */
    PL__CODEC_BOUND_NAMES, /* the same for bound names */
    PL__CODEC_HARMLESS,    /* set of the built-in functions that bound names may lead to */
    PL__CODEC_DANGEROUS,   /* set of the built-in functions and libraries that no name leads to */
    PL__CODEC_STATE_LEN = PL__CODEC_DANGEROUS
};

/* Adds encode, encode_value, decode, decode_list, set_hooks and the functions about names to the table on top of the
 * stack. Data errors are returned as nil, "ESERIALIZE", message. */
void pl__codec_register(lua_State *L);

/* Between the files of the codec. */

int pl__codec_encode(lua_State *L);
int pl__codec_encode_value(lua_State *L);
int pl__codec_decode(lua_State *L);
int pl__codec_decode_list(lua_State *L);

/* Whether the bytes are UTF-8 as RFC 3629 has it: no surrogates, nothing over U+10FFFF, shortest forms only. */
bool pl__codec_is_utf8(const char *bytes, size_t len);

/* ---- names (names.c) ---- */

/* Fills the state on top of the stack with what names need. */
void pl__codec_names_init(lua_State *L);
/* Adds set_module_prefixes, may_require, find_name, field_of and reaches_out to the table below the state that is on
 * top of the stack, and pops the state. */
void pl__codec_names_register(lua_State *L);

/* Looks for the function or table at `index` in the loaded modules; with `module` != 0 only in the one whose name is
 * at that index. `bound`: only names that a stored call may have. Returns true and pushes its module and path, or
 * pushes nothing. */
bool pl__codec_name_find(lua_State *L, int index, int module, bool bound);

/* Pushes what the module and path at these indices lead to; `kind` is told to the lookup hook. Returns NULL, or a
 * message (on top of the stack) after pushing it instead. */
const char *pl__codec_name_resolve(lua_State *L, int module, int path, const char *kind, bool bound);

/* Replaces the error value on top of the stack by its text. Returns it; never runs a metamethod. */
const char *pl__codec_error_text(lua_State *L);

#endif
