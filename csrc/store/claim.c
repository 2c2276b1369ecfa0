/*
 * claim.c - claims as blocks of memory, and their numbers.
 */
#include "store/claim.h"

#include <limits.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

/* What a claim carries in its own block, before its arena needs another. */
enum { CLAIM_ROOM = 1024 };

typedef struct {
    pl_claim_t claim;
    alignas(max_align_t) char room[CLAIM_ROOM];
} claim_block_t;

/*
 * Claims are made by one thread and freed by another, thousands at a time, which an allocator does badly one by one.
 * So those of a transaction share slabs. A slab is freed with the last of its claims; while the transaction is under
 * way it counts as one of them. Only one thread at a time has the claims of a transaction, so nothing is locked.
 */
enum { SLAB_CLAIMS_MAX = 16 };

struct pl__slab {
    int live; /* claims, and the transaction */
    int len, size;
    claim_block_t blocks[];
};

/* A few full-sized slabs are kept for the next transactions of whatever store: memory that goes back and forth between
 * the system and the process costs more than all that is done with it. Each has a place of its own, taken and given by
 * one exchange: no lock that a fork could leave locked in the child. */
enum { SPARE_MAX = 32 };
static _Atomic(pl__slab_t *) spare[SPARE_MAX];

static bool slab_keep(pl__slab_t *slab) {
#ifdef __SANITIZE_ADDRESS__
    return !slab; /* never: what is used after it was freed is to be seen */
#endif
    bool kept = false;
    if (slab->size != SLAB_CLAIMS_MAX)
        return false;
    for (int i = 0; i < SPARE_MAX && !kept; i++) { /* once it is kept it may be another thread's */
        pl__slab_t *none = NULL;
        kept = !atomic_load_explicit(&spare[i], memory_order_relaxed) &&
               atomic_compare_exchange_strong(&spare[i], &none, slab);
    }
    return kept;
}

static pl__slab_t *slab_reuse(void) {
    pl__slab_t *slab = NULL;
    for (int i = 0; i < SPARE_MAX && !slab; i++)
        if (atomic_load_explicit(&spare[i], memory_order_relaxed))
            slab = atomic_exchange(&spare[i], NULL);
    if (slab)
        memset(slab, 0, sizeof *slab + (size_t)slab->len * sizeof slab->blocks[0]);
    return slab;
}

static void slab_drop(pl__slab_t *slab) {
    if (slab && --slab->live == 0 && !slab_keep(slab))
        pl__free(slab);
}

/* The first slab of a transaction has one claim, because a lone one is the common case at rest. */
static pl__slab_t *slab_next(const pl__slab_t *before) {
    int size = before ? SLAB_CLAIMS_MAX : 1;
    pl__slab_t *slab = size > 1 ? slab_reuse() : NULL;
    if (!slab)
        slab = pl__alloc(sizeof *slab + (size_t)size * sizeof slab->blocks[0]);
    if (!slab)
        return NULL;
    slab->size = size;
    slab->live = 1;
    return slab;
}

pl_claim_t *pl__claim_new(pl__slab_t **slab) {
    if (!*slab || (*slab)->len == (*slab)->size) {
        pl__slab_t *next = slab_next(*slab);
        if (!next)
            return NULL;
        slab_drop(*slab);
        *slab = next;
    }
    claim_block_t *block = &(*slab)->blocks[(*slab)->len++];
    (*slab)->live++;
    block->claim.slab = *slab;
    pl__arena_init(&block->claim.arena, block->room, sizeof block->room);
    return &block->claim;
}

void pl__claims_made(pl__slab_t **slab) {
    slab_drop(*slab);
    *slab = NULL;
}

void pl_claim_free(pl_claim_t *claim) {
    if (!claim)
        return;
    pl__arena_free(&claim->arena);
    slab_drop(claim->slab);
}

/* ---- numbers ----------------------------------------------------------------------------------------------- */

static const int64_t NUMBERS_FROM = INT64_C(1577836800); /* 2020: they last until 2088 */
enum { COUNTS_MAX = 10000000 };                          /* what earlier versions have counted to; a second of 2020 */

int pl__claim_number(pl_usec_t now) {
    int64_t second = now / PL_USEC_PER_SEC - NUMBERS_FROM;
    return second < 1 ? 1 : second > INT_MAX / 2 ? INT_MAX / 2 : (int)second;
}

pl_usec_t pl__claim_time(int number) {
    return number > COUNTS_MAX ? (number + NUMBERS_FROM) * PL_USEC_PER_SEC : 0;
}
