/*
 * ops.c - Lua tables as ops. See ops.h.
 *
 * The builders run in a protected call, so they may raise at any place: the op is held by the C frame below and
 * freed there. The reader remembers where it is, for the message.
 */
#include "binding/ops.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include <lauxlib.h>

#include "binding/codec.h"

#define PLACES_MAX 4 /* lists and tables inside each other */
#define ARGS_MAX 5   /* of any verb, self included */
#define LIMIT_DEFAULT 50
#define SQL_VALUES_MAX 32766 /* of one statement, in SQLite */

typedef struct {
    const char *name;
    lua_Integer index; /* 0: a table, not a list */
} place_t;

typedef struct {
    lua_State *L; /* the protected frame; its stack has the arguments of the method at the same indices */
    pl_op_t *op;
    int arg; /* the one being read */
    place_t places[PLACES_MAX];
    int depth;
    bool misuse, no_memory; /* why it was left */
} reader_t;

/* ---- complaints -------------------------------------------------------------------------------------------- */

/* Leaves the builder with "place.field: text". `field` may be NULL. */
static void refuse(reader_t *R, const char *field, const char *text) {
    lua_State *L = R->L;
    luaL_Buffer buffer;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    luaL_buffinit(L, &buffer);
    for (int i = 0; i < R->depth; i++) {
        const place_t *place = &R->places[i];
        if (i > 0)
            luaL_addchar(&buffer, '.');
        luaL_addstring(&buffer, place->name);
        if (place->index > 0) {
            lua_pushfstring(L, "[%I]", (LUAI_UACINT)place->index);
            luaL_addvalue(&buffer);
        }
    }
    if (field != NULL && R->depth > 0)
        luaL_addchar(&buffer, '.');
    if (field != NULL)
        luaL_addstring(&buffer, field);
    if (field != NULL || R->depth > 0)
        luaL_addstring(&buffer, ": ");
    luaL_addstring(&buffer, text);
    luaL_pushresult(&buffer);
    R->misuse = true;
    lua_error(L);
}

static void refuse_type(reader_t *R, const char *field, const char *expected) {
    refuse(R, field, lua_pushfstring(R->L, "%s expected, got %s", expected, luaL_typename(R->L, -1)));
}

static void refuse_range(reader_t *R, const char *field, lua_Integer min, lua_Integer max) {
    refuse(R, field, lua_pushfstring(R->L, "not from %I to %I", (LUAI_UACINT)min, (LUAI_UACINT)max));
}

static void out_of_memory(reader_t *R) {
    R->no_memory = true;
    lua_pushnil(R->L);
    lua_error(R->L);
}

/* ---- the value on top of the stack ------------------------------------------------------------------------- */

/* Each take_ reads the value on top and pops it. */
static lua_Integer take_integer(reader_t *R, const char *field, lua_Integer min, lua_Integer max) {
    int is_integer;
    lua_Integer value = lua_tointegerx(R->L, -1, &is_integer);
    if (lua_type(R->L, -1) != LUA_TNUMBER)
        refuse_type(R, field, "integer");
    if (!is_integer)
        refuse(R, field, "integer expected, got a float");
    if (value < min || value > max)
        refuse_range(R, field, min, max);
    lua_pop(R->L, 1);
    return value;
}

static pl_id_t take_id(reader_t *R, const char *field) {
    return take_integer(R, field, 1, LUA_MAXINTEGER);
}

static pl_str_t take_str(reader_t *R, const char *field) {
    pl_str_t borrowed, copy;
    if (lua_type(R->L, -1) != LUA_TSTRING)
        refuse_type(R, field, "string");
    borrowed.ptr = lua_tolstring(R->L, -1, &borrowed.len);
    if (pl__arena_copy(&R->op->arena, borrowed, &copy) != PL_OK)
        out_of_memory(R);
    lua_pop(R->L, 1);
    return copy;
}

static double take_number(reader_t *R, const char *field) {
    if (lua_type(R->L, -1) != LUA_TNUMBER)
        refuse_type(R, field, "number");
    double value = lua_tonumber(R->L, -1);
    if (!isfinite(value) || value < 0)
        refuse(R, field, "a finite number, 0 or more, expected");
    lua_pop(R->L, 1);
    return value;
}

/* ---- fields of the table at index t ------------------------------------------------------------------------ */

/* Pushes the field; false (and nothing pushed) when it is nil. */
static bool get(reader_t *R, int t, const char *field) {
    if (lua_getfield(R->L, t, field) != LUA_TNIL)
        return true;
    lua_pop(R->L, 1);
    return false;
}

