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
static pl_op_t *build(lua_State *L, pl_verb_t verb) {
    pl_op_t *op = pl__op_build(L, verb);
    if (!op)
        (void)pl__push_failure(L, PL_ENOMEM, NULL);
    return op;
}

/* e:verb(...), as its build function says. The verb is upvalue 1. */
static int engine_verb(lua_State *L) {
    pl__handle_t *h = pl__handle_check(L, 1);
    if (pl__handle_refuse(L, h))
        return 3;
    pl_op_t *op = build(L, (pl_verb_t)lua_tointeger(L, lua_upvalueindex(1)));
    return op ? pl__await_op(L, h, op, NULL) : 3;
}

/* e:status(stage_id, {message=, console_url=, links=, time=}) -> true */
static int engine_status(lua_State *L, pl__handle_t *h) {
    pl_op_t *op = build(L, PL_VERB_status);
    if (!op)
        return 3;
    if (op->u.status.status.time == 0 && h->engine)
        op->u.status.status.time = pl_engine_now(h->engine);
    return pl__await_op(L, h, op, NULL);
}

/* e:unwatch(stage_id) -> true */
static int engine_unwatch(lua_State *L, pl__handle_t *h) {
    (void)luaL_checkinteger(L, 2);
    pl_op_t *op = build(L, PL_VERB_watch);
    if (!op)
        return 3;
    op->u.watch.unwatch = true;
    return pl__await_op(L, h, op, NULL);
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
        op->u.outcome.claim = claim->fence;
        if (op->u.outcome.flags == PL__FLAGS_AS_STORED)
            op->u.outcome.flags = claim->stage ? claim->stage->flags : 0;
        if (claim->stage)
            op->u.outcome.flags |= claim->stage->flags & (PL_STAGE_SCOPE | PL_STAGE_TRACED);
        break;
    case PL_VERB_finalized:
        op->u.finalized.stage = claim->task;
        op->u.finalized.root = claim->stage ? claim->stage->root : 0;
        op->u.finalized.claim = claim->fence;
        break;
    default:
        op->u.task_done.task = claim->task;
        op->u.task_done.claim = claim->fence;
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
static int end_claim(lua_State *L, pl__handle_t *h, pl_verb_t verb) {
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
    luaL_checktype(L, 3, LUA_TTABLE);
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
static int engine_outcome(lua_State *L, pl__handle_t *h) {
    return end_claim(L, h, PL_VERB_outcome);
}

/* e:returned(claim, flags, bytes) -> true, or nil, code, message: the outcome of a run that has done nothing but return
 * the value of its first output, which is encoded already; nobody waits for the commit. */
static int engine_returned(lua_State *L, pl__handle_t *h) {
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
    lua_Integer flags = luaL_checkinteger(L, 3);
    luaL_argcheck(L, flags >= 0 && flags <= INT_MAX, 3, "out of range");
    pl_str_t value = pl__bytes_check(L, 4);
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
static int engine_finalized(lua_State *L, pl__handle_t *h) {
    return end_claim(L, h, PL_VERB_finalized);
}

/* It went well, and nobody waits for the commit. Stack: engine, claim. */
static int end_well(lua_State *L, pl__handle_t *h) {
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
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
static int engine_task_done(lua_State *L, pl__handle_t *h) {
    if (lua_isnoneornil(L, 3))
        return end_well(L, h);
    return end_claim(L, h, PL_VERB_task_done);
}

/* e:claim_fail(claim, message) -> true, or nil, code, message: the execution came to an end without a result, which is
 * a failed attempt. */
static int engine_claim_fail(lua_State *L, pl__handle_t *h) {
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
    pl_str_t problem = pl__bytes_check(L, 3);
    if (!rec || rec->claim_ended || rec->give_back)
        return ended_before(L, rec);
    if (pl_engine_claim_fail(h->engine, rec->claim, problem) != PL_OK)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    pl__coroutine_claim_ends(rec);
    lua_pushboolean(L, 1);
    return 1;
}

/* e:give_back(claim, later) -> true, or nil, code, message: the task is ready again, and nothing was spent; `later`:
 * after a delay, for what keeps it from being executed now would do so again at once. */
static int engine_give_back(lua_State *L, pl__handle_t *h) {
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
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

/* Those that do more than their op come last, in the place of the plain one. */
void pl__verbs_register(lua_State *L) {
    static const pl__method_t METHODS[] = {
        { "status", engine_status },         { "unwatch", engine_unwatch },     { "outcome", engine_outcome },
        { "returned", engine_returned },     { "finalized", engine_finalized }, { "task_done", engine_task_done },
        { "claim_fail", engine_claim_fail }, { "give_back", engine_give_back }, { NULL, NULL },
    };
    pl__verbs_push(L, false, engine_verb);
    pl__methods_set(L, METHODS);
}
