/*
 * task.c - ops on tasks: their arguments from Lua, their results to Lua.
 */
#include "binding/op/table.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/reader.h"

#define LIMIT_DEFAULT 50

/* ---- arguments -------------------------------------------------------------------------------------------------- */

static double retry_field(pl__reader_t *R, int t, const char *field) {
    return pl__reader_opt_number_field(R, t, field, -1);
}

/* The field "retry": any of the six parameters. */
pl_retry_t pl__reader_retry(pl__reader_t *R, int t) {
    pl_retry_t retry = PL_RETRY_NONE;
    if (!pl__reader_get(R, t, "retry"))
        return retry;
    if (!lua_istable(R->L, -1))
        pl__reader_refuse_type(R, "retry", "table");
    int table = lua_gettop(R->L);
    R->places[R->depth++] = (pl__reader_place_t){ "retry", 0 };
    retry.limit = retry_field(R, table, "task_retry_limit");
    retry.age_limit = retry_field(R, table, "task_age_limit");
    retry.min_backoff = retry_field(R, table, "min_backoff_seconds");
    retry.max_backoff = retry_field(R, table, "max_backoff_seconds");
    retry.doublings = retry_field(R, table, "max_doublings");
    retry.losses = retry_field(R, table, "max_losses");
    R->depth--;
    lua_pop(R->L, 1);
    return retry;
}

/* What only tasks that are pushed, pulled or deferred have. */
static void read_queued(pl__reader_t *R, int t, pl_task_new_t *task) {
    task->name_id = pl__reader_opt_id_field(R, t, "name_id");
    task->tag = pl__reader_opt_str_field(R, t, "tag");
    task->request = pl__reader_opt_str_field(R, t, "request");
    task->deadline = pl__reader_opt_number_field(R, t, "deadline", 0);
    task->retry = pl__reader_retry(R, t);
}

static void read_task(pl__reader_t *R, int t, pl_task_new_t *task) {
    static const char *const NAMES[] = { "callback", "run", "push", "pull", "deferred", NULL };
    static const pl_task_kind_t KINDS[] = { PL_TASK_CALLBACK, PL_TASK_RUN, PL_TASK_PUSH, PL_TASK_PULL,
                                            PL_TASK_DEFERRED };
    task->id = pl__reader_id_field(R, t, "id");
    task->kind = KINDS[pl__reader_choice_field(R, t, "kind", NAMES)];
    if (task->kind >= PL_TASK_PUSH)
        read_queued(R, t, task);
    task->queue = pl__reader_opt_str_field(R, t, "queue");
    task->name = pl__reader_opt_str_field(R, t, "name");
    task->stage = pl__reader_opt_id_field(R, t, "stage");
    task->payload = pl__reader_opt_str_field(R, t, "payload");
    task->priority = (int)pl__reader_opt_integer_field(R, t, "priority", 0, INT_MIN, INT_MAX);
    task->eta = pl__reader_opt_time_field(R, t, "eta");
}

