/*
 * reader.h - Lua values as arguments of ops: each is checked, and copied into the arena of its op.
 *
 * The builders run in a protected call, so they may raise at any place: the op is held by the C frame below and
 * freed there. The reader remembers where it is, for the message, such as
 * `children[3].max_attempts: integer expected, got string`.
 */
#ifndef PL_BINDING_OP_READER_H
#define PL_BINDING_OP_READER_H

#include <lua.h>

#include "store/store.h"

#define PLACES_MAX 4 /* lists and tables inside each other */

typedef struct {
    const char *name;
    lua_Integer index; /* 0: a table, not a list */
} pl__reader_place_t;

typedef struct {
    lua_State *L; /* the protected frame; its stack has the arguments of the method at the same indices */
    pl_op_t *op;
    int arg; /* the one being read */
    pl__reader_place_t places[PLACES_MAX];
    int depth;
    bool misuse, no_memory; /* why it was left */
    bool appends;           /* to what the op has */
} pl__reader_t;

/* ---- complaints ---- */
/* Leaves the builder with "place.field: text". `field` may be NULL. */
void pl__reader_refuse(pl__reader_t *R, const char *field, const char *text);
void pl__reader_refuse_type(pl__reader_t *R, const char *field, const char *expected);
void pl__reader_refuse_range(pl__reader_t *R, const char *field, lua_Integer min, lua_Integer max);
void pl__reader_out_of_memory(pl__reader_t *R);

/* ---- the value on top of the stack ---- */
/* Each take_ reads the value on top and pops it. */
lua_Integer pl__reader_take_integer(pl__reader_t *R, const char *field, lua_Integer min, lua_Integer max);
pl_id_t pl__reader_take_id(pl__reader_t *R, const char *field);
pl_str_t pl__reader_take_str(pl__reader_t *R, const char *field);
double pl__reader_take_number(pl__reader_t *R, const char *field);

/* ---- fields of the table at index t ---- */
/* Pushes the field; false (and nothing pushed) when it is nil. */
bool pl__reader_get(pl__reader_t *R, int t, const char *field);
void pl__reader_require(pl__reader_t *R, int t, const char *field, const char *expected);
pl_id_t pl__reader_id_field(pl__reader_t *R, int t, const char *field);
pl_id_t pl__reader_opt_id_field(pl__reader_t *R, int t, const char *field);
lua_Integer pl__reader_opt_integer_field(pl__reader_t *R, int t, const char *field, lua_Integer otherwise,
                                         lua_Integer min, lua_Integer max);
pl_str_t pl__reader_str_field(pl__reader_t *R, int t, const char *field);
pl_str_t pl__reader_opt_str_field(pl__reader_t *R, int t, const char *field);
double pl__reader_opt_number_field(pl__reader_t *R, int t, const char *field, double otherwise);
pl_usec_t pl__reader_opt_time_field(pl__reader_t *R, int t, const char *field);
bool pl__reader_opt_flag_field(pl__reader_t *R, int t, const char *field);
/* Returns the position of the field's text in the NULL-terminated list; nil is the first. */
int pl__reader_choice_field(pl__reader_t *R, int t, const char *field, const char *const *choices);

/* ---- lists ---- */
/* Opens the list on top of the stack (a table, or nil for an empty one). Returns its length. */
size_t pl__reader_list_open(pl__reader_t *R, const char *name);
void pl__reader_list_close(pl__reader_t *R);
/* Pushes item i (from 0), which must be a table; returns its index. */
int pl__reader_list_table(pl__reader_t *R, size_t i);
/* Returns room for n items; NULL for none. */
void *pl__reader_array(pl__reader_t *R, size_t n, size_t size);
/* Takes the list of ids on top of the stack, or nil, which is `field`. */
const pl_id_t *pl__reader_take_ids(pl__reader_t *R, const char *field, size_t *len);

/* ---- arguments ---- */
/* Each arg_ reads argument `arg` of the method. */
void pl__reader_arg_push(pl__reader_t *R, int arg);
pl_id_t pl__reader_arg_id(pl__reader_t *R, int arg);
pl_str_t pl__reader_arg_str(pl__reader_t *R, int arg);
pl_str_t pl__reader_arg_opt_str(pl__reader_t *R, int arg);
void pl__reader_arg_table(pl__reader_t *R, int arg);
/* Pushes a list. */
void pl__reader_arg_list(pl__reader_t *R, int arg);
/* An id, or the idempotence key of a root. */
void pl__reader_arg_id_or_key(pl__reader_t *R, int arg, pl_id_t *id, pl_str_t *key);
void pl__reader_failure(pl__reader_t *R, int t, pl_failure_t *failure);

#endif
