/*
 * tasks.c - ops that show tasks, queues and workers: their arguments from Lua, their results to Lua.
 */
#include "binding/op/table.h"

#include <limits.h>

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/reader.h"

#define LIMIT_DEFAULT 50

/* ---- arguments -------------------------------------------------------------------------------------------------- */

/* The field "at": where a list goes on. */
static void read_place(pl__reader_t *R, int t, pl_seen_place_t *at) {
    if (!pl__reader_get(R, t, "at"))
        return;
    if (!lua_istable(R->L, -1))
        pl__reader_refuse_type(R, "at", "table");
    int table = lua_gettop(R->L);
    at->phase = (int)pl__reader_opt_integer_field(R, table, "phase", 0, 0, INT_MAX);
    at->queue = pl__reader_opt_integer_field(R, table, "queue", 0, LUA_MININTEGER, LUA_MAXINTEGER);
    at->priority = pl__reader_opt_integer_field(R, table, "priority", 0, LUA_MININTEGER, LUA_MAXINTEGER);
    at->eta = pl__reader_opt_integer_field(R, table, "eta", 0, LUA_MININTEGER, LUA_MAXINTEGER);
    at->id = pl__reader_opt_integer_field(R, table, "id", 0, LUA_MININTEGER, LUA_MAXINTEGER);
    lua_pop(R->L, 1);
}

/* e:tasks_find{queue=, text=, limit=, at=, ready=, ...} -> list of TASKREC with state and more, and where to go on */
void pl__build_tasks_find(pl__reader_t *R) {
    pl_op_tasks_find_t *find = &R->op->u.tasks_find;
    pl__reader_arg_table(R, 2);
    find->queue = pl__reader_opt_str_field(R, 2, "queue");
    find->text = pl__reader_opt_str_field(R, 2, "text");
    find->limit = (int)pl__reader_opt_integer_field(R, 2, "limit", LIMIT_DEFAULT, 1, INT_MAX);
    for (int state = 0; state < PL_SEEN_STATES_LEN; state++)
        find->states |= pl__reader_opt_flag_field(R, 2, pl_seen_state_name(state)) ? 1U << state : 0;
    read_place(R, 2, &find->from);
}

/* e:workers_get() -> list of workers */
PL__BUILDS_NOTHING(workers_get)

/* e:queues_seen(name or nil) -> list of SETTINGS with figures */
void pl__build_queues_seen(pl__reader_t *R) {
    R->op->u.queues_seen.name = pl__reader_arg_opt_str(R, 2);
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

void pl__push_seen(lua_State *L, const pl_seen_task_t *task) {
    pl__push_task(L, &task->is);
    lua_pushstring(L, pl_seen_state_name((int)task->state));
    lua_setfield(L, -2, "state");
    if (task->stage != 0)
        pl__set_integer(L, "stage", task->stage);
    pl__set_str(L, "class_path", task->class_path);
    pl__set_str(L, "key", task->key);
    pl__set_str(L, "error", task->error);
    pl__set_integer(L, "attempt", task->attempt);
    if (task->attempts > 0)
        pl__set_integer(L, "attempts", task->attempts);
    pl__set_str(L, "worker", task->worker);
    pl__set_time(L, "since", task->since);
}

int pl__push_tasks_find(lua_State *L, const pl_op_t *op) {
    const pl_op_tasks_find_t *find = &op->u.tasks_find;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, (int)find->len, 0);
    for (size_t i = 0; i < find->len; i++) {
        pl__push_seen(L, &find->tasks[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (!find->is_more)
        return 1;
    lua_createtable(L, 0, 5);
    pl__set_integer(L, "phase", find->next.phase);
    pl__set_integer(L, "queue", find->next.queue);
    pl__set_integer(L, "priority", find->next.priority);
    pl__set_integer(L, "eta", find->next.eta);
    pl__set_integer(L, "id", find->next.id);
    return 2;
}

int pl__push_queues_seen(lua_State *L, const pl_op_t *op) {
    const pl_op_queues_seen_t *seen = &op->u.queues_seen;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, (int)seen->len, 0);
    for (size_t i = 0; i < seen->len; i++) {
        const pl_seen_queue_t *queue = &seen->queues[i];
        pl__push_queue_settings(L, &queue->is);
        for (int state = 0; state < PL_SEEN_STATES_LEN; state++)
            pl__set_integer(L, pl_seen_state_name(state), queue->counts[state]);
        if (queue->is_more)
            pl__set_boolean(L, "more", true);
        pl__set_time(L, "oldest_ready", queue->oldest_ready);
        pl__set_unless_negative(L, "tokens", queue->tokens);
        pl__set_integer(L, "executed_last_minute", queue->executed_last_minute);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

int pl__push_workers_get(lua_State *L, const pl_op_t *op) {
    const pl_op_workers_get_t *get = &op->u.workers_get;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, (int)get->len, 0);
    for (size_t i = 0; i < get->len; i++) {
        const pl_worker_t *worker = &get->workers[i];
        lua_createtable(L, 0, 10);
        pl__set_integer(L, "id", worker->id);
        pl__set_integer(L, "number", worker->number);
        pl__set_str(L, "host", worker->host);
        pl__set_integer(L, "pid", worker->pid);
        pl__set_str(L, "version", worker->version);
        pl__set_str(L, "serves", worker->serves);
        pl__set_time(L, "started", worker->started);
        pl__set_time(L, "lease_until", worker->lease_until);
        pl__set_integer(L, "claims", worker->claims);
        pl__set_boolean(L, "gone", worker->is_gone);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}
