/*
 * schedule.c - ops on schedules: their arguments from Lua, their results to Lua.
 */
#include "binding/op/table.h"

#include <limits.h>

#include <lauxlib.h>

#include "binding/op/pusher.h"
#include "binding/op/reader.h"

#define X(name) #name,
static const char *const COUNTS[] = { PL_FIRE_COUNTS(X) };
#undef X

/* ---- arguments -------------------------------------------------------------------------------------------------- */

/* The field "counts": what is added to each. */
static void read_counts(pl__reader_t *R, int t, int64_t *counts) {
    if (!pl__reader_get(R, t, "counts"))
        return;
    if (!lua_istable(R->L, -1))
        pl__reader_refuse_type(R, "counts", "table");
    int table = lua_gettop(R->L);
    R->places[R->depth++] = (pl__reader_place_t){ "counts", 0 };
    for (int i = 0; i < PL_FIRE_COUNTS_LEN; i++)
        counts[i] = pl__reader_opt_integer_field(R, table, COUNTS[i], 0, 0, LUA_MAXINTEGER);
    R->depth--;
    lua_pop(R->L, 1);
}

static void read_schedule(pl__reader_t *R, int t, pl_schedule_t *schedule) {
    schedule->id = pl__reader_id_field(R, t, "id");
    schedule->name = pl__reader_str_field(R, t, "name");
    schedule->source = pl__reader_opt_str_field(R, t, "source");
    schedule->times = pl__reader_str_field(R, t, "times");
    schedule->work = pl__reader_str_field(R, t, "work");
    schedule->revision = pl__reader_opt_integer_field(R, t, "revision", 0, 0, LUA_MAXINTEGER);
    schedule->next_nominal = pl__reader_opt_time_field(R, t, "next_nominal");
    schedule->next_at = pl__reader_opt_time_field(R, t, "next_at");
    schedule->last_nominal = pl__reader_opt_time_field(R, t, "last_nominal");
    schedule->paused = pl__reader_opt_flag_field(R, t, "paused");
    schedule->note = pl__reader_opt_str_field(R, t, "note");
    schedule->pause_on_failure = (int)pl__reader_opt_integer_field(R, t, "pause_on_failure", 0, 1, INT_MAX);
    read_counts(R, t, schedule->counts);
}

/* The field "removed": names. */
static void read_removed(pl__reader_t *R, int t, pl_op_schedule_set_t *set) {
    lua_getfield(R->L, t, "removed");
    size_t n = pl__reader_list_open(R, "removed");
    pl_str_t *names = pl__reader_array(R, n, sizeof *names);
    for (size_t i = 0; i < n; i++) {
        R->places[R->depth - 1].index = (lua_Integer)i + 1;
        lua_rawgeti(R->L, -1, (lua_Integer)i + 1);
        names[i] = pl__reader_take_str(R, NULL);
    }
    pl__reader_list_close(R);
    set->removed = names;
    set->removed_len = n;
}

/* e:schedule_set(list of SCHEDULE, {source=, version=, version_before=, removed=, abort=} | nil) -> whether it was
 * written, list of result names */
