/*
 * pack.h - lists of slots as blobs: 8 bytes big-endian each; named outputs as length, name, slot.
 */
#ifndef PL_STORE_SQLITE_PACK_H
#define PL_STORE_SQLITE_PACK_H

#include "store/store.h"

/* Absent for an empty list. In the arena. */
int pl__pack_ids(pl__arena_t *arena, const pl_id_t *ids, size_t len, pl_str_t *out);
int pl__unpack_ids(pl__arena_t *arena, pl_str_t in, const pl_id_t **ids, size_t *len);
/* Absent when the outputs are only {"default", own}. */
int pl__pack_outputs(pl__arena_t *arena, pl_id_t own, const pl_output_t *outputs, size_t len, pl_str_t *out);
/* A damaged blob gives no outputs at all. */
int pl__unpack_outputs(pl__arena_t *arena, pl_id_t own, pl_str_t in, const pl_output_t **outputs, size_t *len);

#endif
