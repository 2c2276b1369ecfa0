/*
 * file.c - ops on the whole file: settings, check, repair, backup.
 */
#include "binding/op/table.h"

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/reader.h"

/* ---- arguments -------------------------------------------------------------------------------------------------- */

/* e:meta(key) -> string or nil; e:meta(key, value, if_absent) -> what is there now */
void pl__build_meta(pl__reader_t *R) {
    pl_op_meta_t *meta = &R->op->u.meta;
    meta->key = pl__reader_arg_str(R, 2);
    meta->value = pl__reader_arg_opt_str(R, 3);
    meta->write = meta->value.ptr;
    meta->if_absent = lua_toboolean(R->L, 4);
}

/* e:counts_get() -> list of {queue=, ready=, delayed=, claimed=}, stages, workers */
PL__BUILDS_NOTHING(counts_get)

/* e:space_get() -> {bytes=, free=, log=, shrinks=, keep_done=, keep_aborted=, keep_dead=, max_bytes=, sweeps=, done=,
 * aborted=, dead=, names=}, the last four {count=, more=, oldest=}: what may go */
PL__BUILDS_NOTHING(space_get)

/* e:sweep() -> trees, dead tasks, names deleted since they were old */
PL__BUILDS_NOTHING(sweep)

/* e:check(part) -> list of texts, next part or nil */
void pl__build_check(pl__reader_t *R) {
    R->op->u.check.part = (int)luaL_checkinteger(R->L, 2);
}

/* e:repair(title) -> how many rows were changed, or nil, "ENOTFOUND" (no mend), ... */
void pl__build_repair(pl__reader_t *R) {
    R->op->u.repair.title = pl__reader_arg_str(R, 2);
}

/* e:tables_get(part) -> {table=, index= or nil, bytes=, unused=}, next part or nil */
void pl__build_tables_get(pl__reader_t *R) {
    R->op->u.tables_get.part = (int)luaL_checkinteger(R->L, 2);
}

/* e:backup(path, pages) -> pages left, pages in all */
void pl__build_backup(pl__reader_t *R) {
    R->op->u.backup.path = pl__reader_arg_str(R, 2);
    R->op->u.backup.pages = (int)luaL_checkinteger(R->L, 3);
    R->op->u.backup.spares = lua_toboolean(R->L, 4);
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

int pl__push_repair(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushinteger(L, op->u.repair.mended);
    return 1;
}

static void set_age(lua_State *L, const char *name, pl_usec_t age) {
    pl__push_time(L, age < 0 ? -PL_USEC_PER_SEC : age);
    lua_setfield(L, -2, name);
}

static void set_bytes(lua_State *L, const char *name, int64_t bytes) {
    lua_pushinteger(L, bytes);
    lua_setfield(L, -2, name);
}

static void set_due(lua_State *L, const char *name, const pl_due_t *due) {
    lua_createtable(L, 0, 3);
    set_bytes(L, "count", due->count);
    lua_pushboolean(L, due->is_more);
    lua_setfield(L, -2, "more");
    if (due->oldest)
        set_age(L, "oldest", due->oldest);
    lua_setfield(L, -2, name);
}

int pl__push_space_get(lua_State *L, const pl_op_t *op) {
    const pl_op_space_get_t *get = &op->u.space_get;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, 0, 15);
    set_bytes(L, "bytes", get->space.bytes);
    set_bytes(L, "free", get->space.free);
    set_bytes(L, "log", get->space.log);
    lua_pushboolean(L, get->space.shrinks);
    lua_setfield(L, -2, "shrinks");
    set_age(L, "keep_done", get->retention.done);
    set_age(L, "keep_aborted", get->retention.aborted);
    set_age(L, "keep_dead", get->retention.dead);
    set_age(L, "keep_journals_done", get->retention.journals_done);
    set_age(L, "keep_journals_aborted", get->retention.journals_aborted);
    if (get->retention.max_bytes > 0)
        set_bytes(L, "max_bytes", get->retention.max_bytes);
    lua_pushboolean(L, get->sweeps);
    lua_setfield(L, -2, "sweeps");
    set_due(L, "done", &get->done);
    set_due(L, "aborted", &get->aborted);
    set_due(L, "dead", &get->dead);
    set_due(L, "names", &get->names);
    return 1;
}

int pl__push_tables_get(lua_State *L, const pl_op_t *op) {
    const pl_op_tables_get_t *get = &op->u.tables_get;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, 0, 4);
    pl__push_str(L, get->table);
    lua_setfield(L, -2, "table");
    pl__push_str(L, get->index);
    lua_setfield(L, -2, "index");
    set_bytes(L, "bytes", get->bytes);
    set_bytes(L, "unused", get->unused);
    if (get->next == 0)
        return 1;
    lua_pushinteger(L, get->next);
    return 2;
}

int pl__push_sweep(lua_State *L, const pl_op_t *op) {
    const pl_swept_t *swept = &op->u.sweep.swept;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushinteger(L, swept->trees);
    lua_pushinteger(L, swept->dead);
    lua_pushinteger(L, swept->names);
    return 3;
}

int pl__push_backup(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushinteger(L, op->u.backup.left);
    lua_pushinteger(L, op->u.backup.total);
    return 2;
}