void pl__build_schedule_set(pl__reader_t *R) {
    pl_op_schedule_set_t *set = &R->op->u.schedule_set;
    pl__reader_arg_list(R, 2);
    size_t n = pl__reader_list_open(R, "schedules");
    set->schedules = pl__reader_array(R, n, sizeof *set->schedules);
    for (size_t i = 0; i < n; i++) {
        read_schedule(R, pl__reader_list_table(R, i), &set->schedules[i]);
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    set->len = n;
    if (lua_isnoneornil(R->L, 3))
        return;
    pl__reader_arg_table(R, 3);
    set->source = pl__reader_str_field(R, 3, "source");
    set->version = pl__reader_opt_integer_field(R, 3, "version", 0, LUA_MININTEGER, LUA_MAXINTEGER);
    set->version_before = pl__reader_opt_integer_field(R, 3, "version_before", -1, LUA_MININTEGER, LUA_MAXINTEGER);
    set->abort = pl__reader_opt_flag_field(R, 3, "abort");
    read_removed(R, 3, set);
}

/* e:schedule_delete(name, abort) -> true */
void pl__build_schedule_delete(pl__reader_t *R) {
    R->op->u.schedule_delete.name = pl__reader_arg_str(R, 2);
    R->op->u.schedule_delete.abort = lua_toboolean(R->L, 3);
}

PL__PUSHES_TRUE(schedule_delete)

/* e:schedule_get({name=} | {source=, after=, limit=} | {due=, limit=}) -> list, version of the source */
void pl__build_schedule_get(pl__reader_t *R) {
    pl_op_schedule_get_t *get = &R->op->u.schedule_get;
    pl__reader_arg_table(R, 2);
    get->name = pl__reader_opt_str_field(R, 2, "name");
    get->source = pl__reader_opt_str_field(R, 2, "source");
    get->after = pl__reader_opt_str_field(R, 2, "after");
    get->due = pl__reader_opt_time_field(R, 2, "due");
    get->limit = (int)pl__reader_opt_integer_field(R, 2, "limit", 0, 1, INT_MAX);
}

/* e:fires_get({name=, before=, limit=} | {target=}) -> list */
void pl__build_fires_get(pl__reader_t *R) {
    pl_op_fires_get_t *get = &R->op->u.fires_get;
    pl__reader_arg_table(R, 2);
    get->name = pl__reader_opt_str_field(R, 2, "name");
    get->target = pl__reader_opt_id_field(R, 2, "target");
    get->before = pl__reader_opt_id_field(R, 2, "before");
    get->limit = (int)pl__reader_opt_integer_field(R, 2, "limit", 0, 1, INT_MAX);
    if (!get->name.ptr && !get->target)
        pl__reader_refuse(R, "name", "a name or a target is needed");
}

static void read_fire(pl__reader_t *R, int t, pl_fire_new_t *fire) {
#define X(name, number, text) text,
    static const char *const REASONS[] = { PL_FIRE_REASONS(X) NULL };
    static const char *const OVERLAPS[] = { PL_OVERLAPS(X) NULL };
#undef X
    fire->id = pl__reader_id_field(R, t, "id");
    fire->nominal = pl__reader_opt_time_field(R, t, "nominal");
    fire->at = pl__reader_opt_time_field(R, t, "at");
    fire->previous = pl__reader_opt_time_field(R, t, "previous");
    fire->reason = (pl_fire_reason_t)pl__reader_choice_field(R, t, "reason", REASONS);
    fire->again = pl__reader_opt_flag_field(R, t, "again");
    fire->local_time = pl__reader_opt_str_field(R, t, "local_time");
    fire->overlap = (pl_overlap_t)pl__reader_choice_field(R, t, "overlap", OVERLAPS);
}

/* Each fire has its work in one of the lists "stages" and "tasks", in the same place. */
static void read_work(pl__reader_t *R, int t, pl_op_schedule_fire_t *fire) {
    size_t stages_len, tasks_len;
    lua_getfield(R->L, t, "stages");
    pl_stage_new_t *stages = pl__reader_roots(R, "stages", &stages_len);
    lua_getfield(R->L, t, "tasks");
    pl_task_new_t *tasks = pl__reader_tasks(R, &tasks_len);
    if (stages_len + tasks_len != fire->len || (stages_len > 0 && tasks_len > 0))
        pl__reader_refuse(R, "stages", "as many stages or tasks as fires are needed");
    for (size_t i = 0; i < stages_len; i++)
        fire->fires[i].stage = &stages[i];
    for (size_t i = 0; i < tasks_len; i++)
        fire->fires[i].task = &tasks[i];
}

/* e:schedule_fire({id=, revision=, nominal=, next_nominal=, next_at=, last_nominal=, counts=, buffered_max=,
 * note=, pause_note=, fires=, stages= | tasks=}) -> list of states */
void pl__build_schedule_fire(pl__reader_t *R) {
    pl_op_schedule_fire_t *fire = &R->op->u.schedule_fire;
    pl__reader_arg_table(R, 2);
    fire->schedule = pl__reader_id_field(R, 2, "id");
    fire->revision = pl__reader_opt_integer_field(R, 2, "revision", 0, 0, LUA_MAXINTEGER);
    fire->nominal = pl__reader_opt_time_field(R, 2, "nominal");
    fire->next_nominal = pl__reader_opt_time_field(R, 2, "next_nominal");
    fire->next_at = pl__reader_opt_time_field(R, 2, "next_at");
    fire->last_nominal = pl__reader_opt_time_field(R, 2, "last_nominal");
    fire->buffered_max = (int)pl__reader_opt_integer_field(R, 2, "buffered_max", 1000, 1, INT_MAX);
    fire->left = pl__reader_opt_integer_field(R, 2, "left", 0, 1, LUA_MAXINTEGER);
    fire->note = pl__reader_opt_str_field(R, 2, "note");
    fire->pause_note = pl__reader_opt_str_field(R, 2, "pause_note");
    read_counts(R, 2, fire->counts);
    lua_getfield(R->L, 2, "fires");
    size_t n = pl__reader_list_open(R, "fires");
    fire->fires = pl__reader_array(R, n, sizeof *fire->fires);
    for (size_t i = 0; i < n; i++) {
        read_fire(R, pl__reader_list_table(R, i), &fire->fires[i]);
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    fire->len = n;
    read_work(R, 2, fire);
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

/* List of "OK", "EEXISTS", …; when the op was refused for them, or for the version of the source, with the code. */
int pl__push_schedule_set(lua_State *L, const pl_op_t *op) {
    const pl_op_schedule_set_t *set = &op->u.schedule_set;
    if (op->rc != PL_OK && op->rc != PL_ESTALE)
        return pl__push_failed(L, op);
    lua_pushboolean(L, op->rc == PL_OK);
    lua_createtable(L, (int)set->len, 0);
    for (size_t i = 0; i < set->len; i++) {
        lua_pushstring(L, pl_result_name(set->schedules[i].rc));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

static void push_schedule(lua_State *L, const pl_schedule_t *schedule) {
    lua_createtable(L, 0, 20);
    pl__set_integer(L, "id", schedule->id);
    pl__set_str(L, "name", schedule->name);
    pl__set_str(L, "source", schedule->source);
    pl__set_str(L, "times", schedule->times);
    pl__set_str(L, "work", schedule->work);
    pl__set_integer(L, "revision", schedule->revision);
    pl__set_time(L, "created", schedule->created);
    pl__set_time(L, "next_nominal", schedule->next_nominal);
    pl__set_time(L, "next_at", schedule->next_at);
    pl__set_time(L, "last_nominal", schedule->last_nominal);
    pl__set_time(L, "last_actual", schedule->last_actual);
    pl__set_boolean(L, "paused", schedule->paused);
    pl__set_str(L, "note", schedule->note);
    if (schedule->pause_on_failure > 0)
        pl__set_integer(L, "pause_on_failure", schedule->pause_on_failure);
    pl__set_integer(L, "failures", schedule->failures);
    pl__set_integer(L, "running", schedule->running);
    pl__set_integer(L, "buffered", schedule->buffered);
    pl__set_time(L, "last_end", schedule->last_end);
    if (schedule->last_end) {
        lua_pushstring(L, pl_fire_state_name(schedule->last_state));
        lua_setfield(L, -2, "last_result");
    }
    for (int i = 0; i < PL_FIRE_COUNTS_LEN; i++)
        pl__set_integer(L, COUNTS[i], schedule->counts[i]);
}

/* list of {id=, name=, source=, times=, work=, revision=, …}, version of the source or nil */
int pl__push_schedule_get(lua_State *L, const pl_op_t *op) {
    const pl_op_schedule_get_t *get = &op->u.schedule_get;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, (int)get->len, 0);
    for (size_t i = 0; i < get->len; i++) {
        push_schedule(L, &get->schedules[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (get->version < 0)
        return 1;
    lua_pushinteger(L, get->version);
    return 2;
}

/* list of {id=, target=, kind=, name=, local_time=, nominal=, at=, previous=, ended=, reason=, state=} */
int pl__push_fires_get(lua_State *L, const pl_op_t *op) {
    const pl_op_fires_get_t *get = &op->u.fires_get;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, (int)get->len, 0);
    for (size_t i = 0; i < get->len; i++) {
        const pl_fired_t *fire = &get->fires[i];
        lua_createtable(L, 0, 10);
        pl__set_integer(L, "id", fire->id);
        if (fire->target)
            pl__set_integer(L, "target", fire->target);
        pl__set_str(L, "kind", fire->is_stage ? PL_STR_LIT("stage") : PL_STR_LIT("task"));
        pl__set_str(L, "name", fire->name);
        pl__set_str(L, "local_time", fire->local_time);
        pl__set_time(L, "nominal", fire->nominal);
        pl__set_time(L, "at", fire->at);
        pl__set_time(L, "previous", fire->previous);
        pl__set_time(L, "ended", fire->ended);
        pl__set_str(L, "reason", pl_str(pl_fire_reason_name((int)fire->reason)));
        pl__set_str(L, "state", pl_str(pl_fire_state_name((int)fire->state)));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* list of states of the fires, or "already_fired" */
int pl__push_schedule_fire(lua_State *L, const pl_op_t *op) {
    const pl_op_schedule_fire_t *fire = &op->u.schedule_fire;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, (int)fire->len, 0);
    for (size_t i = 0; i < fire->len; i++) {
        lua_pushstring(L, fire->fires[i].was_fired ? "already_fired" : pl_fire_state_name((int)fire->fires[i].state));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}
