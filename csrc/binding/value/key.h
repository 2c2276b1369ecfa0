/*
 * key.h - keys of tables: their order among those of a map; and places, which are made of them.
 *
 * A place says which part of a value an error is about, as it is written in Lua: `cfg.list[3]['odd key'][true]`. It is
 * made from its end on: on failure every frame adds its own key, innermost first, and success pays nothing for it.
 * And tables that do not keep what is in them alive.
 */
#ifndef PL_BINDING_VALUE_KEY_H
#define PL_BINDING_VALUE_KEY_H

#include <lua.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A key in the order of its encoded bytes: by major type (7 and 8: simple and float), argument, and content. */
typedef struct {
    uint64_t argument;
    const char *ptr; /* borrowed from the Lua string */
    int position;    /* in the order of lua_next */
    unsigned char major;
} pl__sort_key_t;

/* Fills *key from the value at `index`. Returns false if it cannot be a key. */
bool pl__sort_key_read(lua_State *L, int index, pl__sort_key_t *key);
int pl__sort_key_compare(const void *a, const void *b); /* for qsort */

typedef struct {
    char *at; /* the text so far, inside `text`; its end is the end of that */
    char text[4096];
} pl__place_t;

void pl__place_init(pl__place_t *place);
/* Adds the key at `index` in front. */
void pl__place_add(lua_State *L, int index, pl__place_t *place);
/* Pushes `, field "..."`, or the empty string for the value itself; a long place loses its middle. */
void pl__place_push(lua_State *L, const pl__place_t *place);

/* Pushes a table whose keys ("k") or values ("v") are weak. */
void pl__push_weak(lua_State *L, const char *mode);

#endif
