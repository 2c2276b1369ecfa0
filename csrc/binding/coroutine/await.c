/*
 * await.c - waiting for an op, whoever waits: a coroutine of the engine yields, a tasklet awaits, all else blocks.
 */
#include "binding/coroutine/await.h"

#include "binding/op/pusher.h"
#include "binding/op/table.h"
#include "binding/tasklet/tasklet.h"
#include "binding/telemetry/sink.h"

static int op_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    pl__coroutine_t *rec = pl__await_record(L, context);
    pl_op_t *op = rec->op;
    rec->op = NULL;
    return pl__push_results(L, op);
}

int pl__await_op(lua_State *L, pl__handle_t *h, pl_op_t *op, pl_claim_t *claim) {
    bool can_await = pl__coroutine_can_await(L, h);
    int results = !can_await && !claim && h->engine ? pl__tasklet_await_op(L, h, op) : -1;
    if (results >= 0)
        return results;
    if (!h->engine) { /* a finalizer closed it while the op was built */
        pl_op_free(op);
        return pl__push_failure(L, PL_ECLOSED, NULL);
    }
    if (!can_await) {
        (void)pl_engine_call(h->engine, op);
        if (claim)
            pl_engine_claim_ended(h->engine, claim);
        pl__log_drain(L, h);
        return pl__push_results(L, op);
    }
    pl__coroutine_t *rec = h->current;
    op->owner = rec;
    rec->op = op;
    rec->op_back = false;
    rec->state = PL__CO_OP;
    if (claim)
        pl_engine_claim_end(h->engine, claim, op);
    else
        pl_engine_submit(h->engine, op);
    return pl__await_yield(L, rec, op_k);
}
