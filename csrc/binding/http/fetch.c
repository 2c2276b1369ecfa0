/*
 * fetch.c - HTTP requests as Lua sees them. See fetch.h.
 *
 * Design. A request is a userdata, the box; responses in pieces and the handles of e:fetch_start are made of it. One
 * loop, go(), does all the waiting: for the answer, for a piece of it, and meanwhile for the pieces of the body that a
 * function gives. It runs on a stack frame of one shape (ENGINE, SUBJECT, BOX), where the box is to be closed: however
 * the frame is left, by an error in the body function or by the end of the coroutine, the request is cancelled unless
 * go() came to its end.
 *
 * Invariants
 *   1. box->fetch is NULL, or the box is in the engine's list; so the end of the engine finds every request.
 *   2. While a frame waits, box->is_guarded: no other frame may wait for the same request.
 *   3. The engine is held exactly while something waits: virtual time stands still, and a drain does not end.
 */
#include "binding/http/fetch.h"

#include <string.h>

#include <lauxlib.h>

#include "binding/coroutine/coroutine.h"
#include "binding/handle.h"
#include "binding/http/exchange.h"
#include "binding/run.h"

#define FETCH_TYPE "pipeline.Fetch"
#define RESPONSE_TYPE "pipeline.Response"

/* The frame of go(); the subject is what the method was given. */
enum { ENGINE = 1, SUBJECT = PL__EXCHANGE_OPTIONS, BOX = PL__EXCHANGE_OWNER };
enum { UV_ENGINE = 1, UV_BODY = PL__EXCHANGE_UV_BODY, UV_CALLBACK, UV_COUNT = UV_CALLBACK };

typedef enum { WAIT_ANSWER, WAIT_PIECE, WAIT_CALLBACK } wait_t;

typedef struct pl__box {
    struct pl__box *next, *prev; /* of the engine */
    pl__handle_t *h;             /* memory of the engine userdata, which is a user value */
    pl_fetch_t *fetch;           /* NULL: released */
    bool stream;
    wait_t wait;
    bool is_guarded, is_held;
    pl__coroutine_t *waiter; /* to be woken; NULL: none */
    uint64_t waiter_life;
    int end; /* released: PL_OK after the last piece, or why there are no more */
} box_t;

/* ---- boxes ------------------------------------------------------------------------------------------------- */

static void box_hold(box_t *box, bool held) {
    if (box->is_held == held)
        return;
    box->is_held = held;
    if (held)
        pl_engine_hold(box->h->engine);
    else
        pl_engine_unhold(box->h->engine);
}

/* Ends the request, wherever it stands. No Lua. */
static void box_release(box_t *box, int end) {
    if (!box->fetch)
        return;
    pl_fetch_t *fetch = box->fetch;
    box_hold(box, false);
    box->fetch = NULL;
    box->end = end;
    if (box->prev)
        box->prev->next = box->next;
    else
        box->h->fetching.boxes = box->next;
    if (box->next)
        box->next->prev = box->prev;
    box->next = box->prev = NULL;
    pl_fetch_release(fetch);
}

/* Lets the frame that waits look at the box. */
static void box_wake(box_t *box) {
    pl__coroutine_t *rec = box->waiter;
    box->waiter = NULL;
    if (rec)
        pl__wait_end(rec, box->waiter_life);
}

static void changed_cb(void *data, pl_fetch_t *fetch) {
    (void)fetch;
    box_wake(data);
}

static box_t *check_box(lua_State *L, int index) {
    return luaL_checkudata(L, index, FETCH_TYPE);
}

/* Whether there is a request, and its engine can be told: not in the child of a fork. */
static bool is_reachable(const box_t *box) {
    return box->fetch && box->h->engine && pl_engine_usable(box->h->engine);
}

/* __close, for go() alone: the frame is left. */
static int box_close(lua_State *L) {
    box_t *box = check_box(L, 1);
    if (!box->is_guarded)
        return 0;
    box->is_guarded = false;
    box->waiter = NULL;
    if (is_reachable(box))
        box_release(box, PL_EABORTED);
    return 0;
}

static int box_gc(lua_State *L) {
    box_t *box = check_box(L, 1);
    box->waiter = NULL;
    if (is_reachable(box))
        box_release(box, PL_ECLOSED);
    return 0;
}

/* handle:cancel() -> whether there was something to cancel. */
static int box_cancel(lua_State *L) {
    box_t *box = check_box(L, 1);
    bool is_live = is_reachable(box);
    if (is_live) {
        box_release(box, PL_EABORTED);
        box_wake(box);
    }
    lua_pushboolean(L, is_live);
    return 1;
}

