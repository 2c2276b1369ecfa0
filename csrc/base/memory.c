/*
 * memory.c - counted allocation, arenas, buffers.
 *
 * An arena grows by chunks that double up to CHUNK_MAX; a request larger than that gets a chunk of its own. The
 * first chunk is small, because most ops carry a few hundred bytes.
 */
#include "base/memory.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#ifdef PL_FAULTS
#include <stdatomic.h>

static _Atomic long fail_countdown;
static _Atomic bool fail_hit;

void pl__alloc_fail_at(long nth) {
    atomic_store(&fail_hit, false);
    atomic_store(&fail_countdown, nth);
}

bool pl__alloc_failed(void) {
    return atomic_load(&fail_hit);
}

static bool must_fail(void) {
    if (atomic_load(&fail_countdown) <= 0 || atomic_fetch_sub(&fail_countdown, 1) != 1)
        return false;
    atomic_store(&fail_hit, true);
    return true;
}

static _Thread_local long place_countdown;
static _Thread_local bool place_hit;

void pl__fail_at(long nth) {
    place_hit = false;
    place_countdown = nth;
}

bool pl__has_failed(void) {
    return place_hit;
}

bool pl__must_fail(void) {
    if (place_countdown <= 0 || --place_countdown > 0)
        return false;
    place_hit = true;
    return true;
}
#else
void pl__alloc_fail_at(long nth) {
    (void)nth;
}

bool pl__alloc_failed(void) {
    return false;
}

static inline bool must_fail(void) {
    return false;
}
#endif

void *pl__alloc(size_t size) {
    return must_fail() || pl__must_fail() ? NULL : calloc(1, size ? size : 1);
}

void *pl__realloc(void *old, size_t size) {
    return must_fail() || pl__must_fail() ? NULL : realloc(old, size ? size : 1);
}

void pl__free(void *memory) {
    free(memory);
}

void *pl__reserve(void *array, size_t len, size_t *size, size_t first, size_t item) {
    if (len < *size)
        return array;
    size_t more = *size ? *size * 2 : first;
    void *grown = pl__realloc(array, more * item);
    if (grown)
        *size = more;
    return grown;
}

pl_str_t pl_str(const char *text) {
    return text ? (pl_str_t){ text, strlen(text) } : PL_STR_NONE;
}

bool pl_str_eq(pl_str_t a, pl_str_t b) {
    return a.len == b.len && (!a.ptr) == (!b.ptr) && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

enum { CHUNK_MIN = 512, CHUNK_MAX = 32 * 1024 }; /* freeing larger ones makes the C library tidy up each time */

struct pl__chunk {
    struct pl__chunk *next;
    size_t used, size;
    bool is_owners; /* begins the arena: not ours to free */
    alignas(max_align_t) char bytes[];
};

static pl__chunk_t *chunk_add(pl__arena_t *arena, size_t need) {
    size_t size = arena->head ? arena->head->size * 2 : CHUNK_MIN;
    if (size > CHUNK_MAX)
        size = CHUNK_MAX;
    if (size < need)
        size = need;
    pl__chunk_t *chunk = pl__alloc(sizeof *chunk + size);
    if (!chunk)
        return NULL;
    chunk->size = size;
    chunk->next = arena->head;
    arena->head = chunk;
    return chunk;
}

void pl__arena_init(pl__arena_t *arena, void *memory, size_t size) {
    pl__chunk_t *chunk = memory;
    chunk->size = size - sizeof *chunk;
    chunk->is_owners = true;
    arena->head = chunk;
}

void *pl__arena_get(pl__arena_t *arena, size_t size) {
    if (size > SIZE_MAX / 4 || pl__must_fail())
        return NULL;
    size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    pl__chunk_t *chunk = arena->head;
    if (!chunk || chunk->size - chunk->used < size)
        chunk = chunk_add(arena, size);
    if (!chunk)
        return NULL;
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    return memory;
}

int pl__arena_copy(pl__arena_t *arena, pl_str_t in, pl_str_t *out) {
    if (!in.ptr) {
        *out = PL_STR_NONE;
        return PL_OK;
    }
    char *copy = pl__arena_get(arena, in.len + 1);
    if (!copy)
        return PL_ENOMEM;
    memcpy(copy, in.ptr, in.len);
    *out = (pl_str_t){ copy, in.len };
    return PL_OK;
}

void pl__arena_join(pl__arena_t *into, pl__arena_t *from) {
    pl__chunk_t **last = &into->head;
    while (*last)
        last = &(*last)->next;
    *last = from->head;
    from->head = NULL;
}

void pl__arena_free(pl__arena_t *arena) {
    pl__chunk_t *next;
    for (pl__chunk_t *chunk = arena->head; chunk; chunk = next) {
        next = chunk->next;
        if (!chunk->is_owners)
            pl__free(chunk);
    }
    arena->head = NULL;
}

void pl__buf_add(pl__buf_t *buf, const void *bytes, size_t len) {
    if (buf->rc != PL_OK || len == 0)
        return;
    if (buf->size - buf->len < len) {
        size_t size = buf->size ? buf->size * 2 : 256;
        while (size - buf->len < len)
            size *= 2;
        char *grown = pl__realloc(buf->ptr, size);
        if (!grown) {
            buf->rc = PL_ENOMEM;
            return;
        }
        buf->ptr = grown;
        buf->size = size;
    }
    memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
}

void pl__buf_free(pl__buf_t *buf) {
    pl__free(buf->ptr);
    *buf = (pl__buf_t){ 0 };
}
