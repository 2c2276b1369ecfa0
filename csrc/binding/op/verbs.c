/*
 * verbs.c - the methods of an engine that stand for ops of the store. See verbs.h.
 *
 * Each builds an op from its arguments and waits for it: in a managed coroutine by yielding, elsewhere by blocking
 * the thread. Either way the results come after the commit.
 */
#include "binding/op/verbs.h"

#include <lauxlib.h>

#include "binding/coroutine/await.h"
#include "binding/coroutine/claim.h"
#include "binding/coroutine/coroutine.h"
#include "binding/op/child.h"
#include "binding/op/table.h"

/* Returns owned: the op of a method with these arguments; or NULL, and three values are pushed that say why. */
static pl_op_t *build(lua_State *L, const pl__handle_t *h, pl_verb_t verb) {
    if (pl__handle_refuse(L, h))
        return NULL;
    pl_op_t *op = pl__op_build(L, verb);
    if (!op)
        (void)pl__push_failure(L, PL_ENOMEM, NULL);
    return op;
}

static int call(lua_State *L, pl_verb_t verb) {
    pl__handle_t *h = pl__handle_check(L, 1);
    pl_op_t *op = build(L, h, verb);
    return op ? pl__await_op(L, h, op, NULL) : 3;
}

/* e:start(list of STAGE) -> list of "OK" or "EEXISTS" */
static int engine_start(lua_State *L) {
    return call(L, PL_VERB_start);
}

/* e:task_add(list of TASK, all_or_none) -> list of result names */
static int engine_task_add(lua_State *L) {
    return call(L, PL_VERB_task_add);
}

/* e:fill(stage_id, list of {slot=, value=}) -> true */
static int engine_fill(lua_State *L) {
    return call(L, PL_VERB_fill);
}

/* e:retry(stage_id, retry_at, message) -> true */
static int engine_retry(lua_State *L) {
    return call(L, PL_VERB_retry);
}

/* e:abort(stage_id, message, no_permission, force) -> true */
static int engine_abort(lua_State *L) {
    return call(L, PL_VERB_abort);
}

/* e:resume(stage_id) -> how many stages go on */
static int engine_resume(lua_State *L) {
    return call(L, PL_VERB_resume);
}

/* e:status(stage_id, {message=, console_url=, links=, time=}) -> true */
static int engine_status(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    pl_op_t *op = build(L, h, PL_VERB_status);
    if (!op)
        return 3;
    if (op->u.status.status.time == 0 && h->engine)
        op->u.status.status.time = pl_engine_now(h->engine);
    return pl__await_op(L, h, op, NULL);
}

/* e:cleanup(root_id) -> rows deleted */
static int engine_cleanup(lua_State *L) {
    return call(L, PL_VERB_cleanup);
}

/* e:watch(stage_id | key) -> name of its state */
static int engine_watch(lua_State *L) {
    return call(L, PL_VERB_watch);
}

/* e:unwatch(stage_id) -> true */
static int engine_unwatch(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    (void)luaL_checkinteger(L, 2);
    pl_op_t *op = build(L, h, PL_VERB_watch);
    if (!op)
        return 3;
    op->u.watch.unwatch = true;
    return pl__await_op(L, h, op, NULL);
}

/* e:meta(key) -> string or nil; e:meta(key, value, if_absent) -> what is there now */
static int engine_meta(lua_State *L) {
    return call(L, PL_VERB_meta);
}

/* e:stage_get(id | key, with_slots, with_work) -> STAGEREC, slots; or nil */
static int engine_stage_get(lua_State *L) {
    return call(L, PL_VERB_stage_get);
}

/* e:tree_get(id | key) -> list of STAGEREC, slots; or nil */
static int engine_tree_get(lua_State *L) {
    return call(L, PL_VERB_tree_get);
}

/* e:tree_page(id | key, {top=, depth=, after=, limit=, counts=, hidden=}) -> {root=, key=, len=, next=}, page; or nil,
 * if there is no such stage, or `top` is not in its tree */
static int engine_tree_page(lua_State *L) {
    return call(L, PL_VERB_tree_page);
}

/* e:roots_list{class_path=, before=, limit=} -> list of STAGEREC, slots, next id or nil */
static int engine_roots_list(lua_State *L) {
    return call(L, PL_VERB_roots_list);
}

