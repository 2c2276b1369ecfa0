/*
 * batch.c - many tasks for one op, told one after the other: without a table for each of them.
 *
 * A batch is made, filled and sent by one call of Lua code, and good for that once. Its tasks have no names of their
 * own, no retry parameters and no stage.
 */
#include "binding/batch.h"

#include <lauxlib.h>

#include "binding/coroutine/await.h"
#include "binding/facts.h"
#include "binding/handle.h"
#include "binding/op/table.h"

#define BATCH_TYPE "pipeline.Batch"

typedef struct {
    pl__handle_t *h; /* memory of the engine userdata, which is user value 1 */
    pl_op_t *op;     /* NULL: it was sent */
} batch_t;

/* e:batch() -> an empty batch */
static int engine_batch(lua_State *L, pl__handle_t *h) {
    batch_t *batch = lua_newuserdatauv(L, sizeof *batch, 1);
    *batch = (batch_t){ .h = h };
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, BATCH_TYPE);
    batch->op = pl_op_new(PL_VERB_task_add);
    return batch->op ? 1 : pl__push_failure(L, PL_ENOMEM, NULL);
}

/* Pushes the failure of a batch that cannot be used, or returns 0. */
static int refuse(lua_State *L, const batch_t *batch) {
    int n = pl__handle_refuse(L, batch->h);
    return n == 0 && !batch->op ? pl__push_failure(L, PL_ESTATE, "it was sent before") : n;
}

/* b:task_gather(queue, kind, payload, request, eta, priority, tag, deadline, prefix) -> id, prefix and the id as users
 * see it; or nil, code, message */
static int batch_task_gather(lua_State *L) {
    enum { PREFIX = 10 };
    batch_t *batch = luaL_checkudata(L, 1, BATCH_TYPE);
    pl_task_new_t task;
    pl_str_t prefix;
    prefix.ptr = luaL_checklstring(L, PREFIX, &prefix.len);
    pl__args_task(L, &task);
    if (refuse(L, batch))
        return 3;
    task.id = pl_engine_new_id(batch->h->engine);
    if (pl__op_add_task(batch->op, &task) != PL_OK)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    lua_pushinteger(L, task.id);
    pl__push_name(L, batch->h, task.id, prefix);
    return 2;
}

/* b:send() -> list of result names, or nil, code, message */
static int batch_send(lua_State *L) {
    batch_t *batch = luaL_checkudata(L, 1, BATCH_TYPE);
    if (refuse(L, batch))
        return 3;
    pl_op_t *op = batch->op;
    batch->op = NULL;
    lua_getiuservalue(L, 1, 1);
    lua_replace(L, 1); /* as a method of the engine */
    return pl__await_op(L, batch->h, op, NULL);
}

static int batch_gc(lua_State *L) {
    batch_t *batch = luaL_checkudata(L, 1, BATCH_TYPE);
    pl_op_free(batch->op);
    batch->op = NULL;
    return 0;
}

void pl__task_batch_register(lua_State *L) {
    static const luaL_Reg METHODS[] = {
        { "task_gather", batch_task_gather },
        { "send", batch_send },
        { NULL, NULL },
    };
    if (luaL_newmetatable(L, BATCH_TYPE)) {
        lua_pushcfunction(L, batch_gc);
        lua_setfield(L, -2, "__gc");
        luaL_newlib(L, METHODS);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    static const pl__method_t MAKER[] = { { "batch", engine_batch }, { NULL, NULL } };
    pl__methods_set(L, MAKER);
}