static void require(reader_t *R, int t, const char *field, const char *expected) {
    if (lua_getfield(R->L, t, field) == LUA_TNIL)
        refuse_type(R, field, expected);
}

static pl_id_t id_field(reader_t *R, int t, const char *field) {
    require(R, t, field, "integer");
    return take_id(R, field);
}

static pl_id_t opt_id_field(reader_t *R, int t, const char *field) {
    return get(R, t, field) ? take_id(R, field) : 0;
}

static lua_Integer opt_integer_field(reader_t *R, int t, const char *field, lua_Integer otherwise, lua_Integer min,
                                     lua_Integer max) {
    return get(R, t, field) ? take_integer(R, field, min, max) : otherwise;
}

static pl_str_t str_field(reader_t *R, int t, const char *field) {
    require(R, t, field, "string");
    return take_str(R, field);
}

static pl_str_t opt_str_field(reader_t *R, int t, const char *field) {
    return get(R, t, field) ? take_str(R, field) : PL_STR_NONE;
}

static double opt_number_field(reader_t *R, int t, const char *field, double otherwise) {
    return get(R, t, field) ? take_number(R, field) : otherwise;
}

static pl_usec_t opt_time_field(reader_t *R, int t, const char *field) {
    return get(R, t, field) ? pl_clock_from_seconds(take_number(R, field)) : 0;
}

static bool opt_flag_field(reader_t *R, int t, const char *field) {
    if (!get(R, t, field))
        return false;
    if (!lua_isboolean(R->L, -1))
        refuse_type(R, field, "boolean");
    bool value = lua_toboolean(R->L, -1);
    lua_pop(R->L, 1);
    return value;
}

/* Returns the position of the field's text in the NULL-terminated list; nil is the first. */
static int choice_field(reader_t *R, int t, const char *field, const char *const *choices) {
    if (!get(R, t, field))
        return 0;
    if (lua_type(R->L, -1) != LUA_TSTRING)
        refuse_type(R, field, "string");
    const char *text = lua_tostring(R->L, -1);
    for (int i = 0; choices[i] != NULL; i++) {
        if (strcmp(choices[i], text) == 0) {
            lua_pop(R->L, 1);
            return i;
        }
    }
    refuse(R, field, lua_pushfstring(R->L, "unknown choice '%s'", text));
    return 0;
}

/* ---- lists ------------------------------------------------------------------------------------------------- */

/* Opens the list on top of the stack (a table, or nil for an empty one). Returns its length. */
static size_t list_open(reader_t *R, const char *name) {
    if (!lua_istable(R->L, -1) && !lua_isnil(R->L, -1))
        refuse_type(R, name, "table");
    R->places[R->depth++] = (place_t){ name, 0 };
    return lua_istable(R->L, -1) ? (size_t)lua_rawlen(R->L, -1) : 0;
}

static void list_close(reader_t *R) {
    R->depth--;
    lua_pop(R->L, 1);
}

/* Pushes item i (from 0), which must be a table; returns its index. */
static int list_table(reader_t *R, size_t i) {
    R->places[R->depth - 1].index = (lua_Integer)i + 1;
    if (lua_rawgeti(R->L, -1, (lua_Integer)i + 1) != LUA_TTABLE)
        refuse_type(R, NULL, "table");
    return lua_gettop(R->L);
}

/* Returns room for n items; NULL for none. */
static void *array(reader_t *R, size_t n, size_t size) {
    if (n == 0)
        return NULL;
    void *memory = n <= SIZE_MAX / size ? pl__arena_get(&R->op->arena, n * size) : NULL;
    if (memory == NULL)
        out_of_memory(R);
    return memory;
}

static const pl_id_t *ids_field(reader_t *R, int t, const char *field, size_t *len) {
    lua_getfield(R->L, t, field);
    size_t n = list_open(R, field);
    pl_id_t *ids = array(R, n, sizeof(*ids));
    for (size_t i = 0; i < n; i++) {
        R->places[R->depth - 1].index = (lua_Integer)i + 1;
        lua_rawgeti(R->L, -1, (lua_Integer)i + 1);
        ids[i] = take_id(R, NULL);
        if (i > 0 && ids[i] <= ids[i - 1])
            refuse(R, NULL, "the ids must be ascending and without duplicates");
    }
    list_close(R);
    *len = n;
    return ids;
}

