/*
 * reader.c - Lua values as arguments of ops. See reader.h.
 */
#include "binding/op/reader.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include <lauxlib.h>

/* ---- complaints -------------------------------------------------------------------------------------------- */

/* Leaves the builder with "place.field: text". `field` may be NULL. */
void pl__reader_refuse(pl__reader_t *R, const char *field, const char *text) {
    lua_State *L = R->L;
    luaL_Buffer buffer;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    luaL_buffinit(L, &buffer);
    for (int i = 0; i < R->depth; i++) {
        const pl__reader_place_t *place = &R->places[i];
        if (i > 0)
            luaL_addchar(&buffer, '.');
        luaL_addstring(&buffer, place->name);
        if (place->index > 0) {
            lua_pushfstring(L, "[%I]", (LUAI_UACINT)place->index);
            luaL_addvalue(&buffer);
        }
    }
    if (field && R->depth > 0)
        luaL_addchar(&buffer, '.');
    if (field)
        luaL_addstring(&buffer, field);
    if (field || R->depth > 0)
        luaL_addstring(&buffer, ": ");
    luaL_addstring(&buffer, text);
    luaL_pushresult(&buffer);
    R->misuse = true;
    lua_error(L);
}

void pl__reader_refuse_type(pl__reader_t *R, const char *field, const char *expected) {
    pl__reader_refuse(R, field, lua_pushfstring(R->L, "%s expected, got %s", expected, luaL_typename(R->L, -1)));
}

void pl__reader_refuse_range(pl__reader_t *R, const char *field, lua_Integer min, lua_Integer max) {
    pl__reader_refuse(R, field, lua_pushfstring(R->L, "not from %I to %I", (LUAI_UACINT)min, (LUAI_UACINT)max));
}

void pl__reader_out_of_memory(pl__reader_t *R) {
    R->no_memory = true;
    lua_pushliteral(R->L, "not enough memory");
    lua_error(R->L);
}

/* ---- the value on top of the stack ------------------------------------------------------------------------- */

/* Each take_ reads the value on top and pops it. */
lua_Integer pl__reader_take_integer(pl__reader_t *R, const char *field, lua_Integer min, lua_Integer max) {
    int is_integer;
    lua_Integer value = lua_tointegerx(R->L, -1, &is_integer);
    if (lua_type(R->L, -1) != LUA_TNUMBER)
        pl__reader_refuse_type(R, field, "integer");
    if (!is_integer)
        pl__reader_refuse(R, field, "integer expected, got a float");
    if (value < min || value > max)
        pl__reader_refuse_range(R, field, min, max);
    lua_pop(R->L, 1);
    return value;
}

pl_id_t pl__reader_take_id(pl__reader_t *R, const char *field) {
    return pl__reader_take_integer(R, field, 1, LUA_MAXINTEGER);
}

pl_str_t pl__reader_take_str(pl__reader_t *R, const char *field) {
    pl_str_t borrowed, copy;
    if (lua_type(R->L, -1) != LUA_TSTRING)
        pl__reader_refuse_type(R, field, "string");
    borrowed.ptr = lua_tolstring(R->L, -1, &borrowed.len);
    if (pl__arena_copy(&R->op->arena, borrowed, &copy) != PL_OK)
        pl__reader_out_of_memory(R);
    lua_pop(R->L, 1);
    return copy;
}

double pl__reader_take_number(pl__reader_t *R, const char *field) {
    if (lua_type(R->L, -1) != LUA_TNUMBER)
        pl__reader_refuse_type(R, field, "number");
    double value = lua_tonumber(R->L, -1);
    if (!isfinite(value) || value < 0)
        pl__reader_refuse(R, field, "a finite number, 0 or more, expected");
    lua_pop(R->L, 1);
    return value;
}

/* ---- fields of the table at index t ------------------------------------------------------------------------ */

/* Pushes the field; false (and nothing pushed) when it is nil. */
bool pl__reader_get(pl__reader_t *R, int t, const char *field) {
    if (lua_getfield(R->L, t, field) != LUA_TNIL)
        return true;
    lua_pop(R->L, 1);
    return false;
}

void pl__reader_require(pl__reader_t *R, int t, const char *field, const char *expected) {
    if (lua_getfield(R->L, t, field) == LUA_TNIL)
        pl__reader_refuse_type(R, field, expected);
}

pl_id_t pl__reader_id_field(pl__reader_t *R, int t, const char *field) {
    pl__reader_require(R, t, field, "integer");
    return pl__reader_take_id(R, field);
}

pl_id_t pl__reader_opt_id_field(pl__reader_t *R, int t, const char *field) {
    return pl__reader_get(R, t, field) ? pl__reader_take_id(R, field) : 0;
}

lua_Integer pl__reader_opt_integer_field(pl__reader_t *R, int t, const char *field, lua_Integer otherwise,
                                         lua_Integer min, lua_Integer max) {
    return pl__reader_get(R, t, field) ? pl__reader_take_integer(R, field, min, max) : otherwise;
}

pl_str_t pl__reader_str_field(pl__reader_t *R, int t, const char *field) {
    pl__reader_require(R, t, field, "string");
    return pl__reader_take_str(R, field);
}

pl_str_t pl__reader_opt_str_field(pl__reader_t *R, int t, const char *field) {
    return pl__reader_get(R, t, field) ? pl__reader_take_str(R, field) : PL_STR_NONE;
}

double pl__reader_opt_number_field(pl__reader_t *R, int t, const char *field, double otherwise) {
    return pl__reader_get(R, t, field) ? pl__reader_take_number(R, field) : otherwise;
}

