/*
 * durable.h - the store's side of durable functions as Lua sees it: methods of an engine, arguments and results.
 *
 * The methods that write are called by the coroutine that executes the claim (verbs.c); all others are like every verb.
 */
#ifndef PL_BINDING_DURABLE_DURABLE_H
#define PL_BINDING_DURABLE_DURABLE_H

#include <lua.h>

#include "binding/coroutine/coroutine.h"
#include "binding/op/reader.h"

/* Adds the methods to the table on top of the stack. */
void pl__durable_register(lua_State *L);

/* An op of verb journal or suspend of the claim of `rec`, from the arguments: itself, claim, table. NULL, and three
 * values are pushed: why not. */
pl_op_t *pl__durable_op(lua_State *L, const pl__handle_t *h, pl__coroutine_t *rec, pl_verb_t verb);

/* What a durable function writes at a time, from the table at index t. */
void pl__reader_journal(pl__reader_t *R, int t, pl_journal_t *journal);
/* Of that, what it shows, and whom it writes. */
void pl__reader_shown(pl__reader_t *R, int t, pl_journal_t *journal);
/* The list of mails on top of the stack, which it pops; nil: none. */
pl_mail_new_t *pl__reader_mails(pl__reader_t *R, const char *field, size_t *len);

/* ---- one of each for a verb: see binding/op/table.h ---- */
/* Of verb outcome: pl__build_outcome, and what is a durable function's alone. */
void pl__build_end_of_run(pl__reader_t *R);
void pl__build_journal(pl__reader_t *R);
void pl__build_suspend(pl__reader_t *R);
void pl__build_signal(pl__reader_t *R);
void pl__build_flow_set(pl__reader_t *R);
void pl__build_journal_get(pl__reader_t *R);
void pl__build_shown_get(pl__reader_t *R);
void pl__build_fork(pl__reader_t *R);
int pl__push_suspend(lua_State *L, const pl_op_t *op);
int pl__push_signal(lua_State *L, const pl_op_t *op);
int pl__push_journal_get(lua_State *L, const pl_op_t *op);
int pl__push_journal(lua_State *L, const pl_op_t *op);
int pl__push_shown_get(lua_State *L, const pl_op_t *op);
int pl__push_flows_get(lua_State *L, const pl_op_t *op);

#endif
