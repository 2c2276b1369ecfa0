/*
 * claim.c - a task being executed, as Lua sees it. See claim.h.
 */
#include "binding/coroutine/claim.h"

#include <lauxlib.h>

#include "binding/coroutine/record.h"
#include "binding/op/pusher.h"
#include "binding/op/table.h"

typedef struct {
    pl__handle_t *h; /* memory of the engine userdata, which is user value 1 */
    pl__coroutine_t *rec;
    uint64_t life; /* of rec, when the claim was its own */
} claim_box_t;

enum { UV_ENGINE = 1, UV_STAGE, UV_COUNT = UV_STAGE };

typedef enum {
    FIELD_ID = 1,
    FIELD_KIND,
    FIELD_CLAIM,
    FIELD_TRIES,
    FIELD_PRIORITY,
    FIELD_ETA,
    FIELD_QUEUE,
    FIELD_NAME,
    FIELD_PAYLOAD,
    FIELD_STAGE,
    FIELD_REQUEST,
    FIELD_DEADLINE,
    FIELD_EXECUTIONS,
    FIELD_STATUS,
    FIELD_TARGET
} field_t;

static const char *const FIELDS[] = { "id",         "kind",   "claim",   "tries", "priority", "eta",
                                      "queue",      "name",   "payload", "stage", "request",  "deadline",
                                      "executions", "status", "target",  NULL };

/* Returns the record while its claim lives, else NULL. */
static pl__coroutine_t *box_record(const claim_box_t *box) {
    if (!box->h->engine || box->rec->life != box->life)
        return NULL;
    return box->rec->claim ? box->rec : NULL;
}

pl__coroutine_t *pl__claim_check(lua_State *L, int arg, const pl__handle_t *h) {
    const claim_box_t *box = luaL_checkudata(L, arg, PL__CLAIM_TYPE);
    luaL_argcheck(L, box->h == h, arg, "a claim of another engine");
    return box_record(box);
}

/* Upvalue 2: the metatable of claims, which is quicker to compare with than to look up by its name. */
static const claim_box_t *check_self(lua_State *L) {
    if (lua_getmetatable(L, 1) && lua_rawequal(L, -1, lua_upvalueindex(2))) {
        lua_pop(L, 1);
        return lua_touserdata(L, 1);
    }
    return luaL_checkudata(L, 1, PL__CLAIM_TYPE);
}

static const pl_claim_t *live_claim(lua_State *L) {
    const pl__coroutine_t *rec = box_record(check_self(L));
    if (!rec)
        luaL_error(L, "the claim has ended with the coroutine that executed it");
    return rec->claim;
}

static void push_stage_cached(lua_State *L, const pl_claim_t *claim) {
    if (lua_getiuservalue(L, 1, UV_STAGE) != LUA_TNIL || !claim->stage)
        return;
    lua_pop(L, 1);
    if (claim->kind == PL_TASK_RUN)
        pl__record_push(L, claim->stage);
    else
        pl__push_stage(L, claim->stage);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, UV_STAGE);
}

/* What tasks of queues have beside. */
static void push_queued_field(lua_State *L, const pl_claim_t *claim, field_t field) {
    if (field == FIELD_REQUEST)
        pl__push_str(L, claim->request);
    else if (field == FIELD_TARGET)
        pl__push_str(L, claim->target);
    else if (field == FIELD_DEADLINE && claim->deadline > 0)
        lua_pushnumber(L, claim->deadline);
    else if (field == FIELD_EXECUTIONS)
        lua_pushinteger(L, claim->executions);
    else if (field == FIELD_STATUS && claim->status != 0)
        lua_pushinteger(L, claim->status);
    else
        lua_pushnil(L);
}

static void push_field(lua_State *L, const pl_claim_t *claim, field_t field) {
    switch (field) {
    case FIELD_ID:
        lua_pushinteger(L, claim->task);
        break;
    case FIELD_KIND:
        lua_pushstring(L, pl_task_kind_name((int)claim->kind));
        break;
    case FIELD_CLAIM:
        lua_pushinteger(L, claim->fence);
        break;
    case FIELD_TRIES:
        lua_pushinteger(L, claim->tries);
        break;
    case FIELD_PRIORITY:
        lua_pushinteger(L, claim->priority);
        break;
    case FIELD_ETA:
        pl__push_time(L, claim->eta);
        break;
    case FIELD_QUEUE:
        pl__push_str(L, !claim->queue.ptr ? PL_STR_LIT("default") : claim->queue);
        break;
    case FIELD_NAME:
        pl__push_str(L, claim->name);
        break;
    case FIELD_PAYLOAD:
        pl__push_str(L, claim->payload);
        break;
    case FIELD_STAGE:
        push_stage_cached(L, claim);
        break;
    default:
        push_queued_field(L, claim, field);
    }
}

