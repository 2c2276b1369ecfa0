/*
 * entry.c - what a durable function writes, as Lua gives it: entries, and all that becomes real with them.
 */
#include <limits.h>
#include <string.h>

#include <lauxlib.h>

#include "binding/durable/durable.h"
#include "binding/op/pusher.h"
#include "binding/op/table.h"

static const char *const KINDS[] = {
#define X(name, number, text) [number] = text,
    PL_ENTRY_KINDS(X)
#undef X
        NULL
};
static const char *const STATES[] = {
#define X(name, number, text) [number] = text,
    PL_ENTRY_STATES(X)
#undef X
        NULL
};

/* An operation with a key is known by its name and that; nth is 0. */
static pl_str_t with_key(pl__reader_t *R, int t, pl_str_t name) {
    if (!pl__reader_get(R, t, "key"))
        return name;
    pl_str_t key = pl__reader_take_str(R, "key");
    size_t len = name.len + 1 + key.len;
    char *bytes = pl__reader_array(R, len, 1);
    memcpy(bytes, name.ptr, name.len);
    bytes[name.len] = '@';
    if (key.len)
        memcpy(bytes + name.len + 1, key.ptr, key.len);
    return (pl_str_t){ bytes, len };
}

static void read_entry(pl__reader_t *R, int t, pl_entry_t *entry) {
    *entry = (pl_entry_t){
        .seq = pl__reader_opt_integer_field(R, t, "seq", 0, 1, LUA_MAXINTEGER),
        .done = pl__reader_opt_integer_field(R, t, "done", 0, 1, LUA_MAXINTEGER),
        .kind = (pl_entry_kind_t)pl__reader_choice_field(R, t, "kind", KINDS),
        .state = (pl_entry_state_t)pl__reader_choice_field(R, t, "state", STATES),
        .path = pl__reader_opt_str_field(R, t, "path"),
        .name = pl__reader_str_field(R, t, "name"),
        .line = pl__reader_opt_str_field(R, t, "line"),
        .nth = (int)pl__reader_opt_integer_field(R, t, "nth", 0, 0, INT_MAX),
        .opened = pl__reader_opt_time_field(R, t, "opened"),
        .closed = pl__reader_opt_time_field(R, t, "closed"),
        .attempt = (int)pl__reader_opt_integer_field(R, t, "attempt", 0, 0, INT_MAX),
        .due = pl__reader_opt_time_field(R, t, "due"),
        .ref = pl__reader_opt_integer_field(R, t, "ref", 0, 1, LUA_MAXINTEGER),
        .value = pl__reader_opt_str_field(R, t, "value"),
    };
    if (entry->path.len == 0)
        entry->path = PL_STR_NONE;
    if (entry->nth == 0)
        entry->name = with_key(R, t, entry->name);
    bool is_pending = entry->state == PL_ENTRY_OPEN || entry->state == PL_ENTRY_AGAIN;
    if (entry->seq == 0)
        pl__reader_refuse(R, "seq", "an entry has a number");
    if (is_pending != (entry->done == 0))
        pl__reader_refuse(R, "done", "an entry has it when it is delivered, and only then");
    if (entry->done && entry->done <= entry->seq)
        pl__reader_refuse(R, "done", "it is not greater than seq");
}

