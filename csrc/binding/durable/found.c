/*
 * found.c - what is known of a durable function as tables: itself, entries of its journal, and its news.
 */
#include <lauxlib.h>

#include "binding/durable/durable.h"
#include "binding/op/pusher.h"
#include "binding/op/table.h"

static void set_positive(lua_State *L, const char *name, int64_t value) {
    if (value > 0)
        pl__set_integer(L, name, (lua_Integer)value);
}

static void set_time(lua_State *L, const char *name, pl_usec_t when) {
    if (when > 0)
        pl__set_time(L, name, when);
}

static void push_flow(lua_State *L, const pl_op_journal_get_t *get) {
    const pl_flow_t *flow = get->flow;
    lua_createtable(L, 0, 16);
    pl__set_str(L, "seed", flow->seed);
    pl__set_integer(L, "version", flow->version);
    pl__set_integer(L, "era", flow->era);
    pl__set_integer(L, "first", (lua_Integer)flow->first);
    pl__set_integer(L, "next", (lua_Integer)flow->next);
    pl__set_integer(L, "bytes", (lua_Integer)flow->bytes);
    pl__set_integer(L, "mails", flow->mails);
    pl__set_integer(L, "lost", flow->lost);
    set_positive(L, "forked_from", flow->forked_from);
    set_positive(L, "forked_at", flow->forked_at);
    pl__set_str(L, "mode", pl_str(pl_flow_mode_name((int)flow->mode)));
    pl__set_str(L, "reason", flow->reason);
    pl__set_time(L, "created", flow->created);
    pl__set_boolean(L, "dirty", flow->dirty);
    pl__set_integer(L, "cancel", (lua_Integer)flow->cancel);
    set_time(L, "deadline", flow->deadline);
    if (get->more)
        pl__set_boolean(L, "more", true);
    if (get->known && get->known != flow->next)
        pl__set_boolean(L, "stale", true);
}

static void push_entry(lua_State *L, const pl_entry_t *entry) {
    lua_createtable(L, 0, 26);
    pl__set_integer(L, "seq", (lua_Integer)entry->seq);
    set_positive(L, "done", entry->done);
    pl__set_str(L, "kind", pl_str(pl_entry_kind_name((int)entry->kind)));
    pl__set_str(L, "state", pl_str(pl_entry_state_name((int)entry->state)));
    pl__set_str(L, "path", entry->path);
    pl__set_str(L, "name", entry->name);
    pl__set_integer(L, "nth", entry->nth);
    pl__set_str(L, "line", entry->line);
    pl__set_time(L, "opened", entry->opened);
    set_time(L, "closed", entry->closed);
    pl__set_integer(L, "attempt", entry->attempt);
    set_time(L, "due", entry->due);
    set_positive(L, "ref", entry->ref);
    pl__set_str(L, "value", entry->value);
}

static void push_child(lua_State *L, const pl_arrival_t *child) {
    lua_createtable(L, 0, 7);
    pl__set_integer(L, "seq", (lua_Integer)child->seq);
    pl__set_integer(L, "stage", child->ref);
    pl__set_str(L, "state", pl_str(pl_stage_state_name((int)child->state)));
    if (child->fallback)
        pl__set_boolean(L, "fallback", true);
    pl__set_str(L, "message", child->message);
    pl__set_str(L, "value", child->value);
    set_time(L, "time", child->time);
}

static void push_slot(lua_State *L, const pl_arrival_t *slot) {
    lua_createtable(L, 0, 4);
    pl__set_integer(L, "seq", (lua_Integer)slot->seq);
    pl__set_integer(L, "slot", slot->ref);
    pl__set_str(L, "value", slot->value);
    set_time(L, "time", slot->time);
}