pl_task_new_t *pl__reader_tasks(pl__reader_t *R, size_t *len) {
    size_t n = pl__reader_list_open(R, "tasks");
    pl_task_new_t *tasks = pl__reader_array(R, n, sizeof *tasks);
    for (size_t i = 0; i < n; i++) {
        read_task(R, pl__reader_list_table(R, i), &tasks[i]);
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    *len = n;
    return tasks;
}

void pl__build_task_done(pl__reader_t *R) {
    pl_op_task_done_t *task_done = &R->op->u.task_done;
    pl__reader_arg_table(R, 3);
    task_done->failed = pl__reader_opt_flag_field(R, 3, "failed");
    task_done->give_up = pl__reader_opt_flag_field(R, 3, "give_up");
    task_done->status = (int)pl__reader_opt_integer_field(R, 3, "status", 0, 0, INT_MAX);
    task_done->retry_at = pl__reader_opt_time_field(R, 3, "retry_at");
    if (task_done->retry_at)
        R->op->clock = pl_clock_offset();
    pl__reader_failure(R, 3, &task_done->failure);
}

/* e:task_add(list of TASK, all_or_none) -> list of result names */
void pl__build_task_add(pl__reader_t *R) {
    pl_op_task_add_t *add = &R->op->u.task_add;
    pl__reader_arg_list(R, 2);
    add->tasks = pl__reader_tasks(R, &add->len);
    add->all_or_none = lua_toboolean(R->L, 3);
}

/* ---- one after the other, into an op that gathers them ---------------------------------------------------------- */

/* Its array has room for a power of two, this at least. */
enum { GATHER_FIRST = 64 };

/* The room of an array of `len`. */
static size_t room_for(size_t len) {
    size_t room = len > 0 ? GATHER_FIRST : 0;
    while (room < len)
        room *= 2;
    return room;
}

/* Makes room for `more` tasks behind those that are there. */
static int reserve_tasks(pl_op_t *op, size_t more) {
    pl_op_task_add_t *add = &op->u.task_add;
    size_t room = room_for(add->len + more);
    if (room == room_for(add->len))
        return PL_OK;
    pl_task_new_t *tasks = pl_op_alloc(op, room * sizeof *tasks);
    if (!tasks)
        return PL_ENOMEM;
    if (add->len > 0)
        memcpy(tasks, add->tasks, add->len * sizeof *tasks);
    add->tasks = tasks;
    return PL_OK;
}

void pl__build_more_tasks(pl__reader_t *R) {
    pl_op_task_add_t *add = &R->op->u.task_add;
    pl__reader_arg_list(R, 2);
    size_t n = pl__reader_list_open(R, "tasks");
    if (reserve_tasks(R->op, n) != PL_OK)
        pl__reader_out_of_memory(R);
    for (size_t i = 0; i < n; i++) {
        pl_task_new_t *task = &add->tasks[add->len + i];
        *task = (pl_task_new_t){ 0 };
        read_task(R, pl__reader_list_table(R, i), task);
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    add->len += n;
}

/* A string or nil, borrowed from the stack. */
static pl_str_t arg_str(lua_State *L, int arg) {
    pl_str_t str = PL_STR_NONE;
    if (!lua_isnoneornil(L, arg)) {
        luaL_checktype(L, arg, LUA_TSTRING);
        str.ptr = lua_tolstring(L, arg, &str.len);
    }
    return str;
}

void pl__args_task(lua_State *L, pl_task_new_t *task) {
    static const char *const NAMES[] = { "push", "pull", "deferred", NULL };
    lua_Integer priority = luaL_optinteger(L, 7, 0);
    luaL_argcheck(L, priority >= INT_MIN && priority <= INT_MAX, 7, "out of range");
    double eta = luaL_checknumber(L, 6), deadline = luaL_optnumber(L, 9, 0);
    luaL_argcheck(L, isfinite(eta) && eta >= 0, 6, "a finite number, 0 or more, expected");
    luaL_argcheck(L, isfinite(deadline) && deadline >= 0, 9, "a finite number, 0 or more, expected");
    *task = (pl_task_new_t){ .kind = (pl_task_kind_t)(PL_TASK_PUSH + luaL_checkoption(L, 3, NULL, NAMES)),
                             .queue = arg_str(L, 2),
                             .payload = arg_str(L, 4),
                             .request = arg_str(L, 5),
                             .eta = pl_clock_from_seconds(eta),
                             .priority = (int)priority,
                             .tag = arg_str(L, 8),
                             .deadline = deadline,
                             .retry = PL_RETRY_NONE };
}

int pl__op_add_task(pl_op_t *op, const pl_task_new_t *task) {
    pl_op_task_add_t *add = &op->u.task_add;
    int rc = reserve_tasks(op, 1);
    if (rc != PL_OK)
        return rc;
    pl_task_new_t *copy = &add->tasks[add->len];
    *copy = *task;
    if (add->len > 0 && pl_str_eq(copy[-1].queue, task->queue)) /* most go to the same */
        copy->queue = copy[-1].queue;
    else
        rc = pl__arena_copy(&op->arena, task->queue, &copy->queue);
    if (rc == PL_OK)
        rc = pl__arena_copy(&op->arena, task->payload, &copy->payload);
    if (rc == PL_OK)
        rc = pl__arena_copy(&op->arena, task->request, &copy->request);
    if (rc == PL_OK)
        rc = pl__arena_copy(&op->arena, task->tag, &copy->tag);
    add->len += rc == PL_OK;
    return rc;
}

/* e:claim_check(task id, claim) -> whether the task is being executed under that claim, by any worker */
void pl__build_claim_check(pl__reader_t *R) {
    R->op->u.claim_check.task = pl__reader_arg_id(R, 2);
    R->op->u.claim_check.claim = (int)luaL_checkinteger(R->L, 3);
}

/* e:lease(queue, {seconds=, max=, tag=, group=}) -> list of TASKREC */
void pl__build_lease(pl__reader_t *R) {
    pl_op_lease_t *lease = &R->op->u.lease;
    lease->queue = pl__reader_arg_str(R, 2);
    pl__reader_arg_table(R, 3);
    lease->seconds = pl__reader_opt_number_field(R, 3, "seconds", 0);
    lease->max = (int)pl__reader_opt_integer_field(R, 3, "max", 1, 1, INT_MAX);
    lease->tag = pl__reader_opt_str_field(R, 3, "tag");
    lease->by_tag = lease->tag.ptr;
    lease->group = pl__reader_opt_flag_field(R, 3, "group");
}

/* Reads an id or a name from the top of the stack, and pops it. */
static pl_task_ref_t take_ref(pl__reader_t *R) {
    pl_task_ref_t ref = { 0 };
    if (lua_type(R->L, -1) == LUA_TSTRING)
        ref.name = pl__reader_take_str(R, NULL);
    else
        ref.id = pl__reader_take_id(R, NULL);
    return ref;
}

/* Reads a list of ids and names from argument `arg`; nil is none. */
static pl_task_ref_t *arg_refs(pl__reader_t *R, int arg, size_t *len) {
    pl__reader_arg_push(R, arg);
    size_t n = pl__reader_list_open(R, "tasks");
    pl_task_ref_t *refs = pl__reader_array(R, n, sizeof *refs);
    for (size_t i = 0; i < n; i++) {
        R->places[R->depth - 1].index = (lua_Integer)i + 1;
        lua_rawgeti(R->L, -1, (lua_Integer)i + 1);
        refs[i] = take_ref(R);
    }
    pl__reader_list_close(R);
    *len = n;
    return refs;
}

/* e:lease_modify(queue, id or name, eta, seconds) -> new eta */
void pl__build_lease_modify(pl__reader_t *R) {
    pl_op_lease_modify_t *modify = &R->op->u.lease_modify;
    modify->queue = pl__reader_arg_str(R, 2);
    pl__reader_arg_push(R, 3);
    modify->task = take_ref(R);
    pl__reader_arg_push(R, 4);
    modify->eta = pl_clock_from_seconds(pl__reader_take_number(R, NULL));
    pl__reader_arg_push(R, 5);
    modify->seconds = pl__reader_take_number(R, NULL);
}

/* e:task_delete(queue, list of ids and names) -> list of result names */
void pl__build_task_delete(pl__reader_t *R) {
    pl_op_task_delete_t *task_delete = &R->op->u.task_delete;
    task_delete->queue = pl__reader_arg_str(R, 2);
    pl__reader_arg_table(R, 3);
    task_delete->tasks = arg_refs(R, 3, &task_delete->len);
}

/* e:purge(queue, forget_names) -> tasks deleted */
void pl__build_purge(pl__reader_t *R) {
    R->op->u.purge.queue = pl__reader_arg_str(R, 2);
    R->op->u.purge.forget_names = lua_toboolean(R->L, 3);
}

/* e:dead_list(queue or nil, {before=, limit=}) -> list of TASKREC, next id or nil */
void pl__build_dead_list(pl__reader_t *R) {
    pl_op_dead_list_t *list = &R->op->u.dead_list;
    list->queue = pl__reader_arg_opt_str(R, 2);
    list->limit = LIMIT_DEFAULT;
    if (lua_isnil(R->L, 3))
        return;
    pl__reader_arg_table(R, 3);
    list->before = pl__reader_opt_id_field(R, 3, "before");
    list->limit = (int)pl__reader_opt_integer_field(R, 3, "limit", LIMIT_DEFAULT, 1, INT_MAX - 1);
}

/* e:dead_revive(queue or nil, list of ids or nil) -> list of result names, or how many */
void pl__build_dead_revive(pl__reader_t *R) {
    pl_op_dead_revive_t *revive = &R->op->u.dead_revive;
    revive->queue = pl__reader_arg_opt_str(R, 2);
    revive->all = lua_isnil(R->L, 3);
    revive->tasks = arg_refs(R, 3, &revive->len);
}

/* e:dead_purge(queue or nil, list of ids or nil) -> how many */
void pl__build_dead_purge(pl__reader_t *R) {
    pl_op_dead_purge_t *purge = &R->op->u.dead_purge;
    purge->queue = pl__reader_arg_opt_str(R, 2);
    purge->all = lua_isnil(R->L, 3);
    purge->tasks = arg_refs(R, 3, &purge->len);
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

/* Whether rc says something about an item, not about the op as a whole. */
static bool is_item_result(int rc) {
    return rc == PL_OK || rc == PL_EEXISTS || rc == PL_ETOMBSTONE || rc == PL_ENOTFOUND || rc == PL_ESTATE ||
           rc == PL_ENOQUEUE || rc == PL_EMODE;
}

int pl__push_task_add(lua_State *L, const pl_op_t *op) {
    if (!is_item_result(op->rc))
        return pl__push_failed(L, op);
    const pl_op_task_add_t *add = &op->u.task_add;
    lua_createtable(L, (int)add->len, 0);
    for (size_t i = 0; i < add->len; i++) {
        lua_pushstring(L, pl_result_name(add->tasks[i].rc));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

int pl__push_task_done(lua_State *L, const pl_op_t *op) {
    int n = pl__push_true(L, op);
    if (op->rc != PL_OK || !op->u.task_done.died)
        return n;
    lua_pushliteral(L, "dead");
    return n + 1;
}

void pl__push_task(lua_State *L, const pl_task_t *task) {
    lua_createtable(L, 0, 16);
    pl__set_integer(L, "id", task->id);
    lua_pushstring(L, pl_task_kind_name((int)task->kind));
    lua_setfield(L, -2, "kind");
    pl__set_str(L, "queue", task->queue);
    pl__set_str(L, "name", task->name);
    pl__set_str(L, "payload", task->payload);
    pl__set_str(L, "request", task->request);
    pl__set_str(L, "tag", task->tag);
    pl__set_time(L, "eta", task->eta);
    pl__set_time(L, "first_try", task->first_try);
    pl__set_integer(L, "tries", task->tries);
    pl__set_integer(L, "priority", task->priority);
    if (task->status != 0)
        pl__set_integer(L, "status", task->status);
    if (task->deadline > 0)
        pl__set_number(L, "deadline", task->deadline);
    pl__set_retry(L, &task->retry);
    pl__set_time(L, "died", task->died);
    pl__set_str(L, "error_class", task->error_class);
    pl__set_str(L, "message", task->message);
    pl__set_str(L, "traceback", task->traceback);
}

static void push_tasks(lua_State *L, const pl_task_t *tasks, size_t len) {
    lua_createtable(L, (int)len, 0);
    for (size_t i = 0; i < len; i++) {
        pl__push_task(L, &tasks[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

int pl__push_lease(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    push_tasks(L, op->u.lease.tasks, op->u.lease.len);
    return 1;
}

int pl__push_lease_modify(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
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

int pl__push_task_delete(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    push_ref_results(L, op->u.task_delete.tasks, op->u.task_delete.len);
    return 1;
}

int pl__push_claim_check(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushboolean(L, op->u.claim_check.is_live);
    return 1;
}

int pl__push_purge(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushinteger(L, op->u.purge.deleted);
    return 1;
}

int pl__push_dead_list(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    push_tasks(L, op->u.dead_list.tasks, op->u.dead_list.len);
    if (op->u.dead_list.next == 0)
        return 1;
    lua_pushinteger(L, op->u.dead_list.next);
    return 2;
}

int pl__push_dead_revive(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    if (op->u.dead_revive.all)
        lua_pushinteger(L, op->u.dead_revive.revived);
    else
        push_ref_results(L, op->u.dead_revive.tasks, op->u.dead_revive.len);
    return 1;
}

int pl__push_dead_purge(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushinteger(L, op->u.dead_purge.deleted);
    return 1;
}
