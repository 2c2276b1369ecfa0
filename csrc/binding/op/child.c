/*
 * child.c - the children of a run. See child.h.
 */
#include "binding/op/child.h"

#include <limits.h>

#include <lauxlib.h>

#include "binding/op/reader.h"
#include "binding/op/table.h"

enum { KNOWN_MAX = 8 };

/* The settings of `stages[at]` are those of the table at this address, which user value 1 holds. */
typedef struct {
    const void *settings;
    size_t at;
} known_t;

typedef struct {
    pl_op_t *op; /* owned; NULL: taken */
    pl_stage_new_t *stages;
    size_t size; /* room in stages */
    known_t known[KNOWN_MAX];
    size_t settings_len; /* tables held, of which the last ones are known */
} children_t;

pl_op_t *pl__children_take(lua_State *L, int index) {
    children_t *children = luaL_testudata(L, index, PL__CHILDREN_TYPE);
    pl_op_t *op = children ? children->op : NULL;
    if (op)
        children->op = NULL;
    return op;
}

static const pl_stage_new_t *find_known(const children_t *children, const void *settings) {
    size_t len = children->settings_len < KNOWN_MAX ? children->settings_len : KNOWN_MAX;
    for (size_t i = 0; i < len; i++)
        if (children->known[i].settings == settings)
            return &children->stages[children->known[i].at];
    return NULL;
}

/* The table stays at its address as long as it is held. */
static void remember(lua_State *L, children_t *children, size_t at) {
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, (lua_Integer)children->settings_len + 1);
    lua_pop(L, 1);
    children->known[children->settings_len++ % KNOWN_MAX] = (known_t){ lua_topointer(L, 2), at };
}

static children_t *check_children(lua_State *L) {
    children_t *children = luaL_checkudata(L, 1, PL__CHILDREN_TYPE);
    luaL_argcheck(L, children->op, 1, "the children of a run that has ended");
    return children;
}

/* c:add(settings, id, args, inputs | nil, after | nil, outputs | nil): one child more; what settings, a table, says is
 * read when it is given for the first time. Raises what is wrong, with its place. */
static int children_add(lua_State *L) {
    enum { SETTINGS = 2, ID, ARGS, INPUTS, AFTER, OUTPUTS };
    children_t *children = check_children(L);
    pl_op_outcome_t *outcome = &children->op->u.outcome;
    lua_settop(L, OUTPUTS);
    luaL_checktype(L, SETTINGS, LUA_TTABLE);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    luaL_argcheck(L, outcome->children_len < children->size, 1, "more children than there was to be");
    pl__reader_t R = { .L = L, .op = children->op, .depth = 1 };
    R.places[0] = (pl__reader_place_t){ "children", (lua_Integer)outcome->children_len + 1 };
    pl_stage_new_t *stage = &children->stages[outcome->children_len];
    const pl_stage_new_t *like = find_known(children, lua_topointer(L, SETTINGS));
    if (like)
        *stage = *like;
    else
        pl__reader_stage_settings(&R, SETTINGS, stage);
    pl__reader_stage_values(&R, ID, stage);
    pl__reader_seed(&R, stage);
    if (!like)
        remember(L, children, outcome->children_len);
    outcome->children_len++;
    return 0;
}

static int children_gc(lua_State *L) {
    children_t *children = luaL_checkudata(L, 1, PL__CHILDREN_TYPE);
    pl_op_free(children->op);
    children->op = NULL;
    return 0;
}

/* core.children(n) -> a list for so many children, to be given to e:outcome. */
static int children_new(lua_State *L) {
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 0 && n <= INT_MAX, 1, "out of range");
    children_t *children = lua_newuserdatauv(L, sizeof *children, 1);
    *children = (children_t){ .size = (size_t)n };
    luaL_setmetatable(L, PL__CHILDREN_TYPE);
    lua_createtable(L, 1, 0);
    lua_setiuservalue(L, -2, 1);
    children->op = pl_op_new(PL_VERB_outcome);
    if (children->op && n > 0)
        children->stages = pl_op_alloc(children->op, (size_t)n * sizeof *children->stages);
    if (!children->op || (n > 0 && !children->stages))
        return luaL_error(L, "not enough memory for %I children", (LUAI_UACINT)n);
    children->op->u.outcome.children = children->stages;
    return 1;
}

void pl__children_register(lua_State *L) {
    if (luaL_newmetatable(L, PL__CHILDREN_TYPE)) {
        lua_pushcfunction(L, children_gc);
        lua_setfield(L, -2, "__gc");
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, children_add);
        lua_setfield(L, -2, "add");
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, children_new);
    lua_setfield(L, -2, "children");
}
