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

/* Writes that op, which it takes, and returns what lua_CFunctions return. Where the store says that the claim is not
 * ours any more, or the run aborted, the claim has ended with that. */
int pl__durable_write(lua_State *L, pl__handle_t *h, pl__coroutine_t *rec, pl_op_t *op);

/* What the entries count for in its journal. */
int64_t pl__journal_bytes(const pl_journal_t *journal);

/* What a durable function writes at a time, from the table at index t. */
void pl__reader_journal(pl__reader_t *R, int t, pl_journal_t *journal);
/* Of that, what it shows, and whom it writes. */
void pl__reader_shown(pl__reader_t *R, int t, pl_journal_t *journal);
/* The list of mails on top of the stack, which it pops; nil: none. */
pl_mail_new_t *pl__reader_mails(pl__reader_t *R, const char *field, size_t *len);

#endif