/* ---- stages ------------------------------------------------------------------------------------------------ */

static void read_outputs(reader_t *R, int t, pl_stage_new_t *stage) {
    lua_getfield(R->L, t, "outputs");
    size_t n = list_open(R, "outputs");
    pl_output_t *outputs = array(R, n, sizeof(*outputs));
    for (size_t i = 0; i < n; i++) {
        int item = list_table(R, i);
        outputs[i].name = str_field(R, item, "name");
        outputs[i].slot = id_field(R, item, "slot");
        if (i == 0 && !pl_str_eq(outputs[0].name, PL_STR_LIT("default")))
            refuse(R, "name", "the first output must be \"default\"");
        lua_pop(R->L, 1);
    }
    list_close(R);
    stage->outputs = outputs;
    stage->outputs_len = n;
}

static void read_stage(reader_t *R, int t, pl_stage_new_t *stage) {
    stage->id = id_field(R, t, "id");
    stage->class_path = str_field(R, t, "class_path");
    stage->args = str_field(R, t, "args");
    stage->queue = opt_str_field(R, t, "queue");
    stage->base_path = opt_str_field(R, t, "base_path");
    stage->target = opt_str_field(R, t, "target");
    stage->inputs = ids_field(R, t, "inputs", &stage->inputs_len);
    stage->after = ids_field(R, t, "after", &stage->after_len);
    read_outputs(R, t, stage);
    stage->max_attempts = (int)opt_integer_field(R, t, "max_attempts", 3, 1, INT_MAX);
    stage->max_losses = (int)opt_integer_field(R, t, "max_losses", 0, 1, INT_MAX);
    stage->backoff_seconds = opt_number_field(R, t, "backoff_seconds", 15);
    stage->backoff_factor = opt_number_field(R, t, "backoff_factor", 2);
    stage->timeout = opt_number_field(R, t, "timeout", 0);
    stage->priority = (int)opt_integer_field(R, t, "priority", 0, INT_MIN, INT_MAX);
    stage->flags = (unsigned)opt_integer_field(R, t, "flags", 0, 0, INT_MAX);
    stage->eta = opt_time_field(R, t, "eta");
}

/* Reads the list on top of the stack, and pops it. */
static pl_stage_new_t *read_stages(reader_t *R, const char *name, bool roots, size_t *len) {
    size_t n = list_open(R, name);
    pl_stage_new_t *stages = array(R, n, sizeof(*stages));
    for (size_t i = 0; i < n; i++) {
        int item = list_table(R, i);
        read_stage(R, item, &stages[i]);
        if (roots) {
            stages[i].key = opt_str_field(R, item, "key");
            stages[i].hold = opt_flag_field(R, item, "hold");
        }
        lua_pop(R->L, 1);
    }
    list_close(R);
    *len = n;
    return stages;
}

/* ---- tasks, fills, failures -------------------------------------------------------------------------------- */

static double retry_field(reader_t *R, int t, const char *field) {
    return opt_number_field(R, t, field, -1);
}

