/*
 * table.h - for each verb, how its op is built from Lua arguments, and what of its results Lua gets.
 *
 * An op outlives the call that made it, so every string is copied into its arena. All arguments are checked, in a
 * protected call, before anything is submitted: misuse frees the op and raises an argument error which names the
 * place.
 */
#ifndef PL_BINDING_OP_TABLE_H
#define PL_BINDING_OP_TABLE_H

#include <limits.h>

#include <lua.h>

#include "binding/handle.h"
#include "binding/op/reader.h"

#define PL__FLAGS_AS_STORED UINT_MAX /* outcome: the table did not tell */

/* Returns owned: an op built from the arguments of the running method (self at index 1), or NULL: out of memory. */
pl_op_t *pl__op_build(lua_State *L, pl_verb_t verb);
/* As pl__op_build, of an op that has some already (NULL: out of memory). Takes op. */
pl_op_t *pl__op_build_on(lua_State *L, pl_op_t *op);
/* Appends the tasks that are an argument of the running method to the first of a list of ops, of verb task_add. Raises,
 * or returns false: out of memory; that op is then what it was. The list is empty meanwhile: what finalizers that run
 * put there comes behind it. */
bool pl__op_add_tasks(lua_State *L, pl_op_t **ops) PL__MUST_USE;
/* What arguments 2 and on of the running method say of a task without a name: queue, kind, payload, request, eta,
 * priority, tag, deadline. Borrows from them. Raises. */
void pl__args_task(lua_State *L, pl_task_new_t *task);
/* Appends a copy of a task to those of an op of verb task_add. PL_OK or PL_ENOMEM. */
int pl__op_add_task(pl_op_t *op, const pl_task_new_t *task) PL__MUST_USE;
/* Takes op: pushes what its verb gives back, frees it and returns the number of values. May raise; frees all the
 * same. */
int pl__push_results(lua_State *L, pl_op_t *op);

