/*
 * page.c - pages of trees. See page.h.
 */
#include "binding/op/page.h"

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/table.h"

#define PAGE_TYPE "pipeline.Page"
#define TAKEN_BYTES ((size_t)512 * 1024) /* at a time: a chunk with more is given in parts */

typedef struct {
    pl_op_t *op; /* owned, NULL: all was taken */
    const pl_chunk_t *chunk;
    size_t at; /* the next stage of the chunk */
} page_t;

static int page_gc(lua_State *L) {
    page_t *page = luaL_checkudata(L, 1, PAGE_TYPE);
    pl_op_free(page->op);
    *page = (page_t){ NULL, NULL, 0 };
    return 0;
}

static void set_count(lua_State *L, const char *name, lua_Integer count) {
    lua_pushinteger(L, count);
    lua_setfield(L, -2, name);
}

static size_t push_slot_of(lua_State *L, const pl_chunk_t *chunk, pl_id_t id) {
    const pl_slot_t *slot = pl_slots_find(chunk->slots, chunk->slots_len, id);
    if (!slot)
        return 0;
    pl__push_slot(L, slot);
    if (slot->cut > 0)
        set_count(L, "cut", (lua_Integer)slot->cut);
    lua_rawseti(L, -2, id);
    return slot->value.len;
}

/* On the stack: the list of stages and the table of slots. Gives the number of bytes this has copied, about. */
static size_t push_one(lua_State *L, const pl_chunk_t *chunk, const pl_stage_t *stage, lua_Integer n) {
    size_t bytes = stage->args.len;
    pl__push_stage(L, stage);
    if (stage->args_cut > 0)
        set_count(L, "args_cut", (lua_Integer)stage->args_cut);
    if (stage->children >= 0) {
        set_count(L, "child_count", stage->children);
        set_count(L, "children_done", stage->children_done);
    }
    lua_rawseti(L, -3, n);
    for (size_t i = 0; i < stage->outputs_len; i++)
        bytes += push_slot_of(L, chunk, stage->outputs[i].slot);
    return bytes;
}

/* page:take() -> list of STAGEREC, slots of their outputs by id; nil when all were taken */
static int page_take(lua_State *L) {
    page_t *page = luaL_checkudata(L, 1, PAGE_TYPE);
    const pl_chunk_t *chunk = page->chunk;
    if (!chunk) {
        pl_op_free(page->op);
        page->op = NULL;
        lua_pushnil(L);
        return 1;
    }
    lua_settop(L, 1);
    lua_createtable(L, (int)(chunk->len - page->at), 0);
    lua_newtable(L);
    size_t bytes = 0, at = page->at;
    for (lua_Integer n = 1; at < chunk->len && bytes < TAKEN_BYTES; n++)
        bytes += push_one(L, chunk, &chunk->stages[at++], n);
    if (at == chunk->len) {
        page->chunk = chunk->next;
        at = 0;
    }
    page->at = at;
    return 2;
}

int pl__page_push(lua_State *L, pl_op_t *op) {
    const pl_op_tree_page_t *get = &op->u.tree_page;
    lua_createtable(L, 0, 4);
    set_count(L, "root", get->root);
    set_count(L, "len", (lua_Integer)get->len);
    if (get->root_key.ptr) {
        pl__push_str(L, get->root_key);
        lua_setfield(L, -2, "key");
    }
    if (get->next != 0)
        set_count(L, "next", get->next);
    page_t *page = lua_newuserdatauv(L, sizeof *page, 0);
    *page = (page_t){ NULL, NULL, 0 };
    luaL_setmetatable(L, PAGE_TYPE);
    *page = (page_t){ op, get->chunks, 0 };
    op->held = true;
    return 2;
}

void pl__page_register(lua_State *L) {
    static const luaL_Reg METHODS[] = { { "take", page_take }, { NULL, NULL } };
    if (luaL_newmetatable(L, PAGE_TYPE)) {
        lua_pushcfunction(L, page_gc);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "__gc");
        lua_setfield(L, -2, "__close");
        luaL_newlib(L, METHODS);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}
