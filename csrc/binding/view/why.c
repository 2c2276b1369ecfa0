/*
 * why.c - the op that tells what keeps a stage or a task from starting: its arguments from Lua, its results to Lua.
 */
#include "binding/op/table.h"

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/reader.h"

/* e:why_get{id=, queue=, name=} -> {reasons=, slots=, stage=, task=, and facts}; or nil */
void pl__build_why_get(pl__reader_t *R) {
    pl_op_why_get_t *get = &R->op->u.why_get;
    pl__reader_arg_table(R, 2);
    get->id = pl__reader_opt_id_field(R, 2, "id");
    get->queue = pl__reader_opt_str_field(R, 2, "queue");
    get->name = pl__reader_opt_str_field(R, 2, "name");
}

static void set_reasons(lua_State *L, const pl_op_why_get_t *get) {
    lua_createtable(L, get->reasons_len, 0);
    for (int i = 0; i < get->reasons_len; i++) {
        lua_pushstring(L, pl_start_reason_name((int)get->reasons[i]));
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "reasons");
}

static void set_slots(lua_State *L, const pl_op_why_get_t *get) {
    lua_createtable(L, (int)get->slots_len, 0);
    for (size_t i = 0; i < get->slots_len; i++) {
        const pl_why_slot_t *slot = &get->slots[i];
        lua_createtable(L, 0, 7);
        pl__set_integer(L, "slot", slot->slot);
        if (slot->stage != 0) {
            pl__set_integer(L, "stage", slot->stage);
            pl__set_str(L, "name", slot->name);
            pl__set_str(L, "class_path", slot->class_path);
            pl__set_str(L, "key", slot->key);
            lua_pushstring(L, pl_stage_state_name((int)slot->state));
            lua_setfield(L, -2, "state");
            pl__set_integer(L, "flags", (lua_Integer)slot->flags);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "slots");
}

static void set_facts(lua_State *L, const pl_op_why_get_t *get) {
    const pl_start_facts_t *facts = &get->facts;
    pl__set_integer(L, "workers", facts->workers);
    if (facts->place > 0)
        pl__set_integer(L, "place", facts->place);
    if (facts->gates.max_concurrent > 0) {
        pl__set_integer(L, "max_concurrent", facts->gates.max_concurrent);
        pl__set_integer(L, "used", get->used);
    }
    if (facts->gates.rate >= 0) {
        pl__set_number(L, "rate", facts->gates.rate);
        pl__set_number(L, "tokens", facts->gates.tokens);
    }
    pl__set_str(L, "schedule", get->schedule);
    if (get->earlier)
        pl__set_integer(L, "earlier", get->earlier);
    if (facts->eta > facts->now && facts->eta < PL_USEC_MAX)
        pl__set_time(L, "until", facts->eta);
}

int pl__push_why_get(lua_State *L, const pl_op_t *op) {
    const pl_op_why_get_t *get = &op->u.why_get;
    if (op->rc == PL_ENOTFOUND) {
        lua_pushnil(L);
        return 1;
    }
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, 0, 12);
    set_reasons(L, get);
    set_slots(L, get);
    set_facts(L, get);
    if (get->stage) {
        pl__push_stage(L, get->stage);
        lua_setfield(L, -2, "stage");
    }
    if (get->has_task) {
        pl__push_seen(L, &get->task);
        lua_setfield(L, -2, "task");
    }
    return 1;
}