pl_usec_t pl__reader_opt_time_field(pl__reader_t *R, int t, const char *field) {
    return pl__reader_get(R, t, field) ? pl_clock_from_seconds(pl__reader_take_number(R, field)) : 0;
}

bool pl__reader_opt_flag_field(pl__reader_t *R, int t, const char *field) {
    if (!pl__reader_get(R, t, field))
        return false;
    if (!lua_isboolean(R->L, -1))
        pl__reader_refuse_type(R, field, "boolean");
    bool value = lua_toboolean(R->L, -1);
    lua_pop(R->L, 1);
    return value;
}

/* Returns the position of the field's text in the NULL-terminated list; nil is the first. */
int pl__reader_choice_field(pl__reader_t *R, int t, const char *field, const char *const *choices) {
    if (!pl__reader_get(R, t, field))
        return 0;
    if (lua_type(R->L, -1) != LUA_TSTRING)
        pl__reader_refuse_type(R, field, "string");
    const char *text = lua_tostring(R->L, -1);
    for (int i = 0; choices[i]; i++) {
        if (strcmp(choices[i], text) == 0) {
            lua_pop(R->L, 1);
            return i;
        }
    }
    pl__reader_refuse(R, field, lua_pushfstring(R->L, "unknown choice '%s'", text));
    return 0;
}

/* ---- lists ------------------------------------------------------------------------------------------------- */

/* Opens the list on top of the stack (a table, or nil for an empty one). Returns its length. */
size_t pl__reader_list_open(pl__reader_t *R, const char *name) {
    if (!lua_istable(R->L, -1) && !lua_isnil(R->L, -1))
        pl__reader_refuse_type(R, name, "table");
    R->places[R->depth++] = (pl__reader_place_t){ name, 0 };
    return lua_istable(R->L, -1) ? (size_t)lua_rawlen(R->L, -1) : 0;
}

void pl__reader_list_close(pl__reader_t *R) {
    R->depth--;
    lua_pop(R->L, 1);
}

/* Pushes item i (from 0), which must be a table; returns its index. */
int pl__reader_list_table(pl__reader_t *R, size_t i) {
    R->places[R->depth - 1].index = (lua_Integer)i + 1;
    if (lua_rawgeti(R->L, -1, (lua_Integer)i + 1) != LUA_TTABLE)
        pl__reader_refuse_type(R, NULL, "table");
    return lua_gettop(R->L);
}

/* Returns room for n items; NULL for none. */
void *pl__reader_array(pl__reader_t *R, size_t n, size_t size) {
    if (n == 0)
        return NULL;
    void *memory = n <= SIZE_MAX / size ? pl__arena_get(&R->op->arena, n * size) : NULL;
    if (!memory)
        pl__reader_out_of_memory(R);
    return memory;
}

const pl_id_t *pl__reader_take_ids(pl__reader_t *R, const char *field, size_t *len) {
    size_t n = pl__reader_list_open(R, field);
    pl_id_t *ids = pl__reader_array(R, n, sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        R->places[R->depth - 1].index = (lua_Integer)i + 1;
        lua_rawgeti(R->L, -1, (lua_Integer)i + 1);
        ids[i] = pl__reader_take_id(R, NULL);
        if (i > 0 && ids[i] <= ids[i - 1])
            pl__reader_refuse(R, NULL, "the ids must be ascending and without duplicates");
    }
    pl__reader_list_close(R);
    *len = n;
    return ids;
}

/* ---- arguments --------------------------------------------------------------------------------------------- */

/* Each arg_ reads argument `arg` of the method. */
void pl__reader_arg_push(pl__reader_t *R, int arg) {
    R->arg = arg;
    lua_pushvalue(R->L, arg);
}

pl_id_t pl__reader_arg_id(pl__reader_t *R, int arg) {
    pl__reader_arg_push(R, arg);
    return pl__reader_take_id(R, NULL);
}

pl_str_t pl__reader_arg_str(pl__reader_t *R, int arg) {
    pl__reader_arg_push(R, arg);
    return pl__reader_take_str(R, NULL);
}

pl_str_t pl__reader_arg_opt_str(pl__reader_t *R, int arg) {
    return lua_isnil(R->L, arg) ? PL_STR_NONE : pl__reader_arg_str(R, arg);
}

void pl__reader_arg_table(pl__reader_t *R, int arg) {
    pl__reader_arg_push(R, arg);
    if (!lua_istable(R->L, -1))
        pl__reader_refuse_type(R, NULL, "table");
    lua_pop(R->L, 1);
}

/* Pushes a list. */
void pl__reader_arg_list(pl__reader_t *R, int arg) {
    pl__reader_arg_table(R, arg);
    lua_pushvalue(R->L, arg);
}

/* An id, or the idempotence key of a root. */
void pl__reader_arg_id_or_key(pl__reader_t *R, int arg, pl_id_t *id, pl_str_t *key) {
    if (lua_type(R->L, arg) == LUA_TSTRING)
        *key = pl__reader_arg_str(R, arg);
    else
        *id = pl__reader_arg_id(R, arg);
}

void pl__reader_failure(pl__reader_t *R, int t, pl_failure_t *failure) {
    if (!pl__reader_get(R, t, "failure"))
        return;
    if (!lua_istable(R->L, -1))
        pl__reader_refuse_type(R, "failure", "table");
    int table = lua_gettop(R->L);
    R->places[R->depth++] = (pl__reader_place_t){ "failure", 0 };
    failure->error_class = pl__reader_opt_str_field(R, table, "error_class");
    failure->message = pl__reader_opt_str_field(R, table, "message");
    failure->traceback = pl__reader_opt_str_field(R, table, "traceback");
    R->depth--;
    lua_pop(R->L, 1);
}
