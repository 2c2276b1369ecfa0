/*
 * timetable.c - timers in the order they fall due. See timetable.h.
 *
 * An entry has the number of its place; under that number the table in the user value has its timer, and the timer has
 * the number in its field 0. An entry is a node of the heap (base/heap.h), or of the list of those that are due soon,
 * or it is free. Entries do not move, for the heap points to them; they come in blocks, which are freed when there are
 * many and no timer is left.
 *
 * Invariants
 *   1. Each timer that is in the timetable is at its place in the user value; a free place has false or nil there. So a
 *      number that is out of date leads nowhere.
 *   2. The list of those due soon is in order: none has a time before that of its neighbour.
 */
#include "binding/tasklet/timetable.h"

#include <string.h>

#include <lauxlib.h>

#include "base/heap.h"
#include "base/memory.h"

#define TIMETABLE_TYPE "pipeline.Timetable"

enum { BLOCK = 64, BLOCKS_KEPT = 128 };

typedef struct {
    pl_heap_node_t node; /* first; of the list: next and prev */
    lua_Number due;
    int place;
    bool is_used, is_soon;
} entry_t;

typedef struct {
    entry_t **blocks;
    int block_count, count;
    int in_hand;   /* entries that are neither free nor used: should memory run out, for ever */
    entry_t *free; /* by node.next */
    pl_heap_node_t *heap;
    entry_t *soon, *soon_last;
    uint64_t order;
    bool closed;
} timetable_t;

/* ---- entries ----------------------------------------------------------------------------------------------- */

static void put_free(timetable_t *self, entry_t *entry) {
    entry->is_used = false;
    entry->node.next = self->free ? &self->free->node : NULL;
    self->free = entry;
}

static void free_blocks(timetable_t *self) {
    for (int i = 0; i < self->block_count; i++)
        pl__free(self->blocks[i]);
    pl__free(self->blocks);
    self->blocks = NULL;
    self->block_count = 0;
    self->free = NULL;
}

static bool add_block(timetable_t *self) {
    entry_t **blocks = pl__realloc(self->blocks, ((size_t)self->block_count + 1) * sizeof *blocks);
    if (!blocks)
        return false;
    self->blocks = blocks;
    entry_t *block = pl__alloc(BLOCK * sizeof *block);
    if (!block)
        return false;
    int first = self->block_count * BLOCK + 1;
    blocks[self->block_count++] = block;
    for (int i = BLOCK - 1; i >= 0; i--) {
        block[i].place = first + i;
        put_free(self, &block[i]);
    }
    return true;
}

/* Many timers are gone: so is their memory. */
static void shrink(lua_State *L, timetable_t *self, int index) {
    lua_newtable(L);
    if (self->count > 0 || self->in_hand > 0) { /* a finalizer has added one */
        lua_pop(L, 1);
        return;
    }
    lua_setiuservalue(L, index, 1);
    free_blocks(self);
}

static entry_t *take_free(lua_State *L, timetable_t *self, int index) {
    if (self->count == 0 && self->in_hand == 0 && self->block_count > BLOCKS_KEPT)
        shrink(L, self, index);
    if (self->closed || (!self->free && !add_block(self)))
        luaL_error(L, self->closed ? "the timetable is closed" : "not enough memory");
    entry_t *entry = self->free;
    self->free = (entry_t *)entry->node.next;
    self->in_hand++;
    return entry;
}

/* Gives an entry to the timer at index `timer`. */
static entry_t *entry_new(lua_State *L, timetable_t *self, int index, int timer) {
    entry_t *entry = take_free(L, self, index);
    lua_pushinteger(L, entry->place);
    lua_rawseti(L, timer, 0);
    lua_getiuservalue(L, index, 1);
    lua_pushvalue(L, timer);
    lua_rawseti(L, -2, entry->place);
    lua_pop(L, 1);
    entry->is_used = true;
    entry->node.order = self->order++;
    self->in_hand--;
    self->count++;
    return entry;
}

static void soon_remove(timetable_t *self, entry_t *entry) {
    entry_t *next = (entry_t *)entry->node.next, *prev = (entry_t *)entry->node.prev;
    if (prev)
        prev->node.next = entry->node.next;
    else
        self->soon = next;
    if (next)
        next->node.prev = entry->node.prev;
    else
        self->soon_last = prev;
}

/* The entry is free. The user value is at the top of the stack. */
static void entry_drop(lua_State *L, timetable_t *self, entry_t *entry) {
    if (entry->is_soon)
        soon_remove(self, entry);
    else
        pl__heap_remove(&self->heap, &entry->node);
    lua_pushboolean(L, 0);
    lua_rawseti(L, -2, entry->place);
    put_free(self, entry);
    self->count--;
}

static entry_t *first_of(const timetable_t *self) {
    entry_t *first = (entry_t *)self->heap, *soon = self->soon;
    if (!first || !soon)
        return first ? first : soon;
    return pl__heap_is_before(&first->node, &soon->node) ? first : soon;
}

/* ---- adding ------------------------------------------------------------------------------------------------ */

/* Integers in the order of the numbers: of those below 0 the bits say how far below. */
static int64_t key_of(lua_Number due) {
    double value = (double)due;
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits < 0 ? INT64_MIN - bits : bits;
}

static void add_soon(lua_State *L, timetable_t *self, int index, int timer, lua_Number now) {
    entry_t *entry = entry_new(L, self, index, timer), *last = self->soon_last;
    entry->is_soon = true;
    entry->due = last && last->due > now ? last->due : now; /* the clock was set back */
    entry->node.when = key_of(entry->due);
    entry->node.next = NULL;
    entry->node.prev = last ? &last->node : NULL;
    if (last)
        last->node.next = &entry->node;
    else
        self->soon = entry;
    self->soon_last = entry;
}

