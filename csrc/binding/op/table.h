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

/* ---- for each verb that Lua can ask for: pl__build_NAME reads its arguments, pl__push_NAME pushes what it gives
 * back; both are in the file of its noun ---- */

/* `what`(name) of each verb that is offered, in whatever way. */
#define PL__OFFERED_ENGINE(what, name) what(name)
#define PL__OFFERED_SESSION(what, name) what(name)
#define PL__OFFERED_BOTH(what, name) what(name)
#define PL__OFFERED_BY_HAND(what, name) what(name)
#define PL__OFFERED_OWN(what, name)

#define PL__DECLARE(name)                                                                                              \
    void pl__build_##name(pl__reader_t *R);                                                                            \
    int pl__push_##name(lua_State *L, const pl_op_t *op);
#define X(name, write, offer) PL__OFFERED_##offer(PL__DECLARE, name)
PL_VERBS(X)
#undef X
#undef PL__DECLARE

/* A verb without arguments, and one that gives back true. */
#define PL__BUILDS_NOTHING(name)                                                                                       \
    void pl__build_##name(pl__reader_t *R) {                                                                           \
        (void)R;                                                                                                       \
    }
#define PL__PUSHES_TRUE(name)                                                                                          \
    int pl__push_##name(lua_State *L, const pl_op_t *op) {                                                             \
        return pl__push_true(L, op);                                                                                   \
    }

/* Pushes, onto the table on top of the stack, a method for each verb that the engine, or a session, offers as it is:
 * `method` with the verb as its upvalue. */
void pl__verbs_push(lua_State *L, bool of_session, lua_CFunction method);

/* The arguments of outcome that are not a durable function's alone. */
void pl__reader_outcome(pl__reader_t *R);
void pl__build_more_tasks(pl__reader_t *R);

/* A task, and the settings of a queue, as tables. */
void pl__push_task(lua_State *L, const pl_task_t *task);
void pl__push_seen(lua_State *L, const pl_seen_task_t *task);
void pl__push_queue_settings(lua_State *L, const pl_queue_settings_t *queue);

/* Parts of tasks that ops on stages have, too. */
void pl__reader_status(pl__reader_t *R, int t, pl_status_t *status); /* of the table at t */
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
