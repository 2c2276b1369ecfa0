/*
 * session.c - transactions of the user. See session.h; their states are in store/store.c.
 *
 * A session is told by its number, which the handle gives out. Its ops wait as those of the engine do: where the
 * running coroutine is managed it yields, elsewhere the thread is blocked; the store answers them at once.
 *
 * Tasks that the store cannot refuse need no answer. They gather in an op of the session, which is sent ahead, without
 * waiting for it, when it is full, and before anything else is asked of the store: so effects come in the order of the
 * calls. What nobody waits for is bounded by waiting once for all that was sent.
 */
#include "binding/op/session.h"

#include <lauxlib.h>

#include "binding/coroutine/await.h"
#include "binding/coroutine/claim.h"
#include "binding/coroutine/coroutine.h"
#include "binding/durable/durable.h"
#include "binding/facts.h"
#include "binding/handle.h"
#include "binding/op/table.h"

#define SESSION_TYPE "pipeline.Session"

/* Tasks in an op that is sent ahead, and bytes of their values; bytes that may be under way. */
enum { GATHER_MAX = 64, GATHER_BYTES_MAX = 256 * 1024, UNHEARD_BYTES_MAX = 4 * 1024 * 1024 };

typedef struct {
    pl__handle_t *h; /* memory of the engine userdata, which is user value 1 */
    pl_session_t number;
    bool begun, over;  /* tx_begin was submitted; so was tx_end */
    pl_op_t *gathered; /* list of ops of verb task_add, not sent yet; nearly always one, or none */
    size_t bytes;      /* about, of the values in it */
    size_t unheard;    /* bytes sent ahead since the store answered last */
} session_t;

/* The session at index 1, in whose place the engine is put. */
static session_t *take_self(lua_State *L) {
    session_t *session = luaL_checkudata(L, 1, SESSION_TYPE);
    lua_getiuservalue(L, 1, 1);
    lua_replace(L, 1);
    return session;
}

/* Pushes the failure of a session that cannot be used, or returns 0. */
static int refuse(lua_State *L, const session_t *session) {
    int n = pl__handle_refuse(L, session->h);
    if (n == 0 && (!session->begun || session->over))
        n = pl__push_failure(L, PL_EOVER, NULL);
    return n;
}

/* ---- tasks sent ahead ------------------------------------------------------------------------------------------- */

static void send_gathered(session_t *session) {
    pl_op_t *ops = session->gathered;
    session->gathered = NULL;
    session->unheard += session->bytes;
    session->bytes = 0;
    for (pl_op_t *next; ops; ops = next) {
        next = ops->next;
        ops->session = session->number;
        pl_engine_send_ahead(session->h->engine, ops);
    }
}

static void drop_gathered(session_t *session) {
    pl_op_t *ops = session->gathered;
    session->gathered = NULL;
    for (pl_op_t *next; ops; ops = next) {
        next = ops->next;
        pl_op_free(ops);
    }
}

/* Submits op, behind what has gathered, and waits for it. */
static void join(session_t *session, pl_op_t *op) {
    if (session->h->engine)
        send_gathered(session);
    else /* a finalizer closed it while the op was built */
        drop_gathered(session);
    session->unheard = 0; /* once it is answered */
    op->session = session->number;
}

static int await(lua_State *L, session_t *session, pl_op_t *op) {
    join(session, op);
    return pl__await_op(L, session->h, op, NULL);
}

/* The op that gathers, made if there is none. NULL: no memory. */
static pl_op_t *gathering(session_t *session) {
    if (!session->gathered) {
        session->gathered = pl_op_new(PL_VERB_task_add);
        if (session->gathered)
            session->gathered->u.task_add.all_or_none = true;
    }
    return session->gathered;
}

/* The last `n` tasks were added to it: sends them ahead with all others if they are many. Returns whether so much is
 * under way that the caller is to wait for it. */
static bool gathered(session_t *session, size_t n) {
    const pl_op_task_add_t *add = &session->gathered->u.task_add;
    for (size_t i = add->len - n; i < add->len; i++)
        session->bytes += sizeof *add->tasks + add->tasks[i].payload.len + add->tasks[i].request.len;
    if (add->len < GATHER_MAX && session->bytes < GATHER_BYTES_MAX)
        return false;
    send_gathered(session);
    return session->unheard >= UNHEARD_BYTES_MAX;
}

/* s:tasks_gather(list of TASK that the store cannot refuse) -> whether to call settle; or nil, code, message. They are
 * added with the next thing that is asked of the store, or before. */
static int session_tasks_gather(lua_State *L) {
    session_t *session = take_self(L);
    if (refuse(L, session))
        return 3;
    const pl_op_t *op = gathering(session);
    size_t before = op ? op->u.task_add.len : 0;
    if (!op || !pl__op_add_tasks(L, &session->gathered))
        return pl__push_failure(L, PL_ENOMEM, NULL);
    if (refuse(L, session)) { /* a finalizer that ran meanwhile has dropped it */
        drop_gathered(session);
        return 3;
    }
    lua_pushboolean(L, gathered(session, op->u.task_add.len - before));
    return 1;
}

/* s:task_gather(queue, kind, payload, request, eta, priority, tag, deadline, prefix) -> id, prefix and the id as users
 * see it, whether to call settle; or nil, code, message: the same for one task, without a name. */
static int session_task_gather(lua_State *L) {
    enum { PREFIX = 10 };
    session_t *session = take_self(L);
    pl_task_new_t task;
    size_t len;
    const char *prefix = luaL_checklstring(L, PREFIX, &len);
    pl__args_task(L, &task);
    if (refuse(L, session))
        return 3;
    task.id = pl_engine_new_id(session->h->engine);
    if (!gathering(session) || pl__op_add_task(session->gathered, &task) != PL_OK)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    bool is_much = gathered(session, 1);
    lua_pushinteger(L, task.id);
    pl__push_name(L, session->h, task.id, (pl_str_t){ prefix, len });
    lua_pushboolean(L, is_much);
    return 3;
}