void pl__timetable_add_soon(lua_State *L, int timetable, int timer, lua_Number now) {
    add_soon(L, lua_touserdata(L, timetable), timetable, timer, now);
}

bool pl__timetable_push_soon(lua_State *L, int timetable) {
    const timetable_t *self = lua_touserdata(L, timetable);
    const entry_t *soon = self ? self->soon : NULL;
    if (!soon || first_of(self) != soon)
        return false;
    lua_getiuservalue(L, timetable, 1);
    lua_rawgeti(L, -1, soon->place);
    lua_remove(L, -2);
    return true;
}

void pl__timetable_drop_soon(lua_State *L, int timetable) {
    timetable_t *self = lua_touserdata(L, timetable);
    lua_getiuservalue(L, timetable, 1);
    entry_drop(L, self, self->soon);
    lua_pop(L, 1);
}

/* ---- methods ----------------------------------------------------------------------------------------------- */

/* The timetable at index 1, whose metatable is the upvalue. */
static timetable_t *check(lua_State *L) {
    timetable_t *self = lua_touserdata(L, 1);
    bool is_one = self && lua_getmetatable(L, 1);
    if (!is_one || !lua_rawequal(L, -1, lua_upvalueindex(1)))
        luaL_argerror(L, 1, TIMETABLE_TYPE " expected");
    lua_pop(L, 1);
    return self;
}

static lua_Number check_due(lua_State *L) {
    lua_Number due = luaL_checknumber(L, 3);
    luaL_argcheck(L, due == due, 3, "not a time");
    luaL_checktype(L, 2, LUA_TTABLE);
    return due;
}

static int timetable_add(lua_State *L) {
    timetable_t *self = check(L);
    lua_Number due = check_due(L);
    entry_t *entry = entry_new(L, self, 1, 2);
    entry->is_soon = false;
    entry->due = due;
    entry->node.when = key_of(due);
    pl__heap_add(&self->heap, &entry->node);
    return 0;
}

static int timetable_add_soon(lua_State *L) {
    timetable_t *self = check(L);
    lua_Number now = check_due(L);
    add_soon(L, self, 1, 2, now);
    return 0;
}

/* The entry of the timer at index 2, or NULL. Pushes the user value. */
static entry_t *entry_of(lua_State *L, const timetable_t *self) {
    lua_rawgeti(L, 2, 0);
    lua_Integer place = lua_tointeger(L, -1);
    lua_pop(L, 1);
    lua_getiuservalue(L, 1, 1);
    if (place < 1 || place > (lua_Integer)self->block_count * BLOCK)
        return NULL;
    lua_rawgeti(L, -1, place);
    bool is_its = lua_rawequal(L, -1, 2);
    lua_pop(L, 1);
    entry_t *entry = &self->blocks[(place - 1) / BLOCK][(place - 1) % BLOCK];
    return is_its && entry->is_used ? entry : NULL;
}

static int timetable_cancel(lua_State *L) {
    timetable_t *self = check(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    entry_t *entry = entry_of(L, self);
    if (entry)
        entry_drop(L, self, entry);
    lua_pushboolean(L, entry ? 1 : 0);
    return 1;
}

static int timetable_first(lua_State *L) {
    const entry_t *first = first_of(check(L));
    if (!first)
        return 0;
    lua_pushnumber(L, first->due);
    lua_pushboolean(L, first->is_soon);
    return 2;
}

static int timetable_take(lua_State *L) {
    timetable_t *self = check(L);
    entry_t *first = first_of(self);
    if (!first)
        return 0;
    lua_getiuservalue(L, 1, 1);
    lua_rawgeti(L, -1, first->place);
    lua_insert(L, -2);
    entry_drop(L, self, first);
    lua_pop(L, 1);
    return 1;
}

static int timetable_count(lua_State *L) {
    lua_pushinteger(L, check(L)->count);
    return 1;
}

static int timetable_clear(lua_State *L) {
    timetable_t *self = check(L);
    lua_getiuservalue(L, 1, 1);
    for (entry_t *first = first_of(self); first; first = first_of(self))
        entry_drop(L, self, first);
    return 0;
}

static int timetable_gc(lua_State *L) {
    timetable_t *self = check(L);
    self->closed = true;
    self->count = 0;
    self->heap = NULL;
    self->soon = self->soon_last = NULL;
    free_blocks(self);
    return 0;
}

/* core.timetable() -> timetable. */
static int core_timetable(lua_State *L) {
    timetable_t *self = lua_newuserdatauv(L, sizeof *self, 1);
    memset(self, 0, sizeof *self);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, TIMETABLE_TYPE);
    return 1;
}

void pl__timetable_register(lua_State *L) {
    static const luaL_Reg METHODS[] = {
        { "add", timetable_add },       { "add_soon", timetable_add_soon },
        { "cancel", timetable_cancel }, { "first", timetable_first },
        { "take", timetable_take },     { "count", timetable_count },
        { "clear", timetable_clear },   { NULL, NULL },
    };
    if (luaL_newmetatable(L, TIMETABLE_TYPE)) {
        lua_pushvalue(L, -1);
        lua_pushcclosure(L, timetable_gc, 1);
        lua_setfield(L, -2, "__gc");
        luaL_newlibtable(L, METHODS);
        lua_pushvalue(L, -2);
        luaL_setfuncs(L, METHODS, 1);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, core_timetable);
    lua_setfield(L, -2, "timetable");
}
