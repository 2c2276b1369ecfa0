/*
 * stage.c - ops on pipelines: their arguments from Lua, their results to Lua.
 */
#include "binding/op/table.h"

#include <limits.h>
#include <string.h>

#include <lauxlib.h>

#include "base/random.h"
#include "binding/op/page.h"
#include "binding/op/pusher.h"
#include "binding/op/reader.h"

#define LIMIT_DEFAULT 50

/* ---- arguments -------------------------------------------------------------------------------------------------- */

/* Reads the list on top of the stack, and pops it. */
static void read_outputs(pl__reader_t *R, pl_stage_new_t *stage) {
    size_t n = pl__reader_list_open(R, "outputs");
    pl_output_t *outputs = pl__reader_array(R, n, sizeof *outputs);
    for (size_t i = 0; i < n; i++) {
        int item = pl__reader_list_table(R, i);
        outputs[i].name = pl__reader_str_field(R, item, "name");
        outputs[i].slot = pl__reader_id_field(R, item, "slot");
        if (i == 0 && !pl_str_eq(outputs[0].name, PL_STR_LIT("default")))
            pl__reader_refuse(R, "name", "the first output must be \"default\"");
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    stage->outputs = outputs;
    stage->outputs_len = n;
}

void pl__reader_stage_settings(pl__reader_t *R, int t, pl_stage_new_t *stage) {
    stage->class_path = pl__reader_str_field(R, t, "class_path");
    stage->queue = pl__reader_opt_str_field(R, t, "queue");
    stage->base_path = pl__reader_opt_str_field(R, t, "base_path");
    stage->target = pl__reader_opt_str_field(R, t, "target");
    stage->max_attempts = (int)pl__reader_opt_integer_field(R, t, "max_attempts", 3, 1, INT_MAX);
    stage->max_losses = (int)pl__reader_opt_integer_field(R, t, "max_losses", 0, 1, INT_MAX);
    stage->backoff_seconds = pl__reader_opt_number_field(R, t, "backoff_seconds", 15);
    stage->backoff_factor = pl__reader_opt_number_field(R, t, "backoff_factor", 2);
    stage->timeout = pl__reader_opt_number_field(R, t, "timeout", 0);
    stage->priority = (int)pl__reader_opt_integer_field(R, t, "priority", 0, INT_MIN, INT_MAX);
    stage->flags = (unsigned)pl__reader_opt_integer_field(R, t, "flags", 0, 0, INT_MAX);
    stage->eta = pl__reader_opt_time_field(R, t, "eta");
    stage->version = (int)pl__reader_opt_integer_field(R, t, "version", 0, 1, INT_MAX);
    stage->fallback = pl__reader_opt_str_field(R, t, "fallback");
    if (stage->fallback.ptr)
        stage->flags |= PL_STAGE_HAS_FALLBACK;
}

void pl__reader_stage_values(pl__reader_t *R, int at, pl_stage_new_t *stage) {
    lua_pushvalue(R->L, at);
    stage->id = pl__reader_take_id(R, "id");
    lua_pushvalue(R->L, at + 1);
    stage->args = pl__reader_take_str(R, "args");
    lua_pushvalue(R->L, at + 2);
    stage->inputs = pl__reader_take_ids(R, "inputs", &stage->inputs_len);
    lua_pushvalue(R->L, at + 3);
    stage->after = pl__reader_take_ids(R, "after", &stage->after_len);
    lua_pushvalue(R->L, at + 4);
    read_outputs(R, stage);
}

void pl__reader_seed(pl__reader_t *R, pl_stage_new_t *stage) {
    pl_random_t random;
    if (!(stage->flags & PL_STAGE_DURABLE))
        return;
    char *seed = pl__reader_array(R, PL_FLOW_SEED, 1);
    pl_random_init_system(&random);
    if (pl_random_bytes(&random, seed, PL_FLOW_SEED) != PL_OK)
        pl__reader_refuse(R, NULL, "the system has no random numbers");
    stage->seed = (pl_str_t){ seed, PL_FLOW_SEED };
}

static void read_stage(pl__reader_t *R, int t, pl_stage_new_t *stage) {
    static const char *const VALUES[] = { "id", "args", "inputs", "after", "outputs" };
    enum { COUNT = sizeof VALUES / sizeof VALUES[0] };
    int top = lua_gettop(R->L);
    for (int i = 0; i < COUNT; i++)
        lua_getfield(R->L, t, VALUES[i]);
    pl__reader_stage_values(R, top + 1, stage);
    lua_settop(R->L, top);
    pl__reader_stage_settings(R, t, stage);
    pl__reader_seed(R, stage);
}

/* Reads the list on top of the stack, and pops it. */
static pl_stage_new_t *read_stages(pl__reader_t *R, const char *name, bool roots, size_t *len) {
    size_t n = pl__reader_list_open(R, name);
    pl_stage_new_t *stages = pl__reader_array(R, n, sizeof *stages);
    for (size_t i = 0; i < n; i++) {
        int item = pl__reader_list_table(R, i);
        read_stage(R, item, &stages[i]);
        if (roots) {
            stages[i].key = pl__reader_opt_str_field(R, item, "key");
            stages[i].hold = pl__reader_opt_flag_field(R, item, "hold");
            stages[i].trace = pl__reader_opt_str_field(R, item, "trace");
            stages[i].flags |= stages[i].trace.ptr ? PL_STAGE_TRACED : 0;
        }
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    *len = n;
    return stages;
}

pl_stage_new_t *pl__reader_children(pl__reader_t *R, const char *name, size_t *len) {
    return read_stages(R, name, false, len);
}

pl_stage_new_t *pl__reader_roots(pl__reader_t *R, const char *name, size_t *len) {
    return read_stages(R, name, true, len);
}

/* Puts fill i in its place among those before it, which are ascending; the same slot again: the later value wins.
 * Returns how many there are now. What comes in order, as it mostly does, costs one comparison. */
static size_t fill_insert(pl_fill_t *fills, size_t len, pl_fill_t fill) {
    size_t at = len;
    while (at > 0 && fills[at - 1].slot > fill.slot)
        at--;
    if (at > 0 && fills[at - 1].slot == fill.slot) {
        fills[at - 1] = fill;
        return len;
    }
    memmove(&fills[at + 1], &fills[at], (len - at) * sizeof *fills);
    fills[at] = fill;
    return len + 1;
}

const pl_fill_t *pl__reader_fills(pl__reader_t *R, size_t *len) {
    size_t n = pl__reader_list_open(R, "fills");
    pl_fill_t *fills = pl__reader_array(R, n, sizeof *fills);
    *len = 0;
    for (size_t i = 0; i < n; i++) {
        int item = pl__reader_list_table(R, i);
        pl_fill_t fill;
        fill.slot = pl__reader_id_field(R, item, "slot");
        fill.value = pl__reader_str_field(R, item, "value");
        *len = fill_insert(fills, *len, fill);
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    return fills;
}

/* e:start(list of STAGE) -> list of "OK" or "EEXISTS" */
void pl__build_start(pl__reader_t *R) {
    pl_op_start_t *start = &R->op->u.start;
    pl__reader_arg_list(R, 2);
    start->stages = read_stages(R, "stages", true, &start->len);
}

void pl__reader_outcome(pl__reader_t *R) {
    static const char *const KINDS[] = { "ok", "failed", "abort", "held", "continue", NULL };
    pl_op_outcome_t *outcome = &R->op->u.outcome;
    pl__reader_arg_table(R, 3);
    outcome->kind = (pl_outcome_kind_t)pl__reader_choice_field(R, 3, "kind", KINDS);
    lua_Integer flags = pl__reader_opt_integer_field(R, 3, "flags", -1, 0, INT_MAX);
    outcome->flags = flags < 0 ? PL__FLAGS_AS_STORED : (unsigned)flags;
    lua_getfield(R->L, 3, "fills");
    outcome->fills = pl__reader_fills(R, &outcome->fills_len);
    lua_getfield(R->L, 3, "children");
    if (outcome->children) /* they are there already */
        lua_pop(R->L, 1);
    else
        outcome->children = read_stages(R, "children", false, &outcome->children_len);
    lua_getfield(R->L, 3, "tasks");
    outcome->tasks = pl__reader_tasks(R, &outcome->tasks_len);
    pl__reader_failure(R, 3, &outcome->failure);
    outcome->give_up = pl__reader_opt_flag_field(R, 3, "give_up");
    outcome->retry_task = pl__reader_opt_flag_field(R, 3, "retry_task");
    outcome->retry_at = pl__reader_opt_time_field(R, 3, "retry_at");
    if (outcome->retry_at)
        R->op->clock = pl_clock_offset();
    outcome->retry_message = pl__reader_opt_str_field(R, 3, "retry_message");
    outcome->abort_message = pl__reader_opt_str_field(R, 3, "abort_message");
}

void pl__build_finalized(pl__reader_t *R) {
    static const char *const KINDS[] = { "ok", "failed", "held", NULL };
    pl_op_finalized_t *finalized = &R->op->u.finalized;
    pl__reader_arg_table(R, 3);
    finalized->kind = (pl_finalized_kind_t)pl__reader_choice_field(R, 3, "kind", KINDS);
    finalized->give_up = pl__reader_opt_flag_field(R, 3, "give_up");
    finalized->retry_at = pl__reader_opt_time_field(R, 3, "retry_at");
    if (finalized->retry_at)
        R->op->clock = pl_clock_offset();
    pl__reader_failure(R, 3, &finalized->failure);
}

PL__PUSHES_TRUE(finalized)

/* e:fill(stage_id, list of {slot=, value=}) -> true */
void pl__build_fill(pl__reader_t *R) {
    pl_op_fill_t *fill = &R->op->u.fill;
    fill->stage = pl__reader_arg_id(R, 2);
    pl__reader_arg_list(R, 3);
    fill->fills = pl__reader_fills(R, &fill->fills_len);
}

PL__PUSHES_TRUE(fill)

/* e:retry(stage_id, retry_at, message) -> true */
void pl__build_retry(pl__reader_t *R) {
    pl_op_retry_t *retry = &R->op->u.retry;
    retry->stage = pl__reader_arg_id(R, 2);
    if (!lua_isnil(R->L, 3)) {
        pl__reader_arg_push(R, 3);
        retry->retry_at = pl_clock_from_seconds(pl__reader_take_number(R, NULL));
        R->op->clock = pl_clock_offset();
    }
    retry->message = pl__reader_arg_opt_str(R, 4);
}

PL__PUSHES_TRUE(retry)

/* e:abort(stage_id, message, no_permission, force) -> true */
void pl__build_abort(pl__reader_t *R) {
    pl_op_abort_t *abort_op = &R->op->u.abort;
    abort_op->stage = pl__reader_arg_id(R, 2);
    abort_op->message = pl__reader_arg_opt_str(R, 3);
    abort_op->no_permission = lua_toboolean(R->L, 4);
    abort_op->force = lua_toboolean(R->L, 5);
}

PL__PUSHES_TRUE(abort)

/* e:resume(stage_id, only_asks) -> how many stages go on */
void pl__build_resume(pl__reader_t *R) {
    R->op->u.resume.stage = pl__reader_arg_id(R, 2);
    R->op->u.resume.only_asks = lua_toboolean(R->L, 3);
}

void pl__reader_status(pl__reader_t *R, int t, pl_status_t *status) {
    status->message = pl__reader_opt_str_field(R, t, "message");
    status->console_url = pl__reader_opt_str_field(R, t, "console_url");
    status->links = pl__reader_opt_str_field(R, t, "links");
    status->time = pl__reader_opt_time_field(R, t, "time");
}

void pl__build_status(pl__reader_t *R) {
    pl_op_status_t *status = &R->op->u.status;
    status->stage = pl__reader_arg_id(R, 2);
    pl__reader_arg_table(R, 3);
    pl__reader_status(R, 3, &status->status);
}

PL__PUSHES_TRUE(status)

/* e:cleanup(root_id) -> rows deleted */
void pl__build_cleanup(pl__reader_t *R) {
    R->op->u.cleanup.root = pl__reader_arg_id(R, 2);
}

/* e:watch(stage_id | key) -> name of its state */
void pl__build_watch(pl__reader_t *R) {
    pl_op_watch_t *watch = &R->op->u.watch;
    pl__reader_arg_id_or_key(R, 2, &watch->stage, &watch->key);
}

/* e:stage_get(id | key, with_slots, with_work) -> STAGEREC, slots; or nil */
void pl__build_stage_get(pl__reader_t *R) {
    pl_op_stage_get_t *stage_get = &R->op->u.stage_get;
    pl__reader_arg_id_or_key(R, 2, &stage_get->stage, &stage_get->key);
    stage_get->with_slots = lua_toboolean(R->L, 3);
    stage_get->with_work = lua_toboolean(R->L, 4);
}

/* e:tree_get(id | key) -> list of STAGEREC, slots; or nil */
void pl__build_tree_get(pl__reader_t *R) {
    pl_op_tree_get_t *tree_get = &R->op->u.tree_get;
    pl__reader_arg_id_or_key(R, 2, &tree_get->stage, &tree_get->key);
}

/* e:tree_page(id | key, {top=, depth=, after=, limit=, counts=, hidden=}) -> {root=, key=, len=, next=}, page; or nil,
 * if there is no such stage, or `top` is not in its tree */
void pl__build_tree_page(pl__reader_t *R) {
    pl_op_tree_page_t *get = &R->op->u.tree_page;
    pl__reader_arg_id_or_key(R, 2, &get->stage, &get->key);
    pl__reader_arg_table(R, 3);
    get->top = pl__reader_opt_id_field(R, 3, "top");
    get->after = pl__reader_opt_id_field(R, 3, "after");
    get->depth = (int)pl__reader_opt_integer_field(R, 3, "depth", -1, -1, INT_MAX);
    get->limit = (int)pl__reader_opt_integer_field(R, 3, "limit", LIMIT_DEFAULT, 1, INT_MAX);
    get->counts = pl__reader_opt_flag_field(R, 3, "counts");
    get->hidden = (int)pl__reader_opt_integer_field(R, 3, "hidden", 0, 0, INT_MAX);
}

/* e:roots_list{class_path=, before=, limit=} -> list of STAGEREC, slots, next id or nil */
void pl__build_roots_list(pl__reader_t *R) {
    pl_op_roots_list_t *list = &R->op->u.roots_list;
    list->limit = LIMIT_DEFAULT;
    if (lua_isnil(R->L, 2))
        return;
    pl__reader_arg_table(R, 2);
    list->class_path = pl__reader_opt_str_field(R, 2, "class_path");
    list->before = pl__reader_opt_id_field(R, 2, "before");
    list->limit = (int)pl__reader_opt_integer_field(R, 2, "limit", LIMIT_DEFAULT, 1, INT_MAX);
}

/* e:failures_get(id, of the tree) -> list of {time=, attempt=, worker=, error_class=, message=, traceback=}; of the
 * tree of a root also stage=, class_path=, key= */
void pl__build_failures_get(pl__reader_t *R) {
    R->op->u.failures_get.stage = pl__reader_arg_id(R, 2);
    R->op->u.failures_get.tree = lua_toboolean(R->L, 3);
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

int pl__push_start(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    const pl_op_start_t *start = &op->u.start;
    lua_createtable(L, (int)start->len, 0);
    for (size_t i = 0; i < start->len; i++) {
        lua_pushstring(L, pl_result_name(start->stages[i].rc));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

int pl__push_cleanup(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushinteger(L, op->u.cleanup.deleted);
    return 1;
}

int pl__push_resume(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_pushinteger(L, op->u.resume.stages);
    return 1;
}

int pl__push_watch(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    if (op->u.watch.unwatch)
        lua_pushboolean(L, 1);
    else
        lua_pushstring(L, pl_stage_state_name((int)op->u.watch.state));
    return 1;
}

int pl__push_stage_get(lua_State *L, const pl_op_t *op) {
    const pl_op_stage_get_t *get = &op->u.stage_get;
    if (op->rc != PL_OK && op->rc != PL_ENOTFOUND)
        return pl__push_failed(L, op);
    if (op->rc == PL_ENOTFOUND || !get->result) {
        lua_pushnil(L);
        return 1;
    }
    pl__push_stage(L, get->result);
    pl__push_slots(L, get->slots, get->slots_len);
    return 2;
}

int pl__push_tree_get(lua_State *L, const pl_op_t *op) {
    const pl_op_tree_get_t *get = &op->u.tree_get;
    if (op->rc != PL_OK && op->rc != PL_ENOTFOUND)
        return pl__push_failed(L, op);
    if (op->rc == PL_ENOTFOUND || get->len == 0) {
        lua_pushnil(L);
        return 1;
    }
    pl__push_stages(L, get->stages, get->len);
    pl__push_slots(L, get->slots, get->slots_len);
    return 2;
}

int pl__push_tree_page(lua_State *L, const pl_op_t *op) {
    if (op->rc != PL_OK && op->rc != PL_ENOTFOUND)
        return pl__push_failed(L, op);
    if (op->rc == PL_OK && op->u.tree_page.root != 0)
        return pl__page_push(L, (pl_op_t *)(uintptr_t)op);
    lua_pushnil(L);
    return 1;
}

int pl__push_roots_list(lua_State *L, const pl_op_t *op) {
    const pl_op_roots_list_t *list = &op->u.roots_list;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    pl__push_stages(L, list->stages, list->len);
    pl__push_slots(L, list->slots, list->slots_len);
    if (list->next == 0)
        return 2;
    lua_pushinteger(L, list->next);
    return 3;
}

static void push_failure(lua_State *L, const pl_failure_t *failure) {
    lua_createtable(L, 0, 6);
    pl__set_time(L, "time", failure->time);
    pl__set_integer(L, "attempt", failure->attempt);
    pl__set_str(L, "worker", failure->worker);
    pl__set_str(L, "error_class", failure->error_class);
    pl__set_str(L, "message", failure->message);
    pl__set_str(L, "traceback", failure->traceback);
    pl__set_str(L, "class_path", failure->class_path);
    pl__set_str(L, "key", failure->key);
    if (failure->stage != 0)
        pl__set_integer(L, "stage", failure->stage);
}

int pl__push_failures_get(lua_State *L, const pl_op_t *op) {
    const pl_op_failures_get_t *get = &op->u.failures_get;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
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
