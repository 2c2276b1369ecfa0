/*
 * claimed.c - the methods of an engine that write for a durable function that is being executed, and those for others.
 *
 * Writing does not end the claim of the run, but for a suspension that was not refused, and where the claim turns out
 * to be no more ours, or its stage to be aborted: then nothing is left to be told of it.
 */
#include <lauxlib.h>

#include "binding/coroutine/await.h"
#include "binding/coroutine/claim.h"
#include "binding/coroutine/coroutine.h"
#include "binding/durable/durable.h"
#include "binding/op/pusher.h"
#include "binding/op/table.h"

/* The op has come back. */
static void heed(pl__handle_t *h, pl__coroutine_t *rec, const pl_op_t *op) {
    bool suspended = op->verb == PL_VERB_suspend && op->rc == PL_OK && !op->u.suspend.refused;
    bool is_over = suspended || op->rc == PL_ESTALE || op->rc == PL_EABORTED;
    if (!is_over || !h->engine || !rec->claim || rec->claim_ended)
        return;
    pl__coroutine_claim_ends(rec);
    pl_engine_claim_ended(h->engine, rec->claim);
}

static int write_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    pl__coroutine_t *rec = pl__await_record(L, context);
    pl_op_t *op = rec->op;
    rec->op = NULL;
    heed(rec->h, rec, op);
    return pl__push_results(L, op);
}

int pl__durable_write(lua_State *L, pl__handle_t *h, pl__coroutine_t *rec, pl_op_t *op) {
    if (!pl__coroutine_can_await(L, h) || h->current != rec) {
        (void)pl_engine_call(h->engine, op);
        heed(h, rec, op);
        return pl__push_results(L, op);
    }
    op->owner = rec;
    rec->op = op;
    rec->op_back = false;
    rec->state = PL__CO_OP;
    pl_engine_submit(h->engine, op);
    return pl__await_yield(L, rec, write_k);
}

pl_op_t *pl__durable_op(lua_State *L, const pl__handle_t *h, pl__coroutine_t *rec, pl_verb_t verb) {
    luaL_checktype(L, 3, LUA_TTABLE);
    if (!rec || rec->claim_ended || rec->give_back) {
        (void)pl__push_failure(L, PL_ESTALE, "the task was already completed");
        return NULL;
    }
    if (rec->claim->kind != PL_TASK_RUN || !rec->claim->stage)
        luaL_argerror(L, 2,
                      lua_pushfstring(L, "only a run task has a journal, this is a %s task",
                                      pl_task_kind_name((int)rec->claim->kind)));
    uint64_t life = rec->life;
    pl_op_t *op = pl__op_build(L, verb);
    /* Building may have run finalizers, and those may have done anything. */
    bool is_over = !h->engine || rec->life != life || rec->claim_ended;
    if (is_over)
        pl_op_free(op);
    if (!op || is_over) {
        (void)pl__push_failure(L, is_over ? PL_ESTALE : PL_ENOMEM, NULL);
        return NULL;
    }
    if (verb == PL_VERB_journal) {
        op->u.journal.stage = rec->claim->task;
        op->u.journal.root = rec->claim->stage->root;
        op->u.journal.claim = rec->claim->fence;
    } else {
        op->u.suspend.stage = rec->claim->task;
        op->u.suspend.root = rec->claim->stage->root;
        op->u.suspend.claim = rec->claim->fence;
    }
    return op;
}

/* Stack: engine, claim, table. */
static int write(lua_State *L, pl__handle_t *h, pl_verb_t verb) {
    pl__coroutine_t *rec = pl__claim_check(L, 2, h);
    pl_op_t *op = pl__durable_op(L, h, rec, verb);
    return op ? pl__durable_write(L, h, rec, op) : 3;
}

/* e:journal(claim, JOURNAL), or (claim, list of ENTRY, next) -> true, set of streams that have taken no more, or nil,
 * and the bytes of the entries; or nil, code, message */
static int engine_journal(lua_State *L, pl__handle_t *h) {
    return write(L, h, PL_VERB_journal);
}

/* e:flow_suspend(claim, JOURNAL with due=, wants=, slots=, reason=) -> true, and the bytes of the entries; or nil,
 * "EBUSY": there are news, nothing was written and the claim stays; or nil, code, message */
static int engine_suspend(lua_State *L, pl__handle_t *h) {
    return write(L, h, PL_VERB_suspend);
}

void pl__durable_register(lua_State *L) {
    static const pl__method_t METHODS[] = { { "journal", engine_journal },
                                            { "flow_suspend", engine_suspend },
                                            { NULL, NULL } };
    pl__methods_set(L, METHODS);
}