/* The field "retry": any of the six parameters. */
static pl_retry_t read_retry(reader_t *R, int t) {
    pl_retry_t retry = PL_RETRY_NONE;
    if (!get(R, t, "retry"))
        return retry;
    if (!lua_istable(R->L, -1))
        refuse_type(R, "retry", "table");
    int table = lua_gettop(R->L);
    R->places[R->depth++] = (place_t){ "retry", 0 };
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
static void read_queued(reader_t *R, int t, pl_task_new_t *task) {
    task->name_id = opt_id_field(R, t, "name_id");
    task->tag = opt_str_field(R, t, "tag");
    task->request = opt_str_field(R, t, "request");
    task->deadline = opt_number_field(R, t, "deadline", 0);
    task->retry = read_retry(R, t);
}

static void read_task(reader_t *R, int t, pl_task_new_t *task) {
    static const char *const NAMES[] = { "callback", "run", "push", "pull", "deferred", NULL };
    static const pl_task_kind_t KINDS[] = { PL_TASK_CALLBACK, PL_TASK_RUN, PL_TASK_PUSH, PL_TASK_PULL,
                                            PL_TASK_DEFERRED };
    task->id = id_field(R, t, "id");
    task->kind = KINDS[choice_field(R, t, "kind", NAMES)];
    if (task->kind >= PL_TASK_PUSH)
        read_queued(R, t, task);
    task->queue = opt_str_field(R, t, "queue");
    task->name = opt_str_field(R, t, "name");
    task->stage = opt_id_field(R, t, "stage");
    task->payload = opt_str_field(R, t, "payload");
    task->priority = (int)opt_integer_field(R, t, "priority", 0, INT_MIN, INT_MAX);
    task->eta = opt_time_field(R, t, "eta");
}

static pl_task_new_t *read_tasks(reader_t *R, size_t *len) {
    size_t n = list_open(R, "tasks");
    pl_task_new_t *tasks = array(R, n, sizeof(*tasks));
    for (size_t i = 0; i < n; i++) {
        read_task(R, list_table(R, i), &tasks[i]);
        lua_pop(R->L, 1);
    }
    list_close(R);
    *len = n;
    return tasks;
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
    memmove(&fills[at + 1], &fills[at], (len - at) * sizeof(*fills));
    fills[at] = fill;
    return len + 1;
}

static const pl_fill_t *read_fills(reader_t *R, size_t *len) {
    size_t n = list_open(R, "fills");
    pl_fill_t *fills = array(R, n, sizeof(*fills));
    *len = 0;
    for (size_t i = 0; i < n; i++) {
        int item = list_table(R, i);
        pl_fill_t fill;
        fill.slot = id_field(R, item, "slot");
        fill.value = str_field(R, item, "value");
        *len = fill_insert(fills, *len, fill);
        lua_pop(R->L, 1);
    }
    list_close(R);
    return fills;
}

static void read_failure(reader_t *R, int t, pl_failure_t *failure) {
    if (!get(R, t, "failure"))
        return;
    if (!lua_istable(R->L, -1))
        refuse_type(R, "failure", "table");
    int table = lua_gettop(R->L);
    R->places[R->depth++] = (place_t){ "failure", 0 };
    failure->error_class = opt_str_field(R, table, "error_class");
    failure->message = opt_str_field(R, table, "message");
    failure->traceback = opt_str_field(R, table, "traceback");
    R->depth--;
    lua_pop(R->L, 1);
}

/* ---- arguments --------------------------------------------------------------------------------------------- */

/* Each arg_ reads argument `arg` of the method. */
static void arg_push(reader_t *R, int arg) {
    R->arg = arg;
    lua_pushvalue(R->L, arg);
}

static pl_id_t arg_id(reader_t *R, int arg) {
    arg_push(R, arg);
    return take_id(R, NULL);
}

static pl_str_t arg_str(reader_t *R, int arg) {
    arg_push(R, arg);
    return take_str(R, NULL);
}

static pl_str_t arg_opt_str(reader_t *R, int arg) {
    return lua_isnil(R->L, arg) ? PL_STR_NONE : arg_str(R, arg);
}

static void arg_table(reader_t *R, int arg) {
    arg_push(R, arg);
    if (!lua_istable(R->L, -1))
        refuse_type(R, NULL, "table");
    lua_pop(R->L, 1);
}

/* Pushes a list. */
static void arg_list(reader_t *R, int arg) {
    arg_table(R, arg);
    lua_pushvalue(R->L, arg);
}

/* An id, or the idempotence key of a root. */
static void arg_id_or_key(reader_t *R, int arg, pl_id_t *id, pl_str_t *key) {
    if (lua_type(R->L, arg) == LUA_TSTRING)
        *key = arg_str(R, arg);
    else
        *id = arg_id(R, arg);
}

/* ---- one builder for each verb ----------------------------------------------------------------------------- */

static void build_start(reader_t *R) {
    pl_op_start_t *start = &R->op->u.start;
    arg_list(R, 2);
    start->stages = read_stages(R, "stages", true, &start->len);
}

static void build_outcome(reader_t *R) {
    static const char *const KINDS[] = { "ok", "failed", "abort", NULL };
    pl_op_outcome_t *outcome = &R->op->u.outcome;
    arg_table(R, 3);
    outcome->kind = (pl_outcome_kind_t)choice_field(R, 3, "kind", KINDS);
    lua_Integer flags = opt_integer_field(R, 3, "flags", -1, 0, INT_MAX);
    outcome->flags = flags < 0 ? PL__FLAGS_AS_STORED : (unsigned)flags;
    lua_getfield(R->L, 3, "fills");
    outcome->fills = read_fills(R, &outcome->fills_len);
    lua_getfield(R->L, 3, "children");
    outcome->children = read_stages(R, "children", false, &outcome->children_len);
    lua_getfield(R->L, 3, "tasks");
    outcome->tasks = read_tasks(R, &outcome->tasks_len);
    read_failure(R, 3, &outcome->failure);
    outcome->give_up = opt_flag_field(R, 3, "give_up");
    outcome->retry_task = opt_flag_field(R, 3, "retry_task");
    outcome->retry_at = opt_time_field(R, 3, "retry_at");
    outcome->retry_message = opt_str_field(R, 3, "retry_message");
    outcome->abort_message = opt_str_field(R, 3, "abort_message");
}

static void build_finalized(reader_t *R) {
    static const char *const KINDS[] = { "ok", "failed", "held", NULL };
    pl_op_finalized_t *finalized = &R->op->u.finalized;
    arg_table(R, 3);
    finalized->kind = (pl_finalized_kind_t)choice_field(R, 3, "kind", KINDS);
    finalized->give_up = opt_flag_field(R, 3, "give_up");
    finalized->retry_at = opt_time_field(R, 3, "retry_at");
    read_failure(R, 3, &finalized->failure);
}

static void build_task_done(reader_t *R) {
    pl_op_task_done_t *task_done = &R->op->u.task_done;
    arg_table(R, 3);
    task_done->failed = opt_flag_field(R, 3, "failed");
    task_done->give_up = opt_flag_field(R, 3, "give_up");
    task_done->status = (int)opt_integer_field(R, 3, "status", 0, 0, INT_MAX);
    task_done->retry_at = opt_time_field(R, 3, "retry_at");
    read_failure(R, 3, &task_done->failure);
}

static void build_task_add(reader_t *R) {
    pl_op_task_add_t *add = &R->op->u.task_add;
    arg_list(R, 2);
    add->tasks = read_tasks(R, &add->len);
    add->all_or_none = lua_toboolean(R->L, 3);
}

static void build_fill(reader_t *R) {
    pl_op_fill_t *fill = &R->op->u.fill;
    fill->stage = arg_id(R, 2);
    arg_list(R, 3);
    fill->fills = read_fills(R, &fill->fills_len);
}

static void build_retry(reader_t *R) {
    pl_op_retry_t *retry = &R->op->u.retry;
    retry->stage = arg_id(R, 2);
    if (!lua_isnil(R->L, 3)) {
        arg_push(R, 3);
        retry->retry_at = pl_clock_from_seconds(take_number(R, NULL));
    }
    retry->message = arg_opt_str(R, 4);
}

static void build_abort(reader_t *R) {
    pl_op_abort_t *abort_op = &R->op->u.abort;
    abort_op->stage = arg_id(R, 2);
    abort_op->message = arg_opt_str(R, 3);
    abort_op->no_permission = lua_toboolean(R->L, 4);
}

static void build_status(reader_t *R) {
    pl_op_status_t *status = &R->op->u.status;
    status->stage = arg_id(R, 2);
    arg_table(R, 3);
    status->status.message = opt_str_field(R, 3, "message");
    status->status.console_url = opt_str_field(R, 3, "console_url");
    status->status.links = opt_str_field(R, 3, "links");
    status->status.time = opt_time_field(R, 3, "time");
}

static void build_cleanup(reader_t *R) {
    R->op->u.cleanup.root = arg_id(R, 2);
}

static void build_watch(reader_t *R) {
    pl_op_watch_t *watch = &R->op->u.watch;
    arg_id_or_key(R, 2, &watch->stage, &watch->key);
}

static void build_meta(reader_t *R) {
    pl_op_meta_t *meta = &R->op->u.meta;
    meta->key = arg_str(R, 2);
    meta->value = arg_opt_str(R, 3);
    meta->write = meta->value.ptr != NULL;
    meta->if_absent = lua_toboolean(R->L, 4);
}

static void build_stage_get(reader_t *R) {
    pl_op_stage_get_t *stage_get = &R->op->u.stage_get;
    arg_id_or_key(R, 2, &stage_get->stage, &stage_get->key);
    stage_get->with_slots = lua_toboolean(R->L, 3);
}

static void build_tree_get(reader_t *R) {
    pl_op_tree_get_t *tree_get = &R->op->u.tree_get;
    arg_id_or_key(R, 2, &tree_get->stage, &tree_get->key);
}

static void build_tree_page(reader_t *R) {
    pl_op_tree_page_t *get = &R->op->u.tree_page;
    arg_id_or_key(R, 2, &get->stage, &get->key);
    arg_table(R, 3);
    get->top = opt_id_field(R, 3, "top");
    get->after = opt_id_field(R, 3, "after");
    get->depth = (int)opt_integer_field(R, 3, "depth", -1, -1, INT_MAX);
    get->limit = (int)opt_integer_field(R, 3, "limit", LIMIT_DEFAULT, 1, INT_MAX);
    get->counts = opt_flag_field(R, 3, "counts");
    get->hidden = (int)opt_integer_field(R, 3, "hidden", 0, 0, INT_MAX);
}

static void build_roots_list(reader_t *R) {
    pl_op_roots_list_t *list = &R->op->u.roots_list;
    list->limit = LIMIT_DEFAULT;
    if (lua_isnil(R->L, 2))
        return;
    arg_table(R, 2);
    list->class_path = opt_str_field(R, 2, "class_path");
    list->before = opt_id_field(R, 2, "before");
    list->limit = (int)opt_integer_field(R, 2, "limit", LIMIT_DEFAULT, 1, INT_MAX);
}

static void build_nothing(reader_t *R) {
    (void)R;
}

static void build_failures_get(reader_t *R) {
    R->op->u.failures_get.stage = arg_id(R, 2);
    R->op->u.failures_get.tree = lua_toboolean(R->L, 3);
}

static void build_check(reader_t *R) {
    R->op->u.check.part = (int)luaL_checkinteger(R->L, 2);
}

static void build_backup(reader_t *R) {
    R->op->u.backup.path = arg_str(R, 2);
    R->op->u.backup.pages = (int)luaL_checkinteger(R->L, 3);
}

static void build_claim_check(reader_t *R) {
    R->op->u.claim_check.task = arg_id(R, 2);
    R->op->u.claim_check.claim = (int)luaL_checkinteger(R->L, 3);
}

/* ---- queues ------------------------------------------------------------------------------------------------ */

static bool has_field(reader_t *R, int t, const char *field) {
    bool has = lua_getfield(R->L, t, field) != LUA_TNIL;
    lua_pop(R->L, 1);
    return has;
}

static void read_settings(reader_t *R, int t, pl_queue_settings_t *queue) {
    static const char *const MODES[] = { "push", "pull", NULL };
    queue->name = str_field(R, t, "name");
    queue->removed = opt_flag_field(R, t, "removed");
    queue->has_mode = has_field(R, t, "mode");
    queue->pull = choice_field(R, t, "mode", MODES) == 1;
    queue->has_paused = has_field(R, t, "paused");
    queue->paused = opt_flag_field(R, t, "paused");
    queue->has_rate = has_field(R, t, "rate");
    queue->rate = opt_number_field(R, t, "rate", -1);
    queue->has_bucket_size = has_field(R, t, "bucket_size");
    queue->bucket_size = opt_number_field(R, t, "bucket_size", -1);
    queue->has_max_concurrent = has_field(R, t, "max_concurrent");
    queue->max_concurrent = (int)opt_integer_field(R, t, "max_concurrent", 0, 0, INT_MAX);
    queue->has_target = has_field(R, t, "target");
    queue->target = opt_str_field(R, t, "target");
    queue->has_retry = has_field(R, t, "retry");
    queue->retry = read_retry(R, t);
}

static void build_queue_set(reader_t *R) {
    pl_op_queue_set_t *set = &R->op->u.queue_set;
    arg_list(R, 2);
    size_t n = list_open(R, "queues");
    set->queues = array(R, n, sizeof(*set->queues));
    for (size_t i = 0; i < n; i++) {
        read_settings(R, list_table(R, i), &set->queues[i]);
        lua_pop(R->L, 1);
    }
    list_close(R);
    set->len = n;
    set->patch = lua_toboolean(R->L, 3);
}

static void build_queue_get(reader_t *R) {
    R->op->u.queue_get.name = arg_opt_str(R, 2);
}

static void build_queue_stats(reader_t *R) {
    pl_op_queue_stats_t *stats = &R->op->u.queue_stats;
    arg_list(R, 2);
    size_t n = list_open(R, "queues");
    stats->queues = array(R, n, sizeof(*stats->queues));
    for (size_t i = 0; i < n; i++) {
        R->places[R->depth - 1].index = (lua_Integer)i + 1;
        lua_rawgeti(R->L, -1, (lua_Integer)i + 1);
        stats->queues[i].queue = take_str(R, NULL);
    }
    list_close(R);
    stats->len = n;
}

static void build_lease(reader_t *R) {
    pl_op_lease_t *lease = &R->op->u.lease;
    lease->queue = arg_str(R, 2);
    arg_table(R, 3);
    lease->seconds = opt_number_field(R, 3, "seconds", 0);
    lease->max = (int)opt_integer_field(R, 3, "max", 1, 1, INT_MAX);
    lease->tag = opt_str_field(R, 3, "tag");
    lease->by_tag = lease->tag.ptr != NULL;
    lease->group = opt_flag_field(R, 3, "group");
}

/* Reads an id or a name from the top of the stack, and pops it. */
static pl_task_ref_t take_ref(reader_t *R) {
    pl_task_ref_t ref = { 0 };
    if (lua_type(R->L, -1) == LUA_TSTRING)
        ref.name = take_str(R, NULL);
    else
        ref.id = take_id(R, NULL);
    return ref;
}

/* Reads a list of ids and names from argument `arg`; nil is none. */
static pl_task_ref_t *arg_refs(reader_t *R, int arg, size_t *len) {
    arg_push(R, arg);
    size_t n = list_open(R, "tasks");
    pl_task_ref_t *refs = array(R, n, sizeof(*refs));
    for (size_t i = 0; i < n; i++) {
        R->places[R->depth - 1].index = (lua_Integer)i + 1;
        lua_rawgeti(R->L, -1, (lua_Integer)i + 1);
        refs[i] = take_ref(R);
    }
    list_close(R);
    *len = n;
    return refs;
}

static void build_lease_modify(reader_t *R) {
    pl_op_lease_modify_t *modify = &R->op->u.lease_modify;
    modify->queue = arg_str(R, 2);
    arg_push(R, 3);
    modify->task = take_ref(R);
    arg_push(R, 4);
    modify->eta = pl_clock_from_seconds(take_number(R, NULL));
    arg_push(R, 5);
    modify->seconds = take_number(R, NULL);
}

static void build_task_delete(reader_t *R) {
    pl_op_task_delete_t *task_delete = &R->op->u.task_delete;
    task_delete->queue = arg_str(R, 2);
    arg_table(R, 3);
    task_delete->tasks = arg_refs(R, 3, &task_delete->len);
}

static void build_purge(reader_t *R) {
    R->op->u.purge.queue = arg_str(R, 2);
    R->op->u.purge.forget_names = lua_toboolean(R->L, 3);
}

static void build_dead_list(reader_t *R) {
    pl_op_dead_list_t *list = &R->op->u.dead_list;
    list->queue = arg_opt_str(R, 2);
    list->limit = LIMIT_DEFAULT;
    if (lua_isnil(R->L, 3))
        return;
    arg_table(R, 3);
    list->before = opt_id_field(R, 3, "before");
    list->limit = (int)opt_integer_field(R, 3, "limit", LIMIT_DEFAULT, 1, INT_MAX - 1);
}

static void build_dead_revive(reader_t *R) {
    pl_op_dead_revive_t *revive = &R->op->u.dead_revive;
    revive->queue = arg_opt_str(R, 2);
    revive->all = lua_isnil(R->L, 3);
    revive->tasks = arg_refs(R, 3, &revive->len);
}

static void build_dead_purge(reader_t *R) {
    pl_op_dead_purge_t *purge = &R->op->u.dead_purge;
    purge->queue = arg_opt_str(R, 2);
    purge->all = lua_isnil(R->L, 3);
    purge->tasks = arg_refs(R, 3, &purge->len);
}

/* ---- SQL --------------------------------------------------------------------------------------------------- */

/* What JSON's null is in Lua. */
static bool is_null(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL;
}

/* Reads the value on top of the stack, and pops it. Text is what is UTF-8 and has no zero bytes, else it is a blob. */
static pl_value_t take_value(reader_t *R) {
    lua_State *L = R->L;
    pl_value_t value = { .kind = PL_VALUE_NULL };
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        value.kind = PL_VALUE_INTEGER;
        value.integer = lua_toboolean(L, -1);
        break;
    case LUA_TNUMBER:
        value.kind = lua_isinteger(L, -1) ? PL_VALUE_INTEGER : PL_VALUE_REAL;
        value.integer = value.kind == PL_VALUE_INTEGER ? lua_tointeger(L, -1) : 0;
        value.real = lua_tonumber(L, -1);
        if (value.real != value.real)
            refuse(R, NULL, "not a number (nan) cannot be stored: SQLite would make it NULL");
        break;
    case LUA_TSTRING:
        value.bytes = take_str(R, NULL);
        value.kind = PL_VALUE_BLOB;
        if (pl__codec_is_utf8(value.bytes.ptr, value.bytes.len) && !memchr(value.bytes.ptr, '\0', value.bytes.len))
            value.kind = PL_VALUE_TEXT;
        return value;
    default:
        if (!lua_isnil(L, -1) && !is_null(L, -1))
            refuse_type(R, NULL, "nil, boolean, number or string");
    }
    lua_pop(L, 1);
    return value;
}