/* Pushes a box without a request; the engine is at index 1. */
static box_t *box_new(lua_State *L) {
    box_t *box = lua_newuserdatauv(L, sizeof *box, UV_COUNT);
    memset(box, 0, sizeof *box);
    box->h = lua_touserdata(L, ENGINE);
    luaL_setmetatable(L, FETCH_TYPE);
    lua_pushvalue(L, ENGINE);
    lua_setiuservalue(L, -2, UV_ENGINE);
    return box;
}

/* ---- the client -------------------------------------------------------------------------------------------- */

/* The engine ends. Coroutines that waited are dead by now. */
static void client_close(pl__attached_t *attached) {
    pl__fetching_t *client = (pl__fetching_t *)attached;
    while (client->boxes)
        box_release(client->boxes, PL_ECLOSED);
    pl_fetcher_close(client->fetcher);
    pl__handle_detach(client->h, attached);
    client->fetcher = NULL;
}

/* The client is made when it is first wanted. */
static int client_open(pl__handle_t *h, pl_error_t *error) {
    pl_fetcher_options_t options;
    pl__fetching_t *client = &h->fetching;
    if (client->fetcher)
        return PL_OK;
    pl_fetcher_options_init(&options);
    int rc = pl_fetcher_open(&client->fetcher, pl_engine_loop(h->engine), &options, error);
    if (rc != PL_OK)
        return rc;
    client->h = h;
    client->attached.close = client_close;
    pl__handle_attach(h, &client->attached);
    return PL_OK;
}

/* ---- starting ----------------------------------------------------------------------------------------------- */

/*
 * Starts what the options at SUBJECT say. Stack: engine, options, callback or nothing. Leaves the frame of go(), with a
 * box that is not yet to be closed. Returns 0, or the number of values that say why not.
 */
static int start(lua_State *L) {
    pl_fetch_request_t request;
    pl_error_t error = { 0 };
    pl__handle_t *h = pl__handle_check(L, ENGINE);
    luaL_checktype(L, SUBJECT, LUA_TTABLE);
    lua_settop(L, SUBJECT + 1); /* the callback, or nil */
    box_t *box = box_new(L);
    lua_insert(L, BOX);
    lua_setiuservalue(L, BOX, UV_CALLBACK);
    pl__request_read(L, &request);
    request.changed = changed_cb;
    int refused = pl__handle_refuse(L, h); /* after all that might run a finalizer */
    if (refused)
        return refused;
    if (h->closing)
        return pl__push_failure(L, PL_ECLOSED, "the engine is closing");
    request.data = box;
    int rc = client_open(h, &error);
    if (rc == PL_OK)
        rc = pl_fetch_start(h->fetching.fetcher, &request, &box->fetch, &error);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, error.message);
    box->stream = request.stream;
    box->next = h->fetching.boxes;
    if (box->next)
        box->next->prev = box;
    h->fetching.boxes = box;
    lua_settop(L, BOX);
    return 0;
}

/* ---- results ----------------------------------------------------------------------------------------------- */

/* Pushes the response, or nil, code and message. */
static int push_answer(lua_State *L, box_t *box) {
    pl_fetch_answer_t answer;
    pl_fetch_answer(box->fetch, &answer);
    if (answer.code != PL_OK && !(box->stream && answer.status)) {
        int n = pl__push_failure(L, answer.code, answer.message);
        box_release(box, answer.code);
        return n;
    }
    pl__answer_push(L, &answer, !box->stream);
    if (box->stream) {
        lua_pushvalue(L, BOX);
        lua_setfield(L, -2, "_stream");
        luaL_setmetatable(L, RESPONSE_TYPE);
    }
    return 1;
}

/* Pushes a piece; or nil at the end, or nil, code and message. */
static int push_piece(lua_State *L, box_t *box) {
    pl_fetch_answer_t answer;
    if (pl_fetch_has_bytes(box->fetch)) {
        pl__text_push(L, pl_fetch_take(box->fetch));
        return 1;
    }
    pl_fetch_answer(box->fetch, &answer);
    if (answer.code != PL_OK) {
        int n = pl__push_failure(L, answer.code, answer.message);
        box_release(box, answer.code);
        return n;
    }
    box_release(box, PL_OK);
    lua_pushnil(L);
    return 1;
}

static int push_end(lua_State *L, const box_t *box) {
    if (box->end == PL_OK) {
        lua_pushnil(L);
        return 1;
    }
    return pl__push_failure(L, box->end, box->end == PL_ECLOSED ? "the answer was closed" : NULL);
}

/* ---- waiting ----------------------------------------------------------------------------------------------- */

static int go(lua_State *L);

static int called_k(lua_State *L, int status, lua_KContext context) {
    (void)L;
    (void)status;
    (void)context;
    return 0;
}

