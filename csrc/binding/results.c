/*
 * results.c - finished ops, stages, slots and claims as Lua values. See results.h.
 */
#include "binding/results.h"

#include <limits.h>
#include <stdint.h>

#include <lauxlib.h>

#include "binding/page.h"

/* ---- single values ----------------------------------------------------------------------------------------- */

void pl__push_str(lua_State *L, pl_str_t text) {
    if (text.ptr == NULL)
        lua_pushnil(L);
    else
        lua_pushlstring(L, text.ptr, text.len);
}

void pl__push_time(lua_State *L, pl_usec_t when) {
    lua_pushnumber(L, (lua_Number)when / (lua_Number)PL_USEC_PER_SEC);
}

/* The set_ functions put a field into the table on top of the stack; what is absent stays nil. */
static void set_str(lua_State *L, const char *name, pl_str_t text) {
    if (text.ptr != NULL) {
        lua_pushlstring(L, text.ptr, text.len);
        lua_setfield(L, -2, name);
    }
}

static void set_integer(lua_State *L, const char *name, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, lua_Number value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_boolean(lua_State *L, const char *name, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static void set_time(lua_State *L, const char *name, pl_usec_t when) {
    if (when != 0) {
        pl__push_time(L, when);
        lua_setfield(L, -2, name);
    }
}

static void set_ids(lua_State *L, const char *name, const pl_id_t *ids, size_t len) {
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

static void set_outputs(lua_State *L, const pl_stage_t *stage) {
    lua_createtable(L, (int)stage->outputs_len, 0);
    for (size_t i = 0; i < stage->outputs_len; i++) {
        lua_createtable(L, 0, 2);
        set_str(L, "name", stage->outputs[i].name);
        set_integer(L, "slot", stage->outputs[i].slot);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "outputs");
}

static void set_status(lua_State *L, const pl_stage_t *stage) {
    if (!stage->has_status)
        return;
    lua_createtable(L, 0, 4);
    set_str(L, "message", stage->status.message);
    set_str(L, "console_url", stage->status.console_url);
    set_str(L, "links", stage->status.links);
    set_time(L, "time", stage->status.time);
    lua_setfield(L, -2, "status");
}

/* What was given when the stage was made. */
static void set_stage_settings(lua_State *L, const pl_stage_t *stage) {
    set_integer(L, "id", stage->id);
    set_integer(L, "root", stage->root);
    if (stage->parent != 0)
        set_integer(L, "parent", stage->parent);
    set_str(L, "class_path", stage->class_path);
    set_str(L, "queue", stage->queue.ptr == NULL ? PL_STR_LIT("default") : stage->queue);
    set_str(L, "base_path", stage->base_path);
    set_str(L, "target", stage->target);
    set_str(L, "key", stage->key);
    set_str(L, "args", stage->args);
    set_ids(L, "inputs", stage->inputs, stage->inputs_len);
    set_ids(L, "after", stage->after, stage->after_len);
    set_outputs(L, stage);
    set_integer(L, "max_attempts", stage->max_attempts);
    set_number(L, "backoff_seconds", stage->backoff_seconds);
    set_number(L, "backoff_factor", stage->backoff_factor);
    if (stage->timeout > 0)
        set_number(L, "timeout", stage->timeout);
    if (stage->priority != 0)
        set_integer(L, "priority", stage->priority);
    set_integer(L, "flags", (lua_Integer)stage->flags);
}

/* What has happened to it since. */
static void set_stage_progress(lua_State *L, const pl_stage_t *stage) {
    set_integer(L, "attempt", stage->attempt);
    lua_pushstring(L, pl_stage_state_name((int)stage->state));
    lua_setfield(L, -2, "state");
    set_boolean(L, "abort_requested", stage->abort_requested);
    set_integer(L, "missing", stage->missing);
    set_integer(L, "open", stage->open);
    set_time(L, "created", stage->created);
    set_time(L, "eta", stage->eta);
    set_time(L, "started", stage->started);
    set_time(L, "finalized", stage->finalized);
    set_time(L, "retry_at", stage->retry_at);
    set_str(L, "retry_message", stage->retry_message);
    set_str(L, "abort_message", stage->abort_message);
    set_status(L, stage);
}

/* Of a stage that is to run, only what can have happened by then: this is on the path of every task. */
void pl__push_stage_to_run(lua_State *L, const pl_stage_t *stage) {
    lua_createtable(L, 0, 16);
    set_stage_settings(L, stage);
    set_integer(L, "attempt", stage->attempt);
    lua_pushstring(L, pl_stage_state_name((int)stage->state));
    lua_setfield(L, -2, "state");
    set_time(L, "created", stage->created);
    set_time(L, "eta", stage->eta);
    set_time(L, "started", stage->started);
    if (stage->attempt > 0) {
        set_time(L, "retry_at", stage->retry_at);
        set_str(L, "retry_message", stage->retry_message);
    }
}

void pl__push_stage(lua_State *L, const pl_stage_t *stage) {
    lua_createtable(L, 0, 32);
    set_stage_settings(L, stage);
    set_stage_progress(L, stage);
}

void pl__push_slot(lua_State *L, const pl_slot_t *slot) {
    lua_createtable(L, 0, 5);
    set_integer(L, "id", slot->id);
    set_boolean(L, "filled", slot->filled);
    if (slot->filled)
        set_str(L, "value", slot->value);
    if (slot->filler != 0)
        set_integer(L, "filler", slot->filler);
    set_time(L, "time", slot->time);
}

static void push_slots(lua_State *L, const pl_slot_t *slots, size_t len) {
    lua_createtable(L, 0, (int)len);
    for (size_t i = 0; i < len; i++) {
        pl__push_slot(L, &slots[i]);
        lua_rawseti(L, -2, slots[i].id);
    }
}

static void push_stages(lua_State *L, const pl_stage_t *stages, size_t len) {
    lua_createtable(L, (int)len, 0);
    for (size_t i = 0; i < len; i++) {
        pl__push_stage(L, &stages[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* ---- one function for each verb ---------------------------------------------------------------------------- */

static int failed(lua_State *L, const pl_op_t *op) {
    return pl__push_failure(L, op->rc, op->error.message);
}

static int push_true(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    lua_pushboolean(L, 1);
    return 1;
}

static int push_start(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    const pl_op_start_t *start = &op->u.start;
    lua_createtable(L, (int)start->len, 0);
    for (size_t i = 0; i < start->len; i++) {
        lua_pushstring(L, pl_result_name(start->stages[i].rc));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* Whether rc says something about an item, not about the op as a whole. */
static bool is_item_result(int rc) {
    return rc == PL_OK || rc == PL_EEXISTS || rc == PL_ETOMBSTONE || rc == PL_ENOTFOUND || rc == PL_ESTATE ||
           rc == PL_ENOQUEUE || rc == PL_EMODE;
}

static int push_task_add(lua_State *L, const pl_op_t *op) {
    if (!is_item_result(op->rc))
        return failed(L, op);
    const pl_op_task_add_t *add = &op->u.task_add;
    lua_createtable(L, (int)add->len, 0);
    for (size_t i = 0; i < add->len; i++) {
        lua_pushstring(L, pl_result_name(add->tasks[i].rc));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int push_cleanup(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    lua_pushinteger(L, op->u.cleanup.deleted);
    return 1;
}

static int push_watch(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    if (op->u.watch.unwatch)
        lua_pushboolean(L, 1);
    else
        lua_pushstring(L, pl_stage_state_name((int)op->u.watch.state));
    return 1;
}

static int push_meta(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK && op->rc != PL_ENOTFOUND)
        return failed(L, op);
    pl__push_str(L, op->rc == PL_OK ? op->u.meta.value : PL_STR_NONE);
    return 1;
}

static int push_stage_get(lua_State *L, const pl_op_t *op) {
    const pl_op_stage_get_t *get = &op->u.stage_get;
    if (op->rc != PL_OK && op->rc != PL_ENOTFOUND)
        return failed(L, op);
    if (op->rc == PL_ENOTFOUND || get->result == NULL) {
        lua_pushnil(L);
        return 1;
    }
    pl__push_stage(L, get->result);
    push_slots(L, get->slots, get->slots_len);
    return 2;
}

static int push_tree_get(lua_State *L, const pl_op_t *op) {
    const pl_op_tree_get_t *get = &op->u.tree_get;
    if (op->rc != PL_OK && op->rc != PL_ENOTFOUND)
        return failed(L, op);
    if (op->rc == PL_ENOTFOUND || get->len == 0) {
        lua_pushnil(L);
        return 1;
    }
    push_stages(L, get->stages, get->len);
    push_slots(L, get->slots, get->slots_len);
    return 2;
}

static int push_tree_page(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK && op->rc != PL_ENOTFOUND)
        return failed(L, op);
    if (op->rc == PL_OK && op->u.tree_page.root != 0)
        return pl__page_push(L, (pl_op_t *)(uintptr_t)op);
    lua_pushnil(L);
    return 1;
}

static int push_roots_list(lua_State *L, const pl_op_t *op) {
    const pl_op_roots_list_t *list = &op->u.roots_list;
    if (op->rc != PL_OK)
        return failed(L, op);
    push_stages(L, list->stages, list->len);
    push_slots(L, list->slots, list->slots_len);
    if (list->next == 0)
        return 2;
    lua_pushinteger(L, list->next);
    return 3;
}

static int push_counts_get(lua_State *L, const pl_op_t *op) {
    const pl_op_counts_get_t *get = &op->u.counts_get;
    if (op->rc != PL_OK)
        return failed(L, op);
    lua_createtable(L, (int)get->len, 0);
    for (size_t i = 0; i < get->len; i++) {
        lua_createtable(L, 0, 4);
        set_str(L, "queue", get->counts[i].queue);
        set_integer(L, "ready", get->counts[i].ready);
        set_integer(L, "delayed", get->counts[i].delayed);
        set_integer(L, "claimed", get->counts[i].claimed);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushinteger(L, get->stages);
    lua_pushinteger(L, get->workers);
    return 3;
}

static void push_failure(lua_State *L, const pl_failure_t *failure) {
    lua_createtable(L, 0, 6);
    set_time(L, "time", failure->time);
    set_integer(L, "attempt", failure->attempt);
    set_str(L, "worker", failure->worker);
    set_str(L, "error_class", failure->error_class);
    set_str(L, "message", failure->message);
    set_str(L, "traceback", failure->traceback);
    set_str(L, "class_path", failure->class_path);
    set_str(L, "key", failure->key);
    if (failure->stage != 0)
        set_integer(L, "stage", failure->stage);
}

static int push_failures_get(lua_State *L, const pl_op_t *op) {
    const pl_op_failures_get_t *get = &op->u.failures_get;
    if (op->rc != PL_OK)
        return failed(L, op);
    lua_createtable(L, (int)get->len, 0);
    for (size_t i = 0; i < get->len; i++) {
        push_failure(L, &get->failures[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (get->latest_len == 0)
        return 1;
    push_failure(L, get->latest);
    return 2;
}

/* ---- queues ------------------------------------------------------------------------------------------------ */

static int push_task_done(lua_State *L, const pl_op_t *op) {
    int n = push_true(L, op);
    if (op->rc != PL_OK || !op->u.task_done.died)
        return n;
    lua_pushliteral(L, "dead");
    return n + 1;
}

static void set_unless_negative(lua_State *L, const char *name, double value) {
    if (value >= 0)
        set_number(L, name, value);
}

/* A whole number that was given as a number of any size. */
static void set_whole(lua_State *L, const char *name, double value) {
    if (value >= 0 && value < 1e15)
        set_integer(L, name, (lua_Integer)value);
    else
        set_unless_negative(L, name, value);
}

static void set_retry(lua_State *L, const pl_retry_t *retry) {
    if (retry->limit < 0 && retry->age_limit < 0 && retry->min_backoff < 0 && retry->max_backoff < 0 &&
        retry->doublings < 0 && retry->losses < 0)
        return;
    lua_createtable(L, 0, 6);
    set_whole(L, "task_retry_limit", retry->limit);
    set_unless_negative(L, "task_age_limit", retry->age_limit);
    set_unless_negative(L, "min_backoff_seconds", retry->min_backoff);
    set_unless_negative(L, "max_backoff_seconds", retry->max_backoff);
    set_whole(L, "max_doublings", retry->doublings);
    set_whole(L, "max_losses", retry->losses);
    lua_setfield(L, -2, "retry");
}

static int push_queue_set(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    const pl_op_queue_set_t *set = &op->u.queue_set;
    lua_createtable(L, (int)set->len, 0);
    for (size_t i = 0; i < set->len; i++) {
        lua_pushstring(L, pl_result_name(set->queues[i].rc));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void push_settings(lua_State *L, const pl_queue_settings_t *queue) {
    lua_createtable(L, 0, 8);
    set_str(L, "name", queue->name);
    lua_pushstring(L, queue->pull ? "pull" : "push");
    lua_setfield(L, -2, "mode");
    set_boolean(L, "paused", queue->paused);
    if (queue->removed)
        set_boolean(L, "removed", true);
    set_unless_negative(L, "rate", queue->rate);
    set_unless_negative(L, "bucket_size", queue->bucket_size);
    if (queue->max_concurrent > 0)
        set_integer(L, "max_concurrent", queue->max_concurrent);
    set_str(L, "target", queue->target);
    set_retry(L, &queue->retry);
}

static int push_queue_get(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    const pl_op_queue_get_t *list = &op->u.queue_get;
    lua_createtable(L, (int)list->len, 0);
    for (size_t i = 0; i < list->len; i++) {
        push_settings(L, &list->queues[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int push_queue_stats(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    const pl_op_queue_stats_t *stats = &op->u.queue_stats;
    lua_createtable(L, (int)stats->len, 0);
    for (size_t i = 0; i < stats->len; i++) {
        const pl_queue_stats_t *queue = &stats->queues[i];
        lua_createtable(L, 0, 8);
        set_str(L, "queue", queue->queue);
        set_boolean(L, "known", queue->known);
        set_integer(L, "tasks", queue->tasks);
        set_integer(L, "in_flight", queue->in_flight);
        set_integer(L, "dead", queue->dead);
        set_integer(L, "executed_last_minute", queue->executed_last_minute);
        set_time(L, "oldest_eta", queue->oldest_eta);
        set_unless_negative(L, "enforced_rate", queue->enforced_rate);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void push_task(lua_State *L, const pl_task_t *task) {
    lua_createtable(L, 0, 16);
    set_integer(L, "id", task->id);
    lua_pushstring(L, pl_task_kind_name((int)task->kind));
    lua_setfield(L, -2, "kind");
    set_str(L, "queue", task->queue);
    set_str(L, "name", task->name);
    set_str(L, "payload", task->payload);
    set_str(L, "request", task->request);
    set_str(L, "tag", task->tag);
    set_time(L, "eta", task->eta);
    set_time(L, "first_try", task->first_try);
    set_integer(L, "tries", task->tries);
    set_integer(L, "priority", task->priority);
    if (task->status != 0)
        set_integer(L, "status", task->status);
    if (task->deadline > 0)
        set_number(L, "deadline", task->deadline);
    set_retry(L, &task->retry);
    set_time(L, "died", task->died);
    set_str(L, "error_class", task->error_class);
    set_str(L, "message", task->message);
    set_str(L, "traceback", task->traceback);
}

static void push_tasks(lua_State *L, const pl_task_t *tasks, size_t len) {
    lua_createtable(L, (int)len, 0);
    for (size_t i = 0; i < len; i++) {
        push_task(L, &tasks[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static int push_lease(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    push_tasks(L, op->u.lease.tasks, op->u.lease.len);
    return 1;
}

static int push_lease_modify(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    pl__push_time(L, op->u.lease_modify.until);
    return 1;
}

static void push_ref_results(lua_State *L, const pl_task_ref_t *tasks, size_t len) {
    lua_createtable(L, (int)len, 0);
    for (size_t i = 0; i < len; i++) {
        lua_pushstring(L, pl_result_name(tasks[i].rc));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static int push_task_delete(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    push_ref_results(L, op->u.task_delete.tasks, op->u.task_delete.len);
    return 1;
}

static int push_check(lua_State *L, const pl_op_t *op) {
    const pl_op_check_t *check = &op->u.check;
    if (op->rc != PL_OK)
        return failed(L, op);
    lua_createtable(L, (int)check->len, 0);
    for (size_t i = 0; i < check->len; i++) {
        pl__push_str(L, check->found[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (check->next == 0)
        return 1;
    lua_pushinteger(L, check->next);
    return 2;
}

static int push_backup(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    lua_pushinteger(L, op->u.backup.left);
    lua_pushinteger(L, op->u.backup.total);
    return 2;
}

static int push_claim_check(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    lua_pushboolean(L, op->u.claim_check.is_live);
    return 1;
}

static int push_purge(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    lua_pushinteger(L, op->u.purge.deleted);
    return 1;
}

static int push_dead_list(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    push_tasks(L, op->u.dead_list.tasks, op->u.dead_list.len);
    if (op->u.dead_list.next == 0)
        return 1;
    lua_pushinteger(L, op->u.dead_list.next);
    return 2;
}

static int push_dead_revive(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    if (op->u.dead_revive.all)
        lua_pushinteger(L, op->u.dead_revive.revived);
    else
        push_ref_results(L, op->u.dead_revive.tasks, op->u.dead_revive.len);
    return 1;
}

static int push_dead_purge(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return failed(L, op);
    lua_pushinteger(L, op->u.dead_purge.deleted);
    return 1;
}

/* ---- SQL --------------------------------------------------------------------------------------------------- */

/* NULL is not pushed: false. */
static bool push_value(lua_State *L, const pl_value_t *value) {
    switch (value->kind) {
    case PL_VALUE_INTEGER:
        lua_pushinteger(L, value->integer);
        return true;
    case PL_VALUE_REAL:
        lua_pushnumber(L, value->real);
        return true;
    case PL_VALUE_NULL:
        return false;
    default:
        lua_pushlstring(L, value->bytes.ptr, value->bytes.len);
        return true;
    }
}

/* A row on top of the stack gets its values; the names of the columns are in the table at index `names`. */
static void set_row(lua_State *L, const pl_row_t *row, size_t columns, int names) {
    for (size_t i = 0; i < columns; i++) {
        lua_rawgeti(L, names, (lua_Integer)i + 1);
        if (push_value(L, &row->values[i]))
            lua_rawset(L, -3);
        else
            lua_pop(L, 1);
    }
}

static void push_rows(lua_State *L, const pl_op_sql_t *sql) {
    lua_createtable(L, (int)sql->columns_len, 0);
    int names = lua_gettop(L);
    for (size_t i = 0; i < sql->columns_len; i++) {
        pl__push_str(L, sql->columns[i]);
        lua_rawseti(L, names, (lua_Integer)i + 1);
    }
    lua_createtable(L, sql->rows_len < INT_MAX ? (int)sql->rows_len : 0, 0);
    lua_Integer n = 0;
    for (const pl_row_t *row = sql->rows; row != NULL; row = row->next) {
        lua_createtable(L, 0, (int)sql->columns_len);
        set_row(L, row, sql->columns_len, names);
        lua_rawseti(L, -2, ++n);
    }
}

/* A query: the list of rows. Else how many were changed, and the id of the row inserted last, if there is one. */
static int push_sql(lua_State *L, const pl_op_t *op) {
    const pl_op_sql_t *sql = &op->u.sql;
    if (op->rc != PL_OK)
        return failed(L, op);
    if (sql->query) {
        push_rows(L, sql);
        return 1;
    }
    lua_pushinteger(L, sql->changes);
    if (sql->rowid == 0)
        return 1;
    lua_pushinteger(L, sql->rowid);
    return 2;
}

typedef int (*push_fn)(lua_State *L, const pl_op_t *op);

static const push_fn PUSH[PL_VERB_COUNT] = {
    [PL_VERB_start] = push_start,
    [PL_VERB_task_add] = push_task_add,
    [PL_VERB_cleanup] = push_cleanup,
    [PL_VERB_watch] = push_watch,
    [PL_VERB_meta] = push_meta,
    [PL_VERB_stage_get] = push_stage_get,
    [PL_VERB_tree_get] = push_tree_get,
    [PL_VERB_tree_page] = push_tree_page,
    [PL_VERB_roots_list] = push_roots_list,
    [PL_VERB_counts_get] = push_counts_get,
    [PL_VERB_failures_get] = push_failures_get,
    [PL_VERB_check] = push_check,
    [PL_VERB_claim_check] = push_claim_check,
    [PL_VERB_backup] = push_backup,
    [PL_VERB_task_done] = push_task_done,
    [PL_VERB_queue_set] = push_queue_set,
    [PL_VERB_queue_get] = push_queue_get,
    [PL_VERB_queue_stats] = push_queue_stats,
    [PL_VERB_lease] = push_lease,
    [PL_VERB_lease_modify] = push_lease_modify,
    [PL_VERB_task_delete] = push_task_delete,
    [PL_VERB_purge] = push_purge,
    [PL_VERB_dead_list] = push_dead_list,
    [PL_VERB_dead_revive] = push_dead_revive,
    [PL_VERB_dead_purge] = push_dead_purge,
    [PL_VERB_sql] = push_sql,
};

static int push_entry(lua_State *L) {
    const pl_op_t *op = lua_touserdata(L, 1);
    push_fn push = PUSH[op->verb] != NULL ? PUSH[op->verb] : push_true;
    return push(L, op);
}

int pl__push_results(lua_State *L, pl_op_t *op) {
    int top = lua_gettop(L);
    /* Building values may raise, so it is done protected: the op is freed either way. */
    lua_pushcfunction(L, push_entry);
    lua_pushlightuserdata(L, op);
    int status = lua_pcall(L, 1, LUA_MULTRET, 0);
    if (status != LUA_OK || !op->held)
        pl_op_free(op);
    if (status != LUA_OK)
        return lua_error(L);
    return lua_gettop(L) - top;
}