/* Arguments: text, table of values, how many there are, whether its rows are wanted. */
static void build_sql(reader_t *R) {
    pl_op_sql_t *sql = &R->op->u.sql;
    sql->text = arg_str(R, 2);
    arg_table(R, 3);
    arg_push(R, 4);
    size_t n = (size_t)take_integer(R, NULL, 0, SQL_VALUES_MAX);
    sql->query = lua_toboolean(R->L, 5);
    R->arg = 3;
    pl_value_t *values = array(R, n, sizeof(*values));
    R->places[R->depth++] = (place_t){ "values", 0 };
    for (size_t i = 0; i < n; i++) {
        R->places[R->depth - 1].index = (lua_Integer)i + 1;
        lua_rawgeti(R->L, 3, (lua_Integer)i + 1);
        values[i] = take_value(R);
    }
    R->depth--;
    sql->values = values;
    sql->values_len = n;
}

typedef void (*build_fn)(reader_t *R);

static const build_fn BUILD[PL_VERB_COUNT] = {
    [PL_VERB_start] = build_start,
    [PL_VERB_outcome] = build_outcome,
    [PL_VERB_finalized] = build_finalized,
    [PL_VERB_task_done] = build_task_done,
    [PL_VERB_task_add] = build_task_add,
    [PL_VERB_fill] = build_fill,
    [PL_VERB_retry] = build_retry,
    [PL_VERB_abort] = build_abort,
    [PL_VERB_status] = build_status,
    [PL_VERB_cleanup] = build_cleanup,
    [PL_VERB_watch] = build_watch,
    [PL_VERB_meta] = build_meta,
    [PL_VERB_stage_get] = build_stage_get,
    [PL_VERB_tree_get] = build_tree_get,
    [PL_VERB_tree_page] = build_tree_page,
    [PL_VERB_roots_list] = build_roots_list,
    [PL_VERB_counts_get] = build_nothing,
    [PL_VERB_failures_get] = build_failures_get,
    [PL_VERB_check] = build_check,
    [PL_VERB_claim_check] = build_claim_check,
    [PL_VERB_backup] = build_backup,
    [PL_VERB_queue_set] = build_queue_set,
    [PL_VERB_queue_get] = build_queue_get,
    [PL_VERB_queue_stats] = build_queue_stats,
    [PL_VERB_lease] = build_lease,
    [PL_VERB_lease_modify] = build_lease_modify,
    [PL_VERB_task_delete] = build_task_delete,
    [PL_VERB_purge] = build_purge,
    [PL_VERB_dead_list] = build_dead_list,
    [PL_VERB_dead_revive] = build_dead_revive,
    [PL_VERB_dead_purge] = build_dead_purge,
    [PL_VERB_sql] = build_sql,
};

/* Stack: the reader in the place of self, then the arguments. */
static int build_entry(lua_State *L) {
    reader_t *R = lua_touserdata(L, 1);
    R->L = L;
    lua_settop(L, ARGS_MAX);
    luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
    BUILD[R->op->verb](R);
    return 0;
}

pl_op_t *pl__op_build(lua_State *L, pl_verb_t verb) {
    int top = lua_gettop(L), args = top < ARGS_MAX ? top : ARGS_MAX;
    luaL_checkstack(L, ARGS_MAX + 2, NULL);
    reader_t R = { .op = pl_op_new(verb), .arg = 2 };
    if (R.op == NULL)
        return NULL;
    lua_pushcfunction(L, build_entry);
    lua_pushlightuserdata(L, &R);
    for (int i = 2; i <= args; i++)
        lua_pushvalue(L, i);
    if (lua_pcall(L, args, 0, 0) == LUA_OK)
        return R.op;
    pl_op_free(R.op);
    if (R.misuse)
        luaL_argerror(L, R.arg, lua_tostring(L, -1));
    if (!R.no_memory)
        lua_error(L);
    lua_settop(L, top);
    return NULL;
}