static void push_mail(lua_State *L, const pl_mail_t *mail) {
    lua_createtable(L, 0, 6);
    pl__set_integer(L, "id", (lua_Integer)mail->number);
    lua_pushstring(L, mail->kind == PL_MAIL_UPDATE ? "update" : "signal");
    lua_setfield(L, -2, "kind");
    pl__set_str(L, "name", mail->name);
    pl__set_str(L, "key", mail->key);
    pl__set_str(L, "value", mail->value);
    pl__set_time(L, "time", mail->time);
}

/* Field `cancel`: whether somebody has asked for it, with which message; and the children below which something is not
 * final. */
static void push_cancel(lua_State *L, const pl_news_t *news) {
    if (!news->cancel)
        return;
    lua_createtable(L, 0, 3);
    lua_pushboolean(L, news->is_abort);
    lua_setfield(L, -2, "is_abort");
    pl__set_str(L, "message", news->message);
    lua_createtable(L, (int)news->live_len, 0);
    for (size_t i = 0; i < news->live_len; i++) {
        lua_pushinteger(L, (lua_Integer)news->live[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "live");
    lua_setfield(L, -2, "cancel");
}

static void push_children(lua_State *L, const pl_news_t *news) {
    if (news->children_len == 0)
        return;
    lua_createtable(L, (int)news->children_len, 0);
    for (size_t i = 0; i < news->children_len; i++) {
        push_child(L, &news->children[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "children");
}

static void push_slots(lua_State *L, const pl_news_t *news) {
    if (news->slots_len == 0)
        return;
    lua_createtable(L, (int)news->slots_len, 0);
    for (size_t i = 0; i < news->slots_len; i++) {
        push_slot(L, &news->slots[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "slots");
}

static void push_mails(lua_State *L, const pl_news_t *news) {
    if (news->mails_len == 0)
        return;
    lua_createtable(L, (int)news->mails_len, 0);
    for (size_t i = 0; i < news->mails_len; i++) {
        push_mail(L, &news->mails[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "mails");
}

/* What has come for a run; nil: nothing has. A list that would be empty is left out. */
static void push_news(lua_State *L, const pl_news_t *news) {
    if (!news->cancel && news->children_len == 0 && news->slots_len == 0 && news->mails_len == 0) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 4);
    push_cancel(L, news);
    push_children(L, news);
    push_slots(L, news);
    push_mails(L, news);
}

int pl__push_journal_get(lua_State *L, const pl_op_t *op) {
    const pl_op_journal_get_t *get = &op->u.journal_get;
    if (op->rc == PL_ENOTFOUND) {
        lua_pushnil(L);
        return 1;
    }
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    push_flow(L, get);
    lua_createtable(L, (int)get->len, 0);
    for (size_t i = 0; i < get->len; i++) {
        push_entry(L, &get->entries[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    push_news(L, &get->news);
    return 3;
}

int64_t pl__journal_bytes(const pl_journal_t *journal) {
    int64_t bytes = 0;
    for (size_t i = 0; i < journal->entries_len; i++)
        bytes += pl_entry_bytes(&journal->entries[i]);
    return bytes;
}

int pl__push_suspend(lua_State *L, const pl_op_t *op) {
    if (op->rc == PL_OK && op->u.suspend.refused)
        return pl__push_failure(L, PL_EBUSY, "there are news");
    int n = pl__push_true(L, op);
    if (op->rc != PL_OK)
        return n;
    lua_pushinteger(L, (lua_Integer)pl__journal_bytes(&op->u.suspend.journal));
    return n + 1;
}

int pl__push_signal(lua_State *L, const pl_op_t *op) {
    const pl_op_signal_t *signal = &op->u.signal;
    if (op->rc != PL_OK)
        return pl__push_failed(L, op);
    lua_createtable(L, (int)signal->len, 0);
    for (size_t i = 0; i < signal->len; i++) {
        lua_pushstring(L, pl_result_name(signal->mails[i].rc));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_createtable(L, (int)signal->len, 0);
    for (size_t i = 0; i < signal->len; i++) {
        lua_pushinteger(L, (lua_Integer)signal->mails[i].number);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}
