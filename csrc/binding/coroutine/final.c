/*
 * final.c - watched stages that have become final: noted by the engine's callback, told to the "final" hook when Lua
 * code may run. See final.h.
 *
 * The engine has what the commit left of a stage while it tells of it. If the hook hears of it only later, for Lua code
 * is running, whoever wants the record reads it.
 */
#include "binding/coroutine/final.h"

#include "binding/op/pusher.h"
#include "binding/telemetry/sink.h"
#include "binding/trampoline.h"

bool pl__final_add(pl__handle_t *h, pl_id_t stage, pl_stage_state_t state) {
    pl__final_t *final = pl__alloc(sizeof *final);
    if (!final) {
        pl__log(h, PL_LOG_ERROR, "out of memory: the end of a watched pipeline was not reported");
        return false;
    }
    final->stage = stage;
    final->state = state;
    final->has_record = true;
    final->is_told = false;
    if (h->finals_last)
        h->finals_last->next = final;
    else
        h->finals = final;
    h->finals_last = final;
    return true;
}

/* How many values. */
static int push_record(lua_State *L, const pl__final_t *final) {
    const pl__handle_t *h = lua_touserdata(L, 1);
    const pl_slot_t *slots;
    size_t slots_len;
    if (!final->has_record)
        return 0;
    const pl_stage_t *record = pl_engine_final_record(h->engine, &slots, &slots_len);
    if (!record || record->id != final->stage)
        return 0;
    pl__push_stage(L, record);
    pl__push_slots(L, slots, slots_len);
    return 2;
}

/* Stack: handle, pl__final_t. */
static int final_entry(lua_State *L) {
    pl__final_t *final = lua_touserdata(L, 2);
    if (lua_getiuservalue(L, 1, PL__UV_FINAL) == LUA_TNIL)
        return 0;
    lua_pushinteger(L, final->stage);
    lua_pushstring(L, pl_stage_state_name((int) final->state));
    int n = 2 + push_record(L, final);
    final->is_told = true;
    lua_call(L, n, 0);
    return 0;
}

void pl__final_report(pl__handle_t *h) {
    pl__final_t *final = h->finals;
    h->finals = final->next;
    if (!h->finals)
        h->finals_last = NULL;
    if (!pl__enter(h->L, final_entry, final) && !final->is_told) { /* no memory for the record, perhaps */
        final->has_record = false;
        pl__enter(h->L, final_entry, final);
    }
    pl__free(final);
}

void pl__final_forget_records(pl__handle_t *h) {
    for (pl__final_t *later = h->finals; later; later = later->next)
        later->has_record = false;
}

void pl__final_forget(pl__handle_t *h) {
    while (h->finals) {
        pl__final_t *next = h->finals->next;
        pl__free(h->finals);
        h->finals = next;
    }
    h->finals_last = NULL;
}
