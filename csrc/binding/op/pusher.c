/*
 * pusher.c - what a store gives back as Lua values: times, stages, slots. See pusher.h.
 */
#include "binding/op/pusher.h"

#include <limits.h>
#include <stdint.h>

#include <lauxlib.h>

/* ---- single values ----------------------------------------------------------------------------------------- */

void pl__push_str(lua_State *L, pl_str_t text) {
    if (!text.ptr)
        lua_pushnil(L);
    else
        lua_pushlstring(L, text.ptr, text.len);
}

void pl__push_time(lua_State *L, pl_usec_t when) {
    lua_pushnumber(L, (lua_Number)when / (lua_Number)PL_USEC_PER_SEC);
}

/* The set_ functions put a field into the table on top of the stack; what is absent stays nil. */
void pl__set_str(lua_State *L, const char *name, pl_str_t text) {
    if (text.ptr) {
        lua_pushlstring(L, text.ptr, text.len);
        lua_setfield(L, -2, name);
    }
}

void pl__set_integer(lua_State *L, const char *name, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

void pl__set_number(lua_State *L, const char *name, lua_Number value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

void pl__set_boolean(lua_State *L, const char *name, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

void pl__set_time(lua_State *L, const char *name, pl_usec_t when) {
    if (when != 0) {
        pl__push_time(L, when);
        lua_setfield(L, -2, name);
    }
}

void pl__set_ids(lua_State *L, const char *name, const pl_id_t *ids, size_t len) {
    if (len == 0)
        return;
    lua_createtable(L, (int)len, 0);
    for (size_t i = 0; i < len; i++) {
        lua_pushinteger(L, ids[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, name);
}

/* ---- records ----------------------------------------------------------------------------------------------- */

void pl__set_outputs(lua_State *L, const pl_stage_t *stage) {
    lua_createtable(L, (int)stage->outputs_len, 0);
    for (size_t i = 0; i < stage->outputs_len; i++) {
        lua_createtable(L, 0, 2);
        pl__set_str(L, "name", stage->outputs[i].name);
        pl__set_integer(L, "slot", stage->outputs[i].slot);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "outputs");
}

void pl__set_status(lua_State *L, const pl_stage_t *stage) {
    if (!stage->has_status)
        return;
    lua_createtable(L, 0, 4);
    pl__set_str(L, "message", stage->status.message);
    pl__set_str(L, "console_url", stage->status.console_url);
    pl__set_str(L, "links", stage->status.links);
    pl__set_time(L, "time", stage->status.time);
    lua_setfield(L, -2, "status");
}

/* What was given when the stage was made. */
void pl__set_stage_settings(lua_State *L, const pl_stage_t *stage) {
    pl__set_integer(L, "id", stage->id);
    pl__set_integer(L, "root", stage->root);
    if (stage->parent != 0)
        pl__set_integer(L, "parent", stage->parent);
    pl__set_str(L, "class_path", stage->class_path);
    pl__set_str(L, "queue", !stage->queue.ptr ? PL_STR_LIT("default") : stage->queue);
    pl__set_str(L, "base_path", stage->base_path);
    pl__set_str(L, "target", stage->target);
    pl__set_str(L, "key", stage->key);
    pl__set_str(L, "args", stage->args);
    pl__set_str(L, "trace", stage->trace);
    pl__set_ids(L, "inputs", stage->inputs, stage->inputs_len);
    pl__set_ids(L, "after", stage->after, stage->after_len);
    pl__set_outputs(L, stage);
    pl__set_integer(L, "max_attempts", stage->max_attempts);
    pl__set_number(L, "backoff_seconds", stage->backoff_seconds);
    pl__set_number(L, "backoff_factor", stage->backoff_factor);
    if (stage->timeout > 0)
        pl__set_number(L, "timeout", stage->timeout);
    if (stage->priority != 0)
        pl__set_integer(L, "priority", stage->priority);
    pl__set_integer(L, "flags", (lua_Integer)stage->flags);
}

/* What has happened to it since. */
void pl__set_stage_progress(lua_State *L, const pl_stage_t *stage) {
    pl__set_integer(L, "attempt", stage->attempt);
    lua_pushstring(L, pl_stage_state_name((int)stage->state));
    lua_setfield(L, -2, "state");
    pl__set_boolean(L, "abort_requested", stage->abort_requested);
    pl__set_integer(L, "missing", stage->missing);
    pl__set_integer(L, "open", stage->open);
    pl__set_time(L, "created", stage->created);
    pl__set_time(L, "eta", stage->eta);
    pl__set_time(L, "started", stage->started);
    pl__set_time(L, "finalized", stage->finalized);
    pl__set_time(L, "retry_at", stage->retry_at);
    pl__set_str(L, "retry_message", stage->retry_message);
    pl__set_str(L, "abort_message", stage->abort_message);
    pl__set_status(L, stage);
}

/* What it waits for. */
static void set_work(lua_State *L, const pl_work_t *work) {
    lua_createtable(L, 0, 4);
    pl__set_ids(L, "unfilled", work->unfilled, work->unfilled_len);
    pl__set_integer(L, "outputs_open", work->outputs_open);
    if (work->has_task) {
        pl__set_boolean(L, "has_task", true);
        pl__set_boolean(L, "claimed", work->claimed);
        pl__set_str(L, "worker", work->worker);
        pl__set_time(L, "since", work->since);
        pl__set_time(L, "until", work->until);
        pl__set_boolean(L, "paused", work->paused);
    }
    if (work->place > 0)
        pl__set_integer(L, "place", work->place);
    lua_setfield(L, -2, "work");
}

static void set_count(lua_State *L, const char *name, int64_t done, int64_t total, bool is_more) {
    lua_createtable(L, 0, 3);
    pl__set_integer(L, "done", done);
    pl__set_integer(L, "total", total);
    if (is_more)
        pl__set_boolean(L, "more", true);
    lua_setfield(L, -2, name);
}

/* What is below it, if there is anything. */
static void set_tally(lua_State *L, const pl_stage_t *stage) {
    const pl_tally_t *tally = stage->tally;
    if (tally->children > 0 || tally->is_more)
        set_count(L, "children", tally->children_done, tally->children, tally->is_more);
    if (tally->stages > 0 && !stage->parent)
        set_count(L, "stages", tally->stages_done, tally->stages, tally->is_more);
}

void pl__push_stage(lua_State *L, const pl_stage_t *stage) {
    lua_createtable(L, 0, 32);
    pl__set_stage_settings(L, stage);
    pl__set_stage_progress(L, stage);
    if (stage->work)
        set_work(L, stage->work);
    if (stage->tally)
        set_tally(L, stage);
}

void pl__push_slot(lua_State *L, const pl_slot_t *slot) {
    lua_createtable(L, 0, 5);
    pl__set_integer(L, "id", slot->id);
    pl__set_boolean(L, "filled", slot->filled);
    if (slot->filled)
        pl__set_str(L, "value", slot->value);
    if (slot->filler != 0)
        pl__set_integer(L, "filler", slot->filler);
    pl__set_time(L, "time", slot->time);
}

void pl__push_slots(lua_State *L, const pl_slot_t *slots, size_t len) {
    lua_createtable(L, 0, (int)len);
    for (size_t i = 0; i < len; i++) {
        pl__push_slot(L, &slots[i]);
        lua_rawseti(L, -2, slots[i].id);
    }
}

void pl__push_stages(lua_State *L, const pl_stage_t *stages, size_t len) {
    lua_createtable(L, (int)len, 0);
    for (size_t i = 0; i < len; i++) {
        pl__push_stage(L, &stages[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

int pl__push_failed(lua_State *L, const pl_op_t *op) {
    return pl__push_failure(L, op->rc, op->error.message);
}

int pl__push_true(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushboolean(L, 1);
    return 1;
}

void pl__set_unless_negative(lua_State *L, const char *name, double value) {
    if (value >= 0)
        pl__set_number(L, name, value);
}

/* A whole number that was given as a number of any size. */
void pl__set_whole(lua_State *L, const char *name, double value) {
    if (value >= 0 && value < 1e15)
        pl__set_integer(L, name, (lua_Integer)value);
    else
        pl__set_unless_negative(L, name, value);
}

void pl__set_retry(lua_State *L, const pl_retry_t *retry) {
    if (retry->limit < 0 && retry->age_limit < 0 && retry->min_backoff < 0 && retry->max_backoff < 0 &&
        retry->doublings < 0 && retry->losses < 0)
        return;
    lua_createtable(L, 0, 6);
    pl__set_whole(L, "task_retry_limit", retry->limit);
    pl__set_unless_negative(L, "task_age_limit", retry->age_limit);
    pl__set_unless_negative(L, "min_backoff_seconds", retry->min_backoff);
    pl__set_unless_negative(L, "max_backoff_seconds", retry->max_backoff);
    pl__set_whole(L, "max_doublings", retry->doublings);
    pl__set_whole(L, "max_losses", retry->losses);
    lua_setfield(L, -2, "retry");
}
