/*
 * pack_fuzz.c - blobs of slots and outputs as a damaged file may hold them: reading stays inside them, and what was
 * read is packed into the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite/pack.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void check_same(pl_str_t a, pl_str_t b) {
    if (a.len != b.len || (a.len && memcmp(a.ptr, b.ptr, a.len) != 0))
        abort();
}

static void check_outputs(pl__arena_t *arena, pl_str_t in) {
    const pl_output_t *outputs;
    size_t len;
    pl_str_t again;
    pl_id_t own = 0; /* no slot of the input equals it, unless it holds zeros: then a lone one packs to nothing */
    if (pl__unpack_outputs(arena, own, in, &outputs, &len) != PL_OK)
        return;
    if (len == 0 || (len == 1 && outputs[0].slot == own))
        return;
    if (pl__pack_outputs(arena, own, outputs, len, &again) == PL_OK)
        check_same(in, again);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    pl__arena_t arena = { NULL };
    pl_str_t in = { (const char *)bytes, size }, again;
    const pl_id_t *ids;
    size_t len;
    if (pl__unpack_ids(&arena, in, &ids, &len) == PL_OK && pl__pack_ids(&arena, ids, len, &again) == PL_OK)
        check_same((pl_str_t){ in.ptr, len * 8 }, again);
    check_outputs(&arena, in);
    pl__arena_free(&arena);
    return 0;
}