/* e:ids_find(from, to, limit) -> ids of roots, ids of stages */
static int engine_ids_find(lua_State *L) {
    return call(L, PL_VERB_ids_find);
}

/* e:tasks_find{queue=, text=, limit=, at=, ready=, ...} -> list of TASKREC with state and more, and where to go on */
static int engine_tasks_find(lua_State *L) {
    return call(L, PL_VERB_tasks_find);
}

/* e:queues_seen(name or nil) -> list of SETTINGS with figures */
static int engine_queues_seen(lua_State *L) {
    return call(L, PL_VERB_queues_seen);
}

/* e:workers_get() -> list of workers */
static int engine_workers_get(lua_State *L) {
    return call(L, PL_VERB_workers_get);
}

/* e:roots_find{class=, queue=, ..., before=, limit=, counts=} -> list of STAGEREC, next id or nil; or numbers */
static int engine_roots_find(lua_State *L) {
    return call(L, PL_VERB_roots_find);
}

/* e:why_get{id=, queue=, name=} -> {reasons=, slots=, stage=, task=, and facts}; or nil */
static int engine_why_get(lua_State *L) {
    return call(L, PL_VERB_why_get);
}

/* e:space_get() -> {bytes=, free=, log=, shrinks=, keep_done=, keep_aborted=, keep_dead=, max_bytes=, sweeps=, done=,
 * aborted=, dead=, names=}, the last four {count=, more=, oldest=}: what may go */
static int engine_space_get(lua_State *L) {
    return call(L, PL_VERB_space_get);
}

/* e:repair(title) -> how many rows were changed, or nil, "ENOTFOUND" (no mend), ... */
static int engine_repair(lua_State *L) {
    return call(L, PL_VERB_repair);
}

/* e:tables_get(part) -> {table=, index= or nil, bytes=, unused=}, next part or nil */
static int engine_tables_get(lua_State *L) {
    return call(L, PL_VERB_tables_get);
}

/* e:sweep() -> trees, dead tasks, names deleted since they were old */
static int engine_sweep(lua_State *L) {
    return call(L, PL_VERB_sweep);
}

/* e:counts_get() -> list of {queue=, ready=, delayed=, claimed=}, stages, workers */
static int engine_counts_get(lua_State *L) {
    return call(L, PL_VERB_counts_get);
}

/* e:failures_get(id, of the tree) -> list of {time=, attempt=, worker=, error_class=, message=, traceback=}; of the
 * tree of a root also stage=, class_path=, key= */
static int engine_failures_get(lua_State *L) {
    return call(L, PL_VERB_failures_get);
}

/* e:check(part) -> list of texts, next part or nil */
static int engine_check(lua_State *L) {
    return call(L, PL_VERB_check);
}

/* e:backup(path, pages) -> pages left, pages in all */
static int engine_backup(lua_State *L) {
    return call(L, PL_VERB_backup);
}

/* e:schedule_set(list of SCHEDULE, {source=, version=, version_before=, removed=, abort=} | nil) -> whether it was
 * written, list of result names */
static int engine_schedule_set(lua_State *L) {
    return call(L, PL_VERB_schedule_set);
}

/* e:schedule_delete(name, abort) -> true */
static int engine_schedule_delete(lua_State *L) {
    return call(L, PL_VERB_schedule_delete);
}

/* e:schedule_get({name=} | {source=, after=, limit=} | {due=, limit=}) -> list, version of the source */
static int engine_schedule_get(lua_State *L) {
    return call(L, PL_VERB_schedule_get);
}

/* e:schedule_fire({id=, revision=, nominal=, next_nominal=, next_at=, last_nominal=, counts=, buffered_max=,
 * note=, pause_note=, fires=, stages= | tasks=}) -> list of states */
static int engine_schedule_fire(lua_State *L) {
    return call(L, PL_VERB_schedule_fire);
}

/* e:fires_get({name=, before=, limit=} | {target=}) -> list */
static int engine_fires_get(lua_State *L) {
    return call(L, PL_VERB_fires_get);
}

/* e:claim_check(task id, claim) -> whether the task is being executed under that claim, by any worker */
static int engine_claim_check(lua_State *L) {
    return call(L, PL_VERB_claim_check);
}

