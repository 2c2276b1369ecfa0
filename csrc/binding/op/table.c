/*
 * table.c - the table of verbs: building their ops, pushing their results. See table.h.
 */
#include "binding/op/table.h"

#include <lauxlib.h>

#include "binding/durable/durable.h"
#include "binding/op/pusher.h"

#define ARGS_MAX 5 /* of any verb, self included */

/* ---- arguments -------------------------------------------------------------------------------------------------- */

typedef void (*build_fn)(pl__reader_t *R);

static const build_fn BUILD[PL_VERB_COUNT] = {
    [PL_VERB_start] = pl__build_start,
    [PL_VERB_outcome] = pl__build_end_of_run,
    [PL_VERB_finalized] = pl__build_finalized,
    [PL_VERB_task_done] = pl__build_task_done,
    [PL_VERB_task_add] = pl__build_task_add,
    [PL_VERB_fill] = pl__build_fill,
    [PL_VERB_retry] = pl__build_retry,
    [PL_VERB_abort] = pl__build_abort,
    [PL_VERB_resume] = pl__build_resume,
    [PL_VERB_status] = pl__build_status,
    [PL_VERB_cleanup] = pl__build_cleanup,
    [PL_VERB_watch] = pl__build_watch,
    [PL_VERB_meta] = pl__build_meta,
    [PL_VERB_stage_get] = pl__build_stage_get,
    [PL_VERB_tree_get] = pl__build_tree_get,
    [PL_VERB_tree_page] = pl__build_tree_page,
    [PL_VERB_roots_list] = pl__build_roots_list,
    [PL_VERB_ids_find] = pl__build_ids_find,
    [PL_VERB_roots_find] = pl__build_roots_find,
    [PL_VERB_why_get] = pl__build_why_get,
    [PL_VERB_workers_get] = pl__build_nothing,
    [PL_VERB_queues_seen] = pl__build_queues_seen,
    [PL_VERB_tasks_find] = pl__build_tasks_find,
    [PL_VERB_counts_get] = pl__build_nothing,
    [PL_VERB_space_get] = pl__build_nothing,
    [PL_VERB_repair] = pl__build_repair,
    [PL_VERB_tables_get] = pl__build_tables_get,
    [PL_VERB_sweep] = pl__build_nothing,
    [PL_VERB_failures_get] = pl__build_failures_get,
    [PL_VERB_check] = pl__build_check,
    [PL_VERB_claim_check] = pl__build_claim_check,
    [PL_VERB_backup] = pl__build_backup,
    [PL_VERB_queue_set] = pl__build_queue_set,
    [PL_VERB_queue_get] = pl__build_queue_get,
    [PL_VERB_queue_stats] = pl__build_queue_stats,
    [PL_VERB_lease] = pl__build_lease,
    [PL_VERB_lease_modify] = pl__build_lease_modify,
    [PL_VERB_task_delete] = pl__build_task_delete,
    [PL_VERB_purge] = pl__build_purge,
    [PL_VERB_dead_list] = pl__build_dead_list,
    [PL_VERB_dead_revive] = pl__build_dead_revive,
    [PL_VERB_dead_purge] = pl__build_dead_purge,
    [PL_VERB_schedule_set] = pl__build_schedule_set,
    [PL_VERB_schedule_delete] = pl__build_schedule_delete,
    [PL_VERB_schedule_get] = pl__build_schedule_get,
    [PL_VERB_schedule_fire] = pl__build_schedule_fire,
    [PL_VERB_fires_get] = pl__build_fires_get,
    [PL_VERB_journal] = pl__build_journal,
    [PL_VERB_suspend] = pl__build_suspend,
    [PL_VERB_signal] = pl__build_signal,
    [PL_VERB_flow_set] = pl__build_flow_set,
    [PL_VERB_journal_get] = pl__build_journal_get,
    [PL_VERB_shown_get] = pl__build_shown_get,
    [PL_VERB_fork] = pl__build_fork,
    [PL_VERB_flows_get] = pl__build_nothing,
    [PL_VERB_sql] = pl__build_sql,
};

/* Stack: the reader in the place of self, then the arguments. */
static int build_entry(lua_State *L) {
    pl__reader_t *R = lua_touserdata(L, 1);
    R->L = L;
    lua_settop(L, ARGS_MAX);
    luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
    if (R->appends)
        pl__build_more_tasks(R);
    else
        BUILD[R->op->verb](R);
    return 0;
}

/* Reads the arguments into R->op. Returns whether that went well; else the error is on top of the stack. */
static bool build(lua_State *L, pl__reader_t *R) {
    int top = lua_gettop(L), args = top < ARGS_MAX ? top : ARGS_MAX;
    lua_pushcfunction(L, build_entry);
    lua_pushlightuserdata(L, R);
    for (int i = 2; i <= args; i++)
        lua_pushvalue(L, i);
    return lua_pcall(L, args, 0, 0) == LUA_OK;
}

