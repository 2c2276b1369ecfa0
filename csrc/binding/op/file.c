/*
 * file.c - ops on the whole file: settings, check, backup.
 */
#include "binding/op/table.h"

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/reader.h"

/* ---- arguments -------------------------------------------------------------------------------------------------- */

void pl__build_meta(pl__reader_t *R) {
    pl_op_meta_t *meta = &R->op->u.meta;
    meta->key = pl__reader_arg_str(R, 2);
    meta->value = pl__reader_arg_opt_str(R, 3);
    meta->write = meta->value.ptr;
    meta->if_absent = lua_toboolean(R->L, 4);
}

void pl__build_nothing(pl__reader_t *R) {
    (void)R;
}

void pl__build_check(pl__reader_t *R) {
    R->op->u.check.part = (int)luaL_checkinteger(R->L, 2);
}

void pl__build_backup(pl__reader_t *R) {
    R->op->u.backup.path = pl__reader_arg_str(R, 2);
    R->op->u.backup.pages = (int)luaL_checkinteger(R->L, 3);
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

int pl__push_meta(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK && op->rc != PL_ENOTFOUND)
        return pl__push_failed(L, op);
    pl__push_str(L, op->rc == PL_OK ? op->u.meta.value : PL_STR_NONE);
    return 1;
}

int pl__push_check(lua_State *L, const pl_op_t *op) {
    const pl_op_check_t *check = &op->u.check;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, (int)check->len, 0);
    for (size_t i = 0; i < check->len; i++) {
        pl__push_str(L, check->found[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (check->next == 0)
        return 1;
    lua_pushinteger(L, check->next);
    return 2;
}

int pl__push_backup(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushinteger(L, op->u.backup.left);
    lua_pushinteger(L, op->u.backup.total);
    return 2;
}
