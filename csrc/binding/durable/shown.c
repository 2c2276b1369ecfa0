/*
 * shown.c - what durable functions show to the outside, as Lua gives and gets it: values, streams, answers of updates;
 * and forks.
 */
#include <limits.h>

#include <lauxlib.h>

#include "binding/durable/durable.h"
#include "binding/op/pusher.h"
#include "binding/op/table.h"

/* ---- written ----------------------------------------------------------------------------------------------- */

static void read_answers(pl__reader_t *R, pl_journal_t *journal) {
    static const char *const REPLIES[] = {
#define X(name, number, text) [number] = text,
        PL_REPLIES(X)
#undef X
            NULL
    };
    size_t n = journal->answers_len = pl__reader_list_open(R, "answers");
    pl_answer_new_t *answers = pl__reader_array(R, n, sizeof *answers);
    for (size_t i = 0; i < n; i++) {
        int item = pl__reader_list_table(R, i);
        answers[i] = (pl_answer_new_t){
            .mail = pl__reader_opt_integer_field(R, item, "mail", 0, 1, LUA_MAXINTEGER),
            .reply = (pl_reply_t)pl__reader_choice_field(R, item, "reply", REPLIES),
            .value = pl__reader_opt_str_field(R, item, "value"),
        };
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    journal->answers = answers;
}

static void read_values(pl__reader_t *R, pl_journal_t *journal) {
    size_t n = journal->values_len = pl__reader_list_open(R, "values");
    pl_value_new_t *values = pl__reader_array(R, n, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        int item = pl__reader_list_table(R, i);
        values[i] = (pl_value_new_t){ pl__reader_str_field(R, item, "name"), pl__reader_str_field(R, item, "value") };
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    journal->values = values;
}

static void read_chunks(pl__reader_t *R, pl_journal_t *journal) {
    size_t n = journal->chunks_len = pl__reader_list_open(R, "chunks");
    journal->chunks = pl__reader_array(R, n, sizeof *journal->chunks);
    for (size_t i = 0; i < n; i++) {
        int item = pl__reader_list_table(R, i);
        journal->chunks[i] = (pl_chunk_new_t){
            .stream = pl__reader_str_field(R, item, "stream"),
            .source = pl__reader_str_field(R, item, "source"),
            .k = pl__reader_opt_integer_field(R, item, "k", 0, 1, LUA_MAXINTEGER),
            .value = pl__reader_opt_str_field(R, item, "value"),
        };
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
}

/* Field `start`: a list of one. */
static void read_start(pl__reader_t *R, int t, pl_mail_new_t *mail) {
    size_t len;
    lua_getfield(R->L, t, "start");
    pl_stage_new_t *start = pl__reader_roots(R, "start", &len);
    if (len > 1 || (len && !mail->idempotence.ptr))
        pl__reader_refuse(R, "start", "one, with an idempotence key");
    mail->start = len ? start : NULL;
}

pl_mail_new_t *pl__reader_mails(pl__reader_t *R, const char *field, size_t *len) {
    static const char *const MAIL_KINDS[] = { "signal", "update", NULL };
    size_t n = *len = pl__reader_list_open(R, field);
    pl_mail_new_t *mails = pl__reader_array(R, n, sizeof *mails);
    for (size_t i = 0; i < n; i++) {
        int item = pl__reader_list_table(R, i);
        mails[i] = (pl_mail_new_t){
            .stage = pl__reader_opt_id_field(R, item, "stage"),
            .idempotence = pl__reader_opt_str_field(R, item, "idempotence"),
            .kind = (pl_mail_kind_t)pl__reader_choice_field(R, item, "kind", MAIL_KINDS),
            .name = pl__reader_str_field(R, item, "name"),
            .key = pl__reader_opt_str_field(R, item, "key"),
            .value = pl__reader_opt_str_field(R, item, "value"),
        };
        read_start(R, item, &mails[i]);
        if (mails[i].value.len > PL_MAIL_BYTES_MAX)
            pl__reader_refuse(R, "value", "it is too large");
        if (!mails[i].stage && !mails[i].idempotence.ptr)
            pl__reader_refuse(R, "stage", "an id, or an idempotence key, is missing");
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    return mails;
}

/* Field `status`: a table, or nothing. */
static void read_status(pl__reader_t *R, int t, pl_journal_t *journal) {
    if (lua_getfield(R->L, t, "status") != LUA_TNIL) {
        int from = lua_gettop(R->L);
        if (!lua_istable(R->L, from))
            pl__reader_refuse_type(R, "status", "table");
        pl_status_t *status = pl__reader_array(R, 1, sizeof *status);
        pl__reader_status(R, from, status);
        journal->status = status;
    }
    lua_pop(R->L, 1);
}

void pl__reader_shown(pl__reader_t *R, int t, pl_journal_t *journal) {
    read_status(R, t, journal);
    lua_getfield(R->L, t, "answers");
    read_answers(R, journal);
    lua_getfield(R->L, t, "values");
    read_values(R, journal);
    lua_getfield(R->L, t, "chunks");
    read_chunks(R, journal);
    lua_getfield(R->L, t, "mails");
    journal->mails = pl__reader_mails(R, "mails", &journal->mails_len);
}

/* true; and, if chunks were left out, the set of their streams. */
int pl__push_journal(lua_State *L, const pl_op_t *op) {
    const pl_journal_t *journal = &op->u.journal.journal;
    int n = pl__push_true(L, op);
    if (op->rc != PL_OK)
        return n;
    bool is_any = false;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    for (size_t i = 0; i < journal->chunks_len; i++) {
        const pl_chunk_new_t *chunk = &journal->chunks[i];
        if (!chunk->is_refused)
            continue;
        if (!is_any)
            lua_newtable(L);
        is_any = true;
        lua_pushlstring(L, chunk->stream.ptr, chunk->stream.len);
        lua_pushboolean(L, true);
        lua_rawset(L, -3);
    }
    if (!is_any)
        lua_pushnil(L);
    lua_pushinteger(L, (lua_Integer)pl__journal_bytes(journal));
    return n + 2;
}

/* ---- read -------------------------------------------------------------------------------------------------- */

/* e:shown_get(stage_id, {name=, stream=, from=, limit=, mail=, forks=, names=}) -> SHOWN; or nil */
void pl__build_shown_get(pl__reader_t *R) {
    enum { LIMIT = 100 };
    pl_op_shown_get_t *get = &R->op->u.shown_get;
    get->stage = pl__reader_arg_id(R, 2);
    pl__reader_arg_table(R, 3);
    get->name = pl__reader_opt_str_field(R, 3, "name");
    get->stream = pl__reader_opt_str_field(R, 3, "stream");
    get->from = pl__reader_opt_integer_field(R, 3, "from", 0, 0, LUA_MAXINTEGER);
    get->limit = (int)pl__reader_opt_integer_field(R, 3, "limit", LIMIT, 1, INT_MAX);
    get->wants_forks = pl__reader_opt_flag_field(R, 3, "forks");
    get->wants_names = pl__reader_opt_flag_field(R, 3, "names");
    get->mail = pl__reader_opt_integer_field(R, 3, "mail", 0, 1, LUA_MAXINTEGER);
}

static void push_chunks(lua_State *L, const pl_op_shown_get_t *get) {
    lua_createtable(L, (int)get->len, 0);
    for (size_t i = 0; i < get->len; i++) {
        lua_createtable(L, 0, 3);
        pl__set_integer(L, "n", (lua_Integer)get->chunks[i].n);
        pl__set_str(L, "value", get->chunks[i].value);
        pl__set_time(L, "time", get->chunks[i].time);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_ids(lua_State *L, const pl_id_t *ids, size_t len) {
    lua_createtable(L, (int)len, 0);
    for (size_t i = 0; i < len; i++) {
        lua_pushinteger(L, ids[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_names(lua_State *L, const char *field, const pl_shown_name_t *names, size_t len, bool are_streams) {
    lua_createtable(L, (int)len, 0);
    for (size_t i = 0; i < len; i++) {
        lua_createtable(L, 0, 4);
        pl__set_str(L, "name", names[i].name);
        pl__set_time(L, "time", names[i].time);
        pl__set_integer(L, are_streams ? "count" : "size", (lua_Integer)names[i].size);
        pl__set_str(L, "value", names[i].value);
        if (names[i].is_closed)
            pl__set_boolean(L, "closed", true);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, field);
}

int pl__push_shown_get(lua_State *L, const pl_op_t *op) {
    const pl_op_shown_get_t *get = &op->u.shown_get;
    if (op->rc == PL_ENOTFOUND) {
        lua_pushnil(L);
        return 1;
    }
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, 0, 6);
    pl__set_str(L, "state", pl_str(pl_stage_state_name((int)get->state)));
    pl__set_str(L, "value", get->value);
    if (get->value.ptr)
        pl__set_time(L, "time", get->time);
    if (get->has_mail) {
        pl__set_str(L, "reply", pl_str(pl_reply_name((int)get->reply)));
        pl__set_str(L, "answer", get->answer);
    }
    if (get->wants_forks) {
        push_ids(L, get->forks, get->forks_len);
        lua_setfield(L, -2, "forks");
    }
    if (get->wants_names) {
        push_names(L, "values", get->values, get->values_len, false);
        push_names(L, "streams", get->streams, get->streams_len, true);
    }
    if (!get->stream.ptr)
        return 1;
    push_chunks(L, get);
    lua_setfield(L, -2, "chunks");
    return 1;
}

/* e:flows_get() -> {begun=, suspended=, held=, over=, bytes=} */
PL__BUILDS_NOTHING(flows_get)

int pl__push_flows_get(lua_State *L, const pl_op_t *op) {
    const pl_op_flows_get_t *get = &op->u.flows_get;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, 0, 5);
    for (int mode = PL_FLOW_BEGUN; mode <= PL_FLOW_OVER; mode++)
        pl__set_integer(L, pl_flow_mode_name(mode), (lua_Integer)get->counts[mode]);
    pl__set_integer(L, "bytes", (lua_Integer)get->bytes);
    return 1;
}

/* e:flows_list({after=, limit=, held=}) -> list of ids */
void pl__build_flows_list(pl__reader_t *R) {
    enum { LIMIT = 100 };
    pl_op_flows_list_t *list = &R->op->u.flows_list;
    pl__reader_arg_table(R, 2);
    list->after = pl__reader_opt_integer_field(R, 2, "after", 0, 0, LUA_MAXINTEGER);
    list->limit = (int)pl__reader_opt_integer_field(R, 2, "limit", LIMIT, 1, INT_MAX);
    list->held = pl__reader_opt_flag_field(R, 2, "held");
}

int pl__push_flows_list(lua_State *L, const pl_op_t *op) {
    const pl_op_flows_list_t *list = &op->u.flows_list;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    push_ids(L, list->ids, list->len);
    return 1;
}

/* ---- forks ------------------------------------------------------------------------------------------------- */

/* e:fork(stage_id, {before=, mails=, start=list of one STAGE}) -> true, or nil, code, message */
void pl__build_fork(pl__reader_t *R) {
    pl_op_fork_t *fork = &R->op->u.fork;
    size_t len;
    fork->stage = pl__reader_arg_id(R, 2);
    pl__reader_arg_table(R, 3);
    fork->before = pl__reader_opt_integer_field(R, 3, "before", 1, 1, LUA_MAXINTEGER);
    fork->mails = pl__reader_opt_flag_field(R, 3, "mails");
    lua_getfield(R->L, 3, "start");
    fork->start = pl__reader_roots(R, "start", &len);
    if (len != 1 || !(fork->start->flags & PL_STAGE_DURABLE))
        pl__reader_refuse(R, "start", "one durable function");
}

PL__PUSHES_TRUE(fork)