/* Raises the error on top of the stack, but for one of memory: that is popped. */
static void complain(lua_State *L, const pl__reader_t *R) {
    if (R->misuse)
        luaL_argerror(L, R->arg, lua_tostring(L, -1));
    if (!R->no_memory)
        lua_error(L);
    lua_pop(L, 1);
}

pl_op_t *pl__op_build(lua_State *L, pl_verb_t verb) {
    return pl__op_build_on(L, pl_op_new(verb));
}

pl_op_t *pl__op_build_on(lua_State *L, pl_op_t *op) {
    pl__reader_t R = { .op = op, .arg = 2 };
    if (!op)
        return NULL;
    if (!lua_checkstack(L, ARGS_MAX + 2)) {
        pl_op_free(op);
        luaL_error(L, "stack overflow");
    }
    if (build(L, &R))
        return R.op;
    pl_op_free(R.op);
    complain(L, &R);
    return NULL;
}

bool pl__op_add_tasks(lua_State *L, pl_op_t **ops) {
    luaL_checkstack(L, ARGS_MAX + 2, NULL);
    pl__reader_t R = { .op = *ops, .arg = 2, .appends = true };
    pl_op_t **tail = ops;
    *ops = NULL;
    bool built = build(L, &R);
    pl_op_t *meanwhile = *ops;
    *ops = R.op;
    while (*tail)
        tail = &(*tail)->next;
    *tail = meanwhile;
    if (!built)
        complain(L, &R);
    return built;
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

typedef int (*push_fn)(lua_State *L, const pl_op_t *op);

static const push_fn PUSH[PL_VERB_COUNT] = {
    [PL_VERB_start] = pl__push_start,
    [PL_VERB_task_add] = pl__push_task_add,
    [PL_VERB_cleanup] = pl__push_cleanup,
    [PL_VERB_resume] = pl__push_resume,
    [PL_VERB_watch] = pl__push_watch,
    [PL_VERB_meta] = pl__push_meta,
    [PL_VERB_stage_get] = pl__push_stage_get,
    [PL_VERB_tree_get] = pl__push_tree_get,
    [PL_VERB_tree_page] = pl__push_tree_page,
    [PL_VERB_roots_list] = pl__push_roots_list,
    [PL_VERB_ids_find] = pl__push_ids_find,
    [PL_VERB_roots_find] = pl__push_roots_find,
    [PL_VERB_why_get] = pl__push_why_get,
    [PL_VERB_workers_get] = pl__push_workers_get,
    [PL_VERB_queues_seen] = pl__push_queues_seen,
    [PL_VERB_tasks_find] = pl__push_tasks_find,
    [PL_VERB_counts_get] = pl__push_counts_get,
    [PL_VERB_space_get] = pl__push_space_get,
    [PL_VERB_repair] = pl__push_repair,
    [PL_VERB_tables_get] = pl__push_tables_get,
    [PL_VERB_sweep] = pl__push_sweep,
    [PL_VERB_failures_get] = pl__push_failures_get,
    [PL_VERB_check] = pl__push_check,
    [PL_VERB_claim_check] = pl__push_claim_check,
    [PL_VERB_backup] = pl__push_backup,
    [PL_VERB_task_done] = pl__push_task_done,
    [PL_VERB_queue_set] = pl__push_queue_set,
    [PL_VERB_queue_get] = pl__push_queue_get,
    [PL_VERB_queue_stats] = pl__push_queue_stats,
    [PL_VERB_lease] = pl__push_lease,
    [PL_VERB_lease_modify] = pl__push_lease_modify,
    [PL_VERB_task_delete] = pl__push_task_delete,
    [PL_VERB_purge] = pl__push_purge,
    [PL_VERB_dead_list] = pl__push_dead_list,
    [PL_VERB_dead_revive] = pl__push_dead_revive,
    [PL_VERB_dead_purge] = pl__push_dead_purge,
    [PL_VERB_schedule_set] = pl__push_schedule_set,
    [PL_VERB_schedule_get] = pl__push_schedule_get,
    [PL_VERB_schedule_fire] = pl__push_schedule_fire,
    [PL_VERB_fires_get] = pl__push_fires_get,
    [PL_VERB_suspend] = pl__push_suspend,
    [PL_VERB_signal] = pl__push_signal,
    [PL_VERB_journal_get] = pl__push_journal_get,
    [PL_VERB_journal] = pl__push_journal,
    [PL_VERB_shown_get] = pl__push_shown_get,
    [PL_VERB_flows_get] = pl__push_flows_get,
    [PL_VERB_sql] = pl__push_sql,
};

static int push_entry(lua_State *L) {
    const pl_op_t *op = lua_touserdata(L, 1);
    push_fn push = PUSH[op->verb] ? PUSH[op->verb] : pl__push_true;
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