/* Reads the list on top of the stack, and pops it. */
static const pl_entry_t *read_entries(pl__reader_t *R, size_t *len) {
    size_t n = pl__reader_list_open(R, "entries");
    pl_entry_t *entries = pl__reader_array(R, n, sizeof *entries);
    for (size_t i = 0; i < n; i++) {
        read_entry(R, pl__reader_list_table(R, i), &entries[i]);
        if (i > 0 && entries[i].seq <= entries[i - 1].seq)
            pl__reader_refuse(R, "seq", "the entries must be ascending by it");
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    *len = n;
    return entries;
}

static void check_next(pl__reader_t *R, const pl_journal_t *journal) {
    for (size_t i = 0; i < journal->entries_len; i++)
        if (journal->next <= journal->entries[i].seq || journal->next <= journal->entries[i].done)
            pl__reader_refuse(R, "next", "it is not greater than every number of an entry");
}

void pl__reader_journal(pl__reader_t *R, int t, pl_journal_t *journal) {
    lua_getfield(R->L, t, "entries");
    journal->entries = read_entries(R, &journal->entries_len);
    journal->next = pl__reader_opt_integer_field(R, t, "next", 0, 1, LUA_MAXINTEGER);
    check_next(R, journal);
    lua_getfield(R->L, t, "children");
    journal->children = pl__reader_children(R, "children", &journal->children_len);
    lua_getfield(R->L, t, "starts");
    journal->starts = pl__reader_roots(R, "starts", &journal->starts_len);
    lua_getfield(R->L, t, "tasks");
    journal->tasks = pl__reader_tasks(R, &journal->tasks_len);
    lua_getfield(R->L, t, "fills");
    journal->fills = pl__reader_fills(R, &journal->fills_len);
    lua_getfield(R->L, t, "taken");
    journal->taken = pl__reader_take_ids(R, "taken", &journal->taken_len);
    pl__reader_shown(R, t, journal);
    journal->cancel = (pl_cancel_t)pl__reader_opt_integer_field(R, t, "cancel", PL_CANCEL_NONE, 0, PL_CANCEL_TOLD);
    journal->deadline = pl__reader_opt_time_field(R, t, "deadline");
}

/* ---- verbs ------------------------------------------------------------------------------------------------- */

/* Reads the list on top of the stack, and pops it. */
static const pl_failure_t *read_failures(pl__reader_t *R, size_t *len) {
    size_t n = pl__reader_list_open(R, "failures");
    pl_failure_t *failures = pl__reader_array(R, n, sizeof *failures);
    for (size_t i = 0; i < n; i++) {
        int t = pl__reader_list_table(R, i);
        failures[i] = (pl_failure_t){ .error_class = pl__reader_opt_str_field(R, t, "error_class"),
                                      .message = pl__reader_opt_str_field(R, t, "message"),
                                      .traceback = pl__reader_opt_str_field(R, t, "traceback") };
        lua_pop(R->L, 1);
    }
    pl__reader_list_close(R);
    *len = n;
    return failures;
}

/* Of a durable function: field `journal`. */
static void read_last_entries(pl__reader_t *R, pl_op_outcome_t *outcome) {
    lua_getfield(R->L, 3, "journal");
    if (!lua_isnil(R->L, -1)) {
        if (!lua_istable(R->L, -1))
            pl__reader_refuse_type(R, "journal", "table");
        pl_journal_t *journal = pl__reader_array(R, 1, sizeof *journal);
        pl__reader_journal(R, lua_gettop(R->L), journal);
        outcome->journal = journal;
    }
    lua_pop(R->L, 1);
    outcome->args = pl__reader_opt_str_field(R, 3, "args");
    outcome->force = pl__reader_opt_flag_field(R, 3, "force");
    lua_getfield(R->L, 3, "failures");
    outcome->failures = read_failures(R, &outcome->failures_len);
}

void pl__build_outcome(pl__reader_t *R) {
    pl__reader_outcome(R);
    read_last_entries(R, &R->op->u.outcome);
}

PL__PUSHES_TRUE(outcome)

/* Of most steps there is an entry to be written and nothing else: then it is given the list, and `next`. */
void pl__build_journal(pl__reader_t *R) {
    pl_journal_t *journal = &R->op->u.journal.journal;
    pl__reader_arg_table(R, 3);
    if (lua_isnil(R->L, 4)) {
        pl__reader_journal(R, 3, journal);
        return;
    }
    lua_pushvalue(R->L, 3);
    journal->entries = read_entries(R, &journal->entries_len);
    journal->next = pl__reader_arg_id(R, 4);
    check_next(R, journal);
}

/* The value on top of the stack, "*" or a list of names; pops it. */
static pl_str_t read_wants(pl__reader_t *R) {
    if (lua_isnil(R->L, -1) || lua_isstring(R->L, -1)) {
        pl_str_t all = lua_isnil(R->L, -1) ? PL_STR_NONE : pl__reader_take_str(R, "wants");
        if (!all.ptr)
            lua_pop(R->L, 1);
        else if (!pl_str_eq(all, PL_STR_LIT("*")))
            pl__reader_refuse(R, "wants", "a list of names, or \"*\"");
        return all;
    }
    size_t n = pl__reader_list_open(R, "wants"), len = 0;
    pl_str_t *names = pl__reader_array(R, n, sizeof *names);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(R->L, -1, (lua_Integer)i + 1);
        names[i] = pl__reader_take_str(R, NULL);
        len += names[i].len + 1;
    }
    pl__reader_list_close(R);
    char *bytes = pl__reader_array(R, len, 1);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < names[i].len; j++)
            bytes[at++] = names[i].ptr[j];
        bytes[at++] = 0;
    }
    return n ? (pl_str_t){ bytes, len } : PL_STR_NONE;
}