/* e:queue_set(list of SETTINGS, patch) -> list of result names */
static int engine_queue_set(lua_State *L) {
    return call(L, PL_VERB_queue_set);
}

/* e:queue_get(name or nil) -> list of SETTINGS */
static int engine_queue_get(lua_State *L) {
    return call(L, PL_VERB_queue_get);
}

/* e:queue_stats(list of names) -> list of figures */
static int engine_queue_stats(lua_State *L) {
    return call(L, PL_VERB_queue_stats);
}

/* e:lease(queue, {seconds=, max=, tag=, group=}) -> list of TASKREC */
static int engine_lease(lua_State *L) {
    return call(L, PL_VERB_lease);
}

/* e:lease_modify(queue, id or name, eta, seconds) -> new eta */
static int engine_lease_modify(lua_State *L) {
    return call(L, PL_VERB_lease_modify);
}

/* e:task_delete(queue, list of ids and names) -> list of result names */
static int engine_task_delete(lua_State *L) {
    return call(L, PL_VERB_task_delete);
}

/* e:purge(queue, forget_names) -> tasks deleted */
static int engine_purge(lua_State *L) {
    return call(L, PL_VERB_purge);
}

/* e:dead_list(queue or nil, {before=, limit=}) -> list of TASKREC, next id or nil */
static int engine_dead_list(lua_State *L) {
    return call(L, PL_VERB_dead_list);
}

/* e:dead_revive(queue or nil, list of ids or nil) -> list of result names, or how many */
static int engine_dead_revive(lua_State *L) {
    return call(L, PL_VERB_dead_revive);
}

/* e:dead_purge(queue or nil, list of ids or nil) -> how many */
static int engine_dead_purge(lua_State *L) {
    return call(L, PL_VERB_dead_purge);
}

/* ---- ends of claims ---------------------------------------------------------------------------------------- */

static bool verb_fits(pl_verb_t verb, const pl_claim_t *claim) {
    if (verb == PL_VERB_outcome)
        return claim->kind == PL_TASK_RUN;
    if (verb == PL_VERB_finalized)
        return claim->kind == PL_TASK_FINALIZE || claim->kind == PL_TASK_ABORT;
    return claim->kind >= PL_TASK_CALLBACK || !claim->stage;
}

static void check_kind(lua_State *L, const pl_claim_t *claim, pl_verb_t verb, bool fits) {
    const char *ends = verb == PL_VERB_outcome     ? "outcome() ends a run task"
                       : verb == PL_VERB_finalized ? "finalized() ends a finalize or abort task"
                                                   : "task_done() ends a task of a queue, or a callback";
    if (!fits)
        luaL_argerror(L, 2, lua_pushfstring(L, "%s, this is a %s task", ends, pl_task_kind_name((int)claim->kind)));
}

static void set_fence(pl_op_t *op, const pl_claim_t *claim) {
    switch (op->verb) {
    case PL_VERB_outcome: /* a control task has the id of its stage */
        op->u.outcome.stage = claim->task;
        op->u.outcome.root = claim->stage ? claim->stage->root : 0;
        op->u.outcome.claim = claim->claim;
        if (op->u.outcome.flags == PL__FLAGS_AS_STORED)
            op->u.outcome.flags = claim->stage ? claim->stage->flags : 0;
        if (claim->stage)
            op->u.outcome.flags |= claim->stage->flags & (PL_STAGE_SCOPE | PL_STAGE_TRACED);
        break;
    case PL_VERB_finalized:
        op->u.finalized.stage = claim->task;
        op->u.finalized.root = claim->stage ? claim->stage->root : 0;
        op->u.finalized.claim = claim->claim;
        break;
    default:
        op->u.task_done.task = claim->task;
        op->u.task_done.claim = claim->claim;
    }
}

/* An attempt that is being cancelled has no result: its claim goes back. */
static int ended_before(lua_State *L, const pl__coroutine_t *rec) {
    if (rec && rec->give_back)
        return pl__push_failure(L, PL_ESTALE, "the attempt was cancelled");
    return pl__push_failure(L, PL_ESTATE, "the task was already completed");
}

