/*
 * queue.c - ops on queues: their arguments from Lua, their results to Lua.
 */
#include "binding/op/table.h"

#include <limits.h>
#include <math.h>

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/reader.h"

/* ---- arguments -------------------------------------------------------------------------------------------------- */

static bool has_field(pl__reader_t *R, int t, const char *field) {
    bool has = lua_getfield(R->L, t, field) != LUA_TNIL;
    lua_pop(R->L, 1);
    return has;
}

static void read_settings(pl__reader_t *R, int t, pl_queue_settings_t *queue) {
    static const char *const MODES[] = { "push", "pull", NULL };
    queue->name = pl__reader_str_field(R, t, "name");
    queue->removed = pl__reader_opt_flag_field(R, t, "removed");
    queue->has_mode = has_field(R, t, "mode");
    queue->pull = pl__reader_choice_field(R, t, "mode", MODES) == 1;
    queue->has_paused = has_field(R, t, "paused");
    queue->paused = pl__reader_opt_flag_field(R, t, "paused");
    queue->has_rate = has_field(R, t, "rate");
    queue->rate = pl__reader_opt_number_field(R, t, "rate", -1);
    queue->has_bucket_size = has_field(R, t, "bucket_size");
    queue->bucket_size = pl__reader_opt_number_field(R, t, "bucket_size", -1);
    queue->has_max_concurrent = has_field(R, t, "max_concurrent");
    queue->max_concurrent = (int)pl__reader_opt_integer_field(R, t, "max_concurrent", 0, 0, INT_MAX);
    queue->has_target = has_field(R, t, "target");
    queue->target = pl__reader_opt_str_field(R, t, "target");
    queue->has_retry = has_field(R, t, "retry");
    queue->retry = pl__reader_retry(R, t);
}

/* e:queue_set(list of SETTINGS, patch) -> list of result names */
void pl__build_queue_set(pl__reader_t *R) {
    pl_op_queue_set_t *set = &R->op->u.queue_set;
    pl__reader_arg_list(R, 2);
    size_t n = pl__reader_list_open(R, "queues");
    set->queues = pl__reader_array(R, n, sizeof *set->queues);
    for (size_t i = 0; i < n; i++) {
        read_settings(R, pl__reader_list_table(R, i), &set->queues[i]);
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    set->len = n;
    set->patch = lua_toboolean(R->L, 3);
}

/* e:queue_get(name or nil) -> list of SETTINGS */
void pl__build_queue_get(pl__reader_t *R) {
    R->op->u.queue_get.name = pl__reader_arg_opt_str(R, 2);
}

/* e:queue_stats(list of names) -> list of figures */
void pl__build_queue_stats(pl__reader_t *R) {
    pl_op_queue_stats_t *stats = &R->op->u.queue_stats;
    pl__reader_arg_list(R, 2);
    size_t n = pl__reader_list_open(R, "queues");
    stats->queues = pl__reader_array(R, n, sizeof *stats->queues);
    for (size_t i = 0; i < n; i++) {
        R->places[R->depth - 1].index = (lua_Integer)i + 1;
        lua_rawgeti(R->L, -1, (lua_Integer)i + 1);
        stats->queues[i].queue = pl__reader_take_str(R, NULL);
    }
    pl__reader_list_close(R);
    stats->len = n;
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

int pl__push_counts_get(lua_State *L, const pl_op_t *op) {
    const pl_op_counts_get_t *get = &op->u.counts_get;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, (int)get->len, 0);
    for (size_t i = 0; i < get->len; i++) {
        lua_createtable(L, 0, 4);
        pl__set_str(L, "queue", get->counts[i].queue);
        pl__set_integer(L, "ready", get->counts[i].ready);
        pl__set_integer(L, "delayed", get->counts[i].delayed);
        pl__set_integer(L, "claimed", get->counts[i].claimed);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushinteger(L, get->stages);
    lua_pushinteger(L, get->workers);
    return 3;
}

int pl__push_queue_set(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    const pl_op_queue_set_t *set = &op->u.queue_set;
    lua_createtable(L, (int)set->len, 0);
    for (size_t i = 0; i < set->len; i++) {
        lua_pushstring(L, pl_result_name(set->queues[i].rc));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

void pl__push_queue_settings(lua_State *L, const pl_queue_settings_t *queue) {
    lua_createtable(L, 0, 8);
    pl__set_str(L, "name", queue->name);
    lua_pushstring(L, queue->pull ? "pull" : "push");
    lua_setfield(L, -2, "mode");
    pl__set_boolean(L, "paused", queue->paused);
    if (queue->removed)
        pl__set_boolean(L, "removed", true);
    pl__set_unless_negative(L, "rate", queue->rate);
    pl__set_unless_negative(L, "bucket_size", queue->bucket_size);
    if (queue->max_concurrent > 0)
        pl__set_integer(L, "max_concurrent", queue->max_concurrent);
    pl__set_str(L, "target", queue->target);
    pl__set_retry(L, &queue->retry);
}

int pl__push_queue_get(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    const pl_op_queue_get_t *list = &op->u.queue_get;
    lua_createtable(L, (int)list->len, 0);
    for (size_t i = 0; i < list->len; i++) {
        pl__push_queue_settings(L, &list->queues[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

int pl__push_queue_stats(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    const pl_op_queue_stats_t *stats = &op->u.queue_stats;
    lua_createtable(L, (int)stats->len, 0);
    for (size_t i = 0; i < stats->len; i++) {
        const pl_queue_stats_t *queue = &stats->queues[i];
        lua_createtable(L, 0, 8);
        pl__set_str(L, "queue", queue->queue);
        pl__set_boolean(L, "known", queue->known);
        pl__set_integer(L, "tasks", queue->tasks);
        pl__set_integer(L, "in_flight", queue->in_flight);
        pl__set_integer(L, "dead", queue->dead);
        pl__set_integer(L, "executed_last_minute", queue->executed_last_minute);
        pl__set_time(L, "oldest_eta", queue->oldest_eta);
        pl__set_unless_negative(L, "enforced_rate", queue->enforced_rate);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}
