/*
 * memory.h - the allocator every room uses, arenas and growable buffers.
 *
 * pl__alloc and friends count calls, so that a test build can make the Nth one fail (PL_FAULTS builds only).
 * An arena is a chain of chunks freed together: an op and everything it carries live in one arena, so that one
 * op costs no allocation beyond its own block.
 */
#ifndef PL_BASE_MEMORY_H
#define PL_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

/* Returns owned: zeroed memory, or NULL. Free with pl__free. */
void *pl__alloc(size_t size) PL__MUST_USE;
void *pl__realloc(void *old, size_t size) PL__MUST_USE;
void pl__free(void *memory);
/* Room for one more in an array of `len` items of `item` bytes, which has room for *size: it grows to twice that, at
 * first to `first`. Returns the array, wherever it is now; NULL: there is no memory, and it is as it was. */
void *pl__reserve(void *array, size_t len, size_t *size, size_t first, size_t item) PL__MUST_USE;

/* Fault injection (thread-safe). `nth` = 1 makes the next allocation fail, 0 switches it off. Returns whether the
 * fault of the last setting was hit. Compiled to nothing unless PL_FAULTS is defined. */
void pl__alloc_fail_at(long nth);
bool pl__alloc_failed(void);
/* The same for places that seldom fail by themselves, statements, memory and pieces of an arena: the `nth` that this
 * thread comes to fails; a number below 1: none. pl__must_fail is asked at such a place. */
#ifdef PL_FAULTS
void pl__fail_at(long nth);
bool pl__has_failed(void);
bool pl__must_fail(void);
#else
#define pl__must_fail() false
#endif

/* A byte string that may hold NULs. !ptr means "absent"; the empty string has a ptr and len 0. */
typedef struct {
    const char *ptr;
    size_t len;
} pl_str_t;

#define PL_STR_NONE ((pl_str_t){ NULL, 0 })
#define PL_STR_LIT(text) ((pl_str_t){ "" text, sizeof text - 1 })
PL_API pl_str_t pl_str(const char *text); /* borrows; NULL gives PL_STR_NONE */
PL_API bool pl_str_eq(pl_str_t a, pl_str_t b);

typedef struct pl__chunk pl__chunk_t;
typedef struct {
    pl__chunk_t *head;
} pl__arena_t;

/* An arena that begins in memory of its owner (zeroed, aligned for any type): most ops need no other. */
void pl__arena_init(pl__arena_t *arena, void *memory, size_t size);
/* A zeroed arena is valid and empty. Memory is zeroed and aligned for any type; NULL on failure. */
void *pl__arena_get(pl__arena_t *arena, size_t size) PL__MUST_USE;
/* Copies bytes into the arena (with a NUL behind them). An absent string stays absent. Returns PL_OK or PL_ENOMEM. */
int pl__arena_copy(pl__arena_t *arena, pl_str_t in, pl_str_t *out) PL__MUST_USE;
/* Hands the chunks of `from` to `into`; `from` is empty then. */
void pl__arena_join(pl__arena_t *into, pl__arena_t *from);
void pl__arena_free(pl__arena_t *arena);

/* Growable bytes. A zeroed one is valid and empty. Errors are sticky in rc. */
typedef struct {
    char *ptr;
    size_t len, size;
    int rc;
} pl__buf_t;

void pl__buf_add(pl__buf_t *buf, const void *bytes, size_t len);
void pl__buf_free(pl__buf_t *buf);

#endif