/* The claim ends with this op, and nobody waits for the commit. Takes op. Pushes the result. */
static int end_unwaited(lua_State *L, pl__handle_t *h, pl__coroutine_t *rec, pl_op_t *op) {
    set_fence(op, rec->claim);
    pl__coroutine_claim_ends(rec);
    op->owner = NULL;
    pl_engine_claim_end(h->engine, rec->claim, op);
    lua_pushboolean(L, 1);
    return 1;
}

/* Stack: engine, claim, table. */
static int end_claim(lua_State *L, pl_verb_t verb) {
    pl__handle_t *h = pl__handle_check(L, 1);
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (pl__handle_refuse(L, h))
        return 3;
    if (!rec || rec->claim_ended || rec->give_back)
        return ended_before(L, rec);
    check_kind(L, rec->claim, verb, verb_fits(verb, rec->claim));
    bool nowait = lua_getfield(L, 3, "nowait") != LUA_TNIL && lua_toboolean(L, -1);
    uint64_t life = rec->life;
    lua_getfield(L, 3, "children");
    pl_op_t *op = verb == PL_VERB_outcome ? pl__children_take(L, -1) : NULL;
    op = op ? pl__op_build_on(L, op) : pl__op_build(L, verb);
    if (!op)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    /* Building may have run finalizers, and those may have done anything. */
    if (!h->engine || rec->life != life || rec->claim_ended) {
        pl_op_free(op);
        return ended_before(L, NULL);
    }
    if (nowait)
        return end_unwaited(L, h, rec, op);
    set_fence(op, rec->claim);
    pl__coroutine_claim_ends(rec);
    return pl__await_op(L, h, op, rec->claim);
}

/* e:outcome(claim, OUTCOME) -> true, or nil, code, message */
static int engine_outcome(lua_State *L) {
    return end_claim(L, PL_VERB_outcome);
}

/* e:returned(claim, flags, bytes) -> true, or nil, code, message: the outcome of a run that has done nothing but return
 * the value of its first output, which is encoded already; nobody waits for the commit. */
static int engine_returned(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
    lua_Integer flags = luaL_checkinteger(L, 3);
    luaL_argcheck(L, flags >= 0 && flags <= INT_MAX, 3, "out of range");
    pl_str_t value;
    value.ptr = luaL_checklstring(L, 4, &value.len);
    if (pl__handle_refuse(L, h))
        return 3;
    if (!rec || rec->claim_ended || rec->give_back)
        return ended_before(L, rec);
    check_kind(L, rec->claim, PL_VERB_outcome, rec->claim->kind == PL_TASK_RUN && rec->claim->stage);
    pl_op_t *op = pl_op_new(PL_VERB_outcome);
    pl_fill_t *fill = op ? pl_op_alloc(op, sizeof *fill) : NULL;
    if (!fill || pl__arena_copy(&op->arena, value, &fill->value) != PL_OK) {
        pl_op_free(op);
        return pl__push_failure(L, PL_ENOMEM, NULL);
    }
    fill->slot = rec->claim->stage->outputs[0].slot;
    op->u.outcome.flags = (unsigned)flags;
    op->u.outcome.fills = fill;
    op->u.outcome.fills_len = 1;
    return end_unwaited(L, h, rec, op);
}

/* e:finalized(claim, {kind=, give_up=, retry_at=, failure=, nowait=}) -> true, or nil, code, message */
static int engine_finalized(lua_State *L) {
    return end_claim(L, PL_VERB_finalized);
}

/* It went well, and nobody waits for the commit. Stack: engine, claim. */
static int end_well(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
    if (pl__handle_refuse(L, h))
        return 3;
    bool has_deadline = rec && rec->deadline != 0;
    if (has_deadline)
        pl__watch_end_code(h, rec);
    if (has_deadline && rec->late)
        return pl__push_failure(L, PL_ETIMEDOUT, "it has taken longer than it may");
    if (!rec || rec->claim_ended || rec->give_back)
        return ended_before(L, rec);
    check_kind(L, rec->claim, PL_VERB_task_done, verb_fits(PL_VERB_task_done, rec->claim));
    if (rec->claim->is_plain) {
        if (pl_engine_claim_done(h->engine, rec->claim) != PL_OK)
            return pl__push_failure(L, PL_ENOMEM, NULL);
    } else {
        pl_op_t *op = pl_op_new(PL_VERB_task_done);
        if (!op)
            return pl__push_failure(L, PL_ENOMEM, NULL);
        set_fence(op, rec->claim);
        pl_engine_claim_end(h->engine, rec->claim, op);
    }
    pl__coroutine_claim_ends(rec);
    lua_pushboolean(L, 1);
    return 1;
}

