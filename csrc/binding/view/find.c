/*
 * find.c - ops that find stages for those who look: their arguments from Lua, their results to Lua.
 */
#include "binding/op/table.h"

#include <limits.h>

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/reader.h"

/* e:ids_find(from, to, limit) -> ids of roots, ids of stages */
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

/* ---- roots ------------------------------------------------------------------------------------------------------ */

/* e:roots_find{class=, queue=, ..., before=, limit=, counts=} -> list of STAGEREC, next id or nil; or numbers */
void pl__build_roots_find(pl__reader_t *R) {
    pl_op_roots_find_t *find = &R->op->u.roots_find;
    pl_roots_filter_t *filter = &find->filter;
    pl__reader_arg_table(R, 2);
    filter->class_path = pl__reader_opt_str_field(R, 2, "class");
    filter->queue = pl__reader_opt_str_field(R, 2, "queue");
    filter->key = pl__reader_opt_str_field(R, 2, "key");
    filter->text = pl__reader_opt_str_field(R, 2, "text");
    filter->error = pl__reader_opt_str_field(R, 2, "error");
    filter->any_error = pl__reader_opt_flag_field(R, 2, "any_error");
    filter->since = pl__reader_opt_time_field(R, 2, "since");
    filter->until = pl__reader_opt_time_field(R, 2, "until");
    if (filter->until == 0 && pl__reader_get(R, 2, "until")) {
        lua_pop(R->L, 1);
        filter->until = 1; /* the epoch: nothing is that old, and 0 stands for no limit */
    }
    for (int word = 0; word < PL_STAGE_WORDS_LEN; word++)
        filter->words |= pl__reader_opt_flag_field(R, 2, pl_stage_word_name(word)) ? 1U << word : 0;
    find->before = pl__reader_opt_id_field(R, 2, "before");
    find->limit = (int)pl__reader_opt_integer_field(R, 2, "limit", 50, 1, 100000);
    find->counts = pl__reader_opt_flag_field(R, 2, "counts");
}

static int push_counts(lua_State *L, const pl_op_roots_find_t *find) {
    lua_createtable(L, 0, PL_STAGE_WORDS_LEN + 1);
    for (int word = 0; word < PL_STAGE_WORDS_LEN; word++)
        pl__set_integer(L, pl_stage_word_name(word), find->by_word[word]);
    if (find->is_more)
        pl__set_boolean(L, "more", true);
    return 1;
}

int pl__push_roots_find(lua_State *L, const pl_op_t *op) {
    const pl_op_roots_find_t *find = &op->u.roots_find;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    if (find->counts)
        return push_counts(L, find);
    pl__push_stages(L, find->stages, find->len);
    if (find->next == 0)
        return 1;
    lua_pushinteger(L, find->next);
    return 2;
}

/* e:roots_over{since=, before=, limit=} -> done, aborted */
void pl__build_roots_over(pl__reader_t *R) {
    pl_op_roots_over_t *over = &R->op->u.roots_over;
    pl__reader_arg_table(R, 2);
    over->since = pl__reader_opt_time_field(R, 2, "since");
    over->before = pl__reader_opt_time_field(R, 2, "before");
    over->limit = pl__reader_opt_integer_field(R, 2, "limit", 1, 1, LUA_MAXINTEGER);
}

int pl__push_roots_over(lua_State *L, const pl_op_t *op) {
    const pl_op_roots_over_t *over = &op->u.roots_over;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushinteger(L, over->done);
    lua_pushinteger(L, over->aborted);
    return 2;
}