/* What go() ends with: `n` values are on the stack. They are the results, or the arguments of the callback. */
static int came(lua_State *L, box_t *box, int n) {
    box->is_guarded = false;
    if (box->fetch)
        box_hold(box, false);
    if (!box->stream)
        box_release(box, PL_OK);
    if (box->wait != WAIT_CALLBACK)
        return n;
    lua_getiuservalue(L, BOX, UV_CALLBACK);
    lua_insert(L, -n - 1);
    lua_pushnil(L);
    lua_setiuservalue(L, BOX, UV_CALLBACK);
    lua_callk(L, n, 0, 0, called_k);
    return 0;
}

static bool is_ready(const box_t *box) {
    if (pl_fetch_is_over(box->fetch))
        return true;
    return box->wait == WAIT_PIECE ? pl_fetch_has_bytes(box->fetch) : box->stream && pl_fetch_has_head(box->fetch);
}

/* Sends what the body function has returned, which is on top of the stack, and pops it. */
static void send_piece(lua_State *L, box_t *box) {
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNIL)
        luaL_error(L, "a body function must return a string or nil, got %s", lua_typename(L, type));
    if (box->fetch && type == LUA_TNIL) {
        pl_fetch_send_end(box->fetch);
    } else if (box->fetch) {
        pl_str_t piece;
        piece.ptr = lua_tolstring(L, -1, &piece.len);
        if (pl_fetch_send(box->fetch, piece) == PL_ENOMEM)
            box_release(box, PL_ENOMEM);
    }
    lua_settop(L, BOX);
}

static int body_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    send_piece(L, lua_touserdata(L, BOX));
    return go(L);
}

static int woken_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    pl__wait_check(L, context);
    lua_settop(L, BOX);
    return go(L);
}

/* Outside a managed coroutine: runs the loop until there is something to do. */
static int run_until_news(lua_State *L, pl__handle_t *h, const box_t *box) {
    int rc = PL_OK;
    if (h->L || h->entered || h->closing)
        return pl__push_failure(L, PL_ESTATE, "cannot wait here: the loop is running below this function");
    h->stopped = false;
    while (rc == PL_OK && !h->stopped && box->fetch && !is_ready(box) && !pl_fetch_wants(box->fetch))
        rc = pl__run(L, h, PL_RUN_NEXT, -1, false);
    pl_engine_rest(h->engine);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, NULL);
    return h->stopped ? pl__push_failure(L, PL_ESTATE, "the loop was stopped") : 0;
}

/* Goes on with the request until there is what was waited for. Stack: the frame. */
static int go(lua_State *L) {
    pl__handle_t *h = lua_touserdata(L, ENGINE);
    box_t *box = lua_touserdata(L, BOX);
    for (;;) {
        if (!box->fetch) {
            if (box->wait != WAIT_CALLBACK)
                return came(L, box, push_end(L, box));
            box->is_guarded = false; /* cancelled */
            return 0;
        }
        if (is_ready(box))
            return came(L, box, box->wait == WAIT_PIECE ? push_piece(L, box) : push_answer(L, box));
        if (pl_fetch_wants(box->fetch)) {
            lua_getiuservalue(L, BOX, UV_BODY);
            lua_callk(L, 0, 1, 0, body_k);
            send_piece(L, box);
            continue;
        }
        box_hold(box, true);
        if (pl__coroutine_can_await(L, h)) {
            box->waiter = h->current;
            box->waiter_life = h->current->life;
            return pl__wait(L, h, woken_k);
        }
        int n = run_until_news(L, h, box);
        if (n) {
            box_release(box, PL_EABORTED);
            return came(L, box, n);
        }
    }
}

/* Makes the box of the frame to be closed, and goes. */
static int guard_and_go(lua_State *L, box_t *box, wait_t wait) {
    box->wait = wait;
    box->is_guarded = true;
    lua_toclose(L, BOX);
    return go(L);
}

/* ---- methods ----------------------------------------------------------------------------------------------- */

static int engine_fetch(lua_State *L) {
    int refused = start(L);
    if (refused)
        return refused;
    return guard_and_go(L, lua_touserdata(L, BOX), WAIT_ANSWER);
}

/* The coroutine of e:fetch_start. Stack: the frame. */
static int callback_main(lua_State *L) {
    return guard_and_go(L, lua_touserdata(L, BOX), WAIT_CALLBACK);
}

/* Puts what callback_main gets on the stack: the frame, its box from the links of the engine. The box is the key. */
static int job_push(lua_State *L, void *data) {
    lua_pushcfunction(L, callback_main);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    lua_getiuservalue(L, 1, PL__UV_LINKS);
    lua_rawgetp(L, -1, data);
    lua_pushnil(L);
    lua_rawsetp(L, -3, data);
    lua_remove(L, -2);
    return BOX;
}

