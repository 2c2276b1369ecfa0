/*
 * find.c - ops that find stages for those who look: their arguments from Lua, their results to Lua.
 */
#include "binding/op/table.h"

#include <limits.h>

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/reader.h"

void pl__build_ids_find(pl__reader_t *R) {
    pl_op_ids_find_t *find = &R->op->u.ids_find;
    find->from = pl__reader_arg_id(R, 2);
    find->to = pl__reader_arg_id(R, 3);
    lua_Integer limit = luaL_optinteger(R->L, 4, 1);
    find->limit = limit < 1 || limit > INT_MAX ? 1 : (int)limit;
}

static void push_ids(lua_State *L, const pl_id_t *ids, size_t len) {
    lua_createtable(L, (int)len, 0);
    for (size_t i = 0; i < len; i++) {
        lua_pushinteger(L, ids[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

int pl__push_ids_find(lua_State *L, const pl_op_t *op) {
    const pl_op_ids_find_t *find = &op->u.ids_find;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    push_ids(L, find->roots, find->roots_len);
    push_ids(L, find->stages, find->stages_len);
    return 2;
}
