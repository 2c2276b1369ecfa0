/*
 * sql.c - ops with the user's SQL: parameters from Lua, rows to Lua.
 */
#include "binding/op/table.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/reader.h"
#include "binding/value/codec.h"

#define SQL_VALUES_MAX 32766 /* of one statement, in SQLite */

/* ---- arguments -------------------------------------------------------------------------------------------------- */

/* What JSON's null is in Lua. */
static bool is_null(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, index);
}

/* Reads the value on top of the stack, and pops it. Text is what is UTF-8 and has no zero bytes, else it is a blob. */
static pl_value_t take_value(pl__reader_t *R) {
    lua_State *L = R->L;
    pl_value_t value = { .kind = PL_VALUE_NULL };
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        value.kind = PL_VALUE_INTEGER;
        value.integer = lua_toboolean(L, -1);
        break;
    case LUA_TNUMBER:
        value.kind = lua_isinteger(L, -1) ? PL_VALUE_INTEGER : PL_VALUE_REAL;
        value.integer = value.kind == PL_VALUE_INTEGER ? lua_tointeger(L, -1) : 0;
        value.real = lua_tonumber(L, -1);
        if (value.real != value.real)
            pl__reader_refuse(R, NULL, "not a number (nan) cannot be stored: it would become NULL");
        break;
    case LUA_TSTRING:
        value.bytes = pl__reader_take_str(R, NULL);
        value.kind = PL_VALUE_BLOB;
        if (pl__codec_is_utf8(value.bytes.ptr, value.bytes.len) && !memchr(value.bytes.ptr, '\0', value.bytes.len))
            value.kind = PL_VALUE_TEXT;
        return value;
    default:
        if (!lua_isnil(L, -1) && !is_null(L, -1))
            pl__reader_refuse_type(R, NULL, "nil, boolean, number or string");
    }
    lua_pop(L, 1);
    return value;
}

/* Arguments: text, table of values, how many there are, whether its rows are wanted. */
void pl__build_sql(pl__reader_t *R) {
    pl_op_sql_t *sql = &R->op->u.sql;
    sql->text = pl__reader_arg_str(R, 2);
    pl__reader_arg_table(R, 3);
    pl__reader_arg_push(R, 4);
    size_t n = (size_t)pl__reader_take_integer(R, NULL, 0, SQL_VALUES_MAX);
    sql->query = lua_toboolean(R->L, 5);
    R->arg = 3;
    pl_value_t *values = pl__reader_array(R, n, sizeof *values);
    R->places[R->depth++] = (pl__reader_place_t){ "values", 0 };
    for (size_t i = 0; i < n; i++) {
        R->places[R->depth - 1].index = (lua_Integer)i + 1;
        lua_rawgeti(R->L, 3, (lua_Integer)i + 1);
        values[i] = take_value(R);
    }
    R->depth--;
    sql->values = values;
    sql->values_len = n;
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

/* NULL is not pushed: false. */
static bool push_value(lua_State *L, const pl_value_t *value) {
    switch (value->kind) {
    case PL_VALUE_INTEGER:
        lua_pushinteger(L, value->integer);
        return true;
    case PL_VALUE_REAL:
        lua_pushnumber(L, value->real);
        return true;
    case PL_VALUE_NULL:
        return false;
    default:
        lua_pushlstring(L, value->bytes.ptr, value->bytes.len);
        return true;
    }
}

/* A row on top of the stack gets its values; the names of the columns are in the table at index `names`. */
static void set_row(lua_State *L, const pl_row_t *row, size_t columns, int names) {
    for (size_t i = 0; i < columns; i++) {
        lua_rawgeti(L, names, (lua_Integer)i + 1);
        if (push_value(L, &row->values[i]))
            lua_rawset(L, -3);
        else
            lua_pop(L, 1);
    }
}

static void push_rows(lua_State *L, const pl_op_sql_t *sql) {
    lua_createtable(L, (int)sql->columns_len, 0);
    int names = lua_gettop(L);
    for (size_t i = 0; i < sql->columns_len; i++) {
        pl__push_str(L, sql->columns[i]);
        lua_rawseti(L, names, (lua_Integer)i + 1);
    }
    lua_createtable(L, sql->rows_len < INT_MAX ? (int)sql->rows_len : 0, 0);
    lua_Integer n = 0;
    for (const pl_row_t *row = sql->rows; row; row = row->next) {
        lua_createtable(L, 0, (int)sql->columns_len);
        set_row(L, row, sql->columns_len, names);
        lua_rawseti(L, -2, ++n);
    }
}

/* A query: the list of rows. Else how many were changed, and the id of the row inserted last, if there is one. */
int pl__push_sql(lua_State *L, const pl_op_t *op) {
    const pl_op_sql_t *sql = &op->u.sql;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    if (sql->query) {
        push_rows(L, sql);
        return 1;
    }
    lua_pushinteger(L, sql->changes);
    if (sql->rowid == 0)
        return 1;
    lua_pushinteger(L, sql->rowid);
    return 2;
}