/* ---- stage.c, task.c, queue.c, schedule.c, file.c, sql.c: one of each for a verb ---- */
void pl__build_start(pl__reader_t *R);
void pl__build_outcome(pl__reader_t *R);
void pl__build_finalized(pl__reader_t *R);
void pl__build_fill(pl__reader_t *R);
void pl__build_retry(pl__reader_t *R);
void pl__build_abort(pl__reader_t *R);
void pl__build_resume(pl__reader_t *R);
void pl__build_status(pl__reader_t *R);
void pl__build_cleanup(pl__reader_t *R);
void pl__build_watch(pl__reader_t *R);
void pl__build_stage_get(pl__reader_t *R);
void pl__build_tree_get(pl__reader_t *R);
void pl__build_tree_page(pl__reader_t *R);
void pl__build_roots_list(pl__reader_t *R);
void pl__build_ids_find(pl__reader_t *R);
void pl__build_roots_find(pl__reader_t *R);
void pl__build_why_get(pl__reader_t *R);
void pl__build_queues_seen(pl__reader_t *R);
void pl__build_tasks_find(pl__reader_t *R);
void pl__build_failures_get(pl__reader_t *R);
void pl__build_task_done(pl__reader_t *R);
void pl__build_task_add(pl__reader_t *R);
void pl__build_more_tasks(pl__reader_t *R);
void pl__build_claim_check(pl__reader_t *R);
void pl__build_lease(pl__reader_t *R);
void pl__build_lease_modify(pl__reader_t *R);
void pl__build_task_delete(pl__reader_t *R);
void pl__build_purge(pl__reader_t *R);
void pl__build_dead_list(pl__reader_t *R);
void pl__build_dead_revive(pl__reader_t *R);
void pl__build_dead_purge(pl__reader_t *R);
void pl__build_queue_set(pl__reader_t *R);
void pl__build_queue_get(pl__reader_t *R);
void pl__build_queue_stats(pl__reader_t *R);
void pl__build_schedule_set(pl__reader_t *R);
void pl__build_schedule_delete(pl__reader_t *R);
void pl__build_schedule_get(pl__reader_t *R);
void pl__build_schedule_fire(pl__reader_t *R);
void pl__build_fires_get(pl__reader_t *R);
void pl__build_meta(pl__reader_t *R);
void pl__build_nothing(pl__reader_t *R);
void pl__build_check(pl__reader_t *R);
void pl__build_repair(pl__reader_t *R);
void pl__build_tables_get(pl__reader_t *R);
void pl__build_backup(pl__reader_t *R);
void pl__build_sql(pl__reader_t *R);
int pl__push_schedule_set(lua_State *L, const pl_op_t *op);
int pl__push_schedule_get(lua_State *L, const pl_op_t *op);
int pl__push_schedule_fire(lua_State *L, const pl_op_t *op);
int pl__push_fires_get(lua_State *L, const pl_op_t *op);
int pl__push_start(lua_State *L, const pl_op_t *op);
int pl__push_resume(lua_State *L, const pl_op_t *op);
int pl__push_watch(lua_State *L, const pl_op_t *op);
int pl__push_stage_get(lua_State *L, const pl_op_t *op);
int pl__push_tree_get(lua_State *L, const pl_op_t *op);
int pl__push_tree_page(lua_State *L, const pl_op_t *op);
int pl__push_roots_list(lua_State *L, const pl_op_t *op);
int pl__push_tasks_find(lua_State *L, const pl_op_t *op);
int pl__push_queues_seen(lua_State *L, const pl_op_t *op);
int pl__push_workers_get(lua_State *L, const pl_op_t *op);
int pl__push_why_get(lua_State *L, const pl_op_t *op);
int pl__push_roots_find(lua_State *L, const pl_op_t *op);
int pl__push_ids_find(lua_State *L, const pl_op_t *op);
int pl__push_failures_get(lua_State *L, const pl_op_t *op);
int pl__push_cleanup(lua_State *L, const pl_op_t *op);
int pl__push_task_add(lua_State *L, const pl_op_t *op);
int pl__push_task_done(lua_State *L, const pl_op_t *op);
int pl__push_lease(lua_State *L, const pl_op_t *op);
int pl__push_lease_modify(lua_State *L, const pl_op_t *op);
int pl__push_task_delete(lua_State *L, const pl_op_t *op);
int pl__push_claim_check(lua_State *L, const pl_op_t *op);
int pl__push_purge(lua_State *L, const pl_op_t *op);
int pl__push_dead_list(lua_State *L, const pl_op_t *op);
int pl__push_dead_revive(lua_State *L, const pl_op_t *op);
int pl__push_dead_purge(lua_State *L, const pl_op_t *op);
int pl__push_queue_set(lua_State *L, const pl_op_t *op);
int pl__push_queue_get(lua_State *L, const pl_op_t *op);
int pl__push_queue_stats(lua_State *L, const pl_op_t *op);
int pl__push_counts_get(lua_State *L, const pl_op_t *op);
int pl__push_space_get(lua_State *L, const pl_op_t *op);
int pl__push_repair(lua_State *L, const pl_op_t *op);
int pl__push_tables_get(lua_State *L, const pl_op_t *op);
int pl__push_sweep(lua_State *L, const pl_op_t *op);
int pl__push_meta(lua_State *L, const pl_op_t *op);
int pl__push_check(lua_State *L, const pl_op_t *op);
int pl__push_backup(lua_State *L, const pl_op_t *op);
int pl__push_sql(lua_State *L, const pl_op_t *op);

/* A task, and the settings of a queue, as tables. */
void pl__push_task(lua_State *L, const pl_task_t *task);
void pl__push_seen(lua_State *L, const pl_seen_task_t *task);
void pl__push_queue_settings(lua_State *L, const pl_queue_settings_t *queue);

/* Parts of tasks that ops on stages have, too. */
pl_retry_t pl__reader_retry(pl__reader_t *R, int t);
/* Reads a list of roots from the top of the stack, and pops it. */
pl_stage_new_t *pl__reader_roots(pl__reader_t *R, const char *name, size_t *len);
pl_task_new_t *pl__reader_tasks(pl__reader_t *R, size_t *len);
/* The same of stages that are no roots, and of fills, which come back in the order of their slots. */
pl_stage_new_t *pl__reader_children(pl__reader_t *R, const char *name, size_t *len);
const pl_fill_t *pl__reader_fills(pl__reader_t *R, size_t *len);
/* A durable function gets the seed of its random numbers, unless it has one. */
void pl__reader_seed(pl__reader_t *R, pl_stage_new_t *stage);
/* A new stage: what its class and `with_params` say, in the table at index t; and, at five indices from `at` on, its
 * id, arguments, inputs, what it comes after, and outputs (nil: none). */
void pl__reader_stage_settings(pl__reader_t *R, int t, pl_stage_new_t *stage);
void pl__reader_stage_values(pl__reader_t *R, int at, pl_stage_new_t *stage);

#endif