/* e:task_done(claim, {failed=, retry_at=, failure=, nowait=}) -> true, or nil, code, message.
 * e:task_done(claim): done, without waiting; nil, "ETIMEDOUT" when its code was reached at its deadline: it has not
 * ended then. */
static int engine_task_done(lua_State *L) {
    if (lua_isnoneornil(L, 3))
        return end_well(L);
    return end_claim(L, PL_VERB_task_done);
}

/* e:claim_fail(claim, message) -> true, or nil, code, message: the execution came to an end without a result, which is
 * a failed attempt. */
static int engine_claim_fail(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
    pl_str_t problem;
    problem.ptr = luaL_checklstring(L, 3, &problem.len);
    if (pl__handle_refuse(L, h))
        return 3;
    if (!rec || rec->claim_ended || rec->give_back)
        return ended_before(L, rec);
    if (pl_engine_claim_fail(h->engine, rec->claim, problem) != PL_OK)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    pl__coroutine_claim_ends(rec);
    lua_pushboolean(L, 1);
    return 1;
}

/* e:give_back(claim, later) -> true, or nil, code, message: the task is ready again, and nothing was spent; `later`:
 * after a rest, for what keeps it from being executed now would do so again at once. */
static int engine_give_back(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
    if (pl__handle_refuse(L, h))
        return 3;
    if (!rec || rec->claim_ended || rec->give_back)
        return ended_before(L, rec);
    if (lua_toboolean(L, 3))
        pl_engine_claim_drop(h->engine, rec->claim);
    else
        pl_engine_claim_release(h->engine, rec->claim);
    pl__coroutine_claim_ends(rec);
    lua_pushboolean(L, 1);
    return 1;
}

void pl__verbs_register(lua_State *L) {
    static const luaL_Reg METHODS[] = {
        { "start", engine_start },
        { "task_add", engine_task_add },
        { "fill", engine_fill },
        { "retry", engine_retry },
        { "abort", engine_abort },
        { "resume", engine_resume },
        { "status", engine_status },
        { "cleanup", engine_cleanup },
        { "watch", engine_watch },
        { "unwatch", engine_unwatch },
        { "meta", engine_meta },
        { "stage_get", engine_stage_get },
        { "tree_get", engine_tree_get },
        { "tree_page", engine_tree_page },
        { "roots_list", engine_roots_list },
        { "ids_find", engine_ids_find },
        { "roots_find", engine_roots_find },
        { "why_get", engine_why_get },
        { "workers_get", engine_workers_get },
        { "queues_seen", engine_queues_seen },
        { "tasks_find", engine_tasks_find },
        { "counts_get", engine_counts_get },
        { "space_get", engine_space_get },
        { "repair", engine_repair },
        { "tables_get", engine_tables_get },
        { "sweep", engine_sweep },
        { "schedule_set", engine_schedule_set },
        { "schedule_delete", engine_schedule_delete },
        { "schedule_get", engine_schedule_get },
        { "schedule_fire", engine_schedule_fire },
        { "fires_get", engine_fires_get },
        { "failures_get", engine_failures_get },
        { "check", engine_check },
        { "claim_check", engine_claim_check },
        { "backup", engine_backup },
        { "queue_set", engine_queue_set },
        { "queue_get", engine_queue_get },
        { "queue_stats", engine_queue_stats },
        { "lease", engine_lease },
        { "lease_modify", engine_lease_modify },
        { "task_delete", engine_task_delete },
        { "purge", engine_purge },
        { "dead_list", engine_dead_list },
        { "dead_revive", engine_dead_revive },
        { "dead_purge", engine_dead_purge },
        { "outcome", engine_outcome },
        { "returned", engine_returned },
        { "finalized", engine_finalized },
        { "task_done", engine_task_done },
        { "claim_fail", engine_claim_fail },
        { "give_back", engine_give_back },
        { NULL, NULL },
    };
    luaL_setfuncs(L, METHODS, 0);
}