/* s:settle() -> nil, or nil, code, message: waits until the store has applied all that was sent ahead, by asking it for
 * something that is not there. */
static int session_settle(lua_State *L) {
    session_t *session = take_self(L);
    if (refuse(L, session))
        return 3;
    pl_op_t *op = pl_op_new(PL_VERB_meta);
    if (!op)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    op->u.meta.key = PL_STR_LIT("");
    return await(L, session, op);
}

/* ---- the life of a session -------------------------------------------------------------------------------------- */

/* e:session() -> a session that has not begun */
static int engine_session(lua_State *L, pl__handle_t *h) {
    session_t *session = lua_newuserdatauv(L, sizeof *session, 1);
    *session = (session_t){ .h = h, .number = ++h->sessions };
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, SESSION_TYPE);
    return 1;
}

/* s:begin(seconds it may take) -> true, or nil, code, message */
static int session_begin(lua_State *L) {
    session_t *session = take_self(L);
    double seconds = luaL_checknumber(L, 2);
    if (pl__handle_refuse(L, session->h))
        return 3;
    if (session->begun)
        return pl__push_failure(L, PL_ESTATE, "the transaction has already begun");
    pl_op_t *op = pl_op_new(PL_VERB_tx_begin);
    if (!op)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    op->session = session->number;
    op->u.tx_begin.seconds = seconds;
    session->begun = true;
    return pl__await_op(L, session->h, op, NULL);
}

/* s:finish(commit) -> true, or nil, code, message */
static int session_finish(lua_State *L) {
    session_t *session = take_self(L);
    luaL_checktype(L, 2, LUA_TBOOLEAN);
    if (refuse(L, session))
        return 3;
    pl_op_t *op = pl_op_new(PL_VERB_tx_end);
    if (!op)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    op->u.tx_end.commit = lua_toboolean(L, 2);
    session->over = true;
    if (!op->u.tx_end.commit)
        drop_gathered(session);
    return await(L, session, op);
}

/* s:drop(), also __gc: rolls back, and waits for nothing. Without memory for that, the time of the session will do. */
static int session_drop(lua_State *L) {
    session_t *session = luaL_checkudata(L, 1, SESSION_TYPE);
    pl__handle_t *h = session->h;
    drop_gathered(session);
    if (!session->begun || session->over || !h->engine || !pl_engine_usable(h->engine))
        return 0;
    pl_op_t *op = pl_op_new(PL_VERB_tx_end);
    if (!op)
        return 0;
    session->over = true;
    op->session = session->number;
    op->owner = h; /* nobody waits for it */
    pl_engine_submit(h->engine, op);
    pl_engine_flush(h->engine);
    return 0;
}

/* s:verb(...): as that of the engine, in the transaction. The verb is upvalue 1. */
static int session_verb(lua_State *L) {
    session_t *session = take_self(L);
    if (refuse(L, session))
        return 3;
    pl_op_t *op = pl__op_build(L, (pl_verb_t)lua_tointeger(L, lua_upvalueindex(1)));
    if (!op)
        return pl__push_failure(L, PL_ENOMEM, NULL);
    if (session->over) { /* a finalizer that ran meanwhile has dropped it */
        pl_op_free(op);
        return pl__push_failure(L, PL_EOVER, NULL);
    }
    return await(L, session, op);
}

/* s:journal(claim, JOURNAL) -> true, or nil, code, message: as that of the engine, in the transaction. */
static int session_journal(lua_State *L) {
    session_t *session = take_self(L);
    if (refuse(L, session))
        return 3;
    pl__coroutine_t *rec = pl__claim_check(L, 2, session->h);
    pl_op_t *op = pl__durable_op(L, session->h, rec, PL_VERB_journal);
    if (!op)
        return 3;
    if (session->over) {
        pl_op_free(op);
        return pl__push_failure(L, PL_EOVER, NULL);
    }
    join(session, op);
    return pl__durable_write(L, session->h, rec, op);
}

/* s:method(...): that of the engine, which asks the store nothing. Its name is upvalue 1. */
static int session_forward(lua_State *L) {
    (void)take_self(L);
    lua_getfield(L, 1, lua_tostring(L, lua_upvalueindex(1)));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static void push_methods(lua_State *L) {
    static const luaL_Reg METHODS[] = {
        { "begin", session_begin },
        { "finish", session_finish },
        { "drop", session_drop },
        { "task_gather", session_task_gather },
        { "tasks_gather", session_tasks_gather },
        { "settle", session_settle },
        { "journal", session_journal },
        { NULL, NULL },
    };
    static const char *const FORWARDS[] = { "new_id", "new_name", "id_text", "id_parse", "now" };
    luaL_newlib(L, METHODS);
    pl__verbs_push(L, true, session_verb);
    for (size_t i = 0; i < sizeof FORWARDS / sizeof *FORWARDS; i++) {
        lua_pushstring(L, FORWARDS[i]);
        lua_pushcclosure(L, session_forward, 1);
        lua_setfield(L, -2, FORWARDS[i]);
    }
}

void pl__session_register(lua_State *L) {
    if (luaL_newmetatable(L, SESSION_TYPE)) {
        lua_pushcfunction(L, session_drop);
        lua_setfield(L, -2, "__gc");
        push_methods(L);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    static const pl__method_t MAKER[] = { { "session", engine_session }, { NULL, NULL } };
    pl__methods_set(L, MAKER);
}