/* Upvalue 1: table from name to field_t, or to a method. */
static int claim_index(lua_State *L) {
    const pl_claim_t *claim = live_claim(L);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNUMBER)
        return 1;
    push_field(L, claim, (field_t)lua_tointeger(L, -1));
    return 1;
}

/* task:slot(id) -> SLOT or nil: a filled input, or, for all kinds but "run", an output. */
static int claim_slot(lua_State *L) {
    const pl_claim_t *claim = live_claim(L);
    const pl_slot_t *slot = pl_slots_find(claim->slots, claim->slots_len, luaL_checkinteger(L, 2));
    if (!slot)
        lua_pushnil(L);
    else
        pl__push_slot(L, slot);
    return 1;
}

/* task:value(id) -> the bytes of such a slot, or nil. */
static int claim_value(lua_State *L) {
    const pl_claim_t *claim = live_claim(L);
    const pl_slot_t *slot = pl_slots_find(claim->slots, claim->slots_len, luaL_checkinteger(L, 2));
    pl__push_str(L, slot && slot->filled ? slot->value : PL_STR_NONE);
    return 1;
}

static int claim_tostring(lua_State *L) {
    const claim_box_t *box = luaL_checkudata(L, 1, PL__CLAIM_TYPE);
    const pl__coroutine_t *rec = box_record(box);
    if (!rec)
        lua_pushliteral(L, PL__CLAIM_TYPE " (ended)");
    else
        lua_pushfstring(L, PL__CLAIM_TYPE " (%s %I)", pl_task_kind_name((int)rec->claim->kind),
                        (LUAI_UACINT)rec->claim->task);
    return 1;
}

int pl__claim_executing(lua_State *L) {
    const pl__handle_t *h = pl__handle_check(L, 1);
    const pl_claim_t *claim = h->engine && h->current ? h->current->claim : NULL;
    if (!claim)
        return 0;
    lua_createtable(L, 0, 12);
    push_field(L, claim, FIELD_QUEUE);
    lua_setfield(L, -2, "queue");
    push_field(L, claim, FIELD_NAME);
    lua_setfield(L, -2, "task");
    push_field(L, claim, FIELD_KIND);
    lua_setfield(L, -2, "kind");
    lua_pushinteger(L, claim->tries + 1);
    lua_setfield(L, -2, "attempt");
    return 1;
}

int pl__claim_of_running(lua_State *L) {
    const pl__handle_t *h = pl__handle_check(L, 1);
    const pl_claim_t *claim = h->engine && h->current ? h->current->claim : NULL;
    if (!claim)
        return 0;
    lua_pushinteger(L, claim->task);
    lua_pushinteger(L, claim->fence);
    if (!claim->stage) {
        lua_pushnil(L);
        lua_pushnil(L);
        pl__push_str(L, claim->request);
        return 5;
    }
    lua_pushinteger(L, claim->stage->id);
    lua_pushinteger(L, claim->stage->root);
    pl__push_str(L, claim->stage->trace);
    return 5;
}

/* ---- for C ------------------------------------------------------------------------------------------------- */

void pl__claim_push(lua_State *L, pl__coroutine_t *rec) {
    claim_box_t *box = lua_newuserdatauv(L, sizeof *box, UV_COUNT);
    box->h = rec->h;
    box->rec = rec;
    box->life = rec->life;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, UV_ENGINE);
    luaL_setmetatable(L, PL__CLAIM_TYPE);
}

/* Adds a method to the table on top of the stack, below which is the metatable. */
static void add_method(lua_State *L, const char *name, lua_CFunction method) {
    lua_pushnil(L);
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, method, 2);
    lua_setfield(L, -2, name);
}

void pl__claim_register(lua_State *L) {
    pl__record_register(L);
    if (luaL_newmetatable(L, PL__CLAIM_TYPE)) {
        lua_newtable(L);
        for (int i = 0; FIELDS[i]; i++) {
            lua_pushinteger(L, i + 1);
            lua_setfield(L, -2, FIELDS[i]);
        }
        add_method(L, "slot", claim_slot);
        add_method(L, "value", claim_value);
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, claim_index, 2);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, claim_tostring);
        lua_setfield(L, -2, "__tostring");
    }
    lua_pop(L, 1);
}