void pl__build_suspend(pl__reader_t *R) {
    pl_op_suspend_t *suspend = &R->op->u.suspend;
    pl__reader_arg_table(R, 3);
    pl__reader_journal(R, 3, &suspend->journal);
    pl_usec_t due = pl__reader_opt_time_field(R, 3, "due");
    suspend->due = due ? due : PL_USEC_NEVER;
    lua_getfield(R->L, 3, "wants");
    suspend->wants = read_wants(R);
    lua_getfield(R->L, 3, "slots");
    suspend->slots = pl__reader_take_ids(R, "slots", &suspend->slots_len);
    suspend->reason = pl__reader_opt_str_field(R, 3, "reason");
    suspend->hold = pl__reader_opt_flag_field(R, 3, "hold");
}

/* e:signal(list of {stage= | idempotence=, name=, key=, kind=, value=}) -> list of result names */
void pl__build_signal(pl__reader_t *R) {
    pl__reader_arg_list(R, 2);
    R->op->u.signal.mails = pl__reader_mails(R, "mails", &R->op->u.signal.len);
}

/* e:flow_set(stage_id, {hold=, reason=} | {resume=}) -> true, or nil, code, message */
void pl__build_flow_set(pl__reader_t *R) {
    pl_op_flow_set_t *set = &R->op->u.flow_set;
    set->stage = pl__reader_arg_id(R, 2);
    pl__reader_arg_table(R, 3);
    set->hold = pl__reader_opt_flag_field(R, 3, "hold");
    if (set->hold == pl__reader_opt_flag_field(R, 3, "resume"))
        pl__reader_refuse(R, "hold", "either this or resume is wanted");
    set->reason = pl__reader_opt_str_field(R, 3, "reason");
}

PL__PUSHES_TRUE(flow_set)

/* e:journal_get(stage_id, {after=, limit=, next=, mail_after=, mail_limit=}) -> FLOW, list of ENTRY, NEWS; or nil */
void pl__build_journal_get(pl__reader_t *R) {
    enum { LIMIT = 500, MAILS = 100 };
    pl_op_journal_get_t *get = &R->op->u.journal_get;
    get->stage = pl__reader_arg_id(R, 2);
    get->limit = LIMIT;
    get->mail_limit = MAILS;
    if (lua_isnil(R->L, 3))
        return;
    pl__reader_arg_table(R, 3);
    get->after = pl__reader_opt_integer_field(R, 3, "after", 0, 0, LUA_MAXINTEGER);
    get->limit = (int)pl__reader_opt_integer_field(R, 3, "limit", LIMIT, 0, INT_MAX - 1);
    get->known = pl__reader_opt_integer_field(R, 3, "next", 0, 1, LUA_MAXINTEGER);
    get->mail_after = pl__reader_opt_integer_field(R, 3, "mail_after", 0, 0, LUA_MAXINTEGER);
    get->mail_limit = (int)pl__reader_opt_integer_field(R, 3, "mail_limit", MAILS, 0, INT_MAX);
}