/* Nothing is left to do: the frame has cancelled, or the end of the engine will. */
static void job_gone(void *data, bool ok) {
    (void)data;
    (void)ok;
}

/* Links the box to the engine (or, with nil on top of the stack, takes the link away). Pops the value. */
static void set_link(lua_State *L, const box_t *box) {
    lua_getiuservalue(L, ENGINE, PL__UV_LINKS);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, box);
    lua_pop(L, 1);
}

static int engine_fetch_start(lua_State *L) {
    static const pl__job_t JOB = { job_push, NULL, job_gone };
    pl__handle_t *h = pl__handle_check(L, ENGINE);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    int refused = start(L);
    if (refused)
        return refused;
    box_t *box = lua_touserdata(L, BOX);
    lua_pushvalue(L, BOX);
    set_link(L, box);
    int rc = pl__coroutine_start(h, &JOB, box, NULL);
    if (rc == PL_OK)
        return 1;
    box_release(box, rc);
    lua_pushnil(L);
    set_link(L, box);
    return pl__push_failure(L, rc, NULL);
}

/* Makes the frame of go() of a response. Raises if it is none in pieces. */
static box_t *response_frame(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_pushliteral(L, "_stream");
    lua_rawget(L, 1);
    box_t *box = luaL_testudata(L, 2, FETCH_TYPE);
    luaL_argcheck(L, box, 1, "a response in pieces expected");
    lua_getiuservalue(L, 2, UV_ENGINE);
    lua_insert(L, 1);
    return box;
}

static int response_read(lua_State *L) {
    box_t *box = response_frame(L);
    if (!box->fetch)
        return push_end(L, box);
    int refused = pl__handle_refuse(L, lua_touserdata(L, ENGINE));
    if (refused)
        return refused;
    if (box->is_guarded)
        return pl__push_failure(L, PL_ESTATE, "another coroutine is reading this response");
    return guard_and_go(L, box, WAIT_PIECE);
}

static int response_close(lua_State *L) {
    box_t *box = response_frame(L);
    if (is_reachable(box)) {
        box_release(box, PL_ECLOSED);
        box_wake(box);
    }
    return 0;
}

static int engine_fetch_limits(lua_State *L) {
    pl_fetcher_options_t options;
    pl_error_t error = { 0 };
    pl__handle_t *h = pl__handle_check(L, ENGINE);
    pl__limits_read(L, &options);
    int refused = pl__handle_refuse(L, h);
    if (refused)
        return refused;
    int rc = client_open(h, &error);
    if (rc != PL_OK)
        return pl__push_failure(L, rc, error.message);
    pl_fetcher_limit(h->fetching.fetcher, &options);
    lua_pushboolean(L, 1);
    return 1;
}

static int engine_fetch_facts(lua_State *L) {
    pl_fetcher_facts_t facts = { 0 };
    const pl__handle_t *h = pl__handle_check(L, ENGINE);
    int refused = pl__handle_refuse(L, h);
    if (refused)
        return refused;
    if (h->fetching.fetcher)
        pl_fetcher_facts(h->fetching.fetcher, &facts);
    pl__fetch_facts_push(L, &facts);
    return 1;
}

static void make_metatable(lua_State *L, const char *name, const luaL_Reg *meta, const luaL_Reg *methods) {
    if (luaL_newmetatable(L, name)) {
        luaL_setfuncs(L, meta, 0);
        lua_newtable(L);
        luaL_setfuncs(L, methods, 0);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}

void pl__fetch_register(lua_State *L) {
    static const luaL_Reg METHODS[] = { { "fetch", engine_fetch },
                                        { "fetch_start", engine_fetch_start },
                                        { "fetch_limits", engine_fetch_limits },
                                        { "fetch_facts", engine_fetch_facts },
                                        { NULL, NULL } };
    static const luaL_Reg BOX_META[] = { { "__gc", box_gc }, { "__close", box_close }, { NULL, NULL } };
    static const luaL_Reg BOX_METHODS[] = { { "cancel", box_cancel }, { NULL, NULL } };
    static const luaL_Reg RESPONSE_META[] = { { "__close", response_close }, { NULL, NULL } };
    static const luaL_Reg RESPONSE_METHODS[] = { { "read", response_read },
                                                 { "close", response_close },
                                                 { NULL, NULL } };
    luaL_setfuncs(L, METHODS, 0);
    make_metatable(L, FETCH_TYPE, BOX_META, BOX_METHODS);
    make_metatable(L, RESPONSE_TYPE, RESPONSE_META, RESPONSE_METHODS);
}
